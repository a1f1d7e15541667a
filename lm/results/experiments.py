"""Runs taken together: one row an experiment, over its seeds."""

from __future__ import annotations

import pandas as pd

from lm.results.names import order
from lm.results.statistics import estimate
from lm.results.text import MISSING, whole


def by_experiment(runs: pd.DataFrame) -> pd.DataFrame:
    """One row an experiment in the report's order; figures as means over its seeds, ``<name>_half`` beside them."""
    if runs.empty:
        return runs
    rows = []
    for _, group in order(runs).groupby("experiment", sort=False):
        first = group.iloc[0]
        row = {key: first[key] for key in ("experiment", "model", "layers", "optimizer", "hardware", "precision")}
        row |= {"seeds": len(group), "diverged": int((group["status"] == "diverged").sum())}
        row["best_epochs"] = epoch_range(group["best_epoch"])
        for name in group.columns[group.dtypes.map(pd.api.types.is_numeric_dtype)]:
            if name not in row and name != "seed":
                spread = estimate(group[name])
                row[name], row[f"{name}_half"] = spread.mean, spread.half
        rows.append(row)
    return pd.DataFrame(rows)


def epoch_range(epochs: pd.Series) -> str:
    known = sorted({int(epoch) for epoch in epochs.dropna()})
    if not known:
        return MISSING
    return f"{known[0]}" if len(known) == 1 else f"{known[0]}–{known[-1]}"


def unlike_hardware(runs: pd.DataFrame) -> dict[str, int]:
    """Experiment to a mark (1, 2, …) for hardware or threads unlike the commonest."""
    kinds = runs.groupby("experiment", sort=False).apply(
        lambda group: " / ".join(sorted({f"{r.hardware}, {whole(r.threads)} threads" for r in group.itertuples()}))
    )
    if kinds.nunique() < 2:
        return {}
    common = kinds.mode().iloc[0]
    others = sorted(set(kinds) - {common})
    return {str(experiment): 1 + others.index(kind) for experiment, kind in kinds.items() if kind != common}
