"""A real SLURM: its controller and two node daemons, started and stopped here, run a small pipeline of the real DVC.

The pipeline's training is a stand-in that counts to a number and saves where it stands, as a run does: what is tested
is what SLURM, the scripts submitted to it, the runner and DVC make of one another.
"""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from tests.toy import toy_project

ROOT = Path(__file__).parents[1]
PROGRAMS = ("slurmctld", "slurmd", "sbatch", "srun", "squeue", "scontrol", "sinfo", "scancel", "munged")
MISSING = [name for name in PROGRAMS if shutil.which(name, path=os.environ["PATH"] + ":/usr/sbin") is None]
INSTALLED_BY_CI = "CI" in os.environ and os.getuid() == 0 and shutil.which("apt-get") is not None
if MISSING and not INSTALLED_BY_CI:
    warnings.warn(
        f"SLURM IS NOT TESTED: {', '.join(MISSING)} not installed (Debian: apt-get install slurm-wlm munge)",
        stacklevel=1,
    )
pytestmark = pytest.mark.skipif(
    bool(MISSING) and not INSTALLED_BY_CI, reason=f"SLURM is not installed: no {', '.join(MISSING)}"
)

CONFIGURATION = """
ClusterName=study
SlurmctldHost={host}(127.0.0.1)
SlurmUser={user}
SlurmdUser={user}
SlurmctldPort={port}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket,cred_expire=5
CryptoType=crypto/munge
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool-%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd-%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd-%n.log
SwitchType=switch/none
MpiDefault=none
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
JobAcctGatherType=jobacct_gather/none
ReturnToService=2
SlurmctldTimeout=10
SlurmdTimeout=60
InactiveLimit=0
KillWait=10
MinJobAge=300
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
SchedulerType=sched/backfill
SchedulerParameters=sched_interval=1,sched_min_interval=100000,batch_sched_delay=0,bf_interval=2
NodeName=n1 NodeHostname={host} NodeAddr=127.0.0.1 Port={first} CPUs=1 RealMemory=500 State=UNKNOWN
NodeName=n2 NodeHostname={host} NodeAddr=127.0.0.1 Port={second} CPUs=1 RealMemory=500 State=UNKNOWN
PartitionName=low Nodes=n1,n2 Default=YES PriorityTier=1 PreemptMode=REQUEUE GraceTime=10 State=UP
PartitionName=high Nodes=n1,n2 PriorityTier=10 PreemptMode=OFF State=UP
"""


