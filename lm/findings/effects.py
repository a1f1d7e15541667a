"""Optimizers, architectures and depth: pairs of experiments that differ in one thing, and what they come to."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from lm.findings.verdicts import Comparison, Verdict
from lm.results.summary import ExperimentSummary


class Question(StrEnum):
    """What is asked about optimizers."""

    WEIGHT_DECAY = "weight_decay"
    MOMENTUM = "momentum"
    ADAPTIVITY = "adaptivity"


class Effect(StrEnum):
    """What having the thing does, over the pairs in which at least one side learned to use context."""

    HELPS = "helps"
    HURTS = "hurts"
    ALIKE = "alike"
    """No pair tells them apart."""
    PARTLY_HELPS = "partly_helps"
    """Helps in some pairs, in the others they can't be told apart or compared."""
    PARTLY_HURTS = "partly_hurts"
    MIXED = "mixed"
    """Helps in some, hurts in others."""
    NOT_COMPARABLE = "not_comparable"
    NONE_LEARNED = "none_learned"


@dataclass(frozen=True, kw_only=True)
class Answer:
    """One question about optimizers: ``pairs`` stand one an architecture; ``comparison.first`` has what is asked
    about (the adaptive optimizer, momentum, decoupled weight decay)."""

    question: Question
    effect: Effect
    pairs: tuple[Comparison, ...]


@dataclass(frozen=True, kw_only=True)
class Rates:
    """The learning rates that an optimizer ran at in the compared experiments, ascending."""

    optimizer: str
    optimizer_label: str
    rates: tuple[float, ...]


@dataclass(frozen=True, kw_only=True)
class Optimizers:
    """``layers``: the depth at which they are compared. ``table``: each architecture's optimizers, best first, with
    the verdict of each against the first (None for the first itself)."""

    layers: int
    answers: tuple[Answer, ...]
    rates: tuple[Rates, ...]
    ranks: tuple[Rank, ...]


@dataclass(frozen=True, kw_only=True)
class Rank:
    """One optimizer within one architecture; ``behind``: it against the best optimizer there, None for the best, or
    where none there learned to use context (then nothing is ranked)."""

    experiment: ExperimentSummary
    behind: Verdict | None
    best: bool


@dataclass(frozen=True, kw_only=True)
class Stopped:
    """One side of a match under early stopping, replayed: mean seconds and mean validation loss over seeds."""

    seconds: float
    loss: float


@dataclass(frozen=True, kw_only=True)
class Match:
    """Two architectures under one optimizer and depth. ``winner``: the better experiment, None if they can't be told
    apart, don't compare, or neither learned.

    ``first_stopped``, ``second_stopped``: what early stopping with ``Architectures.patience`` leaves; None where its
    replay is not valid. ``stopped_verdict`` is the first's loss under it against the second's; ``stopped_time`` the
    same of its time.
    """

    optimizer: str
    optimizer_label: str
    layers: int
    comparison: Comparison
    winner: ExperimentSummary | None
    first_stopped: Stopped | None
    second_stopped: Stopped | None
    stopped_verdict: Verdict | None
    stopped_time: Verdict | None


@dataclass(frozen=True, kw_only=True)
class Tally:
    """Two architectures over their matches that count (at least one side learned to use context).

    ``winner``: the model that wins at least one and loses none, as key; None otherwise. ``changed``: matches whose
    verdict early stopping changes; ``sooner_first``, ``sooner_second``, ``as_long``: who would be done sooner under it.
    """

    first: str
    first_label: str
    second: str
    second_label: str
    matches: tuple[Match, ...]
    counted: int
    wins_first: int
    wins_second: int
    undecided: int
    winner: str | None
    stopped: int
    """Matches that count in which early stopping could be replayed on both sides."""
    changed: int
    sooner_first: int
    sooner_second: int
    as_long: int


@dataclass(frozen=True, kw_only=True)
class Architectures:
    """Every two architectures that meet under at least one optimizer and depth."""

    patience: int
    tallies: tuple[Tally, ...]


class Deeper(StrEnum):
    """What a deeper model does against the shallowest."""

    HELPS = "helps"
    ALIKE = "alike"
    OVERFITS = "overfits"
    """Worse on validation, although its training loss is lower: it fits the training text better, new text worse."""
    LEARNED_LESS = "learned_less"
    """Worse on validation, and its training loss is higher too: it had not got as far when training ended."""
    WORSE = "worse"
    """Worse on validation; training loss does not tell why (not recorded, or alike)."""
    FAILED = "failed"
    """It did not learn to use context and no longer fell; see the experiment's state."""
    NOT_YET = "not_yet"
    """It had not learned to use context, but validation was still falling."""
    NOT_COMPARABLE = "not_comparable"


@dataclass(frozen=True, kw_only=True)
class Step:
    """``comparison.first`` is the deeper experiment, ``comparison.second`` the shallowest of its series."""

    comparison: Comparison
    effect: Deeper
    first_training: float | None
    """Loss on the fixed training sample with the last epoch's weights, mean over seeds; of the second likewise."""
    second_training: float | None


@dataclass(frozen=True, kw_only=True)
class Series:
    """One architecture under one optimizer at several depths, the shallowest first. ``base_learned``: whether the
    shallowest learned to use context; where it did not, no step says what depth does."""

    model: str
    model_label: str
    optimizer: str
    optimizer_label: str
    experiments: tuple[ExperimentSummary, ...]
    base_learned: bool
    steps: tuple[Step, ...]


@dataclass(frozen=True, kw_only=True)
class Depth:
    series: tuple[Series, ...]
