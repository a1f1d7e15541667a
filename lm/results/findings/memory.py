"""What takes the memory. A difference between optimizers is only the optimizer's if its state is large enough."""

from __future__ import annotations

import statistics
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
"""Relative: measured memory within this is called alike, or within what Adam and AdamW differ by."""


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
    """``covered``: what the memory model's sum is of the measured figure, at the median over experiments."""

    claim: str
    verdict: Literal["explained", "partly explained", "not measured"]
    accounts: tuple[Accounted, ...]
    gaps: tuple[OptimizerGap, ...]
    covered: float | None


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
        claim = "No completed run has both measured and modelled memory."
        return Memory(claim, "not measured", tuple(accounts), gaps, None)
    covered = statistics.median(account.modelled / account.measured for account in known)
    most = max(known, key=lambda account: account.measured)
    least = min(known, key=lambda account: account.measured)
    part = max(most.parts, key=most.parts.__getitem__)
    row = experiments.set_index("experiment").loc[most.experiment]
    claim = (
        f"Measured were from {number(least.measured, 0)} MiB (experiment {least.experiment}) to "
        f"{number(most.measured, 0)} MiB (experiment {most.experiment}, "
        f"{configuration(row['model'], row['layers'], row['optimizer'])}). The memory model, which counts tensors and "
        f"nothing that libraries or allocators keep besides, accounts for {percent(100 * covered, 0)} of it at the "
        f"median; its largest part in experiment {most.experiment} is {part} with {number(most.parts[part], 0)} MiB, "
        f"its optimizer state {number(most.parts.get('optimizer state', 0.0), 0)} MiB."
    )
    verdict = "explained" if 0.7 <= covered <= 1.3 else "partly explained"
    return Memory(claim, verdict, tuple(accounts), gaps, covered)


def _noise(experiments: pd.DataFrame) -> float:
    """Relative difference of measured memory that says nothing: the largest between Adam and AdamW, which keep the
    same state and so should not differ, or ``NOISE``."""
    found = [NOISE]
    for _, group in experiments.groupby(["model", "layers"], sort=False):
        like = [_measured(row) for row in group[group["optimizer"].isin(["adam", "adamw"])].to_dict("records")]
        if len(like) == 2 and None not in like:
            found.append(max(like) / min(like) - 1)
    return max(found)


def _gaps(experiments: pd.DataFrame):
    """SGD, which keeps no state, against Adam, which keeps most, in every architecture and depth that has both."""
    noise = _noise(experiments)
    for (model, _), group in experiments.groupby(["model", "layers"], sort=False):
        named = {row["optimizer"]: row for row in group.to_dict("records")}
        if "sgd" not in named or "adam" not in named:
            continue
        low, high = named["sgd"], named["adam"]
        ours, theirs = _measured(low), _measured(high)
        if ours is None or theirs is None or pd.isna(high["model_optimizer_mb"]):
            continue
        gap, state = theirs - ours, float(high["model_optimizer_mb"] - low["model_optimizer_mb"])
        unseen = noise * max(ours, theirs)
        if abs(gap) <= unseen and state <= unseen:
            verdict = "too small to see"
            told = f"both less than like runs differ by here, up to {percent(100 * noise, 0)}"
        elif gap < 0:
            verdict = "not optimizer state"
            told = "so something else than the state decides"
        elif 0.5 * state <= gap <= 2 * state:
            verdict = "optimizer state"
            told = "which can explain the difference"
        else:
            verdict = "not optimizer state"
            told = "which does not explain the difference"
        claim = (
            f"{model_name(model)}: {optimizer_name('adam')} (experiment {high['experiment']}) was measured "
            f"{number(abs(gap))} MiB {'above' if gap >= 0 else 'below'} {optimizer_name('sgd')} (experiment "
            f"{low['experiment']}) and keeps {number(state)} MiB more of state, {told}"
        )
        logits = high["model_logits_mb"]
        if verdict == "not optimizer state" and pd.notna(logits) and 0 < gap < 2 * logits:
            claim += f"; the logits and loss buffers ({number(logits)} MiB) are of that size"
        yield OptimizerGap(model, str(low["experiment"]), str(high["experiment"]), gap, state, verdict, f"{claim}.")
