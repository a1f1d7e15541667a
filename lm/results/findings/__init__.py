"""What the results show: data in, typed statements with their evidence out.

Each finding has a claim (a sentence), the numbers it rests on, and a verdict from a closed set.
"""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from lm.results.findings.architectures import Architectures, architectures
from lm.results.findings.cost import WallClock, wall_clock
from lm.results.findings.depth import Depth, depth
from lm.results.findings.learning import Learning, learning
from lm.results.findings.memory import Memory, memory
from lm.results.findings.optimizers import Optimizers, optimizers
from lm.results.findings.quality import Generalization, generalization
from lm.results.findings.remedies import Remedy, remedies
from lm.results.findings.stopping import Stopping, stopping
from lm.results.statistics import time_bound


@dataclass(frozen=True)
class Findings:
    """All nine, None where the grid has nothing to compare."""

    learning: Learning
    wall_clock: WallClock
    generalization: Generalization
    optimizers: Optimizers | None
    architectures: Architectures | None
    depth: Depth | None
    memory: Memory
    stopping: Stopping
    remedies: tuple[Remedy, ...]


def find(runs: pd.DataFrame, epochs: pd.DataFrame, params: dict) -> Findings:
    """Everything that is concluded from a study's results."""
    learned = learning(runs, epochs)
    stopped = stopping(epochs)
    bound = time_bound(epochs)
    return Findings(
        learning=learned,
        wall_clock=wall_clock(runs, epochs, bound),
        generalization=generalization(runs),
        optimizers=optimizers(runs, learned),
        architectures=architectures(runs, learned, stopped, bound),
        depth=depth(runs, learned),
        memory=memory(runs),
        stopping=stopped,
        remedies=remedies(runs, learned, params),
    )
