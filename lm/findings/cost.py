"""What runs cost in time, and what they give for it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum

from lm.findings.judge import Judge
from lm.findings.times import Noise
from lm.findings.verdicts import Order, Verdict
from lm.results.summary import ExperimentSummary, lowest


class Choice(StrEnum):
    """What to take when time matters."""

    BEST = "best"
    """The best model: no clearly faster one comes close."""
    FASTER = "faster"
    """A clearly faster one whose loss is alike or at most ``GOOD_ENOUGH`` higher."""
    NOTHING = "nothing"
    """No experiment that learned has a time that counts."""


@dataclass(frozen=True, kw_only=True)
class Pick:
    """The experiment to take when time matters, against the best: ``time`` and ``loss`` are verdicts of the pick
    against the best (None where the pick is the best)."""

    experiment: ExperimentSummary
    time: Verdict | None
    loss: Verdict | None


@dataclass(frozen=True, kw_only=True)
class Arrival:
    """When one experiment first reached a target: mean training seconds over its seeds, if every seed got there."""

    experiment: ExperimentSummary
    seconds: float


@dataclass(frozen=True, kw_only=True)
class Reach:
    """A validation loss (nats a token; its perplexity has two figures) and who got there.

    ``arrivals``: by time; ``first``: the earliest and those whose times can't be told from its, in order.
    """

    target: float
    arrivals: tuple[Arrival, ...]
    first: tuple[ExperimentSummary, ...]


@dataclass(frozen=True, kw_only=True)
class WallClock:
    """Time against loss, among experiments on the commonest hardware with an undisturbed time.

    ``fastest``: the shortest training time of any completed experiment, learned or not; ``alike``: those that can't be
    told from it. ``best``: lowest loss among those that learned and are timed. ``front``: fastest first, the learned
    experiments that no other beats: another beats one if it is no worse in both figures and clearly better in one, so
    the best and the fastest learned one are always on it. ``compared``: all whose time and loss both count, learned or
    not; ``unlike_hardware``, ``disturbed``: left out.
    """

    choice: Choice
    fastest: ExperimentSummary | None
    alike: tuple[ExperimentSummary, ...]
    best: ExperimentSummary | None
    front: tuple[ExperimentSummary, ...]
    pick: Pick | None
    noise: Noise
    reaches: tuple[Reach, ...]
    compared: tuple[ExperimentSummary, ...]
    unlike_hardware: tuple[ExperimentSummary, ...]
    disturbed: tuple[ExperimentSummary, ...]


GOOD_ENOUGH = 0.1
"""Nats above the best (about 10 % of perplexity) that one may give up for time."""


def wall_clock(judge: Judge) -> WallClock:
    """Fastest, best, the front between them, and the pick when time matters."""
    experiments = judge.summaries.experiments
    completed = [e for e in experiments if e.train_seconds.mean is not None]
    unlike = tuple(e for e in completed if e.hardware_mark)
    disturbed = tuple(e for e in completed if e.disturbed and not e.hardware_mark)
    timed = [
        e
        for e in completed
        if not e.disturbed and not e.hardware_mark and e.train_seconds.mean and e.validation_loss.mean is not None
    ]
    fastest = min(timed, key=_seconds, default=None)
    learned = [e for e in timed if e.learned]
    best = lowest(learned)
    pick = None if best is None else _pick(best, learned, judge)
    choice = Choice.NOTHING
    if pick is not None:
        choice = Choice.BEST if pick.experiment is best else Choice.FASTER
    return WallClock(
        choice=choice,
        fastest=fastest,
        alike=()
        if fastest is None
        else tuple(e for e in timed if e is not fastest and judge.time(fastest, e).order is Order.ALIKE),
        best=best,
        front=_front(learned, judge),
        pick=pick,
        noise=judge.noise,
        reaches=() if best is None else _reaches(best, timed, judge),
        compared=tuple(timed),
        unlike_hardware=unlike,
        disturbed=disturbed,
    )


def _seconds(experiment: ExperimentSummary) -> float:
    assert experiment.train_seconds.mean is not None
    return experiment.train_seconds.mean


def _loss(experiment: ExperimentSummary) -> float:
    assert experiment.validation_loss.mean is not None
    return experiment.validation_loss.mean


def _pick(best: ExperimentSummary, learned: list[ExperimentSummary], judge: Judge) -> Pick:
    """The best, or of those clearly faster that come close to it the one of lowest loss among the fastest.

    Close is a loss that can't be told from the best one's, or at most ``GOOD_ENOUGH`` higher.
    """
    close = [
        experiment
        for experiment in learned
        if judge.time(experiment, best).order is Order.LOWER
        and (judge.loss(experiment, best).order is Order.ALIKE or _loss(experiment) <= _loss(best) + GOOD_ENOUGH)
    ]
    if not close:
        return Pick(experiment=best, time=None, loss=None)
    first = min(close, key=_seconds)
    as_fast = [e for e in close if e is first or judge.time(first, e).order is Order.ALIKE]
    chosen = min(as_fast, key=_loss)
    return Pick(experiment=chosen, time=judge.time(chosen, best), loss=judge.loss(chosen, best))


def _front(learned: list[ExperimentSummary], judge: Judge) -> tuple[ExperimentSummary, ...]:
    """Experiments that none beats, fastest first.

    To beat is to be no worse in either mean figure and clearly better in one. 'Alike' is not transitive, but order of
    means is: so this relation has no circles, and the lowest loss and the shortest time are always on the front.
    """

    def beats(first: ExperimentSummary, second: ExperimentSummary) -> bool:
        if _seconds(first) > _seconds(second) or _loss(first) > _loss(second):
            return False
        return Order.LOWER in (judge.time(first, second).order, judge.loss(first, second).order)

    front = (e for e in learned if not any(beats(other, e) for other in learned if other is not e))
    return tuple(sorted(front, key=lambda experiment: (_seconds(experiment), _loss(experiment))))


_FACTORS = (1.05, 1.2, 1.5, 2.0)


def _reaches(best: ExperimentSummary, timed: list[ExperimentSummary], judge: Judge) -> tuple[Reach, ...]:
    """Training seconds to perplexities 1.05, 1.2, 1.5 and 2 times the best (two figures), below the unigram model's."""
    lowest_perplexity = math.exp(_loss(best))
    targets = sorted({_two_figures(lowest_perplexity * factor) for factor in _FACTORS}, reverse=True)
    return tuple(
        _reach(math.log(target), timed, judge) for target in targets if math.log(target) < best.text.unigram_loss
    )


