"""The report's inputs, read once and checked: what is missing or of another schema stops here with one line."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from lm.errors import StudyError
from lm.results import schema
from lm.results.names import order
from lm.results.reference import Reference, load_reference


@dataclass(frozen=True)
class Sample:
    """A text that a run's best weights went on to write."""

    experiment: str
    seed: int
    prompt: str
    text: str


@dataclass(frozen=True)
class Study:
    """Everything the report is computed from. ``locked`` maps ``experiment-seed`` to hashes of what DVC recorded."""

    runs: pd.DataFrame
    epochs: pd.DataFrame
    reference: Reference
    params: dict
    params_text: str
    samples: tuple[Sample, ...] = ()
    locked: dict[str, dict[str, str]] | None = None


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise StudyError(f"{path}: no such file; `dvc repro` makes it") from None
    except (OSError, UnicodeDecodeError) as error:
        raise StudyError(f"{path}: can't be read: {error}") from None


def load_table(source, expected: pa.Schema, name: str) -> pd.DataFrame:
    """A Parquet table as pandas, its columns exactly those of ``expected``."""
    try:
        table = pq.read_table(source)
    except FileNotFoundError:
        raise StudyError(f"{name}: no such file; `dvc repro` makes it") from None
    except (OSError, pa.ArrowInvalid) as error:
        raise StudyError(f"{name}: not a Parquet file that can be read: {error}") from None
    if table.column_names != expected.names:
        missing = [column for column in expected.names if column not in table.column_names]
        unknown = [column for column in table.column_names if column not in expected.names]
        raise StudyError(f"{name}: columns differ from schema {schema.VERSION}: missing {missing}, unknown {unknown}")
    if not table.schema.equals(expected):
        differing = [name_ for name_ in expected.names if table.schema.field(name_).type != expected.field(name_).type]
        if differing:
            raise StudyError(f"{name}: column types differ from schema {schema.VERSION}: {', '.join(differing)}")
    return table.to_pandas()


def load_samples(path: Path) -> tuple[Sample, ...]:
    """The sample texts, none where no file was written."""
    if not path.exists():
        return ()
    try:
        return tuple(Sample(**{**entry, "experiment": str(entry["experiment"])}) for entry in json.loads(_text(path)))
    except (ValueError, TypeError, KeyError):
        raise StudyError(f"{path}: expected a list of objects with experiment, seed, prompt and text") from None


def load_locked(path: Path) -> dict[str, dict[str, str]]:
    """From dvc.lock: the hashes of each run's configuration, tokens and weights; empty where nothing is locked."""
    if not path.exists():
        return {}
    stages = (YAML(typ="safe").load(_text(path)) or {}).get("stages", {})
    locked = {}
    for name, stage in stages.items():
        if not name.startswith("train@"):
            continue
        hashes = {}
        for entry in [*stage.get("deps", []), *stage.get("outs", [])]:
            location, digest = entry["path"], entry.get("md5", "")
            if location.startswith("configs/"):
                hashes["configuration"] = digest
            elif (location.startswith("data/tokens") and "train" in location) or location == "data/tokens":
                hashes["tokens"] = digest
            elif location.endswith("model.safetensors"):
                hashes["weights"] = digest
        locked[name.removeprefix("train@")] = hashes
    return locked


def load_study(root: Path) -> Study:
    """Read ``reports/`` and ``params.yaml`` under ``root``."""
    reports = root / "reports"
    runs = load_table(reports / "runs.parquet", schema.RUNS, "reports/runs.parquet")
    epochs = load_table(reports / "epochs.parquet", schema.EPOCHS, "reports/epochs.parquet")
    if runs.empty:
        raise StudyError("reports/runs.parquet: no runs; params.yaml names the experiments and seeds to train")
    text = _text(root / "params.yaml")
    try:
        params = YAML(typ="safe").load(text)
    except YAMLError as error:
        raise StudyError(f"params.yaml: not YAML: {error}") from None
    return Study(
        runs=order(runs),
        epochs=epochs.sort_values(["experiment", "seed", "epoch"], ignore_index=True),
        reference=load_reference(reports / "reference"),
        params=params,
        params_text=text,
        samples=load_samples(reports / "samples.json"),
        locked=load_locked(root / "dvc.lock"),
    )
