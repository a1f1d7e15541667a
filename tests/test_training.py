"""The loop in process, on tiny data: the same bits again, through any stop, and a plain loop's numbers."""

from __future__ import annotations

import csv
import errno
import itertools
import json
import math
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from safetensors import SafetensorError
from safetensors.torch import load

from lm.corpus.windows import PADDING, epoch_order, open_windows, read_card
from lm.errors import StudyError
from lm.models.build import build_model, step_operations
from lm.training import documents, history, loop, outputs
from lm.training.clock import Spent, StepClock
from lm.training.dropout import cudnn_draws, seed_dropout
from lm.training.evaluation import mean_loss, token_nll
from lm.training.hardware import choose, native_bf16_cpu, settle
from lm.training.history import HistoryFile
from lm.training.loop import Job, Trainer
from lm.training.loss import token_losses
from lm.training.memory import MemoryMeter
from lm.training.optimizers import build_optimizer
from lm.training.outputs import write_run
from lm.training.progress import Progress
from lm.training.saver import Saver
from lm.training.stopping import Interrupted

VOCABULARY = 50
LEARNED = ("model.safetensors", "history.csv", "metrics.json", "test_documents.csv")
FILES = {*LEARNED, "timing.csv", "cost.json"}
REMEDIES = {"dropout": 0.2, "schedule": "plateau", "patience": 2, "clip": 0.5, "warmup": 0.1, "label_smoothing": 0.1}

needs_bf16 = pytest.mark.skipif(not native_bf16_cpu(), reason="this processor has no bf16")
PRECISIONS = ["fp32", pytest.param("bf16", marks=needs_bf16)]


@dataclass
class Prepared:
    """A trainer with what looks on, as the stage puts them together."""

    trainer: Trainer
    meter: MemoryMeter
    saver: Saver
    folder: Path
    name: str

    def run(self) -> None:
        message = self.saver.restore(self.trainer)
        self.trainer.run([self.meter, HistoryFile(self.folder), Progress(self.name, message), self.saver])


@pytest.fixture
def train(tmp_path, token_folder):
    """Make a trainer of the run ``name``; ``done`` of it trains to the end and writes the run."""

    def make(config, name="run", *, seed=42, checkpoint=None, belongs_to="this", every_seconds=1e9) -> Prepared:
        card = read_card(token_folder)
        splits = {split: open_windows(token_folder, split, config.model.context, card) for split in card["splits"]}
        compute = settle(choose(config.compute))
        meter = MemoryMeter(compute.device)
        trainer = Trainer(Job(config=config, seed=seed, splits=splits, vocabulary=VOCABULARY, compute=compute))
        path = checkpoint or tmp_path / "checkpoints" / f"{name}.pt"
        saver = Saver(path=path, belongs_to=belongs_to, every_seconds=every_seconds, meter=meter)
        return Prepared(trainer, meter, saver, tmp_path / "runs" / name, name)

    return make


@pytest.fixture
def done(token_folder):
    def finish(prepared: Prepared) -> dict[str, bytes]:
        prepared.run()
        card = read_card(token_folder)
        starts = documents.open_starts(token_folder, "test", card)
        write_run(prepared.trainer, prepared.meter, card, starts, prepared.folder)
        return {path.name: path.read_bytes() for path in prepared.folder.iterdir()}

    return finish


def learned(files: dict[str, bytes]) -> dict[str, bytes]:
    return {name: files[name] for name in LEARNED}


@pytest.mark.parametrize("settings", [{}, REMEDIES], ids=["default", "remedies"])
@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("model", ["lstm", "gpt"])
def test_the_same_bits_twice(run_config, train, done, model, precision, settings):
    config = run_config(model, precision=precision, layers=2, **settings)
    first = done(train(config, "a"))
    prepared = train(config, "b")
    torch.rand(7)  # whatever happens before in this process
    second = done(prepared)
    other = done(train(config, "c", seed=43))
    assert set(first) == FILES
    assert learned(first) == learned(second)
    assert all(first[name] != other[name] for name in LEARNED)


def stop_at(trainer: Trainer, step: int, number: signal.Signals) -> None:
    """Let the process be signalled while it takes that step."""
    plain, count = trainer._step, 0

    def step_and_signal(batch):
        nonlocal count
        count += 1
        if count == step:
            os.kill(os.getpid(), number)
        return plain(batch)

    trainer._step = step_and_signal


