"""Invented results in the schema, for developing and testing the report without training anything."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from lm.results import schema
from lm.results.collect import study_perplexities

GRID = {
    "1": ("lstm", 1, "adam"),
    "2": ("lstm", 1, "adamw"),
    "3": ("lstm", 1, "sgd"),
    "4": ("lstm", 1, "momentum"),
    "5": ("gpt", 1, "adam"),
    "6": ("gpt", 1, "adamw"),
    "7": ("gpt", 1, "sgd"),
    "8": ("gpt", 1, "momentum"),
    "9": ("lstm", 2, "adamw"),
    "10": ("lstm", 4, "adamw"),
    "11": ("gpt", 2, "adamw"),
    "12": ("gpt", 4, "adamw"),
}
UNIGRAM = 690.0

TRAINED = {
    **{("lstm", layers): 918_272 + 2_101_248 * layers for layers in (1, 2, 4)},
    **{("gpt", layers): 7_087_872 * layers for layers in (1, 2, 4)},
}
"""What the original study trained of its models, beside frozen embeddings."""


def curves(model: str, layers: int, optimizer: str, epochs: int, rng: np.random.Generator) -> tuple[list, list]:
    """(train, validation) losses: adaptive runs learn, GPT overfits, deep GPT and plain SGD stay at the plateau."""
    plateau, train, validation = math.log(UNIGRAM), [], []
    for epoch in range(epochs):
        if optimizer == "sgd":
            loss, gap = plateau + 0.9 - 0.06 * epoch, 0.01
        elif optimizer == "momentum":
            loss, gap = plateau + 0.1 - 0.05 * epoch, 0.01
        elif model == "gpt" and layers >= 4:
            loss, gap = plateau + 0.02 * math.exp(-epoch), 0.0
        elif model == "gpt":
            loss, gap = 4.9 + 1.2 * math.exp(-0.8 * epoch / layers), 0.02 * epoch * epoch / layers
        else:
            loss, gap = 4.95 + 1.5 * math.exp(-0.45 * epoch / layers**0.5), 0.05 * epoch / layers
        loss += float(rng.normal(0, 0.002))
        validation.append(loss + 0.3 * gap)
        train.append(loss - gap)
    return train, validation


def make_results(*arguments, **columns) -> tuple[pd.DataFrame, pd.DataFrame]:
    """What :func:`make_rows` makes, as the tables that aggregate writes."""
    runs, epochs = make_rows(*arguments, **columns)
    return frame(runs, schema.RUNS), frame(epochs, schema.EPOCHS)


def make_rows(
    grid: dict[str, tuple[str, int, str]] | None = None,
    seeds: Sequence[int] = (42,),
    epochs: int = 10,
    diverged: Sequence[str] = (),
    **columns,
) -> tuple[list[dict], list[dict]]:
    """Runs and epochs for a grid; ``columns`` overwrite run columns; ``diverged`` runs stop after two epochs."""
    run_rows, epoch_rows = [], []
    for experiment, (model, layers, optimizer) in (grid or GRID).items():
        for seed in seeds:
            rng = np.random.default_rng([seed, *experiment.encode()])
            done = 2 if experiment in diverged else epochs
            train, validation = curves(model, layers, optimizer, done, rng)
            second = (3.0 + 2.1 * layers) * (1.2 if model == "gpt" else 1.0)
            seconds = [second * float(rng.normal(1, 0.01)) for _ in range(done)]
            for epoch in range(done):
                epoch_rows.append(
                    {
                        "experiment": experiment,
                        "seed": seed,
                        "epoch": epoch,
                        "train_loss": train[epoch] + 0.05,
                        "train_perplexity": math.exp(train[epoch] + 0.05),
                        "train_eval_loss": train[epoch],
                        "train_eval_perplexity": math.exp(train[epoch]),
                        "validation_loss": validation[epoch],
                        "validation_perplexity": math.exp(validation[epoch]),
                        "train_seconds": seconds[epoch],
                        "validation_seconds": second / 12,
                        "tokens_per_second": 330_000 / seconds[epoch],
                        "process_cpu_seconds": 1.9 * seconds[epoch],
                        "other_cpu_seconds": 0.02 * seconds[epoch],
                    }
                )
            best = int(np.argmin(validation))
            body = layers * (4 * (128**2 + 128) + 131_000 if model == "gpt" else 132_096)
            embedding = (4096 + (128 if model == "gpt" else 0)) * 128
            states = {"adam": 2, "adamw": 2, "momentum": 1}.get(optimizer, 0)
            mib = 4 * (body + embedding) / 2**20
            row = {
                "experiment": experiment,
                "seed": seed,
                "model": model,
                "layers": layers,
                "optimizer": optimizer,
                "lr": 0.001,
                "weight_decay": 0.0 if optimizer == "adam" else 0.0005,
                "momentum": 0.9 if optimizer == "momentum" else None,
                "beta2": 0.999 if optimizer in ("adam", "adamw") else None,
                "epochs": epochs,
                "batch": 16,
                "context": 128,
                "width": 128,
                "sizes": json.dumps({"heads": 2, "mlp": 512} if model == "gpt" else {"lstm_hidden": 128}),
                "norm": "post" if model == "gpt" else None,
                "dropout": 0.0,
                "warmup": 0.0,
                "schedule": "constant",
                "label_smoothing": 0.0,
                "shards": 1,
                "corpus": "sotu",
                "scale": "laptop",
                "vocabulary": 4096,
                "text": "3f" * 32,
                "validation_bytes": 420_000,
                "status": "completed",
                "stopped_early": False,
                "epochs_done": done,
                "best_epoch": best,
                "validation_loss": validation[best],
                "validation_perplexity": math.exp(validation[best]),
                "validation_bits_per_byte": validation[best] / 4.2 / math.log(2),
                "validation_word_perplexity": math.exp(validation[best] * 1.35),
                "test_loss": validation[best] + 0.05,
                "test_perplexity": math.exp(validation[best] + 0.05),
                "test_bits_per_byte": (validation[best] + 0.05) / 4.2 / math.log(2),
                "test_word_perplexity": math.exp((validation[best] + 0.05) * 1.35),
                "train_perplexity": math.exp(train[best] + 0.05),
                "train_eval_perplexity": math.exp(train[best]),
                "last_validation_perplexity": math.exp(validation[-1]),
                "last_test_perplexity": math.exp(validation[-1] + 0.05),
                "unigram_validation_perplexity": UNIGRAM,
                "unigram_test_perplexity": UNIGRAM * 1.02,
                "train_tokens": 330_000,
                "validation_tokens": 110_000,
                "test_tokens": 140_000,
                "parameters": body + embedding,
                "trainable_parameters": body + embedding,
                "embedding_parameters": embedding,
                "attention_parameters": layers * 4 * (128**2 + 128) if model == "gpt" else 0,
                "train_seconds": math.fsum(seconds),
                "validation_seconds": done * second / 12,
                "tokens_per_second": 330_000 / second,
                "process_cpu_seconds": 1.9 * math.fsum(seconds),
                "other_cpu_seconds": 0.02 * math.fsum(seconds),
                "side_by_side": 1,
                "processes": 1,
                "operations_per_epoch": 6.0 * (body + embedding) * 330_000,
                "memory_peak_mb": 520 + 30.0 * layers + mib * (2 + states),
                "memory_mean_mb": 500 + 30.0 * layers + mib * (2 + states),
                "memory_baseline_mb": 300.0,
                "memory_scoring_mb": 90.0,
                "memory_checkpoint_mb": mib * (1 + states),
                "memory_footprint_mb": 120 + 30.0 * layers + mib * (2 + states),
                "memory_measure": "rss",
                "model_parameters_mb": mib,
                "model_gradients_mb": mib,
                "model_optimizer_mb": mib * states,
                "model_activations_mb": 24.0 * layers,
                "model_logits_mb": 16.0,
                "device": "cpu",
                "precision": "bf16" if model == "gpt" else "fp32",
                "threads": 2,
                "hardware": "Example CPU, 2 cores",
                "torch": "2.13.0",
                "python": "3.12.0",
                "revision": "0123456789abcdef",
                "resumed": 0,
            }
            if experiment in diverged:
                row |= {"status": "diverged", "diverged_step": 421}
                row |= {key: None for key in row if key.startswith(("test_", "last_test")) and key != "test_tokens"}
            if columns.get("scale") == "reference":  # the study's own sizes
                row |= {"context": 256, "trainable_parameters": TRAINED.get((model, layers))}
            row |= columns
            run_rows.append(row | study_perplexities(row))
    return run_rows, epoch_rows


def make_curves(experiments: dict[str, dict]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Runs and epochs with given losses. An experiment holds ``curves`` (seed to validation losses, or one list for
    seed 42) and may hold ``run`` (model, layers, optimizer), ``training`` (a list), ``seconds`` (an epoch's, or by
    seed), ``status`` and any column of a run."""
    run_rows, epoch_rows = [], []
    for name, given in experiments.items():
        given = dict(given)
        run = given.pop("run", ("lstm", 1, "adam"))
        curves_by_seed = given.pop("curves")
        if not isinstance(curves_by_seed, dict):
            curves_by_seed = {42: curves_by_seed}
        training, seconds = given.pop("training", None), given.pop("seconds", 2.0)
        for seed, validation in curves_by_seed.items():
            (row,), lines = make_rows({name: run}, seeds=(seed,), epochs=len(validation), **given)
            second = seconds[seed] if isinstance(seconds, dict) else seconds
            for line, loss in zip(lines, validation, strict=True):
                fitted = training[line["epoch"]] if training else 4.0 - 0.1 * line["epoch"]
                line |= {"validation_loss": loss, "train_eval_loss": fitted, "train_loss": fitted}
                line |= {"train_seconds": second, "validation_seconds": 1.0}
            best = min(validation)
            defaults = {
                "best_epoch": validation.index(best),
                "validation_loss": best,
                "test_loss": best + 0.05,
                "test_perplexity": _exp(best + 0.05),
                "last_validation_perplexity": _exp(validation[-1]),
                "last_test_perplexity": _exp(validation[-1] + 0.05),
                "train_seconds": second * len(validation),
            }
            run_rows.append(row | {key: value for key, value in defaults.items() if key not in given})
            epoch_rows += lines
    return frame(run_rows, schema.RUNS), frame(epoch_rows, schema.EPOCHS)


def _exp(loss: float) -> float:
    return math.exp(loss) if loss < 700 else math.inf


def frame(rows: list[dict], expected: pa.Schema) -> pd.DataFrame:
    """Rows as pandas, by way of Arrow: what aggregate's Parquet files give back, nulls included."""
    complete = [{name: row.get(name) for name in expected.names} for row in rows]
    return pa.Table.from_pylist(complete, schema=expected).to_pandas()


def write(folder, runs: pd.DataFrame, epochs: pd.DataFrame) -> None:
    """The two Parquet files under ``folder``."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, table, expected in (("runs", runs, schema.RUNS), ("epochs", epochs, schema.EPOCHS)):
        pq.write_table(pa.Table.from_pandas(table, schema=expected, preserve_index=False), folder / f"{name}.parquet")
