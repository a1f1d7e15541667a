"""A split's tokens as overlapping windows, indexed straight from the memory-mapped file.

Windows of ``context + 1`` tokens start every ``context`` tokens: inputs are a window without its last token,
targets without its first, so every token but the very first is predicted exactly once. The last window is padded.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lm.errors import StudyError, reading

PADDING = -100
"""Target of a position that does not exist; it has no part in any loss."""


@dataclass(frozen=True)
class Batch:
    """``inputs_BT`` and ``targets_BT`` (int64); ``predicted`` counts the targets that are not padding."""

    inputs_BT: Tensor
    targets_BT: Tensor
    predicted: int


class Windows:
    """The windows of one split."""

    def __init__(self, tokens: np.ndarray, context: int) -> None:
        self.tokens, self.context = tokens, context
        self.predicted = len(tokens) - 1

    def __len__(self) -> int:
        return -(-self.predicted // self.context)

    @property
    def indices(self) -> np.ndarray:
        """All windows, in order."""
        return np.arange(len(self))

    def batch(self, indices: np.ndarray) -> Batch:
        """The windows at ``indices``, in that order."""
        places = indices[:, None] * self.context + np.arange(self.context + 1)
        padded = places > self.predicted
        windows = self.tokens[np.where(padded, 0, places)].astype(np.int64)
        targets = windows[:, 1:].copy()
        targets[padded[:, 1:]] = PADDING
        inputs = np.ascontiguousarray(windows[:, :-1])
        predicted = targets.size - int(padded[:, 1:].sum())
        return Batch(torch.from_numpy(inputs), torch.from_numpy(targets), predicted)


def epoch_order(windows: int, seed: int, epoch: int) -> np.ndarray:
    """The order of an epoch's windows: a function of seed and epoch alone, the same for every model."""
    return np.random.Generator(np.random.PCG64([seed, epoch])).permutation(windows)


def fixed_sample(windows: int, size: int) -> np.ndarray:
    """The same ``size`` windows (or all, if fewer) for every run, seed and epoch, in rising order."""
    return np.sort(np.random.Generator(np.random.PCG64(0)).permutation(windows)[:size])


def open_windows(folder: Path, split: str, context: int, card: dict[str, Any]) -> Windows:
    """Map ``{split}.npy`` and hold it against the card.

    Raises :class:`StudyError` when the file is missing, is not an array of tokens, or does not fit its card: a
    wrong file would train without complaint.
    """
    path = folder / f"{split}.npy"
    expected = card["splits"][split]
    with reading(path, "run `dvc repro -f tokenize`"):
        tokens = np.load(path, mmap_mode="r", allow_pickle=False)
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    if digest != expected["sha256"]:
        raise StudyError(f"{path}: does not fit its card (sha256 {digest[:12]}…); run `dvc repro -f tokenize`")
    if len(tokens) <= context:
        raise StudyError(f"{path}: {len(tokens)} tokens, fewer than one window of {context + 1}")
    return Windows(tokens, context)


def read_card(folder: Path) -> dict[str, Any]:
    """The tokens' card; raises :class:`StudyError` when it is missing or damaged."""
    path = folder / "card.json"
    with reading(path, "run `dvc repro -f tokenize`"):
        card = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(card, dict) or not {"vocabulary", "splits"} <= card.keys():
        raise StudyError(f"{path}: damaged (not a card of tokens); run `dvc repro -f tokenize`")
    return card
