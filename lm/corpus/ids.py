"""A corpus that is token ids already: lines of them in three splits, kept beside text corpora's layout, not in it.

Such a corpus brings its own vocabulary, GPT-1's, and no text. What counts words and bytes has nothing to count.
"""

from __future__ import annotations

import hashlib
import zipfile
import zlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from tokenizers import Tokenizer

from lm.corpus import SPLITS
from lm.corpus.documents import begin_card, write_card
from lm.corpus.tokenizer import save_tokenizer
from lm.errors import reading, writing


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
    layout: str = "NumPy archives of token ids"
    files: int = 0
    left_out: tuple[str, ...] = ()


def write_ids(corpus: IdCorpus, folder: Path) -> dict[str, Any]:
    """Write ``{train,validation,test}.npz``, ``card.json`` of ``kind: ids`` and, where there is one, the tokenizer.

    Returns the card.
    """
    folder.mkdir(parents=True, exist_ok=True)
    card = begin_card(corpus.source, corpus.version, corpus.license, corpus.layout, corpus.files, corpus.left_out)
    card |= {"kind": "ids", "vocabulary": corpus.vocabulary}
    for split in SPLITS:
        lines, path = corpus.splits[split], folder / f"{split}.npz"
        with writing(path):
            np.savez(path, tokens=lines.tokens, sizes=lines.sizes)
        card["splits"][split] = {
            "documents": len(lines.sizes),
            "tokens": len(lines.tokens),
            "words": None,
            "bytes": None,
            "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        }
    if corpus.tokenizer:
        save_tokenizer(corpus.tokenizer, folder)
    write_card(card, folder)
    return card


def is_ids(card: dict[str, Any]) -> bool:
    """Whether a corpus stage's card is of ids; a text corpus does not name its kind."""
    return card.get("kind") == "ids"


def read_ids(folder: Path, split: str) -> IdLines:
    """A split that :func:`write_ids` wrote."""
    path = folder / f"{split}.npz"
    damage = (ValueError, EOFError, KeyError, zipfile.BadZipFile, zlib.error)
    with reading(path, "run `dvc repro -f corpus`", damage), np.load(path, allow_pickle=False) as arrays:
        return IdLines(arrays["tokens"], arrays["sizes"])
