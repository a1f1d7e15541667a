"""Whether the runs repeat the original study: only asked where they predicted the same tokens."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import pandas as pd

from lm.results.experiments import by_experiment
from lm.results.names import capital, counted, listed
from lm.results.reference import VALIDATION_TOKENS, Reference
from lm.results.statistics import ONE_SEED_BOUND
from lm.results.text import percent, whole

Place = Literal["within", "lower", "higher"]


@dataclass(frozen=True)
class Replication:
    """``places``: by experiment, where our validation perplexity lies against what the study and its replications
    spread over, widened by the bound for single runs; empty where other tokens were predicted."""

    claim: str
    verdict: Literal["replicated", "partly replicated", "not comparable"]
    places: dict[str, Place]


_SAME_TEXT = 1e-4
"""Relative difference in tokens up to which two token streams are of one text. Ours has one more than the study's,
whose windows skip one; <unk> can cost a few.
"""


def matched(runs: pd.DataFrame, reference: Reference) -> Iterator[tuple[dict, pd.Series, pd.Series]]:
    """Our row, the study's row and the replications' perplexities of each experiment that is the study's own."""
    published = reference.results.set_index("experiment")
    for row in by_experiment(runs[runs["scale"] == "reference"]).to_dict("records"):
        if row["experiment"] not in published.index:
            continue
        theirs = published.loc[row["experiment"]]
        if any(theirs[key] != row[key] for key in ("model", "layers", "optimizer")):
            continue
        same = reference.replications
        same = same[(same["experiment"] == row["experiment"]) & (same["batch"] == row["batch"])]
        yield row, theirs, same["best_val_ppl"]


def replication(runs: pd.DataFrame, reference: Reference) -> Replication | None:
    """Validation perplexity, with the study's denominator, against the study's and its replications'."""
    places: dict[str, Place] = {}
    every = list(matched(runs, reference))
    if not every:
        return None
    if any(abs(row["validation_tokens"] / VALIDATION_TOKENS - 1) > _SAME_TEXT for row, _, _ in every):
        claim = (
            f"The study predicted {whole(VALIDATION_TOKENS)} validation tokens of WikiText-2, these runs "
            f"{whole(every[0][0]['validation_tokens'])}: another text, so the perplexities do not compare."
        )
        return Replication(claim, "not comparable", {})
    for row, theirs, others in every:
        known = [theirs["best_val_ppl"], *others]
        ours = row["study_validation_perplexity"]
        if ours is None or not math.isfinite(ours):
            continue
        low, high = math.log(min(known)) - ONE_SEED_BOUND, math.log(max(known)) + ONE_SEED_BOUND
        places[row["experiment"]] = "lower" if math.log(ours) < low else "higher" if math.log(ours) > high else "within"
    within = sum(place == "within" for place in places.values())
    told = [
        f"{place} in {listed(names)}"
        for place in ("lower", "higher")
        if (names := [name for name, where in places.items() if where == place])
    ]
    allowed = percent(100 * math.expm1(ONE_SEED_BOUND), 0)
    claim = (
        f"Of {counted(len(places), 'experiment')} of the study, {within} ended with a validation perplexity within "
        f"the spread of the study and its replications, {allowed} allowed on either side"
        f"{f'; {listed(told)}' if told else ''}."
    )
    return Replication(capital(claim), "replicated" if within == len(places) else "partly replicated", places)
