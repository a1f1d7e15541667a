"""Everything that is concluded from a study, in one record."""

from __future__ import annotations

from dataclasses import dataclass

from lm.findings.cost import WallClock
from lm.findings.effects import Architectures, Depth, Optimizers
from lm.findings.learning import Learning
from lm.findings.limits import Certainty, Limit
from lm.findings.memory import Memory
from lm.findings.quality import Quality
from lm.findings.remedies import Advice, Treated
from lm.findings.replication import Replication
from lm.findings.stopping import Stopping
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
