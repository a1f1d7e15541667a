"""The one place that decides what is lower, higher, alike or not comparable."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum

from lm.results.summary import ExperimentSummary


class Order(StrEnum):
    """Of a first experiment against a second: lower loss or time is better."""

    LOWER = "lower"
    HIGHER = "higher"
    ALIKE = "alike"
    NOT_COMPARABLE = "not_comparable"


class Reason(StrEnum):
    """Why two experiments do not compare."""

    FIRST_DIVERGED = "first_diverged"
    SECOND_DIVERGED = "second_diverged"
    BOTH_DIVERGED = "both_diverged"
    NO_COMMON_SEED = "no_common_seed"
    """Each has runs that count, none of them under the same seed."""
    OTHER_TEXT = "other_text"
    """They predicted different tokens: another corpus, vocabulary or share of it."""
    OTHER_HARDWARE = "other_hardware"
    DISTURBED = "disturbed"
    """At least one has no time that other processes left alone."""
    NOT_MEASURED = "not_measured"
    NO_SPREAD = "no_spread"
    """Single runs, and nothing is known of how far repetitions lie apart."""


class Ground(StrEnum):
    """What 'lower', 'higher' or 'alike' rests on."""

    INTERVAL = "interval"
    """The paired t interval over seeds."""
    SPREAD = "spread"
    """Single runs: the measured spread over seeds of such runs at this scale."""
    BORROWED = "borrowed"
    """Single runs at a scale without a measured spread: the widest known of any scale and kind of run."""
    NOISE = "noise"
    """Times: how far runs that do the same work lie apart."""
    TRIFLE = "trifle"
    """Alike because the difference, even if real, is too small to matter (``TRIFLE``)."""
    FAMILY = "family"
    """Alike because the difference does not outlast Holm's correction for all comparisons of its question."""


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """First less second. ``difference``, ``low``, ``high``: nats a token of a loss, logarithms of a ratio of times;
    None where not comparable. ``low`` to ``high``: the 95 % interval, or the difference ± ``bound`` for single runs.

    ``p``: two-sided, after Holm over the ``family`` comparisons of the question; None for times.
    ``seeds``: those that both have and that count.
    """

    order: Order
    reason: Reason | None = None
    ground: Ground | None = None
    difference: float | None = None
    low: float | None = None
    high: float | None = None
    p: float | None = None
    family: int = 1
    seeds: int = 0

    @property
    def bound(self) -> float | None:
        """Half the width of ``low`` to ``high``: what a difference must exceed."""
        return None if self.low is None or self.high is None else (self.high - self.low) / 2

    @property
    def ratio(self) -> float | None:
        """The difference as a relative change: first against second, of perplexity or time (-0.1: a tenth less)."""
        return _change(self.difference)

    @property
    def low_ratio(self) -> float | None:
        """``low`` as a relative change."""
        return _change(self.low)

    @property
    def high_ratio(self) -> float | None:
        """``high`` as a relative change."""
        return _change(self.high)

    @property
    def bound_ratio(self) -> float | None:
        """``bound`` as a relative change: single runs less than this apart are called alike."""
        return _change(self.bound)

    @property
    def reversed(self) -> Verdict:
        """The same of the second against the first."""
        order = {Order.LOWER: Order.HIGHER, Order.HIGHER: Order.LOWER}.get(self.order, self.order)
        reason = self.reason
        if reason is Reason.FIRST_DIVERGED:
            reason = Reason.SECOND_DIVERGED
        elif reason is Reason.SECOND_DIVERGED:
            reason = Reason.FIRST_DIVERGED
        return Verdict(
            order=order,
            reason=reason,
            ground=self.ground,
            difference=None if self.difference is None else -self.difference,
            low=None if self.high is None else -self.high,
            high=None if self.low is None else -self.low,
            p=self.p,
            family=self.family,
            seeds=self.seeds,
        )


class Learned(StrEnum):
    """Which of two experiments learned to use context: a difference between two that did not means nothing."""

    BOTH = "both"
    FIRST = "first"
    SECOND = "second"
    NEITHER = "neither"


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Two experiments by validation loss of the best epoch.

    ``first_loss``, ``second_loss``: means over the very seeds that were compared (nats a token), so that they belong
    to the difference; where not comparable, each one's own mean, or None.
    """

    first: ExperimentSummary
    second: ExperimentSummary
    verdict: Verdict
    first_loss: float | None
    second_loss: float | None
    learned: Learned


def _change(logarithm: float | None) -> float | None:
    if logarithm is None:
        return None
    try:
        return math.expm1(logarithm)
    except OverflowError:
        return math.inf
