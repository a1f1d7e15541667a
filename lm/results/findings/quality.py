"""Which model is best, on data that chose it and on data that did not."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import pandas as pd

from lm.results.experiments import by_experiment
from lm.results.findings.comparison import best_with_alike
from lm.results.names import configuration, listed
from lm.results.statistics import ONE_SEED_BOUND
from lm.results.text import number, percent, perplexity

_FIGURES = ("validation_perplexity", "test_perplexity", "test_bits_per_byte", "test_word_perplexity")


@dataclass(frozen=True)
class LastAgainstBest:
    """What keeping the last epoch's weights instead of the best epoch's costs, in percent of test perplexity."""

    experiment: str
    best: float
    last: float
    cost_percent: float


@dataclass(frozen=True)
class Generalization:
    """The best experiment by validation, those that can't be told from it, and its test figures."""

    claim: str
    verdict: Literal["one best", "several alike", "none completed"]
    best: str | None
    alike: tuple[str, ...]
    validation_perplexity: float | None
    test_perplexity: float | None
    test_bits_per_byte: float | None
    test_word_perplexity: float | None
    test_agrees: bool | None
    last: tuple[LastAgainstBest, ...]


def generalization(runs: pd.DataFrame) -> Generalization:
    """Finding 3: best by validation, its test figures, best epoch against last."""
    best, alike = best_with_alike(runs)
    if best is None:
        return Generalization("No run completed.", "none completed", None, (), None, None, None, None, None, ())
    table = by_experiment(runs[runs["status"] == "completed"]).set_index("experiment")
    row = table.loc[best]
    name = configuration(row["model"], row["layers"], row["optimizer"])
    told = f", not distinguishable from {listed(list(alike))}" if alike else ""
    lowest = perplexity(row["validation_perplexity"])
    claim = f"Lowest validation perplexity: experiment {best} ({name}) with {lowest}{told}."
    agrees = None
    if pd.notna(row["test_perplexity"]):
        tested = table["test_loss"].astype(float).dropna()
        first = str(tested.idxmin())
        agrees = bool(tested[best] <= tested[first] + ONE_SEED_BOUND)
        claim += f" On the test split it has {perplexity(row['test_perplexity'])}"
        if pd.notna(row["test_bits_per_byte"]):
            by_word = perplexity(row["test_word_perplexity"])
            claim += f" ({number(row['test_bits_per_byte'], 3)} bits per byte, {by_word} per word)"
        if first == best:
            claim += ", lowest there too."
        elif agrees:
            claim += (
                f", within {percent(100 * math.expm1(ONE_SEED_BOUND), 0)} of the lowest there (experiment {first})."
            )
        else:
            claim += f"; experiment {first} has less there, {perplexity(table.loc[first, 'test_perplexity'])}."
    scored = table.dropna(subset=["test_perplexity", "last_test_perplexity"])
    last = tuple(
        LastAgainstBest(str(experiment), best_ppl, last_ppl, 100 * (last_ppl / best_ppl - 1))
        for experiment, best_ppl, last_ppl in scored[["test_perplexity", "last_test_perplexity"]].itertuples()
    )
    return Generalization(
        claim,
        "several alike" if alike else "one best",
        best,
        alike,
        *(row[key] for key in _FIGURES),
        agrees,
        last,
    )


def last_epoch_claim(found: Generalization) -> str:
    """Whether keeping the best epoch was worth it."""
    costly = sorted((c for c in found.last if c.cost_percent > 100 * ONE_SEED_BOUND), key=lambda c: -c.cost_percent)
    if not found.last:
        return "The test split was not scored with the last epoch's weights."
    if not costly:
        return "Keeping the last epoch's weights instead of the best epoch's would have cost no run more than 2 %."
    named = listed([f"{c.experiment} ({percent(c.cost_percent)})" for c in costly])
    return f"Keeping the last epoch's weights instead of the best epoch's costs test perplexity in experiments {named}."
