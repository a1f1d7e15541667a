"""A split's tokens as overlapping windows, indexed straight from the memory-mapped file.

Windows of ``context + 1`` tokens start every ``context`` tokens: inputs are a window without its last token,
targets without its first, so every token but the very first is predicted exactly once. The last window is padded.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from lm.errors import StudyError

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


def open_windows(folder: Path, split: str, context: int, card: dict) -> Windows:
    """Map ``{split}.npy`` and hold it against the card.

    Raises :class:`StudyError` when the file is missing, is not an array of tokens, or does not fit its card: a
    wrong file would train without complaint.
    """
    path = folder / f"{split}.npy"
    expected = card["splits"][split]
    try:
        tokens = np.load(path, mmap_mode="r", allow_pickle=False)
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
    except FileNotFoundError:
        raise StudyError(f"{path}: no such file; run `dvc repro tokenize`") from None
    except (ValueError, EOFError) as error:
        raise StudyError(f"{path}: not an array of tokens ({error}); run `dvc repro -f tokenize`") from None
    if digest != expected["sha256"]:
        raise StudyError(f"{path}: does not fit its card (sha256 {digest[:12]}…); run `dvc repro -f tokenize`")
    if len(tokens) <= context:
        raise StudyError(f"{path}: {len(tokens)} tokens, fewer than one window of {context + 1}")
    return Windows(tokens, context)


def read_card(folder: Path) -> dict:
    path = folder / "card.json"
    try:
        return json.loads(path.read_text())
    except FileNotFoundError:
        raise StudyError(f"{path}: no such file; run `dvc repro tokenize`") from None
    except json.JSONDecodeError as error:
        raise StudyError(f"{path}: not JSON ({error}); run `dvc repro -f tokenize`") from None
