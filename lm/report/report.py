"""From a study's findings to its report on disk.

The report is made aside and put in place when it is whole, so that a failed rendering leaves the old one as it was.
That needs ``persist: true`` on the stage's outputs in dvc.yaml: without it DVC deletes them before the stage starts.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lm.config.optimizers import OPTIMIZERS
from lm.findings.cost import GOOD_ENOUGH
from lm.findings.limits import Topic
from lm.findings.study import Findings
from lm.report import tables
from lm.report.chart import Figure
from lm.report.document import WRITERS, render, words
from lm.report.figures import curve_key, draw_all
from lm.report.markdown import Markdown
from lm.report.table import Table
from lm.results.samples import Samples
from lm.results.states import CLEARLY, WIDE_GAP
from lm.results.summary import Summaries

MARKS = {"clearly": CLEARLY, "wide_gap": WIDE_GAP, "good_enough": GOOD_ENOUGH}
"""Thresholds that sentences name, in nats."""


@dataclass(frozen=True, kw_only=True)
class Beside:
    """What a report on another's runs says besides: ``original``, which the templates read (see
    :mod:`lm.report.reanalysis`), and tables by key."""

    original: object
    tables: Mapping[str, Table]


def write_report(
    findings: Findings,
    *,
    configuration: str,
    locked: Mapping[str, Mapping[str, str]],
    samples: Samples | None,
    templates: Path,
    folder: Path,
    beside: Beside | None = None,
) -> None:
    """Write report.md, .tex and .html, figures/ and, where there are ``samples``, samples.md under ``folder``: all or
    none.

    ``configuration``: the text of params.yaml; ``locked``: hashes by run, as dvc.lock has them; ``beside``: what a
    report on another's runs says besides. Raises StudyError where a template can't be read.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".report-", dir=folder) as name:
        aside = Path(name)
        figures = draw_all(findings.summaries, findings, words(templates, "figures.j2").labels, aside / "figures")
        made = pages(findings, configuration, locked, templates, figures, beside)
        if samples is not None:
            made["samples.md"] = render("samples", templates, Markdown, {"samples": samples})
        for page, text in made.items():
            (aside / page).write_text(text, encoding="utf-8")
        _put_in_place(aside, folder)


def pages(
    findings: Findings,
    configuration: str,
    locked: Mapping[str, Mapping[str, str]],
    templates: Path,
    figures: Mapping[str, Figure],
    beside: Beside | None = None,
) -> dict[str, str]:
    """``{"report.md": …, "report.tex": …, "report.html": …}``: the report as every writer sets it."""
    context = {
        "findings": findings,
        "subject": subject(findings.summaries),
        "untuned": any(limit.topic is Topic.UNTUNED for limit in findings.limits),
        "curves": {summary.id: curve_key(summary.id) for summary in findings.summaries.experiments},
        "settings": list(tables.settings(findings.summaries).items()),
        "configuration": configuration,
        "marks": MARKS,
        "original": beside.original if beside else None,
    }
    built = tables.build(findings, locked) | dict(beside.tables if beside else {})
    return {
        f"report.{writer.suffix}": render("report", templates, writer, context, built, figures) for writer in WRITERS
    }


def subject(summaries: Summaries) -> dict[str, Any]:
    """What was compared on what: the distinct values over the experiments, in their order."""
    every = summaries.experiments
    first = every[0]
    return {
        "count": len(every),
        "models": _distinct(summary.model_label for summary in every),
        "optimizers": [each.label for name, each in OPTIMIZERS.items() if name in {s.optimizer for s in every}],
        "layers": [str(layers) for layers in sorted({summary.layers for summary in every})],
        "corpus": first.text.corpus,
        "scale": first.text.scale,
        "vocabulary": first.text.vocabulary,
        "context": first.settings.context,
        "tokens": first.text.train_tokens,
        "epochs": _range(summary.settings.epochs for summary in every),
        "seeds": _range(len(summary.seeds) for summary in every),
    }


def _distinct(values: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(values))


def _range(values: Iterable[int]) -> tuple[int, int]:
    every = list(values)
    return min(every), max(every)


def _put_in_place(aside: Path, folder: Path) -> None:
    """Rename what was made over what was there. A folder can't replace one that is not empty: the old one steps aside
    into the temporary folder and goes with it."""
    for made in sorted(aside.iterdir()):
        there = folder / made.name
        if there.is_dir() and not there.is_symlink():
            there.rename(aside / f"old-{made.name}")
        os.replace(made, there)
