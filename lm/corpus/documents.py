"""Documents in three splits, as the corpus stage keeps them: one JSON object a line, and a card of counts."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from lm.errors import StudyError

SPLITS = ("train", "validation", "test")


@dataclass(frozen=True)
class Document:
    name: str
    text: str


@dataclass(frozen=True)
class Corpus:
    """Text by split, and where it came from."""

    source: str
    version: str
    license: str
    splits: dict[str, list[Document]] = field(repr=False)


def write_corpus(corpus: Corpus, folder: Path) -> None:
    """Write ``{train,validation,test}.jsonl`` and ``card.json``.

    Raises :class:`StudyError` when a split has no text: a perplexity over nothing is not a number.
    """
    for split in SPLITS:
        if not any(document.text.strip() for document in corpus.splits[split]):
            raise StudyError(f"corpus {corpus.source}: the {split} split has no text")
    folder.mkdir(parents=True, exist_ok=True)
    card = {"source": corpus.source, "version": corpus.version, "license": corpus.license, "splits": {}}
    for split in SPLITS:
        documents = corpus.splits[split]
        lines = [json.dumps({"name": d.name, "text": d.text}, ensure_ascii=False) + "\n" for d in documents]
        content = "".join(lines).encode()
        (folder / f"{split}.jsonl").write_bytes(content)
        card["splits"][split] = {"documents": len(documents), **count(d.text for d in documents)} | {
            "sha256": hashlib.sha256(content).hexdigest()
        }
    (folder / "card.json").write_text(json.dumps(card, indent=2, ensure_ascii=False) + "\n")


def read_split(folder: Path, split: str) -> list[Document]:
    path = folder / f"{split}.jsonl"
    try:
        with path.open(encoding="utf-8", newline="\n") as lines:
            return [Document(**json.loads(line)) for line in lines]
    except FileNotFoundError:
        raise StudyError(f"{path}: no such file; run `dvc repro corpus`") from None


def count(texts: Iterator[str]) -> dict[str, int]:
    """Words (split at white space) and UTF-8 bytes: the denominators that do not depend on a tokenizer."""
    words = size = 0
    for text in texts:
        words += len(text.split())
        size += len(text.encode())
    return {"words": words, "bytes": size}