def _reach(target: float, timed: list[ExperimentSummary], judge: Judge) -> Reach:
    arrivals, parts = [], {}
    for experiment in timed:
        sound = [index for index, run in enumerate(experiment.runs) if not run.disturbed and not run.elsewhere]
        reached = [_until(experiment, index, target) for index in sound]
        known = [each for each in reached if each is not None]
        if known and len(known) == len(reached):
            seconds = math.fsum(seconds for seconds, _ in known) / len(known)
            arrivals.append(Arrival(experiment=experiment, seconds=seconds))
            parts[experiment.id] = math.fsum(part for _, part in known) / len(known)
    arrivals.sort(key=lambda arrival: arrival.seconds)
    first = [
        arrival.experiment
        for arrival in arrivals
        if arrival is arrivals[0]
        or judge.elapsed(
            arrivals[0].seconds,
            arrival.seconds,
            min(parts[arrival.experiment.id], parts[arrivals[0].experiment.id]),
        ).order
        is Order.ALIKE
    ]
    return Reach(target=target, arrivals=tuple(arrivals), first=tuple(first))


def _until(experiment: ExperimentSummary, index: int, target: float) -> tuple[float, float] | None:
    """Training seconds to the end of a run's first epoch at or below a loss, and their share of its epochs."""
    seconds = 0.0
    epochs = experiment.runs[index].epochs
    for count, epoch in enumerate(epochs, start=1):
        if epoch.train_seconds is None:
            return None
        seconds += epoch.train_seconds
        if epoch.validation_loss is not None and epoch.validation_loss <= target and seconds > 0:
            return seconds, count / len(epochs)
    return None


def _two_figures(value: float) -> float:
    """Rounded up to two significant figures."""
    step = 10.0 ** (math.floor(math.log10(value)) - 1)
    return math.ceil(value / step - 1e-9) * step
