"""What a user sees of a launch: on a terminal a table of all runs, elsewhere a line now and then."""

from __future__ import annotations

import csv
import re
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from rich.console import Console
from rich.live import Live
from rich.table import Table

from lm.launch.plan import Run
from lm.launch.runner import BUSY, STOPPED
from lm.launch.work import Work

LINE_SECONDS = 60.0
"""Between two lines on the state of all runs, where there is no terminal."""
_TAIL_BYTES = 16_384
_RATE = re.compile(r"([\d,]+) tokens/s")
_RUNNING = re.compile(r"^Running stage '", re.MULTILINE)


@dataclass
class State:
    """Where a run stands. ``loss`` is the last epoch's validation loss, in nats a token."""

    word: str = "waiting"
    started: float | None = None
    seconds: float = 0.0
    offset: int = 0
    epochs: int = 0
    loss: float | None = None
    rate: str = ""


class Watch:
    """Looks at logs and run folders while runs are trained."""

    def __init__(
        self, root: Path, logs: Path, runs: Sequence[Run], works: Mapping[str, Work], stream: TextIO | None = None
    ) -> None:
        self._root, self._logs, self._runs, self._works = root, logs, runs, works
        self.states = {run.target: State() for run in runs}
        self._begun = self._told = time.monotonic()
        self._stream = stream or sys.stderr
        self._live: Live | None = None
        if self._stream.isatty():
            self._live = Live(console=Console(file=self._stream), auto_refresh=False, transient=True)
            self._live.start()

    def close(self) -> None:
        if self._live is not None:
            self._live.stop()
            self._live = None

    def log(self, run: Run) -> Path:
        return self._logs / f"{run.name}.log"

    def started(self, run: Run) -> None:
        state, log = self.states[run.target], self.log(run)
        state.word, state.started = "starting", time.monotonic()
        state.offset = log.stat().st_size if log.is_file() else 0

    def ended(self, run: Run, status: int) -> None:
        self._update(run)
        state = self.states[run.target]
        assert state.started is not None
        state.seconds = time.monotonic() - state.started
        trained = bool(_RUNNING.search(_tail(self.log(run), state.offset)))
        words = {0: "trained" if trained else "from the cache", STOPPED: "stopped"}
        state.word = words.get(status, "failed")
        what = f": {reason(self.log(run), state.offset, status)}" if state.word == "failed" else ""
        self._line(f"{run.name}: {state.word} after {_duration(state.seconds)}{what}")

    def look(self) -> None:
        """Show what there is to see; as often as one likes."""
        if self._live is None and time.monotonic() - self._told < LINE_SECONDS:
            return
        for run in self._runs:
            if self.states[run.target].word in ("starting", "training"):
                self._update(run)
        if self._live is not None:
            self._live.update(self._table(), refresh=True)
        else:
            self._line(self._sentence())

    def _update(self, run: Run) -> None:
        state = self.states[run.target]
        tail = _tail(self.log(run), state.offset)
        if state.word == "starting" and _RUNNING.search(tail):
            state.word = "training"
        rates = _RATE.findall(tail)
        state.rate = rates[-1] if rates else state.rate
        if state.word == "training":
            state.epochs, state.loss = _history(self._root / run.folder / "history.csv")

    def _share(self, run: Run) -> float:
        state = self.states[run.target]
        if state.word in ("trained", "from the cache", "failed", "stopped"):
            return 1.0
        return min(state.epochs / self._works[run.target].epochs, 1.0)

    def _seconds_left(self) -> float | None:
        """From the operations done so far, in the time since the launch began; None while none are."""
        work = {run.target: self._works[run.target].operations for run in self._runs}
        done = sum(work[run.target] * self._share(run) for run in self._runs)
        left = sum(work.values()) - done
        return (time.monotonic() - self._begun) * left / done if done else None

    def _counts(self) -> tuple[int, int, int]:
        words = [state.word for state in self.states.values()]
        ended = sum(word in ("trained", "from the cache", "failed", "stopped") for word in words)
        return ended, words.count("failed"), sum(word in ("starting", "training") for word in words)

    def _sentence(self) -> str:
        ended, failed, working = self._counts()
        left = self._seconds_left()
        parts = [f"{ended} of {len(self._runs)} runs ended" + (f" ({failed} failed)" if failed else "")]
        parts.append(f"{working} at work")
        parts += [self._short(run) for run in self._runs if self.states[run.target].word == "training"]
        if left:
            parts.append(f"about {_duration(left)} left")
        return "; ".join(parts)

    def _short(self, run: Run) -> str:
        state, epochs = self.states[run.target], self._works[run.target].epochs
        loss = f", loss {state.loss:.3f}" if state.loss is not None else ""
        rate = f", {state.rate} tokens/s" if state.rate else ""
        return f"{run.name} {state.epochs}/{epochs} epochs{loss}{rate}"

    def _table(self) -> Table:
        left = self._seconds_left()
        ended, failed, _ = self._counts()
        title = f"{ended} of {len(self._runs)} runs ended" + (f", {failed} failed" if failed else "")
        table = Table(title=title + (f", about {_duration(left)} left" if left else ""), box=None)
        for head in ("run", "state", "epochs", "validation loss", "tokens/s", "left"):
            table.add_column(head, justify="left" if head in ("run", "state") else "right", no_wrap=True)
        order = {"failed": 0, "training": 1, "starting": 1, "stopped": 2, "waiting": 3}
        for run in sorted(self._runs, key=lambda run: order.get(self.states[run.target].word, 4)):
            state, epochs = self.states[run.target], self._works[run.target].epochs
            table.add_row(
                run.name,
                state.word,
                f"{state.epochs}/{epochs}" if state.word == "training" else "",
                f"{state.loss:.3f}" if state.loss is not None else "",
                state.rate if state.word == "training" else "",
                self._left(run),
            )
        return table

    def _left(self, run: Run) -> str:
        state, epochs = self.states[run.target], self._works[run.target].epochs
        if state.word != "training" or not state.epochs or state.started is None:
            return ""
        return _duration((time.monotonic() - state.started) * (epochs - state.epochs) / state.epochs)

    def _line(self, text: str) -> None:
        self._told = time.monotonic()
        if self._live is not None:
            self._live.console.print(text, highlight=False, markup=False)
        else:
            print(text, file=self._stream, flush=True)


