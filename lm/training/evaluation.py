"""The exact loss over a set of windows: every token counted once, divided by how many were predicted."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lm.corpus.windows import Batch, Windows
from lm.models.language_model import LanguageModel
from lm.training.hardware import Compute
from lm.training.loss import token_losses

_TOKENS_AT_ONCE = 8192


def to_device(batch: Batch, device: torch.device) -> Batch:
    """Move a batch; to a GPU through pinned memory, without waiting for it."""
    if device.type == "cpu":
        return batch
    inputs_BT, targets_BT = (t.pin_memory().to(device, non_blocking=True) for t in (batch.inputs_BT, batch.targets_BT))
    return Batch(inputs_BT, targets_BT, batch.predicted)


def mean_loss(model: LanguageModel, windows: Windows, indices: NDArray[np.int64], compute: Compute) -> float:
    """Nats a predicted token over the windows at ``indices``, in evaluation mode."""
    total = torch.zeros((), dtype=torch.float64, device=compute.device)
    predicted = 0
    for nll_N in _losses(model, windows, indices, compute):
        total += nll_N.sum(dtype=torch.float64)
        predicted += len(nll_N)
    return total.item() / predicted


def token_nll(model: LanguageModel, windows: Windows, compute: Compute) -> tuple[float, NDArray[np.float32]]:
    """The same over all windows, and the nats of each predicted token in order, (predicted,)."""
    parts = [
        (nll_N.sum(dtype=torch.float64), nll_N.cpu()) for nll_N in _losses(model, windows, windows.indices, compute)
    ]
    total = torch.zeros((), dtype=torch.float64, device=compute.device)
    for part, _ in parts:
        total += part
    nll_N = torch.cat([nll_N for _, nll_N in parts])
    return total.item() / len(nll_N), nll_N.numpy()


def _losses(model: LanguageModel, windows: Windows, indices: NDArray[np.int64], compute: Compute) -> Iterator[Tensor]:
    """Nats of each predicted token, a batch at a time, in evaluation mode."""
    at_once = max(1, _TOKENS_AT_ONCE // windows.context)
    model.eval()
    try:
        for start in range(0, len(indices), at_once):
            batch = to_device(windows.batch(indices[start : start + at_once]), compute.device)
            with torch.inference_mode():
                with compute.autocast():
                    features = model(batch.inputs_BT)
                nll_N = token_losses(features, model.embedding.weight, batch, compute.dtype)
            yield nll_N
    finally:
        model.train()
