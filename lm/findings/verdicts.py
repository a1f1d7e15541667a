"""What is said of two experiments: lower, higher, alike or not comparable, and what that rests on.

:mod:`lm.findings.judge` decides by losses, :mod:`lm.findings.times` by times; nothing else decides.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from enum import StrEnum

from lm.results.states import State
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
    """Single runs at a scale without a measured spread: the widest that other scales have of that kind, widened."""
    NOISE = "noise"
    """Times: how far runs that do the same work lie apart."""
    TRIFLE = "trifle"
    """Alike because the difference, even if real, is too small to matter (``TRIFLE``)."""
    SEEDS = "seeds"
    """Alike because the seeds that both have say the opposite of the means over all seeds, which the tables show."""
    FAMILY = "family"
    """Alike because the difference does not outlast Holm's correction for all comparisons of its question."""


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """First less second. ``difference``, ``low``, ``high``: nats a token of a loss, logarithms of a ratio of times;
    None where not comparable. ``low`` to ``high``: the 95 % interval, or the difference ± ``bound`` for single runs.

    ``p``: two-sided, after Holm over the ``family`` comparisons of the question; None for times.
    ``seeds``: those that both have and that count; ``dropped``: those that both have, of which one side diverged.
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
    dropped: int = 0

    @property
    def comparable(self) -> bool:
        """Whether anything could be compared."""
        return self.order is not Order.NOT_COMPARABLE

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
        reasons = {
            Reason.FIRST_DIVERGED: Reason.SECOND_DIVERGED,
            Reason.SECOND_DIVERGED: Reason.FIRST_DIVERGED,
        }
        return replace(
            self,
            order=order,
            reason=None if self.reason is None else reasons.get(self.reason, self.reason),
            difference=None if self.difference is None else -self.difference,
            low=None if self.high is None else -self.high,
            high=None if self.low is None else -self.low,
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


def divergence(first: ExperimentSummary, second: ExperimentSummary) -> Reason | None:
    """Which of two experiments diverged under most seeds, so that nothing compares; None if neither did."""
    return _DIVERGED.get((first.state is State.DIVERGED, second.state is State.DIVERGED))


_DIVERGED = {
    (True, True): Reason.BOTH_DIVERGED,
    (True, False): Reason.FIRST_DIVERGED,
    (False, True): Reason.SECOND_DIVERGED,
}
