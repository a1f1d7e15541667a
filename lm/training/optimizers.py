"""The study's four optimizers, each in PyTorch's fused implementation."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import nn

from lm.config.run import OptimizerConfig


def build_optimizer(config: OptimizerConfig, parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
    """Adam (Kingma & Ba 2015), AdamW (Loshchilov & Hutter 2019), SGD, and SGD with momentum.

    Everything the configuration does not name is PyTorch's default. Frozen parameters are left out.
    """
    trainable = [parameter for parameter in parameters if parameter.requires_grad]
    common = {"lr": config.lr, "weight_decay": config.weight_decay, "fused": True}
    if config.name == "adam":
        return torch.optim.Adam(trainable, **common)
    if config.name == "adamw":
        return torch.optim.AdamW(trainable, **common)
    return torch.optim.SGD(trainable, momentum=config.momentum, **common)
