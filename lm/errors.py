"""Bad input is answered with one clear line, never with a traceback."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable


class StudyError(Exception):
    """Something the user can mend. The message names the file, the key, the value and what is allowed."""


def reported(main: Callable[[], None]) -> Callable[[], None]:
    """Let a stage's ``main`` end on a :class:`StudyError` with ``error: …`` on stderr and exit status 1."""

    @functools.wraps(main)
    def run() -> None:
        try:
            main()
        except StudyError as error:
            print(f"error: {error}", file=sys.stderr)
            raise SystemExit(1) from None
        except KeyboardInterrupt:
            print("error: interrupted; `dvc repro` goes on", file=sys.stderr)
            raise SystemExit(130) from None

    return run
