"""What each run asks of a machine and how much work it is, from its resolved configuration."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from lm.config.run import RunConfig
from lm.corpus.windows import read_card
from lm.launch.plan import Run
from lm.prediction.run import predict_run


@dataclass(frozen=True, kw_only=True)
class Work:
    """``operations``: floating-point operations of the matrix products of the run's training, all epochs."""

    threads: int
    cuda: bool
    epochs: int
    operations: float


def read_work(root: Path, runs: Iterable[Run]) -> dict[str, Work]:
    """By target.

    Raises :class:`StudyError` for a configuration or tokens that are missing or none.
    """
    works = {}
    for run in runs:
        config, card = RunConfig.read(root / run.config), read_card(root / run.tokens)
        tokens = card["splits"]["train"]["predicted_tokens"]
        # device and precision move memory alone, which is not asked for here
        found = predict_run(config, card["vocabulary"], tokens, "cpu", "fp32")
        works[run.target] = Work(
            threads=config.compute.threads,
            cuda=config.compute.device == "cuda",
            epochs=config.training.epochs,
            operations=config.training.epochs * found.epoch_operations,
        )
    return works


def longest_first(runs: Iterable[Run], works: Mapping[str, Work]) -> list[Run]:
    """The run that would end last starts first, so that no core idles at the end; equal ones keep their order."""
    return sorted(runs, key=lambda run: -works[run.target].operations)
