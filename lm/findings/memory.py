"""What takes the memory. A difference between optimizers is only the optimizer's if its state is large enough."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from lm.results.summary import ExperimentSummary


class Part(StrEnum):
    """What the memory model counts."""

    PARAMETERS = "parameters"
    GRADIENTS = "gradients"
    OPTIMIZER = "optimizer"
    ACTIVATIONS = "activations"
    LOGITS = "logits"


class Coverage(StrEnum):
    """What the memory model's sum is of the measured peak of a training step, at the median over experiments."""

    EXPLAINED = "explained"
    """Between 0.8 and 1.25 of it."""
    PARTLY = "partly"
    NOT_MEASURED = "not_measured"


@dataclass(frozen=True, kw_only=True)
class Account:
    """One experiment, MiB: the memory model's parts, their sum, and the training step's measured peak."""

    experiment: ExperimentSummary
    parts: tuple[tuple[Part, float], ...]
    modelled: float
    measured: float | None

    @property
    def largest(self) -> tuple[Part, float]:
        """The largest part."""
        return max(self.parts, key=lambda part: part[1])


class Cause(StrEnum):
    """Whether optimizer state explains a measured difference."""

    STATE = "state"
    NOT_STATE = "not_state"
    TOO_SMALL = "too_small"
    """Both lie below what runs that need the same memory differ by."""


@dataclass(frozen=True, kw_only=True)
class Gap:
    """The optimizer with most state against the one with least, one architecture and depth; MiB.

    ``measured``: most less least; ``state``: the difference of their state; ``noise``: below this nothing is told.
    """

    least: ExperimentSummary
    most: ExperimentSummary
    measured: float
    state: float
    noise: float
    cause: Cause


@dataclass(frozen=True, kw_only=True)
class Memory:
    """``smallest``, ``largest``: by measured peak; ``covered``: median of modelled over measured (1: all of it);
    ``noise``: relative difference between runs that need the same memory (Adam and AdamW), at least 3 %."""

    coverage: Coverage
    covered: float | None
    accounts: tuple[Account, ...]
    smallest: Account | None
    largest: Account | None
    gaps: tuple[Gap, ...]
    noise: float
