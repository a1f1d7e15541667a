"""Cross-validation summed up: the experiments of DVC that have a fold each, joined into one table a study.

An experiment is a commit, so its settings and results are read from git: nothing in the workspace is touched.
"""

from __future__ import annotations

import json
import math
import statistics
import subprocess
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from lm.config.yaml import parse_yaml
from lm.errors import StudyError
from lm.results import schema
from lm.results.load import load_table
from lm.results.summarize import summarize

_DEPTH = 5
"""Parts of the name of an experiment's reference: refs/exps/<two digits>/<the rest of its base>/<name>."""
_RUNS, _EPOCHS = "reports/runs.parquet", "reports/epochs.parquet"


@dataclass(frozen=True, kw_only=True)
class Fold:
    """One result: the validation loss in nats by experiment id, a mean over seeds, None where one diverged.

    What counts as diverged is said in :mod:`lm.results.states`.
    """

    settings: dict[str, Any]
    folds: int
    fold: int
    losses: dict[str, float | None]


@dataclass(frozen=True, kw_only=True)
class CrossValidation:
    """The folds of one study, by their number."""

    settings: dict[str, Any]
    folds: int
    by_fold: dict[int, Fold]

    @property
    def missing(self) -> list[int]:
        return [fold for fold in range(self.folds) if fold not in self.by_fold]

    def experiments(self) -> list[str]:
        return list(dict.fromkeys(name for fold in self.by_fold.values() for name in fold.losses))

    def losses(self, experiment: str) -> list[float]:
        """One a fold, in their order, of those that did not diverge."""
        values = [self.by_fold[fold].losses.get(experiment) for fold in sorted(self.by_fold)]
        return [value for value in values if value is not None]


def read_folds(project: Path) -> list[Fold]:
    """The experiments in the repository of ``project`` that have a fold and results, oldest first.

    Raises :class:`StudyError` where there is no git repository, which DVC keeps its experiments in, and for settings
    or tables of an experiment that cannot be read.
    """
    listed = _git(project, "for-each-ref", "--sort=creatordate", "--format=%(refname)", "refs/exps")
    if listed is None:
        raise StudyError(f"{project}: not a git repository; DVC keeps its experiments in one")
    found = []
    for name in listed.decode().split():
        if len(name.split("/")) != _DEPTH:
            continue
        params, runs, epochs = (_git(project, "show", f"{name}:./{path}") for path in ("params.yaml", _RUNS, _EPOCHS))
        if params is None or runs is None or epochs is None:
            continue
        settings = parse_yaml(params.decode(errors="replace"), f"params.yaml at {name}")
        if not isinstance(settings, dict):
            continue
        split = settings.pop("split", None)
        if isinstance(split, dict) and split.get("folds"):
            losses = _losses(runs, epochs, name)
            found.append(Fold(settings=settings, folds=split["folds"], fold=split["fold"], losses=losses))
    return found


def join_folds(folds: Iterable[Fold]) -> list[CrossValidation]:
    """Folds whose settings differ in nothing else, together. Of a fold that ran twice the later result stands."""
    studies: dict[str, dict[int, Fold]] = defaultdict(dict)
    for fold in folds:
        key = json.dumps([fold.settings, fold.folds], sort_keys=True)
        studies[key][fold.fold] = fold
    return [
        CrossValidation(settings=first.settings, folds=first.folds, by_fold=by_fold)
        for by_fold in studies.values()
        for first in [next(iter(by_fold.values()))]
    ]


def table(study: CrossValidation) -> str:
    """Markdown: the study in a line, then a row an experiment with mean, spread and range over folds."""
    done = f"{len(study.by_fold)} of {study.folds} folds"
    missing = f" (missing: {', '.join(map(str, study.missing))})" if study.missing else ""
    lines = [
        f"Corpus {study.settings['corpus']}, scale {study.settings['scale']}, {done}{missing}. Validation loss in "
        f"nats; perplexity is exp of the mean loss; the spread is the standard deviation over folds.",
        "",
        "| # | folds | mean loss | spread | perplexity | lowest | highest |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    lines += [_row(name, study.losses(name), len(study.by_fold)) for name in study.experiments()]
    return "\n".join(lines)


def _row(name: str, losses: Sequence[float], folds: int) -> str:
    diverged = folds - len(losses)
    count = f"{len(losses)}" + (f" ({diverged} diverged)" if diverged else "")
    if not losses:
        return f"| {name} | {count} | – | – | – | – | – |"
    mean = statistics.fmean(losses)
    spread = f"{statistics.stdev(losses):.4f}" if len(losses) > 1 else "–"
    ends = " | ".join(f"{math.exp(each):.1f}" for each in (mean, min(losses), max(losses)))
    return f"| {name} | {count} | {mean:.4f} | {spread} | {ends} |"


def _losses(runs: bytes, epochs: bytes, revision: str) -> dict[str, float | None]:
    tables = (
        load_table(pa.BufferReader(content), expected, f"{path} at {revision}")
        for content, expected, path in ((runs, schema.RUNS, _RUNS), (epochs, schema.EPOCHS, _EPOCHS))
    )
    summaries = summarize(*tables)
    return {each.id: None if each.diverged else each.validation_loss.mean for each in summaries.experiments}


def _git(project: Path, *arguments: str) -> bytes | None:
    """What git prints, or None where it fails: no repository, no such file in that commit."""
    done = subprocess.run(["git", *arguments], cwd=project, capture_output=True, check=False)
    return done.stdout if done.returncode == 0 else None
