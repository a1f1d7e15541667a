"""Documents in three splits, as the corpus stage keeps them: one JSON object a line, and a card of counts."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from lm.corpus import SPLITS
from lm.errors import StudyError, reading, writing
from lm.text import is_blank


@dataclass(frozen=True)
class Document:
    """``group`` names documents that say nearly the same and must not be parted; by default each is its own."""

    name: str
    text: str
    group: str | None = None


@dataclass(frozen=True)
class Corpus:
    """Text by split, and where it came from: the ``layout`` in words, how many ``files``, what was ``left_out``."""

    source: str
    version: str
    license: str
    splits: dict[str, list[Document]] = field(repr=False)
    layout: str = "documents"
    files: int = 0
    left_out: tuple[str, ...] = ()


def write_corpus(corpus: Corpus, folder: Path) -> dict[str, Any]:
    """Write ``{train,validation,test}.jsonl`` and ``card.json``, and return the card.

    Raises :class:`StudyError` when a split has no text: a perplexity over nothing is not a number.
    """
    for split in SPLITS:
        if all(is_blank(document.text) for document in corpus.splits[split]):
            more = f"; left out: {', '.join(corpus.left_out[:3])}" if corpus.left_out else ""
            raise StudyError(f"corpus {corpus.source}: the {split} split has no text{more}")
    folder.mkdir(parents=True, exist_ok=True)
    card = begin_card(corpus.source, corpus.version, corpus.license, corpus.layout, corpus.files, corpus.left_out)
    for split in SPLITS:
        documents = corpus.splits[split]
        lines = [json.dumps(_entry(document), ensure_ascii=False) + "\n" for document in documents]
        content = "".join(lines).encode()
        path = folder / f"{split}.jsonl"
        with writing(path):
            path.write_bytes(content)
        card["splits"][split] = {"documents": len(documents), **count(d.text for d in documents)} | {
            "sha256": hashlib.sha256(content).hexdigest()
        }
    write_card(card, folder)
    return card


def begin_card(
    source: str, version: str, license_name: str, layout: str, files: int, left_out: Iterable[str]
) -> dict[str, Any]:
    """What every corpus's card begins with: its name, content and origin, and an empty place for the splits."""
    return {
        "source": source,
        "version": version,
        "license": license_name,
        "layout": layout,
        "files": files,
        "left_out": list(left_out),
        "splits": {},
    }


def write_card(card: dict[str, Any], folder: Path) -> None:
    path = folder / "card.json"
    with writing(path):
        path.write_text(json.dumps(card, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def read_card(folder: Path) -> dict[str, Any]:
    """The card that the corpus stage wrote; raises :class:`StudyError` when it is missing or damaged."""
    path = folder / "card.json"
    with reading(path, _AGAIN):
        card = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(card, dict) or not {"source", "version", "license", "splits"} <= card.keys():
        raise StudyError(f"{path}: damaged (not a corpus's card); {_AGAIN}")
    return card


def read_split(folder: Path, split: str) -> list[Document]:
    """The documents of a split; raises :class:`StudyError` when their file is missing or damaged."""
    path = folder / f"{split}.jsonl"
    with reading(path, _AGAIN, (ValueError, TypeError)), path.open(encoding="utf-8", newline="\n") as lines:
        return [Document(**json.loads(line)) for line in lines]


def describe(card: dict[str, Any]) -> str:
    """A corpus stage's card as a line: layout, files, documents and words a split, what was left out."""
    sizes = []
    for split, counts in card["splits"].items():
        unit, size = ("words", counts["words"]) if counts["words"] is not None else ("tokens", counts["tokens"])
        sizes.append(f"{split} {counts['documents']:,} documents of {size:,} {unit}")
    left_out = card["left_out"]
    more = f" and {len(left_out) - _NAMED} more (data/corpus/card.json)" if len(left_out) > _NAMED else ""
    return (
        f"corpus {card['source']}: {card['layout']}; {card['files']:,} files; {', '.join(sizes)}; "
        f"left out: {', '.join(left_out[:_NAMED]) or 'nothing'}{more}"
    )


def count(texts: Iterable[str]) -> dict[str, int]:
    """Words (split at white space) and UTF-8 bytes: the denominators that do not depend on a tokenizer."""
    words = size = 0
    for text in texts:
        words += len(text.split())
        size += len(text.encode())
    return {"words": words, "bytes": size}


_AGAIN = "run `dvc repro -f corpus`"
_NAMED = 10
"""Things left out that the line names; the card has all."""


def _entry(document: Document) -> dict[str, str]:
    return {key: value for key, value in asdict(document).items() if value is not None}
