"""Memory by phase, by the kernel's mark and by samples; NVML's used memory, with a library that plays the driver."""

from __future__ import annotations

import ctypes
import gc
import mmap
import time
from contextlib import suppress
from types import SimpleNamespace

import numpy as np
import pynvml
import pytest
import torch

from lm.training import memory
from lm.training.first_use import first_use
from lm.training.hardware import choose, settle
from lm.training.loop import Job, Trainer
from lm.training.memory import MemoryMeter

MIB = 2**20


@pytest.fixture
def meter() -> MemoryMeter:
    meter = MemoryMeter(torch.device("cpu"))
    meter._nvml = object()
    return meter


def hold(mib: int) -> np.ndarray:
    """Fresh pages, none that this process has freed before, long enough for a sample to see them."""
    held = np.frombuffer(mmap.mmap(-1, mib * MIB), dtype=np.uint8)
    held[:] = 1
    time.sleep(0.1)
    return held


@pytest.fixture(params=["kernel", "samples"])
def measured(request, monkeypatch) -> MemoryMeter:
    """Either way of taking the peak of a phase."""
    if request.param == "samples":
        monkeypatch.setattr(memory, "_resident_peak", memory._SampledPeak)
    elif not isinstance(memory._resident_peak(), memory._KernelsPeak):
        pytest.skip("this kernel's mark cannot be set back")
    gc.collect()  # what earlier tests left behind must not go while this one measures
    with suppress(AttributeError):
        ctypes.CDLL(None).malloc_trim(0)
    meter = MemoryMeter(torch.device("cpu"))
    yield meter
    meter.close()


def test_each_phase_has_its_own_peak(measured):
    measured.enter("training")
    kept = hold(60)
    measured.enter("scoring")
    del kept
    large = hold(200)
    del large
    measured.enter("checkpoint")
    saved = hold(120)
    del saved
    measured.enter("training")
    again = hold(40)
    report = measured.report()
    del again
    assert report["memory_footprint_mb"] == pytest.approx(60, abs=12)
    assert report["memory_scoring_mb"] == pytest.approx(200, abs=12)
    assert report["memory_checkpoint_mb"] == pytest.approx(120, abs=12)
    assert report["memory_peak_mb"] == pytest.approx(report["memory_baseline_mb"] + 200, abs=12)


def test_what_other_phases_leave_behind_is_no_steps(measured):
    measured.enter("training")
    state = hold(30)
    measured.enter("scoring")
    left = hold(100)
    measured.enter("training")
    step = hold(20)
    del step
    report = measured.report()
    assert report["memory_footprint_mb"] == pytest.approx(50, abs=12)
    assert report["memory_peak_mb"] == pytest.approx(report["memory_baseline_mb"] + 150, abs=12)
    del state, left


def test_a_run_that_scores_more_at_once_than_it_trains_on_has_the_steps_peak(run_config, splits, measured):
    config = run_config(epochs=2)
    compute = settle(choose(config.compute))
    first_use(config, compute)
    trainer = Trainer(Job(config=config, seed=42, splits=splits, vocabulary=50, compute=compute))

    class Scorer(memory.Callback):
        def scoring_started(self, _trainer: Trainer) -> None:
            self.held = hold(150)

        def scoring_ended(self, _trainer: Trainer) -> None:
            del self.held

    trainer.run([measured, Scorer()])
    report = measured.report()
    assert report["memory_footprint_mb"] < 75
    assert report["memory_peak_mb"] > report["memory_baseline_mb"] + 140


def test_used_memory_is_what_nvidia_smi_prints(monkeypatch, meter):
    """The first version of NVML's answer counts what the driver reserves, the second does not."""
    asked = []

    def info(handle, version=None):
        assert handle is meter._nvml
        asked.append(version)
        return SimpleNamespace(used=4458 * MIB if version == pynvml.nvmlMemory_v2 else 5000 * MIB)

    monkeypatch.setattr(memory.pynvml, "nvmlDeviceGetMemoryInfo", info)
    meter.sample_nvml()
    assert meter.report()["nvml_mean_mb"] == 4458.0
    assert asked == [pynvml.nvmlMemory_v2]


def test_an_old_driver_is_asked_in_the_old_way(monkeypatch, meter):
    def info(_handle, version=None):
        if version is not None:
            raise pynvml.NVMLError(pynvml.NVML_ERROR_FUNCTION_NOT_FOUND)
        return SimpleNamespace(used=7 * MIB)

    monkeypatch.setattr(memory.pynvml, "nvmlDeviceGetMemoryInfo", info)
    meter.sample_nvml()
    assert meter.report()["nvml_mean_mb"] == 7.0


@pytest.mark.parametrize("error", [pynvml.NVML_ERROR_NOT_SUPPORTED, pynvml.NVML_ERROR_GPU_IS_LOST])
def test_a_driver_that_says_no_costs_its_figure_alone(monkeypatch, meter, error):
    def info(*_arguments, **_version):
        raise pynvml.NVMLError(error)

    monkeypatch.setattr(memory.pynvml, "nvmlDeviceGetMemoryInfo", info)
    meter.sample_nvml()
    meter.sample_nvml()
    assert meter.report()["nvml_mean_mb"] is None


def test_it_is_taken_before_training_and_after_validation_of_each_epoch(monkeypatch, run_config, splits, meter):
    config, events = run_config(epochs=2), []
    trainer = Trainer(Job(config=config, seed=42, splits=splits, vocabulary=50, compute=settle(choose(config.compute))))
    levels = iter([100, 300, 200, 400])

    def info(*_arguments, **_version):
        events.append("nvml")
        return SimpleNamespace(used=next(levels) * MIB)

    def noted(name, function):
        def call(*arguments):
            if events[-1:] != [name]:
                events.append(name)
            return function(*arguments)

        return call

    monkeypatch.setattr(memory.pynvml, "nvmlDeviceGetMemoryInfo", info)
    monkeypatch.setattr(trainer, "_step", noted("training", trainer._step))
    monkeypatch.setattr("lm.training.loop.mean_loss", noted("validation", lambda *_arguments: 1.0))
    trainer.run([meter])
    assert events == ["nvml", "training", "validation", "nvml"] * 2
    assert meter.report()["nvml_mean_mb"] == 250.0
