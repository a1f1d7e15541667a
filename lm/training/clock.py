"""The time that training steps take: it stands still while a run is scored or saved.

Beside the wall clock's stand this process's processor time and what other processes took of the machine: a run that
was disturbed can be told from one that is slow.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass

import psutil


@dataclass(frozen=True, kw_only=True)
class Spent:
    """Seconds: of the wall clock, of processor time over all threads and of programs that were run, such as a compiler,
    of processor time that others took (or None)."""

    wall: float = 0.0
    process: float = 0.0
    others: float | None = 0.0

    def __add__(self, more: Spent) -> Spent:
        known = self.others is not None and more.others is not None
        return Spent(
            wall=self.wall + more.wall,
            process=self.process + more.process,
            others=(self.others or 0.0) + (more.others or 0.0) if known else None,
        )


class StepClock:
    """``synchronize`` waits for the device, so that a reading means what it says."""

    def __init__(self, synchronize: Callable[[], None]) -> None:
        self._synchronize = synchronize
        self._before = Spent()
        self._started: tuple[float, float, float | None] | None = None

    def restart(self, before: Spent) -> None:
        """Run from now on, on top of what was spent before."""
        self._before, self._started = before, self._readings()

    def read(self) -> Spent:
        """What has been spent until now."""
        if self._started is None:
            return self._before
        wall, process, busy = (
            now - then if now is not None and then is not None else None
            for now, then in zip(self._readings(), self._started, strict=True)
        )
        others = max(0.0, busy - (process or 0.0)) if busy is not None else None
        return self._before + Spent(wall=wall or 0.0, process=process or 0.0, others=others)

    def pause(self) -> Spent:
        """Stand still until :meth:`go_on`."""
        self._before, self._started = self.read(), None
        return self._before

    def go_on(self) -> None:
        self._started = self._readings()

    def _readings(self) -> tuple[float, float, float | None]:
        self._synchronize()
        times = os.times()
        own = time.process_time() + times.children_user + times.children_system
        return time.perf_counter(), own, _busy_seconds()


def _busy_seconds() -> float | None:
    """Processor time of all processes since the machine started, with what a hypervisor gave to other machines."""
    try:
        times = psutil.cpu_times()
    except (OSError, RuntimeError, psutil.Error):
        return None
    idle = times.idle + getattr(times, "iowait", 0.0)
    twice = getattr(times, "guest", 0.0) + getattr(times, "guest_nice", 0.0)  # they are in user and nice too
    return float(sum(times) - idle - twice)
