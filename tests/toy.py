"""A pipeline of the real DVC whose training is a stand-in: it counts, saves where it stands, and can be told to fail.

It speaks as ``stages.train`` does to what a launch sees of it (arguments, history, log, signals, exit status), and
starts in a moment, as it imports no PyTorch.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]

PIPELINE = """
stages:
  prepare:
    cmd: python prepare.py
    deps: [prepare.py]
    outs: [data/tokens]
  configure:
    cmd: python -m stages.configure
    deps: [params.yaml]
    outs: [configs]
  train:
    foreach: [{experiments}]
    do:
      cmd: python -m stages.train --config configs/${{item}}.json --seed 42 --out runs/${{item}}-42
      deps:
        - configs/${{item}}.json
        - data/tokens
        - stages/train.py
      outs:
        - runs/${{item}}-42
  report:
    cmd: python report.py
    deps: [runs, report.py]
    outs: [report.txt]
"""
PREPARE = """
import json, pathlib
folder = pathlib.Path("data/tokens")
folder.mkdir(parents=True, exist_ok=True)
split = {"predicted_tokens": 1000, "tokens": 1001, "documents": 1}
(folder / "card.json").write_text(json.dumps({"vocabulary": 512, "splits": {"train": split}}))
"""
TRAIN = """
import json, os, pathlib, signal, sys, time
_, _, config, _, seed, _, out = sys.argv
out, steps = pathlib.Path(out), int(pathlib.Path("steps").read_text())
assert json.load(open(config))["experiment"] == out.name.split("-")[0]
checkpoint = pathlib.Path(".checkpoints") / out.name
asked = []
for number in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGUSR2):
    signal.signal(number, lambda number, frame: asked.append(number))
if os.path.exists(f"fail-{out.name}"):
    sys.exit(f"error: {out.name}: told to fail")
step = 0
if checkpoint.exists():
    step = int(checkpoint.read_text())
    print(f"{out.name}: going on from {checkpoint}, step {step}", flush=True)
checkpoint.parent.mkdir(exist_ok=True)
out.mkdir(parents=True, exist_ok=True)
while step < steps:
    time.sleep(float(pathlib.Path("pace").read_text()))
    step += 1
    partial = checkpoint.with_suffix(".partial")
    partial.write_text(str(step))
    partial.replace(checkpoint)
    if asked:
        print(f"{out.name}: stopped at {step}", flush=True)
        sys.exit(128 + asked[0])
(out / "result.json").write_text(json.dumps({"steps": step, "run": out.name}))
names = "STUDY_SIDE_BY_SIDE", "FROM_PREAMBLE", "OMP_WAIT_POLICY", "CUDA_VISIBLE_DEVICES", "RAY_RAYLET_PID"
seen = {name: os.environ.get(name) for name in names}
(out / "environment.json").write_text(json.dumps(seen | {"cores": sorted(os.sched_getaffinity(0))}))
checkpoint.unlink()
"""
REPORT = """
import pathlib
pathlib.Path("report.txt").write_text(f"{len(list(pathlib.Path('runs').glob('*/result.json')))} runs\\n")
"""


@dataclass
class Result:
    status: int
    output: str


@dataclass
class Toy:
    folder: Path
    environment: dict[str, str]
    names: list[str]

    def command(self, *words: str) -> Result:
        done = subprocess.run(
            words,
            cwd=self.folder,
            env=self.environment,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            check=False,
        )
        return Result(done.returncode, done.stdout)

    def dvc(self, *words: str) -> Result:
        return self.command("python", "-m", "dvc", *words)

    def launch(self, *words: str) -> Result:
        return self.command(sys.executable, "-m", "stages.launch", *words)

    def pace(self, seconds: float) -> None:
        """How long a step takes from now on."""
        (self.folder / "pace.new").write_text(str(seconds))
        (self.folder / "pace.new").replace(self.folder / "pace")

    def logs(self) -> dict[str, str]:
        return {path.stem: path.read_text() for path in (self.folder / ".launch" / "logs").glob("*.log")}

    def steps(self) -> dict[str, int]:
        """Where runs at work stand."""
        return {path.name: int(path.read_text()) for path in (self.folder / ".checkpoints").glob("*[0-9]")}

    def results(self) -> dict[str, str]:
        return {f"{path.parent.name}.json": path.read_text() for path in self.folder.glob("runs/*/result.json")}

    def trained(self) -> list[str]:
        """Runs in the order in which DVC began to train them, by the logs' own times."""
        return re.findall(r"Running stage 'train@([^']+)'", "".join(self.logs().values()))


def toy_project(folder: Path, environment: dict[str, str], runs: int, steps: int) -> Toy:
    """A project with ``runs`` runs of ``steps`` steps each, under git and DVC, nothing made yet."""
    experiments = [str(number) for number in range(1, runs + 1)]
    for source in ("lm", "stages", "corpora"):
        shutil.copytree(ROOT / source, folder / source, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "params.yaml", folder)
    (folder / "stages" / "train.py").write_text(TRAIN)
    (folder / "prepare.py").write_text(PREPARE)
    (folder / "report.py").write_text(REPORT)
    (folder / "steps").write_text(str(steps))
    (folder / "pace").write_text("0.1")
    (folder / "dvc.yaml").write_text(PIPELINE.format(experiments=", ".join(f'"{name}"' for name in experiments)))
    toy = Toy(folder, environment | {"PYTHONDONTWRITEBYTECODE": "1"}, [f"{name}-42" for name in experiments])
    for command in (["git", "init", "--quiet"], ["git", "add", "."], ["git", "commit", "--quiet", "-m", "toy"]):
        assert toy.command(*command).status == 0
    assert toy.dvc("init", "--quiet").status == 0
    assert toy.dvc("config", "core.autostage", "true").status == 0
    return toy
