"""What the controlled study finds: typed answers to its questions, without a sentence.

Its comparisons are those of :mod:`lm.controlled.contrasts`, over fresh seeds; a question's are one family.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np

from lm.controlled.contrasts import Contrast, judge
from lm.controlled.results import ArmResult, Controlled, Trial
from lm.controlled.statistics import best_after, shares_p
from lm.protocol.rates import Edge
from lm.results.states import Kind, State
from lm.results.statistics import LEVEL, t_quantile
from lm.results.summary import Run, timed_alike

BOWL = math.log(1.5)
"""Nats a token above the lowest loss up to which losses over the rate's logarithm are taken for a parabola."""
CLOSE = 0.01
"""Share of perplexity within which the next-best rate might have been chosen as well."""


@dataclass(frozen=True, kw_only=True)
class Search:
    """How an arm's search went. ``inside``: a lower and a higher rate than the chosen one were tried; ``low``,
    ``high``: rates around the best within 2 % of its perplexity; ``failures``: trials that met a loss that was not
    finite; ``seconds``: training time of all its trials; ``best_after``: expected validation loss of the best of 1, 2,
    … trials, a failed one counted as a unigram model. ``runner_up``: how much higher the loss at the next-best rate is;
    ``finer``: how much lower (nats a token, validation) the lowest point of the parabola through the chosen rate and
    its two neighbours is, over the rate's logarithm: a guess at what a finer grid would find; None at an edge and where
    a neighbour's perplexity is half as high again (``BOWL``), for far from the lowest point no parabola fits."""

    arm: ArmResult
    edge: Edge
    runner_up: float | None
    finer: float | None
    low: float | None
    high: float | None
    failures: int
    seconds: float
    best_after: tuple[float, ...]

    @property
    def close(self) -> bool:
        """Whether the next-best rate is as good but for a share of ``CLOSE``."""
        return self.runner_up is not None and self.runner_up < math.log1p(CLOSE)

    @property
    def decades(self) -> float | None:
        """How many powers of ten the rates within 2 % of the best span."""
        return None if self.low is None or self.high is None else math.log10(self.high / self.low)


@dataclass(frozen=True, kw_only=True)
class Ranking:
    """The optimizers of one architecture. ``leader`` is the arm of lowest validation loss in its trials, so that no
    test loss chose it; ``contrasts`` are the leader against each other one. ``adaptive``: the best adaptive optimizer
    (chosen likewise) against the best other one, where both are there; ``superset_lost``: pairs in which the optimizer
    that contains the other (momentum, weight decay) came out worse, so that the search was too coarse."""

    model: str
    label: str
    arms: tuple[ArmResult, ...]
    leader: ArmResult
    contrasts: tuple[Contrast, ...]
    adaptive: Contrast | None
    best: tuple[ArmResult, ...]
    """The arms that the leader is not told to be better than, the leader among them."""


class Setting(StrEnum):
    """What is asked about an optimizer's setting."""

    DECAY = "decay"
    """The study's weight decay against none."""
    STRONG_DECAY = "strong_decay"
    """A larger weight decay against the study's."""
    MOMENTUM = "momentum"


@dataclass(frozen=True, kw_only=True)
class SettingAnswer:
    """``contrast.first`` has more of it; ``value`` is how much."""

    setting: Setting
    value: float
    contrast: Contrast


class Untimed(StrEnum):
    """Why two arms are not compared at equal training time."""

    FAILED = "failed"
    """Seeds of one fail."""
    HARDWARE = "hardware"
    """They ran on unlike hardware."""
    DISTURBED = "disturbed"
    """Other processes took a share of the processor from every run of one."""
    UNKNOWN = "unknown"
    """Times were not measured, or the slower one has no epoch by then."""


@dataclass(frozen=True, kw_only=True)
class Match:
    """Two architectures at one depth. ``time``: training time (s) that both are given, the mean of the faster one's
    whole runs; ``first_then``, ``second_then``: the best validation loss by then, between two epochs' ends in a
    straight line, means over the undisturbed runs. ``untimed``: why they are None."""

    layers: int
    contrast: Contrast
    time: float | None
    first_then: float | None
    second_then: float | None
    untimed: Untimed | None


