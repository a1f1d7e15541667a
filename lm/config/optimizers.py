"""The optimizers: a line each. What a report calls one, its colour, which keys it takes, and where it comes from.

Nothing here imports PyTorch: ``factory`` is imported by :mod:`lm.training.optimizers` when a run needs it.
``docs/extending.md`` adds an optimizer step by step.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, kw_only=True)
class Number:
    """What a hyperparameter may be, and what it is where it is not given; without ``default`` it must be given."""

    default: float | None = None
    least: float | None = None
    above: float | None = None
    below: float | None = None

    def refuses(self, value: float) -> str | None:
        """What is wrong with a value, or None."""
        if self.least is not None and value < self.least:
            return f"should be greater than or equal to {self.least:g}"
        if self.above is not None and value <= self.above:
            return f"should be greater than {self.above:g}"
        if self.below is not None and value >= self.below:
            return f"should be less than {self.below:g}"
        return None


@dataclass(frozen=True, kw_only=True)
class Optimizer:
    """``label`` and ``colour`` stand for it in tables and figures.

    ``factory`` (``module:name``) is called with the parameters, ``lr``, every key of ``takes``, and ``fixed``; all
    else is the factory's default. ``state_copies`` is how many numbers it keeps a trained parameter.
    ``takes`` holds what it can be set to beside ``lr``, which all take, and nothing else: ``momentum`` for Adam is
    refused, not ignored. ``beta2`` becomes the second of ``betas``.
    """

    label: str
    colour: str
    factory: str
    state_copies: int
    takes: Mapping[str, Number]
    fixed: Mapping[str, bool] = field(default_factory=dict)


_DECAY = Number(default=0.0, least=0.0)
_BETA2 = Number(default=0.999, above=0.0, below=1.0)
_FUSED = {"fused": True}

OPTIMIZERS: dict[str, Optimizer] = {
    "adam": Optimizer(
        label="Adam",
        colour="#0072B2",
        factory="torch.optim:Adam",
        state_copies=2,
        takes={"weight_decay": _DECAY, "beta2": _BETA2},
        fixed=_FUSED,
    ),
    "adamw": Optimizer(
        label="AdamW",
        colour="#56B4E9",
        factory="torch.optim:AdamW",
        state_copies=2,
        takes={"weight_decay": _DECAY, "beta2": _BETA2},
        fixed=_FUSED,
    ),
    "sgd": Optimizer(
        label="SGD",
        colour="#D55E00",
        factory="torch.optim:SGD",
        state_copies=0,
        takes={"weight_decay": _DECAY},
        fixed=_FUSED,
    ),
    "momentum": Optimizer(
        label="Momentum",
        colour="#E69F00",
        factory="torch.optim:SGD",
        state_copies=1,
        takes={"weight_decay": _DECAY, "momentum": Number(above=0.0, below=1.0)},
        fixed=_FUSED,
    ),
}


def all_keys() -> tuple[str, ...]:
    """Every key that any optimizer takes, ``lr`` first, each once."""
    return tuple(dict.fromkeys(["lr", *(key for each in OPTIMIZERS.values() for key in each.takes)]))
