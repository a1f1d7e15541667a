"""The files of the runs that params.yaml names, as one row a run and one row a run and epoch.

Only named runs are read: a removed experiment's files may still lie on the disk.
"""

from __future__ import annotations

import json
import math
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from lm.config.study import Study
from lm.errors import StudyError
from lm.results.schema import EPOCHS, RUNS

SPLITS = ("train", "validation", "test")


def collect(study: Study, runs: Path, card: dict) -> tuple[pa.Table, pa.Table]:
    """The two tables, in the order of params.yaml.

    Raises :class:`StudyError` when a run's file is missing or unreadable.
    """
    rows, epochs = [], []
    configurations = study.resolve()
    for name, config in configurations.items():
        for seed in study.seeds:
            folder = runs / f"{name}-{seed}"
            optimizer = config.optimizer
            row = {
                "experiment": name,
                "seed": seed,
                "model": config.model.architecture,
                "layers": config.model.layers,
                "optimizer": optimizer.name,
                "lr": optimizer.lr,
                "weight_decay": optimizer.weight_decay,
                "epochs": config.training.epochs,
                "batch": config.training.batch,
                "context": config.model.context,
                "corpus": card["source"],
                "scale": study.scale,
                "vocabulary": card["vocabulary"],
                "unigram_validation_perplexity": card["splits"]["validation"]["unigram_perplexity"],
                "unigram_test_perplexity": card["splits"]["test"]["unigram_perplexity"],
                **{f"{split}_tokens": counts["predicted_tokens"] for split, counts in card["splits"].items()},
                **read_json(folder / "metrics.json"),
                **read_json(folder / "cost.json"),
            }
            rows.append(row | study_perplexities(row))
            history = _read_csv(folder / "history.csv").merge(_read_csv(folder / "timing.csv"), on="epoch")
            epochs.append(history.assign(experiment=name, seed=seed))
    return (
        pa.Table.from_pylist(rows, schema=RUNS),
        pa.Table.from_pandas(pd.concat(epochs)[EPOCHS.names], schema=EPOCHS, preserve_index=False),
    )


def write_tables(runs: pa.Table, epochs: pa.Table, folder: Path) -> None:
    """Write ``runs.parquet``, ``epochs.parquet`` and ``metrics.json``."""
    folder.mkdir(parents=True, exist_ok=True)
    pq.write_table(runs.replace_schema_metadata(RUNS.metadata), folder / "runs.parquet")
    pq.write_table(epochs.replace_schema_metadata(EPOCHS.metadata), folder / "epochs.parquet")
    (folder / "metrics.json").write_text(json.dumps(headline(runs.to_pandas()), indent=2) + "\n")


def headline(runs: pd.DataFrame) -> dict[str, dict[str, float | None]]:
    """A few figures an experiment, means over seeds, for ``dvc metrics diff``: deterministic ones only."""
    measures = ("validation_perplexity", "test_perplexity", "best_epoch")
    return {
        measure: {str(name): _number(group[measure].mean()) for name, group in runs.groupby("experiment", sort=False)}
        for measure in measures
    }


def _number(value: float) -> float | None:
    return None if pd.isna(value) else round(float(value), 4)


def study_perplexities(row: dict) -> dict[str, float | None]:
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


def read_json(path: Path) -> dict:
    try:
        return json.loads(path.read_text())
    except FileNotFoundError:
        raise StudyError(f"{path}: no such file; run `dvc repro`") from None
    except json.JSONDecodeError as error:
        raise StudyError(f"{path}: not JSON ({error}); delete it and run `dvc repro`") from None


def _read_csv(path: Path) -> pd.DataFrame:
    try:
        return pd.read_csv(path)
    except FileNotFoundError:
        raise StudyError(f"{path}: no such file; run `dvc repro`") from None
    except pd.errors.ParserError as error:
        raise StudyError(f"{path}: not a table ({error}); delete it and run `dvc repro`") from None