@dataclass(frozen=True, kw_only=True)
class Series:
    """One architecture at several depths, the shallowest first; ``steps``: each deeper arm against the shallowest."""

    model: str
    label: str
    arms: tuple[ArmResult, ...]
    steps: tuple[Contrast, ...]


@dataclass(frozen=True, kw_only=True)
class Cured:
    """``arm``, which is deep and fails on some seeds; ``treated``: the same with a remedy and no failed seed;
    ``shallower``: untreated, with fewer layers and no failed seed. It is what depth gives once it can be trained, but
    no comparison of like with like, so that no verdict rests on it."""

    arm: ArmResult
    treated: tuple[ArmResult, ...]
    shallower: tuple[ArmResult, ...]


@dataclass(frozen=True, kw_only=True)
class Trainable:
    """The largest rate at which an arm's trials learned to use context; ``at_least``: no larger one was tried. None: at
    none. ``loss``: validation loss there (nats a token), since a run may learn little; ``failed``: how many fresh seeds
    fail at that rate, None where none was run there."""

    arm: ArmResult
    rate: float | None
    loss: float | None
    at_least: bool
    failed: int | None


@dataclass(frozen=True, kw_only=True)
class Treatment:
    """``contrast.first`` is treated; ``together``: several remedies at once. ``slower``: training time, treated over
    untreated."""

    contrast: Contrast
    together: bool
    slower: float | None


@dataclass(frozen=True, kw_only=True)
class SeedEffect:
    """Over fresh seeds: the standard deviation of test loss (nats a token), the range as a ratio of perplexities, and
    how many of the ``count`` runs failed. None where fewer than two did not. ``tuning``: the tuning seed's test loss at
    the chosen rate less their mean (nats a token), None where a seed failed; ``unlike``: whether that is outside the
    95 % prediction interval for one more seed, so that another tuning seed may have chosen another rate."""

    arm: ArmResult
    kind: Kind
    count: int
    failed: int
    deviation: float | None
    range_ratio: float | None
    tuning: float | None
    unlike: bool


@dataclass(frozen=True, kw_only=True)
class Pooled:
    """Standard deviation over seeds of one kind of run, pooled over ``arms`` arms, with its degrees of freedom;
    ``steady`` and ``unsteady``: the arms of which it is lowest and highest."""

    kind: Kind
    deviation: float
    freedom: int
    arms: int
    steady: SeedEffect
    unsteady: SeedEffect


@dataclass(frozen=True, kw_only=True)
class Cost:
    """Training time of all runs, s. ``trials`` and ``confirmations`` count runs."""

    trials: int
    confirmations: int
    trial_seconds: float
    confirmation_seconds: float


