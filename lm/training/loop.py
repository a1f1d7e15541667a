"""The training loop: one run from its configuration to its history.

What is learned is a function of configuration, seed, tokens and machine type, to the bit; what is measured (time,
memory) is kept apart. A run can stop after any step and go on from its checkpoint with the same bits.
"""

from __future__ import annotations

import math
import signal
import statistics
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import FrameType

import torch

from lm.config.run import RunConfig
from lm.corpus.windows import Windows, epoch_order, fixed_sample
from lm.embeddings.tables import PretrainedEmbeddings
from lm.models.build import build_model
from lm.training import checkpoints
from lm.training.evaluation import mean_loss, to_device
from lm.training.hardware import Compute
from lm.training.loss import projected_cross_entropy
from lm.training.memory import MemoryMeter
from lm.training.optimizers import build_optimizer
from lm.training.progress import Progress

_INTERVAL = 10
"""Steps between two looks at the clock, the loss and the memory."""

_NEVER = 2**62


@dataclass
class Epoch:
    """One finished epoch. Losses in nats a token, times in seconds."""

    epoch: int
    train_loss: float
    train_eval_loss: float
    validation_loss: float
    train_seconds: float
    validation_seconds: float
    tokens_per_second: float


@dataclass
class Position:
    """Where a run stands; with the weights, all it takes to go on."""

    epoch: int = 0
    step: int = 0
    train_nll: float = 0.0
    train_seconds: float = 0.0
    rates: list[float] = field(default_factory=list)
    history: list[Epoch] = field(default_factory=list)
    diverged_step: int | None = None
    resumed: int = 0

    @property
    def best(self) -> Epoch | None:
        """The epoch of the lowest validation loss, the first of equals."""
        return min(self.history, key=lambda epoch: epoch.validation_loss, default=None)


class Interrupted(Exception):
    """The run was asked to stop, and has saved where it stands."""

    def __init__(self, signal_number: int) -> None:
        super().__init__(signal.Signals(signal_number).name)
        self.signal_number = signal_number


