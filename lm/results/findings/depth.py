"""What more layers do, and why: a deeper model that does worse may overfit, or may not have trained at all."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import pandas as pd

from lm.results.experiments import by_experiment
from lm.results.findings.comparison import Compared, Comparison, compare, words
from lm.results.findings.learning import Learning
from lm.results.names import counted, listed, model_name

Effect = Literal["helps", "overfits", "failed to train", "learned less", "not distinguishable"]


@dataclass(frozen=True, kw_only=True)
class Step(Compared):
    """A deeper experiment (``comparison.first``) against the shallowest of its architecture."""

    model: str
    layers: int
    verdict: Effect


@dataclass(frozen=True)
class Depth:
    claim: str
    verdict: dict[str, tuple[Effect, ...]]
    steps: tuple[Step, ...]


def depth_series(runs: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """By architecture, the experiments that differ in depth only, under the optimizer with most depths."""
    series = {}
    for model, group in by_experiment(runs).groupby("model", sort=False):
        depths = group.groupby("optimizer", sort=False)["layers"].nunique()
        if depths.max() > 1:
            chosen = group[group["optimizer"] == depths.idxmax()]
            series[str(model)] = chosen.drop_duplicates("layers").sort_values("layers")
    return series


def depth(runs: pd.DataFrame, learning: Learning) -> Depth | None:
    """Finding 6: each deeper model against the shallowest, under the same optimizer."""
    steps = []
    for model, group in depth_series(runs).items():
        base, *deeper = group.to_dict("records")
        for row in deeper:
            found = compare(runs, row["experiment"], base["experiment"])
            verdict = _effect(found, row, learning)
            claim = (
                f"{model_name(model)}, {counted(int(row['layers']), 'layer')} against {int(base['layers'])}: "
                f"{words(found)}{_because(verdict, row['experiment'], learning)}."
            )
            steps.append(Step(model=model, layers=int(row["layers"]), comparison=found, verdict=verdict, claim=claim))
    if not steps:
        return None
    verdicts = {
        m: tuple(step.verdict for step in steps if step.model == m) for m in dict.fromkeys(s.model for s in steps)
    }
    told = []
    for model in verdicts:
        parts = [f"{counted(s.layers, 'layer')} {_SAID[s.verdict]}" for s in steps if s.model == model]
        told.append(f"for {model_name(model)}, {listed(parts)}")
    return Depth(f"Against the shallowest: {'; '.join(told)}.", verdicts, tuple(steps))


_SAID: dict[Effect, str] = {
    "helps": "help",
    "overfits": "hurt by overfitting",
    "failed to train": "failed to train",
    "learned less": "had learned less when training ended",
    "not distinguishable": "can't be told from it",
}


def _effect(found: Comparison, deeper: dict, learning: Learning) -> Effect:
    state = learning.state(deeper["experiment"])
    if state in ("diverged", "plateau"):
        return "failed to train"
    if found.difference.order == "lower":
        return "helps"
    if found.difference.order != "higher":
        return "not distinguishable"
    return "overfits" if state == "overfitting" else "learned less"


def _because(verdict: Effect, experiment: str, learning: Learning) -> str:
    if verdict == "failed to train":
        return f"; it failed to train: {learning.of(experiment)[0].claim}"
    if verdict in ("overfits", "learned less"):
        return f"; {learning.of(experiment)[0].claim}"
    return ""
