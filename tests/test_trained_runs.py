"""A run that was trained with something else than what lies there now is not opened, by the lock that DVC writes."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest
from dvc.repo import Repo

from lm.errors import StudyError
from lm.trained import runs
from tests.trained_runs import arguments, config, write_run, write_workspace

PIPELINE = """
stages:
  train:
    matrix: {experiment: ["5"], seed: [42, 43]}
    cmd: python -m stages.train
    deps: ["configs/${item.experiment}.json", data/tokens]
    outs: ["runs/${item.experiment}-${item.seed}/model.safetensors"]
"""
FOLDERS = """
stages:
  confirm:
    foreach: {gpt-43: {config: configs/5.json, run: controlled/runs/gpt/43}}
    do:
      wdir: ..
      cmd: python -m stages.train
      deps: ["${item.config}", controlled/tokens/10]
      outs: ["${item.run}"]
"""
"""As the controlled study has it: paths from the folder above, and a run's folder as one output."""


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Runs as DVC leaves them, with its locks and without its cache."""
    root = tmp_path_factory.mktemp("study")
    write_workspace(root)
    for seed in (42, 43):
        write_run(root, config("gpt", "5"), seed)
    shutil.copytree(root / "runs/5-43", root / "controlled/runs/gpt/43")
    shutil.copytree(root / "data/tokens", root / "controlled/tokens/10")
    (root / "controlled/tokens/10/README").write_text("ten times the text\n")
    (root / "dvc.yaml").write_text(PIPELINE)
    (root / "controlled/dvc.yaml").write_text(FOLDERS)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        Repo.init(no_scm=True).close()
        with Repo() as repo:
            repo.commit(force=True)
    shutil.rmtree(root / ".dvc")
    return root


@pytest.fixture
def study(recorded, tmp_path, monkeypatch) -> Path:
    root = tmp_path / "study"
    shutil.copytree(recorded, root)
    monkeypatch.chdir(root)
    return root


CONFIRMED = ["--runs", "controlled/runs/gpt", "--config", "configs/5.json", "--tokens", "controlled/tokens/10"]


def opened(name: str = "5-42", *more: str) -> str:
    """What opening the run is refused with, in the project's root; empty where it opens."""
    try:
        runs.open_run(arguments(Path(), name, *more))
    except StudyError as error:
        return str(error)
    return ""


def retrain(root: Path, name: str) -> None:
    shutil.rmtree(root / "runs" / name)
    write_run(root, config("gpt", "5", heads=4), seed=7)
    (root / "runs/5-7").rename(root / "runs" / name)


@pytest.mark.usefixtures("study")
def test_what_is_as_recorded_opens():
    assert (opened(), opened("5-43"), opened("43", *CONFIRMED)) == ("", "", "")


def test_another_configuration_of_the_same_shapes(study):
    (study / "configs/5.json").write_text(config("gpt", "5", heads=4).to_json())
    assert opened() == "runs/5-42: trained with another configs/5.json than is there now; run `dvc repro train@5-42`"
    assert opened("43", *CONFIRMED) == (
        "controlled/runs/gpt/43: trained with another configs/5.json than is there now; "
        "run `dvc repro controlled/dvc.yaml:confirm@gpt-43`"
    )
    assert re.fullmatch(
        f"{study}/runs/5-42: .*; run `dvc repro {study}/dvc.yaml:train@5-42`", opened("5-42", "--runs", f"{study}/runs")
    )


def test_another_tokenizer_of_as_many_entries(study):
    path = study / "data/tokens/tokenizer.json"
    path.write_text(path.read_text().replace('"version"', ' "version"', 1))
    assert opened() == "runs/5-42: trained with other data/tokens than is there now; run `dvc repro train@5-42`"
    assert opened("43", *CONFIRMED) == ""


@pytest.mark.usefixtures("study")
def test_tokens_of_another_pipeline():
    """There is nothing to train anew."""
    assert opened("43", *CONFIRMED[:-2]) == (
        "controlled/runs/gpt/43: trained with other data/tokens than is there now; "
        "controlled/dvc.lock names its own under confirm@gpt-43"
    )


def test_what_no_record_knows_opens(study):
    """A run that was trained by hand since; a project without a lock; a lock that is half a file."""
    retrain(study, "5-42")
    assert opened() == ""
    assert "trained with another configs/5.json" in opened("5-43")
    lock = (study / "dvc.lock").read_text()
    (study / "dvc.lock").write_text(lock[: len(lock) // 2])
    assert opened("5-43") == ""
    (study / "dvc.lock").unlink()
    assert opened("5-43") == ""
