"""Which rate of an arm is chosen, by validation loss alone, and whether it lies inside the grid."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from lm.config.run import RunConfig
from lm.errors import StudyError
from lm.protocol import places
from lm.protocol.protocol import Arm, beyond_point

COMPLETED = "completed"


class Edge(StrEnum):
    """Where in its grid the best rate lies."""

    NONE = "none"
    """Inside: a lower and a higher rate were tried, and both are worse."""
    LOW = "low"
    HIGH = "high"


@dataclass(frozen=True, kw_only=True)
class Trial:
    """One rate of an arm. ``loss``: validation loss of the best epoch (nats a token), None where the run failed, that
    is, met a loss that was not finite. ``beyond``: 0 in the grid, else its number beyond the edge."""

    point: str
    rate: float
    loss: float | None
    config: RunConfig
    beyond: int = 0


def best(trials: Iterable[Trial]) -> Trial | None:
    """The trial of lowest validation loss, of equals the one of lower rate; None where every one failed."""
    finite = [trial for trial in trials if trial.loss is not None]
    return min(finite, key=lambda trial: (trial.loss, trial.rate), default=None)


def edge_of(trials: Sequence[Trial]) -> Edge:
    """Which edge of what was tried wins; the lower one too where every trial failed, as smaller rates fail less.

    A trial that failed bounds the grid like any other: a best rate below it is inside.
    """
    found, rates = best(trials), [trial.rate for trial in trials]
    if found is None or found.rate == min(rates):
        return Edge.LOW
    return Edge.HIGH if found.rate == max(rates) else Edge.NONE


def chosen(trials: Sequence[Trial]) -> Trial:
    """The best trial; where every one failed that of the lowest rate, so that its failure is confirmed too."""
    return best(trials) or min(trials, key=lambda trial: trial.rate)


def half_decades(rate: float, steps: int) -> float:
    """The rate so many half decades up or (negative) down: 0.01, 0.03, 0.1, 0.3, 1 …"""
    halves = round(2 * math.log10(rate)) + steps
    return float(f"{1 if halves % 2 == 0 else 3}e{halves // 2}")


def rates_beyond(rates: Sequence[float], edge: Edge, count: int) -> list[float]:
    """``count`` rates beyond the edge, half a decade apart; beyond the upper one where neither won."""
    if edge is Edge.LOW:
        return [half_decades(min(rates), -step) for step in range(1, count + 1)]
    return [half_decades(max(rates), step) for step in range(1, count + 1)]


def read_trials(name: str, arm: Arm) -> list[Trial]:
    """The trials of an arm's grid, by rate.

    Raises :class:`StudyError` when a file is missing or holds what it should not.
    """
    return [
        _trial(
            point,
            places.trial_config(name, point, relative=arm.times is not None),
            places.trial_run(name, point),
        )
        for point in arm.points
    ]


def read_beyond(name: str, arm: Arm, count: int) -> list[Trial]:
    """The trials beyond an edge, where there were any; multiples of another arm's rate have none."""
    if arm.rates is None or count == 0 or read_edge(name) is Edge.NONE:
        return []
    return [
        _trial(beyond_point(number), places.beyond_config(name, number), places.beyond_run(name, number), number)
        for number in range(1, count + 1)
    ]


def read_edge(name: str) -> Edge:
    """The edge that won in the arm's grid, as the stage before found it."""
    path = places.edge_file(name)
    try:
        return Edge(read_object(path)["edge"])
    except (KeyError, ValueError):
        raise StudyError(f"{path}: names no edge; delete it and run `dvc repro controlled/dvc.yaml`") from None


def _trial(point: str, config: Path, run: Path, beyond: int = 0) -> Trial:
    read, metrics = RunConfig.read(config), read_object(run / "metrics.json")
    loss = metrics.get("validation_loss") if metrics.get("status") == COMPLETED else None
    return Trial(point=point, rate=read.optimizer.lr, loss=loss, config=read, beyond=beyond)


def read_object(path: Path) -> dict[str, Any]:
    """A JSON object; raises :class:`StudyError` when the file is missing or is none."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise StudyError(f"{path}: no such file; run `dvc repro controlled/dvc.yaml`") from None
    except (OSError, ValueError) as error:
        raise StudyError(f"{path}: cannot be read as JSON ({error}); delete it") from None
    if not isinstance(content, dict):
        raise StudyError(f"{path}: not a JSON object; delete it")
    return content


def at_rate(config: RunConfig, rate: float, experiment: str) -> RunConfig:
    """The same configuration at another rate, under another name."""
    return config.model_copy(
        update={"experiment": experiment, "optimizer": config.optimizer.model_copy(update={"lr": rate})}
    )
