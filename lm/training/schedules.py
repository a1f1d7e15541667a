"""The learning rate over a run: what the configured rate is multiplied by at each step.

A linear warm-up, then one of four shapes. With W warm-up steps of S in all, step s counted from 0:

- warm-up, s < W: (s + 1) / W, so that the first step moves already and step W - 1 has the whole rate;
- ``constant``: 1;
- ``cosine`` (Loshchilov & Hutter 2017): (1 + cos(π (s - W) / (S - W))) / 2;
- ``wsd``, warm-up, stable, decay (Hu et al. 2024): 1, and over the last fifth of all steps linearly to 0;
- ``plateau``: 1, halved after every epoch whose validation loss is not the lowest so far.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from lm.config.run import ScheduleName, TrainingConfig
from lm.errors import StudyError

_DECAY_SHARE = 0.2
_STALL_FACTOR = 0.5


def _constant(_step: int, _warmup: int, _total: int) -> float:
    return 1.0


def _cosine(step: int, warmup: int, total: int) -> float:
    return (1.0 + math.cos(math.pi * (step - warmup) / (total - warmup))) / 2.0


def _wsd(step: int, _warmup: int, total: int) -> float:
    decay = max(1, round(_DECAY_SHARE * total))
    return min(1.0, (total - step) / decay)


_SHAPES: dict[ScheduleName, Callable[[int, int, int], float]] = {
    "constant": _constant,
    "cosine": _cosine,
    "wsd": _wsd,
    "plateau": _constant,
}


class Schedule:
    """``factor`` of every step of one run. Its state is part of a checkpoint; it only changes under ``plateau``."""

    def __init__(self, name: ScheduleName, warmup_steps: int, total_steps: int) -> None:
        self._shape = _SHAPES[name]
        self._halves = name == "plateau"
        self._warmup, self._total = warmup_steps, total_steps
        self._stalled = 1.0
        self._lowest = math.inf

    def factor(self, step: int) -> float:
        """What the configured learning rate is multiplied by at ``step``, counted from 0 over the whole run."""
        if step < self._warmup:
            return (step + 1) / self._warmup * self._stalled
        return self._shape(step, self._warmup, self._total) * self._stalled

    def epoch_ended(self, validation_loss: float) -> None:
        """Under ``plateau``: halve the rate of all steps to come unless this loss is the lowest so far."""
        if validation_loss < self._lowest:
            self._lowest = validation_loss
        elif self._halves:
            self._stalled *= _STALL_FACTOR

    def state_dict(self) -> dict[str, float]:
        return {"stalled": self._stalled, "lowest": self._lowest}

    def load_state_dict(self, state: dict[str, float]) -> None:
        self._stalled, self._lowest = state["stalled"], state["lowest"]


def build_schedule(training: TrainingConfig, total_steps: int) -> Schedule:
    """The configured schedule of a run of ``total_steps``; under defaults its factor is exactly 1 throughout.

    Raises :class:`StudyError` where the run is so short that its warm-up would not have a single step.
    """
    warmup_steps = math.floor(round(training.warmup * total_steps, 6))  # 0.29 of 100 is 28.999999999999996
    if training.warmup > 0 and warmup_steps == 0:
        raise StudyError(
            f"params.yaml: warmup: {training.warmup:g} of {total_steps} steps is less than one step; "
            f"allowed: 0, or at least {math.ceil(1e6 / total_steps) / 1e6:g}"
        )
    return Schedule(training.schedule, warmup_steps, total_steps)
