"""What early stopping would have saved, and what it would have lost, replayed on the recorded epochs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import pandas as pd

from lm.results.names import counted
from lm.results.statistics import ONE_SEED_BOUND
from lm.results.text import number, percent

PATIENCE = (1, 2, 3)


@dataclass(frozen=True)
class Stop:
    """One run under one patience. ``epoch`` is the last that would have been trained; ``lost`` is in nats."""

    experiment: str
    seed: int
    patience: int
    epoch: int
    seconds: float
    saved: float
    kept_loss: float
    lost: float


@dataclass(frozen=True)
class Stopping:
    """All runs under all patiences; ``recommended`` is the smallest patience that costs no run more than the bound."""

    claim: str
    verdict: Literal["saves", "saves nothing", "costs quality"]
    stops: tuple[Stop, ...]
    recommended: int | None

    def of(self, experiment: str, patience: int) -> tuple[Stop, ...]:
        return tuple(s for s in self.stops if s.experiment == experiment and s.patience == patience)

    def under(self, patience: int) -> tuple[Stop, ...]:
        return tuple(stop for stop in self.stops if stop.patience == patience)


def stop_after(losses: Sequence[float], patience: int) -> int:
    """Index of the epoch after which training stops: the ``patience``-th in a row that set no new minimum."""
    lowest, waited = math.inf, 0
    for index, loss in enumerate(losses):
        lowest, waited = (loss, 0) if loss < lowest else (lowest, waited + 1)
        if waited == patience:
            return index
    return len(losses) - 1


def stopping(epochs: pd.DataFrame) -> Stopping:
    """Finding 8: patience 1 to 3 on every run that has epochs."""
    stops = []
    known = epochs.dropna(subset=["validation_loss"])
    for (experiment, seed), rows in known.groupby(["experiment", "seed"], sort=False):
        rows = rows.sort_values("epoch")
        losses = rows["validation_loss"].tolist()
        seconds = (rows["train_seconds"] + rows["validation_seconds"]).tolist()
        for patience in PATIENCE:
            last = stop_after(losses, patience)
            kept = min(losses[: last + 1])
            stops.append(
                Stop(
                    experiment=str(experiment),
                    seed=int(seed),
                    patience=patience,
                    epoch=int(rows["epoch"].iloc[last]),
                    seconds=math.fsum(seconds[: last + 1]),
                    saved=math.fsum(seconds[last + 1 :]),
                    kept_loss=kept,
                    lost=kept - min(losses),
                )
            )
    harmless = [p for p in PATIENCE if all(s.lost <= ONE_SEED_BOUND for s in stops if s.patience == p)]
    recommended = harmless[0] if harmless else None
    judged = recommended or PATIENCE[-1]
    chosen = [stop for stop in stops if stop.patience == judged]
    saved, total = math.fsum(s.saved for s in chosen), math.fsum(s.saved + s.seconds for s in chosen)
    stopped = len({stop.experiment for stop in chosen if stop.saved > 0})
    share = 100 * saved / total if total else 0.0
    name = f"Early stopping with patience {judged}"
    if not saved:
        claim = f"{name} would have stopped no run: none went {counted(judged, 'epoch')} without improving."
        return Stopping(claim, "saves nothing", tuple(stops), recommended)
    time = f"{number(saved, 0)} s ({percent(share)} of the time)"
    gain = f"would have stopped {counted(stopped, 'experiment')} and saved {time}"
    if recommended is None:
        worst = max(chosen, key=lambda stop: stop.lost)
        claim = (
            f"{name} {gain}, but every patience tried costs some run quality: here experiment {worst.experiment} would "
            f"have ended {percent(100 * math.expm1(worst.lost))} of perplexity higher."
        )
        return Stopping(claim, "costs quality", tuple(stops), None)
    worst = max(stop.lost for stop in chosen)
    price = f"a loss of at most {percent(100 * math.expm1(worst))} of perplexity in any run" if worst else "no loss"
    claim = f"{name} {gain} at {price}."
    return Stopping(claim, "saves", tuple(stops), recommended)
