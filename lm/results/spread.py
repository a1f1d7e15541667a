"""How far repetitions of a run lie apart, measured: what a difference of single runs must exceed.

The figures are data (``reports/reference/spread.csv``, see SOURCES.md there), one row a run; more rows make it surer.
"""

from __future__ import annotations

import csv
import math
import statistics
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from lm.errors import StudyError
from lm.results.states import Kind


@dataclass(frozen=True, kw_only=True)
class Deviation:
    """Standard deviation of the loss over repetitions (nats a token), pooled over experiments, and its degrees of
    freedom. ``borrowed``: not measured at this scale."""

    nats: float
    freedom: int
    borrowed: bool = False


@dataclass(frozen=True, kw_only=True)
class Spread:
    """Deviations by scale, vocabulary and kind of run."""

    measured: dict[tuple[str, int, Kind], Deviation]

    def of(self, scale: str, vocabulary: int, kind: Kind) -> Deviation | None:
        """What was measured there, or else the widest of that kind elsewhere, widened; None where nothing is known.

        A smaller model that sees less text spreads more: so what is borrowed is multiplied by ``WIDENED``.
        """
        own = self.measured.get((scale, vocabulary, kind))
        if own is not None:
            return own
        elsewhere = [deviation for (_, _, other), deviation in self.measured.items() if other is kind]
        if not elsewhere:
            return None
        widest = max(elsewhere, key=lambda deviation: deviation.nats)
        return Deviation(nats=WIDENED * widest.nats, freedom=widest.freedom, borrowed=True)


WIDENED = 3.0
"""Experiment 2 over seeds: a standard deviation of 0.012 nats at the laptop scale, 0.005 at the reference scale."""

_COLUMNS = ["scale", "vocabulary", "kind", "experiment", "run", "validation_perplexity"]


def load_spread(path: Path) -> Spread:
    """Read the table; raises :class:`StudyError` when it is missing or not one."""
    try:
        with path.open(encoding="utf-8", newline="") as file:
            table = csv.DictReader(file)
            rows = list(table)
        if list(table.fieldnames or ()) != _COLUMNS or not rows:
            raise ValueError("other columns, or no row")
        runs = Counter(tuple(row[name] for name in _COLUMNS[:-1] if name != "kind") for row in rows)
        if twice := next((run for run, times in runs.items() if times > 1), None):
            raise ValueError(f"{', '.join(twice)} stands there twice")
        losses: dict[tuple[str, int, Kind], dict[str, list[float]]] = {}
        for row in rows:
            key = (row["scale"], int(row["vocabulary"]), Kind(row["kind"]))
            loss = math.log(float(row["validation_perplexity"]))
            losses.setdefault(key, {}).setdefault(row["experiment"], []).append(loss)
    except FileNotFoundError:
        raise StudyError(f"{path}: no such file; it belongs to the repository") from None
    except OSError as error:
        raise StudyError(f"{path}: can't be read ({error.strerror})") from None
    except (KeyError, TypeError, ValueError) as error:
        raise StudyError(f"{path}: not the table it should be ({error}); columns: {', '.join(_COLUMNS)}") from None
    return Spread(measured={key: pooled for key, own in losses.items() if (pooled := _pool(list(own.values())))})


def _pool(groups: list[list[float]]) -> Deviation | None:
    repeated = [group for group in groups if len(group) > 1]
    freedom = sum(len(group) - 1 for group in repeated)
    if not freedom:
        return None
    squares = math.fsum((len(group) - 1) * statistics.variance(group) for group in repeated)
    return Deviation(nats=math.sqrt(squares / freedom), freedom=freedom)
