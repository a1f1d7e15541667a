"""Write the report (reports/report.md, .tex, .html), reports/figures/ and reports/samples.md from the results."""

from __future__ import annotations

import argparse
from pathlib import Path

from lm.errors import reported
from lm.findings.study import find
from lm.report.report import write_report
from lm.results.load import load_answers, load_results
from lm.results.samples import read_samples


@reported
def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m stages.report", description=__doc__)
    parser.add_argument("--root", type=Path, default=Path(), help="the study's folder (default: %(default)s)")
    root = parser.parse_args().root
    results = load_results(root)
    reports = root / "reports"
    answers = load_answers(reports / "controlled" / "answers.json")
    write_report(
        find(results.summaries, results.reference, results.params, answers=answers),
        configuration=results.params_text,
        locked=results.locked,
        samples=read_samples(reports / "samples.json"),
        templates=reports / "templates",
        folder=reports,
    )


if __name__ == "__main__":
    main()