@pytest.mark.parametrize(
    ("model", "optimizer", "settings"),
    [("gpt", "adam", {}), ("gpt", "momentum", {}), ("gpt", "adam", REMEDIES), ("lstm", "momentum", REMEDIES)],
    ids=["adam", "momentum", "gpt with remedies", "lstm with remedies"],
)
@pytest.mark.parametrize(
    ("step", "number"),
    [(1, signal.SIGTERM), (13, signal.SIGINT), (32, signal.SIGUSR1), (33, signal.SIGUSR2), (64, signal.SIGTERM)],
)
def test_a_stopped_run_ends_with_the_same_bits(
    run_config, train, done, capsys, model, optimizer, settings, step, number
):
    """In the first step, inside an epoch, in an epoch's last step, in the next one's first, in the very last."""
    config = run_config(model, optimizer, layers=2, **settings)
    whole = done(train(config, "whole"))

    handler = signal.getsignal(number)
    stopped = train(config)
    assert stopped.trainer.steps_an_epoch == 32
    stop_at(stopped.trainer, step, number)
    with pytest.raises(Interrupted) as interruption:
        stopped.run()
    assert interruption.value.signal_number == number
    assert number.name in str(interruption.value)
    assert signal.getsignal(number) == handler
    assert stopped.trainer.position.epoch * 32 + stopped.trainer.position.step == step

    capsys.readouterr()
    resumed = train(config)
    files = done(resumed)
    assert "going on from" in capsys.readouterr().err
    assert resumed.trainer.position.resumed == 1
    assert learned(files) == learned(whole)


def test_a_rate_that_a_plateau_has_lowered_stays_low_after_a_stop(run_config, train, done):
    config = run_config(lr=0.03, epochs=12, schedule="plateau", patience=8, dropout=0.1)
    whole = done(train(config, "whole"))
    stopped = train(config)
    stop_at(stopped.trainer, 10 * 32 + 5, signal.SIGTERM)
    with pytest.raises(Interrupted):
        stopped.run()
    assert stopped.trainer.schedule.factor(0) < 1.0, "the test needs a loss that has stalled"
    assert learned(done(train(config))) == learned(whole)


def test_every_checkpoint_of_a_run_leads_to_the_same_bits(run_config, train, done, tmp_path):
    config = run_config("lstm", epochs=1, layers=2, **REMEDIES)
    kept = []
    whole = train(config, "whole", every_seconds=0.0)
    save = whole.saver._save

    def save_and_keep(trainer):
        save(trainer)
        kept.append(Path(shutil.copy(whole.saver.path, tmp_path / f"{len(kept)}.pt")))

    whole.saver._save = save_and_keep
    expected = learned(done(whole))
    assert len(kept) >= 3
    for number, checkpoint in enumerate(kept):
        assert learned(done(train(config, f"from {number}", checkpoint=checkpoint))) == expected


def test_a_checkpoint_that_does_not_fit_is_named_and_passed_over(run_config, train, done, capsys):
    config = run_config(epochs=1)
    expected = learned(done(train(config, "whole")))
    stopped = train(config, belongs_to="older code")
    stop_at(stopped.trainer, 5, signal.SIGTERM)
    with pytest.raises(Interrupted):
        stopped.run()
    files = done(train(config))
    errors = capsys.readouterr().err
    assert "passing over" in errors
    assert "run.pt" in errors
    assert learned(files) == expected
    assert json.loads(files["cost.json"])["resumed"] == 0


@pytest.mark.parametrize("model", ["lstm", "gpt"])
def test_a_diverged_run_says_so_and_its_files_are_complete(run_config, train, done, capsys, model):
    files = done(train(run_config(model, "sgd", lr=1e3, weight_decay=1e30)))
    metrics = json.loads(files["metrics.json"])
    assert set(files) == FILES
    assert metrics["status"] == "diverged"
    assert metrics["diverged_step"] >= 1
    assert metrics["epochs_done"] == 0
    assert metrics["best_epoch"] is metrics["validation_perplexity"] is metrics["test_perplexity"] is None
    assert f"step {metrics['diverged_step']}" in capsys.readouterr().err
    assert len(files["history.csv"].splitlines()) == 1


def test_a_run_that_diverges_later_keeps_its_best_epoch(run_config, train, done):
    prepared = train(run_config(epochs=3))
    plain, count = prepared.trainer._step, 0

    def step(batch):
        nonlocal count
        count += 1
        nll = plain(batch)
        return nll * math.nan if count == 32 + 7 else nll

    prepared.trainer._step = step
    metrics = json.loads(done(prepared)["metrics.json"])
    assert (metrics["status"], metrics["diverged_step"], metrics["epochs_done"]) == ("diverged", 32 + 6, 1)
    assert metrics["best_epoch"] == 0
    assert math.isfinite(metrics["test_perplexity"])


OPTIMIZERS = {
    "adam": lambda p: torch.optim.Adam(p, lr=1e-3),
    "adamw": lambda p: torch.optim.AdamW(p, lr=1e-3, weight_decay=5e-4),
    "sgd": lambda p: torch.optim.SGD(p, lr=1e-3, weight_decay=5e-4),
    "momentum": lambda p: torch.optim.SGD(p, lr=1e-3, weight_decay=5e-4, momentum=0.9),
}


