"""The exact loss over a set of windows: every token counted once, divided by how many were predicted."""

from __future__ import annotations

import numpy as np
import torch

from lm.corpus.windows import Batch, Windows
from lm.models.gpt import GPT
from lm.models.lstm import LSTM
from lm.training.hardware import Compute
from lm.training.loss import projected_cross_entropy

_TOKENS_AT_ONCE = 8192


def to_device(batch: Batch, device: torch.device) -> Batch:
    """Move a batch; to a GPU through pinned memory, without waiting for it."""
    if device.type == "cpu":
        return batch
    inputs, targets = (t.pin_memory().to(device, non_blocking=True) for t in (batch.inputs_BT, batch.targets_BT))
    return Batch(inputs, targets, batch.predicted)


@torch.inference_mode()
def mean_loss(model: GPT | LSTM, windows: Windows, indices: np.ndarray, compute: Compute) -> float:
    """Nats a predicted token over the windows at ``indices``, in evaluation mode."""
    model.eval()
    at_once = max(1, _TOKENS_AT_ONCE // windows.context)
    total = torch.zeros((), dtype=torch.float64, device=compute.device)
    predicted = 0
    for start in range(0, len(indices), at_once):
        batch = to_device(windows.batch(indices[start : start + at_once]), compute.device)
        with compute.autocast():
            features = model(batch.inputs_BT)
        total += projected_cross_entropy(features, model.embedding.weight, batch, compute.dtype)
        predicted += batch.predicted
    model.train()
    return total.item() / predicted
