"""Runs into slots: as one ends, the next one starts, until none is left or somebody asks to stop."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import Protocol

from lm.launch.cores import Slot
from lm.launch.plan import Run

TICK_SECONDS = 0.5


class Engine(Protocol):
    """What starts processes, here or elsewhere."""

    def start(self, run: Run, slot: Slot) -> None:
        """Have a run trained."""

    def finished(self, seconds: float) -> list[tuple[Run, int]]:
        """Runs that have ended since, each with its exit status, after waiting for ``seconds`` at the most."""

    def order(self, what: str) -> None:
        """``stop`` or ``kill`` all that was started."""


class Spectator(Protocol):
    """What looks on."""

    def started(self, run: Run) -> None: ...

    def ended(self, run: Run, status: int) -> None: ...

    def look(self) -> None: ...


def dispatch(
    runs: Sequence[Run], slots: Sequence[Slot], engine: Engine, spectator: Spectator, orders: Callable[[], int]
) -> dict[str, int]:
    """Exit status by target, of the runs that were started. A run that fails stops no other.

    ``orders`` counts requests to stop: after the first, runs stop in order and none is started; after the second they
    are killed.
    """
    waiting, free, occupied = deque(runs), list(reversed(slots)), dict[str, Slot]()
    statuses: dict[str, int] = {}
    given = 0
    while True:
        if orders() > given:
            given = orders()
            waiting.clear()
            engine.order("stop" if given == 1 else "kill")
        while waiting and free:
            run = waiting.popleft()
            occupied[run.target] = free.pop()
            engine.start(run, occupied[run.target])
            spectator.started(run)
        if not occupied:
            return statuses
        for run, status in engine.finished(TICK_SECONDS):
            free.append(occupied.pop(run.target))
            statuses[run.target] = status
            spectator.ended(run, status)
        spectator.look()
