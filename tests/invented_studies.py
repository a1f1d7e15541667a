"""Invented studies for property tests: any grid, seeds, missing, diverged, exploded, equal, one run, one epoch."""

from __future__ import annotations

import math
from typing import Any

import pandas as pd
from hypothesis import strategies as st

from lm.results import schema
from tests.synthetic import frame, make_results

VOCABULARY, UNIGRAM = 4096, 690.0
_UNIFORM = math.log(VOCABULARY)
_GRID = st.dictionaries(
    st.sampled_from(["1", "2", "3", "7", "10", "12", "a", "b_2", "x.1"]),
    st.tuples(
        st.sampled_from(["lstm", "gpt"]),
        st.sampled_from([1, 2, 4]),
        st.sampled_from(["adam", "adamw", "sgd", "momentum"]),
    ),
    min_size=1,
    max_size=6,
)
_LOSS = st.one_of(
    st.sampled_from([_UNIFORM, math.log(UNIGRAM), 5.0, 4.0, 5.0 + 1e-9, 5.004, 5.03, 78378.0, 1e300, 0.0]),
    st.floats(min_value=1.0, max_value=9.0),
)
_SECONDS = st.one_of(st.sampled_from([10.0, 10.4, 20.0, 1e-9, 1e9]), st.floats(min_value=0.1, max_value=1000.0))


@st.composite
def studies(draw: st.DrawFn) -> tuple[pd.DataFrame, pd.DataFrame]:
    """(runs, epochs) in the schema; what a run's columns say agrees with its epochs."""
    grid = draw(_GRID)
    seeds = draw(st.lists(st.sampled_from([1, 2, 3, 42]), min_size=1, max_size=3, unique=True))
    epochs = draw(st.integers(min_value=1, max_value=5))
    runs, lines = make_results(grid, seeds=seeds, epochs=epochs)
    unlike = draw(st.booleans())
    of = _bases(draw, list(grid))
    rows: list[dict[str, Any]] = []
    kept: list[dict[str, Any]] = []
    for index, row in enumerate(runs.to_dict("records")):
        if index and draw(st.integers(0, 9)) == 0:
            continue  # a seed is missing
        done = draw(st.integers(0, epochs)) if draw(st.integers(0, 7)) == 0 else epochs
        diverged = done < epochs or draw(st.integers(0, 9)) == 0
        own = lines[(lines["experiment"] == row["experiment"]) & (lines["seed"] == row["seed"])]
        history = [_epoch(draw, line) for line in own.to_dict("records")[:done]]
        kept += history
        row["of"] = of.get(row["experiment"])
        row["schedule"] = draw(st.sampled_from(["constant", "constant", "cosine"]))
        row["patience"] = draw(st.sampled_from([None, None, 2]))
        row["lr"] = draw(st.sampled_from([0.001, 0.01]))
        if unlike:
            row["hardware"] = draw(st.sampled_from(["A, 2 cores", "B, 4 cores"]))
        if draw(st.integers(0, 5)) == 0:
            row["other_cpu_seconds"] = row["process_cpu_seconds"]
        rows.append(_agreeing(row, history, diverged))
    return frame(rows, schema.RUNS), frame(kept, schema.EPOCHS)


def _bases(draw: st.DrawFn, names: list[str]) -> dict[str, str]:
    """Some experiments are made from the first one."""
    return {name: names[0] for name in names[1:] if draw(st.integers(0, 4)) == 0}


def _epoch(draw: st.DrawFn, line: dict[str, Any]) -> dict[str, Any]:
    validation, training, seconds = draw(_LOSS), draw(_LOSS), draw(_SECONDS)
    return line | {
        "validation_loss": validation,
        "validation_perplexity": _exp(validation),
        "train_eval_loss": training,
        "train_eval_perplexity": _exp(training),
        "train_loss": training,
        "train_perplexity": _exp(training),
        "train_seconds": seconds,
    }


def _agreeing(row: dict[str, Any], history: list[dict[str, Any]], diverged: bool) -> dict[str, Any]:
    best = min(history, key=lambda line: line["validation_loss"], default=None)
    loss = None if best is None else best["validation_loss"]
    return row | {
        "status": "diverged" if diverged else "completed",
        "diverged_step": 7 if diverged else None,
        "epochs_done": len(history),
        "best_epoch": None if best is None else best["epoch"],
        "validation_loss": loss,
        "validation_perplexity": None if loss is None else _exp(loss),
        "test_loss": None if loss is None or diverged else loss + 0.05,
        "test_perplexity": None if loss is None or diverged else _exp(loss + 0.05),
        "train_perplexity": None if best is None else best["train_perplexity"],
        "train_eval_perplexity": None if best is None else best["train_eval_perplexity"],
        "last_validation_perplexity": history[-1]["validation_perplexity"] if history else None,
        "last_test_perplexity": _exp(history[-1]["validation_loss"] + 0.05) if history and not diverged else None,
        "train_seconds": math.fsum(line["train_seconds"] for line in history),
    }


def _exp(loss: float) -> float:
    return math.exp(loss) if loss < 700 else math.inf