@dataclass(frozen=True, kw_only=True)
class ControlledFindings:
    """Everything that is concluded; what the arms do not allow to ask is empty."""

    study: Controlled
    searches: tuple[Search, ...]
    rankings: tuple[Ranking, ...]
    settings: tuple[SettingAnswer, ...]
    matches: tuple[Match, ...]
    series: tuple[Series, ...]
    cured: tuple[Cured, ...]
    trainable: tuple[Trainable, ...]
    treatments: tuple[Treatment, ...]
    seed_effects: tuple[SeedEffect, ...]
    pooled: tuple[Pooled, ...]
    cost: Cost

    @property
    def undecided(self) -> tuple[Contrast, ...]:
        """Pairs of which nothing is told, each once."""
        found: dict[frozenset[str], Contrast] = {}
        for _, contrast in self.contrasts:
            if not contrast.decided:
                found.setdefault(frozenset((contrast.first.name, contrast.second.name)), contrast)
        return tuple(found.values())

    @property
    def hang_on_the_grid(self) -> tuple[Contrast, ...]:
        """Verdicts whose direction would turn if each arm gained what ``finer`` guesses, which is known of both."""
        finer = {search.arm.name: search.finer for search in self.searches}
        found = []
        for _, contrast in self.contrasts:
            ours, theirs = finer[contrast.first.name], finer[contrast.second.name]
            if contrast.paired is None or contrast.outcome.better is None or ours is None or theirs is None:
                continue
            difference = contrast.paired.difference
            if difference * (difference - ours + theirs) < 0:
                found.append(contrast)
        return tuple(found)

    @property
    def improving(self) -> tuple[ArmResult, ...]:
        """Arms of which every seed was still improving in the last epoch."""
        improving = {State.UNDERTRAINED}
        return tuple(arm for arm in self.study.arms if {run.state for run in arm.confirmed.runs} == improving)

    @property
    def fewest_failed(self) -> int | None:
        """How many seeds must fail, where none of the other arm does, to be told in the largest family of comparisons
        all by themselves; None where not even all of them suffice."""
        seeds = len(self.study.seeds)
        families = [contrast.family for _, contrast in self.contrasts]
        told = (n for n in range(1, seeds + 1) if shares_p(n, seeds, 0, seeds) * max(families, default=1) < LEVEL)
        return next(told, None)

    @property
    def equal_size(self) -> bool:
        """Whether architectures are compared, and with bodies of equal size at every depth."""
        return bool(self.matches) and all(match.contrast.equal_size for match in self.matches)

    @property
    def contrasts(self) -> tuple[tuple[str, Contrast], ...]:
        """Every verdict with the question it belongs to."""
        return (
            *(("optimizers", c) for ranking in self.rankings for c in ranking.contrasts),
            *(("settings", answer.contrast) for answer in self.settings),
            *(("architectures", match.contrast) for match in self.matches),
            *(("depth", step) for series in self.series for step in series.steps),
            *(("remedies", treatment.contrast) for treatment in self.treatments),
        )


_ADAPTIVE = ("adam", "adamw")
_CONTAINS = {"adamw": "adam", "momentum": "sgd"}
"""Optimizers that are the other one at one value of their own setting: no decay, no momentum."""


def find(study: Controlled) -> ControlledFindings:
    """All findings of a study."""
    rated = [arm for arm in study.arms if arm.part == "rates"]
    return ControlledFindings(
        study=study,
        searches=tuple(_search(arm) for arm in study.arms),
        rankings=_rankings(rated),
        settings=_settings(study, rated),
        matches=_matches(study),
        series=(series := _series(study)),
        cured=_cured(study, series),
        trainable=_trainable(study),
        treatments=_treatments(study),
        seed_effects=(effects := tuple(_seed_effect(arm) for arm in study.arms)),
        pooled=_pool(effects),
        cost=_cost(study),
    )


def _search(arm: ArmResult) -> Search:
    within = arm.forgiving()
    failed_loss = arm.confirmed.text.unigram_loss
    losses = [failed_loss if trial.loss is None else trial.loss for trial in arm.trials]
    return Search(
        arm=arm,
        edge=arm.edge,
        runner_up=_runner_up(arm),
        finer=_finer(arm),
        low=within[0] if within else None,
        high=within[1] if within else None,
        failures=sum(trial.loss is None for trial in arm.trials),
        seconds=math.fsum(trial.seconds or 0.0 for trial in arm.trials),
        best_after=tuple(best_after(losses, trials) for trials in range(1, len(losses) + 1)),
    )


def _runner_up(arm: ArmResult) -> float | None:
    losses = [trial.loss for trial in arm.ranked[:2] if trial.loss is not None]
    return losses[1] - losses[0] if len(losses) > 1 else None


def _finer(arm: ArmResult) -> float | None:
    if arm.edge is not Edge.NONE or arm.chosen is None:
        return None
    place = arm.trials.index(arm.chosen)
    around = arm.trials[place - 1 : place + 2]
    losses = [trial.loss for trial in around if trial.loss is not None]
    if len(losses) < 3 or max(losses) - losses[1] > BOWL:
        return None
    curvature, slope, _ = np.polyfit([math.log(trial.rate / arm.rate) for trial in around], losses, 2)
    return float(slope**2 / (4 * curvature)) if curvature > 0 else None


