"""Invented studies, whatever they hold, get findings that contradict neither one another nor the data.

The rules are written down here, one a function; a rule reads findings and summaries, never the code that made them.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator
from itertools import combinations
from pathlib import Path

import pytest
import yaml
from hypothesis import HealthCheck, given, settings

from lm.findings.cost import GOOD_ENOUGH, Choice
from lm.findings.depth import Deeper
from lm.findings.judge import TRIFLE, Judge
from lm.findings.quality import Standing
from lm.findings.remedies import Result, Why
from lm.findings.stopping import HARMLESS, Outcome
from lm.findings.study import Findings, find
from lm.findings.verdicts import Comparison, Ground, Learned, Order, Reason, Verdict
from lm.results.reference import load_reference
from lm.results.states import State
from lm.results.summarize import summarize
from lm.results.summary import ExperimentSummary, Run, Summaries, lowest, perplexity
from tests.invented_studies import UNIGRAM, VOCABULARY, studies

ROOT = Path(__file__).parent.parent
REFERENCE = load_reference(ROOT / "reports" / "reference")
PARAMS = yaml.safe_load((ROOT / "params.yaml").read_text())


@settings(max_examples=120, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
@given(studies())
def test_findings_contradict_neither_one_another_nor_the_data(study):
    summaries = summarize(*study)
    found = find(summaries, REFERENCE, PARAMS)
    for rule in RULES:
        rule(found)
    _judge_is_consistent(Judge(summaries, REFERENCE.spread))


def _comparisons(found: Findings) -> Iterator[Comparison]:
    if found.optimizers:
        for answer in found.optimizers.answers:
            yield from answer.pairs
    if found.architectures:
        yield from (match.comparison for tally in found.architectures.tallies for match in tally.matches)
    if found.depth:
        yield from (step.comparison for series in found.depth.series for step in series.steps)
    yield from (entry.comparison for entry in found.treated)


def _verdicts(found: Findings) -> Iterator[tuple[ExperimentSummary, ExperimentSummary, Verdict]]:
    """Every verdict by validation loss that anything in the report could show."""
    for comparison in _comparisons(found):
        yield comparison.first, comparison.second, comparison.verdict
    if found.optimizers:
        leaders = {rank.experiment.model: rank.experiment for rank in found.optimizers.ranks if rank.best}
        for rank in found.optimizers.ranks:
            if rank.behind is not None:
                yield rank.experiment, leaders[rank.experiment.model], rank.behind
    pick = found.wall_clock.pick
    if pick is not None and pick.loss is not None and found.wall_clock.best is not None:
        yield pick.experiment, found.wall_clock.best, pick.loss


def one_pair_has_one_verdict(found: Findings) -> None:
    seen: dict[tuple[str, str], Order] = {}
    flipped = {Order.LOWER: Order.HIGHER, Order.HIGHER: Order.LOWER}
    for first, second, verdict in _verdicts(found):
        assert seen.setdefault((first.id, second.id), verdict.order) == verdict.order
        other = flipped.get(verdict.order, verdict.order)
        assert seen.setdefault((second.id, first.id), other) == other


def a_verdict_agrees_with_its_numbers(found: Findings) -> None:
    for comparison in _comparisons(found):
        verdict = comparison.verdict
        if verdict.order is Order.NOT_COMPARABLE:
            assert verdict.reason is not None
            assert verdict.difference is None
            continue
        assert verdict.reason is None
        assert comparison.first_loss is not None
        assert comparison.second_loss is not None
        assert verdict.difference == pytest.approx(comparison.first_loss - comparison.second_loss, abs=1e-6)
        apart = verdict.low > 0 or verdict.high < 0
        if verdict.order is Order.ALIKE:
            assert not apart or verdict.ground in (Ground.TRIFLE, Ground.FAMILY, Ground.SEEDS)
        else:
            assert apart
            assert (verdict.difference < 0) == (verdict.order is Order.LOWER)
            assert abs(verdict.difference) >= TRIFLE
            assert verdict.p < 0.05


def what_diverged_is_compared_with_nothing(found: Findings) -> None:
    for comparison in _comparisons(found):
        failed = [e.state is State.DIVERGED for e in (comparison.first, comparison.second)]
        if any(failed):
            assert comparison.verdict.reason in (
                Reason.FIRST_DIVERGED,
                Reason.SECOND_DIVERGED,
                Reason.BOTH_DIVERGED,
            )


def states_agree_with_the_losses(found: Findings) -> None:
    for experiment in found.summaries.experiments:
        assert sum(len(seeds) for _, seeds in experiment.states) == len(experiment.runs)
        for run in experiment.runs:
            _state_agrees(run)


def _state_agrees(run: Run) -> None:
    losses = [epoch.validation_loss for epoch in run.epochs]
    known = [loss for loss in losses if loss is not None]
    below = any(loss < math.log(UNIGRAM) - 0.1 for loss in known)
    if run.state is State.DIVERGED:
        assert run.validation_loss is None
        return
    assert known[-1] <= math.log(VOCABULARY) + 1
    assert run.state.learned == below
    assert (run.course.left_plateau is not None) == below
    if run.state is State.SHORT:
        assert len(known) == 1
    if run.state is State.OVERFITTING:
        assert known[-1] > min(known)
    if run.state is State.UNDERTRAINED:
        assert known[-1] == min(known)
    if len(known) == 1:
        assert run.state is not State.CONVERGED


def every_experiment_stands_in_one_group(found: Findings) -> None:
    ids = [experiment.id for group in found.learning.groups for experiment in group.experiments]
    assert sorted(ids) == sorted(experiment.id for experiment in found.summaries.experiments)
    assert len(ids) == found.learning.total


def only_what_learned_is_praised(found: Findings) -> None:
    quality, clock = found.quality, found.wall_clock
    praised = [quality.best, clock.best, clock.pick and clock.pick.experiment, *quality.alike, *clock.front]
    if quality.test is not None:
        praised.append(quality.test.experiment)
    assert all(experiment.learned for experiment in praised if experiment is not None)
    learned = [e for e in found.summaries.experiments if e.learned and e.validation_loss.mean is not None]
    assert (quality.best is None) == (not learned)
    assert (quality.standing in (Standing.NONE_LEARNED, Standing.NONE_COMPLETED)) == (not learned)
    if quality.best is not None:
        assert quality.best.validation_loss.mean == min(e.validation_loss.mean for e in learned)


def the_front_has_the_best_and_the_fastest(found: Findings) -> None:
    clock = found.wall_clock
    if clock.best is None:
        assert clock.front == ()
        assert clock.choice is Choice.NOTHING
        return
    assert clock.best in clock.front
    eligible = [
        e
        for e in found.summaries.experiments
        if e.learned and not e.disturbed and not e.hardware_mark and e.train_seconds.mean
    ]
    quickest = min(e.train_seconds.mean for e in eligible)
    assert any(e.train_seconds.mean == quickest for e in clock.front)


def the_pick_is_faster_and_close(found: Findings) -> None:
    pick, best = found.wall_clock.pick, found.wall_clock.best
    if pick is None or pick.experiment is best:
        return
    assert pick.time.order is Order.LOWER
    assert pick.experiment.train_seconds.mean is not None
    near = pick.experiment.validation_loss.mean <= best.validation_loss.mean + GOOD_ENOUGH
    assert near or pick.loss.order is Order.ALIKE
    assert pick.loss.order is not Order.LOWER


def reasons_of_depth_agree_with_training_loss(found: Findings) -> None:
    for series in found.depth.series if found.depth else ():
        for step in series.steps:
            first = step.comparison.first
            if step.effect is Deeper.LEARNED_LESS:
                assert step.first_training > step.second_training
            if step.effect is Deeper.OVERFITS:
                assert step.first_training < step.second_training
            if step.effect is Deeper.HELPS:
                assert step.comparison.verdict.order is Order.LOWER
                assert first.learned
            if step.effect in (Deeper.FAILED, Deeper.NOT_YET):
                assert not first.learned


def a_tally_adds_up(found: Findings) -> None:
    for tally in found.architectures.tallies if found.architectures else ():
        assert tally.counted == tally.wins_first + tally.wins_second + tally.undecided
        assert tally.counted == sum(m.comparison.learned is not Learned.NEITHER for m in tally.matches)
        if tally.winner == tally.first:
            assert tally.wins_first > 0
            assert tally.wins_second == 0
        if tally.winner is None:
            assert (tally.wins_first > 0) == (tally.wins_second > 0)
        assert tally.changed <= tally.stopped <= tally.counted


def stopping_costs_what_it_says(found: Findings) -> None:
    stopping = found.stopping
    chosen = stopping.under(stopping.patience)
    if stopping.outcome is Outcome.SAVES:
        assert stopping.stopped
        assert all(stop.lost <= HARMLESS for stop in chosen)
    if stopping.outcome is Outcome.STOPS_NOTHING:
        assert all(stop.epoch is None for stop in chosen)
    for stop in stopping.stops:
        assert stop.lost >= 0
        assert stop.experiment.settings.schedule == "constant"
        assert stop.experiment.settings.patience is None


def advice_fits_the_state(found: Findings) -> None:
    for line in found.advice:
        for experiment in line.experiments:
            course = experiment.representative.course
            if line.why is Why.STILL_FALLING:
                assert course.falling
            if line.why in (Why.STILL_FALLING, Why.ONE_EPOCH):
                assert not (experiment.learned and course.wide_gap)
            if line.why in (Why.UNREGULARIZED, Why.TOO_LITTLE_TEXT):
                assert course.wide_gap or experiment.state is State.OVERFITTING
            if line.why is Why.NORM_PLACE:
                assert experiment.settings.norm == "post"


def a_remedy_helped_only_if_it_did(found: Findings) -> None:
    for entry in found.treated:
        first, second = entry.comparison.first, entry.comparison.second
        if entry.result is Result.HELPED:
            assert entry.comparison.verdict.order is Order.LOWER or (second.state is State.DIVERGED and first.learned)
        if entry.result is Result.DID_NOT:
            assert entry.comparison.verdict.order is Order.ALIKE


def nothing_is_not_a_number(found: Findings) -> None:
    for value in _floats(found):
        assert not math.isnan(value)
    for experiment in found.summaries.experiments:
        value = perplexity(experiment.validation_loss.mean)
        assert value is None or value > 0


def _floats(value: object) -> Iterator[float]:
    if isinstance(value, float):
        yield value
    elif isinstance(value, tuple):
        for each in value:
            yield from _floats(each)
    elif dataclasses.is_dataclass(value) and not isinstance(value, Summaries | ExperimentSummary):
        for field in dataclasses.fields(value):
            yield from _floats(getattr(value, field.name))


def _judge_is_consistent(judge: Judge) -> None:
    best = lowest(judge.summaries.experiments)
    for other in judge.summaries.experiments if best is not None else ():
        assert not other.learned or judge.loss(other, best).order is not Order.LOWER
    for first, second in combinations(judge.summaries.experiments, 2):
        for by in (judge.loss, judge.time, judge.test_loss):
            assert by(first, second).reversed == by(second, first)


RULES = (
    one_pair_has_one_verdict,
    a_verdict_agrees_with_its_numbers,
    what_diverged_is_compared_with_nothing,
    states_agree_with_the_losses,
    every_experiment_stands_in_one_group,
    only_what_learned_is_praised,
    the_front_has_the_best_and_the_fastest,
    the_pick_is_faster_and_close,
    reasons_of_depth_agree_with_training_loss,
    a_tally_adds_up,
    stopping_costs_what_it_says,
    advice_fits_the_state,
    a_remedy_helped_only_if_it_did,
    nothing_is_not_a_number,
)
