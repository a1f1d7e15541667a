"""What there is to do, from the pipeline as DVC sees it: runs, what they wait for, and which of them go first."""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from lm.errors import StudyError

PROJECT_FILE = "dvc.yaml"


@dataclass(frozen=True, kw_only=True)
class Run:
    """One training stage.

    ``target`` is its name to DVC from the project's root (``train@5-42``, ``controlled/dvc.yaml:train@a-7``);
    ``folder`` is where its results come to lie, ``config`` its resolved configuration, ``tokens`` what it reads,
    relative to the root too. ``after`` are the runs that have to be done before, ``upstream`` the other stages.
    """

    target: str
    folder: Path
    config: Path
    tokens: Path
    after: frozenset[str] = frozenset()
    upstream: frozenset[str] = frozenset()

    @property
    def name(self) -> str:
        """What the run is called where people read it, and its log: the folder, without a leading ``runs/``."""
        parts = self.folder.parts[1:] if self.folder.parts[0] == "runs" else self.folder.parts
        return "-".join(part for part in parts if part != "runs")


@dataclass(frozen=True)
class Plan:
    """The runs that some targets need, in the pipeline's order; each name is one run's."""

    targets: tuple[str, ...]
    runs: tuple[Run, ...]

    @cached_property
    def levels(self) -> tuple[tuple[Run, ...], ...]:
        """Runs that wait for no run; those that wait for these; and so on.

        A tuned study has two such levels or more: rates are chosen from runs, and what is chosen is run again.
        """
        depths: dict[str, int] = {}
        for run in self.runs:
            depths[run.target] = 1 + max((depths[target] for target in run.after), default=-1)
        return tuple(
            tuple(run for run in self.runs if depths[run.target] == depth)
            for depth in range(max(depths.values(), default=-1) + 1)
        )


def upstream_of(runs: Iterable[Run]) -> list[str]:
    """Stages, other than runs, that have to be up to date before the runs start."""
    return sorted({target for run in runs for target in run.upstream})


def read_plan(root: Path, targets: Sequence[str]) -> Plan:
    """The plan for ``targets``, as ``dvc repro`` takes them in ``root``, which must be the current directory.

    None means the whole ``dvc.yaml``.

    Raises :class:`StudyError` where DVC cannot read the pipeline, knows no such target, or the targets need no run.
    """
    # DVC takes a second to import, and no other part of a launch needs it in this process
    from dvc.exceptions import DvcException
    from dvc.repo import Repo

    chosen = tuple(targets) or (PROJECT_FILE,)
    try:
        with Repo(str(root)) as repo:
            graph = repo.index.graph
            wanted = [stage for target in chosen for stage in repo.stage.collect(target)]
            return _plan(root.resolve(), chosen, graph, wanted)
    except DvcException as error:
        raise StudyError(" ".join(str(error).split())) from None


def _plan(root: Path, targets: tuple[str, ...], graph: Any, wanted: Sequence[Any]) -> Plan:
    order: list[Any] = []
    before: dict[Any, set[Any]] = {}
    for stage in wanted:
        _visit(graph, stage, order, before)
    parsed = {stage: _command(stage.cmd) for stage in order}
    runs = []
    for stage in order:
        command = parsed[stage]
        if command is None:
            continue
        home = Path(stage.wdir).resolve().relative_to(root)
        runs.append(
            Run(
                target=stage.addressing,
                folder=home / command.out,
                config=home / command.config,
                tokens=home / command.tokens,
                after=frozenset(each.addressing for each in before[stage] if parsed[each]),
                upstream=frozenset(each.addressing for each in before[stage] if not parsed[each]),
            )
        )
    if not runs:
        raise StudyError(f"{', '.join(targets)}: no stage there runs stages.train, nor does what they depend on")
    names = [run.name for run in runs]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise StudyError(f"two runs are called {twice[0]}; launch their pipelines one after the other")
    return Plan(targets, tuple(runs))


def _visit(graph: Any, stage: Any, order: list[Any], before: dict[Any, set[Any]]) -> None:
    """Append a stage to ``order`` after all that it depends on, which ``before`` takes; DVC's graph has no circles."""
    if stage in before:
        return
    needed: set[Any] = set()
    for each in graph.successors(stage):
        _visit(graph, each, order, before)
        needed |= {each} | before[each]
    before[stage] = needed
    order.append(stage)


def _command(command: str | Sequence[str] | None) -> argparse.Namespace | None:
    """The arguments of ``python -m stages.train``, if that is what the stage runs."""
    words = shlex.split(command) if isinstance(command, str) else []
    if "stages.train" not in words:
        return None
    parser = argparse.ArgumentParser(exit_on_error=False, add_help=False)
    parser.add_argument("--config", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--tokens", type=Path, default=Path("data/tokens"))
    return parser.parse_known_args(words[words.index("stages.train") + 1 :])[0]
