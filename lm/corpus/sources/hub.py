"""A text on the Hugging Face Hub, in WikiText's manner: WikiText-2, downloaded once, at a pinned revision, checked."""

from __future__ import annotations

from pathlib import Path, PurePosixPath
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, PositiveInt

from lm.corpus import SPLITS
from lm.corpus.catalogue import Description, parse_description
from lm.corpus.documents import Corpus
from lm.corpus.sources.wikitext import articles, parquet_text, split_lines
from lm.download import fetch
from lm.errors import StudyError


class HubFile(BaseModel):
    """A split's Parquet file in the repository, and the lines of its text, blank ones included."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    sha256: str
    lines: PositiveInt


class HubFiles(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    train: HubFile
    validation: HubFile
    test: HubFile

    def of(self, split: str) -> HubFile:
        return {"train": self.train, "validation": self.validation, "test": self.test}[split]


class HubDescription(Description):
    """A ``corpus.yaml`` of ``source: hub``, such as ``corpora/wikitext-2/corpus.yaml``."""

    source: Literal["hub"]
    repository: str
    revision: str
    variant: str
    files: HubFiles


def load_hub(content: dict[str, Any], folder: Path) -> Corpus:
    """The three splits, downloaded on first use.

    Raises :class:`StudyError` when one cannot be downloaded, its checksum is off or it has not its official lines.
    """
    description = parse_description(HubDescription, content, folder)
    files = {split: description.files.of(split) for split in SPLITS}
    instead = (
        f"put {', '.join(PurePosixPath(file.name).name for file in files.values())} of "
        f"huggingface.co/datasets/{description.repository}, {description.variant}/, into a folder corpora/mine "
        f"and set -S corpus=mine"
    )
    splits = {}
    for split, file in files.items():
        path = fetch(
            description.repository, description.revision, file.name, file.sha256, dataset=True, instead=instead
        )
        lines = split_lines(parquet_text(path.read_bytes(), str(path)))
        if len(lines) != file.lines:
            raise StudyError(f"{path}: {len(lines)} lines, not the {file.lines} of the {split} split of {folder.name}")
        splits[split] = articles(lines)
    return Corpus(
        folder.name,
        f"{description.variant} at {description.revision}",
        description.license,
        splits,
        layout=f"{description.variant} of {description.repository}, split as it is, an article a document",
        files=len(files),
    )