class Trainer:
    """Trains one configuration with one seed."""

    def __init__(
        self,
        config: RunConfig,
        seed: int,
        splits: dict[str, Windows],
        vocabulary: int,
        compute: Compute,
        checkpoint: Path,
        belongs_to: str,
        checkpoint_seconds: float,
        pretrained: PretrainedEmbeddings | None = None,
    ) -> None:
        self.config, self.seed, self.splits, self.compute = config, seed, splits, compute
        self.pretrained = pretrained
        self.checkpoint, self.belongs_to, self.checkpoint_seconds = checkpoint, belongs_to, checkpoint_seconds
        self.meter = MemoryMeter(compute.device)
        torch.manual_seed(seed)
        self.model = build_model(config.model, vocabulary, pretrained).to(compute.device)
        self.optimizer = build_optimizer(config.optimizer, self.model.parameters())
        self.scaler = torch.amp.GradScaler(compute.device.type, enabled=compute.precision == "fp16")
        self.forward = torch.compile(self.model) if compute.compile else self.model
        self.position = Position()
        self.best_weights: dict[str, torch.Tensor] | None = None
        self.steps_an_epoch = math.ceil(len(splits["train"]) / config.training.batch)
        self.sample = fixed_sample(len(splits["train"]), config.training.train_sample)
        self._signal: int | None = None

    def run(self, name: str) -> None:
        """Train to the end, from the checkpoint if there is one that fits.

        Raises :class:`Interrupted` after SIGTERM or SIGINT, with the state saved.
        """
        message = self._resume()
        total = self.steps_an_epoch * self.config.training.epochs
        done = self.position.epoch * self.steps_an_epoch + self.position.step
        progress = Progress(name, total, done)
        if message:
            progress.line(message)
        handlers = {s: signal.signal(s, self._ask_to_stop) for s in (signal.SIGTERM, signal.SIGINT)}
        try:
            while self.position.epoch < self.config.training.epochs and self.position.diverged_step is None:
                self._train_epoch(progress)
        finally:
            for number, handler in handlers.items():
                signal.signal(number, handler)
            progress.close()

    def _train_epoch(self, progress: Progress) -> None:
        at, windows, batch_size = self.position, self.splits["train"], self.config.training.batch
        order = epoch_order(len(windows), self.seed, at.epoch)
        total_nll = torch.tensor(at.train_nll, dtype=torch.float64, device=self.compute.device)
        first_bad = torch.tensor(_NEVER, device=self.compute.device)
        base = at.epoch * self.steps_an_epoch
        if at.step == 0:
            self.meter.sample_nvml()
        saved = started = self._clock()
        before = at.train_seconds
        tokens, interval_tokens, interval_started = 0, 0, started

        while at.step < self.steps_an_epoch:
            chosen = order[at.step * batch_size : (at.step + 1) * batch_size]
            batch = to_device(windows.batch(chosen), self.compute.device)
            nll = self._step(batch)
            total_nll += nll
            first_bad = torch.minimum(first_bad, torch.where(nll.isfinite(), _NEVER, base + at.step))
            at.step += 1
            tokens += batch.predicted
            interval_tokens += batch.predicted

            if at.step % _INTERVAL == 0 or at.step == self.steps_an_epoch or self._signal:
                now = self._clock()
                at.train_seconds = before + now - started
                at.train_nll = total_nll.item()
                if first_bad.item() != _NEVER:
                    at.diverged_step = int(first_bad.item())
                    progress.line(f"diverged: the loss of step {at.diverged_step} is not finite")
                    return
                if at.step % _INTERVAL == 0:
                    at.rates.append(interval_tokens / (now - interval_started))
                    progress.step(at.epoch, at.train_nll / (at.step * batch_size * windows.context), at.rates[-1])
                    progress.advance(_INTERVAL)
                else:
                    progress.advance(at.step % _INTERVAL)
                self.meter.sample()
                interval_tokens, interval_started = 0, now
                if at.step < self.steps_an_epoch and (self._signal or now - saved > self.checkpoint_seconds):
                    self._save()
                    saved = self._clock()
                    started += saved - now  # a checkpoint is not training
                    interval_started = saved
                    progress.saved(at.step, self.steps_an_epoch)
                    self._stop_if_asked()
        self._finish_epoch(progress)

    def _step(self, batch) -> torch.Tensor:
        """One update; returns the batch's total NLL without waiting for the device."""
        with self.compute.autocast():
            features = self.forward(batch.inputs_BT)
        nll = projected_cross_entropy(features, self.model.embedding.weight, batch, self.compute.dtype)
        self.scaler.scale(nll / batch.predicted).backward()
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.optimizer.zero_grad(set_to_none=True)
        return nll.detach()

    def _finish_epoch(self, progress: Progress) -> None:
        at, train, validation = self.position, self.splits["train"], self.splits["validation"]
        started = self._clock()
        validation_loss = mean_loss(self.model, validation, validation.indices, self.compute)
        validation_seconds = self._clock() - started
        train_eval_loss = mean_loss(self.model, train, self.sample, self.compute)
        self.meter.sample_nvml()
        warm = at.rates[1:] or at.rates or [train.predicted / at.train_seconds]
        epoch = Epoch(
            epoch=at.epoch,
            train_loss=at.train_nll / train.predicted,
            train_eval_loss=train_eval_loss,
            validation_loss=validation_loss,
            train_seconds=at.train_seconds,
            validation_seconds=validation_seconds,
            tokens_per_second=statistics.median(warm),
        )
        if not all(math.isfinite(loss) for loss in (validation_loss, train_eval_loss)):
            at.diverged_step = (at.epoch + 1) * self.steps_an_epoch
            progress.line(f"diverged: the validation loss after epoch {at.epoch} is not finite")
            return
        at.history.append(epoch)
        if at.best is epoch:
            self.best_weights = {name: tensor.cpu().clone() for name, tensor in self.model.state_dict().items()}
        at.epoch, at.step, at.train_nll, at.train_seconds, at.rates = at.epoch + 1, 0, 0.0, 0.0, []
        progress.line(
            f"epoch {epoch.epoch}: train ppl {math.exp(min(epoch.train_loss, 700)):.2f}, "
            f"validation ppl {math.exp(min(validation_loss, 700)):.2f}, "
            f"{epoch.tokens_per_second:,.0f} tokens/s, {epoch.train_seconds:.1f} s"
        )
        self._save()
        self._stop_if_asked()

    def _clock(self) -> float:
        self.compute.synchronize()
        return time.perf_counter()

    def _ask_to_stop(self, number: int, _frame: FrameType | None) -> None:
        self._signal = number

    def _stop_if_asked(self) -> None:
        if self._signal is not None:
            raise Interrupted(self._signal)

    def _save(self) -> None:
        state = {
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scaler": self.scaler.state_dict(),
            "best": self.best_weights,
            "position": asdict(self.position),
            "memory": {"samples": self.meter.samples, "nvml": self.meter.nvml_samples},
        }
        checkpoints.save(self.checkpoint, state, self.belongs_to)

    def _resume(self) -> str | None:
        state, why_not = checkpoints.load(self.checkpoint, self.belongs_to)
        if state is None:
            return f"passing over {self.checkpoint}: {why_not}; starting afresh" if why_not else None
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.scaler.load_state_dict(state["scaler"])
        self.best_weights = state["best"]
        position = state["position"]
        self.position = Position(**position | {"history": [Epoch(**epoch) for epoch in position["history"]]})
        self.position.resumed += 1
        self.meter.samples, self.meter.nvml_samples = state["memory"]["samples"], state["memory"]["nvml"]
        return f"going on from {self.checkpoint}, epoch {self.position.epoch}, step {self.position.step}"
