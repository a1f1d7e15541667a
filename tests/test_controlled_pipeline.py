"""Real DVC on a reduced controlled study at smoke scale: what runs, what is kept, what a kill and a new protocol do."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest

from tests.test_pipeline import LEARNED, Project, Result, clone

PROTOCOL = """
tuning_seed: 7
seeds: [43, 44]
beyond: 1
threads: 1
arms:
  gpt_adam: {part: rates, model: gpt, layers: 1, optimizer: adam, epochs: 3, rates: [0.003, 0.01]}
  lstm_adamw: {part: rates, model: lstm, layers: 1, optimizer: adamw, rates: [0.001, 0.01]}
"""
CONTROLLED = "controlled/dvc.yaml:"
REPORTS = Path("reports/controlled")


@pytest.fixture(scope="module")
def studied(tmp_path_factory, resident) -> tuple[Project, Result]:
    """Two arms, two rates, two seeds, beside a default study of one experiment and one epoch."""
    project = clone(tmp_path_factory.mktemp("project") / "clone", resident)

    def smoke(params: dict) -> None:
        params["scale"], params["corpus"], params["threads"] = "smoke", "sotu", 1
        params["seeds"][:] = [42]
        for name in set(params["experiments"]) - {"2"}:
            del params["experiments"][name]
        params["scales"]["smoke"]["epochs"] = 1
        params["scales"]["smoke"]["tokenizer"]["train_share"] = 0.01

    project.edit_params(smoke)
    planned(project, PROTOCOL)
    return project, project.dvc("repro", "controlled/dvc.yaml")


def planned(project: Project, protocol: str) -> None:
    (project.folder / "controlled" / "protocol.yaml").write_text(protocol)
    project.command("python", "-m", "stages.controlled_plan")


def stages(result: Result) -> set[str]:
    return {name.removeprefix(CONTROLLED) for name in result.ran if name.startswith(CONTROLLED)}


def runs(project: Project) -> pd.DataFrame:
    return pd.read_parquet(project.folder / REPORTS / "runs.parquet")


def learned(project: Project) -> dict[str, bytes | str]:
    """What every run's files and every table say, but for times, memory and where it ran."""
    folder = project.folder
    found = {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in (folder / "controlled" / "runs").rglob("*")
        if path.name in LEARNED
    }
    for name in ("runs", "epochs", "documents"):
        table = pd.read_parquet(folder / REPORTS / f"{name}.parquet")
        columns = list(table.columns)
        measured = columns.index("train_seconds") if "train_seconds" in columns else None
        found[name] = table[columns[:measured]].to_json(double_precision=15)
    return found


def killed(project: Project, checkpoint: str) -> Path:
    """Start the whole study and kill it, with all that it started, as soon as a run of that name has a checkpoint."""
    command = [sys.executable, "-m", "dvc", "repro", "controlled/dvc.yaml"]
    process = subprocess.Popen(
        command,
        cwd=project.folder,
        env=project.environment | {"FRESH": "stages.train"},  # the real interpreter, in the group that is killed
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    deadline = time.monotonic() + 120
    while not (found := list((project.folder / ".checkpoints").glob(checkpoint))):
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGKILL)
    assert process.wait(60) == -signal.SIGKILL
    return found[0]


def test_killed_in_a_trial_and_in_a_confirmation_it_ends_with_the_same_bits(studied, tmp_path):
    """And from nothing: the copy keeps the tokens of the study that nothing interrupted, none of its runs."""
    whole, _ = studied
    project = Project(shutil.copytree(whole.folder, tmp_path / "again", symlinks=True), whole.environment)
    for name in ("controlled/configs", "controlled/runs", ".checkpoints", ".dvc/cache/runs", REPORTS):
        shutil.rmtree(project.folder / name)
    (project.folder / "controlled" / "dvc.lock").unlink()

    caught = set()
    for checkpoint, then in (("gpt_adam_*-7.pt", "select"), ("gpt_adam-4?.pt", "collect")):
        stopped = killed(project, checkpoint)
        assert stopped.exists(), "else it was caught when it had ended"
        result = project.dvc("repro", "--glob", f"{CONTROLLED}{then}*")
        assert f"{stopped.stem}: going on from .checkpoints/{stopped.name}, epoch " in result.output
        caught.add(stopped.stem)

    table = runs(project)
    names = table["experiment"] + "-" + table["seed"].astype(str)
    assert set(names[table["resumed"] > 0]) == caught
    assert learned(project) == learned(whole)


