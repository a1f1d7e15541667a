"""Intervals over seeds, and what may be said about a difference.

A difference is only worth a sentence if it is larger than what repeating the run would change. With several seeds that
is measured: the 95 % t interval of the paired differences. With one seed it can't be, so a fixed bound stands in,
taken from how far independent replications of the original study's trained runs lie apart (a test holds the constant
against ``reports/reference/replications.csv``).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd

ONE_SEED_BOUND = 0.02
"""Nats per token, about 2 % of perplexity: single runs closer than this are called alike."""

ONE_RUN_TIME_BOUND = 0.05
"""Relative: single timings closer than this are called alike, or closer than twice the spread of their own epochs."""

_T95 = (12.7062, 4.3027, 3.1824, 2.7764, 2.5706, 2.4469, 2.3646, 2.3060, 2.2622, 2.2281)
_Z95 = 1.959964

Order = Literal["lower", "higher", "indistinguishable", "unknown"]


def t95(freedom: int) -> float:
    """Two-sided 95 % quantile of Student's t: tabled up to 10, then its expansion around the normal (error < 1e-4)."""
    if freedom < 1:
        raise ValueError("an interval needs at least two values")
    if freedom <= len(_T95):
        return _T95[freedom - 1]
    z = _Z95
    first = (z**3 + z) / 4
    second = (5 * z**5 + 16 * z**3 + 3 * z) / 96
    third = (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384
    return z + first / freedom + second / freedom**2 + third / freedom**3


@dataclass(frozen=True)
class Estimate:
    """A mean over seeds; ``half`` is half the 95 % interval's width, None with fewer than two values."""

    mean: float | None
    half: float | None
    count: int


def estimate(values) -> Estimate:
    numbers = [float(value) for value in values if value is not None and np.isfinite(value)]
    if not numbers:
        return Estimate(None, None, 0)
    mean = math.fsum(numbers) / len(numbers)
    if len(numbers) < 2:
        return Estimate(mean, None, 1)
    return Estimate(
        mean, t95(len(numbers) - 1) * float(np.std(numbers, ddof=1)) / math.sqrt(len(numbers)), len(numbers)
    )


@dataclass(frozen=True)
class Difference:
    """``first - second`` in nats per token, paired over seeds, with what may be said about it."""

    mean: float | None
    low: float | None
    high: float | None
    seeds: int
    order: Order

    @property
    def percent(self) -> float | None:
        """The difference as a change of perplexity: first against second, in percent."""
        return None if self.mean is None else 100 * math.expm1(self.mean)


def difference(first: pd.Series, second: pd.Series, bound: float = ONE_SEED_BOUND) -> Difference:
    """Compare two series of losses indexed by seed; only seeds that both have, finite in both, count."""
    paired = (first - second).dropna()
    spread = estimate(paired)
    if spread.mean is None:
        return Difference(None, None, None, 0, "unknown")
    half = bound if spread.half is None else spread.half
    low, high = spread.mean - half, spread.mean + half
    verdict: Order = "lower" if high < 0 else "higher" if low > 0 else "indistinguishable"
    return Difference(spread.mean, low, high, spread.count, verdict)


def time_bound(epochs: pd.DataFrame) -> float:
    """The relative difference of training time below which runs are called alike, from the spread of their epochs."""
    seconds = epochs.dropna(subset=["train_seconds"]).groupby(["experiment", "seed"])["train_seconds"]
    relative = (seconds.std() / seconds.mean()).dropna()
    return max(ONE_RUN_TIME_BOUND, 2 * float(relative.median())) if len(relative) else ONE_RUN_TIME_BOUND
