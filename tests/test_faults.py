"""A run that is killed, stopped or starved: it goes on and ends with the same bits, or says in one line why not."""

from __future__ import annotations

import functools
import hashlib
import json
import os
import platform
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np
import psutil
import pytest
import torch

from lm.code import code_of_a_run
from lm.corpus.tokens import write_tokens
from lm.training import checkpoints
from lm.training.saver import Saver
from lm.training.stopping import Parent, Stop
from stages.train import main
from tests.conftest import write_documents

ROOT = Path(__file__).parents[1]
KILLS = {"default": 13, "remedies": 12}
SETTINGS = {
    "default": {},
    "remedies": {"dropout": 0.2, "schedule": "plateau", "patience": 1, "clip": 0.5, "label_smoothing": 0.1},
}
LEARNED = ("model.safetensors", "history.csv", "metrics.json", "test_documents.csv")
FILES = {*LEARNED, "timing.csv", "cost.json"}


@pytest.fixture(scope="module")
def tokens(tmp_path_factory) -> Path:
    """A part of the smoke scale's tokens; they need not mean anything."""
    folder = tmp_path_factory.mktemp("tokens")
    generator = np.random.default_rng(0)
    lengths = {"train": 20_000, "validation": 3_001, "test": 3_333}
    arrays = {split: generator.zipf(1.5, length).clip(max=511).astype(np.uint16) for split, length in lengths.items()}
    write_tokens(arrays, {split: ["some words"] for split in arrays}, 512, folder, {"source": "toy"})
    write_documents(folder, 500)
    return folder


@pytest.fixture(scope="module")
def configs(tmp_path_factory, run_config) -> dict[str, Path]:
    """By name. The remedies' stops by its patience: no token foretells the next, so what is learned soon misleads."""
    folder, paths = tmp_path_factory.mktemp("configs"), {}
    for name, settings in SETTINGS.items():
        paths[name] = folder / f"{name}.json"
        content = run_config("gpt", "adam", layers=2, batch=8, epochs=3, context=32, **settings)
        paths[name].write_text(content.to_json())
    return paths


@pytest.fixture(scope="module")
def config(configs) -> Path:
    return configs["default"]


@pytest.fixture(scope="module")
def quick(config) -> Path:
    """The same with one epoch, for what takes a whole run or several, whatever its length."""
    return with_epochs(config, 1, config.with_name("quick.json"))


def with_epochs(config: Path, epochs: int, path: Path) -> Path:
    content = json.loads(config.read_text())
    content["training"]["epochs"] = epochs
    path.write_text(json.dumps(content))
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
    left = [path.name for path in (folder / "checkpoints").iterdir()]
    assert left == ["finished"], "checkpoint and lock go when the run is done"
    return {name: hashlib.sha256((run / name).read_bytes()).hexdigest() for name in LEARNED}


def run_stage(argv: list[str], log: Path) -> None:
    """What ``python -m stages.train`` does, in a process that has its imports behind it."""
    with log.open("ab") as file:
        os.dup2(file.fileno(), sys.stderr.fileno())
    sys.argv = ["stages.train", *argv]
    main()


@pytest.fixture(scope="module")
def whole(forked_process, configs, tokens, tmp_path_factory) -> Callable[[str], tuple[dict[str, str], float]]:
    """Hashes of a run that nothing interrupts, and the seconds that it takes, by its configuration's name."""

    @functools.cache
    def run(which: str) -> tuple[dict[str, str], float]:
        folder = tmp_path_factory.mktemp(which)
        for name in ("warm", "timed"):
            started = time.monotonic()
            argv = arguments(configs[which], tokens, folder / name)
            process = forked_process(target=run_stage, args=(argv, folder / "log"))
            process.start()
            process.join(60)
            assert process.exitcode == 0, (folder / "log").read_text()
        seconds = time.monotonic() - started
        assert hashes(folder / "warm") == hashes(folder / "timed")
        return hashes(folder / "timed"), seconds

    return run


