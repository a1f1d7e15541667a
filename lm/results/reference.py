"""The original study's published figures, and the same figures in the shape of our own results.

The second lets the findings code judge the original's runs as if they were ours: the test of whether it would have
written the right report. What the original did not record stays null.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from lm.errors import StudyError
from lm.results import schema
from lm.results.names import order

TRAIN_FACTOR, VALIDATION_FACTOR = 0.99876, 0.99709
"""What the original's denominator multiplied its losses by: it counted positions the last batch does not have."""

UNIGRAM_VALIDATION_PERPLEXITY = 1375.0
"""Add-1/2 unigram model on WikiText-2's validation split under GPT-1's vocabulary."""

VALIDATION_TOKENS = 245_044
"""What the original predicted of WikiText-2's validation split under GPT-1's vocabulary: one less than there is."""

_VOCABULARY, _CONTEXT, _BATCH, _WIDTH = 40479, 256, 16, 768
_MIB = 2**20
_TRAINABLE = {"lstm": {1: 3_019_520, 2: 5_120_768, 4: 9_323_264}, "gpt": {1: 7_087_872, 2: 14_175_744, 4: 28_351_488}}
_STATES = {"adam": 2, "adamw": 2, "sgd": 0, "momentum": 1}


@dataclass(frozen=True)
class Reference:
    """The original's result rows and epochs as published, and the replications of its best validation perplexity."""

    results: pd.DataFrame
    epochs: pd.DataFrame
    replications: pd.DataFrame


def load_reference(folder: Path) -> Reference:
    tables = {}
    for name in ("results", "epochs", "replications"):
        path = folder / f"{name}.csv"
        try:
            tables[name] = pd.read_csv(path, dtype={"experiment": str})
        except FileNotFoundError:
            raise StudyError(f"{path}: no such file; it belongs to the repository") from None
        except ValueError as error:
            raise StudyError(f"{path}: not the table it should be: {error}") from None
    tables["results"]["model"] = tables["results"]["model"].replace("gpt1", "gpt")
    return Reference(**tables)


def corrected(perplexity, factor: float = VALIDATION_FACTOR):
    """A published perplexity over the number of tokens that were predicted."""
    return np.exp(np.log(perplexity) / factor)


def as_results(reference: Reference) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The original as (runs, epochs) in our schema, its losses corrected; null where it did not measure."""
    epochs = pd.DataFrame(
        {
            "experiment": reference.epochs["experiment"],
            "seed": 42,
            "epoch": reference.epochs["epoch"],
            "train_loss": reference.epochs["train_loss"] / TRAIN_FACTOR,
            "train_eval_loss": np.nan,
            "validation_loss": reference.epochs["val_loss"] / VALIDATION_FACTOR,
            "train_seconds": reference.epochs["train_seconds"],
            "validation_seconds": reference.epochs["val_seconds"],
        }
    )
    for name in ("train", "train_eval", "validation"):
        epochs[f"{name}_perplexity"] = np.exp(epochs[f"{name}_loss"])
    rows = [
        _run(row, epochs[epochs["experiment"] == row.experiment]) for row in reference.results.itertuples(index=False)
    ]
    runs = pd.DataFrame(rows).reindex(columns=schema.RUNS.names)
    return order(runs), epochs.reindex(columns=schema.EPOCHS.names)


def _run(row, epochs: pd.DataFrame) -> dict:
    best = epochs.loc[epochs["validation_loss"].idxmin()]
    trainable = _TRAINABLE[row.model][row.layers]
    embeddings = (_VOCABULARY + (_CONTEXT if row.model == "gpt" else 0)) * _WIDTH
    return {
        "experiment": row.experiment,
        "seed": 42,
        "model": row.model,
        "layers": row.layers,
        "optimizer": row.optimizer,
        "lr": 0.001,
        "weight_decay": 0.0 if row.optimizer == "adam" else 0.0005,
        "epochs": 10,
        "batch": _BATCH,
        "context": _CONTEXT,
        "corpus": "wikitext-2",
        "scale": "reference",
        "vocabulary": _VOCABULARY,
        "status": "completed",
        "epochs_done": len(epochs),
        "best_epoch": int(best["epoch"]),
        "validation_loss": best["validation_loss"],
        "validation_perplexity": math.exp(best["validation_loss"]),
        "train_perplexity": best["train_perplexity"],
        "last_validation_perplexity": epochs["validation_perplexity"].iloc[-1],
        "unigram_validation_perplexity": UNIGRAM_VALIDATION_PERPLEXITY,
        "parameters": trainable + embeddings,
        "trainable_parameters": trainable,
        "embedding_parameters": embeddings,
        "attention_parameters": row.layers * 4 * (_WIDTH**2 + _WIDTH) if row.model == "gpt" else 0,
        "train_seconds": epochs["train_seconds"].sum(),
        "validation_seconds": epochs["validation_seconds"].sum(),
        "memory_mean_mb": row.gpu_memory_mb,
        "memory_peak_mb": row.gpu_memory_mb,
        "memory_measure": "nvidia-smi",
        "model_parameters_mb": 4 * (trainable + embeddings) / _MIB,
        "model_gradients_mb": 4 * trainable / _MIB,
        "model_optimizer_mb": 4 * _STATES[row.optimizer] * trainable / _MIB,
        "model_logits_mb": 4 * _BATCH * _CONTEXT * _VOCABULARY / _MIB,
        "device": "cuda",
        "precision": "fp32",
        "hardware": "V100 16 GB",
        "resumed": 0,
    }
