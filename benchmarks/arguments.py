"""Numbers of the benchmarks' command lines."""

from __future__ import annotations

import argparse


def at_least_one(text: str) -> int:
    """A whole number from 1 on; what is none, argparse answers with the option, the value and what is allowed."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text}; allowed: a whole number, 1 or more")
    return int(text)
