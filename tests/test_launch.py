"""What a launch plans, starts, shows and says, and what is left when it is stopped or killed."""

from __future__ import annotations

import errno
import fcntl
import io
import json
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import ClassVar

import psutil
import pytest
from ruamel.yaml import YAML

from lm.errors import StudyError
from lm.launch import session
from lm.launch.command import repro_run
from lm.launch.cores import Slot, deal
from lm.launch.dispatch import dispatch
from lm.launch.locks import holders, only_launch, wait_for_locks
from lm.launch.on_ray import train
from lm.launch.plan import Plan, Run, read_plan, upstream_of
from lm.launch.process import Supervised
from lm.launch.runner import BUSY, NO_LOCK, STOPPED, Runner
from lm.launch.settings import Settings, read_settings
from lm.launch.stopping import Stop
from lm.launch.watch import Watch, reason
from lm.launch.work import Work, longest_first
from tests.toy import Toy, toy_project

needs_ray = pytest.mark.skipif(find_spec("ray") is None, reason="Ray is not installed: requirements-scale.txt")


def run(name: str, *after: str, upstream: tuple[str, ...] = ("configure",)) -> Run:
    return Run(
        target=f"train@{name}",
        folder=Path("runs", name),
        config=Path("configs", f"{name.split('-')[0]}.json"),
        tokens=Path("data", "tokens"),
        after=frozenset(f"train@{each}" for each in after),
        upstream=frozenset(upstream),
    )


def works(runs: list[Run], operations: list[float]) -> dict[str, Work]:
    return {
        each.target: Work(threads=1, cuda=False, epochs=4, operations=amount)
        for each, amount in zip(runs, operations, strict=True)
    }


def until(true: Callable[[], object], seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.05)


# ---- what is planned


def test_runs_wait_for_the_runs_that_they_were_chosen_from():
    first, second, third = run("1-7"), run("2-7"), run("best-43", "1-7", "2-7", upstream=("configure", "choose"))
    plan = Plan(("dvc.yaml",), (first, second, third))
    assert plan.levels == ((first, second), (third,))
    assert upstream_of(plan.levels[0]) == ["configure"]
    assert upstream_of(plan.levels[1]) == ["choose", "configure"]


def test_names_are_what_people_call_the_runs():
    assert run("5-42").name == "5-42"
    there = Run(target="x", folder=Path("controlled/runs/rates/a-7"), config=Path("c"), tokens=Path("t"))
    assert there.name == "controlled-rates-a-7"


def test_the_longest_run_goes_first_and_equals_keep_their_order():
    runs = [run(name) for name in ("1-42", "2-42", "3-42", "4-42")]
    assert longest_first(runs, works(runs, [1.0, 3.0, 1.0, 9.0])) == [runs[3], runs[1], runs[0], runs[2]]


# ---- cores


def test_every_run_has_cores_of_its_own():
    slots = deal(runs=12, threads=2, cores=(0, 1, 4, 5), jobs=2)
    assert [slot.cores for slot in slots] == [(0, 1), (4, 5)]
    assert all(slot.environment == () for slot in slots)


def test_more_threads_than_cores_are_kept_and_wait_asleep():
    slots = deal(runs=12, threads=2, cores=(0, 1))
    assert [slot.cores for slot in slots] == [(0,), (1,)]
    assert {slot.environment for slot in slots} == {(("OMP_WAIT_POLICY", "passive"),)}


def test_a_run_alone_has_the_machine():
    assert deal(runs=1, threads=2, cores=(0, 1)) == [Slot()]
    assert deal(runs=1, threads=2, cores=(0, 1, 2, 3), jobs=4) == [Slot()]
    assert [slot.cores for slot in deal(runs=2, threads=2, cores=(0, 1, 2, 3), jobs=4)] == [(0, 1), (2, 3)]


def test_more_jobs_than_cores_are_refused():
    with pytest.raises(StudyError, match=r"--jobs 3: this machine has 2 cores"):
        deal(runs=12, threads=1, cores=(0, 1), jobs=3)


