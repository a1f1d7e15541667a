"""Which runs learned to use context, and how each ended."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from lm.results.names import natural
from lm.results.states import State
from lm.results.summary import ExperimentSummary, Summaries


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


def learning(summaries: Summaries) -> Learning:
    """Which experiments ended in which state."""
    by_id = sorted(summaries.experiments, key=lambda experiment: natural(experiment.id))
    groups = []
    for state in State:
        own = tuple(experiment for experiment in by_id if experiment.state is state)
        if own:
            groups.append(
                Group(
                    state=state,
                    experiments=own,
                    falling=tuple(e for e in own if e.representative.course.falling),
                    wide_gap=tuple(e for e in own if e.representative.course.wide_gap),
                    mixed=tuple(e for e in own if len(e.states) > 1),
                )
            )
    learned = sum(experiment.learned for experiment in by_id)
    extent = Extent.ALL if learned == len(by_id) else Extent.SOME if learned else Extent.NONE
    return Learning(extent=extent, total=len(by_id), groups=tuple(groups))