@pytest.mark.parametrize("which", SETTINGS)
def test_killed_at_random_moments_a_run_ends_with_the_same_bits(
    forked_process, configs, tokens, tmp_path, whole, which
):
    """Killed anywhere from its start to its end, restarted until done, and then again from nothing."""
    (expected, seconds), log, config, kills = whole(which), tmp_path / "log", configs[which], KILLS[which]
    moments = random.Random(25)
    killed = completed = 0
    done = False
    while killed < kills or not done:
        folder = tmp_path / f"run {completed}"
        process = forked_process(target=run_stage, args=(arguments(config, tokens, folder), log))
        process.start()
        process.join(moments.uniform(0.02, 1.0) * seconds if killed < kills else 60)
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
    assert text.count("going on from") >= kills // 3, "the kills must have met checkpoints"
    assert "passing over" not in text, "no kill may leave a checkpoint that cannot be used"
    assert "Traceback" not in text


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGUSR1])
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
    run_folder = tmp_path / "stopped" / "runs" / "7-42"
    assert [path.name for path in run_folder.iterdir()] == ["history.csv"], "what is known of it so far"
    assert [path.name for path in run_folder.parent.iterdir()] == ["7-42"]

    process = run(tmp_path / "stopped")
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors
    assert "going on from" in errors
    assert hashes(tmp_path / "stopped") == whole("default")[0]


def test_a_checkpoint_is_bound_to_the_code_that_a_run_depends_on(monkeypatch, config, tokens, tmp_path):
    parts = []

    def keep(*each: bytes) -> str:
        parts.extend(each)
        raise RuntimeError("seen enough")

    monkeypatch.setattr(checkpoints, "fingerprint", keep)
    monkeypatch.setattr(sys, "argv", ["stages.train", *arguments(config, tokens, tmp_path)])
    with pytest.raises(RuntimeError, match="seen enough"):
        main()
    assert json.dumps(code_of_a_run()).encode() in parts, "the code that DVC knows the run by"
    assert [part for part in parts if torch.__version__.encode() in part]
    assert [part for part in parts if torch.backends.cpu.get_cpu_capability().encode() in part]


@pytest.mark.parametrize(
    ("error", "named"),
    [
        (OSError(28, "No space left on device", "run.pt"), ["no space left", "run.pt", "free"]),
        (OSError(30, "Read-only file system", "run.pt"), ["Read-only file system", "run.pt"]),
        (PermissionError(13, "Permission denied", "run.pt"), ["Permission denied", "run.pt"]),
        (MemoryError(), ["out of memory", "lower", "batch"]),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory"), ["out of memory", "lower"]),
        (torch.OutOfMemoryError("Tried to allocate 2 GiB."), ["out of memory", "lower"]),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `f`"), ["out of memory", "lower"]),
    ],
)
def test_no_room_is_one_line(monkeypatch, capsys, config, tokens, tmp_path, error, named):
    def fail(*_arguments):
        raise error

    monkeypatch.setattr(Saver, "_save", fail)
    monkeypatch.setattr(sys, "argv", ["stages.train", *arguments(config, tokens, tmp_path)])
    with pytest.raises(SystemExit) as stopped:
        main()
    last = capsys.readouterr().err.splitlines()[-1]
    assert stopped.value.code == 1
    assert last.startswith("error: 7-42: ")
    assert [word for word in named if word not in last] == []
    assert {path.name for path in tmp_path.rglob("*") if path.is_file()} <= {"history.csv"}, "nothing half-written"


@pytest.mark.parametrize("message", ["a bug", "CUDA error: an illegal memory access was encountered"])
def test_an_error_that_nobody_foresaw_is_not_hidden(monkeypatch, config, tokens, tmp_path, message):
    def fail(*_arguments):
        raise RuntimeError(message)

    monkeypatch.setattr(Saver, "_save", fail)
    monkeypatch.setattr(sys, "argv", ["stages.train", *arguments(config, tokens, tmp_path)])
    with pytest.raises(RuntimeError, match=message):
        main()


def test_a_folder_of_checkpoints_that_cannot_be_is_one_line(monkeypatch, capsys, config, tokens, tmp_path):
    (tmp_path / "checkpoints").write_text("a file")
    monkeypatch.setattr(sys, "argv", ["stages.train", *arguments(config, tokens, tmp_path)])
    with pytest.raises(SystemExit) as stopped:
        main()
    assert stopped.value.code == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ")
    assert "checkpoints" in line


