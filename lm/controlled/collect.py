"""The files of the controlled study's runs, as three tables. Only what the protocol names is read."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from lm.config.run import RunConfig
from lm.config.study import Study
from lm.controlled.schema import DOCUMENTS, RUNS, Role
from lm.corpus.documents import read_card
from lm.errors import StudyError
from lm.protocol import places
from lm.protocol.protocol import Arm, Protocol, beyond_point, trial_id
from lm.protocol.rates import Edge, read_edge
from lm.results.collect import as_tables, read_json, read_run
from lm.results.schema import EPOCHS

CORPUS = Path("data/corpus")


@dataclass(frozen=True, kw_only=True)
class Place:
    """A run and where its files are."""

    arm: str
    role: Role
    point: str | None
    experiment: str
    seed: int
    config: Path
    run: Path


def all_runs(protocol: Protocol) -> Iterator[Place]:
    """Every run of the study, trials beyond an edge only where the edge won."""
    for name, arm in protocol.arms.items():
        for point in arm.points:
            config = places.trial_config(name, point, relative=arm.times is not None)
            yield _trial(name, Role.TRIAL, point, protocol.tuning_seed, config, places.trial_run(name, point))
        for number in _needed(name, arm, protocol.beyond):
            point, run = beyond_point(number), places.beyond_run(name, number)
            config = places.beyond_config(name, number)
            yield _trial(name, Role.BEYOND, point, protocol.tuning_seed, config, run)
        for seed in protocol.seeds:
            yield Place(
                arm=name,
                role=Role.CONFIRMATION,
                point=None,
                experiment=name,
                seed=seed,
                config=places.tuned_config(name),
                run=places.confirmation_run(name, seed),
            )


def _trial(arm: str, role: Role, point: str, seed: int, config: Path, run: Path) -> Place:
    return Place(arm=arm, role=role, point=point, experiment=trial_id(arm, point), seed=seed, config=config, run=run)


def _needed(name: str, arm: Arm, beyond: int) -> range:
    none = arm.rates is None or beyond == 0 or read_edge(name) is Edge.NONE
    return range(0) if none else range(1, beyond + 1)


def collect(protocol: Protocol, study: Study) -> tuple[pa.Table, pa.Table, pa.Table]:
    """Runs, epochs and, of confirmations, documents.

    Raises :class:`StudyError` when a run's file is missing or unreadable.
    """
    source = read_card(CORPUS)["source"]
    cards: dict[int, dict[str, Any]] = {}
    rows, epochs, documents = [], [], []
    for place in all_runs(protocol):
        arm = protocol.arms[place.arm]
        if arm.text not in cards:
            cards[arm.text] = read_json(places.tokens(arm.text) / "card.json") | {"source": source}
        config = RunConfig.read(place.config)
        row, history = read_run(place.run, config, place.experiment, place.seed, cards[arm.text])
        epochs.append(history)
        rows.append(
            row
            | {
                "arm": place.arm,
                "part": arm.part,
                "role": place.role,
                "point": place.point,
                "text_times": arm.text,
                "of": arm.of,
                "scale": study.scale,
            }
        )
        if place.role is Role.CONFIRMATION:
            documents.append(_documents(place.run).assign(arm=place.arm, seed=place.seed))
    runs_table, epochs_table = as_tables(rows, epochs, RUNS, places.RUNS)
    table = pd.concat(documents)[DOCUMENTS.names]
    return runs_table, epochs_table, pa.Table.from_pandas(table, schema=DOCUMENTS, preserve_index=False)


def _documents(run: Path) -> pd.DataFrame:
    path = run / "test_documents.csv"
    try:
        table = pd.read_csv(path)
    except (OSError, ValueError) as error:
        raise StudyError(f"{path}: cannot be read ({error}); `dvc repro -f` makes it") from None
    if list(table.columns) != ["document", "predicted_tokens", "nll"]:
        raise StudyError(f"{path}: not a table of documents; `dvc repro -f` makes it")
    return table


def write(tables: tuple[pa.Table, pa.Table, pa.Table], folder: Path) -> None:
    """Write ``runs.parquet``, ``epochs.parquet`` and ``documents.parquet``."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, schema, table in zip(("runs", "epochs", "documents"), (RUNS, EPOCHS, DOCUMENTS), tables, strict=True):
        pq.write_table(table.replace_schema_metadata(schema.metadata), folder / f"{name}.parquet")
