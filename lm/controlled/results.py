"""The controlled study's tables, read back: each arm with what was tried and what was confirmed."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from lm.controlled.schema import DOCUMENTS, RUNS, Role
from lm.errors import StudyError
from lm.protocol.rates import COMPLETED, Edge
from lm.results.schema import EPOCHS
from lm.results.schema import RUNS as DEFAULT_RUNS
from lm.results.states import Kind
from lm.results.statistics import finite
from lm.results.summarize import summarize
from lm.results.summary import ExperimentSummary, Run, Text

_COMPARED = (
    "model", "optimizer", "layers", "sizes", "weight_decay", "momentum", "beta2", "text_times", "epochs", "norm",
    "warmup", "schedule", "clip", "dropout", "label_smoothing", "patience", "shards",
)  # fmt: skip
"""Columns in which a treatment may differ from what it treats, beside the rate."""


@dataclass(frozen=True, kw_only=True)
class Trial:
    """One rate of an arm under the tuning seed. ``loss``: validation loss (nats a token) of the best epoch, None where
    the run met a loss that was not finite; ``test_loss``: with that epoch's weights, likewise; ``learned``: whether it
    learned to use context."""

    point: str
    rate: float
    loss: float | None
    test_loss: float | None
    learned: bool
    beyond: bool
    seconds: float | None


@dataclass(frozen=True, kw_only=True)
class ArmResult:
    """One arm. ``trials`` by rate; ``confirmed`` over the fresh seeds, at the chosen rate; ``changed``: settings in
    which it differs from the arm that it treats, its values, each of the ``sizes`` with its name; ``body``: parameters
    beside the embeddings; ``documents``: summed test loss (nats) and tokens by document, means over seeds, empty where
    unknown."""

    name: str
    part: str
    of: str | None
    changed: tuple[tuple[str, Any], ...]
    trials: tuple[Trial, ...]
    confirmed: ExperimentSummary
    body: int | None
    text_times: int
    documents: tuple[np.ndarray, np.ndarray]

    @property
    def rate(self) -> float:
        """The rate that was chosen."""
        return self.confirmed.settings.lr

    @cached_property
    def chosen(self) -> Trial | None:
        """The trial at the chosen rate."""
        return next((trial for trial in self.trials if trial.rate == self.rate), None)

    @cached_property
    def ranked(self) -> list[Trial]:
        """Trials that did not fail, the best first."""
        finite = [trial for trial in self.trials if trial.loss is not None]
        return sorted(finite, key=lambda trial: (trial.loss, trial.rate))

    @property
    def edge(self) -> Edge:
        """Where the chosen rate lies in all that was tried, the trials beyond the grid included."""
        rates = [trial.rate for trial in self.trials]
        if not rates or self.rate in (min(rates), max(rates)):
            return Edge.LOW if rates and self.rate == min(rates) else Edge.HIGH
        return Edge.NONE

    @property
    def relative(self) -> bool:
        """Whether it was tried at multiples of another arm's rate, and so not searched."""
        return any(trial.point.startswith("x") for trial in self.trials)

    @property
    def together(self) -> bool:
        """Whether it is treated with several remedies at once."""
        return len(self.changed) > 2

    @property
    def worded(self) -> tuple[tuple[str, str], ...]:
        """:attr:`changed` as the report words it: values as text; by keys of their own one epoch, which is no plural,
        and what the arm has none of."""
        return tuple(self._worded(key, value) for key, value in self.changed)

    def _worded(self, key: str, value: Any) -> tuple[str, str]:
        if value is None:
            return f"no_{key}", ""
        if (key, value) == ("epochs", 1):
            key = "one_epoch"
        names = {"model": self.label, "optimizer": self.confirmed.optimizer_label}
        return key, names.get(key) or (f"{value:g}" if isinstance(value, int | float) else str(value))

    @property
    def failed(self) -> tuple[Run, ...]:
        """Confirmations that diverged or did not learn to use context."""
        return tuple(run for run in self.confirmed.runs if not run.state.learned or run.test_loss is None)

    @property
    def kinds(self) -> tuple[Kind, ...]:
        """The kinds of run among the confirmations that did not fail, of all where all did; the one that learns last is
        last, and is the arm's, for when a run leaves the plateau depends on the seed."""
        sound = [run for run in self.confirmed.runs if run.seed in self.losses] or self.confirmed.runs
        found = {run.course.kind for run in sound}
        return tuple(kind for kind in Kind if kind in found)

    @property
    def losses(self) -> dict[int, float]:
        """Test loss by seed, of the confirmations that did not fail."""
        failed = {run.seed for run in self.failed}
        return {
            run.seed: run.test_loss
            for run in self.confirmed.runs
            if run.seed not in failed and run.test_loss is not None
        }

    @property
    def label(self) -> str:
        """The architecture's name."""
        return self.confirmed.model_label

    def forgiving(self, share: float = 0.02) -> tuple[float, float] | None:
        """Lowest and highest rate next to the best, without a gap, whose perplexity is within ``share`` of its."""
        if not self.ranked or self.ranked[0].loss is None:
            return None
        best = self.ranked[0]
        at = self.trials.index(best)
        within = [t.loss is not None and t.loss <= self.ranked[0].loss + np.log1p(share) for t in self.trials]
        low, high = at, at
        while low > 0 and within[low - 1]:
            low -= 1
        while high < len(within) - 1 and within[high + 1]:
            high += 1
        return self.trials[low].rate, self.trials[high].rate


