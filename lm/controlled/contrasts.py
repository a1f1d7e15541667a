"""Two arms compared over fresh seeds, and the comparisons of one question corrected as one family.

Every difference is of test loss. What chose a rate, validation loss under the tuning seed, decides no verdict; it tells
only whether a verdict's direction is the same at other rates.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from lm.controlled.results import ArmResult, Trial
from lm.controlled.statistics import Paired, Resampled, improvement, paired, resample_documents, shares_p
from lm.findings.judge import TRIFLE
from lm.results.statistics import LEVEL, holm


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
    one. A treatment is compared at the best of its other rates that the untreated arm was tried at too, both at that
    rate: their second-best ones may lie on either side of the best."""

    HOLDS = "holds"
    TURNS = "turns"
    UNKNOWN = "unknown"
    """No direction, or an arm without such a rate at which it did not diverge."""


@dataclass(frozen=True, kw_only=True)
class Contrast:
    """Two arms. ``p``: after Holm over ``family`` comparisons, of the paired difference or, where seeds fail, of the
    shares that do. ``documents``: the bootstrap over test documents, which decides nothing. ``other``: the trials at
    other rates that ``second_best`` compares. Losses are means over the common seeds, or, where seeds fail, over each
    arm's seeds that do not, which compare nothing."""

    first: ArmResult
    second: ArmResult
    outcome: Outcome
    paired: Paired | None
    p: float | None
    family: int
    improvement: float | None
    documents: Resampled | None
    second_best: Survival
    other: tuple[Trial, Trial] | None
    first_loss: float | None
    second_loss: float | None

    @property
    def decided(self) -> bool:
        """Whether it is told which is better, or that they are alike."""
        return self.outcome is Outcome.ALIKE or self.outcome.better is not None

    @property
    def same_rate(self) -> bool:
        """Whether both arms stand at one rate."""
        return self.first.rate == self.second.rate

    @property
    def other_rate(self) -> float | None:
        """The rate at which :attr:`other` compares both; None where each stands at its own."""
        rates = {trial.rate for trial in self.other or ()}
        return rates.pop() if len(rates) == 1 else None

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
        other=_at_other_rates(first, second),
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


def _at_other_rates(first: ArmResult, second: ArmResult) -> tuple[Trial, Trial] | None:
    if first.of != second.name:
        return (first.ranked[1], second.ranked[1]) if min(len(first.ranked), len(second.ranked)) > 1 else None
    untreated = {trial.rate: trial for trial in second.ranked}
    return next(((trial, untreated[trial.rate]) for trial in first.ranked[1:] if trial.rate in untreated), None)


def _second_best(contrast: Contrast, outcome: Outcome) -> Survival:
    if outcome.better is None or contrast.other is None:
        return Survival.UNKNOWN
    ours, theirs = (trial.loss for trial in contrast.other)
    assert ours is not None and theirs is not None, "ranked holds what did not diverge"
    return Survival.HOLDS if (ours < theirs) is outcome.better else Survival.TURNS
