"""The difference of two studies' results as a short Markdown table with verdicts."""

from __future__ import annotations

import math

import pandas as pd

from lm.results.experiments import by_experiment
from lm.results.findings.comparison import evidence, losses
from lm.results.findings.learning import learning
from lm.results.names import configuration, natural
from lm.results.statistics import difference
from lm.results.table import Column, Table, markdown
from lm.results.text import Raw

Results = tuple[pd.DataFrame, pd.DataFrame]

_COLUMNS = (
    Column("experiment", "#"),
    Column("configuration", "Configuration"),
    Column("before", "PPL before", 1),
    Column("after", "PPL after", 1),
    Column("verdict", "Verdict"),
    Column("ended", "Ended"),
    Column("seconds", "Time (%)", 0),
    Column("memory", "Memory (%)", 0),
)


def compare_results(before: Results, after: Results, names: tuple[str, str]) -> Raw:
    """Experiments that differ, by id; those that do not are counted below the table."""
    rows, same = [], 0
    sides = [side[0] for side in (before, after)]
    states = [learning(*side) for side in (before, after)]
    for experiment in sorted({*sides[0]["experiment"], *sides[1]["experiment"]}, key=natural):
        own = [runs[runs["experiment"] == experiment] for runs in sides]
        if own[0].empty or own[1].empty:
            present, verdict = (own[1], "new") if own[0].empty else (own[0], "removed")
            row = by_experiment(present).iloc[0]
            key = "after" if own[0].empty else "before"
            rows.append({**_identity(row), key: row["validation_perplexity"], "verdict": verdict})
            continue
        if _unchanged(*own):
            same += 1
            continue
        old, new = (by_experiment(runs).iloc[0] for runs in own)
        found = difference(losses(own[1], experiment), losses(own[0], experiment))
        word = {"lower": "better", "higher": "worse", "indistinguishable": "not distinguishable"}
        ended = [state.state(experiment) for state in states]
        rows.append(
            {
                **_identity(new),
                "configuration": _change(_name(old), _name(new)),
                "before": old["validation_perplexity"],
                "after": new["validation_perplexity"],
                "verdict": f"{word.get(found.order, 'not comparable')} ({evidence(found)})",
                "ended": _change(*ended),
                "seconds": _percent(new["train_seconds"], old["train_seconds"]),
                "memory": _percent(new["memory_mean_mb"], old["memory_mean_mb"]),
            }
        )
    notes = [f"{same} of {same + len(rows)} experiments are the same."]
    if any(row.get("seconds") is not None for row in rows) and len({*sides[0]["hardware"], *sides[1]["hardware"]}) > 1:
        notes.append("Time and memory were measured on unlike hardware and do not compare.")
    if not rows:
        return Raw(f"{names[0]} and {names[1]}: the same results ({same} experiments).\n")
    return markdown(Table("compare", f"{names[1]} against {names[0]}", _COLUMNS, tuple(rows), notes=tuple(notes)), 1)


def _unchanged(first: pd.DataFrame, second: pd.DataFrame) -> bool:
    """The same configuration learned the same; time and memory differ from run to run and do not count."""
    columns = ["seed", "model", "layers", "optimizer", "lr", "weight_decay", "epochs", "corpus", "scale"]
    columns += ["status", "validation_loss", "test_loss"]
    ours, theirs = (runs[columns].sort_values("seed", ignore_index=True) for runs in (first, second))
    return ours.equals(theirs)


def _identity(row) -> dict[str, str]:
    return {"experiment": str(row["experiment"]), "configuration": _name(row)}


def _name(row) -> str:
    return configuration(row["model"], row["layers"], row["optimizer"])


def _change(old: str, new: str) -> str:
    return new if old == new else f"{old} → {new}"


def _percent(new: float | None, old: float | None) -> float | None:
    if new is None or old is None or math.isnan(new) or math.isnan(old) or old == 0:
        return None
    return 100 * (new / old - 1)
