"""Numbers and lists as words, the same in every format.

What is missing or not finite is a dash: no figure that a run does not have may look like one.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any, TypeGuard

MISSING = "–"
_HUGE = 1e6
"""From here on a figure is written as a power of ten: nobody reads its digits."""


def known(value: float | None) -> TypeGuard[float]:
    """Whether there is a figure: neither None nor NaN nor infinite."""
    return value is not None and math.isfinite(value)


def number(value: Any, digits: int = 1) -> str:
    """A figure with a fixed number of decimals; a dash for what a run does not have."""
    if not known(value):
        return MISSING
    if abs(value) >= _HUGE:
        return _power(value)
    text = f"{value:.{digits}f}"
    return text.lstrip("-") if float(text) == 0 else text


def whole(value: Any) -> str:
    """The nearest integer, in groups of three."""
    if not known(value):
        return MISSING
    return f"{round(value):,}" if abs(value) < 1e15 else _power(value)


def power(loss: float | None) -> float | None:
    """exp of a loss, infinite where that is too large for a float."""
    if loss is None:
        return None
    try:
        return math.exp(loss)
    except OverflowError:
        return math.inf


def change(logarithm: float | None) -> float | None:
    """A logarithm of a ratio as relative change: 0.1 is 10.5 % more."""
    raised = power(logarithm)
    return None if raised is None else raised - 1


def perplexity(value: Any, digits: int | None = None) -> str:
    """A perplexity in a sentence: three figures below a thousand, none after the point beyond."""
    if not known(value):
        return MISSING
    if digits is None:
        digits = 2 if value < 10 else 1 if value < 1000 else 0
    return whole(value) if digits == 0 and value < _HUGE else number(value, digits)


def percent(ratio: Any) -> str:
    """The size of a relative change in percent; its direction is the sentence's business. Two figures, or three from a
    hundred on."""
    if not known(ratio):
        return MISSING
    size = abs(100 * ratio)
    return f"{whole(size) if size >= 9.95 else number(size, 1)} %"


def signed_range(ends: Sequence[float]) -> str:
    """An interval of relative changes in percent, ``−1.0 % to +0.4 %``. One decimal, or two or three where fewer would
    make its ends the same or both nothing."""
    if not all(map(known, ends)):
        return MISSING
    least = 1 if max(map(abs, ends)) >= 0.002 else 2
    for digits in range(least, 4):
        low, high = (_signed_percent(end, digits) for end in ends)
        if low != high:
            break
    return f"{low} to {high}"


def _signed_percent(ratio: float, digits: int) -> str:
    size = number(abs(100 * ratio), digits)
    return f"{'' if float(size) == 0 else '−' if ratio < 0 else '+'}{size} %"


def seconds(value: Any) -> str:
    """A duration: seconds to a minute and a half, minutes to an hour and a half, hours beyond."""
    if not known(value):
        return MISSING
    if value < 90:
        return f"{number(value)} s"
    return f"{number(value / 60)} min" if value < 5400 else f"{number(value / 3600)} h"


def counted(count: int, noun: str, plural: str = "") -> str:
    """``1 layer``, ``2 layers``."""
    return f"{count} {noun if count == 1 else plural or noun + 's'}"


def listed(items: Iterable[Any], conjunction: str = "and") -> str:
    """``a, b and c``."""
    every = [str(item) for item in items]
    if len(every) < 2:
        return "".join(every)
    return f"{', '.join(every[:-1])} {conjunction} {every[-1]}"


def capital(text: str) -> str:
    """The text with its first letter large."""
    return text[:1].upper() + text[1:]


def _power(value: float) -> str:
    mantissa, exponent = f"{value:.1e}".split("e")
    return f"{mantissa}e{int(exponent)}"