def test_an_edit_of_comments_and_docstrings_trains_nothing(studied):
    project, _ = studied
    project.reword_comments()
    result = project.dvc("repro", "controlled/dvc.yaml")
    assert {"grid", "edge@gpt_adam", "select@gpt_adam", "collect", "report"} <= stages(result)
    assert not {name for name in stages(result) if name.startswith(("trial@", "beyond@", "confirm@"))}
    assert not {name for name in result.ran if name.startswith("train@")}
    assert "up to date" in project.dvc("status", "controlled/dvc.yaml").output


def test_the_whole_graph_and_then_a_changed_protocol(studied):
    project, result = studied
    trials = {"trial@lstm_adamw_0.001", "trial@lstm_adamw_0.01", "trial@gpt_adam_0.003", "trial@gpt_adam_0.01"}
    confirmations = {f"confirm@{arm}-{seed}" for arm in ("lstm_adamw", "gpt_adam") for seed in (43, 44)}
    assert stages(result) >= trials | confirmations | {"grid", "edge@gpt_adam", "select@gpt_adam", "collect", "report"}

    table = runs(project)
    counted = table.groupby(["arm", "role"]).size().to_dict()
    for arm in ("lstm_adamw", "gpt_adam"):
        assert counted[arm, "trial"] == counted[arm, "confirmation"] == 2
    assert set(table[table["role"] == "confirmation"]["seed"]) == {43, 44}
    assert set(table[table["role"] != "confirmation"]["seed"]) == {7}
    assert "helps" not in (project.folder / REPORTS / "report.md").read_text()  # there is no remedy here
    kept = {
        path.relative_to(project.folder).parts[2] for path in project.folder.rglob("controlled/runs/**/*.safetensors")
    }
    assert kept == {"confirm"}, "trials keep no weights"

    # the default study neither starts it nor is changed by it
    assert not stages(project.dvc("repro", "--dry", "aggregate"))
    assert "up to date" in project.dvc("status", "aggregate", "controlled/dvc.yaml").output
    assert not project.dvc("repro", "controlled/dvc.yaml").ran

    before = (project.folder / "controlled/configs/tuned/lstm_adamw.json").read_bytes()
    protocol = PROTOCOL.replace("rates: [0.001, 0.01]", "rates: [0.0001, 0.001, 0.01]")
    planned(project, "".join(line for line in protocol.splitlines(keepends=True) if "gpt_adam" not in line))
    again = stages(project.dvc("repro", "controlled/dvc.yaml"))
    assert {name for name in again if name.startswith("trial@")} == {"trial@lstm_adamw_0.0001"}
    moved = (project.folder / "controlled/configs/tuned/lstm_adamw.json").read_bytes() != before
    assert bool({name for name in again if name.startswith("confirm@")}) == moved
    assert set(runs(project)["arm"]) == {"lstm_adamw"}


def test_a_stale_plan_stops_before_anything_is_trained(studied):
    project, _ = studied
    path = project.folder / "controlled" / "protocol.yaml"
    path.write_text(path.read_text().replace("43, 44", "43, 44, 45"))
    result = project.dvc("repro", "controlled/dvc.yaml", ok=False)
    assert result.status != 0
    assert "run `python -m stages.controlled_plan`" in result.output
    assert not {name for name in stages(result) if "@" in name}
