"""Runs shared by a DVC remote: who pulls trains nothing, whatever state their ``dvc.lock`` is in.

The pipeline is the project's own ``dvc.yaml``; its stages are stand-ins that write what it declares, at once, measured
files with another content each time. What is tested is which outputs travel, and that records of runs can be used.
"""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from ruamel.yaml import YAML

ROOT = Path(__file__).parents[1]
STAND_IN = """
import os, pathlib, re, sys, time
from ruamel.yaml import YAML
stage, _, item = os.environ["DVC_STAGE"].partition("@")
experiment, _, seed = item.rpartition("-")
declared = YAML(typ="safe").load(open("dvc.yaml"))["stages"][stage]
if stage == "train":
    open("trained", "a").write(item + "\\n")
for entry in [*declared.get("outs", []), *declared.get("plots", []), *declared.get("metrics", [])]:
    name = entry if isinstance(entry, str) else next(iter(entry))
    path = pathlib.Path(name.replace("${item.experiment}", experiment).replace("${item.seed}", seed))
    if not path.suffix:
        path = path / "card.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    measured = time.time_ns() if path.name in ("timing.csv", "cost.json") else ""
    configuration = pathlib.Path(f"configs/{experiment}.json")
    learned = configuration.read_text() if configuration.is_file() else ""
    path.write_text(f"{name} {measured}\\n{learned}")
"""


@dataclass
class Clone:
    folder: Path
    environment: dict[str, str]

    def run(self, *command: str) -> str:
        done = subprocess.run(
            command, cwd=self.folder, env=self.environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            check=False,
        )  # fmt: skip
        assert done.returncode == 0, f"{command}: {done.stdout}"
        return done.stdout

    def dvc(self, *words: str) -> str:
        return self.run("python", "-m", "dvc", *words)

    def commit(self, message: str) -> None:
        self.run("git", "add", "--all")
        self.run("git", "commit", "--quiet", "--message", message)

    def clone(self, name: str) -> Clone:
        """As a colleague makes one: with a cache of its own, and a DVC that has seen nothing."""
        folder = self.folder.parent / name
        self.run("git", "clone", "--quiet", str(self.folder), str(folder))
        homes = ("DVC_SITE_CACHE_DIR", "DVC_GLOBAL_CONFIG_DIR", "DVC_SYSTEM_CONFIG_DIR")
        own = {home: str(folder.with_name(f"{name}-{home}")) for home in homes}
        return Clone(folder, self.environment | own)

    def rate(self, value: float) -> None:
        """Set Adam's learning rate, on which one of the two runs depends."""
        path = self.folder / "params.yaml"
        yaml = YAML()
        params = yaml.load(path)
        params["optimizers"]["adam"]["lr"] = value
        yaml.dump(params, path)

    @property
    def trained(self) -> list[str]:
        path = self.folder / "trained"
        return sorted(path.read_text().split()) if path.is_file() else []

    def forget(self) -> None:
        (self.folder / "trained").unlink(missing_ok=True)


@pytest.fixture
def origin(tmp_path, resident) -> Clone:
    """Two experiments, nothing made yet, committed."""
    folder = tmp_path / "origin"
    folder.mkdir()
    for name in ("lm", "stages", ".dvc", "corpora"):
        if (ROOT / name).is_dir():
            leave = shutil.ignore_patterns("__pycache__", "cache", "tmp", "config.local")
            shutil.copytree(ROOT / name, folder / name, ignore=leave)
    for name in ("params.yaml", "dvc.yaml", ".gitignore", ".dvcignore"):
        shutil.copy(ROOT / name, folder / name)
    for path in (folder / "stages").glob("*.py"):
        if path.name not in ("__init__.py", "configure.py"):
            path.write_text(STAND_IN)
    yaml = YAML()
    params = yaml.load(folder / "params.yaml")
    params["scale"], params["seeds"][:] = "smoke", [42]
    for name in set(params["experiments"]) - {"1", "6"}:
        del params["experiments"][name]
    yaml.dump(params, folder / "params.yaml")
    with (folder / ".gitignore").open("a") as file:
        file.write("/trained\n")
    keys = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_DEFAULT_REGION": "us-east-1"}
    clone = Clone(folder, resident | keys)
    clone.run("git", "init", "--quiet", "--initial-branch=main")
    clone.commit("the pipeline")
    return clone


