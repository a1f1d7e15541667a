"""Write the controlled study's report: reports/controlled/report.md, .tex, .html and figures/."""

from __future__ import annotations

import argparse
from pathlib import Path

from lm.controlled.claims import compare
from lm.controlled.findings import find
from lm.controlled.report import write_report
from lm.controlled.results import load
from lm.errors import reported
from lm.findings.study import judge_of
from lm.results.load import load_results


@reported
def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m stages.controlled_report", description=__doc__)
    parser.add_argument("--root", type=Path, default=Path(), help="the study's folder (default: %(default)s)")
    root = parser.parse_args().root
    reports = root / "reports"
    findings, default = find(load(reports / "controlled")), load_results(root)
    claims = compare(findings, default.summaries, judge_of(default.summaries, default.reference.spread))
    write_report(findings, claims, reports / "templates", reports / "controlled")


if __name__ == "__main__":
    main()
