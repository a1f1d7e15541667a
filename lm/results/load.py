"""What findings and report are computed from, read once and checked: what is missing or unlike stops here."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from lm.config.yaml import parse_yaml
from lm.errors import StudyError
from lm.results import schema
from lm.results.locked import load_locked
from lm.results.reference import Reference, load_reference
from lm.results.summarize import summarize
from lm.results.summary import Summaries


@dataclass(frozen=True, kw_only=True)
class Answers:
    """What the controlled study answers of another's open questions, and for which runs.

    ``answered``: topics of ``lm.findings.limits``; ``text``: fingerprint of the validation split's tokens; ``budget``:
    epochs, batch (windows), context (tokens) and width that all its runs share; ``seeds``: how many confirmed.
    """

    answered: tuple[str, ...]
    corpus: str
    scale: str
    vocabulary: int
    text: str
    budget: tuple[int, ...]
    seeds: int


@dataclass(frozen=True, kw_only=True)
class Results:
    """A study's results and what they stand beside.

    ``params`` is params.yaml as read, ``params_text`` as written; ``locked`` maps ``experiment-seed`` to the hashes
    (``configuration``, ``tokens``, ``weights``) that DVC recorded, empty where it recorded none.
    """

    summaries: Summaries
    reference: Reference
    params: dict[str, Any]
    params_text: str
    locked: dict[str, dict[str, str]]


def load_results(root: Path) -> Results:
    """Read ``reports/``, ``params.yaml`` and ``dvc.lock`` under ``root``; raises :class:`StudyError`."""
    reports = root / "reports"
    runs = load_table(reports / "runs.parquet", schema.RUNS, "reports/runs.parquet")
    epochs = load_table(reports / "epochs.parquet", schema.EPOCHS, "reports/epochs.parquet")
    if runs.empty:
        raise StudyError("reports/runs.parquet: no runs; params.yaml names the experiments and seeds to train")
    text = _text(root / "params.yaml")
    params = _mapping(text, "params.yaml")
    return Results(
        summaries=summarize(runs, epochs),
        reference=load_reference(reports / "reference"),
        params=params,
        params_text=text,
        locked=load_locked(root / "dvc.lock"),
    )


def load_table(source: Path | IO[bytes], expected: pa.Schema, name: str) -> pd.DataFrame:
    """A Parquet table as pandas, its columns those of ``expected``; raises :class:`StudyError`.

    What an earlier version of the schema did not have yet is null, so that revisions compare; else the columns must be
    exactly these.
    """
    try:
        table = pq.read_table(source)
    except FileNotFoundError:
        raise StudyError(f"{name}: no such file; `dvc repro` makes it") from None
    except (OSError, pa.ArrowInvalid) as error:
        raise StudyError(f"{name}: not a Parquet file that can be read: {error}") from None
    if _version(table.schema) < int(schema.VERSION):
        for field in expected:
            if field.name not in table.column_names:
                table = table.append_column(field, pa.nulls(len(table), field.type))
        if set(table.column_names) == set(expected.names):
            table = table.select(expected.names)
    if table.column_names != expected.names:
        missing = [column for column in expected.names if column not in table.column_names]
        unknown = [column for column in table.column_names if column not in expected.names]
        raise StudyError(f"{name}: columns differ from schema {schema.VERSION}: missing {missing}, unknown {unknown}")
    differing = [column for column in expected.names if table.schema.field(column).type != expected.field(column).type]
    if differing:
        raise StudyError(f"{name}: column types differ from schema {schema.VERSION}: {', '.join(differing)}")
    return table.to_pandas()


def load_answers(path: Path) -> Answers | None:
    """The controlled study's; None where it has not been run. Raises :class:`StudyError` where the file is damaged."""
    if not path.exists():
        return None
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        return Answers(
            answered=tuple(map(str, content["answered"])),
            corpus=str(content["corpus"]),
            scale=str(content["scale"]),
            vocabulary=int(content["vocabulary"]),
            text=str(content["text"]),
            budget=tuple(map(int, content["budget"])),
            seeds=int(content["seeds"]),
        )
    except OSError as error:
        raise StudyError(f"{path}: can't be read ({error.strerror})") from None
    except (ValueError, TypeError, KeyError) as error:
        raise StudyError(
            f"{path}: not the controlled study's answers ({error}); `dvc repro controlled/dvc.yaml`"
        ) from None


def _version(found: pa.Schema) -> int:
    """Which version of our schema a file says that it has; that of today where it says none."""
    stated = (found.metadata or {}).get(b"schema", b"").decode(errors="replace")
    return int(stated) if stated.isdecimal() else int(schema.VERSION)


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise StudyError(f"{path}: no such file; `dvc repro` makes it") from None
    except (OSError, UnicodeDecodeError) as error:
        raise StudyError(f"{path}: can't be read: {error}") from None


def _mapping(text: str, name: str) -> dict[str, Any]:
    content = parse_yaml(text, name)
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise StudyError(f"{name}: expected a mapping, found {type(content).__name__}")
    return content
