"""Everything that is concluded from a study, in one record."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from lm.findings.architectures import Architectures, architecture_pairs, architectures
from lm.findings.cost import WallClock, wall_clock
from lm.findings.depth import Depth, depth, depth_pairs
from lm.findings.judge import Judge
from lm.findings.learning import Learning, learning
from lm.findings.limits import Certainty, Elsewhere, Limit, certainty, elsewhere, limits
from lm.findings.memory import Memory, memory
from lm.findings.optimizers import Optimizers, optimizer_pairs, optimizers
from lm.findings.quality import Quality, quality
from lm.findings.remedies import Advice, Treated, advice, treated, treated_pairs
from lm.findings.replication import Replication, replication
from lm.findings.stopping import Stopping, stopping
from lm.results.load import Answers
from lm.results.reference import Reference
from lm.results.spread import Spread
from lm.results.summary import Summaries


@dataclass(frozen=True, kw_only=True)
class Findings:
    """All findings; None where the grid has nothing to compare."""

    summaries: Summaries
    certainty: Certainty
    learning: Learning
    quality: Quality
    wall_clock: WallClock
    optimizers: Optimizers | None
    architectures: Architectures | None
    depth: Depth | None
    memory: Memory
    stopping: Stopping
    advice: tuple[Advice, ...]
    treated: tuple[Treated, ...]
    replication: Replication | None
    limits: tuple[Limit, ...]
    elsewhere: Elsewhere | None

    @property
    def unanswered(self) -> tuple[Limit, ...]:
        """The limits that no other study lifts."""
        lifted = self.elsewhere.answered if self.elsewhere else ()
        return tuple(limit for limit in self.limits if limit.topic not in lifted)


def judge_of(summaries: Summaries, spread: Spread) -> Judge:
    """Who decides in this study: its questions are the families that verdicts are corrected within."""
    asked_of_optimizers = [pair for pairs in optimizer_pairs(summaries).values() for pair in pairs]
    families = [
        asked_of_optimizers,
        architecture_pairs(summaries),
        depth_pairs(summaries),
        treated_pairs(summaries),
    ]
    return Judge(summaries, spread, families)


def find(
    summaries: Summaries,
    reference: Reference,
    params: dict[str, Any],
    base: Sequence[tuple[str, str]] = (),
    answers: Answers | None = None,
) -> Findings:
    """Everything that is concluded; ``params`` is params.yaml as read, for the lines that it makes possible.

    ``base``: settings that the lines of advice begin with, where the runs are not of params.yaml's scale and corpus.
    ``answers``: the controlled study's, where there is one.
    """
    judge = judge_of(summaries, reference.spread)
    sure = certainty(judge, reference.spread)
    stopped = stopping(summaries)
    cannot = limits(summaries, sure)
    return Findings(
        summaries=summaries,
        certainty=sure,
        learning=learning(summaries),
        quality=quality(judge),
        wall_clock=wall_clock(judge),
        optimizers=optimizers(judge),
        architectures=architectures(judge, stopped),
        depth=depth(judge),
        memory=memory(summaries),
        stopping=stopped,
        advice=advice(summaries, params, base),
        treated=treated(judge),
        replication=replication(summaries, reference),
        limits=cannot,
        elsewhere=elsewhere(summaries, cannot, answers),
    )
