"""Memory of a run: what was measured, and what its shapes say it should be.

A run is a process of its own, so its peak is its own. On a CPU the measure is the resident set; on CUDA it is
the allocator's, with NVML's used memory beside it, which is what the reference study recorded.
"""

from __future__ import annotations

import statistics
from contextlib import nullcontext, suppress
from itertools import chain
from pathlib import Path

import psutil
import pynvml
import torch
from torch import nn

from lm.config.run import RunConfig
from lm.training.loss import chunk_rows, group_rows, softmax_rows

_MIB = 2**20


class MemoryMeter:
    """Samples memory while a run goes on. Make it before the model, to know the level that is not the model's."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self._process = psutil.Process()
        _first_use(device)
        self.baseline = self._process.memory_info().rss
        self.samples: list[int] = []
        self.nvml_samples: list[int] = []
        self._nvml = _nvml_handle(device) if device.type == "cuda" else None
        if device.type == "cpu":
            with suppress(OSError):
                # the kernel's high-water mark is set back, so that the imports' peak is not taken for the run's
                Path("/proc/self/clear_refs").write_text("5")

    def sample(self) -> None:
        """Take the level now: between steps, a few times a second at most."""
        cuda = self.device.type == "cuda"
        self.samples.append(torch.cuda.memory_allocated(self.device) if cuda else self._process.memory_info().rss)

    def sample_nvml(self) -> None:
        """Take NVML's used memory, where the study did: before training and after validation of an epoch."""
        if self._nvml is not None:
            self.nvml_samples.append(_nvml_used(self._nvml))

    def report(self) -> dict[str, float | str | None]:
        """MiB. ``memory_footprint_mb`` is the peak above the level before the model was built."""
        if self.device.type == "cuda":
            peak = footprint = torch.cuda.max_memory_allocated(self.device)
            reserved = torch.cuda.max_memory_reserved(self.device)
        else:
            peak = max(_peak_rss(self._process), *self.samples, 0)
            footprint, reserved = max(0, peak - self.baseline), None
        return {
            "memory_measure": "cuda" if self.device.type == "cuda" else "rss",
            "memory_peak_mb": peak / _MIB,
            "memory_mean_mb": statistics.fmean(self.samples) / _MIB if self.samples else None,
            "memory_footprint_mb": footprint / _MIB,
            "gpu_reserved_mb": reserved / _MIB if reserved is not None else None,
            "nvml_mean_mb": statistics.fmean(self.nvml_samples) / _MIB if self.nvml_samples else None,
        }


def _first_use(device: torch.device) -> None:
    """Have PyTorch load what it loads on first use (tens of MiB of modules and kernels): that is no model's memory."""
    layers = nn.ModuleList([nn.LSTM(8, 8, batch_first=True), nn.Linear(8, 8)]).to(device)
    optimizer = torch.optim.Adam(layers.parameters(), fused=True)
    half = torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cpu")
    for context in (nullcontext(), half):
        with context:
            outputs = layers[1](layers[0](torch.ones(2, 2, 8, device=device))[0])
        torch.softmax(outputs.float(), -1).sum().backward()
        optimizer.step()


def _nvml_handle(device: torch.device):
    try:
        pynvml.nvmlInit()
        return pynvml.nvmlDeviceGetHandleByUUID(f"GPU-{torch.cuda.get_device_properties(device).uuid}")
    except pynvml.NVMLError:
        return None


def _nvml_used(handle) -> int:
    """Bytes as nvidia-smi prints them: the second version's, which leaves out what driver and firmware reserve."""
    try:
        return pynvml.nvmlDeviceGetMemoryInfo(handle, version=pynvml.nvmlMemory_v2).used
    except pynvml.NVMLError_FunctionNotFound:  # drivers before 510, which count nothing as reserved
        return pynvml.nvmlDeviceGetMemoryInfo(handle).used


def _peak_rss(process: psutil.Process) -> int:
    with suppress(OSError, StopIteration):
        status = Path("/proc/self/status").read_text().splitlines()
        line = next(line for line in status if line.startswith("VmHWM:"))
        return int(line.split()[1]) * 1024
    return process.memory_info().rss


def predict_memory(
    config: RunConfig, model: nn.Module, vocabulary: int, device: str, precision: str
) -> dict[str, float]:
    """The bytes that a training step must hold, from shapes alone, in MiB by purpose.

    Parameters and gradients are fp32. Activations are what the backward pass reads again, plus the bf16 or fp16
    copies of weights that autocast keeps for the step; logits are the buffers of the chunked loss. It is a lower
    bound on what a process shows: allocators keep more, and libraries need room of their own. Frozen tables are
    parameters without gradient or state.
    """
    all_parameters = sum(weight.numel() for weight in chain(model.parameters(), model.buffers()))
    trainable = sum(p.numel() for p in model.parameters() if p.requires_grad)
    state = {"adam": 2, "adamw": 2, "momentum": 1, "sgd": 0}[config.optimizer.name]
    half = 2 if precision in ("bf16", "fp16") else 4
    shapes = config.model
    tokens = config.training.batch * shapes.context
    table_trained = model.embedding.weight.requires_grad
    rows = min(chunk_rows(vocabulary, device), tokens)
    table = vocabulary * shapes.width

    if shapes.architecture == "lstm":
        # gates, cell and output a layer, and the head's input and output
        kept = tokens * (shapes.layers * 6 * shapes.lstm_hidden * half + shapes.width * (4 + 2 * half))
    else:
        # a block keeps its input, q, k, v, the mix, two norms' inputs and outputs (fp32), the inner layer before and
        # after its GELU, and a row of attention weights a head where the CPU's attention is two products
        rows_of_weights = shapes.heads * shapes.context * half if (device, precision) == ("cpu", "bf16") else 0
        a_block = shapes.width * (5 * half + 4 * 4) + shapes.mlp * 2 * half + rows_of_weights
        kept = tokens * (shapes.layers * a_block + shapes.width * 4)
    copies = (all_parameters - table) * half if half == 2 else 0
    product_rows = min(group_rows(vocabulary, device), tokens) if table_trained else rows
    logits = vocabulary * (
        product_rows * half + (min(softmax_rows(vocabulary, device), tokens) * 4 if half == 2 else 0)
    )
    logits += tokens * shapes.width * 2 * half + (table * half if half == 2 else 0)
    # the table's gradient, and the product that is added to it
    logits += table * (4 + half) if table_trained else 0
    parts = {
        "model_parameters_mb": all_parameters * 4,
        "model_gradients_mb": trainable * 4,
        "model_optimizer_mb": trainable * 4 * state,
        "model_activations_mb": kept + copies,
        "model_logits_mb": logits,
    }
    return {name: size / _MIB for name, size in parts.items()}
