"""Numbers and lists as words, the same in every format.

What is missing or not finite is a dash: no figure that a run does not have may look like one.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

MISSING = "–"
_HUGE = 1e6
"""From here on a figure is written as a power of ten: nobody reads its digits."""


def known(value: Any) -> bool:
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
    return f"{round(value):,}" if known(value) else MISSING


def perplexity(value: Any) -> str:
    """A perplexity in a sentence: three figures below a thousand, none after the point beyond."""
    if not known(value):
        return MISSING
    if abs(value) >= _HUGE:
        return _power(value)
    return number(value, 2 if value < 10 else 1) if value < 1000 else whole(value)


def percent(value: Any, digits: int = 1) -> str:
    """A size in percent; its direction is the sentence's business. Below ten, two figures are enough."""
    return f"{number(abs(value), digits)} %" if known(value) else MISSING


def seconds(value: Any) -> str:
    """A duration: seconds to a minute and a half, minutes to an hour and a half, hours beyond."""
    if not known(value):
        return MISSING
    if value < 90:
        return f"{number(value, 1 if value < 20 else 0)} s"
    return f"{number(value / 60)} min" if value < 5400 else f"{number(value / 3600)} h"


def signed(value: Any, digits: int = 1) -> str:
    """A figure with its sign, a plus included."""
    text = number(value, digits)
    return text if not known(value) or value < 0 or float(text.replace(",", "")) == 0 else f"+{text}"


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