def studys(run_config, model: str, optimizer: str, **more):
    return run_config(model, optimizer, lr=1e-3, weight_decay=0.0 if optimizer == "adam" else 5e-4, **more)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_optimizers_step_as_pytorchs(run_config, optimizer):
    """Five steps on the same gradients, one parameter frozen."""
    torch.manual_seed(0)
    ours = [
        torch.nn.Parameter(torch.randn(5, 3)),
        torch.nn.Parameter(torch.randn(4)),
        torch.nn.Parameter(torch.ones(2)),
    ]
    ours[2].requires_grad_(False)
    theirs = [torch.nn.Parameter(p.detach().clone()) for p in ours[:2]]
    mine = build_optimizer(studys(run_config, "lstm", optimizer).optimizer, ours)
    other = OPTIMIZERS[optimizer](theirs)
    assert len(mine.param_groups) == 1
    for key, value in other.param_groups[0].items():
        if key not in ("params", "fused", "foreach"):
            assert mine.param_groups[0][key] == value, key
    for _ in range(5):
        for p, q in zip(ours, theirs, strict=False):
            q.grad = torch.randn_like(q)
            p.grad = q.grad.clone()
        mine.step()
        other.step()
    for p, q in zip(ours, theirs, strict=False):
        torch.testing.assert_close(p, q, atol=1e-7, rtol=1e-6)
    assert torch.equal(ours[2], torch.ones(2))


def momentum_steps(optimizer, gradients) -> bytes:
    """The parameter's bits after the steps, by a gradient scaler as fp16 has it."""
    (parameter,) = optimizer.param_groups[0]["params"]
    scaler = torch.amp.GradScaler("cpu", init_scale=4.0)
    for gradient in gradients:
        scaler.scale(torch.zeros(()))  # it sets itself up
        parameter.grad = gradient * scaler.get_scale()
        scaler.step(optimizer)
        scaler.update()
    return parameter.detach().numpy().tobytes()


@pytest.mark.parametrize("weight_decay", [0.0, 5e-4])
@pytest.mark.parametrize("skipped", [0, 1, 3])
def test_momentum_goes_on_from_zero_where_the_first_steps_are_skipped(run_config, monkeypatch, skipped, weight_decay):
    """To the bits of PyTorch's own first step, and of no step before it; zeros of either sign among the numbers.

    What is not written is filled with NaN, as PyTorch can do.
    """
    torch.manual_seed(0)
    torch.use_deterministic_algorithms(True)
    monkeypatch.setattr(torch.utils.deterministic, "fill_uninitialized_memory", True)
    start, gradients = torch.randn(100), [torch.randn(100) for _ in range(4)]
    start[:4] = torch.tensor([0.0, 0.0, 1.0, 1.0])
    gradients[0][:4] = torch.tensor([0.0, -0.0, -0.0, 0.0])
    skips = [torch.full((100,), math.inf)] * skipped
    entry = run_config("lstm", "momentum", lr=0.1, weight_decay=weight_decay).optimizer
    ours = build_optimizer(entry, [torch.nn.Parameter(start.clone())])
    pytorchs = torch.optim.SGD(
        [torch.nn.Parameter(start.clone())], lr=0.1, momentum=0.9, weight_decay=weight_decay, fused=True
    )
    assert momentum_steps(ours, skips + gradients) == momentum_steps(pytorchs, gradients)


def plain_loop(config, seed: int, splits, optimizer: str):
    """The course's way: all logits, log-softmax and masked NLL, PyTorch's optimizer; a row of losses an epoch."""

    def total_nll(model, batch):
        log_probabilities = torch.log_softmax(model(batch.inputs_BT) @ model.embedding.weight.T, -1)
        kept = batch.targets_BT != PADDING
        return -log_probabilities[kept].gather(1, batch.targets_BT[kept][:, None]).sum()

    torch.manual_seed(seed)
    model = build_model(config.model, VOCABULARY)
    step = OPTIMIZERS[optimizer](model.parameters())
    train, rows = splits["train"], []
    for epoch in range(config.training.epochs):
        order, nll = epoch_order(len(train), seed, epoch), 0.0
        for start in range(0, len(train), config.training.batch):
            batch = train.batch(order[start : start + config.training.batch])
            step.zero_grad()
            loss = total_nll(model, batch)
            (loss / (batch.targets_BT != PADDING).sum()).backward()
            step.step()
            nll += loss.item()
        with torch.no_grad():
            windows = splits["validation"]
            validation = total_nll(model, windows.batch(np.arange(len(windows)))).item()
        rows.append((nll / (len(train.tokens) - 1), validation / (len(windows.tokens) - 1)))
    with torch.no_grad():
        windows = splits["test"]
        test = total_nll(model, windows.batch(np.arange(len(windows)))).item() / (len(windows.tokens) - 1)
    return rows, test


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("model", ["lstm", "gpt"])
def test_a_run_learns_what_a_plain_loop_learns(run_config, train, done, splits, model, optimizer):
    config = studys(run_config, model, optimizer)
    rows, test = plain_loop(config, 42, splits, optimizer)
    files = done(train(config))
    history = list(csv.DictReader(files["history.csv"].decode().splitlines()))
    found = [(float(row["train_loss"]), float(row["validation_loss"])) for row in history]
    assert np.array(found) == pytest.approx(np.array(rows), rel=1e-5)
    metrics = json.loads(files["metrics.json"])
    assert metrics["last_test_perplexity"] == pytest.approx(math.exp(test), rel=1e-5)


