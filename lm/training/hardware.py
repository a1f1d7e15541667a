"""Which device and number format a run uses, and how that is written down."""

from __future__ import annotations

import ctypes
import os
import platform
import subprocess
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path

import torch

from lm.config.run import ComputeConfig
from lm.errors import StudyError

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # of glibc's malloc.h

_DTYPES = {"fp32": torch.float32, "tf32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


@dataclass(frozen=True)
class Compute:
    """The device and precision that ``auto`` came to."""

    device: torch.device
    precision: str
    threads: int
    compile: bool

    @property
    def dtype(self) -> torch.dtype:
        """The type of matrix products."""
        return _DTYPES[self.precision]

    def autocast(self) -> AbstractContextManager:
        """Matrix products in :attr:`dtype`; weights, sums and norms stay fp32."""
        if self.dtype == torch.float32:
            return nullcontext()
        return torch.autocast(self.device.type, self.dtype)

    def synchronize(self) -> None:
        """Wait for the device, so that a clock reading means what it says."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)


def native_bf16_cpu() -> bool:
    """Whether the processor multiplies bf16 natively; elsewhere bf16 would only be slower."""
    return torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()


def settle(config: ComputeConfig) -> Compute:
    """Choose device and precision and set PyTorch up for repeatable sums.

    Raises :class:`StudyError` for a device that is not there or a precision that it does not have.
    """
    cuda = torch.cuda.is_available()
    if config.device == "cuda" and not cuda:
        raise StudyError("params.yaml: device: 'cuda', but PyTorch finds no CUDA device; allowed here: auto, cpu")
    device = torch.device("cuda" if cuda and config.device != "cpu" else "cpu")
    precision = config.precision if config.precision != "auto" else _native_precision(device)
    if device.type == "cpu" and precision in ("tf32", "fp16"):
        raise StudyError(f"params.yaml: precision: '{precision}' needs a GPU; allowed on a CPU: auto, fp32, bf16")

    torch.set_num_threads(config.threads)
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(True)
    torch.utils.deterministic.fill_uninitialized_memory = False  # no tensor is read before it is written
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = precision == "tf32"
    _keep_freed_memory()
    return Compute(device, precision, config.threads, config.compile)


def _keep_freed_memory() -> None:
    """Have glibc keep what a step frees for the next step, up to a size.

    By its defaults it maps every large tensor afresh and the kernel zeroes it page by page: thousands of page faults a
    step, 5 to 15 % of a small model's time. Tensors of a large one leave holes that the next step's do not fit into,
    30 % of its memory, and their products take far longer than the kernel: those are mapped as before. Other C
    libraries have no ``mallopt``; there nothing is done.
    """
    with suppress(AttributeError, OSError):
        library = ctypes.CDLL(None)
        library.mallopt(_M_MMAP_THRESHOLD, 12 * 2**20)
        library.mallopt(_M_TRIM_THRESHOLD, 2**30)


def _native_precision(device: torch.device) -> str:
    if device.type == "cpu":
        return "bf16" if native_bf16_cpu() else "fp32"
    major, _ = torch.cuda.get_device_capability(device)
    return "bf16" if major >= 8 else "fp16" if major >= 7 else "fp32"


def fingerprint(compute: Compute) -> dict[str, str | int]:
    """What a time or a memory figure depends on beside the configuration."""
    return {
        "device": compute.device.type,
        "precision": compute.precision,
        "threads": compute.threads,
        "hardware": _hardware(compute.device),
        "torch": torch.__version__,
        "python": platform.python_version(),
        "revision": _revision(),
    }


def _hardware(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    model = platform.processor() or platform.machine()
    information = Path("/proc/cpuinfo")
    if information.is_file():
        for line in information.read_text().splitlines():
            if line.startswith("model name"):
                model = line.split(":", 1)[1].strip()
                break
    return f"{model}, {os.cpu_count()} cores"


def _revision() -> str:
    def git(*arguments: str) -> str:
        return subprocess.run(["git", *arguments], capture_output=True, text=True, check=True).stdout.strip()

    try:
        changed = git("status", "--porcelain", "--untracked-files=no", "--", "lm", "stages")
        return git("rev-parse", "--short=12", "HEAD") + ("+" if changed else "")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
