"""Ctrl-C and its kin: the first asks a launch to stop in order, the second not to wait."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Stop:
    """Counts the requests to stop. ``install`` may be called again where a library has put its own handlers."""

    def __init__(self) -> None:
        self.requests = 0

    def __call__(self) -> int:
        return self.requests

    def install(self) -> None:
        for number in _SIGNALS:
            signal.signal(number, self._ask)

    @contextmanager
    def listening(self) -> Iterator[None]:
        before = {number: signal.getsignal(number) for number in _SIGNALS}
        self.install()
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _ask(self, _number: int, _frame: FrameType | None) -> None:
        self.requests += 1