def test_files_agree_with_each_other_and_with_the_best_weights(run_config, train, done, splits, token_folder):
    """A learning rate at which the last epoch is not the best one."""
    config = run_config("gpt", lr=0.03, epochs=12)
    prepared = train(config)
    files = done(prepared)
    metrics, cost = json.loads(files["metrics.json"]), json.loads(files["cost.json"])
    history = list(csv.DictReader(files["history.csv"].decode().splitlines()))
    losses = [float(row["validation_loss"]) for row in history]
    best = min(range(12), key=losses.__getitem__)
    assert [int(row["epoch"]) for row in history] == list(range(12))
    assert best < 11, "the test needs a best epoch that is not the last"
    assert metrics["best_epoch"] == best
    assert (metrics["status"], metrics["diverged_step"], metrics["epochs_done"]) == ("completed", None, 12)
    assert metrics["validation_loss"] == losses[best]
    assert metrics["last_validation_perplexity"] == pytest.approx(math.exp(losses[-1]))
    for row in history:
        for name in ("train", "train_eval", "validation"):
            assert float(row[f"{name}_perplexity"]) == pytest.approx(math.exp(float(row[f"{name}_loss"])))

    model = build_model(config.model, VOCABULARY)
    model.load_state_dict(load(files["model.safetensors"]))
    for split in ("validation", "test"):
        windows, counts = splits[split], read_card(token_folder)["splits"][split]
        loss = mean_loss(model, windows, np.arange(len(windows)), prepared.trainer.compute)
        assert metrics[f"{split}_loss"] == pytest.approx(loss, rel=1e-6)
        assert metrics[f"{split}_perplexity"] == pytest.approx(math.exp(loss), rel=1e-6)
        nll = loss * counts["predicted_tokens"]
        assert metrics[f"{split}_bits_per_byte"] == pytest.approx(nll / math.log(2) / counts["bytes"], rel=1e-6)
        assert metrics[f"{split}_word_perplexity"] == pytest.approx(math.exp(nll / counts["words"]), rel=1e-6)

    sample = mean_loss(model, splits["train"], prepared.trainer.sample, prepared.trainer.compute)
    assert float(history[best]["train_eval_loss"]) == pytest.approx(sample, rel=1e-6)

    operations = step_operations(config.model, VOCABULARY, splits["train"].predicted, False)
    assert cost["operations_per_epoch"] == sum(operations.values())
    timing = list(csv.DictReader(files["timing.csv"].decode().splitlines()))
    assert cost["train_seconds"] == pytest.approx(sum(float(row["train_seconds"]) for row in timing))
    assert cost["validation_seconds"] == pytest.approx(sum(float(row["validation_seconds"]) for row in timing))
    assert (cost["device"], cost["precision"], cost["threads"]) == ("cpu", "fp32", 1)


def test_nothing_measured_is_among_the_learned(run_config, train, done):
    files = done(train(run_config(epochs=1)))
    text = (files["metrics.json"] + files["history.csv"]).decode()
    assert not [word for word in ("seconds", "memory", "hardware", "revision", "tokens_per") if word in text]