def test_where_nothing_can_be_pinned_threads_must_fit():
    assert deal(runs=12, threads=2, cores=(0, 1, 2, 3), can_pin=False) == [Slot(), Slot()]
    with pytest.raises(StudyError, match="4 runs of 2 threads do not fit 4 cores"):
        deal(runs=12, threads=2, cores=(0, 1, 2, 3), jobs=4, can_pin=False)


# ---- what is started when


class Recorder:
    """An engine without processes, and a spectator: runs end in the order given, one a look."""

    def __init__(self, statuses: dict[str, int] | None = None) -> None:
        self.statuses = statuses or {}
        self.active: list[Run] = []
        self.slots: dict[str, Slot] = {}
        self.events: list[str] = []

    def start(self, run: Run, slot: Slot) -> None:
        assert slot not in [self.slots[each.target] for each in self.active], "a slot is one run's at a time"
        self.slots[run.target] = slot
        self.active.append(run)
        self.events.append(f"start {run.name}")

    def finished(self, seconds: float) -> list[tuple[Run, int]]:
        assert seconds > 0
        done = self.active.pop(0)
        return [(done, self.statuses.get(done.name, 0))]

    def order(self, what: str) -> None:
        self.events.append(what)
        self.statuses |= {each.name: STOPPED for each in self.active}

    def started(self, run: Run) -> None:
        assert run in self.active

    def ended(self, run: Run, status: int) -> None:
        self.events.append(f"end {run.name} {status}")

    def look(self) -> None: ...


def test_a_failure_stops_no_other_run_and_slots_are_used_again():
    runs = [run(name) for name in ("1-42", "2-42", "3-42", "4-42")]
    engine = Recorder({"1-42": 1})
    slots = [Slot(cores=(0,)), Slot(cores=(1,))]
    statuses = dispatch(runs, slots, engine, engine, lambda: 0)
    assert statuses == {"train@1-42": 1, "train@2-42": 0, "train@3-42": 0, "train@4-42": 0}
    assert engine.events[:3] == ["start 1-42", "start 2-42", "end 1-42 1"]
    assert engine.slots["train@3-42"] == engine.slots["train@1-42"]


def test_asked_to_stop_it_starts_nothing_and_waits_for_those_at_work():
    runs = [run(name) for name in ("1-42", "2-42", "3-42", "4-42")]
    engine = Recorder()
    requests = iter([0, 1, 1, 2, 2, 2, 2, 2, 2])
    latest = [0]

    def orders() -> int:
        latest[0] = next(requests, 2)
        return latest[0]

    statuses = dispatch(runs, [Slot(cores=(0,)), Slot(cores=(1,))], engine, engine, orders)
    assert "train@4-42" not in statuses
    assert engine.events.count("stop") == 1
    assert STOPPED in statuses.values()


def test_a_launch_that_is_to_outlive_its_shell_heeds_no_sighup():
    """As ``nohup`` starts it."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        stop = Stop()
        with stop.listening():
            stop.install()
            os.kill(os.getpid(), signal.SIGHUP)
            os.kill(os.getpid(), signal.SIGTERM)
        assert stop.requests == 1
        assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
        signal.signal(signal.SIGHUP, signal.SIG_DFL)
        stop = Stop()
        with stop.listening():
            os.kill(os.getpid(), signal.SIGHUP)
        assert stop.requests == 1
    finally:
        signal.signal(signal.SIGHUP, before)


# ---- the runner


def test_a_runner_passes_on_output_and_status(tmp_path):
    supervised = Supervised(["sh", "-c", "echo said; exit 3"], tmp_path, os.environ | _imports(), tmp_path / "log")
    assert supervised.wait(20) == 3
    assert "said" in (tmp_path / "log").read_text()


def test_git_under_a_runner_takes_no_lock_that_it_can_do_without(tmp_path):
    def git(*words: str) -> None:
        subprocess.run(["git", *words], cwd=tmp_path, check=True, capture_output=True)

    git("init", "--quiet")
    (tmp_path / "file").write_text("staged")
    git("add", "file")
    index = (tmp_path / ".git" / "index").read_bytes()
    os.utime(tmp_path / "file", (1, 1))  # a status would write what it saw into the index
    supervised = Supervised(["git", "status"], tmp_path, os.environ | _imports(), tmp_path / "log")
    assert supervised.wait(20) == 0
    assert (tmp_path / ".git" / "index").read_bytes() == index
    git("status")
    assert (tmp_path / ".git" / "index").read_bytes() != index


def _imports() -> dict[str, str]:
    return {"PYTHONPATH": str(Path(__file__).parents[1])}


SAVES = """
import time
print("up", flush=True)
try:
    time.sleep(60)
