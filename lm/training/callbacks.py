"""What looks on while a run trains: a meter, a progress display, a file of its history, checkpoints."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lm.training.loop import Trainer


class Callback:
    """One method a moment of a run, in the order of their coming; here none does anything.

    They are called between two steps, while the step clock stands still, and find all there is to know in the
    trainer. None of them may change what is learned.
    """

    def run_started(self, trainer: Trainer) -> None:
        """Before the first step, or the first one after a checkpoint."""

    def epoch_started(self, trainer: Trainer) -> None:
        """Before an epoch's first step, or its first one after a checkpoint."""

    def interval_ended(self, trainer: Trainer) -> None:
        """After every ten steps, at an epoch's last step, and where the run is to stop."""

    def saved(self, trainer: Trainer) -> None:
        """A checkpoint inside an epoch has been written."""

    def scoring_started(self, trainer: Trainer) -> None:
        """An epoch's steps are done."""

    def scoring_ended(self, trainer: Trainer) -> None:
        """The validation split and the sample of the training split have been scored."""

    def epoch_ended(self, trainer: Trainer) -> None:
        """The epoch is the last of ``trainer.position.history``."""

    def diverged(self, trainer: Trainer) -> None:
        """A loss is not finite: ``trainer.position.diverged_step`` says at which step. The run ends."""

    def run_ended(self, trainer: Trainer) -> None:
        """However it ended: trained, diverged, interrupted or by an error."""
