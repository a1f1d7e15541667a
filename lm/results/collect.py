"""The files of the runs that params.yaml names, as one row a run and one row a run and epoch.

Only named runs are read: a removed experiment's files may still lie on the disk.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa

from lm.config.architectures import ARCHITECTURES
from lm.config.run import RunConfig
from lm.config.study import Study
from lm.errors import StudyError
from lm.results.schema import EPOCHS, RUNS

SPLITS = ("train", "validation", "test")

_LOSSY = "gpt1"
"""Kind of tokenizer whose tokens do not give the text back: it lowers cases and rewrites punctuation."""


def collect(study: Study, runs: Path, card: dict[str, Any]) -> tuple[pa.Table, pa.Table]:
    """The two tables, in the order of params.yaml; ``card`` is that of the tokens.

    Raises :class:`StudyError` when a run's file is missing or unreadable.
    """
    rows, epochs = [], []
    for name, config in study.resolve().items():
        for seed in study.seeds:
            row, history = read_run(runs / f"{name}-{seed}", config, name, seed, card)
            rows.append(row | {"of": study.experiments[name].of, "scale": study.scale})
            epochs.append(history)
    return as_tables(rows, epochs, RUNS, runs)


def read_run(
    folder: Path, config: RunConfig, experiment: str, seed: int, card: dict[str, Any]
) -> tuple[dict[str, Any], pd.DataFrame]:
    """What a run's files hold: a row of ``RUNS`` without ``of`` and ``scale``, and its rows of ``EPOCHS``.

    Raises :class:`StudyError` when a file is missing, unreadable, or does not fit the others.
    """
    history = _read_csv(folder / "history.csv")
    timing = _read_csv(folder / "timing.csv").reindex(columns=_TIMING)
    if list(history["epoch"]) != list(timing["epoch"]):
        raise StudyError(f"{folder}/timing.csv: other epochs than history.csv; `dvc repro -f` trains it again")
    row = {
        "experiment": experiment,
        "seed": seed,
        **_settings(config),
        **_text(card),
        **read_json(folder / "metrics.json"),
        **read_json(folder / "cost.json"),
        "process_cpu_seconds": _total(timing["process_cpu_seconds"]),
        "other_cpu_seconds": _total(timing["other_cpu_seconds"]),
    }
    if row.get("hardware") and (row.get("processes") or 1) > 1:
        row["hardware"] += f", {row['processes']} processes"
    if loses_text(card):
        row |= {"validation_bits_per_byte": None, "test_bits_per_byte": None}
    return row | study_perplexities(row), history.merge(timing, on="epoch").assign(experiment=experiment, seed=seed)


def as_tables(
    rows: list[dict[str, Any]], epochs: list[pd.DataFrame], schema: pa.Schema, runs: Path
) -> tuple[pa.Table, pa.Table]:
    """Rows of runs under ``schema``, and their epochs; raises :class:`StudyError` where a figure is of another kind."""
    try:
        return (
            pa.Table.from_pylist(rows, schema=schema),
            pa.Table.from_pandas(pd.concat(epochs)[EPOCHS.names], schema=EPOCHS, preserve_index=False),
        )
    except (pa.ArrowInvalid, pa.ArrowTypeError, KeyError) as error:
        raise StudyError(f"{runs}: a run's files don't fit the schema: {error}; `dvc repro -f` trains it") from None


_TIMING = [
    "epoch",
    "train_seconds",
    "validation_seconds",
    "tokens_per_second",
    "process_cpu_seconds",
    "other_cpu_seconds",
]


def _settings(config: RunConfig) -> dict[str, Any]:
    model, optimizer, training = config.model, config.optimizer, config.training
    return {
        "model": model.architecture,
        "layers": model.layers,
        "context": model.context,
        "width": model.width,
        "sizes": json.dumps(model.sizes),
        "norm": model.norm if "norm" in ARCHITECTURES[model.architecture].settings else None,
        "dropout": model.dropout,
        "optimizer": optimizer.name,
        "lr": optimizer.lr,
        **{key: optimizer.get(key) for key in ("weight_decay", "momentum", "beta2")},
        **{key: getattr(training, key) for key in ("epochs", "batch", "warmup", "schedule", "clip")},
        **{key: getattr(training, key) for key in ("label_smoothing", "patience", "shards")},
    }


def _text(card: dict[str, Any]) -> dict[str, Any]:
    splits = card["splits"]
    return {
        "corpus": card["source"],
        "vocabulary": card["vocabulary"],
        "text": splits["validation"]["sha256"],
        "validation_bytes": splits["validation"]["bytes"],
        "unigram_validation_perplexity": splits["validation"]["unigram_perplexity"],
        "unigram_test_perplexity": splits["test"]["unigram_perplexity"],
        **{f"{split}_tokens": counts["predicted_tokens"] for split, counts in splits.items()},
    }


def loses_text(card: dict[str, Any]) -> bool:
    """Whether the tokens do not give the text back, so that their loss says nothing about its bytes."""
    tokenizer = card.get("tokenizer") or {}
    return tokenizer.get("kind") == _LOSSY


def _total(seconds: pd.Series) -> float | None:
    """The sum over epochs; None where an epoch's figure is unknown."""
    return None if seconds.empty or seconds.isna().any() else math.fsum(seconds)


def study_perplexities(row: dict[str, Any]) -> dict[str, float | None]:
    """A run's perplexities as the original study computed them, by column.

    The study divided the summed loss by ``batches * batch * context``, as if every window and the last batch were
    full (reports/reference/SOURCES.md): a little more than the tokens that there are to predict.
    """
    found = {}
    for split in SPLITS:
        tokens, value = row[f"{split}_tokens"], row.get(f"{split}_perplexity")
        batches = math.ceil(math.ceil(tokens / row["context"]) / row["batch"])
        share = tokens / (batches * row["batch"] * row["context"])
        found[f"study_{split}_perplexity"] = None if value is None else value**share
    return found


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object; raises :class:`StudyError` when the file is missing, unreadable or something else."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise StudyError(f"{path}: no such file; run `dvc repro`") from None
    except OSError as error:
        raise StudyError(f"{path}: can't be read ({error.strerror})") from None
    except ValueError as error:
        raise StudyError(f"{path}: not JSON ({error}); delete it and run `dvc repro`") from None
    if not isinstance(content, dict):
        raise StudyError(f"{path}: not a JSON object; delete it and run `dvc repro`")
    return content


def _read_csv(path: Path) -> pd.DataFrame:
    try:
        table = pd.read_csv(path)
    except FileNotFoundError:
        raise StudyError(f"{path}: no such file; run `dvc repro`") from None
    except OSError as error:
        raise StudyError(f"{path}: can't be read ({error.strerror})") from None
    except ValueError as error:
        raise StudyError(f"{path}: not a table ({error}); delete it and run `dvc repro`") from None
    if "epoch" not in table:
        raise StudyError(f"{path}: has no column 'epoch'; delete it and run `dvc repro`")
    return table
