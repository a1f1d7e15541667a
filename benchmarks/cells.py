"""Step times and memory of one model in one number format, by every way of writing it, in one process."""

from __future__ import annotations

import gc
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict
from typing import Any

import torch

from benchmarks.contenders import Step, as_pytorch_comes, our_step, plain_step
from benchmarks.parts import ABSENT, Row
from benchmarks.sizes import configuration, scale_of
from lm.config.run import ComputeConfig, RunConfig
from lm.config.study import Study
from lm.errors import StudyError
from lm.models.build import step_operations
from lm.training.first_use import first_use
from lm.training.hardware import Compute, choose, fingerprint, settle
from lm.training.memory import MemoryMeter

_TURNS = {"cuda": (9, 10), "cpu": (3, 1)}
"""Turns of each contender, and the steps of a turn, between whose ends the device is waited for."""
_WARM_STEPS = 3


def machine(device: str, threads: int) -> dict[str, Any]:
    """What the figures depend on beside the code."""
    compute = settle(choose(ComputeConfig.model_validate({"device": device, "precision": "auto", "threads": threads})))
    found: dict[str, Any] = {**fingerprint(compute)}
    if compute.device.type == "cuda":
        properties = torch.cuda.get_device_properties(compute.device)
        found |= {
            "compute_capability": f"{properties.major}.{properties.minor}",
            "memory_mib": properties.total_memory / 2**20,
            "multiprocessors": properties.multi_processor_count,
            "cuda": torch.version.cuda,
            "cudnn": torch.backends.cudnn.version(),
        }
    return found


def measure(
    study: Study, model: str, layers: int, precision: str, contenders: tuple[str, ...], device: str, threads: int
) -> list[dict[str, Any]]:
    """A row a contender. They take turns, so that a machine that drifts drifts for all.

    What a contender cannot do, or what the device has not, stands in its row's ``status``; the others go on.
    """
    rows = [Row(model=model, layers=layers, precision=precision, contender=name) for name in contenders]
    config = configuration(study, model, layers, device=device, precision=precision, threads=threads)
    ready: list[tuple[Row, Step, Callable[[], AbstractContextManager[None]]]] = []
    try:
        compute = settle(choose(config.compute))
    except StudyError as error:
        for row in rows:
            row.status = f"{ABSENT}: {str(error).removeprefix('params.yaml: ')}"
        return [asdict(row) for row in rows]
    first_use(config, compute)
    turns, steps = _TURNS[compute.device.type]
    with tempfile.TemporaryDirectory() as cache:
        os.environ["TORCHINDUCTOR_CACHE_DIR"] = cache
        for row in rows:
            plain = row.contender.startswith("plain")
            settings: Callable[[], AbstractContextManager[None]] = as_pytorch_comes if plain else nullcontext
            try:
                with settings():
                    ready.append((row, _prepare(row, study, config, compute), settings))
            except Exception as error:
                row.status = f"failed: {type(error).__name__}: {(str(error).splitlines() or [''])[0]}"
        seconds: dict[str, list[float]] = {row.contender: [] for row, _, _ in ready}
        for _ in range(turns):
            for row, step, settings in ready:
                with settings():
                    seconds[row.contender].append(_turn(step, steps, compute))
    for row, _, _ in ready:
        _fill(row, seconds[row.contender], steps, study, config)
    return [asdict(row) for row in rows]


def _prepare(row: Row, study: Study, config: RunConfig, compute: Compute) -> Step:
    """Build a contender, take its first steps and note its memory."""
    compiled = row.contender.endswith("-compiled")
    gc.collect()
    meter = MemoryMeter(compute.device)
    if row.contender.startswith("ours"):
        changed = config.compute.model_copy(update={"compile": compiled})
        step = our_step(study, config.model_copy(update={"compute": changed}))
    else:
        step = plain_step(study, config, Compute(compute.device, compute.precision, compute.threads, compiled))
    row.first_step_s = _turn(step, 1, compute)
    meter.enter("training")  # what a compiler takes for itself is no step's
    _turn(step, _WARM_STEPS, compute)
    if compute.device.type == "cuda":
        row.memory_mib = float(meter.report()["memory_footprint_mb"] or 0.0)
    meter.close()
    return step


def _turn(step: Step, steps: int, compute: Compute) -> float:
    """Seconds a step, from a device that has nothing to do to one that has nothing to do."""
    compute.synchronize()
    started = time.perf_counter()
    for _ in range(steps):
        step()
    compute.synchronize()
    return (time.perf_counter() - started) / steps


def _fill(row: Row, seconds: list[float], steps: int, study: Study, config: RunConfig) -> None:
    scale = scale_of(study)
    tokens = scale.batch * scale.context
    needed = step_operations(config.model, scale.tokenizer.vocabulary, tokens, scale.embeddings != "learned")
    low, middle, high = statistics.quantiles(seconds, n=4, method="inclusive")
    row.step_ms, row.step_ms_quartile_1, row.step_ms_quartile_3 = middle * 1e3, low * 1e3, high * 1e3
    row.tokens_per_second = tokens / middle
    row.tflop_per_second = sum(needed.values()) / middle / 1e12
    row.turns, row.steps_a_turn = len(seconds), steps
