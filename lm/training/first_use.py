"""What PyTorch loads on first use: tens of MiB of modules and kernels, no model's memory and no step's time."""

from __future__ import annotations

import torch

from lm.config.run import RunConfig
from lm.corpus.windows import Batch
from lm.models.build import build_model
from lm.training.hardware import Compute
from lm.training.loss import objective_and_nll
from lm.training.optimizers import build_optimizer

_SIZE = 8
_MAX_LAYERS = 2


def first_use(config: RunConfig, compute: Compute) -> None:
    """Take one step of a tiny model of the run's kind, in its number format and with its optimizer, and forget it.

    Nothing is used that the run does not use: a kernel that a processor has not fails only those who need it.
    """
    shapes = config.model
    tiny = {"layers": min(shapes.layers, _MAX_LAYERS), "context": _SIZE, "width": _SIZE, "embeddings": "learned"}
    model = build_model(shapes.model_copy(update=tiny | dict.fromkeys(shapes.sizes, _SIZE)), _SIZE).to(compute.device)
    optimizer = build_optimizer(config.optimizer, model.parameters())
    tokens = torch.zeros(2, _SIZE, dtype=torch.int64, device=compute.device)
    with compute.autocast():
        features = model(tokens)
    batch = Batch(tokens, tokens, tokens.numel())
    objective, _ = objective_and_nll(
        features, model.embedding.weight, batch, compute.dtype, config.training.label_smoothing
    )
    objective.backward()
    optimizer.step()
    compute.synchronize()
