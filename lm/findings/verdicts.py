"""The one place that decides what is lower, higher, alike or not comparable.

Every pair of experiments of a study gets one verdict by validation loss and one by time, whatever asks for it, so that
no table, figure or sentence can contradict another. A difference of losses is claimed if

- with several seeds, the paired t interval over the seeds that both have does not hold zero; with single runs, the
  difference exceeds what repetitions of such runs were measured to differ by (``lm.results.spread``);
- it outlasts Holm's correction for all comparisons of the question that the pair belongs to;
- and it is large enough to matter (``TRIFLE``).

A difference of times is claimed if it exceeds how far runs that do the same work lie apart (:class:`Noise`).
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from itertools import combinations

from lm.results.spread import Spread
from lm.results.states import Kind, State
from lm.results.statistics import LEVEL, estimate, holm, p_value, t_quantile
from lm.results.summary import ExperimentSummary, Run, Summaries, lowest

TRIFLE = 0.005
"""Nats (0.5 % of perplexity): a smaller difference is called alike, however sure it is."""

LEAST_NOISE = 0.05
"""Relative: single timings closer than this are alike, however quiet the machine seems."""

Pair = tuple[str, str]


class Order(StrEnum):
    """Of a first experiment against a second: lower loss or time is better."""

    LOWER = "lower"
    HIGHER = "higher"
    ALIKE = "alike"
    NOT_COMPARABLE = "not_comparable"


class Reason(StrEnum):
    """Why two experiments do not compare."""

    FIRST_DIVERGED = "first_diverged"
    SECOND_DIVERGED = "second_diverged"
    BOTH_DIVERGED = "both_diverged"
    NO_COMMON_SEED = "no_common_seed"
    """Each has runs that count, none of them under the same seed."""
    OTHER_TEXT = "other_text"
    """They predicted different tokens: another corpus, vocabulary or share of it."""
    OTHER_HARDWARE = "other_hardware"
    DISTURBED = "disturbed"
    """At least one has no time that other processes left alone."""
    NOT_MEASURED = "not_measured"
    NO_SPREAD = "no_spread"
    """Single runs, and nothing is known of how far repetitions lie apart."""


class Ground(StrEnum):
    """What 'lower', 'higher' or 'alike' rests on."""

    INTERVAL = "interval"
    """The paired t interval over seeds."""
    SPREAD = "spread"
    """Single runs: the measured spread over seeds of such runs at this scale."""
    BORROWED = "borrowed"
    """Single runs at a scale without a measured spread: the widest known of any scale and kind of run."""
    NOISE = "noise"
    """Times: how far runs that do the same work lie apart."""
    TRIFLE = "trifle"
    """Alike because the difference, even if real, is too small to matter (``TRIFLE``)."""
    FAMILY = "family"
    """Alike because the difference does not outlast Holm's correction for all comparisons of its question."""


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """First less second. ``difference``, ``low``, ``high``: nats a token of a loss, logarithms of a ratio of times;
    None where not comparable. ``low`` to ``high``: the 95 % interval, or the difference ± ``bound`` for single runs.

    ``p``: two-sided, after Holm over the ``family`` comparisons of the question; None for times.
    ``seeds``: those that both have and that count; ``dropped``: those that both have, of which one side diverged.
    """

    order: Order
    reason: Reason | None = None
    ground: Ground | None = None
    difference: float | None = None
    low: float | None = None
    high: float | None = None
    p: float | None = None
    family: int = 1
    seeds: int = 0
    dropped: int = 0

    @property
    def comparable(self) -> bool:
        """Whether anything could be compared."""
        return self.order is not Order.NOT_COMPARABLE

    @property
    def bound(self) -> float | None:
        """Half the width of ``low`` to ``high``: what a difference must exceed."""
        return None if self.low is None or self.high is None else (self.high - self.low) / 2

    @property
    def ratio(self) -> float | None:
        """The difference as a relative change: first against second, of perplexity or time (-0.1: a tenth less)."""
        return _change(self.difference)

    @property
    def low_ratio(self) -> float | None:
        """``low`` as a relative change."""
        return _change(self.low)

    @property
    def high_ratio(self) -> float | None:
        """``high`` as a relative change."""
        return _change(self.high)

    @property
    def bound_ratio(self) -> float | None:
        """``bound`` as a relative change: single runs less than this apart are called alike."""
        return _change(self.bound)

    @property
    def reversed(self) -> Verdict:
        """The same of the second against the first."""
        order = {Order.LOWER: Order.HIGHER, Order.HIGHER: Order.LOWER}.get(self.order, self.order)
        reasons = {
            Reason.FIRST_DIVERGED: Reason.SECOND_DIVERGED,
            Reason.SECOND_DIVERGED: Reason.FIRST_DIVERGED,
        }
        return replace(
            self,
            order=order,
            reason=None if self.reason is None else reasons.get(self.reason, self.reason),
            difference=None if self.difference is None else -self.difference,
            low=None if self.high is None else -self.high,
            high=None if self.low is None else -self.low,
        )