@pytest.fixture
def folder_remote(origin, tmp_path) -> str:
    origin.dvc("remote", "add", "--default", "store", str(tmp_path / "store"))
    origin.commit("a remote")
    return "folder"


def test_every_output_of_a_run_is_cached():
    """One that is not makes every record of a run useless from a remote."""
    declared = YAML(typ="safe").load(ROOT / "dvc.yaml")["stages"]["train"]
    entries = [*declared["outs"], *declared.get("plots", []), *declared.get("metrics", [])]
    flags = [next(iter(entry.values())) for entry in entries if isinstance(entry, dict)]
    assert all(flag.get("cache", True) for flag in flags)
    assert not any(flag.get("persist") for flag in flags)


@pytest.mark.usefixtures("folder_remote")
def test_a_clone_with_todays_lock_pulls_and_trains_nothing(origin):
    origin.dvc("repro", "train")
    assert origin.trained == ["1-42", "6-42"]
    origin.dvc("push", "--run-cache")
    origin.commit("trained")
    colleague = origin.clone("colleague")
    colleague.dvc("repro", "--pull", "train")
    assert colleague.trained == []
    assert "up to date" in colleague.dvc("status", "train")


@pytest.mark.usefixtures("folder_remote")
def test_a_clone_with_an_older_lock_takes_the_runs_from_their_records(origin):
    """Its lock has another learning rate's runs; those of its params.yaml are in the remote all the same."""
    origin.dvc("repro", "train")
    origin.commit("trained")
    origin.rate(0.5)
    origin.dvc("repro", "train")
    origin.dvc("push", "--run-cache")
    origin.run("git", "checkout", "--quiet", "HEAD", "--", "dvc.lock")
    origin.commit("another rate, the old lock")
    assert origin.trained == ["1-42", "1-42", "6-42"]
    colleague = origin.clone("colleague")
    colleague.dvc("repro", "--pull", "train")
    assert colleague.trained == []
    assert "up to date" in colleague.dvc("status", "train")


@pytest.mark.usefixtures("folder_remote")
def test_what_a_worker_pushed_without_committing_its_lock_is_found(origin):
    origin.dvc("repro", "train@6-42")
    origin.commit("one of two")
    origin.dvc("push", "--run-cache")
    worker = origin.clone("worker")
    worker.dvc("repro", "--pull", "train")
    assert worker.trained == ["1-42"]
    worker.dvc("push", "--run-cache")
    origin.forget()
    origin.dvc("repro", "--pull", "train")
    assert origin.trained == []
    assert (origin.folder / "runs" / "1-42" / "history.csv").is_file()
    assert (origin.folder / "runs" / "1-42" / "cost.json").read_bytes() == (
        worker.folder / "runs" / "1-42" / "cost.json"
    ).read_bytes(), "the figures are the worker's"


@pytest.fixture
def s3(origin) -> Iterator[str]:
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    host, port = server.get_host_and_port()
    address = f"http://{host}:{port}"
    urllib.request.urlopen(urllib.request.Request(f"{address}/bucket", method="PUT")).close()
    origin.dvc("remote", "add", "--default", "store", "s3://bucket/study")
    origin.dvc("remote", "modify", "store", "endpointurl", address)
    origin.commit("a remote")
    yield address
    server.stop()


@pytest.mark.skipif(importlib.util.find_spec("moto") is None, reason="moto is not installed: requirements-dev.txt")
def test_the_same_by_s3(origin, s3):
    origin.dvc("repro", "train@6-42")
    origin.dvc("push", "--run-cache")
    origin.commit("one of two")
    worker = origin.clone("worker")
    worker.dvc("repro", "--pull", "train")
    assert worker.trained == ["1-42"]
    worker.dvc("push", "--run-cache")
    colleague = origin.clone("colleague")
    colleague.dvc("repro", "--pull", "train")
    assert colleague.trained == []
    assert "up to date" in colleague.dvc("status", "train")
    listing = urllib.request.urlopen(f"{s3}/bucket?list-type=2").read().decode()
    assert "<Key>study/runs/" in listing, "records of runs"
