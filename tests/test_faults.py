"""A run that is killed, stopped or starved: it goes on and ends with the same bits, or says in one line why not."""

from __future__ import annotations

import hashlib
import multiprocessing
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from lm.corpus.tokens import write_tokens
from lm.training import checkpoints
from lm.training.loop import Trainer
from stages.train import main

ROOT = Path(__file__).parents[1]
KILLS = 25
LEARNED = ("model.safetensors", "history.csv", "metrics.json")
FILES = {*LEARNED, "timing.csv", "cost.json"}


@pytest.fixture(scope="module")
def tokens(tmp_path_factory) -> Path:
    """A part of the smoke scale's tokens; they need not mean anything."""
    folder = tmp_path_factory.mktemp("tokens")
    generator = np.random.default_rng(0)
    lengths = {"train": 20_000, "validation": 3_001, "test": 3_333}
    arrays = {split: generator.zipf(1.5, length).clip(max=511).astype(np.uint16) for split, length in lengths.items()}
    write_tokens(arrays, {split: ["some words"] for split in arrays}, 512, folder, {"source": "toy"})
    return folder


@pytest.fixture(scope="module")
def config(tmp_path_factory, run_config) -> Path:
    path = tmp_path_factory.mktemp("configs") / "7.json"
    content = run_config("gpt", "adam", layers=2, batch=8, epochs=3, context=32)
    path.write_text(content.model_dump_json(exclude_none=True))
    return path


def arguments(config: Path, tokens: Path, folder: Path, seconds: float = 0.1) -> list[str]:
    """Of a run that saves several times an epoch."""
    return [
        f"--config={config}",
        "--seed=42",
        f"--tokens={tokens}",
        f"--out={folder / 'runs' / '7-42'}",
        f"--checkpoints={folder / 'checkpoints'}",
        f"--checkpoint-seconds={seconds}",
    ]


def hashes(folder: Path) -> dict[str, str]:
    run = folder / "runs" / "7-42"
    assert {path.name for path in run.iterdir()} == FILES
    assert [path.name for path in run.parent.iterdir()] == ["7-42"], "nothing half-written is left"
    assert list((folder / "checkpoints").glob("*")) == [], "the checkpoint goes when the run is done"
    return {name: hashlib.sha256((run / name).read_bytes()).hexdigest() for name in LEARNED}


def run_stage(argv: list[str], log: Path) -> None:
    """What ``python -m stages.train`` does, in a process that has its imports behind it."""
    with log.open("ab") as file:
        os.dup2(file.fileno(), sys.stderr.fileno())
    sys.argv = ["stages.train", *argv]
    main()