def test_a_run_that_cannot_be_written_leaves_nothing_half(run_config, train, done, tmp_path, monkeypatch):
    expected = done(train(run_config(epochs=1)))

    def fail(*_arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(outputs, "_write_json", fail)
    with pytest.raises(OSError, match="No space"):
        done(train(run_config("gpt", epochs=1), checkpoint=tmp_path / "other.pt"))
    assert {path.name: path.read_bytes() for path in (tmp_path / "runs" / "run").iterdir()} == expected
    assert [path.name for path in (tmp_path / "runs").iterdir()] == ["run"]


def test_a_full_disk_is_named_by_the_file_that_found_it_full(run_config, train, done, tmp_path, monkeypatch):
    """By none of them does the system say which one it is."""

    def full(*_arguments, **_options):
        raise SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")

    monkeypatch.setattr(outputs, "save_file", full)
    with pytest.raises(OSError, match="No space left") as weights:
        done(train(run_config(epochs=1)))
    assert (weights.value.errno, weights.value.filename) == (errno.ENOSPC, str(tmp_path / "runs/run/model.safetensors"))

    def no_text(*_arguments, **_options):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_text", no_text)
    with pytest.raises(OSError, match="No space left") as history:
        done(train(run_config(epochs=1)))
    assert history.value.filename == str(tmp_path / "runs/run/history.csv")


def test_the_mean_over_any_windows_is_exact(splits, run_config):
    """Windows scored together or one by one, the padded one among them: the same total over the same count."""
    torch.manual_seed(0)
    config = run_config()
    model, windows = build_model(config.model, VOCABULARY), splits["validation"]
    compute = settle(choose(config.compute))
    total = 0.0
    for index in range(len(windows)):
        one = np.array([index])
        total += mean_loss(model, windows, one, compute) * windows.batch(one).predicted
    assert windows.batch(np.array([len(windows) - 1])).predicted < windows.context
    whole = mean_loss(model, windows, np.arange(len(windows)), compute)
    assert whole == pytest.approx(total / (len(windows.tokens) - 1), rel=1e-6)


def test_all_models_of_a_seed_see_the_same_batches(run_config, train):
    def batches(config):
        trainer, seen = train(config, config.model.architecture).trainer, []
        plain = trainer._step
        trainer._step = lambda batch: (seen.append(batch.inputs_BT.clone()), plain(batch))[1]
        trainer.run()
        return seen

    lstm, gpt = batches(run_config("lstm", "sgd", layers=2)), batches(run_config("gpt", "adam"))
    assert len(lstm) == len(gpt) == 64
    assert all(map(torch.equal, lstm, gpt))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("precision", ["fp32", "tf32", "fp16", "auto"])
@pytest.mark.parametrize("model", ["lstm", "gpt"])
def test_a_gpu_learns_what_the_cpu_learns(run_config, train, done, model, precision):
    if precision == "tf32" and torch.cuda.get_device_capability() < (8, 0):
        pytest.skip("this GPU has no tf32")
    config = run_config(model, precision=precision)
    on_gpu = config.model_copy(update={"compute": config.compute.model_copy(update={"device": "cuda"})})
    on_cpu = config.model_copy(update={"compute": config.compute.model_copy(update={"precision": "fp32"})})
    first, second = (done(train(on_gpu, name)) for name in "ab")
    plain = json.loads(done(train(on_cpu, "c"))["metrics.json"])
    assert learned(first) == learned(second)
    tolerance = 1e-4 if precision == "fp32" else 3e-2
    found = json.loads(first["metrics.json"])
    assert found["validation_loss"] == pytest.approx(plain["validation_loss"], rel=tolerance)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize(("model", "optimizer", "precision"), [("lstm", "momentum", "fp16"), ("gpt", "adam", "fp32")])
def test_a_run_that_is_stopped_on_a_gpu_ends_with_the_same_bits(run_config, train, done, model, optimizer, precision):
    config = run_config(model, optimizer, precision=precision, layers=2, **REMEDIES)
    config = config.model_copy(update={"compute": config.compute.model_copy(update={"device": "cuda"})})
    whole = done(train(config, "whole"))
    stopped = train(config)
    stop_at(stopped.trainer, 13, signal.SIGTERM)
    with pytest.raises(Interrupted):
        stopped.run()
    assert learned(done(train(config))) == learned(whole)


class StateOfItsOwn:
    """Dropout as cuDNN draws it: from a state that is drawn anew when PyTorch's generator was seeded or set."""

    def __init__(self, monkeypatch) -> None:
        self.generator: torch.Generator | None = None
        for name in ("manual_seed", "set_rng_state"):
            monkeypatch.setattr(torch, name, self._forgetting(getattr(torch, name)))

    def _forgetting(self, plain):
        def call(argument):
            self.generator = None
            return plain(argument)

        return call

    def put_into(self, prepared: Prepared) -> Prepared:
        model = prepared.trainer.model
        recur, model.lstm.dropout = model._recur, 0.0

        def dropping(inputs_BTD, state=None):
            outputs_BTH, state = recur(inputs_BTD, state)
            return (outputs_BTH * self._mask(outputs_BTH.shape) if model.training else outputs_BTH), state

        model._recur = dropping
        return prepared

    def _mask(self, shape):
        if self.generator is None:
            self.generator = torch.Generator()
            self.generator.manual_seed(int(torch.randint(2**31, ())))
        return torch.rand(shape, generator=self.generator) > 0.2


@pytest.mark.parametrize("seeded", [True, False])
def test_dropout_of_a_state_that_no_checkpoint_holds_is_seeded_at_each_step(
    run_config, train, done, monkeypatch, seeded
):
    drawn = StateOfItsOwn(monkeypatch)
    monkeypatch.setattr(loop, "cudnn_draws", lambda model, _: seeded and cudnn_draws(model, torch.device("cuda")))
    config = run_config("lstm", layers=2, dropout=0.2)
    whole = done(drawn.put_into(train(config, "whole")))
    stopped = drawn.put_into(train(config))
    stop_at(stopped.trainer, 13, signal.SIGTERM)
    with pytest.raises(Interrupted):
        stopped.run()
    resumed = done(drawn.put_into(train(config)))
    if seeded:
        assert learned(resumed) == learned(whole)
        assert drawn.generator is not None
    else:
        assert resumed["model.safetensors"] != whole["model.safetensors"], "else the test tells nothing"


def test_dropout_of_a_slice_is_that_of_its_seed_its_step_and_its_place():
    def drawn(seed: int, step: int, shard: int) -> tuple[float, ...]:
        seed_dropout(seed, step, shard)
        return tuple(torch.rand(4).tolist())

    with torch.random.fork_rng(devices=[]):
        assert len({drawn(*place) for place in itertools.product((42, 43), (0, 1), (0, 1))}) == 8
        assert drawn(42, 1, 0) == drawn(42, 1, 0)


@pytest.mark.parametrize(
    ("model", "layers", "dropout", "device", "draws"),
    [
        ("lstm", 2, 0.1, "cuda", True),
        ("lstm", 2, 0.1, "cpu", False),
        ("lstm", 2, 0.0, "cuda", False),
        ("lstm", 1, 0.1, "cuda", False),
        ("gpt", 2, 0.1, "cuda", False),
    ],
)
def test_cudnn_draws_dropout_between_recurrent_layers_and_nowhere_else(
    run_config, model, layers, dropout, device, draws
):
    built = build_model(run_config(model, layers=layers, dropout=dropout).model, VOCABULARY)
    assert cudnn_draws(built, torch.device(device)) is draws


def test_patience_ends_a_run_and_what_was_not_trained_is_not_in_its_history(run_config, train, done):
    """At a rate at which later epochs are worse; and a checkpoint of the end trains no further."""
    config = run_config("gpt", lr=0.03, epochs=40, patience=2)
    stopped = train(config)
    files = done(stopped)
    metrics, rows = json.loads(files["metrics.json"]), files["history.csv"].decode().splitlines()[1:]
    assert metrics["stopped_early"] is True
    assert metrics["status"] == "completed"
    assert metrics["epochs_done"] == len(rows) == metrics["best_epoch"] + 3 < 40
    assert len(files["timing.csv"].splitlines()) == len(rows) + 1

    without = json.loads(done(train(config.model_copy(update=shorter(config, len(rows))), "without"))["metrics.json"])
    assert without["stopped_early"] is False
    assert {**without, "stopped_early": True} == metrics

    again = train(config)
    again.trainer._step = None
    assert learned(done(again)) == learned(files)


def shorter(config, epochs: int) -> dict:
    return {"training": config.training.model_copy(update={"epochs": epochs, "patience": None})}


def test_the_history_is_there_while_a_run_trains_and_comes_back_when_it_is_resumed(run_config, train, done):
    config, seen = run_config(epochs=3), []
    whole = done(train(config, "whole"))["history.csv"].splitlines()
    stopped = train(config)
    stopped.folder.mkdir(parents=True)
    (stopped.folder / "history.csv").write_text("of an older run")
    step, count = stopped.trainer._step, 0

    def step_and_look(batch):
        nonlocal count
        count += 1
        path = stopped.folder / "history.csv"
        seen.append(path.read_bytes().splitlines() if path.exists() else [])
        assert [each.name for each in stopped.folder.parent.iterdir() if each.name.startswith(".")] == []
        if count == 70:
            os.kill(os.getpid(), signal.SIGTERM)
        return step(batch)

    stopped.trainer._step = step_and_look
    with pytest.raises(Interrupted):
        stopped.run()
    assert [len(rows) for rows in seen] == [0] * 32 + [2] * 32 + [3] * 6
    assert seen[-1] == whole[:3]

    (stopped.folder / "history.csv").unlink()  # as DVC does before it runs a stage
    resumed = train(config)
    resumed.trainer._step = look_at(resumed, seen)
    assert done(resumed)["history.csv"].splitlines() == whole
    assert seen[70] == whole[:3]


def look_at(prepared: Prepared, seen: list):
    plain = prepared.trainer._step

    def step(batch):
        seen.append((prepared.folder / "history.csv").read_bytes().splitlines())
        return plain(batch)

    return step


def test_a_history_that_cannot_be_written_leaves_the_last_one(run_config, train, monkeypatch):
    prepared = train(run_config(epochs=2))
    plain, written = history.as_csv, []

    def once(*arguments):
        if written:
            raise OSError(28, "No space left on device")
        written.append(plain(*arguments))
        return written[0]

    monkeypatch.setattr(history, "as_csv", once)
    with pytest.raises(OSError, match="No space"):
        prepared.run()
    assert (prepared.folder / "history.csv").read_text() == written[0]
    assert [path.name for path in prepared.folder.parent.iterdir()] == ["run"]


def test_smoothing_schedule_and_clipping_are_what_a_plain_loop_does(run_config, train, done, splits):
    """The objective is PyTorch's smoothed one, the loss that is reported is not."""
    config = run_config(lr=1e-2, label_smoothing=0.2, clip=0.05, warmup=0.25, schedule="cosine")
    total = 64
    torch.manual_seed(42)
    model = build_model(config.model, VOCABULARY)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    step, rows, windows = 0, [], splits["train"]
    for epoch in range(2):
        order, nll = epoch_order(len(windows), 42, epoch), 0.0
        for start in range(0, len(windows), 4):
            batch = windows.batch(order[start : start + 4])
            logits, targets = (
                (model(batch.inputs_BT) @ model.embedding.weight.T).flatten(0, 1),
                batch.targets_BT.flatten(),
            )
            warm = total // 4
            factor = (step + 1) / warm if step < warm else (1 + math.cos(math.pi * (step - warm) / (total - warm))) / 2
            optimizer.param_groups[0]["lr"] = 1e-2 * factor
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(logits, targets, ignore_index=PADDING, label_smoothing=0.2).backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 0.05)
            optimizer.step()
            nll += torch.nn.functional.cross_entropy(logits, targets, ignore_index=PADDING, reduction="sum").item()
            step += 1
        rows.append(nll / windows.predicted)
    found = csv.DictReader(done(train(config))["history.csv"].decode().splitlines())
    assert [float(row["train_loss"]) for row in found] == pytest.approx(rows, rel=1e-4)


