"""What to try next, by how each run ended, and what came of what was tried."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from lm.findings.verdicts import Comparison, Verdict
from lm.results.summary import ExperimentSummary


class Why(StrEnum):
    """Why a line may help: one macro of the report each."""

    FIRST_STEPS_TOO_LARGE = "first_steps_too_large"
    """A deep post-norm GPT on the plateau: warm-up."""
    NORM_PLACE = "norm_place"
    """A deep post-norm GPT on the plateau: pre-norm."""
    RATE_TOO_LARGE = "rate_too_large"
    """Stuck under an adaptive optimizer, or diverged: a smaller rate."""
    GRADIENTS_TOO_LARGE = "gradients_too_large"
    """A recurrent network stuck, or diverged: clipping."""
    RATE_TOO_SMALL = "rate_too_small"
    """SGD or Momentum at its start or above the unigram model: the rate by decades."""
    STILL_FALLING = "still_falling"
    """Longer."""
    ONE_EPOCH = "one_epoch"
    """One epoch tells nothing: longer."""
    TOO_LITTLE_TEXT = "too_little_text"
    """Overfitting or a wide gap: more text."""
    UNREGULARIZED = "unregularized"
    """Overfitting or a wide gap: dropout."""
    STOP_AT_BEST = "stop_at_best"
    """Overfitting: patience."""


@dataclass(frozen=True, kw_only=True)
class Advice:
    """One line to type for the experiments it is meant for. ``settings``: keys of params.yaml and new values, as in
    ``-S key=value``; ``everyone``: whether the line changes other experiments too (a key that they share)."""

    why: Why
    experiments: tuple[ExperimentSummary, ...]
    settings: tuple[tuple[str, str], ...]
    command: str
    everyone: bool


class Result(StrEnum):
    """What came of a remedy."""

    HELPED = "helped"
    DID_NOT = "did_not"
    """Can't be told from the untreated run although repetitions were measured (several seeds, or a known spread)."""
    WORSE = "worse"
    UNKNOWN = "unknown"
    """Can't be told: not comparable, or no spread is known."""


@dataclass(frozen=True, kw_only=True)
class Change:
    """A setting that the treated experiment changes, before and after (None: not set there)."""

    key: str
    before: object
    after: object


@dataclass(frozen=True, kw_only=True)
class Treated:
    """An experiment made by ``of`` (``comparison.first``) against the one that it comes from (``comparison.second``).

    ``time``: its training time against the other's.
    """

    comparison: Comparison
    changes: tuple[Change, ...]
    time: Verdict
    result: Result
