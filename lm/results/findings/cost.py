"""What runs cost in time, and what they give for it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd

from lm.results.experiments import by_experiment, unlike_hardware
from lm.results.findings.comparison import best_with_alike, losses
from lm.results.names import configuration, counted, listed, natural
from lm.results.statistics import difference
from lm.results.text import number, percent, perplexity

GOOD_ENOUGH = 0.1
"""Nats above the best (about 10 % of perplexity) that one may give up for time."""


@dataclass(frozen=True)
class Reach:
    """A validation perplexity, and the training seconds each experiment took to get there (None: it never did).
    ``first``: the earliest, and those whose times can't be told from its, in order."""

    target: float
    seconds: dict[str, float | None]
    first: tuple[str, ...]


@dataclass(frozen=True)
class WallClock:
    """Time against perplexity, among runs on the same hardware. ``alike`` can't be told from the fastest."""

    claim: str
    verdict: Literal["best is the pick", "a faster one is good enough", "nothing to compare"]
    fastest: str | None
    alike: tuple[str, ...]
    best: str | None
    front: tuple[str, ...]
    pick: str | None
    saved_percent: float
    given_up_percent: float
    bound_percent: float
    reaches: tuple[Reach, ...]


def pareto(runs: pd.DataFrame, bound: float) -> tuple[str, ...]:
    """Experiments that no other beats, fastest first.

    One beats another if it is clearly better in training time or perplexity and not clearly worse in the other:
    beyond the interval over seeds, or with one seed beyond ``bound`` (relative, of time) and ``ONE_SEED_BOUND``.
    """
    known = runs.dropna(subset=["train_seconds", "validation_loss"])
    times = _log_times(known)
    losses_of = {experiment: losses(known, experiment) for experiment in times}

    def beats(first: str, second: str) -> bool:
        faster = difference(times[first], times[second], bound).order
        better = difference(losses_of[first], losses_of[second]).order
        return "lower" in (faster, better) and not {faster, better} & {"higher", "unknown"}

    front = (e for e in times if not any(beats(other, e) for other in times if other != e))
    return tuple(sorted(front, key=lambda e: (times[e].mean(), losses_of[e].mean())))


def _log_times(runs: pd.DataFrame) -> dict[str, pd.Series]:
    """Logarithms of training seconds by seed, by experiment: their differences are relative ones."""
    groups = runs.groupby("experiment", sort=False)
    return {str(experiment): np.log(rows.set_index("seed")["train_seconds"]) for experiment, rows in groups}


def comparable_in_time(runs: pd.DataFrame) -> pd.DataFrame:
    """The completed runs on the commonest hardware."""
    return runs[(runs["status"] == "completed") & ~runs["experiment"].isin(unlike_hardware(runs))]


