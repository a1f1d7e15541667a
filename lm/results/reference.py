"""The original study's published figures, and the same figures in the shape of our own results.

The second lets the findings code judge the original's runs as if they were ours, for ``python -m stages.reanalyse`` and
as the test of whether it would have written the right report. What the original did not record stays null.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import pandas as pd

from lm.config.optimizers import OPTIMIZERS
from lm.errors import StudyError
from lm.results import schema
from lm.results.spread import Spread, load_spread

TRAIN_FACTOR, VALIDATION_FACTOR, TEST_FACTOR = 0.99876, 0.99709, 0.98725
"""What the original's denominator multiplied its losses by: it counted positions the last batch does not have."""

UNIGRAM_VALIDATION_PERPLEXITY = 1375.0
"""Add-1/2 unigram model on WikiText-2's validation split under GPT-1's vocabulary."""

VALIDATION_TOKENS = 245_044
"""What the original predicted of WikiText-2's validation split under GPT-1's vocabulary: one less than there is."""

TRAIN_TOKENS = 2_356_374
"""What it predicted of the training split in an epoch."""

SCALE, CORPUS, VOCABULARY = "reference", "wikitext-2", 40479
LR, BATCH = 0.001, 16
EPOCHS, CONTEXT, MOMENTUM, BETA2 = 10, 256, 0.9, 0.999
_WIDTH = 768
_MIB = 2**20
_TRAINABLE = {"lstm": {1: 3_019_520, 2: 5_120_768, 4: 9_323_264}, "gpt": {1: 7_087_872, 2: 14_175_744, 4: 28_351_488}}
_SIZES = {"lstm": '{"lstm_hidden": 512}', "gpt": '{"heads": 12, "mlp": 3072}'}
_NAMES = {"lstm": "lstm", "gpt1": "gpt"}
"""The published tables' names of architectures, and ours."""

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Published:
    """A configuration's row of the study's result tables, as published: perplexities, s, MiB."""

    experiment: str
    model: str
    layers: int
    optimizer: str
    best_val_ppl: float
    train_ppl_at_best: float
    best_epoch: int
    train_seconds: float
    gpu_memory_mb: float


@dataclass(frozen=True, kw_only=True)
class PublishedEpoch:
    """An epoch of the study's logs, as published: losses in nats, s."""

    experiment: str
    epoch: int
    train_loss: float
    val_loss: float
    train_seconds: float
    val_seconds: float


@dataclass(frozen=True, kw_only=True)
class Tested:
    """A configuration's test loss with the last epoch's weights, as logged: nats."""

    experiment: str
    test_loss: float


@dataclass(frozen=True, kw_only=True)
class Repeated:
    """An independent replication's best validation perplexity, as published."""

    experiment: str
    batch: int
    best_val_ppl: float


@dataclass(frozen=True, kw_only=True)
class Reference:
    """The original's result rows, epochs and test losses, replications of its best perplexities, and the spread of
    repetitions."""

    results: tuple[Published, ...]
    epochs: tuple[PublishedEpoch, ...]
    tests: tuple[Tested, ...]
    replications: tuple[Repeated, ...]
    spread: Spread


def load_reference(folder: Path) -> Reference:
    """Read the tables; raises :class:`StudyError` when one is missing or not the table it should be."""
    return Reference(
        results=_read(
            folder / "results.csv",
            lambda row: Published(
                experiment=row["experiment"],
                model=_NAMES[row["model"]],
                layers=int(row["layers"]),
                optimizer=row["optimizer"],
                best_val_ppl=float(row["best_val_ppl"]),
                train_ppl_at_best=float(row["train_ppl_at_best"]),
                best_epoch=int(row["best_epoch"]),
                train_seconds=float(row["train_seconds"]),
                gpu_memory_mb=float(row["gpu_memory_mb"]),
            ),
        ),
        epochs=_read(
            folder / "epochs.csv",
            lambda row: PublishedEpoch(
                experiment=row["experiment"],
                epoch=int(row["epoch"]),
                train_loss=float(row["train_loss"]),
                val_loss=float(row["val_loss"]),
                train_seconds=float(row["train_seconds"]),
                val_seconds=float(row["val_seconds"]),
            ),
        ),
        tests=_read(
            folder / "test.csv",
            lambda row: Tested(experiment=row["experiment"], test_loss=float(row["test_loss"])),
        ),
        replications=_read(
            folder / "replications.csv",
            lambda row: Repeated(
                experiment=row["experiment"], batch=int(row["batch"]), best_val_ppl=float(row["best_val_ppl"])
            ),
        ),
        spread=load_spread(folder / "spread.csv"),
    )


