"""What a model card says of a run in figures: its own, and with intervals where there is something to make them of."""

from __future__ import annotations

import csv
import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lm.errors import StudyError
from lm.results import schema
from lm.results.load import load_table
from lm.results.statistics import Estimate, t_quantile
from lm.results.summarize import summarize
from lm.results.summary import ExperimentSummary
from lm.trained.runs import TrainedRun


@dataclass(frozen=True, kw_only=True)
class CardFigures:
    """``metrics`` and ``cost`` are the run's own files.

    ``documents``: its test loss, nats a token, with the interval over the test split's documents; None where they are
    fewer than two, or nobody counted by document. ``summary``: its experiment over all seeds; None where reports hold
    none of this very run.
    """

    metrics: dict[str, Any]
    cost: dict[str, Any]
    documents: Estimate | None
    summary: ExperimentSummary | None


def card_figures(run: TrainedRun, reports: Path) -> CardFigures:
    """Read them; raises :class:`StudyError` where the run's own are missing or damaged."""
    metrics = _read(run.folder / "metrics.json", run.name)
    return CardFigures(
        metrics=metrics,
        cost=_read(run.folder / "cost.json", run.name),
        documents=_by_documents(run.folder / "test_documents.csv"),
        summary=_summary(run, metrics, reports),
    )


def _read(path: Path, run: str) -> dict[str, Any]:
    again = f"run `dvc repro train@{run}`"
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise StudyError(f"{path}: no such file; {again}") from None
    except (OSError, ValueError) as error:
        raise StudyError(f"{path}: cannot be read ({error}); {again}") from None
    if not isinstance(content, dict):
        raise StudyError(f"{path}: not a mapping of figures; {again}")
    return content


def _by_documents(path: Path) -> Estimate | None:
    """The loss as a ratio of sums over documents, which are the sampling unit: tokens of one are not independent.

    Its standard error is the ratio estimator's (Cochran 1977, section 2.11): of what each document's loss in all
    differs from its tokens at the mean loss.
    """
    try:
        with path.open(encoding="utf-8", newline="") as file:
            rows = [(int(row["predicted_tokens"]), float(row["nll"])) for row in csv.DictReader(file)]
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise StudyError(f"{path}: cannot be read ({error!r}); run `dvc repro` again") from None
    rows = [row for row in rows if row[0] > 0]
    tokens = sum(count for count, _ in rows)
    if len(rows) < 2:
        return None
    loss = math.fsum(nll for _, nll in rows) / tokens
    squares = math.fsum((nll - loss * count) ** 2 for count, nll in rows)
    standard_error = math.sqrt(squares * len(rows) / (len(rows) - 1)) / tokens
    return Estimate(mean=loss, half=t_quantile(len(rows) - 1) * standard_error, count=len(rows))


def _summary(run: TrainedRun, metrics: dict[str, Any], reports: Path) -> ExperimentSummary | None:
    """The experiment's summary, if the reports were made from this run as it lies there."""
    paths = {name: reports / f"{name}.parquet" for name in ("runs", "epochs")}
    if not all(path.is_file() for path in paths.values()):
        return None
    runs = load_table(paths["runs"], schema.RUNS, str(paths["runs"]))
    epochs = load_table(paths["epochs"], schema.EPOCHS, str(paths["epochs"]))
    experiment, _, seed = run.name.rpartition("-")
    for summary in summarize(runs, epochs).experiments if not runs.empty else ():
        same = [each for each in summary.runs if str(each.seed) == seed and each.test_loss == metrics.get("test_loss")]
        if summary.id == experiment and same:
            return summary
    return None
