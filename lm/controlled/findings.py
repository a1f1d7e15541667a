"""What the controlled study finds: typed answers to its questions, without a sentence.

Every difference is of test loss over fresh seeds; a question's comparisons are one family for Holm's correction. What
chose a rate, validation loss under the tuning seed, decides no verdict; it tells only how the search went.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from lm.controlled.rates import Edge
from lm.controlled.results import ArmResult, Controlled
from lm.controlled.statistics import Paired, Resampled, best_after, improvement, paired, resample_documents, shares_p
from lm.findings.judge import TRIFLE
from lm.results.states import Kind
from lm.results.statistics import LEVEL, holm, t_quantile


class Outcome(StrEnum):
    """Of a first arm against a second, by test loss: lower is better."""

    LOWER = "lower"
    HIGHER = "higher"
    ALIKE = "alike"
    """The whole interval is too narrow and too near zero to matter (``MATTERS``)."""
    UNDECIDED = "undecided"
    FIRST_FAILS = "first_fails"
    """The first fails on more seeds, by Boschloo's exact test: where seeds fail, shares are told and no means."""
    SECOND_FAILS = "second_fails"
    SHARES = "shares"
    """Seeds fail, and the shares do not tell the two apart."""
    TOO_FEW = "too_few"
    """Fewer than two common seeds."""

    @property
    def better(self) -> bool | None:
        """Whether the first is better; None where that is not told."""
        if self in (Outcome.LOWER, Outcome.SECOND_FAILS):
            return True
        return False if self in (Outcome.HIGHER, Outcome.FIRST_FAILS) else None


MATTERS = 2 * TRIFLE
"""Nats a token (1 % of perplexity) within which a whole interval must lie for two arms to be called alike."""

SAME_SIZE = 0.02
"""Share by which the parameters of two bodies may differ that are called of equal size."""


class Survival(StrEnum):
    """Whether a verdict's direction is the same at other rates (validation, tuning seed): each arm at its second-best
    one. A treatment that was tried at multiples of the untreated arm's rate alone is compared at its second-best one
    with the untreated at that same rate: their second-best rates may lie on either side of the best."""

    HOLDS = "holds"
    TURNS = "turns"
    UNKNOWN = "unknown"
    """No direction, or an arm without such a rate at which it did not fail."""


@dataclass(frozen=True, kw_only=True)
class Contrast:
    """Two arms. ``p``: after Holm over ``family`` comparisons, of the paired difference or, where seeds fail, of the
    shares that do. ``documents``: the bootstrap over test documents, which decides nothing. ``other_rate``: the one at
    which ``second_best`` compares both, None where each stands at its own. Losses are means over the common seeds, or,
    where seeds fail, over each arm's seeds that do not, which compare nothing."""

    first: ArmResult
    second: ArmResult
    outcome: Outcome
    paired: Paired | None
    p: float | None
    family: int
    improvement: float | None
    documents: Resampled | None
    second_best: Survival
    other_rate: float | None
    first_loss: float | None
    second_loss: float | None

    @property
    def corrected_away(self) -> bool:
        """Whether only the correction for many comparisons keeps the difference from being claimed."""
        return self.outcome is Outcome.UNDECIDED and self.paired is not None and self.paired.p < LEVEL

    @property
    def body_ratio(self) -> float | None:
        """Parameters beside embeddings, first over second."""
        return self.first.body / self.second.body if self.first.body and self.second.body else None

    @property
    def equal_size(self) -> bool:
        """Whether the bodies are known to have as many parameters (``SAME_SIZE``)."""
        return self.body_ratio is not None and abs(self.body_ratio - 1) <= SAME_SIZE

    @property
    def ratio(self) -> float | None:
        """The difference as a relative change of perplexity, first against second."""
        return None if self.paired is None else math.expm1(self.paired.difference)


def judge(pairs: Iterable[tuple[ArmResult, ArmResult]]) -> tuple[Contrast, ...]:
    """The contrasts of one question, corrected as one family; what has no p still counts in it."""
    found = [_contrast(first, second) for first, second in pairs]
    adjusted = holm([1.0 if each.p is None else each.p for each in found])
    return tuple(_settled(each, p, len(found)) for each, p in zip(found, adjusted, strict=True))


def _contrast(first: ArmResult, second: ArmResult) -> Contrast:
    fails = bool(first.failed or second.failed)
    common = sorted(set(first.losses) & set(second.losses))
    sound = not fails and len(common) > 1
    ours, theirs = (list(arm.losses) if fails else common if sound else [] for arm in (first, second))
    difference = paired(first.losses, second.losses) if sound else None
    p = None if difference is None else difference.p
    if fails:
        shares = [count for arm in (first, second) for count in (len(arm.failed), len(arm.confirmed.runs))]
        p = shares_p(*shares)
    return Contrast(
        first=first,
        second=second,
        outcome=Outcome.SHARES if fails else Outcome.UNDECIDED if sound else Outcome.TOO_FEW,
        paired=difference,
        p=p,
        family=1,
        improvement=improvement(list(first.losses.values()), list(second.losses.values())) if sound else None,
        documents=_over_documents(first, second) if sound else None,
        second_best=Survival.UNKNOWN,
        other_rate=first.ranked[1].rate if _at_multiples(first, second) and len(first.ranked) > 1 else None,
        first_loss=_mean(first, ours),
        second_loss=_mean(second, theirs),
    )


