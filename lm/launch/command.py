"""The commands that a launch gives to DVC, and the environment that they and what they start run in."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from lm.launch.process import Supervised

SIDE_BY_SIDE = "STUDY_SIDE_BY_SIDE"
"""Tells a run how many are trained at once: times measured so are no measure of a run that is alone."""
DVC = (sys.executable, "-m", "lm.launch.dvc", "--wait-for-lock")
"""The flag has to stand here: without it a run that finds the lock held when it has trained loses its training."""


def repro(*targets: str) -> list[str]:
    """``targets`` and what they depend on, one after another."""
    return [*DVC, "repro", *targets]


def repro_run(*target: str) -> list[str]:
    """One run, from its dependencies as they lie there; without a target, the command that one is put after."""
    return [*DVC, "repro", "--single-item", *target]


def environment(base: Mapping[str, str], **more: str) -> dict[str, str]:
    """``base`` with this interpreter first in the path, as stages are started with ``python``."""
    path = os.pathsep.join(part for part in (str(Path(sys.executable).parent), base.get("PATH", "")) if part)
    return {**base, "PATH": path, **more}


def run_here(command: Sequence[str], root: Path, orders: Callable[[], int]) -> int:
    """Run a command to its end, output on standard error; ``orders`` counts the requests to stop so far."""
    supervised, given = Supervised(command, root, environment(os.environ)), 0
    while (status := supervised.wait(0.2)) is None:
        if orders() > given:
            given = orders()
            supervised.order("stop" if given == 1 else "kill")
    return status