def test_a_plateau_lowers_the_rate_of_the_next_epoch(run_config, train):
    trainer = train(run_config("gpt", lr=0.03, epochs=12, schedule="plateau")).trainer
    rates, plain = {}, trainer._step

    def step(batch):
        nll = plain(batch)
        rates[trainer.position.epoch] = trainer.optimizer.param_groups[0]["lr"]
        return nll

    trainer._step = step
    trainer.run()
    expected, lowest = 0.03, math.inf
    for epoch in trainer.position.history:
        assert rates[epoch.epoch] == expected
        expected *= 1.0 if epoch.validation_loss < lowest else 0.5
        lowest = min(lowest, epoch.validation_loss)
    assert expected < 0.03, "the test needs a loss that stalls"


def test_only_whole_batches_are_compiled_and_in_one_shape(run_config, train, monkeypatch):
    """A graph of any shape depends on the shapes that it has met, and a resumed run has met others."""
    seen = []

    def compile_(model, *, dynamic):
        assert dynamic is False
        return lambda inputs: (seen.append(tuple(inputs.shape)), model(inputs))[1]

    monkeypatch.setattr(torch, "compile", compile_)
    train(run_config(compiled=True)).trainer.run()
    assert seen == [(4, 8)] * 62, "the last of each epoch's 32 batches has two windows"


