"""From the controlled study's findings to its report on disk."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lm.controlled.claims import Claim, mixed_precisions
from lm.controlled.contrasts import MATTERS, Survival
from lm.controlled.figures import draw_all
from lm.controlled.findings import CLOSE, ControlledFindings, superset_lost
from lm.controlled.outside import answers
from lm.controlled.tables import build, change, test_loss
from lm.report.document import WRITERS, render, words

PREFIX = "controlled_"


def write_report(findings: ControlledFindings, claims: Sequence[Claim], templates: Path, folder: Path) -> None:
    """Write report.md, report.tex, report.html, answers.json and figures/ under ``folder``.

    Raises StudyError where a template can't be read.
    """
    folder.mkdir(parents=True, exist_ok=True)
    labels = words(templates, f"{PREFIX}figures.j2").labels
    shutil.rmtree(folder / "figures", ignore_errors=True)
    figures = draw_all(findings, labels, folder / "figures")
    (folder / "answers.json").write_text(answers(findings), encoding="utf-8")
    tables, context = build(findings, claims), _context(findings, claims)
    for writer in WRITERS:
        page = render("controlled", templates, writer, context, tables, figures, PREFIX)
        (folder / f"report.{writer.suffix}").write_text(page, encoding="utf-8")


def _context(findings: ControlledFindings, claims: Sequence[Claim]) -> dict[str, Any]:
    arms = findings.study.arms
    return {
        "findings": findings,
        "study": findings.study,
        "claims": claims,
        "loss": {arm.name: test_loss(arm).mean for arm in arms},
        "half": {arm.name: change(test_loss(arm).half) for arm in arms},
        "superset_lost": superset_lost(findings),
        "edges": [arm for arm in arms if arm.edge != "none" and not arm.relative],
        "searched": [arm for arm in arms if not arm.relative],
        "multiples": [arm for arm in arms if arm.relative],
        "turned": [contrast for _, contrast in findings.contrasts if contrast.second_best is Survival.TURNS],
        "asked": [contrast for _, contrast in findings.contrasts if contrast.second_best is not Survival.UNKNOWN],
        "matters": MATTERS,
        "close_share": CLOSE,
        "mixed": mixed_precisions(claims),
    }
