"""What runs cost in time, and what they give for it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from lm.findings.verdicts import Verdict
from lm.results.summary import ExperimentSummary


class Choice(StrEnum):
    """What to take when time matters."""

    BEST = "best"
    """The best model: no clearly faster one comes close."""
    FASTER = "faster"
    """A clearly faster one whose loss is alike or at most ``GOOD_ENOUGH`` higher."""
    NOTHING = "nothing"
    """No experiment that learned has a time that counts."""


@dataclass(frozen=True, kw_only=True)
class Pick:
    """The experiment to take when time matters, against the best: ``time`` and ``loss`` are verdicts of the pick
    against the best (None where the pick is the best)."""

    experiment: ExperimentSummary
    time: Verdict | None
    loss: Verdict | None


@dataclass(frozen=True, kw_only=True)
class Arrival:
    """When one experiment first reached a target: mean training seconds over its seeds, if every seed got there."""

    experiment: ExperimentSummary
    seconds: float


@dataclass(frozen=True, kw_only=True)
class Reach:
    """A validation loss (nats a token; its perplexity has two figures) and who got there.

    ``arrivals``: by time; ``first``: the earliest and those whose times can't be told from its, in order.
    """

    target: float
    arrivals: tuple[Arrival, ...]
    first: tuple[ExperimentSummary, ...]


@dataclass(frozen=True, kw_only=True)
class Noise:
    """How far times lie apart that should be the same, as a relative difference (0.18: 18 %).

    ``same_work``: the largest among the pairs that do the same work (AdamW against Adam of one model, seeds of one
    experiment), None without such a pair; ``pairs``: their number; ``within``: twice the spread of a run's own epochs
    at the median over runs; ``bound``: the larger, at least ``LEAST_NOISE``: single timings closer are called alike.
    """

    bound: float
    same_work: float | None
    pairs: int
    within: float | None


@dataclass(frozen=True, kw_only=True)
class WallClock:
    """Time against loss, among experiments on the commonest hardware with an undisturbed time.

    ``fastest``: the shortest training time of any completed experiment, learned or not; ``alike``: those that can't be
    told from it. ``best``: lowest loss among those that learned and are timed. ``front``: fastest first, the learned
    experiments that no other beats: another beats one if it is no worse in both figures and clearly better in one, so
    the best and the fastest learned one are always on it. ``unlike_hardware``, ``disturbed``: left out.
    """

    choice: Choice
    fastest: ExperimentSummary | None
    alike: tuple[ExperimentSummary, ...]
    best: ExperimentSummary | None
    front: tuple[ExperimentSummary, ...]
    pick: Pick | None
    noise: Noise
    reaches: tuple[Reach, ...]
    unlike_hardware: tuple[ExperimentSummary, ...]
    disturbed: tuple[ExperimentSummary, ...]
