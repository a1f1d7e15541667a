"""What the default study said, and what the controlled one says of the same question.

The default study's verdicts are those of its own report: single runs at one rate for all, on validation, judged by the
spread over repetitions. They compare with the controlled study only where both predict the same tokens.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum

from lm.controlled.contrasts import Contrast, Outcome
from lm.controlled.findings import ControlledFindings
from lm.controlled.results import ArmResult, precisions
from lm.findings.judge import Judge, same_text
from lm.findings.verdicts import Order
from lm.results.summary import ExperimentSummary, Summaries


class Topic(StrEnum):
    """What a claim is about."""

    OPTIMIZER = "optimizer"
    """The best optimizer of an architecture against another one."""
    ARCHITECTURE = "architecture"
    DEPTH = "depth"
    """More layers against the fewest."""


class Fate(StrEnum):
    """What becomes of a claim of the default study."""

    CONFIRMED = "confirmed"
    OVERTURNED = "overturned"
    """The other way round, or a difference where there is none."""
    NOT_SUPPORTED = "not_supported"
    """The controlled study does not tell the two apart."""
    SETTLED = "settled"
    """The default study could not tell; the controlled one can."""
    OPEN = "open"
    """Neither can tell."""


@dataclass(frozen=True, kw_only=True)
class Claim:
    """One comparison in both studies. ``order`` is the default study's verdict of ``default_first`` against
    ``default_second``; ``default_difference`` and ``difference`` are of losses (nats a token, validation there, test
    here), None where not known. ``shrunk``: the share of the default difference that its own rates took away."""

    topic: Topic
    default_first: ExperimentSummary
    default_second: ExperimentSummary
    order: Order
    default_difference: float | None
    contrast: Contrast
    difference: float | None
    fate: Fate

    @property
    def same_rates(self) -> bool:
        """Whether the rates chosen are the default study's, so that what differs is seeds, sizes and the split."""
        pairs = ((self.default_first, self.contrast.first), (self.default_second, self.contrast.second))
        return all(default.settings.lr == arm.rate for default, arm in pairs)

    @property
    def shrunk(self) -> float | None:
        """1: nothing of the default difference is left; negative: it grew. None where the default had none."""
        if not self.default_difference or self.difference is None or self.order is Order.ALIKE:
            return None
        return 1 - self.difference / self.default_difference


def compare(findings: ControlledFindings, default: Summaries, judge: Judge) -> tuple[Claim, ...]:
    """The claims of the default study that the controlled one takes up; none where their tokens are not the same."""
    return tuple(
        claim for topic, contrast in _asked(findings) if (claim := _claim(topic, contrast, default, judge)) is not None
    )


def mixed_precisions(claims: Sequence[Claim]) -> tuple[tuple[str, ...], tuple[str, ...]] | None:
    """Number formats of the default study's runs and of the controlled one's, where they are not the same."""
    default = precisions(each for claim in claims for each in (claim.default_first, claim.default_second))
    own = precisions(arm.confirmed for claim in claims for arm in (claim.contrast.first, claim.contrast.second))
    return (default, own) if default != own else None


def _asked(findings: ControlledFindings) -> Iterator[tuple[Topic, Contrast]]:
    for ranking in findings.rankings:
        for contrast in ranking.contrasts:
            yield Topic.OPTIMIZER, contrast
    for match in findings.matches:
        yield Topic.ARCHITECTURE, match.contrast
    for series in findings.series:
        for step in series.steps:
            yield Topic.DEPTH, step


def _claim(topic: Topic, contrast: Contrast, default: Summaries, judge: Judge) -> Claim | None:
    first, second = (_counterpart(arm, default) for arm in (contrast.first, contrast.second))
    if first is None or second is None:
        return None
    verdict = judge.loss(first, second)
    return Claim(
        topic=topic,
        default_first=first,
        default_second=second,
        order=verdict.order,
        default_difference=verdict.difference,
        contrast=contrast,
        difference=contrast.paired.difference if contrast.paired else None,
        fate=_fate(verdict.order, contrast.outcome),
    )


def _counterpart(arm: ArmResult, default: Summaries) -> ExperimentSummary | None:
    """The default study's experiment of the same architecture, depth and optimizer, whatever its rate and sizes."""
    for experiment in default.experiments:
        alike = (experiment.model, experiment.layers, experiment.optimizer) == (
            arm.confirmed.model,
            arm.confirmed.layers,
            arm.confirmed.optimizer,
        )
        if alike and experiment.of is None and same_text(experiment, arm.confirmed):
            return experiment
    return None


def _fate(order: Order, outcome: Outcome) -> Fate:
    said = {Order.LOWER: True, Order.HIGHER: False}.get(order)
    if said is None:
        return Fate.OPEN if outcome.better is None and outcome is not Outcome.ALIKE else Fate.SETTLED
    if outcome is Outcome.ALIKE:
        return Fate.OVERTURNED
    if outcome.better is None:
        return Fate.NOT_SUPPORTED
    return Fate.CONFIRMED if outcome.better is said else Fate.OVERTURNED
