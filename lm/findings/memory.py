"""What takes the memory. A difference between optimizers is only the optimizer's if its state is large enough."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from itertools import combinations

from lm.findings.optimizers import original_only
from lm.findings.verdicts import Ground, Order, Reason, Verdict
from lm.results.summary import ExperimentSummary, Summaries


class Part(StrEnum):
    """What the memory model counts."""

    PARAMETERS = "parameters"
    GRADIENTS = "gradients"
    OPTIMIZER = "optimizer"
    ACTIVATIONS = "activations"
    LOGITS = "logits"


class Coverage(StrEnum):
    """What the memory model's sum is of the measured peak of a training step, at the median over experiments."""

    EXPLAINED = "explained"
    """Between 0.8 and 1.25 of it."""
    PARTLY = "partly"
    NOT_MEASURED = "not_measured"


@dataclass(frozen=True, kw_only=True)
class Account:
    """One experiment, MiB: the memory model's parts, their sum, and the training step's measured peak (or what was in
    use, see ``Memory.whole``)."""

    experiment: ExperimentSummary
    parts: tuple[tuple[Part, float], ...]
    modelled: float
    measured: float | None

    @property
    def largest(self) -> tuple[Part, float]:
        """The largest part."""
        return max(self.parts, key=lambda part: part[1])


class Cause(StrEnum):
    """Whether optimizer state explains a measured difference."""

    STATE = "state"
    NOT_STATE = "not_state"
    TOO_SMALL = "too_small"
    """Both lie below what runs that need the same memory differ by."""


@dataclass(frozen=True, kw_only=True)
class Gap:
    """The optimizer with most state against the one with least, one architecture and depth; MiB.

    ``measured``: most less least; ``state``: the difference of their state; ``noise``: below this nothing is told.
    """

    least: ExperimentSummary
    most: ExperimentSummary
    measured: float
    state: float
    noise: float
    cause: Cause


@dataclass(frozen=True, kw_only=True)
class Memory:
    """``smallest``, ``largest``: by measured peak; ``covered``: median of modelled over measured (1: all of it);
    ``noise``: relative difference between runs that need the same memory (Adam and AdamW), at least 3 %. ``whole``: no
    step's peak was measured, only what was in use in all, which then stands in for it."""

    coverage: Coverage
    covered: float | None
    accounts: tuple[Account, ...]
    smallest: Account | None
    largest: Account | None
    gaps: tuple[Gap, ...]
    noise: float
    whole: bool


_EXPLAINED = (0.8, 1.25)
LEAST_NOISE = 0.03
"""Relative: measured memory closer than this is alike."""
_SAME_MEMORY = ("adam", "adamw")


def memory(summaries: Summaries) -> Memory:
    """By experiment, what the parts account for; between optimizers, whether their state explains a difference."""
    accounts = tuple(_account(e) for e in summaries.experiments if e.validation_loss.mean is not None)
    known = [account for account in accounts if account.measured and account.parts]
    noise = _noise(summaries)
    covered = statistics.median(each.modelled / _measured(each) for each in known) if known else None
    coverage = Coverage.NOT_MEASURED
    if covered is not None:
        coverage = Coverage.EXPLAINED if _EXPLAINED[0] <= covered <= _EXPLAINED[1] else Coverage.PARTLY
    return Memory(
        coverage=coverage,
        covered=covered,
        accounts=accounts,
        smallest=min(known, key=_measured, default=None),
        largest=max(known, key=_measured, default=None),
        gaps=tuple(_gaps(original_only(summaries), noise)),
        noise=noise,
        whole=bool(known) and all(account.experiment.memory.footprint is None for account in known),
    )


def compare_memory(first: ExperimentSummary, second: ExperimentSummary, noise: float) -> Verdict:
    """By measured memory; differences are of logarithms, alike within ``noise`` (:class:`Memory`)."""
    ours, theirs = _peak(first), _peak(second)
    if not ours or not theirs:
        return Verdict(order=Order.NOT_COMPARABLE, reason=Reason.NOT_MEASURED)
    if first.hardware != second.hardware:
        return Verdict(order=Order.NOT_COMPARABLE, reason=Reason.OTHER_HARDWARE)
    difference, half = math.log(ours / theirs), math.log1p(noise)
    order = Order.ALIKE
    if abs(difference) > half:
        order = Order.LOWER if difference < 0 else Order.HIGHER
    return Verdict(
        order=order, ground=Ground.NOISE, difference=difference, low=difference - half, high=difference + half
    )


def _account(experiment: ExperimentSummary) -> Account:
    figures = {
        Part.PARAMETERS: experiment.memory.parameters,
        Part.GRADIENTS: experiment.memory.gradients,
        Part.OPTIMIZER: experiment.memory.optimizer,
        Part.ACTIVATIONS: experiment.memory.activations,
        Part.LOGITS: experiment.memory.logits,
    }
    parts = tuple((part, figure) for part, figure in figures.items() if figure is not None)
    return Account(
        experiment=experiment,
        parts=parts,
        modelled=sum(figure for _, figure in parts),
        measured=_peak(experiment),
    )


def _measured(account: Account) -> float:
    assert account.measured is not None
    return account.measured


def _peak(experiment: ExperimentSummary) -> float | None:
    """A training step's peak, or where only whole processes were measured their mean."""
    memory = experiment.memory
    return memory.mean if memory.footprint is None else memory.footprint


def _by_shape(experiments: Iterable[ExperimentSummary]) -> list[dict[str, ExperimentSummary]]:
    """Experiments of one architecture, depth and hardware, by optimizer."""
    shapes: dict[tuple[str, int, str], dict[str, ExperimentSummary]] = {}
    for experiment in experiments:
        if _peak(experiment):
            key = (experiment.model, experiment.layers, experiment.hardware)
            shapes.setdefault(key, {}).setdefault(experiment.optimizer, experiment)
    return list(shapes.values())


def _noise(summaries: Summaries) -> float:
    """Relative difference of measured memory that says nothing: the largest between runs that keep the same state."""
    found = [LEAST_NOISE]
    for named in _by_shape(original_only(summaries)):
        peaks = [peak for name in _SAME_MEMORY if name in named and (peak := _peak(named[name]))]
        found += [max(pair) / min(pair) - 1 for pair in combinations(peaks, 2)]
    return max(found)


def _gaps(experiments: Iterable[ExperimentSummary], noise: float) -> list[Gap]:
    gaps = []
    for named in _by_shape(experiments):
        known = [(e.memory.optimizer, e) for e in named.values() if e.memory.optimizer is not None]
        if len(known) < 2:
            continue
        (low, least), (high, most) = (choose(known, key=lambda entry: entry[0]) for choose in (min, max))
        ours, theirs = _peak(least), _peak(most)
        if low == high or ours is None or theirs is None:
            continue
        measured, state, unseen = theirs - ours, high - low, noise * max(ours, theirs)
        cause = Cause.NOT_STATE
        if abs(measured) <= unseen and state <= unseen:
            cause = Cause.TOO_SMALL
        elif 0.5 * state <= measured <= 2 * state:
            cause = Cause.STATE
        gaps.append(Gap(least=least, most=most, measured=measured, state=state, noise=unseen, cause=cause))
    return gaps