class Learned(StrEnum):
    """Which of two experiments learned to use context: a difference between two that did not means nothing."""

    BOTH = "both"
    FIRST = "first"
    SECOND = "second"
    NEITHER = "neither"


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Two experiments by validation loss of the best epoch.

    ``first_loss``, ``second_loss``: means over the very seeds that were compared (nats a token), so that they belong
    to the difference; where not comparable, each one's own mean, or None.
    """

    first: ExperimentSummary
    second: ExperimentSummary
    verdict: Verdict
    first_loss: float | None
    second_loss: float | None
    learned: Learned


def _change(logarithm: float | None) -> float | None:
    if logarithm is None:
        return None
    try:
        return math.expm1(logarithm)
    except OverflowError:
        return math.inf


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
    return run.state is not State.DIVERGED and not run.disturbed and bool(run.train_seconds)


@dataclass(frozen=True, kw_only=True)
class _Raw:
    """A difference of losses before any correction."""

    difference: float
    error: float
    freedom: float
    ground: Ground
    seeds: int
    dropped: int

    @property
    def p(self) -> float:
        return p_value(self.difference, self.error, self.freedom)

    def verdict(self, p: float, family: int) -> Verdict:
        half = t_quantile(self.freedom) * self.error
        ground = self.ground
        order = Order.LOWER if self.difference < 0 else Order.HIGHER
        if self.p >= LEVEL:
            order = Order.ALIKE
        elif abs(self.difference) < TRIFLE:
            order, ground = Order.ALIKE, Ground.TRIFLE
        elif p >= LEVEL:
            order, ground = Order.ALIKE, Ground.FAMILY
        return Verdict(
            order=order,
            ground=ground,
            difference=self.difference,
            low=self.difference - half,
            high=self.difference + half,
            p=p,
            family=family,
            seeds=self.seeds,
            dropped=self.dropped,
        )


class Judge:
    """All verdicts of a study.

    ``families`` are the questions: each a sequence of pairs of ids. Holm's correction is made within each; a pair that
    two questions ask about gets the stricter. The pairs of the lowest loss with all others that no question asks about
    are one more family: which is best is a question too.
    """

    def __init__(
        self, summaries: Summaries, spread: Spread, families: Iterable[Sequence[Pair]] = (), noise: Noise | None = None
    ) -> None:
        self.summaries = summaries
        self.noise = noise or measure_noise(summaries.experiments)
        self._spread = spread
        self._corrected: dict[Pair, tuple[float, int]] = {}
        asked = [list(dict.fromkeys(tuple(sorted(pair)) for pair in family)) for family in families]
        best = lowest(summaries.experiments)
        if best is not None:
            taken = {pair for family in asked for pair in family}
            others = (tuple(sorted((best.id, other.id))) for other in summaries.experiments if other.id != best.id)
            asked.append([pair for pair in others if pair not in taken])
        for family in asked:
            self._correct([(first, second) for first, second in family])
        self.largest_family = max((count for _, count in self._corrected.values()), default=1)

    def _correct(self, family: list[Pair]) -> None:
        raws = {pair: self._raw(*(self.summaries[name] for name in pair)) for pair in family}
        known = {pair: raw for pair, raw in raws.items() if isinstance(raw, _Raw)}
        for pair, p in zip(known, holm([raw.p for raw in known.values()]), strict=True):
            before, count = self._corrected.get(pair, (0.0, 1))
            self._corrected[pair] = max(before, p), max(count, len(known))

    def loss(self, first: ExperimentSummary, second: ExperimentSummary) -> Verdict:
        """By validation loss of the best epoch."""
        pair = _ordered_pair(first, second)
        raw = self._raw(self.summaries[pair[0]], self.summaries[pair[1]])
        if isinstance(raw, Reason):
            verdict = Verdict(order=Order.NOT_COMPARABLE, reason=raw)
        else:
            p, count = self._corrected.get(pair, (raw.p, 1))
            verdict = raw.verdict(p, count)
        return verdict if pair[0] == first.id else verdict.reversed

    def test_loss(self, first: ExperimentSummary, second: ExperimentSummary) -> Verdict:
        """By test loss of the best epoch's weights."""
        losses = [{run.seed: run.test_loss for run in experiment.runs} for experiment in (first, second)]
        return self.losses(first, second, *losses)

    def losses(
        self,
        first: ExperimentSummary,
        second: ExperimentSummary,
        first_losses: Mapping[int, float | None],
        second_losses: Mapping[int, float | None],
    ) -> Verdict:
        """By other losses of the two, by seed, held to the same standard as their validation losses.

        What the correction multiplied p by there, it multiplies p by here: equal losses get the same verdict.
        """
        raw = _raw(first, second, first_losses, second_losses, self._spread)
        if isinstance(raw, Reason):
            return Verdict(order=Order.NOT_COMPARABLE, reason=raw)
        own = self._raw(first, second)
        corrected = self._corrected.get(_ordered_pair(first, second))
        if corrected is None or isinstance(own, Reason) or own.p == 0:
            return raw.verdict(raw.p, 1)
        return raw.verdict(min(1.0, raw.p * corrected[0] / own.p), corrected[1])

    def time(self, first: ExperimentSummary, second: ExperimentSummary) -> Verdict:
        """By training time of the whole run; differences are of logarithms."""
        return judge_times(first, second, self.noise)

    def elapsed(self, first: float, second: float, parts: float) -> Verdict:
        """By two times that are only ``parts`` of whole runs (0 to 1): over less, less averages out."""
        half = math.log1p(self.noise.bound) / math.sqrt(parts)
        return _ordered(math.log(first / second), half, Ground.NOISE, 1)

    def compare(self, first: ExperimentSummary, second: ExperimentSummary) -> Comparison:
        """The verdict by validation loss, with the losses that belong to it."""
        verdict = self.loss(first, second)
        ours, theirs = first.validation_loss.mean, second.validation_loss.mean
        if verdict.comparable:
            own, other = _validation(first), _validation(second)
            common = [seed for seed in own if own[seed] is not None and other.get(seed) is not None]
            ours, theirs = (estimate(losses[seed] for seed in common).mean for losses in (own, other))
        return Comparison(
            first=first,
            second=second,
            verdict=verdict,
            first_loss=ours,
            second_loss=theirs,
            learned=_LEARNED[first.learned, second.learned],
        )

    def _raw(self, first: ExperimentSummary, second: ExperimentSummary) -> _Raw | Reason:
        return _raw(first, second, _validation(first), _validation(second), self._spread)


