"""Which model is best, on data that chose it and on data that did not."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from lm.findings.verdicts import Verdict
from lm.results.summary import ExperimentSummary


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
    that can't be told from it, learned or not; ``unlike_text``: those left out, for they predicted other tokens.

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