except KeyboardInterrupt:
    time.sleep(0.5)
    print("saved")
    raise SystemExit(130)
"""
STARTS = """
import subprocess, sys, time
started = {before}
print("up", flush=True)
time.sleep({pause})
started = started or subprocess.Popen([sys.executable, "-c", {code!r}])
status = started.wait()
print("ended", flush=True)
sys.exit(status)
"""
"""As DVC does it: a process that is busy with files of its own before and after it starts another."""


def starts(before: bool = True) -> list[str]:
    """Such a process, its child there before it says that it is up, or a second later."""
    child = f"subprocess.Popen([sys.executable, '-c', {SAVES!r}])" if before else "None"
    return [sys.executable, "-c", STARTS.format(before=child, pause=0.5 if before else 1.0, code=SAVES)]


def test_a_runner_stops_in_order_though_sigint_was_blocked_where_it_was_started(tmp_path):
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    try:
        supervised = Supervised(starts(), tmp_path, os.environ | _imports(), tmp_path / "log")
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    until(lambda: (tmp_path / "log").exists() and (tmp_path / "log").read_text().splitlines().count("up") == 2)
    supervised.order("stop")
    assert supervised.wait(20) == STOPPED
    assert "saved" in (tmp_path / "log").read_text()


def test_a_command_that_is_told_to_stop_is_not_interrupted_but_what_it_starts_then_is(tmp_path):
    """DVC that is interrupted while it writes its lock leaves half of it."""
    log = tmp_path / "log"
    supervised = Supervised(starts(before=False), tmp_path, os.environ | _imports(), log)
    until(lambda: log.exists() and "up" in log.read_text())
    supervised.order("stop")
    assert supervised.wait(20) == STOPPED
    assert "ended" in log.read_text().splitlines()


def test_a_run_stops_when_who_started_it_is_killed_and_the_next_runner_waits_for_it(tmp_path):
    log = tmp_path / "log"
    # a name of its own: the runner stops as soon as nobody holds it
    code = (
        "import os, sys, time\nfrom pathlib import Path\nfrom lm.launch.process import Supervised\n"
        f"held = Supervised({starts()!r}, Path('.'), os.environ, Path({str(log)!r}))\ntime.sleep(60)"
    )
    starter = subprocess.Popen([sys.executable, "-c", code], env=os.environ | _imports())
    until(lambda: log.exists() and log.read_text().splitlines().count("up") == 2)
    starter.kill()
    starter.wait()
    second = Supervised([sys.executable, "-c", "print('second')"], tmp_path, os.environ | _imports(), log)
    assert second.wait(30) == 0
    assert log.read_text().index("saved") < log.read_text().index("second")


def test_a_runner_that_finds_its_log_held_says_so(tmp_path):
    log = tmp_path / "log"
    code = (
        f"import fcntl, time; file = open({str(log)!r}, 'a'); fcntl.flock(file, fcntl.LOCK_EX)\n"
        "print('up', file=file, flush=True); time.sleep(60)"
    )
    holder = subprocess.Popen([sys.executable, "-c", code])
    until(lambda: log.exists() and "up" in log.read_text())
    runner = [sys.executable, "-m", "lm.launch.runner", "--wait", "0.2", "--log", str(log), "--", "true"]
    try:
        assert subprocess.run(runner, env=os.environ | _imports(), check=False).returncode == BUSY
    finally:
        holder.kill()
        holder.wait()
    assert "an earlier launch" in reason(log, 0, BUSY)


# ---- locks


def table_of(root: Path, pid: int) -> None:
    (root / ".dvc" / "tmp").mkdir(parents=True)
    lock = {"write": {str(root / "runs" / "5-42"): {"pid": pid, "cmd": "dvc repro train@5-42"}}, "read": {}}
    (root / ".dvc" / "tmp" / "rwlock").write_text(json.dumps(lock))


def test_a_lock_of_a_process_that_is_another_program_is_named_with_what_to_do(tmp_path):
    sleeper = subprocess.Popen(["sleep", "60"])
    try:
        table_of(tmp_path, sleeper.pid)
        with pytest.raises(StudyError, match=r"runs/5-42 is locked by process \d+ .*another program.*remove the file"):
            wait_for_locks(tmp_path, lambda _text: None, seconds=5)
    finally:
        sleeper.kill()
        sleeper.wait()


def test_a_lock_of_a_process_that_has_ended_is_no_lock(tmp_path):
    ended = subprocess.Popen(["true"])
    ended.wait()
    table_of(tmp_path, ended.pid)
    assert holders(tmp_path) == []
    wait_for_locks(tmp_path, pytest.fail, seconds=0)


def test_dvc_at_work_here_is_waited_for_and_then_named(tmp_path):
    sleeper = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)", "dvc"])
    try:
        table_of(tmp_path, sleeper.pid)
        told: list[str] = []
        with pytest.raises(StudyError, match=rf"process {sleeper.pid} \(dvc repro train@5-42\) at work"):
            wait_for_locks(tmp_path, told.append, seconds=0.1)
        assert len(told) == 1
    finally:
        sleeper.kill()
        sleeper.wait()


def test_a_table_of_locks_is_read_again_while_dvc_writes_it(tmp_path):
    table_of(tmp_path, os.getpid())
    path = tmp_path / ".dvc" / "tmp" / "rwlock"
    whole = path.read_text()
    path.write_text("")
    writer = threading.Timer(0.3, path.write_text, [whole])
    writer.start()
    assert [holder.pid for holder in holders(tmp_path)] == [os.getpid()]
    writer.join()
    path.write_text(whole[:-1])
    with pytest.raises(StudyError, match=r"rwlock: damaged; remove it"):
        holders(tmp_path)


def test_a_disk_without_locks_is_told(tmp_path, monkeypatch):
    def none(*_: object) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", none)
    with (
        pytest.raises(StudyError, match=r"\.launch/lock: cannot be locked \(No locks available\)"),
        only_launch(tmp_path),
    ):
        pytest.fail("a launch without its lock")
    log = tmp_path / "log"
    assert Runner(["true"], log).run() == NO_LOCK
    assert reason(log, 0, NO_LOCK) == f"{log}: cannot be locked (No locks available); runs need flock"


@pytest.mark.parametrize("value", ["true", "True"])
def test_a_file_lock_left_behind_is_named(tmp_path, value):
    (tmp_path / ".dvc" / "tmp").mkdir(parents=True)
    (tmp_path / ".dvc" / "config").write_text(f"[core]\n    hardlink_lock = {value}\n")
    (tmp_path / ".dvc" / "tmp" / "lock").touch()
    with pytest.raises(StudyError, match=r"\.dvc/tmp/lock: there for .* remove it"):
        wait_for_locks(tmp_path, lambda _text: None, seconds=0.1)


def test_a_folder_has_one_launch(tmp_path):
    held = rf"process {os.getpid()} on .* is at work"
    with only_launch(tmp_path), pytest.raises(StudyError, match=held), only_launch(tmp_path):
        pytest.fail("two launches in one folder")
    with only_launch(tmp_path):
        assert (tmp_path / ".launch" / ".gitignore").read_text() == "*\n"


# ---- settings


def test_the_command_line_goes_over_the_profile(tmp_path):
    profile = tmp_path / "profile.yaml"
    profile.write_text("launch:\n  engine: slurm\n  jobs: 4\n  sbatch: [--partition=gpu]\n")
    assert read_settings(profile, {"jobs": 2, "engine": None}) == Settings(
        engine="slurm", jobs=2, sbatch=["--partition=gpu"]
    )


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("launch: {jbos: 3}", "launch.jbos"),
        ("launch: {jobs: 0}", "launch.jobs: 0"),
        ("launch: {engine: pbs}", "'ray' or 'slurm'"),
        ("jobs: 3", "expected one section"),
        ("launch: [", "not YAML"),
        ("launch: {jobs: 1, jobs: 2}", "key 'jobs' stands twice"),
        ("[" * 2000, "nested too deeply"),
    ],
)
def test_a_wrong_profile_is_one_line(tmp_path, text, named):
    profile = tmp_path / "profile.yaml"
    profile.write_text(text)
    with pytest.raises(StudyError) as raised:
        read_settings(profile, {})
    assert named in str(raised.value)
    assert "\n" not in str(raised.value)


# ---- what is shown


def test_off_a_terminal_lines_say_how_far_all_runs_are(tmp_path, monkeypatch):
    runs = [run("5-42"), run("6-42")]
    stream = io.StringIO()
    watch = Watch(tmp_path, tmp_path, runs, works(runs, [4.0, 1.0]), stream)
    (tmp_path / "5-42.log").write_text("an earlier attempt\nerror: of old\n")
    watch.started(runs[0])
    with (tmp_path / "5-42.log").open("a") as log:
        log.write("Running stage 'train@5-42':\n5-42: epoch 0: train ppl 9, 51,700 tokens/s, 1.0 s\n")
    folder = tmp_path / "runs" / "5-42"
    folder.mkdir(parents=True)
    (folder / "history.csv").write_text("epoch,validation_loss\n0,6.5\n1,5.25\n")
    monkeypatch.setattr("lm.launch.watch.LINE_SECONDS", 0.0)
    watch.look()
    line = stream.getvalue()
    assert "0 of 2 runs ended" in line
    assert "5-42 2/4 epochs, loss 5.250, 51,700 tokens/s" in line
    assert "left" in line
    with (tmp_path / "5-42.log").open("a") as log:
        log.write("error: 5-42: out of memory; lower the batch\nERROR: failed to reproduce 'train@5-42'\n")
    watch.ended(runs[0], 255)
    assert "5-42: failed after 0 s: 5-42: out of memory; lower the batch\n" in stream.getvalue()
    watch.started(runs[1])
    (tmp_path / "6-42.log").write_text("Stage 'train@6-42' is cached - skipping run, checking out outputs\n")
    watch.ended(runs[1], 0)
    assert "6-42: from the cache after 0 s\n" in stream.getvalue()


# ---- a launch with the real DVC


@pytest.fixture
def toy(tmp_path, resident) -> Toy:
    """A launch starts the real interpreter whatever is in the path; only what the test asks of DVC itself is forked."""
    return toy_project(tmp_path / "toy", resident, runs=3, steps=3)


def test_the_plan_is_read_from_dvc(toy, monkeypatch):
    monkeypatch.chdir(toy.folder)
    plan = read_plan(toy.folder, [])
    assert [each.target for each in plan.runs] == ["train@1", "train@2", "train@3"]
    assert [each.name for each in plan.runs] == toy.names
    assert upstream_of(plan.runs) == ["configure", "prepare"]
    assert [each.target for each in read_plan(toy.folder, ["train@2"]).runs] == ["train@2"]
    with pytest.raises(StudyError, match="prepare: no stage there runs"):
        read_plan(toy.folder, ["prepare"])
    with pytest.raises(StudyError, match="nothere"):
        read_plan(toy.folder, ["nothere"])


class Here(Recorder):
    """In place of Ray: runs one after another, with the real DVC."""

    workers: ClassVar[list[int]] = []

    def __init__(self, root: Path, logs: Path, *, address: str | None, workers: int, cores: int, gpus: int) -> None:
        super().__init__()
        assert (address, cores, gpus) == (None, 1, 0)
        self.workers.append(workers)
        self.root, self.logs, self.environment = root, logs, dict[str, str]()

    def finished(self, seconds: float) -> list[tuple[Run, int]]:
        assert seconds > 0
        done = self.active.pop(0)
        log = str(self.logs / f"{done.name}.log")
        return [(done, train(repro_run(done.target), str(self.root), self.environment, log, ()))]

    def close(self) -> None: ...


def test_a_launch_ends_as_dvc_repro_does_and_says_what_failed(toy, monkeypatch, capfd):
    for name, value in toy.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(toy.folder)
    monkeypatch.setattr(session, "RayEngine", Here)
    monkeypatch.setattr(Here, "workers", [])
    (toy.folder / "fail-2-42").touch()
    assert session.launch(toy.folder, [], Settings(jobs=2)) == 1
    told = capfd.readouterr().err
    assert "2-42: failed after" in told
    assert "2-42: told to fail" in told
    assert set(toy.results()) == {"1-42.json", "3-42.json"}
    assert not (toy.folder / "report.txt").exists(), "what depends on a run that failed is left as it was"

    (toy.folder / "fail-2-42").unlink()
    assert session.launch(toy.folder, [], Settings(jobs=2)) == 0
    told = capfd.readouterr().err
    assert "1 runs to train, 1 at once" in told, "the others are up to date"
    assert Here.workers == [2, 1], "one that is alone has the machine"
    assert (toy.folder / "report.txt").read_text() == "3 runs\n"
    assert toy.dvc("status").output.strip().endswith("Data and pipelines are up to date.")
    assert "didn't change" in toy.dvc("repro").output
    assert session.finish(toy.folder, []) == 0

    lock = toy.folder / "dvc.lock"
    whole = lock.read_text()
    half = whole[: whole.index("- path: runs/3-42") + 6]
    lock.write_text(half)
    assert "validation failed" in toy.dvc("status").output
    assert session.launch(toy.folder, [], Settings(jobs=2)) == 0
    told = capfd.readouterr().err
    assert (
        "dvc.lock: DVC cannot read it, as after a kill; .launch/dvc.lock.damaged has it now; put back as last" in told
    )
    assert "to train" not in told
    assert lock.read_text() == whole
    assert (toy.folder / ".launch" / "dvc.lock.damaged").read_text() == half
    toy.command("git", "rm", "--quiet", "--cached", "dvc.lock")
    lock.write_text(half)
    assert session.launch(toy.folder, [], Settings(jobs=2)) == 0
    told = capfd.readouterr().err
    assert "dvc.lock: DVC cannot read it, as after a kill; .launch/dvc.lock.damaged has it now; git has none" in told
    assert "1-42: from the cache after" in told
    assert YAML(typ="safe").load(lock) == YAML(typ="safe").load(whole)


@needs_ray
def test_a_launch_that_ends_early_leaves_no_process_and_the_next_one_goes_on(toy):
    """Interrupted, then killed with its group, then left alone: runs side by side, on cores of their own."""
    (toy.folder / "steps").write_text("60")
    moments = random.Random(25)

    def begin() -> subprocess.Popen:
        """A launch, as soon as a run is some steps further than runs were."""
        before = max(toy.steps().values(), default=0)
        with (toy.folder / "output").open("a") as output:
            started = subprocess.Popen(
                [sys.executable, "-m", "stages.launch"],
                cwd=toy.folder,
                env=toy.environment,
                stderr=output,
                start_new_session=True,
            )
        steps = moments.randrange(1, 12)
        until(lambda: max(toy.steps().values(), default=0) > before + steps, 120)
        return started

    def stopped() -> int:
        return "".join(toy.logs().values()).count("stopped at")

    launch = begin()
    os.killpg(launch.pid, signal.SIGINT)
    assert launch.wait(90) == STOPPED
    assert _at_work(toy.folder) == []
    interrupted = stopped()
    assert interrupted > 0, "in order, with what they had done saved"

    launch = begin()
    os.killpg(launch.pid, signal.SIGKILL)
    launch.wait()
    until(lambda: _at_work(toy.folder, of_ray=False) == [], 60)
    assert stopped() > interrupted
    assert "going on from" in "".join(toy.logs().values())

    toy.pace(0.01)
    last = toy.launch()
    assert last.status == 0, last.output
    assert toy.results() == {f"{name}.json": f'{{"steps": 60, "run": "{name}"}}' for name in toy.names}
    assert (toy.folder / "report.txt").read_text() == "3 runs\n"
    assert toy.dvc("status").output.strip().endswith("Data and pipelines are up to date.")
    seen = [json.loads(path.read_text()) for path in toy.folder.glob("runs/*/environment.json")]
    cores = len(os.sched_getaffinity(0))
    assert {each["STUDY_SIDE_BY_SIDE"] for each in seen} == {str(min(cores, 3))}
    if cores > 1:
        assert all(len(each["cores"]) == cores // min(cores, 3) for each in seen)


def _at_work(folder: Path, of_ray: bool = True) -> list[str]:
    """Commands of processes in a folder; Ray's own services take a minute to notice that all else was killed."""
    found = []
    for process in psutil.process_iter():
        try:
            if Path(process.cwd()) == folder and process.status() != psutil.STATUS_ZOMBIE:
                command = " ".join(process.cmdline())
                found += [command] if of_ray or "lm.launch.runner" in command or "train@" in command else []
        except psutil.Error:
            continue
    return found


