"""Write reports/report.md, reports/report.tex, reports/figures/ and reports/samples.md from the results."""

from __future__ import annotations

import argparse
from pathlib import Path

from lm.findings.find import find

from lm.errors import reported
from lm.report.report import write_report
from lm.results.load import load_study


@reported
def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m stages.report", description=__doc__)
    parser.add_argument("--root", type=Path, default=Path(), help="the study's folder (default: %(default)s)")
    root = parser.parse_args().root
    study = load_study(root)
    write_report(find(study), study.params_text, study.locked or {}, root / "reports" / "templates", root / "reports")


if __name__ == "__main__":
    main()
