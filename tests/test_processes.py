"""One run on several processes: the same bits on any number of them, through a kill as well."""

from __future__ import annotations

import hashlib
import multiprocessing
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import psutil
import pytest
import torch

from lm.config.run import ComputeConfig, ModelConfig, OptimizerConfig, RunConfig, TrainingConfig
from lm.corpus.tokens import write_tokens
from lm.corpus.windows import PADDING, Windows
from lm.errors import StudyError
from lm.training.hardware import choose, native_bf16_cpu, settle
from lm.training.loop import Job, Trainer
from lm.training.memory_model import predict_memory
from lm.training.processes import Place, Processes
from lm.training.shards import ShardedGradient, slices
from lm.training.stopping import Stop
from stages.train import main
from tests.conftest import write_documents

ROOT = Path(__file__).parents[1]
LEARNED = ("model.safetensors", "history.csv", "metrics.json", "test_documents.csv")
PRECISION = "bf16" if native_bf16_cpu() else "fp32"
SIZES = {"gpt": {"heads": 2, "mlp": 32}, "lstm": {"lstm_hidden": 12}}
CASES = {
    "gpt": ("gpt", PRECISION, {}, {"batch": 8}),
    "lstm": ("lstm", PRECISION, {}, {"batch": 8}),
    "ragged": ("gpt", "fp32", {"dropout": 0.2}, {"batch": 6, "clip": 0.5, "label_smoothing": 0.1, "patience": 1}),
    "fewer windows than shards": ("lstm", "fp32", {"dropout": 0.2}, {"batch": 3}),
}
"""Architecture, number format, settings of the model and of its training. All have four shards."""


def config_of(case: str, epochs: int = 2, shards: int = 4) -> RunConfig:
    model, precision, of_model, of_training = CASES[case]
    return RunConfig(
        experiment="7",
        model=ModelConfig(architecture=model, layers=2, context=32, width=16, **SIZES[model], **of_model),
        optimizer=OptimizerConfig(name="adam", lr=0.01),
        training=TrainingConfig(epochs=epochs, train_sample=6, shards=shards, **of_training),
        compute=ComputeConfig(device="cpu", precision=precision, threads=1),
    )


