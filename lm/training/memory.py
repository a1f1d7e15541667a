"""Memory of a run, measured.

A run is a process of its own, so its peak is its own. On a CPU the measure is the resident set; on CUDA it is
the allocator's, with NVML's used memory beside it, which is what the reference study recorded.
"""

from __future__ import annotations

import statistics
from contextlib import nullcontext, suppress
from pathlib import Path

import psutil
import pynvml
import torch
from torch import nn

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