def _ordered_pair(first: ExperimentSummary, second: ExperimentSummary) -> Pair:
    return min((first.id, second.id), (second.id, first.id))


_LEARNED = {
    (True, True): Learned.BOTH,
    (True, False): Learned.FIRST,
    (False, True): Learned.SECOND,
    (False, False): Learned.NEITHER,
}


def _validation(experiment: ExperimentSummary) -> dict[int, float | None]:
    return {run.seed: run.validation_loss for run in experiment.runs}


def judge_losses(
    first: ExperimentSummary,
    second: ExperimentSummary,
    first_losses: Mapping[int, float | None],
    second_losses: Mapping[int, float | None],
    spread: Spread,
) -> Verdict:
    """Two experiments by losses of theirs (nats a token, by seed; None where a run diverged), without correction."""
    raw = _raw(first, second, first_losses, second_losses, spread)
    return Verdict(order=Order.NOT_COMPARABLE, reason=raw) if isinstance(raw, Reason) else raw.verdict(raw.p, 1)


def _raw(
    first: ExperimentSummary,
    second: ExperimentSummary,
    first_losses: Mapping[int, float | None],
    second_losses: Mapping[int, float | None],
    spread: Spread,
) -> _Raw | Reason:
    if not same_text(first, second):
        return Reason.OTHER_TEXT
    failed = first.state is State.DIVERGED, second.state is State.DIVERGED
    if any(failed):
        return _DIVERGED[failed]
    shared = [seed for seed in first_losses if seed in second_losses]
    paired = {
        seed: ours - theirs
        for seed in shared
        if (ours := first_losses[seed]) is not None and (theirs := second_losses[seed]) is not None
    }
    if not paired:
        measured = [any(loss is not None for loss in losses.values()) for losses in (first_losses, second_losses)]
        return Reason.NO_COMMON_SEED if all(measured) else Reason.NOT_MEASURED
    differences = list(paired.values())
    count = len(differences)
    mean = math.fsum(differences) / count
    if count > 1:
        error, freedom, ground = statistics.stdev(differences) / math.sqrt(count), float(count - 1), Ground.INTERVAL
    else:
        seed = next(iter(paired))
        known = [spread.of(e.text.scale, e.text.vocabulary, _kind(e, seed)) for e in (first, second)]
        deviations = [deviation for deviation in known if deviation is not None]
        if len(deviations) < 2:
            return Reason.NO_SPREAD
        variances = [deviation.nats**2 for deviation in deviations]
        error = math.sqrt(sum(variances))
        # Welch and Satterthwaite: the freedom of a sum of two estimated variances
        parts = sum(variance**2 / deviation.freedom for variance, deviation in zip(variances, deviations, strict=True))
        freedom = sum(variances) ** 2 / parts if parts else float(min(deviation.freedom for deviation in deviations))
        ground = Ground.BORROWED if any(deviation.borrowed for deviation in deviations) else Ground.SPREAD
    return _Raw(
        difference=mean,
        error=error,
        freedom=freedom,
        ground=ground,
        seeds=count,
        dropped=sum(_seed_diverged(first, seed) or _seed_diverged(second, seed) for seed in shared),
    )


