"""Ray Core as the engine: the cores and GPUs of this machine, or of machines that share this folder.

https://docs.ray.io/en/latest/ray-core/tasks.html; an optional requirement.
"""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

from lm.errors import StudyError
from lm.launch.command import environment, repro_run
from lm.launch.cores import Slot
from lm.launch.plan import Run
from lm.launch.process import Supervised
from lm.launch.runner import STOPPED

LOST = 137
"""Status of a run whose worker or node was lost for good."""
_RETRIES = 2
"""How often Ray starts a run again whose worker or node was lost; it goes on from its checkpoint."""
_STORE_BYTES = 80 * 2**20  # Ray's least; nothing is kept in it
_RAYS_OWN = ("OMP_NUM_THREADS",)  # which Ray sets in its workers; a run takes its threads from its configuration


class RayEngine:
    """Runs as Ray tasks, each a ``dvc repro`` under a runner.

    ``root`` is the project, ``logs`` where logs go; a run takes ``cores`` and ``gpus`` of what Ray has, and has
    ``environment`` on top of its worker's. ``address`` names a Ray cluster (``auto``: the one that this machine is part
    of), whose machines have the project at the same path; without, one of ``workers`` cores and all GPUs is started
    here for as long as this lives.

    Raises :class:`StudyError` where Ray is not installed or no cluster answers.
    """

    def __init__(self, root: Path, logs: Path, *, address: str | None, workers: int, cores: int, gpus: int) -> None:
        ray = _ray()
        self._ray, self._root, self._logs = ray, root, logs
        self.environment: dict[str, str] = {}
        self._cores, self._gpus = cores, gpus
        self._active: dict[Any, Run] = {}
        if address is None:
            ray.init(
                address="local",  # else one that runs here already, or that was killed and left its address, is joined
                num_cpus=workers,
                include_dashboard=False,
                log_to_driver=False,
                logging_level="error",
                object_store_memory=_STORE_BYTES,
            )
        else:
            try:
                ray.init(address=address, log_to_driver=False, logging_level="error")
            except (ConnectionError, RuntimeError, ray.exceptions.RayError) as error:
                if "AuthToken" in str(error) or isinstance(error, ray.exceptions.AuthenticationError):
                    raise StudyError(
                        f"--address {address}: the cluster asks for a token; set RAY_AUTH_MODE=token, with the head's "
                        "~/.ray/auth_token here too"
                    ) from None
                first = str(error).splitlines()[0]
                raise StudyError(f"--address {address}: no Ray cluster answers ({first}); `ray start --head`") from None
        # a task imports this module where it runs; the folder is the same everywhere
        self._task = ray.remote(num_cpus=cores, num_gpus=gpus, max_retries=_RETRIES)(train)

    def room(self) -> int:
        """How many runs find cores and GPUs at once; none takes those of two machines."""
        wanted = {name: amount for name, amount in (("CPU", self._cores), ("GPU", self._gpus)) if amount}
        machines = [node["Resources"] for node in self._ray.nodes() if node["Alive"]]
        return sum(min(int(held.get(name, 0) // amount) for name, amount in wanted.items()) for held in machines)

    def start(self, run: Run, slot: Slot) -> None:
        task = self._task.remote(
            repro_run(run.target),
            str(self._root),
            {**self.environment, **dict(slot.environment)},
            str(self._logs / f"{run.name}.log"),
            slot.cores,
        )
        self._active[task] = run

    def finished(self, seconds: float) -> list[tuple[Run, int]]:
        done, _ = self._ray.wait(list(self._active), num_returns=1, timeout=seconds)
        return [(self._active.pop(task), self._status(task)) for task in done]

    def _status(self, task: Any) -> int:
        try:
            return int(self._ray.get(task))
        except self._ray.exceptions.TaskCancelledError:
            return STOPPED
        except self._ray.exceptions.RayTaskError as error:
            raise StudyError(str(error).strip().splitlines()[-1]) from None
        except self._ray.exceptions.RayError:
            return LOST

    def order(self, what: str) -> None:
        for task in self._active:
            self._ray.cancel(task, force=what == "kill")

    def close(self) -> None:
        self._ray.shutdown()


def train(command: list[str], root: str, more: dict[str, str], log: str, cores: tuple[int, ...]) -> int:
    """In a Ray worker: the exit status of one run. Cancelled (KeyboardInterrupt), it stops the run and waits for it."""
    if not Path(root, "dvc.yaml").is_file():
        raise StudyError(f"{os.uname().nodename}: has no {root}; a cluster's machines need the project at one path")
    # a launch in the background of a shell script has SIGINT ignored, and so have its children; cancelling raises it
    signal.signal(signal.SIGINT, signal.default_int_handler)
    inherited = {name: value for name, value in os.environ.items() if name not in _RAYS_OWN}
    supervised = Supervised(command, Path(root), environment(inherited, **more), Path(log), cores)
    while True:
        try:
            status = supervised.wait(0.1)
            if status is not None:
                return status
        except KeyboardInterrupt:
            supervised.order("stop")


def _ray() -> Any:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    try:
        import ray
    except ModuleNotFoundError:
        raise StudyError(
            "runs side by side need Ray: `pip install -r requirements-scale.txt`; on a cluster with SLURM: --slurm; "
            "without either, `dvc repro` trains one run after another"
        ) from None
    return ray