@pytest.fixture(scope="module")
def fresh_process():
    """Processes forked from one that has imported the stage: 25 kills would else be 25 times the imports."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__, "torch._inductor"])  # torch imports it to be deterministic
    return context.Process


@pytest.fixture(scope="module")
def whole(fresh_process, config, tokens, tmp_path_factory) -> tuple[dict[str, str], float]:
    """Hashes of a run that nothing interrupts, and the seconds that it takes."""
    folder = tmp_path_factory.mktemp("whole")
    for name in ("warm", "timed"):
        started = time.monotonic()
        process = fresh_process(target=run_stage, args=(arguments(config, tokens, folder / name), folder / "log"))
        process.start()
        process.join(60)
        assert process.exitcode == 0, (folder / "log").read_text()
    seconds = time.monotonic() - started
    assert hashes(folder / "warm") == hashes(folder / "timed")
    return hashes(folder / "timed"), seconds


def test_killed_at_25_random_moments_a_run_ends_with_the_same_bits(fresh_process, config, tokens, tmp_path, whole):
    """Killed anywhere from its start to its end, restarted until done, and then again from nothing."""
    (expected, seconds), log = whole, tmp_path / "log"
    moments = random.Random(25)
    killed = completed = 0
    done = False
    while killed < KILLS or not done:
        folder = tmp_path / f"run {completed}"
        process = fresh_process(target=run_stage, args=(arguments(config, tokens, folder), log))
        process.start()
        process.join(moments.uniform(0.02, 1.0) * seconds if killed < KILLS else 60)
        process.kill()
        process.join(60)
        done = process.exitcode == 0
        if done:
            assert hashes(folder) == expected
            completed += 1
        else:
            assert process.exitcode == -signal.SIGKILL, log.read_text()
            killed += 1
    text = log.read_text()
    assert text.count("going on from") >= KILLS // 3, "the kills must have met checkpoints"
    assert "passing over" not in text, "no kill may leave a checkpoint that cannot be used"
    assert "Traceback" not in text


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_asked_to_stop_it_saves_says_how_to_go_on_and_goes_on(config, tokens, tmp_path, environment, whole, number):
    """The command itself, not a fork of it."""
    command = [sys.executable, "-m", "stages.train"]

    def run(folder: Path, seconds: float = 600.0) -> subprocess.Popen:
        argv = [*command, *arguments(config, tokens, folder, seconds)]
        return subprocess.Popen(argv, cwd=ROOT, env=environment, text=True, stderr=subprocess.PIPE)

    process = run(tmp_path / "stopped")
    first = process.stderr.readline()
    process.send_signal(number)
    _, rest = process.communicate(timeout=60)
    assert first.startswith("7-42: epoch 0:")
    assert process.returncode == 128 + number, rest
    lines = [line for line in rest.splitlines() if not line.startswith("7-42: epoch")]
    assert len(lines) == 1
    assert f"stopped by {number.name}" in lines[0]
    assert "`dvc repro` goes on" in lines[0]
    assert not (tmp_path / "stopped" / "runs").exists()

    process = run(tmp_path / "stopped")
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors
    assert "going on from" in errors
    assert hashes(tmp_path / "stopped") == whole[0]


def test_a_checkpoint_is_bound_to_all_code_that_a_run_depends_on(monkeypatch, config, tokens, tmp_path):
    parts = []

    def keep(*each: bytes) -> str:
        parts.extend(each)
        raise RuntimeError("seen enough")

    monkeypatch.setattr(checkpoints, "fingerprint", keep)
    monkeypatch.setattr(sys, "argv", ["stages.train", *arguments(config, tokens, tmp_path)])
    with pytest.raises(RuntimeError, match="seen enough"):
        main()
    needed = [
        "lm/corpus/windows.py",
        "lm/embeddings/tables.py",
        *(p for room in ("models", "training") for p in (ROOT / "lm" / room).glob("*.py")),
    ]
    assert [str(path) for path in needed if (ROOT / path).read_bytes() not in b"".join(parts)] == []


@pytest.mark.parametrize(
    ("error", "named"),
    [
        (OSError(28, "No space left on device", "run.pt"), ["no space left", "run.pt"]),
        (MemoryError(), ["out of memory", "lower", "batch"]),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory"), ["out of memory", "lower"]),
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB."), ["out of memory", "lower"]),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `f`"), ["out of memory", "lower"]),
    ],
)
def test_no_room_is_one_line(monkeypatch, capsys, config, tokens, tmp_path, error, named):
    def fail(*_arguments):
        raise error

    monkeypatch.setattr(Trainer, "_save", fail)
    monkeypatch.setattr(sys, "argv", ["stages.train", *arguments(config, tokens, tmp_path)])
    with pytest.raises(SystemExit) as stopped:
        main()
    last = capsys.readouterr().err.splitlines()[-1]
    assert stopped.value.code == 1
    assert last.startswith("error: 7-42: ")
    assert [word for word in named if word not in last] == []
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize("message", ["a bug", "CUDA error: an illegal memory access was encountered"])
def test_an_error_that_nobody_foresaw_is_not_hidden(monkeypatch, config, tokens, tmp_path, message):
    def fail(*_arguments):
        raise RuntimeError(message)

    monkeypatch.setattr(Trainer, "_save", fail)
    monkeypatch.setattr(sys, "argv", ["stages.train", *arguments(config, tokens, tmp_path)])
    with pytest.raises(RuntimeError, match=message):
        main()
