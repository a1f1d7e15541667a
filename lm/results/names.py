"""What things are called in the report, and the order they come in.

Names come from the registries of architectures and optimizers; one that they do not have stops here, in one line,
before it is taken for another.
"""

from __future__ import annotations

import re

from lm.config.architectures import ARCHITECTURES
from lm.config.optimizers import OPTIMIZERS
from lm.errors import StudyError

Key = tuple[tuple[int, int, str], ...]


def model_name(model: str) -> str:
    """An architecture's label; raises :class:`StudyError` for one that is not registered."""
    if model not in ARCHITECTURES:
        raise StudyError(
            f"results: unknown architecture '{model}'; lm/config/architectures.py has {', '.join(ARCHITECTURES)}"
        )
    return ARCHITECTURES[model].label


def optimizer_name(optimizer: str) -> str:
    """An optimizer's label; raises :class:`StudyError` for one that is not registered."""
    if optimizer not in OPTIMIZERS:
        raise StudyError(
            f"results: unknown optimizer '{optimizer}'; lm/config/optimizers.py has {', '.join(OPTIMIZERS)}"
        )
    return OPTIMIZERS[optimizer].label


def natural(text: str) -> Key:
    """Sort key that puts experiment 10 after experiment 9, whatever else ids may look like."""
    return tuple((0, int(part), "") if part.isdecimal() else (1, 0, part) for part in re.findall(r"\d+|\D+", text))


def rank(model: str, layers: int, optimizer: str, experiment: str) -> tuple[int, int, int, Key]:
    """Sort key of the report: by architecture, layers, optimizer and experiment id."""
    return (
        list(ARCHITECTURES).index(model),
        layers,
        list(OPTIMIZERS).index(optimizer),
        natural(experiment),
    )