@pytest.fixture
def start(config, tokens, environment):
    """Start the command, by a parent of its own that says the trainer's process id and waits; end all that is left."""
    processes: list[int] = []

    def begin(folder: Path, *, parent: str | None = None, **variables: str) -> subprocess.Popen:
        log = (folder / "log").open("ab")
        long = with_epochs(config, 10_000, folder / "long.json")
        trainer = [sys.executable, "-m", "stages.train", *arguments(long, tokens, folder)]
        command = trainer if parent is None else [sys.executable, "-c", parent, *trainer]
        process = subprocess.Popen(
            command, cwd=ROOT, env=environment | variables, stdout=subprocess.PIPE, stderr=log, text=True
        )
        processes.append(process.pid)
        return process

    yield begin
    for each in processes:
        with suppress(psutil.NoSuchProcess):
            for process in (*psutil.Process(each).children(recursive=True), psutil.Process(each)):
                process.kill()


def wait_for(what: Callable[[], object], seconds: float = 60) -> object:
    deadline = time.monotonic() + seconds
    while not (found := what()):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return found


PARENTS = {
    "its parent": "import subprocess, sys; p = subprocess.Popen(sys.argv[1:]); print(p.pid, flush=True); p.wait()",
    "a shell's parent": (  # the shell waits for more than one command, so it does not become the trainer
        "import shlex, subprocess, sys; "
        "subprocess.run(['sh', '-c', shlex.join(sys.argv[1:]) + ' & echo $!; wait; echo'])"
    ),
}


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
@pytest.mark.parametrize("who", PARENTS)
def test_when_who_started_it_dies_a_run_stops_and_can_go_on(start, tmp_path, who, number):
    """As DVC may be ended alone. Nobody reads what the trainer says then: the pipe is closed, too."""
    parent = start(tmp_path, parent=PARENTS[who], DVC_STAGE="train@7-42")
    trainer = psutil.Process(int(parent.stdout.readline()))
    history = tmp_path / "runs" / "7-42" / "history.csv"
    wait_for(history.exists)
    parent.send_signal(number)
    parent.wait(60)
    _, alive = psutil.wait_procs([trainer], timeout=30)
    assert not alive
    state, why_not = checkpoints.load(tmp_path / "checkpoints" / "7-42.pt", belongs_to(tmp_path))
    assert why_not is None
    assert state["trainer"]["position"]["epoch"] >= 1
    assert not (tmp_path / "checkpoints" / "7-42.lock").exists()


def belongs_to(folder: Path) -> str:
    with (folder / "checkpoints" / "7-42.pt").open("rb") as file:
        return json.loads(file.readline())["belongs_to"]


def test_who_is_started_with_nohup_outlives_its_shell_but_not_dvc(monkeypatch):
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        monkeypatch.delenv("DVC_STAGE", raising=False)
        outlives = Parent()
        monkeypatch.setenv("DVC_STAGE", "train@7-42")
        of_dvc = Parent()
        assert not outlives.ended()
        assert not of_dvc.ended()
        monkeypatch.setattr(os, "getppid", lambda: 1)
        assert not outlives.ended()
        assert of_dvc.ended()
        stop = Stop(of_dvc)
        assert stop.asked()
        assert stop.signal == signal.SIGTERM
    finally:
        signal.signal(signal.SIGHUP, before)


def test_a_second_trainer_of_a_run_is_refused_in_one_line(start, quick, tokens, tmp_path, environment):
    first = start(tmp_path)
    wait_for((tmp_path / "checkpoints" / "7-42.pt").exists)
    command = [sys.executable, "-m", "stages.train", *arguments(quick, tokens, tmp_path)]
    second = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60)
    assert second.returncode == 1
    (line,) = second.stderr.splitlines()
    assert line.startswith("error: ")
    assert "7-42.lock" in line
    assert str(first.pid) in line
    assert first.poll() is None
    first.kill()
    first.wait(60)
    third = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120)
    assert third.returncode == 0, "a lock ends with its holder"


