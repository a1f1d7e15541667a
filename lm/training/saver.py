"""Checkpoints of a run while it trains: after every epoch, every so often in between, and when it is to stop."""

from __future__ import annotations

import time
from pathlib import Path

from lm.training import checkpoints
from lm.training.callbacks import Callback
from lm.training.loop import Trainer
from lm.training.memory import MemoryMeter


class Saver(Callback):
    """Keeps the run's checkpoint at ``path``; its time is no step's, and its memory is told from a step's."""

    def __init__(self, *, path: Path, belongs_to: str, every_seconds: float, meter: MemoryMeter) -> None:
        self.path = path
        self._belongs_to, self._every_seconds, self._meter = belongs_to, every_seconds, meter
        self._last = time.monotonic()

    def restore(self, trainer: Trainer) -> str | None:
        """Set the trainer to where the checkpoint stands, if there is one that fits; what there is to tell of it."""
        state, why_not = checkpoints.load(self.path, self._belongs_to)
        if state is None:
            return f"passing over {self.path}: {why_not}; starting afresh" if why_not else None
        trainer.load_state_dict(state["trainer"])
        self._meter.load_state_dict(state["memory"])
        return f"going on from {self.path}, epoch {trainer.position.epoch}, step {trainer.position.step}"

    def epoch_started(self, _trainer: Trainer) -> None:
        self._last = time.monotonic()

    def interval_ended(self, trainer: Trainer) -> None:
        inside = trainer.position.step < trainer.steps_an_epoch
        if inside and (trainer.stop.signal is not None or time.monotonic() - self._last > self._every_seconds):
            self._save(trainer)
            self._meter.enter("training")
            for each in trainer.callbacks:
                each.saved(trainer)

    def epoch_ended(self, trainer: Trainer) -> None:
        self._save(trainer)

    def _save(self, trainer: Trainer) -> None:
        self._meter.enter("checkpoint")
        state = {"trainer": trainer.state_dict(), "memory": self._meter.state_dict()}
        checkpoints.save(self.path, state, self._belongs_to)
        self._meter.enter("other")
        self._last = time.monotonic()
