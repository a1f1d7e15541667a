"""A small GPT-1 (Radford et al. 2018): a post-norm Transformer decoder with learned positions, without dropout."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from lm.models.attention import CausalSelfAttention
from lm.models.embeddings import FrozenEmbedding


class Block(nn.Module):
    """``x = LN(x + attention(x)); x = LN(x + mlp(x))``: the norm stands after the residual sum, as in 2017."""

    def __init__(self, width: int, heads: int, mlp: int) -> None:
        super().__init__()
        self.attention = CausalSelfAttention(width, heads)
        self.attention_norm = nn.LayerNorm(width)
        self.mlp = nn.Sequential(nn.Linear(width, mlp), nn.GELU(), nn.Linear(mlp, width))
        self.mlp_norm = nn.LayerNorm(width)

    def forward(self, x_BTD: Tensor) -> Tensor:
        x_BTD = self.attention_norm(x_BTD + self.attention(x_BTD))
        return self.mlp_norm(x_BTD + self.mlp(x_BTD))


class GPT(nn.Module):
    """Token ids to features. No norm on the embeddings and none after the last block."""

    def __init__(
        self,
        embedding: nn.Embedding | FrozenEmbedding,
        positions: nn.Embedding | FrozenEmbedding,
        layers: int,
        heads: int,
        mlp: int,
    ) -> None:
        """``embedding``: (V, D) table of tokens; ``positions``: (context, D) table."""
        super().__init__()
        self.embedding = embedding
        self.positions = positions
        width = embedding.weight.shape[1]
        self.blocks = nn.ModuleList(Block(width, heads, mlp) for _ in range(layers))

    def forward(self, tokens_BT: Tensor) -> Tensor:
        """(B, T) ids, T at most the context → (B, T, D) features; logits are ``features @ embedding.weight.T``."""
        places_T = torch.arange(tokens_BT.shape[1], device=tokens_BT.device)
        x_BTD = self.embedding(tokens_BT) + self.positions(places_T)
        for block in self.blocks:
            x_BTD = block(x_BTD)
        return x_BTD
