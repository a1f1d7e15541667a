"""The training loop: one run from its configuration to its history.

What is learned is a function of configuration, seed, tokens and machine type, to the bit; what is measured (time,
memory) is kept apart. A run can stop after any step and go on from its checkpoint with the same bits.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from torch import Tensor

from lm.config.run import RunConfig
from lm.corpus.windows import Batch, Windows, epoch_order, fixed_sample
from lm.embeddings.tables import PretrainedEmbeddings
from lm.models.build import build_model
from lm.training.callbacks import Callback
from lm.training.clock import Spent, StepClock
from lm.training.dropout import cudnn_draws, seed_dropout
from lm.training.evaluation import mean_loss, to_device
from lm.training.hardware import Compute
from lm.training.loss import objective_and_nll
from lm.training.optimizers import build_optimizer
from lm.training.processes import Processes
from lm.training.schedules import build_schedule
from lm.training.shards import ShardedGradient
from lm.training.stopping import Interrupted, Stop

_INTERVAL = 10
"""Steps between two looks at the clock and the losses: reading a loss waits for the device."""


@dataclass(frozen=True, kw_only=True)
class Job:
    """What is to be trained, on what and where."""

    config: RunConfig
    seed: int
    splits: Mapping[str, Windows]
    vocabulary: int
    compute: Compute
    pretrained: PretrainedEmbeddings | None = None


@dataclass(kw_only=True)
class Epoch:
    """One finished epoch. Losses in nats a token, times in seconds.

    ``tokens_per_second`` is the median over intervals of ten steps, the first left out, which warms up.
    """

    epoch: int
    train_loss: float
    train_eval_loss: float
    validation_loss: float
    train_seconds: float
    validation_seconds: float
    tokens_per_second: float
    process_cpu_seconds: float
    other_cpu_seconds: float | None


@dataclass(kw_only=True)
class Position:
    """Where a run stands; with weights and the other states, all it takes to go on."""

    epoch: int = 0
    step: int = 0
    train_nll: float = 0.0
    spent: Spent = field(default_factory=Spent)
    rates: list[float] = field(default_factory=list)
    history: list[Epoch] = field(default_factory=list)
    diverged_step: int | None = None
    resumed: int = 0

    @property
    def best(self) -> Epoch | None:
        """The epoch of the lowest validation loss, the first of equals."""
        return min(self.history, key=lambda epoch: epoch.validation_loss, default=None)

    @classmethod
    def restored(cls, state: dict[str, Any]) -> Position:
        """From what ``asdict`` made of one."""
        history = [Epoch(**epoch) for epoch in state["history"]]
        return cls(**state | {"spent": Spent(**state["spent"]), "history": history})


class Trainer:
    """Trains one configuration with one seed, alone or as one of several processes that all do the same.

    All of them hold the same weights and take the same steps; the first alone scores and is looked on at.
    """

    def __init__(self, job: Job, stop: Stop | None = None, processes: Processes | None = None) -> None:
        config, self.compute = job.config, job.compute
        self.job, self.stop, self.processes = job, stop or Stop(), processes or Processes()
        torch.manual_seed(job.seed)
        self.model = build_model(config.model, job.vocabulary, job.pretrained).to(self.compute.device)
        self.optimizer = build_optimizer(config.optimizer, self.model.parameters())
        self.scaler = torch.amp.GradScaler(self.compute.device.type, enabled=self.compute.precision == "fp16")
        self.sharded = ShardedGradient(self.model.parameters(), config.training.shards, self.processes)
        if config.training.shards > 1:
            self.scaler.scale(torch.zeros((), device=self.compute.device))  # it sets itself up, were all slices empty
        sliced = config.training.shards > 1 and config.model.dropout > 0
        self._seeds_dropout = sliced or cudnn_draws(self.model, self.compute.device)
        # one graph for the batches of full size: a graph of any size depends on the sizes that it met, and a run
        # that was resumed has met others
        self.compiled = torch.compile(self.model, dynamic=False) if self.compute.compile else None
        self.steps_an_epoch = math.ceil(len(job.splits["train"]) / config.training.batch)
        self.schedule = build_schedule(config.training, self.steps_an_epoch * config.training.epochs)
        self.sample = fixed_sample(len(job.splits["train"]), config.training.train_sample)
        self.position = Position()
        self.best_weights: dict[str, Tensor] | None = None
        self.clock = StepClock(self.compute.synchronize)
        self.callbacks: Sequence[Callback] = ()
        self._random = _random_state(self.compute.device)
        self._rate_factor: float | None = None
        self._unread: list[Tensor] = []
        self._interval_tokens, self._interval_started = 0, 0.0

    @property
    def stopped_early(self) -> bool:
        """Whether ``patience`` is exhausted: so many epochs have brought no better validation loss."""
        at, patience = self.position, self.job.config.training.patience
        if patience is None or at.best is None or at.epoch >= self.job.config.training.epochs:
            return False
        return at.history[-1].epoch - at.best.epoch >= patience

    def run(self, callbacks: Sequence[Callback] = ()) -> None:
        """Train to the end, from where the trainer stands.

        Raises :class:`Interrupted` when it is asked to stop, after the callbacks have seen where it stands.
        """
        self.callbacks = callbacks
        _set_random_state(self._random, self.compute.device)
        with self.stop.listening():
            try:
                for each in callbacks:
                    each.run_started(self)
                while self.position.epoch < self.job.config.training.epochs and not self.stopped_early:
                    self._train_epoch()
                    if self.position.diverged_step is None:
                        self._score_epoch()
                    if self.position.diverged_step is not None:
                        for each in callbacks:
                            each.diverged(self)
                        break
            finally:
                for each in callbacks:
                    each.run_ended(self)

    def _train_epoch(self) -> None:
        at = self.position
        for each in self.callbacks:
            each.epoch_started(self)
        self.clock.restart(at.spent)
        self._interval_tokens, self._interval_started = 0, at.spent.wall
        for batch in self._batches():
            self._unread.append(self._step(batch))
            self._interval_tokens += batch.predicted
            at.step += 1
            if self.stop.asked() or at.step % _INTERVAL == 0 or at.step == self.steps_an_epoch:
                self._end_interval()
            if at.diverged_step is not None:
                return

    def _batches(self) -> Iterator[Batch]:
        """What is left of the epoch; the order is a function of seed and epoch alone."""
        windows, size = self.job.splits["train"], self.job.config.training.batch
        order = epoch_order(len(windows), self.job.seed, self.position.epoch)
        for start in range(self.position.step * size, len(windows), size):
            yield to_device(windows.batch(order[start : start + size]), self.compute.device)

    def _step(self, batch: Batch) -> Tensor:
        """One update; returns the NLL of this process's part of the batch without waiting for the device."""
        training = self.job.config.training
        self._set_learning_rate()
        if training.shards == 1:
            nll = self._backward(batch, batch.predicted)
        else:
            nll = self.sharded.form(batch, lambda part, shard: self._backward(part, batch.predicted, shard))
        if training.clip is not None:
            self.scaler.unscale_(self.optimizer)
            torch.nn.utils.clip_grad_norm_(self.model.parameters(), training.clip)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.optimizer.zero_grad(set_to_none=True)
        return nll

    def _backward(self, part: Batch, predicted: int, shard: int = 0) -> Tensor:
        """Add the gradients of a part of a batch with so many ``predicted`` tokens in all; the part's total NLL."""
        training = self.job.config.training
        if self._seeds_dropout:
            seed_dropout(self.job.seed, self._steps_taken, shard)
        whole = len(part.inputs_BT) == math.ceil(training.batch / training.shards)
        forward = self.compiled if self.compiled is not None and whole else self.model
        with self.compute.autocast():
            features = forward(part.inputs_BT)
        objective, nll = objective_and_nll(
            features, self.model.embedding.weight, part, self.compute.dtype, training.label_smoothing
        )
        self.scaler.scale(objective / predicted).backward()
        return nll

    @property
    def _steps_taken(self) -> int:
        return self.position.epoch * self.steps_an_epoch + self.position.step

    def _set_learning_rate(self) -> None:
        factor = self.schedule.factor(self._steps_taken)
        if factor != self._rate_factor:
            for group in self.optimizer.param_groups:
                group["lr"] = self.job.config.optimizer.lr * factor
            self._rate_factor = factor

    def _end_interval(self) -> None:
        at = self.position
        at.spent = self.clock.pause()
        nlls = self.processes.add_up(torch.stack(self._unread)).tolist()
        for number, nll in enumerate(nlls, at.step - len(self._unread)):
            if at.diverged_step is None and not math.isfinite(nll):
                at.diverged_step = at.epoch * self.steps_an_epoch + number
            at.train_nll += nll
        self._unread = []
        if at.diverged_step is not None:
            return
        if at.step % _INTERVAL == 0:
            at.rates.append(self._interval_tokens / (at.spent.wall - self._interval_started))
        self._interval_tokens, self._interval_started = 0, at.spent.wall
        for each in self.callbacks:
            each.interval_ended(self)
        if at.step < self.steps_an_epoch:
            self._stop_if_asked()
        self.clock.go_on()

    def _score_epoch(self) -> None:
        at = self.position
        for each in self.callbacks:
            each.scoring_started(self)
        scores = self._score() if self.processes.first else (math.nan, 0.0, math.nan)
        validation_loss, validation_seconds, train_eval_loss = self.processes.first_says(scores)
        for each in self.callbacks:
            each.scoring_ended(self)
        if not all(math.isfinite(loss) for loss in (validation_loss, train_eval_loss)):
            at.diverged_step = (at.epoch + 1) * self.steps_an_epoch
            return
        predicted = self.job.splits["train"].predicted
        warm = at.rates[1:] or at.rates or [predicted / at.spent.wall]
        epoch = Epoch(
            epoch=at.epoch,
            train_loss=at.train_nll / predicted,
            train_eval_loss=train_eval_loss,
            validation_loss=validation_loss,
            train_seconds=at.spent.wall,
            validation_seconds=validation_seconds,
            tokens_per_second=statistics.median(warm),
            process_cpu_seconds=at.spent.process,
            other_cpu_seconds=at.spent.others if self.processes.size == 1 else None,  # the run's own among them
        )
        at.history.append(epoch)
        at.epoch, at.step, at.train_nll, at.spent, at.rates = at.epoch + 1, 0, 0.0, Spent(), []
        if at.best is epoch and self.processes.first:
            self.best_weights = {name: tensor.cpu().clone() for name, tensor in self.model.state_dict().items()}
        self.schedule.epoch_ended(validation_loss)
        for each in self.callbacks:
            each.epoch_ended(self)
        self.stop.asked()
        self._stop_if_asked()

    def _score(self) -> tuple[float, float, float]:
        """Validation loss, the seconds that it took, and the loss over the sample of the training split."""
        splits, clock = self.job.splits, StepClock(self.compute.synchronize)
        clock.restart(Spent())
        validation_loss = mean_loss(self.model, splits["validation"], splits["validation"].indices, self.compute)
        seconds = clock.read().wall
        return validation_loss, seconds, mean_loss(self.model, splits["train"], self.sample, self.compute)

    def _stop_if_asked(self) -> None:
        if self.stop.signal is not None:
            raise Interrupted(self.stop.signal)

    def state_dict(self) -> dict[str, Any]:
        """All that another trainer of the same job needs to go on with the same bits."""
        return {
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scaler": self.scaler.state_dict(),
            "schedule": self.schedule.state_dict(),
            "random": _random_state(self.compute.device),  # of dropout: nothing else draws while a run trains
            "best": self.best_weights,
            "position": asdict(self.position),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.scaler.load_state_dict(state["scaler"])
        self.schedule.load_state_dict(state["schedule"])
        self._random = state["random"]
        self.best_weights = state["best"]
        self.position = Position.restored(state["position"])
        self.position.resumed += 1


def _random_state(device: torch.device) -> dict[str, Tensor]:
    """Of PyTorch's generators, the CPU's and, where there is one, the GPU's."""
    state = {"cpu": torch.get_rng_state()}
    return state | {"cuda": torch.cuda.get_rng_state(device)} if device.type == "cuda" else state


def _set_random_state(state: dict[str, Tensor], device: torch.device) -> None:
    torch.set_rng_state(state["cpu"])
    if device.type == "cuda":
        torch.cuda.set_rng_state(state["cuda"], device)
