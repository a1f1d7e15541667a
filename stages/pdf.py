"""Make a report's PDF, pdf/report.pdf beside its report.tex, with the passages of its samples.json where there are any.

Needs latexmk and TeX; README.md names Debian's packages.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
from pathlib import Path

from lm.errors import StudyError, reported
from lm.report.document import render
from lm.report.latex import PASSAGES, Latex
from lm.results.samples import read_samples


@reported
def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m stages.pdf", description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "folder",
        nargs="?",
        type=Path,
        default=Path("reports"),
        help="of the report, such as reports/controlled (default: %(default)s)",
    )
    parser.add_argument("--root", type=Path, default=Path(), help="the study's folder (default: %(default)s)")
    arguments = parser.parse_args()
    reports = arguments.root / arguments.folder
    if shutil.which("latexmk") is None:
        raise StudyError("latexmk: not installed; README.md names the packages")
    if not (reports / "report.tex").exists():
        there = sorted(
            path.parent.relative_to(arguments.root) for path in (arguments.root / "reports").rglob("report.tex")
        )
        allowed = f"allowed: {', '.join(map(str, there))}" if there else "`dvc repro` makes it"
        raise StudyError(f"{reports / 'report.tex'}: no such file; {allowed}")
    samples = read_samples(reports / "samples.json")
    templates = arguments.root / "reports" / "templates"
    (reports / "pdf").mkdir(exist_ok=True)
    passages = "" if samples is None else render("samples", templates, Latex, {"samples": samples})
    (reports / PASSAGES).write_text(passages, encoding="utf-8")
    # -g: what failed before is tried again, as after a package that was missing has been installed
    command = ["latexmk", "-g", "-pdf", "-interaction=nonstopmode", "-halt-on-error", "-outdir=pdf", "report.tex"]
    done = subprocess.run(command, cwd=reports, capture_output=True, text=True, errors="replace", check=False)
    if done.returncode:
        faults = [line for line in done.stdout.splitlines() if line.startswith("!")]
        fault = faults[0] if faults else f"see {reports / 'pdf' / 'report.log'}"
        raise StudyError(f"{reports / 'report.tex'} does not compile: {fault}")
    print(reports / "pdf" / "report.pdf")


if __name__ == "__main__":
    main()
