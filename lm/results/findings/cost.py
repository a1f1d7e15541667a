"""What runs cost in time, and what they give for it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd

from lm.results.experiments import by_experiment, unlike_hardware
from lm.results.findings.comparison import best_with_alike
from lm.results.names import configuration, counted, listed
from lm.results.statistics import difference, time_bound
from lm.results.text import number, percent, perplexity

GOOD_ENOUGH = 0.1
"""Nats above the best (about 10 % of perplexity) that one may give up for time."""


@dataclass(frozen=True)
class Reach:
    """A validation perplexity, and the training seconds each experiment took to get there (None: it never did)."""

    target: float
    seconds: dict[str, float | None]


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


def pareto(experiments: pd.DataFrame) -> tuple[str, ...]:
    """Experiments that no other beats in both training time and perplexity, fastest first."""
    known = experiments.dropna(subset=["train_seconds", "validation_perplexity"])
    front, best = [], float("inf")
    for row in known.sort_values(["train_seconds", "validation_perplexity"], kind="stable").itertuples():
        if row.validation_perplexity < best:
            front.append(str(row.experiment))
            best = row.validation_perplexity
    return tuple(front)


def wall_clock(runs: pd.DataFrame, epochs: pd.DataFrame) -> WallClock:
    """Finding 2: fastest, best, the front between them, and the pick when time matters."""
    unlike = unlike_hardware(runs)
    runs = runs[(runs["status"] == "completed") & ~runs["experiment"].isin(unlike)]
    bound = time_bound(epochs)
    best, _ = best_with_alike(runs)
    if best is None or runs["train_seconds"].isna().all():
        claim = "No run completed, so there is nothing to weigh time against."
        return WallClock(claim, "nothing to compare", None, (), None, (), None, 0.0, 0.0, 100 * bound, ())
    experiments = by_experiment(runs)
    table = experiments.set_index("experiment")
    seconds, quality = table["train_seconds"], table["validation_loss"]
    fastest = str(seconds.idxmin())
    times = {e: np.log(rows.set_index("seed")["train_seconds"]) for e, rows in runs.groupby("experiment", sort=False)}
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
    alike_words = f", not distinguishable in time from {listed(list(alike))}" if alike else ""
    opening = (
        f"Fastest is {name[fastest]} with {number(seconds[fastest])} s{alike_words}; best is {name[best]} with a "
        f"validation perplexity of {perplexity(math.exp(quality[best]))} in {number(seconds[best])} s."
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
        choice += f" Left out, for other hardware: {listed(sorted(unlike))}."
    reaches = time_to_reach(runs, epochs, math.exp(quality[best]))
    front = pareto(experiments)
    claim = f"{opening} {choice}"
    return WallClock(claim, verdict, fastest, alike, best, front, pick, saved, given_up, 100 * bound, reaches)


def time_to_reach(runs: pd.DataFrame, epochs: pd.DataFrame, best: float) -> tuple[Reach, ...]:
    """Training seconds to perplexities 1.05, 1.2, 1.5 and 2 times the best (two figures), below the unigram model."""
    unigram = runs["unigram_validation_perplexity"].mean()
    targets = sorted({_two_figures(best * factor) for factor in (1.05, 1.2, 1.5, 2.0)}, reverse=True)
    reaches = []
    for target in targets:
        if target >= unigram:
            continue
        seconds: dict[str, float | None] = {}
        for experiment, rows in epochs[epochs["experiment"].isin(runs["experiment"])].groupby("experiment", sort=False):
            reached = [_seconds_to(run, target) for _, run in rows.groupby("seed")]
            seconds[str(experiment)] = None if None in reached else math.fsum(reached) / len(reached)
        reaches.append(Reach(target, seconds))
    return tuple(reaches)


def _two_figures(value: float) -> float:
    """Rounded up to two significant figures."""
    step = 10.0 ** (math.floor(math.log10(value)) - 1)
    return math.ceil(value / step - 1e-9) * step


def _seconds_to(rows: pd.DataFrame, target: float) -> float | None:
    rows = rows.sort_values("epoch")
    below = np.flatnonzero(rows["validation_loss"].to_numpy(float) <= math.log(target))
    return float(rows["train_seconds"].iloc[: below[0] + 1].sum()) if len(below) else None


def describe_reach(reach: Reach) -> str:
    """Who gets to a perplexity first."""
    reached = {e: s for e, s in reach.seconds.items() if s is not None}
    if not reached:
        return f"Perplexity {number(reach.target, 0)}: no run."
    first = min(reached, key=reached.__getitem__)
    opening = f"Perplexity {number(reach.target, 0)}: first experiment {first}, after {number(reached[first])} s"
    return f"{opening}; reached by {counted(len(reached), 'experiment')}."
