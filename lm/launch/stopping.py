"""Ctrl-C and its kin: the first asks a launch to stop in order, the second not to wait."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Stop:
    """Counts the requests to stop. ``install`` may be called again where a library has put its own handlers.

    A launch that was started with ``nohup``, to outlive its shell, heeds no SIGHUP.
    """

    def __init__(self) -> None:
        self.requests = 0
        outlives = signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
        self._heeded = [number for number in _SIGNALS if number != signal.SIGHUP or not outlives]

    def __call__(self) -> int:
        return self.requests

    def install(self) -> None:
        for number in self._heeded:
            signal.signal(number, self._ask)

    @contextmanager
    def listening(self) -> Iterator[None]:
        before = {number: signal.getsignal(number) for number in self._heeded}
        self.install()
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _ask(self, _number: int, _frame: FrameType | None) -> None:
        self.requests += 1
