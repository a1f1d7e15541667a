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

_LIMITS = ("ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA")

_WITHOUT_BF16 = frozenset(
    ("SSE41", "AVX", "AVX2", "AVX2_VNNI", "AVX2_VNNI_2", "AVX512_CORE", "AVX512_CORE_VNNI")
)  # of oneDNN's documented limits; it passes over names that it does not know
_WITHOUT_AMX = _WITHOUT_BF16 | {"AVX512_CORE_BF16", "AVX512_CORE_FP16", "AVX10_1_512"}

_VOLTA, _AMPERE = 7, 8  # compute capabilities, from which on products in fp16 and in bf16 and tf32 are native

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

    def autocast(self) -> AbstractContextManager[object]:
        """Matrix products in :attr:`dtype`; weights, sums and norms stay fp32."""
        if self.dtype == torch.float32:
            return nullcontext()
        return torch.autocast(self.device.type, self.dtype)

    def synchronize(self) -> None:
        """Wait for the device, so that a clock reading means what it says."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)


def native_bf16_cpu() -> bool:
    """Whether matrix products in bf16 run natively; elsewhere they are slower, and those of an LSTM fail.

    oneDNN, which takes them, can be held to older instructions by a variable of the environment.
    """
    return not _limited_to(_WITHOUT_BF16) and (
        torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    )


def fast_bf16_cpu() -> bool:
    """Whether matrix products in bf16 take less time than in fp32, as far as that has been measured.

    By AMX they do, which has units of its own for them, and by AVX-512 BF16 on AMD's processors (Zen 4). On an Intel
    Xeon the latter alone took twice as long as fp32.
    """
    if not _limited_to(_WITHOUT_AMX) and torch.cpu._is_amx_tile_supported():
        return True
    return (
        not _limited_to(_WITHOUT_BF16)
        and torch.cpu._is_avx512_bf16_supported()
        and _cpuinfo("vendor_id") == ["AuthenticAMD"]
    )


def _limited_to(instructions: frozenset[str]) -> bool:
    return any(os.environ.get(name, "").upper() in instructions for name in _LIMITS)


def choose(config: ComputeConfig, where: str = "params.yaml: precision") -> Compute:
    """What the configured device and precision come to on this machine. PyTorch stays as it is set up.

    ``where`` is the place of the precision's setting, for the message. Raises :class:`StudyError` for a device that is
    not there and for a precision that it does not have.
    """
    cuda = torch.cuda.is_available()
    if config.device == "cuda" and not cuda:
        raise StudyError("params.yaml: device: 'cuda', but PyTorch finds no CUDA device; allowed here: auto, cpu")
    device = torch.device("cuda" if cuda and config.device != "cpu" else "cpu")
    precision = config.precision if config.precision != "auto" else _native_precision(device)
    refused = _refused_on_gpu(device, precision) if device.type == "cuda" else _refused_on_cpu(precision)
    if refused is not None:
        raise StudyError(f"{where}: '{precision}' needs {refused}")
    return Compute(device, precision, config.threads, config.compile)


def _refused_on_cpu(precision: str) -> str | None:
    """What the precision needs and is not here, with what is allowed, or None."""
    if precision in ("tf32", "fp16"):
        return "a GPU; allowed on a CPU: auto, fp32, bf16"
    if precision == "bf16" and not native_bf16_cpu():
        return "a processor with AVX-512 BF16 or AMX; allowed on this one: auto, fp32"
    return None


def _refused_on_gpu(device: torch.device, precision: str) -> str | None:
    """As :func:`_refused_on_cpu`. Before Ampere PyTorch takes tf32 for fp32 and emulates bf16, without a word."""
    major, minor = torch.cuda.get_device_capability(device)
    if precision in ("tf32", "bf16") and major < _AMPERE:
        return (
            f"a GPU of compute capability {_AMPERE} or newer; "
            f"allowed on this one, which has {major}.{minor}: auto, fp32, fp16"
        )
    return None


def settle(compute: Compute) -> Compute:
    """Set PyTorch up for ``compute`` and for repeatable sums; returns it."""
    torch.set_num_threads(compute.threads)
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(True)
    # no tensor is read before it is written
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = compute.precision == "tf32"
    # sums of bf16 and fp16 products stay in fp32 however a library splits them
    torch.backends.cuda.matmul.allow_bf16_reduced_precision_reduction = False
    torch.backends.cuda.matmul.allow_fp16_reduced_precision_reduction = False
    _keep_freed_memory()
    return compute


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


def return_freed_memory() -> None:
    """Give back to the system what has been freed and glibc keeps; elsewhere nothing is done."""
    with suppress(AttributeError, OSError):
        ctypes.CDLL(None).malloc_trim(0)


def _native_precision(device: torch.device) -> str:
    if device.type == "cpu":
        return "bf16" if fast_bf16_cpu() else "fp32"
    major, _ = torch.cuda.get_device_capability(device)
    return "bf16" if major >= _AMPERE else "fp16" if major >= _VOLTA else "fp32"


def kind_of_machine(device: torch.device) -> str:
    """What bits depend on: PyTorch's version, and the processor or GPU with the instructions that are used of it."""
    if device.type == "cuda":
        major, minor = torch.cuda.get_device_capability(device)
        return f"torch {torch.__version__}, {torch.cuda.get_device_name(device)}, compute capability {major}.{minor}"
    described = [platform.machine(), torch.backends.cpu.get_cpu_capability()]
    described += _cpuinfo("vendor_id", "cpu family", "model", "model name")
    if torch.cpu._is_avx512_bf16_supported():
        described.append("AVX512_BF16")
    if torch.cpu._is_amx_tile_supported():
        described.append("AMX")
    described += [f"{name}={os.environ[name]}" for name in _LIMITS if name in os.environ]
    return f"torch {torch.__version__}, {', '.join(described)}"


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
    model = "".join(_cpuinfo("model name")) or platform.processor() or platform.machine()
    return f"{model}, {os.cpu_count()} cores"


def _cpuinfo(*names: str) -> list[str]:
    """These lines of the first processor's; what is not there is left out."""
    try:
        first = Path("/proc/cpuinfo").read_text().split("\n\n", 1)[0]
    except OSError:
        return []
    values = {name.strip(): value.strip() for name, _, value in (line.partition(":") for line in first.splitlines())}
    return [values[name] for name in names if name in values]


def _revision() -> str:
    def git(*arguments: str) -> str:
        return subprocess.run(["git", *arguments], capture_output=True, text=True, check=True).stdout.strip()

    try:
        changed = git("status", "--porcelain", "--untracked-files=no", "--", "lm", "stages")
        return git("rev-parse", "--short=12", "HEAD") + ("+" if changed else "")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
