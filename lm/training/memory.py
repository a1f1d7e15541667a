"""Memory of a run, measured: the training step's peak apart from that of scoring and of saving checkpoints.

A run is a process of its own, so its peak is its own. On a CPU the measure is the resident set; on CUDA it is the
allocator's, with NVML's used memory beside it, which is what the reference study recorded.
"""

from __future__ import annotations

import statistics
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

import psutil
import pynvml
import torch

from lm.training.callbacks import Callback
from lm.training.hardware import return_freed_memory

if TYPE_CHECKING:
    from lm.training.loop import Trainer

_MIB = 2**20
_SAMPLE_SECONDS = 0.01

Phase = Literal["training", "scoring", "checkpoint", "other"]


class _Peak(Protocol):
    """Bytes: the level now, and the highest since the last ``reset``."""

    def level(self) -> int: ...

    def highest(self) -> int: ...

    def reset(self) -> None: ...

    def close(self) -> None: ...


class _KernelsPeak:
    """The resident set's high-water mark as Linux keeps it, which every process may set back."""

    _RESET, _STATUS = Path("/proc/self/clear_refs"), Path("/proc/self/status")

    def __init__(self) -> None:
        """Raises :class:`OSError` or :class:`ValueError` where the kernel does not keep or reset it."""
        self._process = psutil.Process()
        self.reset()
        self.highest()

    def level(self) -> int:
        return int(self._process.memory_info().rss)

    def highest(self) -> int:
        for line in self._STATUS.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
        raise ValueError(f"{self._STATUS} has no VmHWM")

    def reset(self) -> None:
        self._RESET.write_text("5")

    def close(self) -> None:
        pass


class _SampledPeak:
    """The highest of samples a hundred times a second: where the kernel's mark cannot be set back."""

    def __init__(self) -> None:
        self._process = psutil.Process()
        self._highest = self.level()
        self._turn = threading.Lock()  # else a sample taken meanwhile would undo a reset
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._sample, daemon=True)
        self._thread.start()

    def _sample(self) -> None:
        while not self._ended.wait(_SAMPLE_SECONDS):
            with self._turn:
                self._highest = max(self._highest, self.level())

    def level(self) -> int:
        return int(self._process.memory_info().rss)

    def highest(self) -> int:
        return max(self._highest, self.level())

    def reset(self) -> None:
        with self._turn:
            self._highest = self.level()

    def close(self) -> None:
        self._ended.set()
        self._thread.join()