def test_each_documents_loss_is_that_of_its_tokens(run_config, train, done, splits, token_folder):
    prepared = train(run_config(epochs=1))
    files = done(prepared)
    rows = list(csv.DictReader(files["test_documents.csv"].decode().splitlines()))
    starts = documents.open_starts(token_folder, "test", read_card(token_folder))
    assert [int(row["document"]) for row in rows] == list(range(len(starts)))
    model, windows = prepared.trainer.model.eval(), splits["test"]
    with torch.no_grad():
        batch = windows.batch(windows.indices)
        nll = token_losses(model(batch.inputs_BT), model.embedding.weight, batch).numpy()
    bounds = [*starts[1:], len(windows.tokens)]
    for row, start, end in zip(rows, starts, bounds, strict=True):
        targets = range(max(start, 1), end)
        assert int(row["predicted_tokens"]) == len(targets)
        assert float(row["nll"]) == pytest.approx(sum(nll[t - 1] for t in targets), rel=1e-5)
    metrics = json.loads(files["metrics.json"])
    total = sum(float(row["nll"]) for row in rows)
    assert total / windows.predicted == pytest.approx(metrics["test_loss"], rel=1e-9)


@pytest.mark.parametrize("spoil", ["missing", "other", "damaged"])
def test_documents_that_do_not_fit_are_one_line(token_folder, tmp_path, spoil):
    folder = shutil.copytree(token_folder, tmp_path / "tokens")
    path = folder / "test_documents.npy"
    if spoil == "missing":
        path.unlink()
    elif spoil == "other":
        np.save(path, np.array([0, 3]))
    else:
        path.write_bytes(b"nothing")
    with pytest.raises(StudyError, match=r"test_documents\.npy.*dvc repro"):
        documents.open_starts(folder, "test", read_card(folder))


