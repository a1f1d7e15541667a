"""Token embeddings, tied to the vocabulary projection."""

from __future__ import annotations

from torch import nn

INITIAL_STD = 0.02
"""Standard deviation of learned embeddings, as in GPT-1 (Radford et al. 2018, section 4.1).

PyTorch's default of 1 would make the tied projection's first logits tens of nats wide.
"""


def learned_embedding(entries: int, width: int) -> nn.Embedding:
    """A trainable table of shape (entries, width), drawn from N(0, 0.02²)."""
    table = nn.Embedding(entries, width)
    nn.init.normal_(table.weight, std=INITIAL_STD)
    return table
