"""How a machine's cores and GPUs are dealt out, so that runs side by side do not fight and learn the same bits.

``threads`` belongs to a run's configuration, as the sums of a matrix product depend on it: a launch never changes it.
With fewer cores than threads a run is kept to its cores and its threads wait for one another asleep: as many threads
as ever, hence the same bits, without the spinning that costs two runs on the same cores four times their time.
"""

from __future__ import annotations

import os
from dataclasses import dataclass

from lm.errors import StudyError


@dataclass(frozen=True, kw_only=True)
class Slot:
    """Room for one run: the cores that it keeps to (none: whatever is free), and what its environment needs."""

    cores: tuple[int, ...] = ()
    environment: tuple[tuple[str, str], ...] = ()


def usable_cores() -> tuple[int, ...]:
    """The cores that this process may use; on systems that pin no process, as many numbers as there are cores."""
    if hasattr(os, "sched_getaffinity"):
        return tuple(sorted(os.sched_getaffinity(0)))
    return tuple(range(os.cpu_count() or 1))


def deal(
    runs: int,
    threads: int,
    cores: tuple[int, ...],
    jobs: int | None = None,
    can_pin: bool = hasattr(os, "sched_setaffinity"),
) -> list[Slot]:
    """Slots for runs on processor cores: ``jobs`` of them, or as many as there are cores; never more than runs.

    Every slot has cores of its own, equally many. Raises :class:`StudyError` for more jobs than cores, and where
    ``jobs * threads`` exceeds the cores on a system that cannot keep a process to some of them.
    """
    if jobs is None:
        jobs = max(1, len(cores) if can_pin else len(cores) // threads)
    if jobs > len(cores):
        raise StudyError(f"--jobs {jobs}: this machine has {len(cores)} cores; allowed: 1 to {len(cores)}")
    jobs = min(jobs, runs)
    if jobs == 1:
        return [Slot()]
    if not can_pin:
        if jobs * threads > len(cores):
            raise StudyError(
                f"--jobs {jobs}: {jobs} runs of {threads} threads do not fit {len(cores)} cores, and this system keeps "
                f"no process to some; lower --jobs, or threads in params.yaml (which trains anew)"
            )
        return [Slot()] * jobs
    share = len(cores) // jobs
    asleep = waiting(share, threads)
    return [Slot(cores=cores[n * share : (n + 1) * share], environment=asleep) for n in range(jobs)]


def waiting(cores: int, threads: int) -> tuple[tuple[str, str], ...]:
    """What the environment needs for ``threads`` on so many cores: to sleep, where they have none each."""
    return (("OMP_WAIT_POLICY", "passive"),) if cores < threads else ()
