"""Cross-validation summed up: which results belong together, and their mean and spread."""

from __future__ import annotations

import math
import subprocess
import sys
from pathlib import Path

import pytest

from lm.errors import StudyError
from lm.results.folds import Fold, join_folds, read_folds, table
from tests.synthetic import make_curves, write

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
    study = join_folds([fold(0, a=None, b=None), fold(1, a=2.0, b=None)])[0]
    assert table(study).splitlines()[-2:] == [
        "| a | 1 (1 diverged) | 2.0000 | – | 7.4 | 7.4 | 7.4 |",
        "| b | 0 (2 diverged) | – | – | – | – | – |",
    ]


@pytest.fixture
def repository(tmp_path, environment, monkeypatch) -> Path:
    """A project with results that DVC would keep as the experiment of one fold, once :func:`keep` has been called."""
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    subprocess.run(["git", "init", "--quiet", str(tmp_path)], check=True)
    (tmp_path / "params.yaml").write_text("corpus: sotu\nscale: laptop\nsplit: {folds: 2, fold: 0}\n")
    return tmp_path


def keep(repository: Path) -> None:
    for arguments in (["add", "--all"], ["commit", "--quiet", "--message", "m"], ["update-ref", NAME, "HEAD"]):
        subprocess.run(["git", *arguments], cwd=repository, check=True)


NAME = "refs/exps/ab/cdef/name"


def test_a_run_that_diverged_has_no_loss_whatever_it_had_reached_before(repository):
    """By the states of the report: status says so, or the last loss lies clearly above knowing nothing."""
    whole = [5.5, 5.0, 4.8]
    curves = {"1": whole, "2": whole, "3": [5.0, 9.5], "4": {1: whole, 2: whole}, "5": {1: whole, 2: [5.0, 4.9, 4.6]}}
    runs, epochs = make_curves({name: {"curves": own} for name, own in curves.items()})
    runs.loc[(runs["experiment"] == "2") | ((runs["experiment"] == "4") & (runs["seed"] == 2)), "status"] = "diverged"
    write(repository / "reports", runs, epochs)
    keep(repository)
    (found,) = read_folds(repository)
    assert found.losses == {"1": 4.8, "2": None, "3": None, "4": None, "5": pytest.approx(4.7)}
    rows = table(join_folds([found])[0]).splitlines()[-5:]
    assert [row.split(" | ")[1] for row in rows] == ["1", *["0 (1 diverged)"] * 3, "1"]


def test_a_table_that_cannot_be_read_is_named(repository):
    write(repository / "reports", *make_curves({"1": {"curves": [5.0]}}))
    (repository / "reports" / "runs.parquet").write_text("damaged")
    keep(repository)
    with pytest.raises(StudyError, match=rf"^reports/runs\.parquet at {NAME}: not a Parquet file"):
        read_folds(repository)


@pytest.mark.parametrize(("tracked", "named"), [(False, "not a git repository"), (True, "no experiment has a fold")])
def test_nothing_to_sum_up(tmp_path, environment, tracked, named):
    if tracked:
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
