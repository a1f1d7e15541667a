"""Early stopping replayed on the recorded epochs: what it would have saved, and what it would have cost."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from lm.results.states import State
from lm.results.summary import ExperimentSummary, Run, Summaries


class Outcome(StrEnum):
    """What early stopping with ``Stopping.patience`` would have done."""

    SAVES = "saves"
    """Stops at least one run, and costs no run more than ``HARMLESS`` of perplexity."""
    STOPS_NOTHING = "stops_nothing"
    COSTS_QUALITY = "costs_quality"
    """Every patience tried costs some run more; ``patience`` is then the longest tried."""
    NOT_VALID = "not_valid"
    """No run can be replayed (see ``left_out``)."""


@dataclass(frozen=True, kw_only=True)
class Stop:
    """One run under one patience. ``epoch``: after which it would have stopped, None: not before its end; ``seconds``
    up to there and ``saved`` after it: training and validation; ``lost``: nats by which the best loss would be higher.
    """

    experiment: ExperimentSummary
    seed: int
    patience: int
    epoch: int | None
    seconds: float
    saved: float
    kept_loss: float
    lost: float


class LeftOut(StrEnum):
    """Why a run is not replayed."""

    SCHEDULE = "schedule"
    """Its learning rate falls towards the configured end, so what it reached earlier is not what a shorter run gets."""
    PATIENCE = "patience"
    """It had early stopping already."""
    DIVERGED = "diverged"
    TOO_SHORT = "too_short"
    """Fewer than two epochs."""


@dataclass(frozen=True, kw_only=True)
class Stopping:
    """``patience``: the smallest harmless one, or the longest tried. ``saved_share``: of the replayed runs' time.
    ``longest_wait``: the most epochs in a row that any replayed run went without a new lowest loss. ``left_out``:
    experiments not replayed, by reason."""

    outcome: Outcome
    patience: int
    patiences: tuple[int, ...]
    stops: tuple[Stop, ...]
    stopped: tuple[ExperimentSummary, ...]
    saved_seconds: float
    saved_share: float
    worst: Stop | None
    longest_wait: int
    left_out: tuple[tuple[LeftOut, tuple[ExperimentSummary, ...]], ...]

    def under(self, patience: int) -> tuple[Stop, ...]:
        """All runs under one patience."""
        return tuple(stop for stop in self.stops if stop.patience == patience)

    def of(self, experiment: str, patience: int) -> tuple[Stop, ...]:
        """An experiment's runs under one patience."""
        return tuple(stop for stop in self.under(patience) if stop.experiment.id == experiment)


PATIENCES = (1, 2, 3)
HARMLESS = 0.02
"""Nats (2 % of perplexity) that a stopped run may end higher."""
_END_WITH_THE_RUN = ("cosine", "wsd")
"""Schedules that are laid out over the configured epochs."""


def stop_after(losses: Sequence[float], patience: int) -> int:
    """Index of the epoch after which training stops: the ``patience``-th in a row that set no new minimum."""
    lowest, waited = math.inf, 0
    for index, loss in enumerate(losses):
        lowest, waited = (loss, 0) if loss < lowest else (lowest, waited + 1)
        if waited == patience:
            return index
    return len(losses) - 1


def stopping(summaries: Summaries) -> Stopping:
    """Patience 1 to 3 replayed on every run for which that is valid."""
    stops: list[Stop] = []
    out: dict[LeftOut, list[ExperimentSummary]] = {}
    longest = 0
    for experiment in summaries.experiments:
        reasons = set()
        for run in experiment.runs:
            reason = _left_out(experiment, run)
            if reason is not None:
                reasons.add(reason)
                continue
            losses = [epoch.validation_loss for epoch in run.epochs if epoch.validation_loss is not None]
            longest = max(longest, _longest_wait(losses))
            stops += [_stop(experiment, run, losses, patience) for patience in PATIENCES]
        for reason in reasons:
            out.setdefault(reason, []).append(experiment)
    left_out = tuple((reason, tuple(out[reason])) for reason in LeftOut if reason in out)
    harmless = [p for p in PATIENCES if all(stop.lost <= HARMLESS for stop in stops if stop.patience == p)]
    patience = harmless[0] if harmless else PATIENCES[-1]
    chosen = [stop for stop in stops if stop.patience == patience]
    cut = [stop for stop in chosen if stop.epoch is not None]
    outcome = Outcome.SAVES
    if not chosen:
        outcome = Outcome.NOT_VALID
    elif not harmless:
        outcome = Outcome.COSTS_QUALITY
    elif not cut:
        outcome = Outcome.STOPS_NOTHING
    saved = math.fsum(stop.saved for stop in chosen)
    total = math.fsum(stop.saved + stop.seconds for stop in chosen)
    return Stopping(
        outcome=outcome,
        patience=patience,
        patiences=PATIENCES,
        stops=tuple(stops),
        stopped=tuple({stop.experiment.id: stop.experiment for stop in cut}.values()),
        saved_seconds=saved,
        saved_share=saved / total if total else 0.0,
        worst=max(cut, key=lambda stop: stop.lost, default=None),
        longest_wait=longest,
        left_out=left_out,
    )


def _left_out(experiment: ExperimentSummary, run: Run) -> LeftOut | None:
    if run.state is State.DIVERGED:
        return LeftOut.DIVERGED
    if len(run.epochs) < 2:
        return LeftOut.TOO_SHORT
    if experiment.settings.patience is not None:
        return LeftOut.PATIENCE
    if experiment.settings.schedule in _END_WITH_THE_RUN:
        return LeftOut.SCHEDULE
    return None


def _stop(experiment: ExperimentSummary, run: Run, losses: list[float], patience: int) -> Stop:
    last = stop_after(losses, patience)
    seconds = [(epoch.train_seconds or 0.0) + (epoch.validation_seconds or 0.0) for epoch in run.epochs]
    kept = min(losses[: last + 1])
    return Stop(
        experiment=experiment,
        seed=run.seed,
        patience=patience,
        epoch=None if last == len(losses) - 1 else run.epochs[last].epoch,
        seconds=math.fsum(seconds[: last + 1]),
        saved=math.fsum(seconds[last + 1 :]),
        kept_loss=kept,
        lost=kept - min(losses),
    )


def _longest_wait(losses: list[float]) -> int:
    lowest, waited, longest = math.inf, 0, 0
    for loss in losses:
        lowest, waited = (loss, 0) if loss < lowest else (lowest, waited + 1)
        longest = max(longest, waited)
    return longest
