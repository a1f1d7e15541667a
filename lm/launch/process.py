"""A runner as its starter holds it: started, asked to stop, waited for."""

from __future__ import annotations

import contextlib
import os
import select
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path


class Supervised:
    """A command under a runner that outlives no starter: when this process ends, however, the command is stopped."""

    def __init__(
        self,
        command: Sequence[str],
        directory: Path,
        environment: Mapping[str, str],
        log: Path | None = None,
        cores: Sequence[int] | None = None,
    ) -> None:
        options = ["--lifeline"]
        if log is not None:
            options += ["--log", str(log)]
        if cores:
            options += ["--cores", ",".join(map(str, cores))]
        self._process = subprocess.Popen(
            [sys.executable, "-m", "lm.launch.runner", *options, "--", *command],
            cwd=directory,
            env=dict(environment),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,
        )
        self._process.wait()  # for its first half; the other half goes on by itself
        self._status: int | None = None

    def wait(self, seconds: float) -> int | None:
        """The exit status, or None if the command still runs after so long; 137 where the runner itself was killed."""
        if self._status is None:
            assert self._process.stdout is not None
            if select.select([self._process.stdout], [], [], seconds)[0]:
                told = self._process.stdout.readline()
                self._status = int(told) if told.strip() else 137
        return self._status

    def order(self, what: str) -> None:
        """``stop``: in order, with a checkpoint; ``kill``: at once."""
        assert self._process.stdin is not None
        with contextlib.suppress(OSError):
            os.write(self._process.stdin.fileno(), f"{what}\n".encode())