def wall_clock(runs: pd.DataFrame, epochs: pd.DataFrame, bound: float) -> WallClock:
    """Finding 2: fastest, best, the front between them, and the pick when time matters.

    ``bound``: the relative difference below which single timings are alike.
    """
    unlike = unlike_hardware(runs)
    runs = comparable_in_time(runs)
    best, _ = best_with_alike(runs)
    if best is None or runs["train_seconds"].isna().all():
        claim = "No run completed, so there is nothing to weigh time against."
        return WallClock(claim, "nothing to compare", None, (), None, (), None, 0.0, 0.0, 100 * bound, ())
    table = by_experiment(runs).set_index("experiment")
    seconds, quality = table["train_seconds"], table["validation_loss"]
    fastest = str(seconds.idxmin())
    times = _log_times(runs)
    alike = tuple(
        e for e in times if e != fastest and difference(times[fastest], times[e], bound).order == "indistinguishable"
    )
    good = quality[quality <= quality[best] + GOOD_ENOUGH].index
    as_fast = seconds[good][seconds[good] <= seconds[good].min() * (1 + bound)].index
    pick = str(quality[as_fast].idxmin())
    if seconds[pick] > seconds[best] * (1 - bound):
        pick = best
    saved = 100 * (1 - seconds[pick] / seconds[best])
    given_up = 100 * math.expm1(quality[pick] - quality[best])
    name = {e: f"experiment {e} ({configuration(r.model, r.layers, r.optimizer)})" for e, r in table.iterrows()}
    opening = (
        f"The shortest training time is {number(seconds[fastest])} s, of {name[fastest]}"
        f"{f'; {listed(sorted(alike, key=natural))} cannot be told from it' if alike else ''}. Best is {name[best]} "
        f"with a validation perplexity of {perplexity(math.exp(quality[best]))} in {number(seconds[best])} s."
    )
    if pick == best:
        choice = (
            "When time matters it is also the one to pick: no clearly faster run comes within 10 % of its perplexity."
        )
        verdict = "best is the pick"
    else:
        choice = (
            f"When time matters, pick {name[pick]}: {percent(saved)} less time for {percent(given_up)} more perplexity."
        )
        verdict = "a faster one is good enough"
    if unlike:
        choice += f" Left out, for other hardware: {listed(sorted(unlike, key=natural))}."
    reaches = time_to_reach(runs, epochs, math.exp(quality[best]), bound)
    front = pareto(runs, bound)
    claim = f"{opening} {choice}"
    return WallClock(claim, verdict, fastest, alike, best, front, pick, saved, given_up, 100 * bound, reaches)


def time_to_reach(runs: pd.DataFrame, epochs: pd.DataFrame, best: float, bound: float) -> tuple[Reach, ...]:
    """Training seconds to perplexities 1.05, 1.2, 1.5 and 2 times the best (two figures), below the unigram model.

    ``bound`` holds for a whole run's time; over fewer epochs less averages out, so it grows with the root of the ratio.
    """
    unigram = runs["unigram_validation_perplexity"].mean()
    targets = sorted({_two_figures(best * factor) for factor in (1.05, 1.2, 1.5, 2.0)}, reverse=True)
    own = epochs[epochs["experiment"].isin(runs["experiment"])]
    reaches = []
    for target in (target for target in targets if target < unigram):
        seconds: dict[str, float | None] = {}
        noise: dict[str, float] = {}
        for experiment, rows in own.groupby("experiment", sort=False):
            reached = [_until(run, target) for _, run in rows.groupby("seed")]
            known = None not in reached
            seconds[str(experiment)] = math.fsum(time for time, _ in reached) / len(reached) if known else None
            if known:
                noise[str(experiment)] = sum(len(rows) / (len(reached) * count) for _, count in reached) / len(reached)
        order = sorted(noise, key=seconds.__getitem__)
        first = tuple(
            e
            for e in order
            if math.log(seconds[e] / seconds[order[0]]) <= bound * math.sqrt((noise[e] + noise[order[0]]) / 2)
        )
        reaches.append(Reach(target, seconds, first))
    return tuple(reaches)


def _two_figures(value: float) -> float:
    """Rounded up to two significant figures."""
    step = 10.0 ** (math.floor(math.log10(value)) - 1)
    return math.ceil(value / step - 1e-9) * step


def _until(rows: pd.DataFrame, target: float) -> tuple[float, int] | None:
    """Training seconds and epochs at the end of the first epoch at or below a perplexity."""
    rows = rows.sort_values("epoch")
    below = np.flatnonzero(rows["validation_loss"].to_numpy(float) <= math.log(target))
    return (float(rows["train_seconds"].iloc[: below[0] + 1].sum()), int(below[0]) + 1) if len(below) else None


def describe_reach(reach: Reach) -> str:
    """Who gets to a perplexity first."""
    opening = f"Perplexity {number(reach.target, 0)}:"
    if not reach.first:
        return f"{opening} no run."
    first, *alike = reach.first
    told = f" ({listed(alike)} not distinguishably later)" if alike else ""
    count = sum(seconds is not None for seconds in reach.seconds.values())
    return (
        f"{opening} first experiment {first}, after {number(reach.seconds[first])} s{told}; "
        f"reached by {counted(count, 'experiment')}."
    )
