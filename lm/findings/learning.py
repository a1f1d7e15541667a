"""Which runs learned to use context, and how each ended."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from lm.results.states import State
from lm.results.summary import ExperimentSummary


class Extent(StrEnum):
    """How many experiments learned to use context."""

    ALL = "all"
    SOME = "some"
    NONE = "none"


@dataclass(frozen=True, kw_only=True)
class Group:
    """The experiments in one state, in order of id. ``falling``: those of them whose validation still fell at the end;
    ``wide_gap``: those with a generalization gap of a nat and more; ``mixed``: those of which some seed ended in
    another state."""

    state: State
    experiments: tuple[ExperimentSummary, ...]
    falling: tuple[ExperimentSummary, ...]
    wide_gap: tuple[ExperimentSummary, ...]
    mixed: tuple[ExperimentSummary, ...]


@dataclass(frozen=True, kw_only=True)
class Learning:
    """``groups``: every state that occurs, from the worst to the best; each experiment stands in exactly one."""

    extent: Extent
    total: int
    groups: tuple[Group, ...]
