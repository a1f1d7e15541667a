"""Optimizers at one layer. Their learning rates are the configured ones: what loses here may only be mistuned."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import pandas as pd

from lm.results.findings.comparison import Compared, compare, losses, words
from lm.results.findings.learning import Learning
from lm.results.names import listed, model_name, optimizer_name

ADAPTIVE, PLAIN = ("adam", "adamw"), ("sgd", "momentum")
_QUESTIONS = {
    "weight decay": ("adamw", "adam"),
    "momentum": ("momentum", "sgd"),
}

Effect = Literal[
    "helps", "hurts", "not distinguishable", "not comparable", "depends on the architecture", "none learned"
]
_EFFECTS: dict[str, Effect] = {
    "lower": "helps",
    "higher": "hurts",
    "indistinguishable": "not distinguishable",
    "unknown": "not comparable",
}


@dataclass(frozen=True, kw_only=True)
class Pair(Compared):
    """One question within one architecture: ``comparison.first`` is the run that has what is asked about.
    ``learned``: at least one of the two used context."""

    question: str
    model: str
    verdict: Effect
    learned: bool


@dataclass(frozen=True)
class Optimizers:
    """``effects`` by question, over the architectures that answer it."""

    claim: str
    verdict: dict[str, Effect]
    pairs: tuple[Pair, ...]
    tuning: str


def optimizers(runs: pd.DataFrame, learning: Learning) -> Optimizers | None:
    """Finding 4: weight decay, momentum and adaptivity, within each architecture."""
    shallow = runs[runs["layers"] == 1]
    pairs = []
    for model, group in shallow.groupby("model", sort=False):
        named = group.drop_duplicates("optimizer").set_index("optimizer")["experiment"]
        questions = dict(_QUESTIONS)
        adaptive, plain = _best(group, named, ADAPTIVE), _best(group, named, PLAIN)
        if adaptive and plain:
            questions["adaptivity"] = (adaptive, plain)
        for question, (first, second) in questions.items():
            if first in named and second in named:
                found = compare(group, named[first], named[second])
                claim = f"{model_name(model)}, {optimizer_name(first)} against {optimizer_name(second)}: {words(found)}"
                learned = any(learning.learned(e) for e in (named[first], named[second]))
                if not learned:
                    claim += "; neither learned to use context, so neither counts"
                pairs.append(
                    Pair(
                        question=question,
                        model=model,
                        comparison=found,
                        verdict=_EFFECTS[found.difference.order],
                        learned=learned,
                        claim=f"{claim}.",
                    )
                )
    if not pairs:
        return None
    verdict: dict[str, Effect] = {}
    for question in dict.fromkeys(pair.question for pair in pairs):
        answers = {pair.verdict for pair in pairs if pair.question == question and pair.learned} or {"none learned"}
        answers = answers - {"not comparable"} or answers
        verdict[question] = answers.pop() if len(answers) == 1 else "depends on the architecture"
    parts = [f"{question} {_said(effect)}" for question, effect in verdict.items()]
    claim = f"At one layer and these learning rates: {'; '.join(parts)}."
    return Optimizers(claim, verdict, tuple(pairs), tuning(shallow))


def _said(effect: Effect) -> str:
    return {
        "not distinguishable": "makes no difference that can be told",
        "not comparable": "can't be judged",
        "none learned": "can't be judged, for no run with or without it learned to use context",
        "depends on the architecture": "acts differently in the two architectures",
    }.get(effect, effect)


def _best(group: pd.DataFrame, named: pd.Series, choices: tuple[str, ...]) -> str | None:
    """The optimizer of lowest mean loss; one that only diverged stands in where there is no other."""
    means = {o: losses(group, named[o]).dropna().mean() for o in choices if o in named}
    return min(means, key=lambda o: (pd.isna(means[o]), means[o] if pd.notna(means[o]) else 0.0)) if means else None


def tuning(runs: pd.DataFrame) -> str:
    """What the comparison can't say, because each optimizer ran at one learning rate."""
    rates = runs.groupby("optimizer", sort=False)["lr"].agg(lambda rate: sorted(set(rate)))
    same = {rate for values in rates for rate in values}
    told = (
        f"All ran at learning rate {same.pop():g}"
        if len(same) == 1
        else listed(
            [f"{optimizer_name(o)} ran at {listed([f'{rate:g}' for rate in used])}" for o, used in rates.items()]
        )
    )
    return (
        f"{told}, and no learning rate was tuned: an optimizer that does badly here does badly at this learning rate, "
        "which says nothing of what it would do at its own best one."
    )
