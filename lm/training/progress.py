"""What a user sees while a run trains: a bar on a terminal; elsewhere a line an epoch and a line a checkpoint."""

from __future__ import annotations

import sys
from contextlib import suppress

from tqdm import tqdm

from lm.training.callbacks import Callback
from lm.training.history import perplexity
from lm.training.loop import Trainer


class Progress(Callback):
    """Loss, tokens/s and time left, on stderr; ``first`` is told before all else. Nobody need be there to read."""

    def __init__(self, name: str, first: str | None = None) -> None:
        self._name, self._first = name, first
        self._state = "starting"
        self._shown = 0
        self._bar: tqdm | None = None

    def run_started(self, trainer: Trainer) -> None:
        self._shown = self._steps(trainer)
        with suppress(OSError):
            self._bar = tqdm(
                total=trainer.steps_an_epoch * trainer.job.config.training.epochs,
                initial=self._shown,
                desc=self._name,
                unit="step",
                disable=sys.stderr is None or not sys.stderr.isatty(),
                dynamic_ncols=True,
                mininterval=0.5,
            )
        if self._first:
            self._line(self._first)

    def interval_ended(self, trainer: Trainer) -> None:
        at, job = trainer.position, trainer.job
        seen = min(at.step * job.config.training.batch * job.config.model.context, job.splits["train"].predicted)
        rate = f", {at.rates[-1]:,.0f} tokens/s" if at.rates else ""
        self._state = f"epoch {at.epoch}, loss {at.train_nll / seen:.3f}{rate}"
        if self._bar is not None:
            with suppress(OSError):
                self._bar.set_postfix_str(self._state, refresh=False)
                self._bar.update(self._steps(trainer) - self._shown)
        self._shown = self._steps(trainer)

    def saved(self, trainer: Trainer) -> None:
        """Inside an epoch, where no bar shows that the run is alive."""
        if self._bar is not None and self._bar.disable:
            self._line(f"step {trainer.position.step} of {trainer.steps_an_epoch}, {self._state}")

    def epoch_ended(self, trainer: Trainer) -> None:
        epoch = trainer.position.history[-1]
        self._line(
            f"epoch {epoch.epoch}: train ppl {perplexity(epoch.train_loss):.2f}, "
            f"validation ppl {perplexity(epoch.validation_loss):.2f}, "
            f"{epoch.tokens_per_second:,.0f} tokens/s, {epoch.train_seconds:.1f} s"
        )
        if trainer.stopped_early:
            patience = trainer.job.config.training.patience
            self._line(f"stopping early: no better validation loss in {patience} epochs (patience)")

    def diverged(self, trainer: Trainer) -> None:
        self._line(f"diverged: the loss of step {trainer.position.diverged_step} is not finite")

    def run_ended(self, _trainer: Trainer) -> None:
        if self._bar is not None:
            with suppress(OSError):
                self._bar.close()

    @staticmethod
    def _steps(trainer: Trainer) -> int:
        return trainer.position.epoch * trainer.steps_an_epoch + trainer.position.step

    def _line(self, text: str) -> None:
        """Print a line above the bar."""
        if sys.stderr is None:
            return
        with suppress(OSError):
            tqdm.write(f"{self._name}: {text}", file=sys.stderr)
