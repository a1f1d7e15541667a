"""Whether the runs repeat the original study: only asked where they predicted the same tokens."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from lm.results.summary import ExperimentSummary


class Place(StrEnum):
    """Where our loss lies against what the study and its replications spread over, widened by the measured spread."""

    WITHIN = "within"
    LOWER = "lower"
    HIGHER = "higher"
    DIVERGED = "diverged"
    """Ours diverged: nothing to place."""


class Outcome(StrEnum):
    REPLICATED = "replicated"
    PARTLY = "partly"
    NONE_COMPARABLE = "none_comparable"
    """Every one of ours diverged."""
    OTHER_TEXT = "other_text"


@dataclass(frozen=True, kw_only=True)
class Beside:
    """One experiment beside the study's. Losses with the study's denominator; ``published_seconds``,
    ``published_memory`` (MiB) as published; ``low``, ``high``: what the study and its replications spread over."""

    experiment: ExperimentSummary
    place: Place | None
    published_loss: float
    published_best_epoch: int
    published_seconds: float
    published_memory: float
    low: float
    high: float
    replications: int


@dataclass(frozen=True, kw_only=True)
class Replication:
    """``published_tokens``, ``tokens``: predicted validation tokens, the study's and ours."""

    outcome: Outcome
    published_tokens: int
    tokens: int | None
    beside: tuple[Beside, ...]
