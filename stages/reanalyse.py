"""Write the original study's published figures as a report of ours, with what that study says of them.

It makes reports/examples/original/ from reports/reference/: no run, no GPU and no DVC is needed.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from lm.errors import reported
from lm.findings.original import original
from lm.findings.study import find, judge_of
from lm.report.reanalysis import write_reanalysis
from lm.results.claims import load_claims
from lm.results.reference import BATCH, CORPUS, SCALE, as_results, load_reference
from lm.results.summarize import summarize


@reported
def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m stages.reanalyse", description=__doc__)
    parser.add_argument("--root", type=Path, default=Path(), help="the study's folder (default: %(default)s)")
    parser.add_argument("--out", type=Path, help="folder to write (default: reports/examples/original in the root)")
    arguments = parser.parse_args()
    reports = arguments.root / "reports"
    reference, claims = load_reference(reports / "reference"), load_claims(reports / "reference" / "claims.yaml")
    summaries = summarize(*as_results(reference))
    findings = find(summaries, reference, {}, base=(("scale", SCALE), ("corpus", CORPUS)))
    write_reanalysis(
        findings,
        original(findings, judge_of(summaries, reference.spread), claims, reference.replications, BATCH),
        templates=reports / "templates",
        folder=arguments.out or reports / "examples" / "original",
    )


if __name__ == "__main__":
    main()