@pytest.fixture(scope="module")
def tokens(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("tokens")
    generator = np.random.default_rng(0)
    lengths = {"train": 2_000, "validation": 501, "test": 401}
    arrays = {split: generator.zipf(1.5, length).clip(max=255).astype(np.uint16) for split, length in lengths.items()}
    write_tokens(arrays, {split: ["some words"] for split in arrays}, 256, folder, {"source": "toy"})
    write_documents(folder, 100)
    return folder


def arguments(config: RunConfig, tokens: Path, folder: Path) -> list[str]:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "config.json"
    path.write_text(config.to_json())
    return [
        f"--config={path}",
        "--seed=42",
        f"--tokens={tokens}",
        f"--out={folder / 'runs' / '7-42'}",
        f"--checkpoints={folder / 'checkpoints'}",
        "--checkpoint-seconds=0",
    ]


def learned(folder: Path) -> dict[str, str]:
    assert [path.name for path in (folder / "checkpoints").iterdir()] == ["finished"], "checkpoint and lock are gone"
    run = folder / "runs" / "7-42"
    return {name: hashlib.sha256((run / name).read_bytes()).hexdigest() for name in LEARNED}


def be_one_of_them(variables: dict[str, str], argv: list[str], log: Path) -> None:
    """What ``torchrun`` starts."""
    with log.open("ab") as file:
        os.dup2(file.fileno(), sys.stderr.fileno())
    os.environ.update(variables)
    sys.argv = ["stages.train", *argv]
    main()


@dataclass
class Together:
    processes: list[multiprocessing.Process]
    log: Path

    def end(self) -> list[int]:
        for process in self.processes:
            process.join(60)
        assert "Traceback" not in self.log.read_text()
        return [process.exitcode for process in self.processes]


@pytest.fixture(scope="module")
def start(forked_process) -> Callable[..., Together]:
    """Start the processes of a run as ``torchrun`` does, forked from one that has its imports behind it."""

    def begin(size: int, argv: list[str] | list[list[str]], log: Path) -> Together:
        """With ``size`` command lines, each process has its own."""
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        processes = []
        for rank in range(size):
            place = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": size, "MASTER_ADDR": "127.0.0.1"}
            variables = {name: str(value) for name, value in (place | {"MASTER_PORT": port}).items()}
            own = argv if isinstance(argv[0], str) else argv[rank]
            processes.append(forked_process(target=be_one_of_them, args=(variables, own, log)))
            processes[-1].start()
        return Together(processes, log)

    return begin


@pytest.mark.parametrize("case", CASES)
def test_any_number_of_processes_learns_the_same_bits(start, tokens, tmp_path, case):
    found = {}
    for size in (1, 2, 4):
        folder = tmp_path / str(size)
        together = start(size, arguments(config_of(case), tokens, folder), tmp_path / "log")
        assert together.end() == [0] * size, together.log.read_text()
        found[size] = learned(folder)
    assert found[1] == found[2] == found[4]


def wait_for(what: Callable[[], object], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def long_run() -> RunConfig:
    config = config_of("ragged", epochs=12)
    return config.model_copy(update={"training": config.training.model_copy(update={"patience": None})})


@pytest.fixture(scope="module")
def long_runs_files(start, tokens, tmp_path_factory) -> dict[str, str]:
    """What :func:`long_run` learns where nothing ends it."""
    folder = tmp_path_factory.mktemp("whole")
    assert start(1, arguments(long_run(), tokens, folder), folder / "log").end() == [0]
    return learned(folder)


@pytest.mark.parametrize(
    ("victim", "number", "ends"),
    [
        (0, signal.SIGKILL, [-signal.SIGKILL, 1]),
        (1, signal.SIGKILL, [1, -signal.SIGKILL]),
        (0, signal.SIGTERM, [128 + signal.SIGTERM] * 2),
        (1, signal.SIGUSR1, [128 + signal.SIGUSR1] * 2),
    ],
    ids=["first killed", "second killed", "first asked to stop", "second asked to stop"],
)
def test_what_ends_one_of_two_ends_both_and_one_alone_goes_on_to_the_same_bits(
    start, tokens, long_runs_files, tmp_path, victim, number, ends
):
    log, argv = tmp_path / "log", arguments(long_run(), tokens, tmp_path / "stopped")
    together = start(2, argv, log)
    wait_for(lambda: log.exists() and "epoch 1:" in log.read_text())
    os.kill(together.processes[victim].pid, number)
    assert together.end() == ends, log.read_text()
    said = [line for line in log.read_text().splitlines() if "epoch" not in line and "step" not in line]
    if number == signal.SIGKILL:
        assert [line for line in said if "one of the run's 2 processes has ended" in line] == said
        assert len(said) == victim, "the first says so, where it is there to say it"
    else:
        assert len([line for line in log.read_text().splitlines() if "stopped by" in line]) == 1, "only the first"
    assert not (tmp_path / "stopped" / "runs" / "7-42" / "model.safetensors").exists()

    assert start(1, argv, log).end() == [0], log.read_text()
    assert "going on from" in log.read_text()
    assert learned(tmp_path / "stopped") == long_runs_files


def test_a_run_that_diverges_ends_in_all_processes(start, tokens, tmp_path):
    config = config_of("gpt").model_copy(
        update={"optimizer": OptimizerConfig(name="sgd", lr=1000.0, weight_decay=1e30)}
    )
    together = start(2, arguments(config, tokens, tmp_path), tmp_path / "log")
    assert together.end() == [0, 0], together.log.read_text()
    assert together.log.read_text().count("diverged: the loss of step") == 1
    assert '"status": "diverged"' in (tmp_path / "runs" / "7-42" / "metrics.json").read_text()


def test_the_command_starts_the_others_itself_and_leaves_none(start, tokens, tmp_path, environment):
    """As under ``STUDY_PROCESSES=2 dvc repro``: asked to stop, then killed, then to its end."""
    argv = arguments(config_of("gpt", epochs=6), tokens, tmp_path / "two")
    command = [sys.executable, "-m", "stages.train", *argv]

    def begin() -> subprocess.Popen[str]:
        variables = environment | {"STUDY_PROCESSES": "2"}
        return subprocess.Popen(command, cwd=ROOT, env=variables, text=True, stderr=subprocess.PIPE)

    def end_by(number: signal.Signals) -> tuple[int, str]:
        first = begin()
        assert first.stderr.readline().startswith("7-42: ")
        (second,) = psutil.Process(first.pid).children()
        first.send_signal(number)
        _, errors = first.communicate(timeout=60)
        psutil.wait_procs([second], timeout=30)
        assert not second.is_running()
        return first.returncode, errors

    status, errors = end_by(signal.SIGINT)
    assert status == 128 + signal.SIGINT, errors
    assert errors.splitlines()[-1].startswith("7-42: stopped by SIGINT; saved ")
    assert "Traceback" not in errors
    status, errors = end_by(signal.SIGKILL)
    assert status == -signal.SIGKILL
    assert "Traceback" not in errors

    whole = begin()
    _, errors = whole.communicate(timeout=60)
    assert whole.returncode == 0, errors
    assert "going on from" in errors
    alone = arguments(config_of("gpt", epochs=6), tokens, tmp_path / "one")
    assert start(1, alone, tmp_path / "log").end() == [0]
    assert learned(tmp_path / "two") == learned(tmp_path / "one")


def test_what_has_been_trained_is_put_back_for_all(start, tokens, tmp_path):
    argv, log = arguments(config_of("gpt"), tokens, tmp_path), tmp_path / "log"
    assert start(1, argv, log).end() == [0]
    before = learned(tmp_path)
    assert start(2, argv, log).end() == [0, 0], log.read_text()
    assert log.read_text().count("trained before on this machine") == 1
    assert learned(tmp_path) == before


def test_processes_that_would_train_different_things_refuse(start, tokens, tmp_path):
    """The second has another folder of checkpoints, as on a machine that does not share the first one's disk."""
    config = config_of("gpt", epochs=50)
    argv, log = arguments(config, tokens, tmp_path), tmp_path / "log"
    stopped = start(1, argv, log)
    wait_for(lambda: log.exists() and "epoch 1:" in log.read_text())
    os.kill(stopped.processes[0].pid, signal.SIGTERM)
    stopped.end()
    elsewhere = [each for each in argv if "checkpoints=" not in each] + [f"--checkpoints={tmp_path / 'elsewhere'}"]
    together = start(2, [argv, elsewhere], log)
    assert together.end() == [1, 1]
    assert "process 1 differs from the first" in log.read_text()


@pytest.mark.parametrize(
    ("variables", "shards", "named"),
    [
        ({"STUDY_PROCESSES": "2"}, 1, ["STUDY_PROCESSES: 2", "training.shards", "is 1"]),
        ({"STUDY_PROCESSES": "3"}, 4, ["STUDY_PROCESSES: 3", "power of two"]),
        ({"STUDY_PROCESSES": "0"}, 4, ["STUDY_PROCESSES: 0", "power of two"]),
        ({"STUDY_PROCESSES": "two"}, 4, ["STUDY_PROCESSES: 'two'", "whole number"]),
        ({"WORLD_SIZE": "8", "RANK": "0", "LOCAL_RANK": "0"}, 4, ["WORLD_SIZE: 8", "is 4"]),
        ({"WORLD_SIZE": "2", "RANK": "5", "LOCAL_RANK": "0"}, 4, ["RANK: 5", "below 2"]),
        ({"STUDY_PROCESS": "1"}, 4, ["STUDY_PROCESS: 1", "below 1"]),
    ],
)
def test_processes_that_a_run_cannot_have(monkeypatch, variables, shards, named):
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(StudyError) as refused:
        Place.of_environment(shards)
    assert [word for word in named if word not in str(refused.value)] == []


def test_each_process_of_a_machine_takes_a_gpu_of_its_own_or_says_that_there_are_too_few(monkeypatch):
    taken: list[int] = []
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "set_device", taken.append)
    gpu = torch.device("cuda")
    for rank in range(2):
        Place(rank=rank + 2, size=4, local=rank, torchrun=True).take_device(gpu)
    Place().take_device(gpu)
    assert taken == [0, 1]
    with pytest.raises(StudyError, match="a GPU each; this machine has 2"):
        Place(rank=2, size=4, local=2).take_device(gpu)


def windows() -> Windows:
    return Windows(np.arange(8 * 19 + 4).astype(np.uint16) % 50, 8)


@pytest.mark.parametrize("count", [20, 7, 4, 3, 1])
def test_slices_are_the_batch_in_order(count):
    whole = windows().batch(np.arange(20)[-count:])  # the last window is padded
    parts = slices(whole, 4)
    assert len(parts) == 4
    assert torch.equal(torch.cat([part.inputs_BT for part in parts]), whole.inputs_BT)
    assert torch.equal(torch.cat([part.targets_BT for part in parts]), whole.targets_BT)
    assert sum(part.predicted for part in parts) == whole.predicted < whole.targets_BT.numel()
    assert [part.predicted for part in parts] == [int((part.targets_BT != PADDING).sum()) for part in parts]
    sizes = [len(part.inputs_BT) for part in parts]
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[0] - sizes[-1] <= 1


def test_gradients_are_added_two_by_two():
    """Numbers whose sum depends on the order: (1 + tiny) + (-1 + tiny) is 0 here, from left to right it is tiny."""
    tiny = 2.0**-25
    parameter = torch.nn.Parameter(torch.zeros(1))
    numbers = [1.0, tiny, -1.0, tiny]

    def backward(_part, shard):
        parameter.grad = torch.tensor([numbers[shard]])
        return torch.tensor(1.0, dtype=torch.float64)

    nll = ShardedGradient([parameter], 4, Processes()).form(windows().batch(np.arange(8)), backward)
    left_to_right = torch.tensor(numbers[:1])
    for number in numbers[1:]:
        left_to_right += number
    first, second = torch.tensor(numbers[0]) + numbers[1], torch.tensor(numbers[2]) + numbers[3]
    assert parameter.grad.item() == (first + second).item() != left_to_right.item()
    assert nll.item() == 4.0


@pytest.mark.parametrize("case", CASES)
def test_shards_learn_what_the_whole_batch_learns_but_for_rounding(case, token_arrays):
    splits = {split: Windows(tokens, 32) for split, tokens in token_arrays.items()}
    trained, memory = {}, {}
    for shards in (1, 4):
        config = config_of(case, epochs=1, shards=shards)
        config = config.model_copy(
            update={
                "model": config.model.model_copy(update={"dropout": 0.0}),
                "compute": config.compute.model_copy(update={"precision": "fp32"}),
            }
        )
        job = Job(config=config, seed=42, splits=splits, vocabulary=50, compute=settle(choose(config.compute)))
        trainer = Trainer(job)
        trainer.run()
        trained[shards] = trainer
        memory[shards] = predict_memory(config, trainer.model, 50, "cpu", "fp32")
    (whole,), (sharded,) = trained[1].position.history, trained[4].position.history
    assert sharded.train_loss == pytest.approx(whole.train_loss, rel=1e-5)
    assert sharded.validation_loss == pytest.approx(whole.validation_loss, rel=1e-4)
    assert memory[4]["model_activations_mb"] < memory[1]["model_activations_mb"]
    assert memory[4]["model_gradients_mb"] == 4 * memory[1]["model_gradients_mb"], "a slice's, flat, two that wait"


def test_a_request_to_stop_that_comes_between_two_looks_waits_for_the_next():
    stop = Stop()
    assert not stop.asked()
    stop.ask(signal.SIGTERM)
    assert stop.signal is None, "the other processes know nothing of it yet"
    assert stop.asked()
    assert stop.signal == signal.SIGTERM
    elsewhere = Stop(agree=lambda number: max(number, signal.SIGUSR1))
    assert elsewhere.asked()
    assert elsewhere.signal == signal.SIGUSR1