_DIVERGED = {
    (True, True): Reason.BOTH_DIVERGED,
    (True, False): Reason.FIRST_DIVERGED,
    (False, True): Reason.SECOND_DIVERGED,
}


def same_text(first: ExperimentSummary, second: ExperimentSummary) -> bool:
    """Whether both predicted the same validation tokens: else their losses a token do not compare."""
    ours, theirs = first.text, second.text
    return (ours.corpus, ours.vocabulary, ours.validation_tokens, ours.fingerprint) == (
        theirs.corpus,
        theirs.vocabulary,
        theirs.validation_tokens,
        theirs.fingerprint,
    )


def _kind(experiment: ExperimentSummary, seed: int) -> Kind:
    return next(run.course.kind for run in experiment.runs if run.seed == seed)


def _seed_diverged(experiment: ExperimentSummary, seed: int) -> bool:
    return any(run.seed == seed and run.state is State.DIVERGED for run in experiment.runs)


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
    return _ordered(mean, half, ground, min(len(ours), len(theirs)))


def _time_reason(first: ExperimentSummary, second: ExperimentSummary) -> Reason | None:
    failed = first.state is State.DIVERGED, second.state is State.DIVERGED
    if any(failed):
        return _DIVERGED[failed]
    if first.hardware != second.hardware:
        return Reason.OTHER_HARDWARE
    if first.train_seconds.mean is None or second.train_seconds.mean is None:
        return Reason.NOT_MEASURED
    if not (any(map(_timed, first.runs)) and any(map(_timed, second.runs))):
        return Reason.DISTURBED
    return None


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
