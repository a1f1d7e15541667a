"""Which model is best, on data that chose it and on data that did not."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum

from lm.findings.judge import Judge
from lm.findings.verdicts import Order, Verdict
from lm.results.summary import ExperimentSummary, lowest


class Standing(StrEnum):
    """Whether there is a best model."""

    ONE_BEST = "one_best"
    SEVERAL_ALIKE = "several_alike"
    NONE_LEARNED = "none_learned"
    """Runs completed, but none learned to use context: the lowest figure would praise nothing."""
    NONE_COMPLETED = "none_completed"


@dataclass(frozen=True, kw_only=True)
class TestLeader:
    """The experiment of lowest test loss among those that learned, and the verdict of the best by validation against
    it by test loss; None where it is the same experiment."""

    experiment: ExperimentSummary
    verdict: Verdict | None


@dataclass(frozen=True, kw_only=True)
class LastEpoch:
    """What keeping the last epoch's weights instead of the best epoch's costs one run: a relative change of test
    perplexity (0.02: two percent more)."""

    experiment: ExperimentSummary
    seed: int
    best_loss: float
    last_loss: float
    cost: float


@dataclass(frozen=True, kw_only=True)
class Quality:
    """``best``: lowest validation loss among experiments that learned to use context, None without one; ``alike``: all
    that learned too and can't be told from it.

    ``last``: every run whose last weights were scored on test, the costliest first; ``costly``: those of them whose
    cost exceeds ``COSTLY``.
    """

    standing: Standing
    best: ExperimentSummary | None
    alike: tuple[ExperimentSummary, ...]
    test: TestLeader | None
    last: tuple[LastEpoch, ...]
    costly: tuple[LastEpoch, ...]
    costly_from: float


COSTLY = 0.02
"""Relative increase of test perplexity from which on keeping the last epoch's weights is called costly."""


def quality(judge: Judge) -> Quality:
    """Best by validation, its test figures, best epoch against last."""
    experiments = judge.summaries.experiments
    best = lowest(experiments)
    last = tuple(sorted((cost for e in experiments for cost in _last_epochs(e)), key=lambda each: -each.cost))
    costly = tuple(each for each in last if each.cost > COSTLY)
    if best is None:
        completed = any(experiment.validation_loss.mean is not None for experiment in experiments)
        standing = Standing.NONE_LEARNED if completed else Standing.NONE_COMPLETED
        return Quality(standing=standing, best=None, alike=(), test=None, last=last, costly=costly, costly_from=COSTLY)
    others = [experiment for experiment in experiments if experiment is not best and experiment.learned]
    alike = tuple(experiment for experiment in others if judge.loss(best, experiment).order is Order.ALIKE)
    return Quality(
        standing=Standing.SEVERAL_ALIKE if alike else Standing.ONE_BEST,
        best=best,
        alike=alike,
        test=_test_leader(best, judge),
        last=last,
        costly=costly,
        costly_from=COSTLY,
    )


def _test_leader(best: ExperimentSummary, judge: Judge) -> TestLeader | None:
    if best.test_loss.mean is None:
        return None
    tested = [(e.test_loss.mean, e) for e in judge.summaries.experiments if e.learned and e.test_loss.mean is not None]
    first = min(tested, key=lambda entry: entry[0])[1]
    return TestLeader(experiment=first, verdict=None if first is best else judge.test_loss(best, first))


def _last_epochs(experiment: ExperimentSummary) -> list[LastEpoch]:
    found = []
    for run in experiment.runs:
        if run.test_loss is not None and run.last_test_loss is not None:
            cost = math.expm1(min(run.last_test_loss - run.test_loss, _LARGEST))
            found.append(
                LastEpoch(
                    experiment=experiment,
                    seed=run.seed,
                    best_loss=run.test_loss,
                    last_loss=run.last_test_loss,
                    cost=cost,
                )
            )
    return found


_LARGEST = 700.0
"""Exponent that a float still holds."""
