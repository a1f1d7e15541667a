"""What takes the memory. A difference between optimizers is only the optimizer's if its state is large enough."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import pandas as pd

from lm.results.experiments import by_experiment
from lm.results.names import configuration, model_name, optimizer_name
from lm.results.text import number, percent

PARTS = {
    "model_parameters_mb": "parameters",
    "model_gradients_mb": "gradients",
    "model_optimizer_mb": "optimizer state",
    "model_activations_mb": "activations",
    "model_logits_mb": "logits and loss",
}
NOISE = 0.03
"""Relative: measured memory of like runs within this is called alike."""


@dataclass(frozen=True)
class Accounted:
    """One experiment: the memory model's parts (MiB) against what was measured above the baseline."""

    experiment: str
    parts: dict[str, float]
    modelled: float
    measured: float | None


@dataclass(frozen=True)
class OptimizerGap:
    """Two optimizers of one architecture and depth: measured difference against that of their state, in MiB."""

    model: str
    low: str
    high: str
    measured: float
    state: float
    verdict: Literal["optimizer state", "not optimizer state", "too small to see"]
    claim: str


@dataclass(frozen=True)
class Memory:
    claim: str
    verdict: Literal["explained", "partly explained", "not measured"]
    accounts: tuple[Accounted, ...]
    gaps: tuple[OptimizerGap, ...]


def _measured(row) -> float | None:
    for key in ("memory_footprint_mb", "memory_mean_mb"):
        if pd.notna(row[key]):
            return float(row[key])
    return None


def memory(runs: pd.DataFrame) -> Memory:
    """Finding 7: by run, what the parts account for; between optimizers, whether their state explains a gap."""
    experiments = by_experiment(runs[runs["status"] == "completed"])
    accounts = []
    for row in experiments.to_dict("records"):
        parts = {name: float(row[key]) for key, name in PARTS.items() if pd.notna(row[key])}
        accounts.append(Accounted(str(row["experiment"]), parts, sum(parts.values()), _measured(row)))
    known = [account for account in accounts if account.measured and account.parts]
    gaps = tuple(_gaps(experiments))
    if not known:
        return Memory("No completed run has both measured and modelled memory.", "not measured", tuple(accounts), gaps)
    ratios = sorted(account.modelled / account.measured for account in known)
    middle = ratios[len(ratios) // 2]
    most = max(known, key=lambda account: account.measured)
    least = min(known, key=lambda account: account.measured)
    part = max(most.parts, key=most.parts.__getitem__)
    row = experiments.set_index("experiment").loc[most.experiment]
    claim = (
        f"From {number(least.measured, 0)} MiB (experiment {least.experiment}) to {number(most.measured, 0)} MiB "
        f"(experiment {most.experiment}, {configuration(row['model'], row['layers'], row['optimizer'])}). The memory "
        f"model accounts for {percent(100 * middle, 0)} of it at the median; its largest part in experiment "
        f"{most.experiment} is {part} with {number(most.parts[part], 0)} MiB, its optimizer state "
        f"{number(most.parts.get('optimizer state', 0.0), 0)} MiB."
    )
    return Memory(claim, "explained" if 0.7 <= middle <= 1.3 else "partly explained", tuple(accounts), gaps)


def _gaps(experiments: pd.DataFrame):
    """SGD, which keeps no state, against Adam, which keeps most, in every architecture and depth that has both."""
    for (model, _), group in experiments.groupby(["model", "layers"], sort=False):
        named = {row["optimizer"]: row for row in group.to_dict("records")}
        if "sgd" not in named or "adam" not in named:
            continue
        low, high = named["sgd"], named["adam"]
        ours, theirs = _measured(low), _measured(high)
        if ours is None or theirs is None or pd.isna(high["model_optimizer_mb"]):
            continue
        gap, state = theirs - ours, float(high["model_optimizer_mb"] - low["model_optimizer_mb"])
        if abs(gap) <= NOISE * max(ours, theirs) and state <= NOISE * max(ours, theirs):
            verdict = "too small to see"
            told = "a difference within what like runs differ by; the state is too small to show"
        elif gap < 0:
            verdict = "not optimizer state"
            told = "so it is not the state that decides; runs differ by more than it, by what allocators keep"
        elif 0.5 * state <= gap <= 2 * state:
            verdict = "optimizer state"
            told = "which its optimizer state can explain"
        else:
            verdict = "not optimizer state"
            told = "which its optimizer state does not explain"
        claim = (
            f"{model_name(model)}: {optimizer_name('adam')} (experiment {high['experiment']}) was measured "
            f"{number(abs(gap))} MiB {'above' if gap >= 0 else 'below'} {optimizer_name('sgd')} (experiment "
            f"{low['experiment']}), and keeps {number(state)} MiB of state: {told}"
        )
        logits = high["model_logits_mb"]
        if verdict == "not optimizer state" and pd.notna(logits) and 0 < gap < 2 * logits:
            claim += f"; the logits and loss buffers ({number(logits)} MiB) are of that size"
        yield OptimizerGap(model, str(low["experiment"]), str(high["experiment"]), gap, state, verdict, f"{claim}.")
