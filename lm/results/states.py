"""How a run ended, told from its losses, the unigram model's and the uniform one's.

Perplexity alone does not tell a model that overfits from one that never trained. Two marks tell them apart: the loss of
a model that gives every token the same probability (ln V, where training starts), and that of a unigram model, which
knows how often each token occurs and nothing else. A run that never gets clearly below the second has not learned to
use context, however long it trained.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
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
    """Clearly below the unigram model within the first fifth of its epochs."""
    LATE = "late"
    """Only later: what it reaches depends on the epoch in which it left the plateau, and that on the seed."""
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

_KIND_SHARE = 0.2
"""Share of its epochs that a run may spend on the plateau and still count as leaving it early."""


def kind_of(left_plateau: int | None, epochs: int) -> Kind:
    """What other seeds would do to a run that first was clearly below the unigram model after this epoch."""
    if left_plateau is None:
        return Kind.STUCK
    return Kind.EARLY if left_plateau < _KIND_SHARE * epochs else Kind.LATE


def classify(
    validation: Sequence[float | None],
    training: Sequence[float | None],
    running: Sequence[float | None],
    *,
    unigram: float,
    uniform: float,
    epochs: int,
    diverged: bool = False,
    diverged_step: int | None = None,
) -> Course:
    """How a run went, from its losses after each epoch (nats a token; None: not finite or not recorded).

    ``training`` is the loss on the fixed training sample with each epoch's final weights; where it was not recorded,
    ``running``, the mean while the weights change, tells whether training went on falling, but gives no gap.
    ``epochs``: those configured; ``diverged``: the run itself met a loss that was not finite.
    """
    known = [(epoch, loss) for epoch, loss in enumerate(validation) if loss is not None]
    broken = diverged or not known or len(known) < len(validation)
    left = next((epoch for epoch, loss in known if loss < unigram - CLEARLY), None)
    best_epoch = best = slope = rise = gap = last_training = None
    exploded = False
    if known:
        best_epoch, best = min(known, key=lambda entry: entry[1])
        last_epoch, last = known[-1]
        exploded = last > uniform + EXPLODED
        slope = None if exploded else _slope([loss for _, loss in known[-LAST_EPOCHS:]])
        rise = last - best
        last_training = training[last_epoch]
        gap = None if last_training is None else last - last_training
    if broken or exploded or best is None or best_epoch is None or rise is None:
        state = State.DIVERGED
    elif left is None:
        above = State.START if best > uniform - CLEARLY else State.ABOVE
        state = State.PLATEAU if best <= unigram + CLEARLY else above
    elif rise > RISE and _fell(running if last_training is None else training, best_epoch, known[-1][0]):
        state = State.OVERFITTING
    elif slope is None:
        state = State.SHORT
    elif slope < -FALLING and best_epoch == known[-1][0]:
        state = State.UNDERTRAINED
    else:
        state = State.CONVERGED
    return Course(
        state=state,
        kind=kind_of(left, epochs),
        epochs_done=len(validation),
        best_epoch=best_epoch,
        best_loss=best,
        left_plateau=left,
        slope=slope,
        rise=rise,
        gap=gap,
        training=last_training,
        exploded=exploded,
        diverged_step=diverged_step,
    )


def _slope(losses: list[float]) -> float | None:
    """Least-squares slope over equally spaced losses; None for fewer than two."""
    if len(losses) < 2:
        return None
    middle = (len(losses) - 1) / 2
    moment = math.fsum((index - middle) * loss for index, loss in enumerate(losses))
    return moment / math.fsum((index - middle) ** 2 for index in range(len(losses)))


def _fell(losses: Sequence[float | None], earlier: int, later: int) -> bool:
    before, after = losses[earlier], losses[later]
    return before is not None and after is not None and after < before