def _settled(contrast: Contrast, p: float, family: int) -> Contrast:
    if contrast.p is None:
        return replace(contrast, family=family)
    outcome, difference = contrast.outcome, contrast.paired
    if difference is None:
        if p < LEVEL:
            ours, theirs = (len(arm.failed) / len(arm.confirmed.runs) for arm in (contrast.first, contrast.second))
            outcome = Outcome.FIRST_FAILS if ours > theirs else Outcome.SECOND_FAILS
    elif difference.low > -MATTERS and difference.high < MATTERS:
        outcome = Outcome.ALIKE
    elif p < LEVEL:
        outcome = Outcome.LOWER if difference.difference < 0 else Outcome.HIGHER
    return replace(
        contrast,
        outcome=outcome,
        p=p,
        family=family,
        second_best=_second_best(contrast, outcome),
    )


def _mean(arm: ArmResult, seeds: Sequence[int]) -> float | None:
    return statistics.fmean(arm.losses[seed] for seed in seeds) if seeds else None


def _over_documents(first: ArmResult, second: ArmResult) -> Resampled | None:
    (ours, tokens), (theirs, others) = first.documents, second.documents
    if len(tokens) != len(others) or not (tokens == others).all():
        return None
    return resample_documents(ours, theirs, tokens)


def _at_multiples(first: ArmResult, second: ArmResult) -> bool:
    """Whether the first was tried at multiples of the second's rate alone."""
    return first.relative and first.of == second.name


def _second_best(contrast: Contrast, outcome: Outcome) -> Survival:
    first, second = contrast.first.ranked[1:2], contrast.second.ranked[1:2]
    if contrast.other_rate is not None:
        second = [trial for trial in contrast.second.ranked if trial.rate == contrast.other_rate]
    if outcome.better is None or not first or not second:
        return Survival.UNKNOWN
    ours, theirs = first[0].loss, second[0].loss
    assert ours is not None and theirs is not None, "ranked holds what did not fail"
    return Survival.HOLDS if (ours < theirs) is outcome.better else Survival.TURNS


@dataclass(frozen=True, kw_only=True)
class Search:
    """How an arm's search went. ``inside``: a lower and a higher rate than the chosen one were tried; ``low``,
    ``high``: rates around the best within 2 % of its perplexity; ``failures``: trials that met a loss that was not
    finite; ``seconds``: training time of all its trials; ``best_after``: expected validation loss of the best of 1, 2,
    … trials, a failed one counted as a unigram model."""

    arm: ArmResult
    edge: Edge
    low: float | None
    high: float | None
    failures: int
    seconds: float
    best_after: tuple[float, ...]

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


@dataclass(frozen=True, kw_only=True)
class Match:
    """Two architectures at one depth. ``time``: seconds of training that both are given, ``first_then``,
    ``second_then`` the mean best validation loss by then."""

    layers: int
    contrast: Contrast
    time: float | None
    first_then: float | None
    second_then: float | None


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
    none. ``loss``: validation loss there (nats a token), since a run may learn little."""

    arm: ArmResult
    norm: str
    rate: float | None
    loss: float | None
    at_least: bool


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
        low=within[0] if within else None,
        high=within[1] if within else None,
        failures=sum(trial.loss is None for trial in arm.trials),
        seconds=math.fsum(trial.seconds or 0.0 for trial in arm.trials),
        best_after=tuple(best_after(losses, trials) for trials in range(1, len(losses) + 1)),
    )


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


def _at_equal_time(first: ArmResult, second: ArmResult) -> dict[str, float | None]:
    times = [arm.confirmed.train_seconds.mean for arm in (first, second)]
    known = [time for time in times if time is not None]
    unlike = first.confirmed.hardware != second.confirmed.hardware
    if (
        len(known) < 2
        or unlike
        or first.failed
        or second.failed
        or first.confirmed.disturbed
        or second.confirmed.disturbed
    ):
        return {"time": None, "first_then": None, "second_then": None}
    budget = min(known)
    return {"time": budget, "first_then": _by_then(first, budget), "second_then": _by_then(second, budget)}


def _by_then(arm: ArmResult, budget: float) -> float | None:
    """Mean over seeds of the best validation loss within so many seconds; None where a seed has none by then."""
    found = []
    for run in arm.confirmed.runs:
        passed, best = 0.0, math.inf
        for epoch in run.epochs:
            passed += epoch.train_seconds or 0.0
            if passed <= 1.05 * budget and epoch.validation_loss is not None:
                best = min(best, epoch.validation_loss)
        found.append(best)
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
    """Arms that differ in the place of the norm alone, at the largest depth that has both."""
    pairs = [
        (study[arm.of], arm) for arm in study.arms if arm.of is not None and [key for key, _ in arm.changed] == ["norm"]
    ]
    if not pairs:
        return ()
    deepest = max(pairs, key=lambda pair: pair[1].confirmed.layers)
    return tuple(_largest(arm) for arm in deepest)


def _largest(arm: ArmResult) -> Trainable:
    learned = [trial for trial in arm.trials if trial.learned]
    return Trainable(
        arm=arm,
        norm=str(arm.confirmed.settings.norm),
        rate=learned[-1].rate if learned else None,
        loss=learned[-1].loss if learned else None,
        at_least=bool(learned) and learned[-1] is arm.trials[-1],
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
        kind=arm.confirmed.representative.course.kind,
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
