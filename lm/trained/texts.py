"""Text that a user gives: an argument, a file, standard input. What is no text is refused in one line."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from lm.config.strict import one_line
from lm.errors import StudyError
from lm.text import decode, is_blank

STANDARD_INPUT = "-"
_PATH = 300


def shown_path(path: Path | str) -> str:
    """A path as an error names it: longer than other words may be, since what it is about stands at its end."""
    return one_line(path, _PATH)


def from_argument(argument: str, name: str) -> str:
    """The argument; raises :class:`StudyError` where the shell gave bytes that are not UTF-8, or nothing."""
    return _decoded(os.fsencode(argument), name)


def from_standard_input(name: str, *, wanted: str) -> str:
    """All of it; raises :class:`StudyError` at a terminal, where nobody would know that the program waits."""
    if sys.stdin is None or sys.stdin.isatty():
        raise StudyError(f"{name}: none; {wanted}")
    return _decoded(sys.stdin.buffer.read(), name)


def from_file(path: Path) -> str:
    """A file's text; raises :class:`StudyError` for a file that is missing, unreadable, empty or not UTF-8."""
    shown = shown_path(path)
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise StudyError(f"{shown}: no such file; name a text file, or - for standard input") from None
    except IsADirectoryError:
        raise StudyError(f"{shown}: a folder; name a text file, or - for standard input") from None
    except OSError as error:
        raise StudyError(f"{shown}: cannot be read ({error.strerror})") from None
    return _decoded(content, shown)


def _decoded(content: bytes, name: str) -> str:
    text = decode(content, name)
    if is_blank(text):
        raise StudyError(f"{name}: empty; allowed: at least one word")
    return text
