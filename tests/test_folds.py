"""Cross-validation summed up: which results belong together, and their mean and spread."""

from __future__ import annotations

import math
import subprocess
import sys
from pathlib import Path

import pytest

from lm.results.folds import Fold, join_folds, table

ROOT = Path(__file__).parents[1]


def fold(number: int, folds: int = 3, corpus: str = "sotu", **losses: float | None) -> Fold:
    return Fold(settings={"corpus": corpus, "scale": "smoke"}, folds=folds, fold=number, losses=losses)


def test_mean_spread_and_range():
    study = join_folds([fold(number, a=loss, b=1.0) for number, loss in enumerate((1.0, 2.0, 4.5))])[0]
    assert study.missing == []
    lines = table(study).splitlines()
    assert lines[0].startswith("Corpus sotu, scale smoke, 3 of 3 folds. ")
    spread = math.sqrt((1.5**2 + 0.5**2 + 2.0**2) / 2)
    assert lines[-2] == f"| a | 3 | 2.5000 | {spread:.4f} | 12.2 | 2.7 | 90.0 |"
    assert lines[-1] == "| b | 3 | 1.0000 | 0.0000 | 2.7 | 2.7 | 2.7 |"


def test_studies_are_not_mixed_and_a_later_result_stands():
    folds = [fold(0, a=1.0), fold(0, folds=2, a=9.0), fold(0, corpus="mine", a=9.0), fold(1, a=5.0), fold(1, a=3.0)]
    first, *others = join_folds(folds)
    assert len(others) == 2
    assert first.losses("a") == [1.0, 3.0]
    assert "2 of 3 folds (missing: 2)" in table(first)


def test_a_run_that_diverged_is_counted_and_not_averaged():
    study = join_folds([fold(0, a=None, b=None), fold(1, a=800.0, b=None)])[0]
    assert table(study).splitlines()[-2:] == [
        "| a | 1 (1 diverged) | 800.0000 | – | > 1e43 | > 1e43 | > 1e43 |",
        "| b | 0 (2 diverged) | – | – | – | – | – |",
    ]


@pytest.mark.parametrize(("repository", "named"), [(False, "not a git repository"), (True, "no experiment has a fold")])
def test_nothing_to_sum_up(tmp_path, environment, repository, named):
    if repository:
        subprocess.run(["git", "init", "--quiet", str(tmp_path)], env=environment, check=True)
    done = subprocess.run(
        [sys.executable, "-m", "stages.folds", "--project", str(tmp_path)],
        cwd=ROOT,
        env=environment | {"GIT_CEILING_DIRECTORIES": str(tmp_path.parent)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr.startswith("error: ")
    assert named in done.stderr
    assert done.stderr.count("\n") == 1
