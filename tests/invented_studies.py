"""Invented studies for property tests: any grid, seeds, missing, diverged, exploded, equal, one run, one epoch."""

from __future__ import annotations

import math
from typing import Any

import pandas as pd
from hypothesis import strategies as st

from lm.results import schema
from tests.synthetic import frame, make_rows

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
    max_size=8,
)
_LOSS = st.one_of(
    st.sampled_from([_UNIFORM, math.log(UNIGRAM), 5.0, 4.0, 5.0 + 1e-9, 5.004, 5.03, 5.1, 4.9, 0.0]),
    st.floats(min_value=3.0, max_value=9.0),
)
_STEP = st.sampled_from([0.0, -0.5, -0.1, -0.004, 0.03, 0.5])
_HUGE = st.sampled_from([78378.0, 1e300, math.inf])
_SECONDS = st.one_of(st.sampled_from([10.0, 10.4, 20.0, 1e-9, 1e9]), st.floats(min_value=0.1, max_value=1000.0))


@st.composite
def studies(draw: st.DrawFn) -> tuple[pd.DataFrame, pd.DataFrame]:
    """(runs, epochs) in the schema; what a run's columns say agrees with its epochs."""
    grid = draw(_GRID)
    seeds = draw(st.lists(st.sampled_from([1, 2, 3, 42]), min_size=1, max_size=3, unique=True))
    epochs = draw(st.integers(min_value=1, max_value=5))
    runs, lines = make_rows(grid, seeds=seeds, epochs=epochs)
    unlike = draw(st.booleans())
    of = _bases(draw, list(grid))
    rows: list[dict[str, Any]] = []
    kept: list[dict[str, Any]] = []
    for index, row in enumerate(runs):
        if index and draw(st.integers(0, 9)) == 0:
            continue  # a seed is missing
        done = draw(st.integers(0, epochs)) if draw(st.integers(0, 7)) == 0 else epochs
        diverged = done < epochs
        own = [line for line in lines if (line["experiment"], line["seed"]) == (row["experiment"], row["seed"])]
        history = _history(draw, own[:done])
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


def _history(draw: st.DrawFn, lines: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """A curve: a loss to begin with, and a step an epoch; now and then the last loss is huge."""
    validation, gap, history = draw(_LOSS), draw(st.sampled_from([0.0, 0.3, 1.2, -0.1])), []
    for line in lines:
        seconds = draw(_SECONDS)
        training = max(0.0, validation - gap)
        history.append(
            line
            | {
                "validation_loss": validation,
                "train_eval_loss": training,
                "train_loss": training,
                "train_seconds": seconds,
            }
        )
        validation, gap = max(0.0, validation + draw(_STEP)), gap + draw(st.sampled_from([0.0, 0.0, 0.6]))
    if history and draw(st.integers(0, 11)) == 0:
        history[-1]["validation_loss"] = draw(_HUGE)
    for line in history:
        for name in ("validation", "train_eval", "train"):
            line[f"{name}_perplexity"] = _exp(line[f"{name}_loss"])
    return history


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
