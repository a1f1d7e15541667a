"""Early stopping replayed on the recorded epochs: what it would have saved, and what it would have cost."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from lm.results.summary import ExperimentSummary


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
    ``improved_until_end``: whether every replayed run set a new lowest loss at least every ``patience`` epochs only
    because it still improved in its last epoch. ``left_out``: experiments not replayed, by reason."""

    outcome: Outcome
    patience: int
    patiences: tuple[int, ...]
    stops: tuple[Stop, ...]
    stopped: tuple[ExperimentSummary, ...]
    saved_seconds: float
    saved_share: float
    worst: Stop | None
    left_out: tuple[tuple[LeftOut, tuple[ExperimentSummary, ...]], ...]

    def under(self, patience: int) -> tuple[Stop, ...]:
        """All runs under one patience."""
        return tuple(stop for stop in self.stops if stop.patience == patience)

    def of(self, experiment: str, patience: int) -> tuple[Stop, ...]:
        """An experiment's runs under one patience."""
        return tuple(stop for stop in self.under(patience) if stop.experiment.id == experiment)
