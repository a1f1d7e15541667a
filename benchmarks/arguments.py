"""Numbers of the benchmarks' command lines."""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from typing import Any

from lm.errors import StudyError


def at_least_one(text: str) -> int:
    """A whole number from 1 on; what is none, argparse answers with the option, the value and what is allowed."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text}; allowed: a whole number, 1 or more")
    return int(text)


def most(kind: Any) -> int:
    """The largest that a configuration's whole number (``Layers`` or ``Threads`` of :mod:`lm.config.run`) may be."""
    from pydantic import TypeAdapter  # not at the top: benchmarks.gpu starts where it may not be installed

    return int(TypeAdapter(kind).json_schema()["maximum"])


def check_most(option: str, numbers: Iterable[int], kind: Any) -> None:
    """Raises :class:`StudyError` for a number that no configuration may have."""
    for number in numbers:
        if number > most(kind):
            raise StudyError(f"{option}: {number}; allowed: a whole number, 1 to {most(kind)}")