def _read(path: Path, make: Callable[[dict[str, str]], T]) -> tuple[T, ...]:
    try:
        with path.open(encoding="utf-8", newline="") as file:
            return tuple(make(row) for row in csv.DictReader(file))
    except FileNotFoundError:
        raise StudyError(f"{path}: no such file; it belongs to the repository") from None
    except OSError as error:
        raise StudyError(f"{path}: can't be read ({error.strerror})") from None
    except (KeyError, TypeError, ValueError) as error:
        raise StudyError(f"{path}: not the table it should be: {error}") from None


def weight_decay(optimizer: str) -> float:
    """What the study gave each of its optimizers."""
    return 0.0 if optimizer == "adam" else 0.0005


def trainable_parameters(row: Published) -> int:
    """Of one of its models, whose embeddings were frozen."""
    return _TRAINABLE[row.model][row.layers]


def corrected(loss: float, factor: float = VALIDATION_FACTOR) -> float:
    """A published loss (nats) over the number of tokens that were predicted."""
    return loss / factor


def as_results(reference: Reference) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The original as (runs, epochs) in our schema, its losses corrected; null where it did not measure."""
    epochs = [_epoch(row) for row in reference.epochs]
    tests = {row.experiment: row.test_loss for row in reference.tests}
    runs = [
        _run(row, [e for e in epochs if e["experiment"] == row.experiment], tests.get(row.experiment))
        for row in reference.results
    ]
    return (
        pd.DataFrame(runs).reindex(columns=schema.RUNS.names),
        pd.DataFrame(epochs).reindex(columns=schema.EPOCHS.names),
    )


def _epoch(row: PublishedEpoch) -> dict[str, Any]:
    training, validation = corrected(row.train_loss, TRAIN_FACTOR), corrected(row.val_loss)
    return {
        "experiment": row.experiment,
        "seed": 42,
        "epoch": row.epoch,
        "train_loss": training,
        "train_perplexity": math.exp(training),
        "validation_loss": validation,
        "validation_perplexity": math.exp(validation),
        "train_seconds": row.train_seconds,
        "validation_seconds": row.val_seconds,
    }


def _run(row: Published, epochs: list[dict[str, Any]], test_loss: float | None) -> dict[str, Any]:
    best = min(epochs, key=lambda epoch: epoch["validation_loss"])
    trainable = trainable_parameters(row)
    embeddings = (VOCABULARY + (CONTEXT if row.model == "gpt" else 0)) * _WIDTH
    return {
        "experiment": row.experiment,
        "seed": 42,
        "model": row.model,
        "layers": row.layers,
        "optimizer": row.optimizer,
        "lr": LR,
        "weight_decay": weight_decay(row.optimizer),
        "epochs": EPOCHS,
        "batch": BATCH,
        "context": CONTEXT,
        "width": _WIDTH,
        "sizes": _SIZES[row.model],
        "norm": "post" if row.model == "gpt" else None,
        "corpus": CORPUS,
        "scale": SCALE,
        "vocabulary": VOCABULARY,
        "status": "completed",
        "epochs_done": len(epochs),
        "best_epoch": best["epoch"],
        "validation_loss": best["validation_loss"],
        "validation_perplexity": best["validation_perplexity"],
        "study_train_perplexity": row.train_ppl_at_best,
        "study_validation_perplexity": row.best_val_ppl,
        "train_perplexity": best["train_perplexity"],
        "last_validation_perplexity": epochs[-1]["validation_perplexity"],
        "last_test_perplexity": None if test_loss is None else math.exp(corrected(test_loss, TEST_FACTOR)),
        "unigram_validation_perplexity": UNIGRAM_VALIDATION_PERPLEXITY,
        "train_tokens": TRAIN_TOKENS,
        "validation_tokens": VALIDATION_TOKENS,
        "parameters": trainable + embeddings,
        "trainable_parameters": trainable,
        "embedding_parameters": embeddings,
        "attention_parameters": row.layers * 4 * (_WIDTH**2 + _WIDTH) if row.model == "gpt" else 0,
        "train_seconds": math.fsum(epoch["train_seconds"] for epoch in epochs),
        "validation_seconds": math.fsum(epoch["validation_seconds"] for epoch in epochs),
        "memory_mean_mb": row.gpu_memory_mb,
        "memory_measure": "nvidia-smi",
        "model_parameters_mb": 4 * (trainable + embeddings) / _MIB,
        "model_gradients_mb": 4 * trainable / _MIB,
        "model_optimizer_mb": 4 * OPTIMIZERS[row.optimizer].state_copies * trainable / _MIB,
        "model_logits_mb": 4 * BATCH * CONTEXT * VOCABULARY / _MIB,
        "device": "cuda",
        "precision": "fp32",
        "hardware": "V100 16 GB",
        "resumed": 0,
    }
