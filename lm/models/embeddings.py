"""Token and position tables, learned or frozen. The tokens' is tied to the vocabulary projection."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

INITIAL_STD = 0.02
"""Standard deviation of learned embeddings, as in GPT-1 (Radford et al. 2018, section 4.1).

PyTorch's default of 1 would make the tied projection's first logits tens of nats wide.
"""


def learned_embedding(entries: int, width: int) -> nn.Embedding:
    """A trainable table of shape (entries, width), drawn from N(0, 0.02²)."""
    table = nn.Embedding(entries, width)
    nn.init.normal_(table.weight, std=INITIAL_STD)
    return table


class FrozenEmbedding(nn.Module):
    """A table that nothing trains.

    It is a buffer outside the model's state: optimizers never see it, and checkpoints and saved models hold what was
    trained, not 119 MiB more that are the same in all of them.
    """

    weight: Tensor

    def __init__(self, weight: Tensor) -> None:
        """``weight``: (entries, width), float32; kept, not copied."""
        super().__init__()
        self.register_buffer("weight", weight, persistent=False)

    def forward(self, indices: Tensor) -> Tensor:
        """Indices of any shape → their rows, one dimension more."""
        return F.embedding(indices, self.weight)
