"""What things are called in the report, and the order they come in.

One place, so that a table, a figure and a sentence never name the same run in two ways.
"""

from __future__ import annotations

import re

import pandas as pd

MODELS = {"lstm": "LSTM", "gpt": "GPT-1"}
OPTIMIZERS = {"adam": "Adam", "adamw": "AdamW", "sgd": "SGD", "momentum": "Momentum"}


def model_name(model: str) -> str:
    return MODELS.get(model, model)


def optimizer_name(optimizer: str) -> str:
    return OPTIMIZERS.get(optimizer, optimizer)


def counted(number: int, noun: str, plural: str = "") -> str:
    """``1 layer``, ``2 layers``."""
    return f"{number} {noun if number == 1 else plural or noun + 's'}"


def configuration(model: str, layers: int, optimizer: str) -> str:
    return f"{model_name(model)}, {counted(int(layers), 'layer')}, {optimizer_name(optimizer)}"


def capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def listed(items: list[str], conjunction: str = "and") -> str:
    """``a, b and c``."""
    if len(items) < 2:
        return "".join(items)
    return f"{', '.join(items[:-1])} {conjunction} {items[-1]}"


def natural(text: str) -> tuple:
    """Sort key that puts experiment 10 after experiment 9, whatever else ids may look like."""
    return tuple((0, int(part), "") if part.isdigit() else (1, 0, part) for part in re.findall(r"\d+|\D+", str(text)))


def _rank(names: dict[str, str], value: str) -> tuple:
    return (list(names).index(value), "") if value in names else (len(names), value)


def order(runs: pd.DataFrame) -> pd.DataFrame:
    """Rows by architecture, layers, optimizer, experiment id and, where there is one, seed."""

    def key(row) -> tuple:
        return (
            _rank(MODELS, row.model),
            row.layers,
            _rank(OPTIMIZERS, row.optimizer),
            natural(row.experiment),
            getattr(row, "seed", 0),
        )

    keys = [key(row) for row in runs.itertuples(index=False)]
    return runs.iloc[sorted(range(len(runs)), key=keys.__getitem__)].reset_index(drop=True)