@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="the limit is one of x86 processors")
@pytest.mark.parametrize("model", ["lstm", "gpt"])
def test_a_processor_without_avx512_trains_in_fp32_and_is_not_given_bf16(
    run_config, tokens, tmp_path, environment, monkeypatch, capsys, model
):
    """oneDNN reads its limit in a fresh process; what is refused is refused before anything computes."""
    limit = {"ONEDNN_MAX_CPU_ISA": "AVX2"}
    argv = {}
    for precision in ("auto", "bf16"):
        path = tmp_path / f"{precision}.json"
        path.write_text(run_config(model, batch=16, epochs=1, context=32, precision=precision).to_json())
        argv[precision] = arguments(path, tokens, tmp_path)
    command = [sys.executable, "-m", "stages.train", *argv["auto"]]
    done = subprocess.run(command, cwd=ROOT, env=environment | limit, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert json.loads((tmp_path / "runs" / "7-42" / "cost.json").read_text())["precision"] == "fp32"

    for name, value in limit.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(sys, "argv", ["stages.train", *argv["bf16"]])
    with pytest.raises(SystemExit, match="1"):
        main()
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: params.yaml: precision: 'bf16'")
    assert "allowed" in line


def test_what_was_finished_before_is_put_back_and_not_trained(monkeypatch, capsys, quick, tokens, tmp_path):
    def run(*more: str) -> tuple[dict[str, bytes], str]:
        shutil.rmtree(tmp_path / "runs", ignore_errors=True)  # as DVC does before it runs a stage
        monkeypatch.setattr(sys, "argv", ["stages.train", *arguments(quick, tokens, tmp_path), *more])
        main()
        files = {path.name: path.read_bytes() for path in (tmp_path / "runs" / "7-42").iterdir()}
        return files, capsys.readouterr().err

    first, _ = run()
    again, said = run()
    assert again == first, "times too: they were measured"
    (line,) = said.splitlines()
    assert "put back" in line
    without, said = run("--without-weights")
    assert without == {name: content for name, content in first.items() if name != "model.safetensors"}
    anew, said = run("--no-reuse")
    assert "epoch 0" in said
    assert {name: anew[name] for name in LEARNED} == {name: first[name] for name in LEARNED}
    monkeypatch.setenv("STUDY_NO_REUSE", "1")
    assert "epoch 0" in run()[1]
    monkeypatch.delenv("STUDY_NO_REUSE")

    (entry,) = (tmp_path / "checkpoints" / "finished").iterdir()
    (entry / "history.csv").write_text("damaged")
    anew, said = run()
    assert "epoch 0" in said
    assert {name: anew[name] for name in LEARNED} == {name: first[name] for name in LEARNED}


def test_without_weights_no_model_is_written_and_none_of_another_run_stays(monkeypatch, quick, tokens, tmp_path):
    folder = tmp_path / "runs" / "7-42"
    folder.mkdir(parents=True)
    (folder / "model.safetensors").write_text("another run's")
    monkeypatch.setattr(sys, "argv", ["stages.train", *arguments(quick, tokens, tmp_path), "--without-weights"])
    main()
    assert {path.name for path in folder.iterdir()} == FILES - {"model.safetensors"}


@pytest.mark.parametrize("said", ["0", "two", "-1", ""])
def test_how_many_run_side_by_side_is_a_number(monkeypatch, capsys, config, tokens, tmp_path, said):
    monkeypatch.setenv("STUDY_SIDE_BY_SIDE", said)
    monkeypatch.setattr(sys, "argv", ["stages.train", *arguments(config, tokens, tmp_path)])
    with pytest.raises(SystemExit):
        main()
    assert "STUDY_SIDE_BY_SIDE" in capsys.readouterr().err


@pytest.mark.parametrize("seed", ["-5", "99999999999999999999999"])
def test_a_seed_that_is_none_is_refused_in_one_line(monkeypatch, capsys, config, tokens, tmp_path, seed):
    monkeypatch.setattr(sys, "argv", ["stages.train", *arguments(config, tokens, tmp_path), f"--seed={seed}"])
    with pytest.raises(SystemExit, match="1"):
        main()
    (line,) = capsys.readouterr().err.splitlines()
    assert line == f"error: --seed: {seed}; allowed: 0 to 2147483647"