def _grouped(arms: Iterable[ArmResult]) -> dict[str, list[ArmResult]]:
    groups: dict[str, list[ArmResult]] = {}
    for arm in arms:
        groups.setdefault(arm.confirmed.model, []).append(arm)
    return groups


def _validation(arm: ArmResult) -> float:
    """Of its best trial; infinite where every one failed."""
    return math.inf if not arm.ranked or arm.ranked[0].loss is None else arm.ranked[0].loss


def _rankings(rated: list[ArmResult]) -> tuple[Ranking, ...]:
    groups = {model: arms for model, arms in _grouped(rated).items() if len(arms) > 1}
    leaders = {model: min(arms, key=_validation) for model, arms in groups.items()}
    pairs = [(leaders[model], arm) for model, arms in groups.items() for arm in arms if arm is not leaders[model]]
    contrasts = judge(pairs)
    found = []
    for model, arms in groups.items():
        own = tuple(each for each in contrasts if each.first is leaders[model])
        told = {id(each.second) for each in own if each.outcome.better}
        found.append(
            Ranking(
                model=model,
                label=arms[0].label,
                arms=tuple(arms),
                leader=leaders[model],
                contrasts=own,
                adaptive=_adaptive(arms, own),
                best=tuple(arm for arm in arms if id(arm) not in told),
            )
        )
    return tuple(found)


def _adaptive(arms: list[ArmResult], contrasts: tuple[Contrast, ...]) -> Contrast | None:
    """The leader's contrast with the best of the other sort, which is one of the family."""
    sorts = {True: [], False: []}  # type: dict[bool, list[ArmResult]]
    for arm in arms:
        sorts[arm.confirmed.optimizer in _ADAPTIVE].append(arm)
    if not all(sorts.values()):
        return None
    adaptive, other = (min(sorts[sort], key=_validation) for sort in (True, False))
    pair = {id(adaptive), id(other)}
    return next((each for each in contrasts if {id(each.first), id(each.second)} == pair), None)


def _settings(study: Controlled, rated: list[ArmResult]) -> tuple[SettingAnswer, ...]:
    asked: list[tuple[Setting, float, ArmResult, ArmResult]] = []
    for arms in _grouped(rated).values():
        by_optimizer = {arm.confirmed.optimizer: arm for arm in arms}
        for more, less in _CONTAINS.items():
            if more in by_optimizer and less in by_optimizer:
                first, settings = by_optimizer[more], by_optimizer[more].confirmed.settings
                kind = Setting.MOMENTUM if settings.momentum else Setting.DECAY
                value = settings.momentum or settings.weight_decay or 0.0
                asked.append((kind, value, first, by_optimizer[less]))
    for arm in study.arms:
        if arm.of is not None and _decay_alone(arm):
            value = arm.confirmed.settings.weight_decay or 0.0
            asked.append((Setting.STRONG_DECAY, value, arm, study[arm.of]))
    contrasts = judge((first, second) for _, _, first, second in asked)
    return tuple(
        SettingAnswer(setting=setting, value=value, contrast=contrast)
        for (setting, value, _, _), contrast in zip(asked, contrasts, strict=True)
    )


def _decay_alone(arm: ArmResult) -> bool:
    return [key for key, _ in arm.changed] == ["weight_decay"]


def superset_lost(findings: ControlledFindings) -> tuple[Contrast, ...]:
    """Verdicts in which an optimizer came out worse than the one that it contains: then its search was too coarse."""
    return tuple(
        answer.contrast
        for answer in findings.settings
        if answer.setting is not Setting.STRONG_DECAY and answer.contrast.outcome.better is False
    )


