"""How a run ended, told from its losses, the unigram model's and the uniform one's.

Perplexity alone does not tell a model that overfits from one that never trained. Two marks tell them apart: the loss of
a model that gives every token the same probability (ln V, where training starts), and that of a unigram model, which
knows how often each token occurs and nothing else. A run that never gets clearly below the second has not learned to
use context, however long it trained.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class State(StrEnum):
    """How a run ended. The first four have not learned to use context; listed from the worst to the best."""

    DIVERGED = "diverged"
    """A loss was not finite, or at the end lies clearly above ln V: worse than knowing nothing."""
    START = "start"
    """Validation never got clearly below ln V: the run hardly moved."""
    ABOVE = "above"
    """Left its start, but validation never came near the unigram model's loss."""
    PLATEAU = "plateau"
    """Reached the unigram model's loss and never got clearly below it."""
    OVERFITTING = "overfitting"
    """Used context, then validation rose while training went on falling."""
    UNDERTRAINED = "undertrained"
    """Used context, and validation was still falling when training ended."""
    SHORT = "short"
    """Used context, but one epoch does not tell whether it had finished."""
    CONVERGED = "converged"
    """Used context, and validation had stopped falling, or wobbled."""

    @property
    def learned(self) -> bool:
        """Whether the run learned to use context."""
        return self not in (State.DIVERGED, State.START, State.ABOVE, State.PLATEAU)


class Kind(StrEnum):
    """Kinds of run whose results spread differently over seeds."""

    EARLY = "early"
    """Clearly below the unigram model before the middle of its epochs."""
    LATE = "late"
    """Only after it: what it reaches depends on the epoch in which it left the plateau, and that on the seed."""
    STUCK = "stuck"
    """Never: another seed may repeat it closely, or leave the plateau."""


@dataclass(frozen=True, kw_only=True)
class Course:
    """How one run went. Losses in nats a token; epochs count from 0; None: not known from what was recorded.

    ``slope``: of validation loss over the last epochs (at most three), an epoch; ``rise``: validation loss of the last
    epoch less that of the best; ``gap``: validation less training loss with the last epoch's weights; ``training``:
    loss on the fixed training sample with the last epoch's weights; ``exploded``: finite, yet at the end so far above
    ln V that it counts as diverged.
    """

    state: State
    kind: Kind
    epochs_done: int
    best_epoch: int | None
    best_loss: float | None
    left_plateau: int | None
    slope: float | None
    rise: float | None
    gap: float | None
    training: float | None
    exploded: bool
    diverged_step: int | None

    @property
    def falling(self) -> bool | None:
        """Whether validation still fell by ``FALLING`` an epoch at the end; None with fewer than two epochs."""
        return None if self.slope is None else self.slope < -FALLING

    @property
    def wide_gap(self) -> bool:
        """Whether the model knows its training text so much better than new text that longer training is no remedy."""
        return self.gap is not None and self.gap >= WIDE_GAP


CLEARLY = 0.1
"""Nats below the unigram model, or below ln V, from which on a run is clearly below it (10 % of perplexity)."""
RISE = 0.02
"""Nats by which validation must rise from the best epoch to the last to be called overfitting, not wobbling."""
FALLING = 0.005
"""Nats an epoch (0.5 % of perplexity) by which validation must still fall at the end to be called undertrained."""
WIDE_GAP = 1.0
"""Nats of generalization gap from which on longer training is not what a run lacks."""
EXPLODED = 1.0
"""Nats above ln V from which on a finite loss counts as diverged."""
LAST_EPOCHS = 3
"""Epochs over which the slope at the end is taken."""
