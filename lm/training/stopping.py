"""When a run is to stop: it was asked to by a signal, or the process that it runs for has ended.

DVC that is killed leaves its stage running. The next ``dvc repro`` would start a second one beside it.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType

import psutil

_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGUSR2)
_PR_SET_PDEATHSIG = 1  # of Linux's prctl.h
_SHELLS = ("sh", "ash", "bash", "dash", "fish", "ksh", "zsh")
_LOOK_SECONDS = 1.0


class Interrupted(Exception):
    """The run was asked to stop, and has saved where it stands."""

    def __init__(self, signal_number: int) -> None:
        super().__init__(signal.Signals(signal_number).name)
        self.signal_number = signal_number


class Parent:
    """The process that a run was started by. Make it first of all, while that one surely lives."""

    def __init__(self) -> None:
        self._parent: int | None = os.getppid()
        self._grandparent: int | None = None
        self._looked = time.monotonic()
        under_dvc = "DVC_STAGE" in os.environ
        if not under_dvc and signal.getsignal(signal.SIGHUP) == signal.SIG_IGN:
            self._parent = None  # started with nohup, to outlive its shell
            return
        with suppress(psutil.Error):
            parent = psutil.Process(self._parent)
            if under_dvc and parent.name() in _SHELLS:  # it waits for this process and does not notice that DVC is gone
                self._grandparent = parent.ppid()
        if sys.platform == "linux":
            with suppress(OSError, AttributeError):
                # at once, even within a long step; who polls below notices between two steps
                ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)

    def ended(self) -> bool:
        """Whether it is gone; a process whose parent ends is given another one."""
        if self._parent is None:
            return False
        if os.getppid() != self._parent:
            return True
        if self._grandparent is None or time.monotonic() - self._looked < _LOOK_SECONDS:
            return False
        self._looked = time.monotonic()
        try:
            return psutil.Process(self._parent).ppid() != self._grandparent
        except psutil.Error:
            return False


class Stop:
    """Whether a run is to stop: by which signal, or since its ``parent`` has ended, which counts as SIGTERM.

    ``signal`` is what it was when last looked at: one that comes between two looks waits for the next. ``agree`` makes
    one number of those of all processes that train the run, so that none stops at a step at which another goes on.
    """

    def __init__(self, parent: Parent | None = None, agree: Callable[[int], int] = int) -> None:
        self.signal: int | None = None
        self._came: int | None = None
        self._parent, self._agree = parent, agree

    def asked(self) -> bool:
        """To be looked at between two steps."""
        if self._came is None and self._parent is not None and self._parent.ended():
            self._came = signal.SIGTERM
        self.signal = self._agree(self._came or 0) or None
        return self.signal is not None

    def ask(self, number: int, _frame: FrameType | None = None) -> None:
        """A handler of signals: only note the number."""
        self._came = number

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Take SIGTERM, SIGINT, SIGUSR1 and SIGUSR2 (what schedulers send before they preempt) as requests."""
        before = {number: signal.signal(number, self.ask) for number in _SIGNALS}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