class _CudaPeak:
    """What PyTorch's allocator holds for tensors."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self.reset()

    def level(self) -> int:
        return torch.cuda.memory_allocated(self._device)

    def highest(self) -> int:
        return torch.cuda.max_memory_allocated(self._device)

    def reset(self) -> None:
        torch.cuda.reset_peak_memory_stats(self._device)

    def close(self) -> None:
        pass


class MemoryMeter(Callback):
    """Measures memory while a run goes on.

    Make it before the model, and before that let PyTorch load what it loads on first use: the level then is the
    baseline, which is no model's.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self._peak = _CudaPeak(device) if device.type == "cuda" else _resident_peak()
        self.baseline = self._peak.level()
        self.samples: list[int] = []
        self.nvml_samples: list[int] = []
        self._highest: dict[Phase, int] = {}
        self._above: dict[Phase, int] = {}
        self._phase: Phase = "other"
        self._left_at: int | None = None
        self._of_others = 0
        self._reserved = 0
        self._nvml = _nvml_handle(device) if device.type == "cuda" else None

    def epoch_started(self, trainer: Trainer) -> None:
        if trainer.position.step == 0:
            self.sample_nvml()
        if self._left_at is None and trainer.best_weights is not None:  # they came with a checkpoint
            self._of_others = sum(each.nbytes for each in trainer.best_weights.values() if each.device == self.device)
        self.enter("training")

    def interval_ended(self, _trainer: Trainer) -> None:
        self.sample()

    def scoring_started(self, _trainer: Trainer) -> None:
        self.enter("scoring")

    def scoring_ended(self, _trainer: Trainer) -> None:
        self.sample_nvml()
        self.enter("other")

    def enter(self, phase: Phase) -> None:
        """From now on memory is that of ``phase``; one that comes again goes on.

        What the other phases left behind between two stretches of training, such as copies of the best weights and
        kernels for the shapes that are scored, is no training step's.
        """
        highest = self._peak.highest()
        others = self._of_others if self._phase == "training" else 0
        self._highest[self._phase] = max(highest, self._highest.get(self._phase, 0))
        self._above[self._phase] = max(highest - others - self.baseline, self._above.get(self._phase, 0))
        if self.device.type == "cuda":
            self._reserved = max(self._reserved, torch.cuda.max_memory_reserved(self.device))
        else:
            return_freed_memory()  # it would count as the next phase's
        self._peak.reset()
        if self._phase == "training" != phase:
            self._left_at = self._peak.level()
        elif phase == "training" != self._phase and self._left_at is not None:
            self._of_others += max(0, self._peak.level() - self._left_at)
        self._phase = phase

    def sample(self) -> None:
        """Take the level now: between steps, a few times a second at most."""
        self.samples.append(self._peak.level())

    def sample_nvml(self) -> None:
        """Take NVML's used memory, where the study did: before training and after validation of an epoch."""
        if self._nvml is None:
            return
        try:
            self.nvml_samples.append(_nvml_used(self._nvml))
        except pynvml.NVMLError:  # a driver that says no costs this figure, not the run
            self._nvml = None

    def close(self) -> None:
        self._peak.close()

    def report(self) -> dict[str, float | str | None]:
        """MiB. ``memory_peak_mb`` is the whole run's; the other peaks are above the baseline, each of its phase."""
        self.enter("other")
        return {
            "memory_measure": "cuda" if self.device.type == "cuda" else "rss",
            "memory_peak_mb": max(*self._highest.values(), *self.samples, 0) / _MIB,
            "memory_mean_mb": statistics.fmean(self.samples) / _MIB if self.samples else None,
            "memory_baseline_mb": self.baseline / _MIB,
            "memory_footprint_mb": self._above_mib("training"),
            "memory_scoring_mb": self._above_mib("scoring"),
            "memory_checkpoint_mb": self._above_mib("checkpoint"),
            "gpu_reserved_mb": self._reserved / _MIB if self.device.type == "cuda" else None,
            "nvml_mean_mb": statistics.fmean(self.nvml_samples) / _MIB if self.nvml_samples else None,
        }

    def _above_mib(self, phase: Phase) -> float | None:
        return self._above[phase] / _MIB if phase in self._above else None

    def state_dict(self) -> dict[str, Any]:
        """What a resumed run goes on with; levels above the baseline, as another process has another baseline."""
        return {"samples": self.samples, "nvml": self.nvml_samples, "highest": self._highest, "above": self._above}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.samples, self.nvml_samples = state["samples"], state["nvml"]
        self._highest, self._above = state["highest"], state["above"]


def _resident_peak() -> _Peak:
    with suppress(OSError, ValueError):
        return _KernelsPeak()
    return _SampledPeak()


def _nvml_handle(device: torch.device) -> Any:
    try:
        pynvml.nvmlInit()
        return pynvml.nvmlDeviceGetHandleByUUID(f"GPU-{torch.cuda.get_device_properties(device).uuid}")
    except pynvml.NVMLError:
        return None


def _nvml_used(handle: Any) -> int:
    """Bytes as nvidia-smi prints them: the second version's, which leaves out what driver and firmware reserve."""
    query: Callable[..., Any] = pynvml.nvmlDeviceGetMemoryInfo
    try:
        return int(query(handle, version=pynvml.nvmlMemory_v2).used)
    except pynvml.NVMLError_FunctionNotFound:  # drivers before 510, which count nothing as reserved
        return int(query(handle).used)