def _by_depth(study: Controlled) -> dict[str, dict[int, ArmResult]]:
    """Arms of the part on depth by model and layers, and where a depth lacks there, the same optimizer's rated arm."""
    deep = [arm for arm in study.arms if arm.part == "depth"]
    found: dict[str, dict[int, ArmResult]] = {}
    for arm in deep:
        found.setdefault(arm.confirmed.model, {})[arm.confirmed.layers] = arm
    optimizers = {arm.confirmed.optimizer for arm in deep}
    for arm in study.arms:
        own = found.get(arm.confirmed.model)
        if arm.part == "rates" and arm.confirmed.optimizer in optimizers and own is not None:
            own.setdefault(arm.confirmed.layers, arm)
    return {model: dict(sorted(arms.items())) for model, arms in found.items()}


def _matches(study: Controlled) -> tuple[Match, ...]:
    models = list(_by_depth(study).values())
    pairs = [
        (layers, first[layers], second[layers])
        for index, first in enumerate(models)
        for second in models[index + 1 :]
        for layers in first
        if layers in second
    ]
    contrasts = judge((first, second) for _, first, second in pairs)
    return tuple(
        Match(
            layers=layers,
            contrast=contrast,
            **_at_equal_time(first, second),
        )
        for (layers, first, second), contrast in zip(pairs, contrasts, strict=True)
    )


def _at_equal_time(first: ArmResult, second: ArmResult) -> dict[str, Any]:
    nothing = {"time": None, "first_then": None, "second_then": None}
    if first.failed or second.failed:
        return nothing | {"untimed": Untimed.FAILED}
    if first.confirmed.hardware != second.confirmed.hardware:
        return nothing | {"untimed": Untimed.HARDWARE}
    if first.confirmed.disturbed or second.confirmed.disturbed:
        return nothing | {"untimed": Untimed.DISTURBED}
    runs = [timed_alike(arm.confirmed.runs) for arm in (first, second)]
    times = [arm.confirmed.train_seconds.mean for arm in (first, second)]
    known = [time for time in times if time is not None]
    budget = min(known) if len(known) == 2 else 0.0
    ours, theirs = (_by_then(own, budget) for own in runs)
    if ours is None or theirs is None:
        return nothing | {"untimed": Untimed.UNKNOWN}
    return {"time": budget, "first_then": ours, "second_then": theirs, "untimed": None}


def _by_then(runs: Sequence[Run], budget: float) -> float | None:
    """Mean over runs of the best validation loss within ``budget`` seconds of training; None where one has none."""
    found = []
    for run in runs:
        passed = np.cumsum([math.nan if epoch.train_seconds is None else epoch.train_seconds for epoch in run.epochs])
        losses = [math.inf if epoch.validation_loss is None else epoch.validation_loss for epoch in run.epochs]
        if not len(passed) or not passed[0] <= budget:
            return None
        found.append(float(np.interp(budget, passed, np.minimum.accumulate(losses))))
    return statistics.fmean(found) if found and all(math.isfinite(loss) for loss in found) else None


def _series(study: Controlled) -> tuple[Series, ...]:
    depths = {model: list(arms.values()) for model, arms in _by_depth(study).items() if len(arms) > 1}
    contrasts = judge((deeper, arms[0]) for arms in depths.values() for deeper in arms[1:])
    return tuple(
        Series(
            model=model,
            label=arms[0].label,
            arms=tuple(arms),
            steps=tuple(each for each in contrasts if each.second is arms[0]),
        )
        for model, arms in depths.items()
    )


def _cured(study: Controlled, series: Iterable[Series]) -> tuple[Cured, ...]:
    found = []
    for each in series:
        for place, arm in enumerate(each.arms[1:], start=1):
            treated = tuple(other for other in study.arms if other.of == arm.name and not other.failed)
            shallower = tuple(other for other in each.arms[:place] if not other.failed)
            if arm.failed and treated and shallower:
                found.append(Cured(arm=arm, treated=treated, shallower=shallower))
    return tuple(found)


