"""Making a study's PDF, and what its log must not say."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

needs_tex = pytest.mark.skipif(
    shutil.which("latexmk") is None and "CI" not in os.environ, reason="needs TeX, which CI installs"
)


def typeset(root: Path, folder: str = "reports") -> None:
    """``python -m stages.pdf`` on a report in a study's folder; fails on an error, an undefined reference, or a box too
    wide."""
    command = [sys.executable, "-m", "stages.pdf", folder, "--root", str(root)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    log = (root / folder / "pdf" / "report.log").read_text(errors="replace")
    overfull = re.findall(r"Overfull \\[hv]box \(([\d.]+)pt.*", log)
    assert [points for points in overfull if float(points) > 2] == []
    assert [line for line in log.splitlines() if "undefined" in line or line.startswith("!")] == []
