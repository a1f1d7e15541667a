"""Two versions of a study's results as a short Markdown table with verdicts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lm.findings.changes import Changes, Row, Status
from lm.report.document import render
from lm.report.markdown import Markdown
from lm.report.table import Column, Table
from lm.results.summary import ExperimentSummary, perplexity

TEMPLATES = Path("reports/templates")


def page(changes: Changes, templates: Path = TEMPLATES) -> str:
    """The experiments that differ, by id; those that do not are counted. Raises StudyError for a bad template."""
    table = _table(changes)
    return render("compare", templates, Markdown, {"changes": changes}, {table.key: table} if changes.rows else {})


def _table(changes: Changes) -> Table:
    return Table(
        key="compare",
        columns=(
            Column(key="experiment"),
            Column(key="settings"),
            Column(key="before", digits=1),
            Column(key="after", digits=1),
            Column(key="change", digits=1, title="difference"),
            Column(key="verdict", words="versions"),
            Column(key="ended_before", words="states"),
            Column(key="ended_after", words="states"),
            Column(key="time", digits=0, title="time_change"),
            Column(key="memory", digits=0, title="memory_change"),
        ),
        rows=tuple(_row(row) for row in changes.rows),
        facts={
            "before": changes.before,
            "after": changes.after,
            "by_bytes": any(row.by_bytes for row in changes.rows),
            "unlike_hardware": changes.unlike_hardware,
        },
    )


def _row(row: Row) -> dict[str, Any]:
    loss, time = row.loss, row.time
    return {
        "experiment": row.experiment,
        "settings": " → ".join(dict.fromkeys(_kind(side) for side in (row.before, row.after) if side)),
        "before": perplexity(row.before.validation_loss.mean) if row.before else None,
        "after": perplexity(row.after.validation_loss.mean) if row.after else None,
        "change": None if loss is None or loss.ratio is None else 100 * loss.ratio,
        "verdict": _verdict(row),
        "ended_before": row.before.state if row.before else None,
        "ended_after": row.after.state if row.after else None,
        "time": None if time is None or time.ratio is None else 100 * time.ratio,
        "memory": None if row.memory is None else 100 * row.memory,
    }


def _verdict(row: Row) -> str:
    if row.status is not Status.CHANGED or row.loss is None:
        return row.status
    return row.loss.order if row.loss.reason is None else row.loss.reason


def _kind(summary: ExperimentSummary) -> str:
    return f"{summary.model_label}, {summary.layers}, {summary.optimizer_label}"
