"""Make reports/pdf/report.pdf from reports/report.tex and, where it is, reports/samples.json.

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
from lm.report.samples import read_samples


@reported
def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m stages.pdf", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--root", type=Path, default=Path(), help="the study's folder (default: %(default)s)")
    reports = parser.parse_args().root / "reports"
    if shutil.which("latexmk") is None:
        raise StudyError("latexmk: not installed; README.md names the packages")
    if not (reports / "report.tex").exists():
        raise StudyError(f"{reports / 'report.tex'}: no such file; `dvc repro` makes it")
    samples = read_samples(reports / "samples.json")
    (reports / "pdf").mkdir(exist_ok=True)
    passages = "" if samples is None else render("samples", reports / "templates", Latex, {"samples": samples})
    (reports / PASSAGES).write_text(passages, encoding="utf-8")
    command = ["latexmk", "-pdf", "-interaction=nonstopmode", "-halt-on-error", "-outdir=pdf", "report.tex"]
    done = subprocess.run(command, cwd=reports, capture_output=True, text=True, errors="replace", check=False)
    if done.returncode:
        faults = [line for line in done.stdout.splitlines() if line.startswith("!")]
        raise StudyError(f"report.tex does not compile: {faults[0] if faults else done.stderr.strip()}")
    print(reports / "pdf" / "report.pdf")


if __name__ == "__main__":
    main()
