"""Comparing two experiments, and saying no more about it than the runs allow."""

from __future__ import annotations

import math
from dataclasses import dataclass

import pandas as pd

from lm.results.names import counted
from lm.results.statistics import ONE_SEED_BOUND, Difference, difference
from lm.results.text import percent, perplexity, signed


@dataclass(frozen=True)
class Comparison:
    """``first`` against ``second`` (experiment ids) by best validation loss; 'lower' says that the first is better."""

    first: str
    second: str
    first_perplexity: float | None
    second_perplexity: float | None
    difference: Difference
    evidence: str


@dataclass(frozen=True, kw_only=True)
class Compared:
    """A comparison and the sentence that tells it: what every finding about two experiments has."""

    comparison: Comparison
    claim: str


def losses(runs: pd.DataFrame, experiment: str) -> pd.Series:
    """Best validation loss by seed; null where a run diverged, for what it reached before says nothing about it."""
    rows = runs[runs["experiment"] == experiment].set_index("seed")
    return rows["validation_loss"].where(rows["status"] == "completed").astype(float)


def compare(runs: pd.DataFrame, first: str, second: str) -> Comparison:
    ours, theirs = losses(runs, first), losses(runs, second)
    found = difference(ours, theirs)
    return Comparison(first, second, _perplexity(ours), _perplexity(theirs), found, evidence(found))


def _perplexity(values: pd.Series) -> float | None:
    known = values.dropna()
    return math.exp(known.mean()) if len(known) else None


def evidence(found: Difference) -> str:
    """What a difference rests on, in parentheses' length."""
    if found.order == "unknown":
        return "one of them diverged"
    size = f"{signed(found.percent, 1)} %"
    if found.seeds > 1:
        low, high = (signed(100 * math.expm1(edge), 1) for edge in (found.low, found.high))
        return f"{size}, 95 % interval {low} to {high} over {counted(found.seeds, 'seed')}"
    if found.order == "indistinguishable":
        return f"{size}; single runs less than {percent(100 * math.expm1(ONE_SEED_BOUND), 0)} apart are called alike"
    return f"{size}; one seed each"


def words(comparison: Comparison) -> str:
    """``155.1 against 165.6, lower (…)``."""
    figures = f"{perplexity(comparison.first_perplexity)} against {perplexity(comparison.second_perplexity)}"
    verdict = {"indistinguishable": "not distinguishable", "unknown": "not comparable"}.get(
        comparison.difference.order, comparison.difference.order
    )
    return f"{figures}: {verdict} ({comparison.evidence})"


def best_with_alike(runs: pd.DataFrame) -> tuple[str | None, tuple[str, ...]]:
    """The experiment of lowest mean validation loss, and those that can't be told from it."""
    means = {e: losses(runs, e).dropna().mean() for e in dict.fromkeys(runs["experiment"])}
    known = {e: mean for e, mean in means.items() if not pd.isna(mean)}
    if not known:
        return None, ()
    best = min(known, key=known.__getitem__)
    others = (e for e in known if e != best)
    return best, tuple(e for e in others if compare(runs, best, e).difference.order == "indistinguishable")