@dataclass(frozen=True, kw_only=True)
class Controlled:
    """The whole study. ``text``: what all arms predict; its training tokens are those of an arm with the usual text."""

    arms: tuple[ArmResult, ...]
    text: Text
    tuning_seed: int
    seeds: tuple[int, ...]

    @property
    def precisions(self) -> tuple[str, ...]:
        """Number formats of the confirmations' products."""
        return precisions(arm.confirmed for arm in self.arms)

    @property
    def hardware(self) -> tuple[str, ...]:
        """Hardware, threads and runs at once of the confirmations, in words, the commonest of an arm."""
        return tuple(sorted({arm.confirmed.hardware for arm in self.arms}))

    def __getitem__(self, name: str) -> ArmResult:
        for arm in self.arms:
            if arm.name == name:
                return arm
        raise KeyError(name)


def precisions(experiments: Iterable[ExperimentSummary]) -> tuple[str, ...]:
    """Number formats that occur in the runs, sorted; unknown ones are left out."""
    return tuple(sorted({run.precision for each in experiments for run in each.runs if run.precision}))


def load(folder: Path) -> Controlled:
    """Read the three tables under ``folder``.

    Raises :class:`StudyError` when one is missing or of another schema.
    """
    runs, epochs, documents = (
        _table(folder / f"{name}.parquet", schema)
        for name, schema in (("runs", RUNS), ("epochs", EPOCHS), ("documents", DOCUMENTS))
    )
    return from_tables(runs, epochs, documents)


def from_tables(runs: pd.DataFrame, epochs: pd.DataFrame, documents: pd.DataFrame) -> Controlled:
    """The study from its tables; arms in their order of appearance."""
    summaries = {each.id: each for each in summarize(runs[DEFAULT_RUNS.names], epochs).experiments}
    rows: dict[str, list[dict[str, Any]]] = {}
    for row in runs.to_dict("records"):
        rows.setdefault(str(row["arm"]), []).append({str(key): value for key, value in row.items()})
    first = {name: _first(own, name) for name, own in rows.items()}
    by_arm = dict(iter(documents.groupby("arm")))
    arms = tuple(
        ArmResult(
            name=name,
            part=first[name]["part"],
            of=first[name]["of"],
            changed=_changed(first[name], first.get(first[name]["of"])),
            trials=tuple(sorted(_trials(own, summaries), key=lambda trial: trial.rate)),
            confirmed=summaries[name],
            body=_body(summaries[name]),
            text_times=int(first[name]["text_times"]),
            documents=_documents(by_arm.get(name)),
        )
        for name, own in rows.items()
    )
    usual = next((arm for arm in arms if arm.text_times == 1), arms[0])
    tuning = [int(row["seed"]) for own in rows.values() for row in own if row["role"] != Role.CONFIRMATION]
    seeds = {int(row["seed"]) for own in rows.values() for row in own if row["role"] == Role.CONFIRMATION}
    return Controlled(arms=arms, text=usual.confirmed.text, tuning_seed=tuning[0], seeds=tuple(sorted(seeds)))


def _table(path: Path, schema: pa.Schema) -> pd.DataFrame:
    try:
        table = pq.read_table(path)
    except FileNotFoundError:
        raise StudyError(f"{path}: no such file; `dvc repro controlled/dvc.yaml` makes it") from None
    except (OSError, pa.ArrowInvalid) as error:
        raise StudyError(f"{path}: not a Parquet file that can be read: {error}") from None
    if not table.schema.equals(schema):
        raise StudyError(
            f"{path}: columns are not those of this version; `dvc repro controlled/dvc.yaml` makes it anew"
        )
    return table.to_pandas()


def _first(rows: list[dict[str, Any]], name: str) -> dict[str, Any]:
    confirmed = [row for row in rows if row["role"] == Role.CONFIRMATION]
    if not confirmed or len(confirmed) == len(rows):
        raise StudyError(f"reports/controlled/runs.parquet: arm {name} lacks trials or confirmations")
    return {key: None if pd.isna(value) else value for key, value in confirmed[0].items()}


def _trials(rows: list[dict[str, Any]], summaries: Mapping[str, ExperimentSummary]) -> list[Trial]:
    return [
        Trial(
            point=str(row["point"]),
            rate=float(row["lr"]),
            loss=finite(row["validation_loss"]) if row["status"] == COMPLETED else None,
            test_loss=finite(row["test_loss"]) if row["status"] == COMPLETED else None,
            learned=summaries[row["experiment"]].runs[0].state.learned,
            beyond=row["role"] == Role.BEYOND,
            seconds=summaries[row["experiment"]].runs[0].train_seconds,
        )
        for row in rows
        if row["role"] != Role.CONFIRMATION
    ]


def _changed(row: dict[str, Any], base: dict[str, Any] | None) -> tuple[tuple[str, Any], ...]:
    if base is None:
        return ()
    return tuple(
        (key, value)
        for key in _COMPARED
        if row[key] != base[key]
        for value in (_sizes(row[key], base[key]) if key == "sizes" else (row[key],))
    )


def _sizes(own: str, base: str) -> list[str]:
    """``mlp 2048``: each size that the other arm has not, or not as large."""
    before = json.loads(base)
    return [f"{size} {value}" for size, value in json.loads(own).items() if before.get(size) != value]


def _body(summary: ExperimentSummary) -> int | None:
    if summary.parameters is None or summary.embedding_parameters is None:
        return None
    return summary.parameters - summary.embedding_parameters


def _documents(rows: pd.DataFrame | None) -> tuple[np.ndarray, np.ndarray]:
    if rows is None:
        return np.zeros(0), np.zeros(0)
    means = rows.groupby("document")[["nll", "predicted_tokens"]].mean()
    return means["nll"].to_numpy(float), means["predicted_tokens"].to_numpy(float)
