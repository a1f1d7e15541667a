"""Means and intervals over seeds, and what many comparisons at once cost.

``scipy.special`` alone: ``scipy.stats`` takes a second to import, and Student's distribution is all that is needed.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from scipy.special import stdtr, stdtrit

LEVEL = 0.05
"""Two-sided: a difference is claimed where chance alone would show one as large in fewer than one case in twenty."""


def t_quantile(freedom: float) -> float:
    """Two-sided 95 % quantile of Student's t."""
    if freedom <= 0:
        raise ValueError("an interval needs at least two values")
    return float(stdtrit(freedom, 1 - LEVEL / 2))


def p_value(difference: float, error: float, freedom: float) -> float:
    """Two-sided, of a difference with this standard error; 0 or 1 where the error is zero."""
    if error == 0:
        return 1.0 if difference == 0 else 0.0
    return float(2 * stdtr(freedom, -abs(difference) / error))


def holm(values: Sequence[float]) -> list[float]:
    """Holm's step-down correction of p-values, in their order: the family-wise error stays at the level (Holm 1979)."""
    order = sorted(range(len(values)), key=values.__getitem__)
    adjusted = [1.0] * len(values)
    highest = 0.0
    for rank, index in enumerate(order):
        highest = max(highest, min(1.0, (len(values) - rank) * values[index]))
        adjusted[index] = highest
    return adjusted


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """A mean over ``count`` values; ``half`` is half the 95 % interval's width, None with fewer than two values."""

    mean: float | None
    half: float | None
    count: int

    @property
    def low(self) -> float | None:
        """The interval's lower end."""
        return None if self.mean is None or self.half is None else self.mean - self.half

    @property
    def high(self) -> float | None:
        """The interval's upper end."""
        return None if self.mean is None or self.half is None else self.mean + self.half


def finite(value: float | None) -> float | None:
    """The number, None where it is missing, not a number or infinite."""
    return float(value) if value is not None and math.isfinite(value) else None


def estimate(values: Iterable[float | None]) -> Estimate:
    """Mean and interval of what is finite; a sum too large for a float counts as no mean."""
    numbers = [number for number in map(finite, values) if number is not None]
    if not numbers:
        return Estimate(mean=None, half=None, count=0)
    try:
        mean = math.fsum(numbers) / len(numbers)
        half = None
        if len(numbers) > 1:
            half = t_quantile(len(numbers) - 1) * statistics.stdev(numbers) / math.sqrt(len(numbers))
    except OverflowError:
        return Estimate(mean=None, half=None, count=0)
    return Estimate(mean=mean, half=half, count=len(numbers))
