"""What more layers do, and why: a deeper model that does worse may overfit, or may not have trained at all."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from lm.findings.judge import Judge, Pair
from lm.findings.optimizers import original_only
from lm.findings.verdicts import Comparison, Order
from lm.results.states import State
from lm.results.statistics import estimate
from lm.results.summary import ExperimentSummary, Run, Summaries


class Deeper(StrEnum):
    """What a deeper model does against the shallowest."""

    HELPS = "helps"
    ALIKE = "alike"
    OVERFITS = "overfits"
    """Worse on validation, although its training loss is lower: it fits the training text better, new text worse."""
    LEARNED_LESS = "learned_less"
    """Worse on validation, and its training loss is higher too: it had not got as far when training ended."""
    WORSE = "worse"
    """Worse on validation; training loss does not tell why (not recorded, or alike)."""
    ALONE = "alone"
    """It learned to use context and the shallowest did not: no difference of their losses says what depth does."""
    FAILED = "failed"
    """It did not learn to use context and no longer fell; see the experiment's state."""
    NOT_YET = "not_yet"
    """It had not learned to use context, but validation was still falling."""
    NOT_COMPARABLE = "not_comparable"


@dataclass(frozen=True, kw_only=True)
class Step:
    """``comparison.first`` is the deeper experiment, ``comparison.second`` the shallowest of its series.

    ``first_training``, ``second_training``: loss on the fixed training sample with the last epoch's weights, mean over
    seeds; ``running``: no sample was scored, so that they are running means over the last epoch.
    """

    comparison: Comparison
    effect: Deeper
    first_training: float | None
    second_training: float | None
    running: bool


@dataclass(frozen=True, kw_only=True)
class Series:
    """One architecture under one optimizer at several depths, the shallowest first. ``base_learned``: whether the
    shallowest learned to use context; where it did not, no step says what depth does."""

    model: str
    model_label: str
    optimizer: str
    optimizer_label: str
    experiments: tuple[ExperimentSummary, ...]
    base_learned: bool
    steps: tuple[Step, ...]


@dataclass(frozen=True, kw_only=True)
class Depth:
    """Every architecture that was trained at several depths."""

    series: tuple[Series, ...]


_TRAINING_DIFFERS = 0.02
"""Nats by which training losses must differ to tell a model that overfits from one that learned less."""


def depth_series(summaries: Summaries) -> list[list[ExperimentSummary]]:
    """Experiments that differ in depth only, shallowest first: one series an architecture, under the optimizer with
    most depths."""
    series = []
    for model in dict.fromkeys(experiment.model for experiment in summaries.experiments):
        own = [experiment for experiment in original_only(summaries) if experiment.model == model]
        by_optimizer: dict[str, dict[int, ExperimentSummary]] = {}
        for experiment in own:
            by_optimizer.setdefault(experiment.optimizer, {}).setdefault(experiment.layers, experiment)
        depths = max(by_optimizer.values(), key=len, default={})
        if len(depths) > 1:
            series.append([depths[layers] for layers in sorted(depths)])
    return series


def depth_pairs(summaries: Summaries) -> list[Pair]:
    """Each deeper experiment with the shallowest of its series."""
    return [(deeper.id, series[0].id) for series in depth_series(summaries) for deeper in series[1:]]


def depth(judge: Judge) -> Depth | None:
    """Each deeper model against the shallowest, under the same optimizer; None where depth does not vary."""
    series = [_series(experiments, judge) for experiments in depth_series(judge.summaries)]
    return Depth(series=tuple(series)) if series else None


def _series(experiments: list[ExperimentSummary], judge: Judge) -> Series:
    base = experiments[0]
    return Series(
        model=base.model,
        model_label=base.model_label,
        optimizer=base.optimizer,
        optimizer_label=base.optimizer_label,
        experiments=tuple(experiments),
        base_learned=base.learned,
        steps=tuple(_step(judge.compare(deeper, base)) for deeper in experiments[1:]),
    )


def _step(comparison: Comparison) -> Step:
    both = comparison.first, comparison.second
    ours, theirs = (estimate(run.course.training for run in _whole(experiment)).mean for experiment in both)
    running = ours is None and theirs is None
    if running:
        ours, theirs = (
            estimate(run.epochs[-1].train_loss for run in _whole(experiment) if run.epochs).mean for experiment in both
        )
    return Step(
        comparison=comparison,
        effect=_effect(comparison, ours, theirs),
        first_training=ours,
        second_training=theirs,
        running=running and (ours is not None or theirs is not None),
    )


def _whole(experiment: ExperimentSummary) -> list[Run]:
    return [run for run in experiment.runs if run.state is not State.DIVERGED]


def _effect(comparison: Comparison, ours: float | None, theirs: float | None) -> Deeper:
    deeper, order = comparison.first, comparison.verdict.order
    if not deeper.learned:
        falling = deeper.state is not State.DIVERGED and deeper.representative.course.falling
        return Deeper.NOT_YET if falling else Deeper.FAILED
    if not comparison.second.learned:
        return Deeper.ALONE
    if order is Order.NOT_COMPARABLE:
        return Deeper.NOT_COMPARABLE
    if order is Order.LOWER:
        return Deeper.HELPS
    if order is Order.ALIKE:
        return Deeper.ALIKE
    if ours is None or theirs is None or abs(ours - theirs) < _TRAINING_DIFFERS:
        return Deeper.WORSE
    return Deeper.OVERFITS if ours < theirs else Deeper.LEARNED_LESS
