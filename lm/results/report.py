"""From a study's results to its report: which tables, figures and findings go into it, and in what order."""

from __future__ import annotations

from pathlib import Path

from lm.results import tables
from lm.results.figures import curve_key, draw_all
from lm.results.load import Study
from lm.results.names import configuration
from lm.results.render import render


def write_report(study: Study, templates: Path, folder: Path) -> None:
    """Write report.md, report.tex and figures/ under ``folder``."""
    figures = draw_all(study.runs, study.epochs, folder / "figures")
    built = [
        tables.performance(study.runs),
        tables.time(study.runs),
        tables.memory(study.runs),
        tables.optimizer_means(study.runs),
    ]
    experiments = [
        {
            "id": row.experiment,
            "name": configuration(row.model, row.layers, row.optimizer),
            "figure": curve_key(row.experiment),
        }
        for row in tables.by_experiment(study.runs).itertuples()
    ]
    parts = {table.key: table for table in built if table is not None}
    context = {"study": study, "experiments": experiments}
    for name, page in render(templates, context, parts, figures).items():
        (folder / name).write_text(page, encoding="utf-8")
