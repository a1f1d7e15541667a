"""A launch from beginning to end: what is upstream, the runs side by side, what is downstream."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from lm.errors import StudyError
from lm.launch import slurm
from lm.launch.command import DVC, SIDE_BY_SIDE, environment, repro, run_here
from lm.launch.cores import Slot, deal, usable_cores
from lm.launch.dispatch import dispatch
from lm.launch.locks import only_launch, state_folder, wait_for_locks
from lm.launch.on_ray import RayEngine
from lm.launch.plan import Plan, Run, read_plan, upstream_of
from lm.launch.record import mend_locks
from lm.launch.runner import STOPPED
from lm.launch.settings import Settings
from lm.launch.stopping import Stop
from lm.launch.watch import Watch
from lm.launch.work import Work, longest_first, read_work


def tell(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def launch(root: Path, targets: Sequence[str], settings: Settings) -> int:
    """Bring ``targets`` up to date, their runs side by side. The exit status: 0 if all is done.

    Raises :class:`StudyError` where nothing can be started.
    """
    stop = Stop()
    with only_launch(root), stop.listening():
        slurm.refuse_beside(root)
        wait_for_locks(root, tell)
        mend_locks(root, tell)
        plan = read_plan(root, targets)
        if settings.engine == "slurm":
            return _submit(root, plan, settings, stop)
        return _Launch(root, plan, settings, stop).run()


def finish(root: Path, targets: Sequence[str]) -> int:
    """Bring what is downstream of the runs up to date if they all are, and train nothing otherwise."""
    stop = Stop()
    with stop.listening():
        plan = read_plan(root, targets)
        missing = changed(root, plan.runs)
        for run in missing:
            tell(f"{run.name}: not trained; its log: {logs_folder(root) / f'{run.name}.log'}")
        if missing:
            tell(f"{len(missing)} of {len(plan.runs)} runs are missing; what depends on them is left as it was")
            return 1
        return run_here(repro(*plan.targets), root, stop)


def logs_folder(root: Path) -> Path:
    folder = state_folder(root) / "logs"
    folder.mkdir(exist_ok=True)
    return folder


def changed(root: Path, runs: Sequence[Run]) -> list[Run]:
    """Those of ``runs`` that DVC does not find up to date."""
    if not runs:
        return []
    command = [*DVC, "status", "--json", *(run.target for run in runs)]
    done = subprocess.run(
        command,
        cwd=root,
        env=environment(os.environ),
        capture_output=True,
        text=True,
        start_new_session=True,
        check=False,
    )
    if done.returncode:
        raise StudyError(f"dvc status: {' '.join(done.stderr.split()) or f'exit status {done.returncode}'}")
    stages = json.loads(done.stdout)
    return [run for run in runs if run.target in stages]


def _upstream(root: Path, runs: Sequence[Run], stop: Stop) -> None:
    """Bring up to date what runs start from: ``--single-item`` takes it as it lies there, stale or not."""
    stages = upstream_of(runs)
    status = run_here(repro(*stages), root, stop) if stages else 0
    if status and not stop.requests:
        raise StudyError(f"what the runs start from could not be made ({', '.join(stages)}); nothing was trained")


def _submit(root: Path, plan: Plan, settings: Settings, stop: Stop) -> int:
    later, missing = list(plan.levels), list[Run]()
    while later and not missing:
        level = later.pop(0)
        _upstream(root, level, stop)
        if stop.requests:
            return STOPPED
        missing = changed(root, level)
    if not missing:
        tell("all runs are up to date")
        return run_here(repro(*plan.targets), root, stop)
    works = read_work(root, missing)
    waves = [longest_first(missing, works), *later]
    threads = max(work.threads for work in works.values())
    cuda = any(work.cuda for work in works.values())
    for line in slurm.submit(root, logs_folder(root), plan, waves, settings, threads, cuda):
        tell(line)
    return 0


class _Launch:
    """Waves of runs on Ray, and the state between them."""

    def __init__(self, root: Path, plan: Plan, settings: Settings, stop: Stop) -> None:
        self._root, self._plan, self._settings, self._stop = root, plan, settings, stop
        self._logs = logs_folder(root)
        self._statuses: dict[str, int] = {}
        self._skipped: list[Run] = []

    def run(self) -> int:
        began = time.monotonic()
        for level in self._plan.levels:
            self._level(level)
            if self._stop.requests:
                tell("stopped; checkpoints are saved, and the next launch, or `dvc repro`, goes on from there")
                return STOPPED
        failed = [run for run in self._plan.runs if self._statuses.get(run.target)]
        if self._statuses:
            trained = len(self._statuses) - len(failed)
            tell(f"{trained} runs brought up to date in {time.monotonic() - began:.0f} s, {len(failed)} failed")
        if failed:
            for run in failed:
                tell(f"failed: {run.name}; its log: {self._logs / f'{run.name}.log'}")
            for run in self._skipped:
                tell(f"not started: {run.name}, which depends on one that failed")
            tell("what depends on them is left as it was; the next launch trains only what is missing")
            return 1
        return run_here(repro(*self._plan.targets), self._root, self._stop)

    def _level(self, level: Sequence[Run]) -> None:
        unmet = {target for target, status in self._statuses.items() if status} | {
            each.target for each in self._skipped
        }
        ready = [run for run in level if not run.after & unmet]
        self._skipped += [run for run in level if run.after & unmet]
        if not ready:
            return
        _upstream(self._root, ready, self._stop)
        missing = changed(self._root, ready) if not self._stop.requests else []
        if not missing:
            return
        works = read_work(self._root, missing)
        if not self._stop.requests:
            self._train(longest_first(missing, works), works)

    def _train(self, runs: Sequence[Run], works: dict[str, Work]) -> None:
        settings = self._settings
        threads = max(work.threads for work in works.values())
        gpus = settings.gpus if settings.gpus is not None else int(any(work.cuda for work in works.values()))
        on_cores = not gpus and settings.address is None
        slots = deal(len(runs), threads, usable_cores(), settings.jobs) if on_cores else []
        engine = RayEngine(
            self._root,
            self._logs,
            address=settings.address,
            workers=len(slots) or settings.jobs or len(usable_cores()),
            cores=1 if on_cores else settings.cores or threads if settings.address else 0,
            gpus=gpus,
        )
        self._stop.install()  # Ray puts a handler of its own
        try:
            slots = slots or [Slot()] * min(settings.jobs or len(runs), engine.room(), len(runs))
            if not slots:
                raise StudyError(f"no machine has room for a run of {settings.cores or threads} cores and {gpus} GPUs")
            engine.environment[SIDE_BY_SIDE] = str(len(slots))
            self._tell_of(runs, slots, threads)
            watch = Watch(self._root, self._logs, runs, works)
            try:
                self._statuses |= dispatch(runs, slots, engine, watch, self._stop)
            finally:
                watch.close()
        finally:
            engine.close()

    def _tell_of(self, runs: Sequence[Run], slots: Sequence[Slot], threads: int) -> None:
        kept = f", each kept to {len(slots[0].cores)} core(s)" if slots[0].cores else ""
        asleep = f", {threads} threads that wait asleep" if slots[0].environment else ""
        tell(f"{len(runs)} runs to train, {len(slots)} at once{kept}{asleep}; logs in {self._logs}")
