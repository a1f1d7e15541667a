"""What every architecture is to the rest of the project, and what its module must hold.

``docs/extending.md`` writes one step by step.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from torch import Tensor, nn

from lm.config.run import ModelConfig
from lm.models.embeddings import FrozenEmbedding

Table = nn.Embedding | FrozenEmbedding
MakeTable = Callable[[str, int], Table]
"""(``tokens`` or ``positions``, entries) → a table, drawn anew or pretrained."""


class LanguageModel(nn.Module, ABC):
    """Token ids to features; the vocabulary projection, tied to ``embedding``, follows outside."""

    embedding: Table

    @abstractmethod
    def forward(self, tokens_BT: Tensor) -> Tensor:
        """(B, T) ids → (B, T, D) features; logits are ``features @ embedding.weight.T``."""

    @abstractmethod
    def decode(self, tokens_BT: Tensor, state: Any = None) -> tuple[Tensor, Any]:
        """Read on from ``state`` (None: from the start): the last token's features (B, D), and the state after it.

        For generating, in evaluation mode and without gradient. A state is of its model alone, and may be changed by
        the next call.
        """


@dataclass(frozen=True, kw_only=True)
class Operations:
    """Multiply-adds a token in the forward pass's matrix products, the vocabulary projection left out.

    ``from_table`` are those whose input is the token table itself, which needs no gradient where the table is frozen.
    """

    from_table: float
    deeper: float


@dataclass(frozen=True, kw_only=True)
class Step:
    """A training step, as far as its activations depend on it.

    ``half`` is the bytes of a number in matrix products' type: 2 in bf16 and fp16, else 4. ``device`` is cpu or cuda.
    """

    windows: int
    half: int
    device: str

    def mask_bytes(self, number: int) -> int:
        """What dropout saves for a number of so many bytes: one like it on a CPU, a byte on a GPU."""
        return number if self.device == "cpu" else 1


class Entry(Protocol):
    """A module that :data:`lm.config.architectures.ARCHITECTURES` names."""

    def build(self, config: ModelConfig, vocabulary: int, table: MakeTable) -> LanguageModel:
        """The model with freshly drawn weights, its tables made by ``table``, the tokens' first."""

    def operations(self, config: ModelConfig) -> Operations:
        """What its matrix products take."""

    def activation_bytes(self, config: ModelConfig, step: Step) -> int:
        """What the forward pass leaves for the backward pass, dropout's masks included, weights and loss not."""
