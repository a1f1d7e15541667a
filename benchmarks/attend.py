"""A child process with a log, a time limit and a line now and then for who watches."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from benchmarks.kit import ROOT

_POLL_SECONDS = 0.1
_LINE_SECONDS = 15.0
_SAVING_SECONDS = 60.0


class Minutes:
    """The time that there is, and what is shown of it."""

    def __init__(self, minutes: float) -> None:
        self.whole = minutes * 60.0
        self._started = time.monotonic()

    @property
    def gone(self) -> float:
        """Seconds."""
        return time.monotonic() - self._started

    @property
    def left(self) -> float:
        """Seconds; less than zero when more have gone than there were."""
        return self.whole - self.gone

    def say(self, text: str) -> None:
        clock = " of ".join(f"{int(seconds) // 60}:{int(seconds) % 60:02d}" for seconds in (self.gone, self.whole))
        with suppress(OSError):  # nobody may be there to read
            print(f"[{clock}] {text}", file=sys.stderr, flush=True)


@dataclass(frozen=True, kw_only=True)
class Ended:
    """How a child ended: its ``status``, the ``seconds`` that it took, whether it was stopped for want of time."""

    status: int
    seconds: float
    stopped: bool
    last_line: str

    @property
    def done(self) -> bool:
        return self.status == 0 and not self.stopped

    def why(self) -> str:
        if self.stopped:
            return "out of time"
        return self.last_line.removeprefix("error: ") or f"exit status {self.status}"


def attend(words: list[str], log: Path, minutes: Minutes, limit: float, name: str) -> Ended:
    """Run ``python words`` in the project's folder, its output to ``log``, for ``limit`` seconds at most.

    Then it is asked to stop, so that a run saves a checkpoint, and killed where it does not within a minute. An
    exception here, such as Ctrl-C, stops it as well.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    started, shown, told = time.monotonic(), time.monotonic(), ""
    with log.open("wb") as file:
        child = subprocess.Popen(
            [sys.executable, *words],
            cwd=ROOT,
            stdout=file,
            stderr=subprocess.STDOUT,
            env=os.environ | {"PYTHONUNBUFFERED": "1"},
        )
        stopped = False
        try:
            while child.poll() is None:
                time.sleep(_POLL_SECONDS)
                if time.monotonic() - started > limit:
                    stopped = True
                    break
                if time.monotonic() - shown > _LINE_SECONDS:
                    shown, line = time.monotonic(), last_line(log)
                    if line and line != told:
                        told = line
                        minutes.say(f"{name}: {line}")
        finally:
            _stop(child)
    return Ended(status=child.returncode, seconds=time.monotonic() - started, stopped=stopped, last_line=last_line(log))


def _stop(child: subprocess.Popen[bytes]) -> None:
    if child.poll() is not None:
        return
    child.send_signal(signal.SIGTERM)
    try:
        child.wait(_SAVING_SECONDS)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()


def last_line(log: Path) -> str:
    """The last line of a log that says anything to a reader, which JSON does not, or nothing."""
    lines = [line.strip() for line in log.read_text(errors="replace").splitlines()]
    return next((line[:300] for line in reversed(lines) if line and not line.startswith("{")), "")