def _trainable(study: Controlled) -> tuple[Trainable, ...]:
    """The deepest arm that is treated by another place of the norm, and after it each of its searched arms in which one
    setting is changed."""
    treated = [arm for arm in study.arms if arm.of is not None and len(arm.changed) == 1 and not arm.relative]
    bases = [study[str(arm.of)] for arm in treated if arm.changed[0][0] == "norm"]
    if not bases:
        return ()
    deepest = max(bases, key=lambda arm: arm.confirmed.layers)
    return tuple(_largest(arm) for arm in (deepest, *(arm for arm in treated if arm.of == deepest.name)))


def _largest(arm: ArmResult) -> Trainable:
    learned = [trial for trial in arm.trials if trial.learned]
    last: Trial | None = learned[-1] if learned else None
    return Trainable(
        arm=arm,
        rate=last.rate if last else None,
        loss=last.loss if last else None,
        at_least=last is arm.trials[-1],
        failed=len(arm.failed) if last and last.rate == arm.rate else None,
    )


def _treatments(study: Controlled) -> tuple[Treatment, ...]:
    treated = [arm for arm in study.arms if arm.of is not None and arm.part == "remedies" and not _decay_alone(arm)]
    contrasts = judge((arm, study[str(arm.of)]) for arm in treated)
    return tuple(
        Treatment(contrast=each, together=each.first.together, slower=_slower(each.first, each.second))
        for each in contrasts
    )


def _slower(first: ArmResult, second: ArmResult) -> float | None:
    times = [arm.confirmed.train_seconds.mean for arm in (first, second)]
    if first.confirmed.hardware != second.confirmed.hardware or not all(times):
        return None
    if first.confirmed.disturbed or second.confirmed.disturbed:
        return None
    assert times[0] is not None and times[1] is not None
    return times[0] / times[1]


def _seed_effect(arm: ArmResult) -> SeedEffect:
    losses = list(arm.losses.values())
    several = len(losses) > 1
    deviation = statistics.stdev(losses) if several else None
    tuning, unlike = None, False
    if deviation is not None and not arm.failed and arm.chosen is not None and arm.chosen.test_loss is not None:
        tuning = arm.chosen.test_loss - statistics.fmean(losses)
        unlike = abs(tuning) > t_quantile(len(losses) - 1) * deviation * math.sqrt(1 + 1 / len(losses))
    return SeedEffect(
        arm=arm,
        kind=arm.kinds[-1],
        count=len(arm.confirmed.runs),
        failed=len(arm.failed),
        deviation=deviation,
        range_ratio=math.exp(max(losses) - min(losses)) if several else None,
        tuning=tuning,
        unlike=unlike,
    )


def _pool(effects: Iterable[SeedEffect]) -> tuple[Pooled, ...]:
    groups: dict[Kind, list[tuple[float, SeedEffect]]] = {}
    for effect in effects:
        if effect.deviation is not None and not effect.failed:
            groups.setdefault(effect.kind, []).append((effect.deviation, effect))
    found = []
    for kind in Kind:
        if kind in groups:
            ordered = sorted(groups[kind], key=lambda each: each[0])
            freedom = sum(effect.count - 1 for _, effect in ordered)
            squares = math.fsum((effect.count - 1) * deviation**2 for deviation, effect in ordered)
            found.append(
                Pooled(
                    kind=kind,
                    deviation=math.sqrt(squares / freedom),
                    freedom=freedom,
                    arms=len(ordered),
                    steady=ordered[0][1],
                    unsteady=ordered[-1][1],
                )
            )
    return tuple(found)


def _cost(study: Controlled) -> Cost:
    trials = [trial for arm in study.arms for trial in arm.trials]
    runs = [run for arm in study.arms for run in arm.confirmed.runs]
    return Cost(
        trials=len(trials),
        confirmations=len(runs),
        trial_seconds=math.fsum(trial.seconds or 0.0 for trial in trials),
        confirmation_seconds=math.fsum(run.train_seconds or 0.0 for run in runs),
    )
