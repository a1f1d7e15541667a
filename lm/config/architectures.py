"""The architectures: a line each. What a report calls one, what it may be set to, and where its code is.

The order is that of the report. Nothing here imports PyTorch: the module named is imported by :mod:`lm.models.build`
alone, when a model is built. ``docs/extending.md`` adds an architecture step by step.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Architecture:
    """``label`` and ``marker`` (matplotlib's) stand for it in tables and figures.

    ``module`` has ``build``, ``operations`` and ``activation_bytes`` (see :class:`lm.models.build.Entry`). ``sizes``
    are the whole numbers that it needs beside layers, context and width, from a scale or an experiment's line;
    ``divide_width`` those of them that must divide the width. ``settings`` names the settings of ``training:`` that
    only some architectures have and that this one heeds.
    """

    label: str
    marker: str
    module: str
    sizes: tuple[str, ...]
    divide_width: tuple[str, ...] = ()
    settings: tuple[str, ...] = ()


ARCHITECTURES: dict[str, Architecture] = {
    "lstm": Architecture(label="LSTM", marker="o", module="lm.models.lstm", sizes=("lstm_hidden",)),
    "gpt": Architecture(
        label="GPT-1",
        marker="s",
        module="lm.models.gpt",
        sizes=("heads", "mlp"),
        divide_width=("heads",),
        settings=("norm",),
    ),
}


def all_sizes() -> tuple[str, ...]:
    """Every size that any architecture takes, each once."""
    return tuple(dict.fromkeys(size for each in ARCHITECTURES.values() for size in each.sizes))


def some_settings() -> tuple[str, ...]:
    """Every setting of ``training:`` that only some architectures have."""
    return tuple(dict.fromkeys(setting for each in ARCHITECTURES.values() for setting in each.settings))
