"""What ``auto`` comes to, what is refused, and what is set up; GPUs by what they would say of themselves."""

from __future__ import annotations

import os

import pytest
import torch

from lm.errors import StudyError
from lm.training import hardware
from lm.training.hardware import choose, fast_bf16_cpu, native_bf16_cpu, settle


@pytest.fixture
def capability(monkeypatch):
    """Let PyTorch find a GPU of this compute capability."""

    def pretend(major: int, minor: int) -> None:
        monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: (major, minor))

    return pretend


@pytest.mark.parametrize(
    ("device", "precision", "named"), [("cpu", "fp16", "fp16"), ("cpu", "tf32", "tf32"), ("cuda", "fp32", "cuda")]
)
def test_hardware_that_is_not_there(run_config, device, precision, named):
    if device == "cuda" and torch.cuda.is_available():
        pytest.skip("a CUDA device is there")
    config = run_config(precision=precision).compute.model_copy(update={"device": device})
    with pytest.raises(StudyError, match=f"'{named}'.*allowed"):
        choose(config)


@pytest.mark.parametrize(
    ("vendor", "avx512_bf16", "amx", "auto"),
    [
        ("GenuineIntel", False, False, "fp32"),
        ("GenuineIntel", True, False, "fp32"),
        ("GenuineIntel", True, True, "bf16"),
        ("AuthenticAMD", False, False, "fp32"),
        ("AuthenticAMD", True, False, "bf16"),
        (None, True, False, "fp32"),
    ],
)
def test_auto_is_bf16_where_it_is_faster_and_allowed_where_it_is_native(
    monkeypatch, run_config, vendor, avx512_bf16, amx, auto
):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: avx512_bf16)
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: amx)
    monkeypatch.setattr(hardware, "_cpuinfo", lambda *_: [] if vendor is None else [vendor])
    assert choose(run_config(precision="auto").compute).precision == auto
    if avx512_bf16:
        assert choose(run_config(precision="bf16").compute).precision == "bf16"
    else:
        with pytest.raises(StudyError, match=r"'bf16' needs .*AVX-512 BF16 or AMX; allowed"):
            choose(run_config(precision="bf16").compute)


@pytest.mark.parametrize(
    ("major", "minor", "auto"), [(6, 1, "fp32"), (7, 0, "fp16"), (7, 5, "fp16"), (8, 0, "bf16"), (9, 0, "bf16")]
)
def test_before_ampere_tf32_and_bf16_are_refused(capability, run_config, major, minor, auto):
    capability(major, minor)

    def chosen(precision):
        return choose(run_config(precision=precision).compute.model_copy(update={"device": "auto"}), where="here: key")

    assert chosen("auto").precision == auto
    assert chosen("auto").device.type == "cuda"
    for precision in ("fp32", "fp16"):
        assert chosen(precision).precision == precision
    for precision in ("tf32", "bf16"):
        if major >= 8:
            assert chosen(precision).precision == precision
            continue
        with pytest.raises(StudyError) as refusal:
            chosen(precision)
        assert str(refusal.value) == (
            f"here: key: '{precision}' needs a GPU of compute capability 8 or newer; "
            f"allowed on this one, which has {major}.{minor}: auto, fp32, fp16"
        )


def test_choosing_sets_nothing_up(monkeypatch, run_config):
    def fail(*_arguments):
        raise AssertionError("choosing has set PyTorch up")

    with monkeypatch.context() as patch:
        for module, name in (
            (torch, "set_num_threads"),
            (torch, "use_deterministic_algorithms"),
            (hardware, "_keep_freed_memory"),
        ):
            patch.setattr(module, name, fail)
        patch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
        torch.backends.cuda.matmul.allow_tf32 = True
        compute = choose(run_config().compute)
        assert torch.backends.cuda.matmul.allow_tf32
        assert "CUBLAS_WORKSPACE_CONFIG" not in os.environ
    torch.use_deterministic_algorithms(False)
    assert settle(compute) == compute
    assert torch.are_deterministic_algorithms_enabled()
    assert not torch.backends.cuda.matmul.allow_tf32
    assert "CUBLAS_WORKSPACE_CONFIG" in os.environ


def test_a_limit_on_onednn_limits_what_auto_takes_and_what_is_allowed(monkeypatch, run_config):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: True)
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: True)
    monkeypatch.setattr(hardware, "_cpuinfo", lambda *_: ["GenuineIntel"])
    for limit, native, fast in (
        ("AVX2", False, False),
        ("avx512_core", False, False),
        ("AVX512_CORE_BF16", True, False),
        ("AVX10_1_512", True, False),
        ("AVX512_CORE_AMX", True, True),
        ("DEFAULT", True, True),
    ):
        monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", limit)
        assert (native_bf16_cpu(), fast_bf16_cpu()) == (native, fast)
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "AVX2")
    assert choose(run_config(precision="auto").compute).precision == "fp32"
    with pytest.raises(StudyError, match=r"'bf16'.*allowed"):
        choose(run_config(precision="bf16").compute)


def test_sums_of_half_precision_products_are_not_reduced(run_config):
    torch.backends.cuda.matmul.allow_bf16_reduced_precision_reduction = True
    torch.backends.cuda.matmul.allow_fp16_reduced_precision_reduction = True
    settle(choose(run_config().compute))
    assert not torch.backends.cuda.matmul.allow_bf16_reduced_precision_reduction
    assert not torch.backends.cuda.matmul.allow_fp16_reduced_precision_reduction
