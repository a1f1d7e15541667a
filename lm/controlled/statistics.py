"""What differences over fresh seeds, and over other text, can and cannot show.

Seeds and documents ask two questions. Would another initialization and data order change the result? That is what the
paired t interval over seeds is about, and what verdicts rest on. Would another text of the same kind? That is the
bootstrap over documents of the test split, at the seeds that were run; it is reported apart and decides nothing.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import boschloo_exact

from lm.results.statistics import p_value, t_quantile

Seeds = Mapping[int, float]
"""Test loss (nats a token) by seed."""


@dataclass(frozen=True, kw_only=True)
class Paired:
    """First less second, over the seeds that both have: mean, 95 % t interval, two-sided p before any correction."""

    difference: float
    low: float
    high: float
    p: float
    seeds: int

    @property
    def low_ratio(self) -> float:
        """``low`` as a relative change of perplexity."""
        return math.expm1(self.low)

    @property
    def high_ratio(self) -> float:
        """``high`` as a relative change of perplexity."""
        return math.expm1(self.high)


def paired(first: Seeds, second: Seeds) -> Paired | None:
    """The difference over common seeds; None with fewer than two of them. Extra seeds of either are left out."""
    differences = [first[seed] - second[seed] for seed in sorted(first) if seed in second]
    count = len(differences)
    if count < 2:
        return None
    mean = math.fsum(differences) / count
    error = statistics.stdev(differences) / math.sqrt(count)
    half = t_quantile(count - 1) * error
    return Paired(
        difference=mean, low=mean - half, high=mean + half, p=p_value(mean, error, count - 1), seeds=count
    )  # fmt: skip


def improvement(first: Sequence[float], second: Sequence[float]) -> float | None:
    """Probability that a run of the first has a lower loss than a run of the second, ties counted half.

    Over all pairs, as in Agarwal et al. 2021; None where one has no run.
    """
    if not first or not second:
        return None
    wins = sum((a < b) + 0.5 * (a == b) for a in first for b in second)
    return wins / (len(first) * len(second))


def shares_p(first: int, first_of: int, second: int, second_of: int) -> float:
    """Boschloo's exact test, two-sided: ``first`` of ``first_of`` seeds failed against ``second`` of ``second_of``.

    It holds its level and tells more apart than Fisher's (Mehrotra et al. 2003, Biometrics 59:441), by which five seeds
    that all fail, against five that do not, would have p 0.008: too much for a family of more than six comparisons.
    """
    if first + second in (0, first_of + second_of):
        return 1.0
    table = [[first, second], [first_of - first, second_of - second]]
    return float(boschloo_exact(table).pvalue)


@dataclass(frozen=True, kw_only=True)
class Resampled:
    """First less second over documents: the difference (nats a token) and its 95 % percentile interval."""

    difference: float
    low: float
    high: float
    documents: int


def resample_documents(
    first: np.ndarray, second: np.ndarray, tokens: np.ndarray, resamples: int = 10_000, seed: int = 0
) -> Resampled | None:
    """Paired bootstrap over documents.

    ``first`` and ``second`` are summed losses by document (nats, mean over seeds), ``tokens`` the predicted tokens of
    each; shape (documents,). The loss of a resample is that of its documents taken together. None with fewer than two
    documents. Same arguments, same interval.
    """
    held = tokens > 0
    gaps, sizes = (first - second)[held], tokens[held]
    count = len(sizes)
    if count < 2:
        return None
    draws = np.random.default_rng(seed).multinomial(count, np.full(count, 1 / count), size=resamples)
    means = (draws @ gaps) / (draws @ sizes)
    low, high = np.quantile(means, [0.025, 0.975])
    return Resampled(
        difference=float(gaps.sum() / sizes.sum()), low=float(low), high=float(high), documents=count
    )  # fmt: skip


def best_after(losses: Sequence[float], trials: int) -> float:
    """Expected lowest loss of so many trials, drawn from those made without putting back (Dodge et al. 2019).

    Raises :class:`ValueError` when there are fewer than ``trials``.
    """
    count, ordered = len(losses), sorted(losses)
    if not 1 <= trials <= count:
        raise ValueError(f"{trials} of {count} trials")
    whole = math.comb(count, trials)
    # the r-th lowest is the lowest drawn where the others come from those above it
    return math.fsum(loss * math.comb(count - rank, trials - 1) / whole for rank, loss in enumerate(ordered, 1))
