"""Two versions of a study's results, experiment by experiment: what another revision or setting changed."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from lm.findings.judge import judge_versions, same_text
from lm.findings.times import Noise, judge_times, measure_noise
from lm.findings.verdicts import Verdict
from lm.results.names import natural
from lm.results.spread import Spread
from lm.results.summary import ExperimentSummary, Summaries


class Status(StrEnum):
    """What became of an experiment."""

    CHANGED = "changed"
    NEW = "new"
    REMOVED = "removed"


@dataclass(frozen=True, kw_only=True)
class Row:
    """One experiment that differs. ``before`` or ``after`` is None where it is new or removed.

    ``loss``, ``time``: the later version against the earlier one. ``by_bytes``: they predicted other tokens of one
    text, so that losses were compared by the bytes they stand for, and perplexities a token do not compare.
    ``memory``: relative change of mean memory; None on unlike hardware or where it was not measured.
    """

    experiment: str
    status: Status
    before: ExperimentSummary | None
    after: ExperimentSummary | None
    loss: Verdict | None = None
    by_bytes: bool = False
    time: Verdict | None = None
    memory: float | None = None


@dataclass(frozen=True, kw_only=True)
class Changes:
    """``before``, ``after``: what the two versions are called; ``same``: experiments that learned the same under the
    same settings; ``unlike_hardware``: whether any row's time and memory do not compare for that reason."""

    before: str
    after: str
    rows: tuple[Row, ...]
    same: int
    unlike_hardware: bool


def changes(before: Summaries, after: Summaries, spread: Spread, names: tuple[str, str]) -> Changes:
    """Every experiment that is new, removed or did not learn the same, by id; times and memory alone do not count."""
    earlier = {experiment.id: experiment for experiment in before.experiments}
    later = {experiment.id: experiment for experiment in after.experiments}
    both = [name for name in later if name in earlier]
    changed = [name for name in both if _learned(earlier[name]) != _learned(later[name])]
    verdicts = dict(zip(changed, judge_versions([(later[n], earlier[n]) for n in changed], spread), strict=True))
    noise = max((measure_noise(side.experiments) for side in (before, after)), key=lambda each: each.bound)
    rows = [
        *(_changed(earlier[name], later[name], verdict, noise) for name, verdict in verdicts.items()),
        *(Row(experiment=n, status=Status.NEW, before=None, after=later[n]) for n in later if n not in earlier),
        *(Row(experiment=n, status=Status.REMOVED, before=earlier[n], after=None) for n in earlier if n not in later),
    ]
    return Changes(
        before=names[0],
        after=names[1],
        rows=tuple(sorted(rows, key=lambda row: natural(row.experiment))),
        same=len(both) - len(changed),
        unlike_hardware=any(earlier[name].hardware != later[name].hardware for name in changed),
    )


def _learned(experiment: ExperimentSummary) -> tuple[object, ...]:
    """What an experiment was set to and what came of it, without what was measured."""
    runs = [(run.seed, run.state, run.validation_loss, run.test_loss) for run in experiment.runs]
    return experiment.model, experiment.layers, experiment.optimizer, experiment.settings, experiment.text, runs


def _changed(before: ExperimentSummary, after: ExperimentSummary, verdict: Verdict, noise: Noise) -> Row:
    memory = None
    ours, theirs = after.memory.mean, before.memory.mean
    if after.hardware == before.hardware and ours is not None and theirs:
        memory = ours / theirs - 1
    return Row(
        experiment=after.id,
        status=Status.CHANGED,
        before=before,
        after=after,
        loss=verdict,
        by_bytes=verdict.comparable and not same_text(after, before),
        time=judge_times(after, before, noise),
        memory=memory,
    )
