"""How sure the report may be, and what a reader can't learn from it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from lm.results.states import Kind
from lm.results.summary import ExperimentSummary


@dataclass(frozen=True, kw_only=True)
class Spread:
    """Measured spread over seeds of one kind of run at one scale. ``deviation``: standard deviation of the loss, nats;
    ``freedom``: its degrees of freedom; ``bound``: difference of two such single runs (nats) that must be exceeded;
    ``borrowed``: no figure for this scale and kind, the widest known stands in."""

    scale: str
    kind: Kind
    deviation: float
    freedom: int
    bound: float
    borrowed: bool


@dataclass(frozen=True, kw_only=True)
class Certainty:
    """``fewest``, ``most``: seeds of an experiment; ``spreads``: what single runs of this study are judged by, for
    each kind of run that occurs (empty if none is known); ``comparisons``: of the largest family, for Holm."""

    fewest: int
    most: int
    spreads: tuple[Spread, ...]
    comparisons: int
    trifle: float
    """Relative difference of perplexity below which nothing is called a difference, however sure."""


class Topic(StrEnum):
    """What can't be concluded: one macro of the report each."""

    ONE_SEED = "one_seed"
    FEW_SEEDS = "few_seeds"
    NO_SPREAD = "no_spread"
    UNTUNED = "untuned"
    SIZES = "sizes"
    OTHER_TEXT = "other_text"
    LONGER = "longer"
    UNLIKE_HARDWARE = "unlike_hardware"
    DISTURBED = "disturbed"
    ELSEWHERE = "elsewhere"
    RESUMED = "resumed"


@dataclass(frozen=True, kw_only=True)
class Size:
    """An architecture's shallowest experiment's parameters."""

    model: str
    model_label: str
    layers: int
    parameters: int | None


@dataclass(frozen=True, kw_only=True)
class Limit:
    """One thing that can't be concluded; the fields that its topic does not use are empty.

    ``seeds``: fewest; ``sizes``: of SIZES; ``corpus``, ``tokens``, ``epochs``: of OTHER_TEXT and LONGER (the most);
    ``experiments``: of ONE_SEED (those with a single one), UNLIKE_HARDWARE, DISTURBED and RESUMED.
    """

    topic: Topic
    seeds: int = 0
    sizes: tuple[Size, ...] = ()
    corpus: str = ""
    tokens: int | None = None
    epochs: int | None = None
    experiments: tuple[ExperimentSummary, ...] = ()