@pytest.fixture
def cluster(tmp_path) -> Iterator[str]:
    """Address of a Ray cluster of two nodes, both here; Ray is told that each has three cores and two GPUs."""
    ray = Path(sys.executable).with_name("ray")
    with socket.create_server(("127.0.0.1", 0)) as free:
        address = f"127.0.0.1:{free.getsockname()[1]}"
    places = [["--head", f"--port={address.split(':')[1]}", "--include-dashboard=false"], [f"--address={address}"]]
    nodes = []
    try:
        for place in places:
            command = [
                ray,
                "start",
                *place,
                "--num-cpus=3",
                "--num-gpus=2",
                "--object-store-memory=80000000",
                "--block",
            ]
            log = (tmp_path / f"ray-{len(nodes)}").open("w+")
            # once one has started a Ray alone there is a token in one's home, which Ray then asks for
            environment = os.environ | {"RAY_AUTH_MODE": "disabled"}
            nodes.append(subprocess.Popen(command, env=environment, stdout=log, stderr=log, start_new_session=True))
            until(lambda path=log.name: "Ray runtime started" in Path(path).read_text(), 60)
        yield address
    finally:
        for node in reversed(nodes):
            node.terminate()
        for node in nodes:
            node.wait(30)


@needs_ray
def test_runs_go_to_all_machines_of_a_cluster_with_a_gpu_each(toy, cluster):
    toy.pace(0.3)
    launched = toy.launch("--address", cluster, "--gpus", "1")
    assert launched.status == 0, launched.output
    assert "3 runs to train, 2 at once" in launched.output, "of two cores each, which no two machines share"
    seen = [json.loads(path.read_text()) for path in toy.folder.glob("runs/*/environment.json")]
    assert all(each["CUDA_VISIBLE_DEVICES"] in ("0", "1") for each in seen)
    assert len({each["RAY_RAYLET_PID"] for each in seen}) == 2
    assert (toy.folder / "report.txt").read_text() == "3 runs\n"
    assert toy.dvc("status").output.strip().endswith("Data and pipelines are up to date.")
