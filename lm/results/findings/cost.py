"""What runs cost in time, and what they give for it."""

from __future__ import annotations

import pandas as pd


def pareto(experiments: pd.DataFrame) -> tuple[str, ...]:
    """Experiments that no other beats in both training time and perplexity, fastest first."""
    known = experiments.dropna(subset=["train_seconds", "validation_perplexity"])
    front, best = [], float("inf")
    for row in known.sort_values(["train_seconds", "validation_perplexity"], kind="stable").itertuples():
        if row.validation_perplexity < best:
            front.append(str(row.experiment))
            best = row.validation_perplexity
    return tuple(front)
