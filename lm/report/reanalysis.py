"""The report on the original study's own figures: ours, and beside each answer what that study says."""

from __future__ import annotations

import math
from pathlib import Path

from lm.findings.original import Original
from lm.findings.study import Findings
from lm.report.report import Beside, write_report
from lm.report.table import Column, Table
from lm.report.tables import NAME, lowest_of_each, named
from lm.report.text import known
from lm.results.reference import TEST_FACTOR, TRAIN_FACTOR, VALIDATION_FACTOR
from lm.results.summary import Summaries, perplexity


def write_reanalysis(findings: Findings, original: Original, templates: Path, folder: Path) -> None:
    """Write report.md, .tex, .html and figures/ under ``folder``: all or none.

    Raises StudyError where a template can't be read.
    """
    built = (published(findings.summaries), repetitions(original), last_test(findings.summaries))
    beside = Beside(original=original, tables={table.key: table for table in built if table is not None})
    write_report(findings, configuration="", locked={}, samples=None, templates=templates, folder=folder, beside=beside)


def published(summaries: Summaries) -> Table:
    """Perplexities as published and over the tokens that were predicted, with how each run ended."""
    shown = summaries.experiments
    rows = tuple(
        {
            **named(summary),
            "published_validation": perplexity(summary.study_validation_loss.mean),
            "validation": perplexity(summary.validation_loss.mean),
            "published_train": perplexity(summary.study_train_loss.mean),
            "train": perplexity(summary.train_loss.mean),
            "best_epoch": summary.representative.course.best_epoch,
            "state": summary.state,
        }
        for summary in shown
    )
    bold = lowest_of_each(shown, "validation", "validation_loss")
    return Table(
        key="published",
        columns=(
            *NAME,
            Column(key="published_validation", digits=1, title="validation_published"),
            Column(key="validation", digits=1, title="corrected_of"),
            Column(key="published_train", digits=1, title="train_published"),
            Column(key="train", digits=1, title="corrected_of"),
            Column(key="best_epoch", digits=0),
            Column(key="state", words="states"),
        ),
        rows=rows,
        bold=bold,
        facts={"factors": (VALIDATION_FACTOR, TRAIN_FACTOR), "bold": bool(bold)},
    )


def repetitions(original: Original) -> Table:
    """Each published best perplexity beside those of independent repetitions of its run."""
    rows = tuple(
        {
            **named(each.experiment),
            "published": perplexity(each.published),
            "count": each.count,
            "low": perplexity(each.low),
            "high": perplexity(each.high),
            "apart": 100 * math.expm1(each.high - each.low),
        }
        for each in original.repetitions
    )
    return Table(
        key="repetitions",
        columns=(
            *NAME,
            Column(key="published", digits=1),
            Column(key="count", digits=0, title="repetitions"),
            Column(key="low", digits=1),
            Column(key="high", digits=1),
            Column(key="apart", digits=1),
        ),
        rows=rows,
    )


def last_test(summaries: Summaries) -> Table | None:
    """Test perplexity with the last epoch's weights as logged and over the tokens that were predicted, beside
    validation's; None where none was scored."""
    shown = [summary for summary in summaries.experiments if known(summary.last_test_loss.mean)]
    if not shown:
        return None
    rows = tuple(
        {
            **named(summary),
            "validation": perplexity(summary.last_validation_loss.mean),
            "logged": perplexity(TEST_FACTOR * (summary.last_test_loss.mean or 0.0)),
            "test": perplexity(summary.last_test_loss.mean),
        }
        for summary in shown
    )
    return Table(
        key="last_test",
        columns=(
            *NAME,
            Column(key="validation", digits=1, title="validation_perplexity"),
            Column(key="logged", digits=1),
            Column(key="test", digits=1, title="corrected_of"),
        ),
        rows=rows,
        bold=lowest_of_each(shown, "test", "last_test_loss"),
        facts={"factor": TEST_FACTOR},
    )
