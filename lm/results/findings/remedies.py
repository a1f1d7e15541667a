"""What to try next for a run that failed or overfitted, as the line to type.

A remedy is offered only if params.yaml has the key it sets, so that every line printed runs.
"""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from typing import Any

import pandas as pd

from lm.results.findings.learning import FALLING, Learning, State
from lm.results.names import optimizer_name, order

_FASTER = {"sgd": 100, "momentum": 30}


@dataclass(frozen=True)
class Remedy:
    """``verdict`` is the state it answers; ``command`` the exact line; ``claim`` why it may help."""

    experiments: tuple[str, ...]
    verdict: State
    claim: str
    command: str


def lookup(params: dict, dotted: str) -> Any:
    """The value at a dotted key of params.yaml, None if it has no such key."""
    value: Any = params
    for part in dotted.split("."):
        if not isinstance(value, dict) or part not in value:
            return None
        value = value[part]
    return value


def remedies(runs: pd.DataFrame, learning: Learning, params: dict) -> tuple[Remedy, ...]:
    """Finding 9: one line for each cause, naming the experiments it is meant for."""
    found: dict[tuple[State, str, str], list[str]] = {}
    for row in order(runs).drop_duplicates("experiment").to_dict("records"):
        state = learning.state(row["experiment"])
        for claim, key, value in _proposals(row, state, learning, params):
            found.setdefault((state, claim, f"{key}={value:g}"), []).append(str(row["experiment"]))
    return tuple(
        Remedy(tuple(experiments), state, claim, shlex.join(["dvc", "exp", "run", "-S", setting]))
        for (state, claim, setting), experiments in found.items()
    )


def _proposals(row: dict, state: State, learning: Learning, params: dict):
    """(why, key, new value) for one experiment, only for keys that there are and values that change them."""
    optimizer, scale = row["optimizer"], row["scale"]
    name = optimizer_name(optimizer)
    rate_key, epochs_key = f"optimizers.{optimizer}.lr", f"scales.{scale}.epochs"
    share_key = f"scales.{scale}.tokenizer.train_share"
    rate, epochs, share = (lookup(params, key) for key in (rate_key, epochs_key, share_key))
    if state in ("plateau", "undertrained") and optimizer in _FASTER and rate:
        yield f"{name}'s steps may be too small: try a larger learning rate", rate_key, rate * _FASTER[optimizer]
    elif state == "plateau" and epochs and _falling(learning, row["experiment"]):
        yield "still at the unigram model's level, but falling: train longer", epochs_key, 2 * epochs
    elif state == "plateau" and rate:
        yield (
            f"{name}'s first steps may be too large for this model: try a smaller learning rate",
            rate_key,
            rate * 0.3,
        )
    elif state == "undertrained" and epochs:
        yield "validation was still falling: train longer", epochs_key, 2 * epochs
    elif state == "overfitting":
        if share and share < 1:
            yield "the model may have too little text: train on more of the corpus", share_key, min(1.0, 3 * share)
        elif epochs and row["best_epoch"] + 1 < epochs:
            yield "validation rises after the best epoch: stop there", epochs_key, int(row["best_epoch"]) + 1
    elif state == "diverged" and rate:
        yield f"{name}'s loss stopped being finite: try a smaller learning rate", rate_key, rate * 0.1


def _falling(learning: Learning, experiment: str) -> bool:
    """Whether any seed's validation still fell at the end; a single epoch can't tell, and counts as such."""
    slopes = [run.slope for run in learning.of(experiment)]
    return any(slope is None or slope < -FALLING for slope in slopes)
