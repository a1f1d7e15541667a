"""Has a run learned anything, and how did it end?

Perplexity alone does not tell a model that overfits from one that never trained. The unigram model tells them apart:
a run that never gets clearly below it has not learned to use context, however long it trained.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd

from lm.results.names import counted, listed, natural
from lm.results.text import percent, perplexity

State = Literal["diverged", "plateau", "overfitting", "undertrained", "converged"]

CLEARLY = 0.1
"""Nats below the unigram model (about 10 % of perplexity) from which on a run counts as using context."""
RISE = 0.02
"""Nats by which validation must rise from the best epoch to the last to be called overfitting, not wobbling."""
FALLING = 0.005
"""Nats an epoch (0.5 % of perplexity) by which validation must still fall at the end to be called undertrained."""
_WINDOW = 3


@dataclass(frozen=True)
class RunState:
    """How one run ended. Losses in nats per token; ``gap`` is validation less training on the same weights, at the
    last epoch, None where training was only recorded as a running mean."""

    experiment: str
    seed: int
    state: State
    claim: str
    best_epoch: int | None
    left_plateau: int | None
    slope: float | None
    rise: float | None
    gap: float | None


@dataclass(frozen=True)
class Learning:
    """Every run's state; ``verdict`` is whether all, some or none learned to use context."""

    claim: str
    verdict: Literal["all learned", "some learned", "none learned"]
    runs: tuple[RunState, ...]

    def of(self, experiment: str) -> tuple[RunState, ...]:
        return tuple(run for run in self.runs if run.experiment == experiment)

    def state(self, experiment: str) -> State:
        """The state of most seeds; of equals, the worse."""
        worst = ("diverged", "plateau", "overfitting", "undertrained", "converged")
        counts = Counter(run.state for run in self.of(experiment))
        return min(counts, key=lambda state: (-counts[state], worst.index(state)))

    def learned(self, experiment: str) -> bool:
        return self.state(experiment) not in ("diverged", "plateau")

    def experiments(self, *states: State) -> tuple[str, ...]:
        """Those whose state is one of ``states``, by id."""
        every = sorted({run.experiment for run in self.runs}, key=natural)
        return tuple(experiment for experiment in every if self.state(experiment) in states)


def classify(run: pd.Series, epochs: pd.DataFrame) -> RunState:
    """One run's state from its validation losses, epoch by epoch, and the unigram model's."""
    epochs = epochs.sort_values("epoch")
    validation = epochs["validation_loss"].to_numpy(float)
    finite = np.isfinite(validation)
    training = epochs["train_eval_loss"].to_numpy(float)
    evaluated = bool(len(training)) and bool(np.isfinite(training[finite]).all())
    if not evaluated:
        training = epochs["train_loss"].to_numpy(float)
    unigram = math.log(run["unigram_validation_perplexity"])
    best = int(np.nanargmin(validation)) if finite.any() else None
    below = np.flatnonzero(finite & (validation < unigram - CLEARLY))
    left = int(epochs["epoch"].iloc[below[0]]) if len(below) else None
    slope = rise = gap = None
    if finite.any():
        tail = validation[finite][-_WINDOW:]
        slope = float(np.polyfit(range(len(tail)), tail, 1)[0]) if len(tail) > 1 else None
        rise = float(validation[finite][-1] - validation[best])
        gap = float(validation[finite][-1] - training[finite][-1]) if evaluated else None
    numbers = {
        "experiment": str(run["experiment"]),
        "seed": int(run["seed"]),
        "best_epoch": None if best is None else int(epochs["epoch"].iloc[best]),
        "left_plateau": left,
        "slope": slope,
        "rise": rise,
        "gap": gap,
    }
    if run["status"] == "diverged" or best is None:
        step = "" if pd.isna(run["diverged_step"]) else f" at step {int(run['diverged_step'])}"
        after = f" after {counted(int(finite.sum()), 'whole epoch')}"
        return RunState(state="diverged", claim=f"diverged{step},{after}", **numbers)
    lowest = f"lowest validation perplexity {perplexity(math.exp(validation[best]))}"
    against = f"the unigram model's {perplexity(math.exp(unigram))}"
    falling = slope is not None and slope < -FALLING
    pace = f"still falling by {percent(-100 * math.expm1(slope))} of perplexity an epoch at the end" if falling else ""
    if left is None:
        where = "never reached" if validation[best] > unigram + CLEARLY else "never clearly got below"
        claim = f"{where} {against} ({lowest}); {pace or 'it had stopped falling'}"
        return RunState(state="plateau", claim=claim, **numbers)
    late = f"; it left the unigram plateau only in epoch {left}" if left > 1 else ""
    if rise > RISE and training[-1] < training[best]:
        since = int(epochs["epoch"].iloc[best]) + 1
        claim = (
            f"overfits from epoch {since} on: validation perplexity rises by {percent(100 * math.expm1(rise))} to the "
            f"last epoch while training perplexity goes on falling{late}"
        )
        return RunState(state="overfitting", claim=claim, **numbers)
    if falling and best == len(validation) - 1:
        return RunState(state="undertrained", claim=f"{pace}{late}", **numbers)
    claim = "converged: best in the last epoch, which hardly improved on the ones before"
    if rise > 0:
        end = percent(100 * math.expm1(rise))
        claim = f"converged: best in epoch {numbers['best_epoch']}, within {end} of it at the end"
    return RunState(state="converged", claim=f"{claim}{late}", **numbers)


_STATE_WORDS = {
    "diverged": "diverged",
    "plateau": "never got clearly below the unigram model",
    "overfitting": "overfitted",
    "undertrained": "were still improving when training ended",
    "converged": "had converged",
}


def learning(runs: pd.DataFrame, epochs: pd.DataFrame) -> Learning:
    """Finding 1: which runs learned, and how each ended."""
    by_run = dict(list(epochs.groupby(["experiment", "seed"])))
    states = tuple(
        classify(run, by_run.get((run["experiment"], run["seed"]), epochs.iloc[:0])) for _, run in runs.iterrows()
    )
    found = Learning("", "all learned", states)
    total = runs["experiment"].nunique()
    parts = []
    for state, words in _STATE_WORDS.items():
        members = found.experiments(state)
        if members:
            said = words.replace("were", "was") if len(members) == 1 else words
            parts.append(f"{len(members)} {said} ({listed(list(members))})")
    failed = len(found.experiments("diverged", "plateau"))
    verdict = "all learned" if failed == 0 else "none learned" if failed == total else "some learned"
    return Learning(f"Of {counted(total, 'experiment')}, {listed(parts)}.", verdict, states)
