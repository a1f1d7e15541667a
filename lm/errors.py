"""Bad input and failing disks are answered with one clear line, never with a traceback."""

from __future__ import annotations

import errno
import functools
import gc
import io
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

_REMEDIES = {
    errno.ENOSPC: "free some space",
    errno.EDQUOT: "free some of your quota",
    errno.EROFS: "make the file system writable",
    errno.EACCES: "give yourself the right to it",
    errno.EPERM: "give yourself the right to it",
    errno.EMFILE: "raise the limit of open files (`ulimit -n`)",
    errno.EIO: "look after the disk",
}
_CLOSED_PIPE = 141
"""Exit status of a program that a closed pipe ends: 128 and the number of SIGPIPE."""


class StudyError(Exception):
    """Something the user can mend. The message names the file, the key, the value and what is allowed."""


def reported(main: Callable[[], None]) -> Callable[[], None]:
    """Let a stage's ``main`` end on what the user can mend with ``error: …`` on stderr and exit status 1.

    That is a :class:`StudyError`; an :class:`OSError` of any kind, with its file; and too little memory. A reader of
    the output that has gone (``| head``) ends it without a word. Names that the terminal's encoding lacks are escaped.
    """

    @functools.wraps(main)
    def run() -> None:
        for stream in (sys.stdout, sys.stderr):
            if isinstance(stream, io.TextIOWrapper):
                stream.reconfigure(errors="backslashreplace")
        command = not gc.isenabled()  # stages/__init__.py has stopped it
        if command:
            gc.freeze()  # modules stay: no search needs to look through them
            gc.enable()
        try:
            main()
            sys.stdout.flush()
        except StudyError as error:
            _end(str(error), 1)
        except BrokenPipeError:
            # what is still in the buffer must not be flushed into the closed pipe when Python ends
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise SystemExit(_CLOSED_PIPE) from None
        except OSError as error:
            _end(describe(error), 1)
        except MemoryError:
            _end("not enough memory; close what else runs, or take smaller sizes or less text", 1)
        except KeyboardInterrupt:
            _end("interrupted; `dvc repro` goes on", 130)
        finally:
            if command:
                gc.freeze()  # what is left ends with the process: a last search through it would take half a second

    return run


def describe(error: OSError) -> str:
    """An operating system's error as one line: the file, what is wrong, what to do, how to go on."""
    reason = error.strerror or str(error) or type(error).__name__
    where = os.fsdecode(error.filename) if error.filename is not None else f"a file below {Path.cwd()}"
    number = error.errno or 0
    remedy = _REMEDIES.get(number, "see that it is there and whole")
    if number == errno.ENOSPC and error.filename is not None:
        free = _free(Path(where))
        reason += f" ({free / 2**20:,.0f} MiB free)" if free is not None else ""
    return f"{where}: {reason}; {remedy}, then run `dvc repro` again"


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Name ``path`` in an :class:`OSError` that does not say its file, as one for a full disk does not."""
    try:
        yield
    except OSError as error:
        if error.filename is None:
            raise OSError(error.errno, error.strerror or str(error), str(path)) from None
        raise


@contextmanager
def reading(path: Path, again: str, damage: tuple[type[Exception], ...] = (ValueError, EOFError)) -> Iterator[None]:
    """Raise :class:`StudyError` for a file that is missing, unreadable or damaged; ``again`` says how to get it back.

    ``damage`` are the exceptions by which the file's reader tells that its content is not what it should be.
    """
    try:
        yield
    except FileNotFoundError:
        raise StudyError(f"{path}: no such file; {again}") from None
    except OSError as error:
        raise StudyError(f"{path}: can't be read: {error.strerror or error}; {again}") from None
    except damage as error:
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise StudyError(f"{path}: damaged ({reason}); {again}") from None


def _end(message: str, status: int) -> None:
    print(f"error: {' '.join(message.splitlines())}", file=sys.stderr)
    raise SystemExit(status) from None


def _free(path: Path) -> int | None:
    """Bytes free where ``path`` lies or would lie, or None where even that cannot be told."""
    for folder in (path, *path.parents):
        try:
            return shutil.disk_usage(folder).free
        except OSError:
            continue
    return None
