"""A corpus that is token ids already: lines of them in three splits, kept beside text corpora's layout, not in it.

Such a corpus brings its own vocabulary, GPT-1's, and no text. What counts words and bytes has nothing to count.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer

from lm.corpus.documents import SPLITS
from lm.errors import StudyError


@dataclass(frozen=True)
class IdLines:
    """``tokens`` (tokens,) uint16, flat; ``sizes`` (lines,) int64: how many of them each line has."""

    tokens: np.ndarray
    sizes: np.ndarray


@dataclass(frozen=True)
class IdCorpus:
    """Ids by split, where they came from, and the tokenizer that decodes them where its files were beside them."""

    source: str
    version: str
    license: str
    vocabulary: int
    tokenizer: Tokenizer | None = field(repr=False)
    splits: dict[str, IdLines] = field(repr=False)


def write_ids(corpus: IdCorpus, folder: Path) -> None:
    """Write ``{train,validation,test}.npz``, ``card.json`` of ``kind: ids`` and, where there is one, the tokenizer."""
    folder.mkdir(parents=True, exist_ok=True)
    card = {
        "source": corpus.source,
        "version": corpus.version,
        "license": corpus.license,
        "kind": "ids",
        "vocabulary": corpus.vocabulary,
        "splits": {},
    }
    for split in SPLITS:
        lines, path = corpus.splits[split], folder / f"{split}.npz"
        np.savez(path, tokens=lines.tokens, sizes=lines.sizes)
        card["splits"][split] = {
            "documents": len(lines.sizes),
            "tokens": len(lines.tokens),
            "words": None,
            "bytes": None,
            "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        }
    if corpus.tokenizer:
        corpus.tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "card.json").write_text(json.dumps(card, indent=2, ensure_ascii=False) + "\n")


def is_ids(card: dict) -> bool:
    """Whether a corpus stage's card is of ids; a text corpus does not name its kind."""
    return card.get("kind") == "ids"


def read_ids(folder: Path, split: str) -> IdLines:
    """A split that :func:`write_ids` wrote."""
    path = folder / f"{split}.npz"
    try:
        with np.load(path, allow_pickle=False) as arrays:
            return IdLines(arrays["tokens"], arrays["sizes"])
    except FileNotFoundError:
        raise StudyError(f"{path}: no such file; run `dvc repro corpus`") from None
