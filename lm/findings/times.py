"""Verdicts by training time, and the noise that a difference of times must exceed."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import combinations

from lm.findings.verdicts import Ground, Order, Reason, Verdict, divergence
from lm.results.states import State
from lm.results.statistics import t_quantile
from lm.results.summary import ExperimentSummary, Run

LEAST_NOISE = 0.05
"""Relative: single timings closer than this are alike, however quiet the machine seems."""


@dataclass(frozen=True, kw_only=True)
class Noise:
    """How far times lie apart that should be the same, as a relative difference (0.18: 18 %).

    ``same_work``: the largest among the pairs that do the same work (AdamW against Adam of one model, one experiment
    under two seeds), None without such a pair; ``pairs``: their number; ``within``: twice the spread of a run's own
    epochs, at the median over runs; ``bound``: the largest of these and ``LEAST_NOISE``: single timings closer are
    called alike.
    """

    bound: float
    same_work: float | None
    pairs: int
    within: float | None


def measure_noise(experiments: Iterable[ExperimentSummary]) -> Noise:
    """The noise of times over all undisturbed, completed runs; only runs on one kind of hardware make a pair."""
    same: dict[tuple[object, ...], list[float]] = {}
    spreads = []
    for experiment in experiments:
        for run in experiment.runs:
            if not _timed(run):
                continue
            assert run.train_seconds is not None
            same.setdefault((*_work(experiment), len(run.epochs)), []).append(math.log(run.train_seconds))
            seconds = [epoch.train_seconds for epoch in run.epochs if epoch.train_seconds]
            if len(seconds) > 1:
                spreads.append(2 * statistics.stdev(seconds) / statistics.fmean(seconds))
    gaps = [abs(first - second) for times in same.values() for first, second in combinations(times, 2)]
    same_work = math.expm1(max(gaps)) if gaps else None
    within = statistics.median(spreads) if spreads else None
    known = [bound for bound in (LEAST_NOISE, same_work, within) if bound is not None]
    return Noise(bound=max(known), same_work=same_work, pairs=len(gaps), within=within)


_SAME_STEP = {"adamw": "adam"}
"""Optimizers whose step costs the same: decoupled weight decay is one multiplication."""


def _work(experiment: ExperimentSummary) -> tuple[object, ...]:
    """What a training step's time depends on."""
    settings = experiment.settings
    optimizer = _SAME_STEP.get(experiment.optimizer, experiment.optimizer)
    shape = (experiment.model, experiment.layers, settings.sizes, settings.width, settings.context, settings.batch)
    extras = (settings.norm, settings.dropout > 0, settings.clip is None, settings.label_smoothing > 0)
    return (experiment.hardware, optimizer, shape, extras, experiment.text.train_tokens)


def _timed(run: Run) -> bool:
    return run.state is not State.DIVERGED and not run.disturbed and not run.elsewhere and bool(run.train_seconds)


def judge_times(first: ExperimentSummary, second: ExperimentSummary, noise: Noise) -> Verdict:
    """By training time of the whole run, of undisturbed runs on one kind of hardware; differences are of logarithms."""
    reason = _time_reason(first, second)
    if reason is not None:
        return Verdict(order=Order.NOT_COMPARABLE, reason=reason)
    ours, theirs = (
        [math.log(run.train_seconds) for run in experiment.runs if _timed(run) and run.train_seconds]
        for experiment in (first, second)
    )
    mean = statistics.fmean(ours) - statistics.fmean(theirs)
    half = math.log1p(noise.bound) * math.sqrt((1 / len(ours) + 1 / len(theirs)) / 2)
    ground = Ground.NOISE
    if len(ours) > 1 and len(theirs) > 1:
        parts = [statistics.variance(times) / len(times) for times in (ours, theirs)]
        shares = sum(part**2 / (len(times) - 1) for part, times in zip(parts, (ours, theirs), strict=True))
        if shares:
            measured = t_quantile(sum(parts) ** 2 / shares) * math.sqrt(sum(parts))
            if measured > half:
                half, ground = measured, Ground.INTERVAL
    assert first.train_seconds.mean is not None
    assert second.train_seconds.mean is not None
    if mean * (first.train_seconds.mean - second.train_seconds.mean) < 0:
        half, ground = max(half, abs(mean)), Ground.SEEDS
    return _ordered(mean, half, ground, min(len(ours), len(theirs)))


def _time_reason(first: ExperimentSummary, second: ExperimentSummary) -> Reason | None:
    diverged = divergence(first, second)
    if diverged is not None:
        return diverged
    if first.hardware != second.hardware:
        return Reason.OTHER_HARDWARE
    if first.train_seconds.mean is None or second.train_seconds.mean is None:
        return Reason.NOT_MEASURED
    if not (any(map(_timed, first.runs)) and any(map(_timed, second.runs))):
        return Reason.DISTURBED
    return None


def judge_elapsed(first: float, second: float, parts: float, noise: Noise) -> Verdict:
    """By two times (s) that are only ``parts`` of whole runs (0 to 1): over less, less averages out."""
    half = math.log1p(noise.bound) / math.sqrt(parts)
    return _ordered(math.log(first / second), half, Ground.NOISE, 1)


def _ordered(difference: float, half: float, ground: Ground, count: int) -> Verdict:
    order = Order.ALIKE
    if abs(difference) > half:
        order = Order.LOWER if difference < 0 else Order.HIGHER
    return Verdict(
        order=order,
        ground=ground,
        difference=difference,
        low=difference - half,
        high=difference + half,
        seeds=count,
    )