@pytest.mark.parametrize("precision", PRECISIONS)
def test_token_by_token_a_split_scores_to_the_same_bits(run_config, splits, precision):
    torch.manual_seed(0)
    config = run_config(precision=precision)
    model, compute = build_model(config.model, VOCABULARY), settle(choose(config.compute))
    loss, nll = token_nll(model, splits["test"], compute)
    assert loss == mean_loss(model, splits["test"], splits["test"].indices, compute)
    assert nll.shape == (splits["test"].predicted,)


def test_scoring_has_no_dropout_and_training_goes_on_with_it(run_config, splits):
    config = run_config(dropout=0.5)
    torch.manual_seed(0)
    model, compute = build_model(config.model, VOCABULARY), settle(choose(config.compute))
    scores = {mean_loss(model, splits["test"], splits["test"].indices, compute) for _ in range(3)}
    assert len(scores) == 1
    assert model.training


def test_what_others_take_of_the_machine_is_told_from_what_the_run_takes(run_config, train, done, monkeypatch):
    """Under a clock by which the machine's processors were busy for a second at each look."""
    busy = iter(range(10_000))
    monkeypatch.setattr(
        "lm.training.clock.psutil.cpu_times", lambda: SimpleNamespaceTimes(user=float(next(busy)), idle=5.0, iowait=1.0)
    )
    rows = list(csv.DictReader(done(train(run_config()))["timing.csv"].decode().splitlines()))
    for row in rows:
        assert 0 < float(row["process_cpu_seconds"]) < 4.0
        # ten-step intervals: four stretches of the clock an epoch, a second each
        assert float(row["other_cpu_seconds"]) == pytest.approx(4.0 - float(row["process_cpu_seconds"]), abs=0.1)


class SimpleNamespaceTimes(SimpleNamespace):
    """As psutil's: named figures that can be summed."""

    def __iter__(self):
        return iter(vars(self).values())


def test_speed_is_that_of_intervals_after_the_first(run_config, train, monkeypatch):
    """Under a clock by which each of the first ten steps takes ten seconds, of the next ten one, and any other two."""
    now, step = [0.0], Trainer._step

    def timed(trainer, batch):
        now[0] += (10.0, 1.0, 2.0)[min(trainer.position.step // 10, 2)]
        return step(trainer, batch)

    clock = SimpleNamespace(perf_counter=lambda: now[0], process_time=time.process_time)
    monkeypatch.setattr("lm.training.clock.time", clock)
    monkeypatch.setattr(Trainer, "_step", timed)
    config = run_config(epochs=2)
    trainer = train(config).trainer
    trainer.run()
    assert 30 <= trainer.steps_an_epoch < 40
    tokens = config.training.batch * config.model.context
    for epoch in trainer.position.history:
        assert epoch.train_seconds == 100 + 10 + 2 * (trainer.steps_an_epoch - 20)
        # the median of two; the shortest window lies in one of them
        assert epoch.tokens_per_second == pytest.approx((tokens + tokens / 2) / 2, abs=0.5)


def test_a_program_that_the_run_calls_is_no_other_process(monkeypatch):
    """As the compiler of a compiled model; it counts once it has ended."""
    busy = [100.0]
    monkeypatch.setattr("lm.training.clock._busy_seconds", lambda: busy[0])
    clock = StepClock(lambda: None)
    clock.restart(Spent())
    before = os.times()
    subprocess.run([sys.executable, "-c", "sum(range(10**7))"], check=True)
    taken = sum(os.times()[2:4]) - sum(before[2:4])
    busy[0] += taken
    spent = clock.pause()
    assert taken > 0.05
    assert spent.process >= taken
    assert spent.others < 0.01


def test_where_the_machine_tells_nothing_of_others_nothing_is_said(run_config, train, done, monkeypatch):
    def fail():
        raise OSError(13, "Permission denied")

    monkeypatch.setattr("lm.training.clock.psutil.cpu_times", fail)
    (row,) = csv.DictReader(done(train(run_config(epochs=1)))["timing.csv"].decode().splitlines())
    assert row["other_cpu_seconds"] == ""
    assert float(row["process_cpu_seconds"]) > 0
