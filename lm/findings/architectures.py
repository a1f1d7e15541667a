"""Architectures, every two of them, compared where everything else is the same."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import combinations

from lm.findings.judge import Judge, Pair
from lm.findings.optimizers import original_only
from lm.findings.stopping import Stopping
from lm.findings.verdicts import Comparison, Learned, Order, Verdict
from lm.results.summary import ExperimentSummary, Summaries


@dataclass(frozen=True, kw_only=True)
class Stopped:
    """One side of a match under early stopping, replayed: mean seconds (training and validation) and mean validation
    loss over seeds; ``part``: its share of the whole runs' time."""

    seconds: float
    loss: float
    part: float


@dataclass(frozen=True, kw_only=True)
class Match:
    """Two architectures under one optimizer and depth. ``winner``: the better experiment, None if they can't be told
    apart, don't compare, or neither learned.

    ``first_stopped``, ``second_stopped``: what early stopping with ``Architectures.patience`` leaves; None where its
    replay is not valid. ``stopped_verdict`` is the first's loss under it against the second's; ``stopped_time`` the
    same of its time.
    """

    optimizer: str
    optimizer_label: str
    layers: int
    comparison: Comparison
    winner: ExperimentSummary | None
    first_stopped: Stopped | None
    second_stopped: Stopped | None
    stopped_verdict: Verdict | None
    stopped_time: Verdict | None


@dataclass(frozen=True, kw_only=True)
class Tally:
    """Two architectures over their matches that count (at least one side learned to use context).

    ``winner``: the model that wins at least one and loses none, as key; None otherwise. ``changed``: matches whose
    verdict early stopping changes; ``sooner_first``, ``sooner_second``, ``as_long``: who would be done sooner under it.
    """

    first: str
    first_label: str
    second: str
    second_label: str
    matches: tuple[Match, ...]
    counted: int
    wins_first: int
    wins_second: int
    undecided: int
    winner: str | None
    stopped: int
    """Matches that count in which early stopping could be replayed on both sides."""
    changed: int
    sooner_first: int
    sooner_second: int
    as_long: int


@dataclass(frozen=True, kw_only=True)
class Architectures:
    """Every two architectures that meet under at least one optimizer and depth."""

    patience: int
    tallies: tuple[Tally, ...]


PATIENCE = 2
"""Epochs without a better validation loss under which the matches are judged once more."""


def architecture_pairs(summaries: Summaries) -> list[Pair]:
    """The pairs of ids that differ in nothing but the architecture: one a depth and optimizer, in order."""
    cells: dict[tuple[int, str], dict[str, ExperimentSummary]] = {}
    for experiment in original_only(summaries):
        cells.setdefault((experiment.layers, experiment.optimizer), {}).setdefault(experiment.model, experiment)
    return [(first.id, second.id) for cell in cells.values() for first, second in combinations(cell.values(), 2)]


def architectures(judge: Judge, stopping: Stopping) -> Architectures | None:
    """Matched pairs, and what they become under early stopping; None where no two architectures meet."""
    summaries = judge.summaries
    meetings: dict[Pair, list[Match]] = {}
    for pair in architecture_pairs(summaries):
        first, second = (summaries[name] for name in pair)
        meetings.setdefault((first.model, second.model), []).append(_match(first, second, judge, stopping))
    if not meetings:
        return None
    return Architectures(patience=PATIENCE, tallies=tuple(_tally(tuple(matches)) for matches in meetings.values()))


def _match(first: ExperimentSummary, second: ExperimentSummary, judge: Judge, stopping: Stopping) -> Match:
    comparison = judge.compare(first, second)
    winner = None
    if comparison.learned is not Learned.NEITHER:
        winner = {Order.LOWER: first, Order.HIGHER: second}.get(comparison.verdict.order)
    ours, theirs = (_stopped(experiment, stopping) for experiment in (first, second))
    stopped_verdict = stopped_time = None
    if ours is not None and theirs is not None and comparison.verdict.comparable:
        losses = [
            {stop.seed: stop.kept_loss for stop in stopping.of(experiment.id, PATIENCE)}
            for experiment in (first, second)
        ]
        stopped_verdict = judge.losses(first, second, *losses)
        if judge.time(first, second).comparable and ours.seconds > 0 and theirs.seconds > 0:
            stopped_time = judge.elapsed(ours.seconds, theirs.seconds, min(ours.part, theirs.part))
    return Match(
        optimizer=first.optimizer,
        optimizer_label=first.optimizer_label,
        layers=first.layers,
        comparison=comparison,
        winner=winner,
        first_stopped=ours,
        second_stopped=theirs,
        stopped_verdict=stopped_verdict,
        stopped_time=stopped_time,
    )


def _stopped(experiment: ExperimentSummary, stopping: Stopping) -> Stopped | None:
    stops = stopping.of(experiment.id, PATIENCE)
    if len(stops) < len(experiment.runs):
        return None
    count, seconds = len(stops), math.fsum(stop.seconds for stop in stops)
    return Stopped(
        seconds=seconds / count,
        loss=math.fsum(stop.kept_loss for stop in stops) / count,
        part=seconds / (seconds + math.fsum(stop.saved for stop in stops)) if seconds else 1.0,
    )


def _tally(matches: tuple[Match, ...]) -> Tally:
    first, second = matches[0].comparison.first, matches[0].comparison.second
    counted = [match for match in matches if match.comparison.learned is not Learned.NEITHER]
    wins = [sum(match.winner is side(match) for match in counted) for side in (_first, _second)]
    winner = None
    if (wins[0] > 0) != (wins[1] > 0):
        winner = first.model if wins[0] else second.model
    replayed = [match for match in counted if match.stopped_verdict is not None]
    times = [match.stopped_time.order for match in replayed if match.stopped_time is not None]
    return Tally(
        first=first.model,
        first_label=first.model_label,
        second=second.model,
        second_label=second.model_label,
        matches=matches,
        counted=len(counted),
        wins_first=wins[0],
        wins_second=wins[1],
        undecided=len(counted) - sum(wins),
        winner=winner,
        stopped=len(replayed),
        changed=sum(
            match.stopped_verdict.order is not match.comparison.verdict.order
            for match in replayed
            if match.stopped_verdict is not None
        ),
        sooner_first=times.count(Order.LOWER),
        sooner_second=times.count(Order.HIGHER),
        as_long=times.count(Order.ALIKE),
    )


def _first(match: Match) -> ExperimentSummary:
    return match.comparison.first


def _second(match: Match) -> ExperimentSummary:
    return match.comparison.second