def reason(log: Path, offset: int, status: int) -> str:
    """Why a run failed, from what it wrote after ``offset``: the stage's own error, or else DVC's, or the last line."""
    if status == BUSY:
        return f"processes of an earlier launch still write to {log}; wait for them, or stop them"
    lines = [line.strip() for line in _tail(log, offset).splitlines() if line.strip()]
    for start in ("error: ", "ERROR: "):
        found = [line for line in lines if line.startswith(start)]
        if found:
            return found[-1].removeprefix(start)
    return lines[-1] if lines else f"exit status {status}, and nothing in {log}"


def _tail(path: Path, offset: int) -> str:
    """The file from ``offset`` on, its end where that is long."""
    try:
        with path.open("rb") as file:
            size = file.seek(0, 2)
            # the start has DVC's word on whether it trains, the end where it stands
            file.seek(offset)
            head = file.read(_TAIL_BYTES)
            if size - offset <= _TAIL_BYTES:
                return head.decode(errors="replace")
            file.seek(max(offset + _TAIL_BYTES, size - _TAIL_BYTES))
            return (head + file.read()).decode(errors="replace")
    except FileNotFoundError:
        return ""


def _history(path: Path) -> tuple[int, float | None]:
    """Epochs that a run has behind it and the last one's validation loss; the file is replaced as a whole."""
    try:
        with path.open(newline="") as file:
            rows = list(csv.DictReader(file))
    except FileNotFoundError:
        return 0, None
    return len(rows), float(rows[-1]["validation_loss"]) if rows else None


def _duration(seconds: float) -> str:
    if seconds < 100:
        return f"{seconds:.0f} s"
    if seconds < 6000:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"
