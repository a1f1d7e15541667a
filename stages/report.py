"""Write reports/report.md, reports/report.tex and reports/figures/ from the results."""

from __future__ import annotations

import argparse
from pathlib import Path

from lm.errors import reported
from lm.results.load import load_study
from lm.results.report import write_report


@reported
def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m stages.report", description=__doc__)
    parser.add_argument("--root", type=Path, default=Path(), help="the study's folder (default: %(default)s)")
    arguments = parser.parse_args()
    reports = arguments.root / "reports"
    write_report(load_study(arguments.root), reports / "templates", reports)


if __name__ == "__main__":
    main()