@dataclass
class Cluster:
    folder: Path
    environment: dict[str, str]
    daemons: dict[str, subprocess.Popen[bytes]]

    def __call__(self, *command: str, ok: bool = True) -> str:
        done = subprocess.run(command, env=self.environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0 or not ok, done.stdout + done.stderr
        return done.stdout

    def jobs(self) -> list[list[str]]:
        """Array task or job, name, state, node of all that are not gone."""
        listing = self("squeue", "--noheader", "--array", "--format=%i|%j|%T|%N|%r")
        return [line.split("|") for line in listing.splitlines()]

    def kill_node(self, name: str) -> None:
        """As when the machine loses power: the daemon and every process of its jobs, at once."""
        daemon = self.daemons.pop(name)
        victims = {daemon.pid, *(child.pid for child in psutil.Process(daemon.pid).children(recursive=True))}
        for process in psutil.process_iter():
            with suppress(psutil.Error):
                environ = process.environ()
                if (
                    environ.get("SLURMD_NODENAME") == name
                    and environ.get("SLURM_CONF") == self.environment["SLURM_CONF"]
                ):
                    stepds = [each for each in process.parents() if "slurmstepd" in each.name()]
                    victims |= {process.pid, *(each.pid for each in stepds)}
        for number in (signal.SIGSTOP, signal.SIGKILL):  # none lives to tell of another's death
            for pid in victims:
                with suppress(ProcessLookupError):
                    os.kill(pid, number)
        daemon.wait()


def until(true: Callable[[], object], seconds: float, otherwise: Callable[[], str]) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, otherwise()
        time.sleep(0.2)


def _free_ports(number: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(number)]
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


@pytest.fixture
def cluster(tmp_path_factory, environment) -> Iterator[Cluster]:
    assert not MISSING, f"not installed: {', '.join(MISSING)}"
    folder = tmp_path_factory.mktemp("slurm")
    folder.chmod(0o755)
    (folder / "state").mkdir()
    key = folder / "munge.key"
    key.write_bytes(os.urandom(64))
    key.chmod(0o400)
    port, first, second = _free_ports(3)
    user = pwd.getpwuid(os.getuid()).pw_name
    host = socket.gethostname().split(".")[0]
    text = CONFIGURATION.format(host=host, user=user, port=port, first=first, second=second, folder=folder)
    (folder / "slurm.conf").write_text(text)
    path = os.pathsep.join([str(Path(sys.executable).parent), environment["PATH"], "/usr/sbin"])
    environment = environment | {"SLURM_CONF": str(folder / "slurm.conf"), "PATH": path}

    def start(*command: str) -> subprocess.Popen[bytes]:
        return subprocess.Popen(command, env=environment, stdout=log, stderr=log, start_new_session=True)

    log = (folder / "daemons.log").open("wb")
    munge = start(
        "munged", "--foreground", "--force", f"--socket={folder}/munge.socket", f"--key-file={key}",
        f"--pid-file={folder}/munge.pid", f"--log-file={folder}/munge.log", f"--seed-file={folder}/munge.seed",
    )  # fmt: skip
    until((folder / "munge.socket").exists, 10, (folder / "daemons.log").read_text)
    daemons = {
        "control": start("slurmctld", "-D"),
        **{name: start("slurmd", "-D", "-N", name) for name in ("n1", "n2")},
    }
    cluster = Cluster(folder, environment, daemons)
    try:
        until(
            lambda: (
                cluster("sinfo", "--noheader", "--Node", "--format=%T", "--partition=low", ok=False).split()
                == ["idle"] * 2
            ),
            30,
            lambda: (folder / "daemons.log").read_text() + (folder / "slurmctld.log").read_text(),
        )
        yield cluster
    finally:
        for name in {"n1", "n2"} & set(cluster.daemons):
            cluster.kill_node(name)
        for daemon in (cluster.daemons["control"], munge):
            daemon.kill()
            daemon.wait()
        log.close()


def test_runs_spread_and_survive_preemption_and_the_loss_of_a_node(cluster, tmp_path):
    project = toy_project(tmp_path / "toy", cluster.environment, runs=3, steps=60)
    project.pace(0.5)
    profile = project.folder / "cluster.yaml"
    profile.write_text(
        "launch: {engine: slurm, cores: 1, time: '5', memory: 10M, preamble: export FROM_PREAMBLE=yes, "
        "sbatch: [--partition=low]}"
    )
    submitted = project.launch("--profile", "cluster.yaml")
    assert submitted.status == 0, submitted.output
    assert "3 runs, 3 at once" in submitted.output

    def states() -> str:
        logs = [path.read_text() for path in sorted((project.folder / ".launch").rglob("*.log"))]
        return "\n".join([*map(str, cluster.jobs()), *logs, (cluster.folder / "slurmctld.log").read_text()[-3000:]])

    def nodes() -> set[str]:
        return {node for _, name, state, node, _ in cluster.jobs() if state == "RUNNING" and "runs" in name}

    until(lambda: nodes() == {"n1", "n2"} and len(project.steps()) == 2, 40, states)
    again = project.launch("--profile", "cluster.yaml")
    assert again.status == 1
    assert "SLURM jobs of an earlier launch are in the queue" in again.output

    urgent = cluster(
        "sbatch", "--parsable", "--partition=high", "--nodelist=n1", "--output=/dev/null", "--wrap=sleep 1"
    ).strip()
    until(lambda: any("stopped at" in text for text in project.logs().values()), 30, states)
    until(lambda: urgent not in [job for job, *_ in cluster.jobs()], 30, states)
    cluster.kill_node("n2")
    cluster("scontrol", "update", "NodeName=n2", "State=DOWN", "Reason=lost")  # as SLURM finds after SlurmdTimeout
    project.pace(0.05)
    until(lambda: not cluster.jobs(), 100, states)

    assert project.results() == {f"{name}.json": f'{{"steps": 60, "run": "{name}"}}' for name in project.names}
    texts = project.logs()
    assert sum(text.count("going on from") for text in texts.values()) >= 2, states()
    assert (project.folder / "report.txt").read_text() == "3 runs\n", states()
    assert project.dvc("status").output.strip().endswith("Data and pipelines are up to date.")


SECOND_LEVEL = """
  choose:
    cmd: python choose.py
    deps: [runs/1-42, runs/2-42, choose.py]
    outs: [chosen]
  confirm:
    cmd: python -m stages.train --config chosen/1.json --seed 43 --out runs/1-43
    deps: [chosen, data/tokens, stages/train.py]
    outs: [runs/1-43]
"""
CHOOSE = "import os, shutil; os.makedirs('chosen', exist_ok=True); shutil.copy('configs/1.json', 'chosen/1.json')\n"


def test_what_waits_for_a_run_that_fails_leaves_the_queue_and_goes_on_the_next_time(cluster, tmp_path):
    project = toy_project(tmp_path / "toy", cluster.environment, runs=2, steps=1)
    (project.folder / "choose.py").write_text(CHOOSE)
    with (project.folder / "dvc.yaml").open("a") as pipeline:
        pipeline.write(SECOND_LEVEL)
    (project.folder / "fail-1-42").touch()
    (project.folder / "cluster.yaml").write_text("launch: {engine: slurm, cores: 1, memory: 10M}")
    launch = project.folder / ".launch"

    def states() -> str:
        return "\n".join([*map(str, cluster.jobs()), *(path.read_text() for path in sorted(launch.rglob("*.log")))])

    submitted = project.launch("--profile", "cluster.yaml")
    assert submitted.status == 0, submitted.output
    until(lambda: not cluster.jobs(), 90, states)
    told = (launch / "slurm" / "report.log").read_text()
    assert "1-42: not trained" in told
    assert "2 of 3 runs are missing; what depends on them is left as it was" in told
    assert set(project.results()) == {"2-42.json"}
    assert not (project.folder / "chosen").exists()

    (project.folder / "fail-1-42").unlink()
    submitted = project.launch("--profile", "cluster.yaml")
    assert "1 runs, 1 at once" in submitted.output, "the other one is done"
    until(lambda: not cluster.jobs(), 90, states)
    assert set(project.results()) == {"1-42.json", "2-42.json", "1-43.json"}, states()
    assert (project.folder / "report.txt").read_text() == "3 runs\n", states()
    assert project.dvc("status").output.strip().endswith("Data and pipelines are up to date.")
