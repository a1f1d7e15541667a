"""SLURM as the engine: runs as a job array, what comes before and after as jobs that depend on it.

Nothing stays on the machine that submits. https://slurm.schedmd.com/sbatch.html, and job_array.html, preempt.html.
"""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from lm.errors import StudyError, reading
from lm.launch.command import SIDE_BY_SIDE, repro, repro_run
from lm.launch.cores import waiting
from lm.launch.locks import STATE
from lm.launch.plan import Plan, Run, upstream_of
from lm.launch.runner import GRACE_SECONDS, STOPPED
from lm.launch.settings import Settings

_SUBMITTED = STATE / "slurm.json"
_GIVE_UP = 300  # seconds that a run waits for processes of its earlier start, should its node only have seemed dead


def refuse_beside(root: Path) -> None:
    """Raise :class:`StudyError` while jobs of an earlier launch are in the queue: one run is never started twice."""
    path = root / _SUBMITTED
    if not path.is_file():
        return
    with reading(path, "remove it once no job of a launch is in the queue", (ValueError, KeyError, TypeError)):
        jobs = list(map(str, json.loads(path.read_text())["jobs"]))
    if shutil.which("squeue") is None:
        raise StudyError(
            f"{path}: SLURM jobs {', '.join(jobs)} may be at work here, and there is no squeue to ask; "
            "launch where they were submitted, or remove the file once they have ended"
        )
    # unlike for squeue, jobs that SLURM has forgotten are no error for scontrol's array of all
    asked = subprocess.run(["squeue", "--noheader", "--format=%F"], capture_output=True, text=True, check=False)
    if asked.returncode:
        raise StudyError(f"squeue: {' '.join(asked.stderr.split())}")
    alive = [job for job in jobs if job in asked.stdout.split()]
    if alive:
        raise StudyError(
            f"SLURM jobs of an earlier launch are in the queue: {', '.join(alive)}; wait for them, or "
            f"`scancel {' '.join(alive)}`"
        )
    path.unlink()


def submit(
    root: Path, logs: Path, plan: Plan, waves: Sequence[Sequence[Run]], settings: Settings, threads: int, cuda: bool
) -> list[str]:
    """Submit everything; returns lines that tell the user what was.

    ``waves`` are the runs, each wave waiting for the one before and for the stages between. Raises :class:`StudyError`
    where SLURM is not there or refuses.
    """
    if shutil.which("sbatch") is None:
        raise StudyError("--slurm: there is no sbatch here; run this where jobs are submitted from")
    gpus = settings.gpus if settings.gpus is not None else int(cuda)
    queue = _Queue(root, settings)
    told: list[str] = []
    for number, wave in enumerate(waves):
        after = queue.jobs[-1:]
        if after:
            after = [queue.add(f"between-{number}", [_command(repro(*upstream_of(wave)))], _after("ok", after))]
        at_once = min(settings.jobs or len(wave), len(wave))
        options = [f"--array=0-{len(wave) - 1}%{at_once}", f"--cpus-per-task={settings.cores or threads}"]
        options += [f"--gres=gpu:{gpus}"] if gpus else []
        options += [f"--mem={settings.memory}"] if settings.memory else []
        options += [f"--time={settings.time}"] if settings.time else []
        options += [f"--signal=TERM@{settings.warning}"]
        training = _training(wave, logs, settings, at_once, threads)
        job = queue.add(f"runs-{number}", training, options + _after("ok", after))
        told.append(f"job {job}: {len(wave)} runs, {at_once} at once; logs in {logs}")
    finish = _command([sys.executable, "-m", "stages.launch", "--finish", *plan.targets])
    job = queue.add("report", [finish], _after("any", queue.jobs))
    told.append(f"job {job}: what depends on them, when they have ended; {queue.scripts / 'report.log'}")
    return [*told, f"to see how far: squeue --jobs={','.join(queue.jobs)}; to stop: scancel {' '.join(queue.jobs)}"]


class _Queue:
    """The jobs of one launch, known to the next one as soon as SLURM has taken them; all or none."""

    def __init__(self, root: Path, settings: Settings) -> None:
        self._root, self._settings = root, settings
        self.scripts = root / STATE / "slurm"
        self.scripts.mkdir(parents=True, exist_ok=True)
        self.jobs: list[str] = []

    def add(self, name: str, body: Sequence[str], options: Sequence[str]) -> str:
        """Submit a job; its number. Raises :class:`StudyError` where SLURM refuses: then it takes back the others."""
        path = self.scripts / f"{name}.sh"
        path.write_text(_script(self._root, self._settings, body))
        array = any(option.startswith("--array") for option in options)
        log = self.scripts / (f"{name}-%a.log" if array else f"{name}.log")
        command = ["sbatch", "--parsable", f"--job-name=study-{name}", f"--output={log}"]
        command += ["--requeue", "--open-mode=append"]
        command += ["--kill-on-invalid-dep=yes"]  # what waits for a run that failed would stay in the queue for ever
        command += [*self._settings.sbatch, *options, str(path)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        number = re.match(r"\d+", done.stdout)
        if done.returncode or number is None:
            if self.jobs:
                subprocess.run(["scancel", *self.jobs], check=False)
            raise StudyError(f"sbatch: {' '.join((done.stderr or done.stdout).split())}")
        self.jobs.append(number.group())
        partial = self.scripts / "jobs.partial"
        partial.write_text(json.dumps({"jobs": self.jobs}) + "\n")
        partial.replace(self._root / _SUBMITTED)
        return self.jobs[-1]


def _after(how: str, jobs: Sequence[str]) -> list[str]:
    return [f"--dependency=after{how}:{':'.join(jobs)}"] if jobs else []


def _command(words: Sequence[str]) -> str:
    return f"srun --ntasks=1 {shlex.join(words)}"


def _script(root: Path, settings: Settings, body: Sequence[str]) -> str:
    path = shlex.quote(str(Path(sys.executable).parent))
    return "\n".join(
        [
            "#!/bin/bash",
            settings.preamble.rstrip(),
            f"cd {shlex.quote(str(root))} || exit 1",
            f"export PATH={path}:$PATH",
            *body,
            "",
        ]
    )


def _training(wave: Sequence[Run], logs: Path, settings: Settings, at_once: int, threads: int) -> list[str]:
    """Shell lines of one task of the array: its run, and its way back into the queue where time has run out.

    SLURM requeues by itself what it preempts or loses with a node. At the time limit it only warns the step, with
    SIGTERM; the shell is still there and asks for the job to be queued again. `scancel` ends the shell too.
    """
    grace = str(max(settings.warning - 5, 1)) if settings.time else str(GRACE_SECONDS)
    runner = [sys.executable, "-m", "lm.launch.runner", "--grace", grace, "--wait", str(_GIVE_UP)]
    this = "[SLURM_ARRAY_TASK_ID]}"
    return [
        f"export {SIDE_BY_SIDE}={at_once}",
        *(f"export {name}={value}" for name, value in waiting(settings.cores or threads, threads)),
        f"targets=({shlex.join(run.target for run in wave)})",
        f"logs=({shlex.join(str(logs / f'{run.name}.log') for run in wave)})",
        f'srun --ntasks=1 --cpus-per-task="$SLURM_CPUS_PER_TASK" {shlex.join(runner)} --log "${{logs{this}" -- '
        f'{shlex.join(repro_run())} "${{targets{this}"',
        "status=$?",
        f'[ $status = {STOPPED} ] && scontrol requeue "${{SLURM_ARRAY_JOB_ID}}_${{SLURM_ARRAY_TASK_ID}}" && sleep 60',
        "exit $status",
    ]
