"""The two architectures, compared where everything else is the same."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import pandas as pd

from lm.results.experiments import unlike_hardware
from lm.results.findings.comparison import Compared, Comparison, compare, words
from lm.results.findings.learning import Learning
from lm.results.findings.stopping import Stopping
from lm.results.names import MODELS, configuration, counted, listed, model_name
from lm.results.statistics import ONE_SEED_BOUND
from lm.results.text import number, perplexity

PATIENCE = 2


@dataclass(frozen=True, kw_only=True)
class Match(Compared):
    """One optimizer and depth; ``winner`` is a model or None. ``learned``: at least one of the two used context.
    ``stopped``: by model, seconds and perplexity under early stopping; seconds compare on ``same_hardware`` only."""

    winner: str | None
    learned: bool
    stopped: dict[str, tuple[float, float]]
    stopped_winner: str | None
    same_hardware: bool


@dataclass(frozen=True)
class Architectures:
    claim: str
    verdict: Literal["one wins", "mixed", "not distinguishable"]
    winner: str | None
    matches: tuple[Match, ...]
    stopped_claim: str


def architectures(
    runs: pd.DataFrame, learning: Learning, stopping: Stopping, time_bound: float
) -> Architectures | None:
    """Finding 5: matched pairs, and what they become with patience 2; times closer than ``time_bound`` are alike."""
    present = [model for model in MODELS if model in set(runs["model"])][:2]
    if len(present) < 2:
        return None
    first, second = present
    matches, unlike = [], unlike_hardware(runs)
    for (optimizer, layers), group in runs.groupby(["optimizer", "layers"], sort=False):
        ids = {model: list(dict.fromkeys(group[group["model"] == model]["experiment"])) for model in present}
        if not (ids[first] and ids[second]):
            continue
        pair = ids[first][0], ids[second][0]
        found = compare(runs, *pair)
        winner = {"lower": first, "higher": second}.get(found.difference.order)
        learned = any(map(learning.learned, pair))
        stopped = {}
        for model, experiment in zip(present, pair, strict=True):
            stops = stopping.of(experiment, PATIENCE)
            if stops:
                count = len(stops)
                loss = math.fsum(stop.kept_loss for stop in stops) / count
                stopped[model] = (math.fsum(stop.seconds for stop in stops) / count, math.exp(loss))
        name = configuration("", layers, optimizer).removeprefix(", ")
        claim = f"{name}, {model_name(first)} against {model_name(second)}: {words(found)}"
        if not learned:
            claim += "; neither learned to use context, so neither counts"
        elif len(stopped) == 2:
            claim += f"; with patience {PATIENCE}, {_stopped_words(stopped)}"
        matches.append(
            Match(
                comparison=found,
                winner=winner,
                learned=learned,
                stopped=stopped,
                stopped_winner=_stopped_winner(found, stopped, present),
                same_hardware=unlike.get(pair[0]) == unlike.get(pair[1]),
                claim=f"{claim}.",
            )
        )
    if not matches:
        return None
    counted_matches = [match for match in matches if match.learned]
    wins = {model: sum(match.winner == model for match in counted_matches) for model in present}
    winner = next((m for m in present if wins[m] and not wins[present[1 - present.index(m)]]), None)
    verdict = "one wins" if winner else "mixed" if any(wins.values()) else "not distinguishable"
    every = len(counted_matches)
    told = [f"{model_name(m)} is better in {'all' if wins[m] == every > 1 else wins[m]}" for m in present if wins[m]]
    undecided = every - sum(wins.values())
    if undecided:
        told.append(f"{undecided} can't be decided")
    pairs = counted(every, "matched pair")
    claim = (
        f"Of {pairs} in which at least one side learned to use context, {listed(told)}."
        if counted_matches
        else "In no matched pair did either architecture learn to use context."
    )
    return Architectures(claim, verdict, winner, tuple(matches), _stopped_claim(counted_matches, present, time_bound))


def _stopped_winner(found: Comparison, stopped: dict, present: list[str]) -> str | None:
    """By perplexity under early stopping, where it differs by more than the interval or bound of the full runs."""
    if len(stopped) < 2 or found.difference.order == "unknown":
        return None
    (_, ours), (_, theirs) = (stopped[model] for model in present)
    half = (found.difference.high - found.difference.low) / 2 if found.difference.seeds > 1 else ONE_SEED_BOUND
    gap = math.log(ours / theirs)
    return None if abs(gap) <= half else present[0] if gap < 0 else present[1]


def _stopped_words(stopped: dict[str, tuple[float, float]]) -> str:
    return " against ".join(
        f"{perplexity(reached)} after {number(seconds, 0)} s" for seconds, reached in stopped.values()
    )


def _stopped_claim(matches: list[Match], present: list[str], time_bound: float) -> str:
    whole = [match for match in matches if len(match.stopped) == 2]
    if not whole:
        return "Early stopping can't be judged: no matched pair has epochs on both sides."
    changed = [match for match in whole if match.stopped_winner != match.winner]
    verdict = (
        f"With patience {PATIENCE} the verdict on perplexity changes in {counted(len(changed), 'pair')}"
        if changed
        else f"With patience {PATIENCE} no verdict on perplexity changes"
    )
    first, second = present
    timed = [match.stopped for match in whole if match.same_hardware]
    ratios = [math.log(stopped[first][0] / stopped[second][0]) for stopped in timed]
    sooner = {first: sum(r < -time_bound for r in ratios), second: sum(r > time_bound for r in ratios)}
    told = [f"{model_name(model)} would be done sooner in {count}" for model, count in sooner.items() if count]
    alike = len(timed) - sum(sooner.values())
    if alike:
        told.append(f"{alike} would take about as long")
    return f"{verdict}; {listed(told)}." if told else f"{verdict}."
