"""NVML's used memory as the study took it, with a library that plays the driver: no test needs a GPU."""

from __future__ import annotations

from types import SimpleNamespace

import pynvml
import pytest
import torch

from lm.training import memory
from lm.training.hardware import settle
from lm.training.loop import Trainer
from lm.training.memory import MemoryMeter

MIB = 2**20


@pytest.fixture
def meter() -> MemoryMeter:
    meter = MemoryMeter(torch.device("cpu"))
    meter._nvml = object()
    return meter


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


def test_it_is_taken_before_training_and_after_validation_of_each_epoch(monkeypatch, run_config, splits, tmp_path):
    config, events = run_config(epochs=2), []
    trainer = Trainer(config, 42, splits, 50, settle(config.compute), tmp_path / "run.pt", "this", 1e9)
    trainer.meter._nvml = object()
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
    trainer.run("run")
    assert events == ["nvml", "training", "validation", "nvml"] * 2
    assert trainer.meter.report()["nvml_mean_mb"] == 250.0
