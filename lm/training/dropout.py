"""Dropout that is a function of seed, step and slice, where the generators' state in a checkpoint does not tell it."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn


def seed_dropout(seed: int, step: int, shard: int) -> None:
    """Give PyTorch's generators a state that is this slice's own, whichever process it is in."""
    torch.manual_seed(int(np.random.SeedSequence([seed, step, shard]).generate_state(1, np.uint64)[0]))


def cudnn_draws(model: nn.Module, device: torch.device) -> bool:
    """Whether cuDNN draws dropout, which it does between the layers of a recurrent network on a GPU.

    Its state is a buffer that PyTorch keeps for each GPU (``dropout_state_cache`` in ATen's ``native/cudnn/RNN.cpp``),
    out of reach and in no checkpoint. It is drawn anew, from the GPU's generator, at the first use after that was
    seeded or set: ``CUDAGeneratorImpl::set_current_seed`` marks it for that. So a run whose generator is seeded at each
    step (:func:`seed_dropout`) draws the same whether it was stopped or not, and one whose generator is only put back
    to where it stood draws other dropout. A step pays a wait for the device and a kernel that sets the buffer up.
    """
    if device.type != "cuda":
        return False
    networks = [module for module in model.modules() if isinstance(module, nn.RNNBase)]
    return any(network.num_layers > 1 and network.dropout > 0 for network in networks)
