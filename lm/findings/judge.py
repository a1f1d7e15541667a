"""The one place that decides what is lower, higher, alike or not comparable.

Every pair of experiments of a study gets one verdict by validation loss and one by time, whatever asks for it, so that
no table, figure or sentence can contradict another. A difference of losses is claimed if

- with several seeds, the paired t interval over the seeds that both have does not hold zero; with single runs, the
  difference exceeds what repetitions of such runs were measured to differ by (``lm.results.spread``);
- it outlasts Holm's correction for all comparisons of the question that the pair belongs to;
- and it is large enough to matter (``TRIFLE``).

A difference of times is claimed if it exceeds how far runs that do the same work lie apart (:mod:`lm.findings.times`).
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from lm.findings.times import Noise, judge_elapsed, judge_times, measure_noise
from lm.findings.verdicts import Comparison, Ground, Learned, Order, Reason, Verdict, divergence
from lm.results.spread import Spread
from lm.results.states import Kind, State
from lm.results.statistics import LEVEL, estimate, holm, p_value, t_quantile
from lm.results.summary import ExperimentSummary, Summaries, lowest

TRIFLE = 0.005
"""Nats (0.5 % of perplexity): a smaller difference is called alike, however sure it is."""

Pair = tuple[str, str]


@dataclass(frozen=True, kw_only=True)
class _Raw:
    """A difference of losses before any correction."""

    difference: float
    error: float
    freedom: float
    ground: Ground
    seeds: int
    dropped: int
    opposed: bool
    """Whether the means over all seeds of each point the other way."""

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
        elif self.opposed:
            order, ground = Order.ALIKE, Ground.SEEDS
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
        return judge_elapsed(first, second, parts, self.noise)

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


def judge_versions(pairs: Sequence[tuple[ExperimentSummary, ExperimentSummary]], spread: Spread) -> list[Verdict]:
    """Each pair's verdict, of two versions of an experiment that may belong to different studies, as one family.

    Where they predicted other tokens of the same text, the second's loss is converted to the first's tokens by way of
    the bytes that both stand for; where the text is another, or the bytes are unknown, they do not compare.
    """
    raws: list[_Raw | Reason] = []
    for first, second in pairs:
        scale = _token_ratio(first, second)
        if scale is None:
            raws.append(Reason.OTHER_TEXT)
            continue
        losses = {seed: None if loss is None else scale * loss for seed, loss in _validation(second).items()}
        raws.append(_raw_of_one_text(first, second, _validation(first), losses, spread))
    corrected = iter(holm([raw.p for raw in raws if isinstance(raw, _Raw)]))
    count = sum(isinstance(raw, _Raw) for raw in raws)
    return [
        raw.verdict(next(corrected), count)
        if isinstance(raw, _Raw)
        else Verdict(order=Order.NOT_COMPARABLE, reason=raw)
        for raw in raws
    ]


def _token_ratio(first: ExperimentSummary, second: ExperimentSummary) -> float | None:
    """What a loss a token of the second is to be multiplied by to be one a token of the first; None: not comparable."""
    if same_text(first, second):
        return 1.0
    ours, theirs = first.text, second.text
    if ours.corpus != theirs.corpus or ours.validation_bytes != theirs.validation_bytes or not ours.validation_bytes:
        return None
    if None in (first.validation_bits_per_byte.mean, second.validation_bits_per_byte.mean):
        return None
    if not ours.validation_tokens or not theirs.validation_tokens:
        return None
    return theirs.validation_tokens / ours.validation_tokens


def _raw(
    first: ExperimentSummary,
    second: ExperimentSummary,
    first_losses: Mapping[int, float | None],
    second_losses: Mapping[int, float | None],
    spread: Spread,
) -> _Raw | Reason:
    if not same_text(first, second):
        return Reason.OTHER_TEXT
    return _raw_of_one_text(first, second, first_losses, second_losses, spread)


def _raw_of_one_text(
    first: ExperimentSummary,
    second: ExperimentSummary,
    first_losses: Mapping[int, float | None],
    second_losses: Mapping[int, float | None],
    spread: Spread,
) -> _Raw | Reason:
    diverged = divergence(first, second)
    if diverged is not None:
        return diverged
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
    means = [estimate(losses.values()).mean or 0.0 for losses in (first_losses, second_losses)]
    return _Raw(
        difference=mean,
        error=error,
        freedom=freedom,
        ground=ground,
        seeds=count,
        dropped=sum(_seed_diverged(first, seed) or _seed_diverged(second, seed) for seed in shared),
        opposed=mean * (means[0] - means[1]) < 0,
    )


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
