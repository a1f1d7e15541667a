"""A run's losses by epoch, in a file that is there while the run trains."""

from __future__ import annotations

import csv
import io
import math
import os
import shutil
from collections.abc import Iterable
from pathlib import Path

from lm.errors import writing
from lm.training.callbacks import Callback
from lm.training.loop import Epoch, Trainer

LEARNED = ("epoch", "train_loss", "train_eval_loss", "validation_loss")
MEASURED = (
    "epoch",
    "train_seconds",
    "validation_seconds",
    "tokens_per_second",
    "process_cpu_seconds",
    "other_cpu_seconds",
)


def perplexity(loss: float) -> float:
    """exp(loss); infinite where that is too large for a float."""
    return math.exp(loss) if loss < 700 else math.inf


def as_csv(history: Iterable[Epoch], columns: tuple[str, ...]) -> str:
    """A row an epoch, and after the columns a perplexity for every loss among them. Unknown figures are empty."""
    losses = [column for column in columns if column.endswith("_loss")]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*columns, *(name.replace("_loss", "_perplexity") for name in losses)])
    for epoch in history:
        figures = [getattr(epoch, name) for name in columns] + [perplexity(getattr(epoch, name)) for name in losses]
        writer.writerow(["" if figure is None else repr(figure) for figure in figures])
    return text.getvalue()


def beside(folder: Path) -> Path:
    """Where files of the run's ``folder`` are written before they are whole: on the same disk, and not in it."""
    return folder.with_name(f".{folder.name}.partial")


class HistoryFile(Callback):
    """``history.csv`` in the run's folder, replaced as a whole after every epoch."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def run_started(self, trainer: Trainer) -> None:
        """A resumed run has its history at once, one from the start no older run's."""
        shutil.rmtree(beside(self._folder), ignore_errors=True)  # of a run that was killed
        if trainer.position.history:
            self._write(trainer)
        else:
            (self._folder / "history.csv").unlink(missing_ok=True)

    def epoch_ended(self, trainer: Trainer) -> None:
        self._write(trainer)

    def _write(self, trainer: Trainer) -> None:
        partial = beside(self._folder)
        try:
            partial.mkdir(parents=True, exist_ok=True)
            with writing(self._folder / "history.csv"):
                (partial / "history.csv").write_text(as_csv(trainer.position.history, LEARNED))
            self._folder.mkdir(parents=True, exist_ok=True)
            os.replace(partial / "history.csv", self._folder / "history.csv")
        finally:
            shutil.rmtree(partial, ignore_errors=True)
