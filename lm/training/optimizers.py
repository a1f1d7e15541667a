"""From an optimizer's entry to PyTorch's optimizer."""

from __future__ import annotations

import importlib
from collections.abc import Iterable
from typing import Any

import torch
from torch import nn

from lm.config.optimizers import OPTIMIZERS
from lm.config.run import OptimizerConfig

BETA1 = 0.9
"""Adam's decay of the first moment, PyTorch's default: ``beta2`` alone is a setting."""


def build_optimizer(config: OptimizerConfig, parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
    """The configured optimizer; what its entry does not name is the factory's default.

    Frozen parameters are left out. SGD's momentum starts at zero, from where its first step, without dampening, is
    PyTorch's own: zero times momentum, and the gradient. PyTorch makes the buffers in the first step, unwritten, and
    takes them for written in the second; where fp16's scaler has the kernel skip the first, nothing was.
    """
    entry = OPTIMIZERS[config.name]
    module, name = entry.factory.split(":")
    factory = getattr(importlib.import_module(module), name)
    arguments: dict[str, Any] = {"lr": config.lr, **config.settings, **entry.fixed}
    if "beta2" in arguments:
        arguments["betas"] = (BETA1, arguments.pop("beta2"))
    trained = [parameter for parameter in parameters if parameter.requires_grad]
    optimizer: torch.optim.Optimizer = factory(trained, **arguments)
    if isinstance(optimizer, torch.optim.SGD) and optimizer.defaults["momentum"] != 0:
        for parameter in trained:
            optimizer.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)
    return optimizer
