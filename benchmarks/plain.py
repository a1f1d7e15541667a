"""The plain way to train the two models, as a course would: fp32, all logits, log-softmax and masked NLL, unfused.

It is the yardstick of the benchmark and of the parity test, written for clarity and never for speed.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class PlainAttention(nn.Module):
    """Four projections, explicit scores and mask."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query, self.key, self.value, self.output = (nn.Linear(width, width) for _ in range(4))

    def forward(self, x: Tensor) -> Tensor:
        batch, time, width = x.shape

        def split(y: Tensor) -> Tensor:
            return y.view(batch, time, self.heads, width // self.heads).transpose(1, 2)

        scores = split(self.query(x)) @ split(self.key(x)).transpose(-2, -1) / math.sqrt(width // self.heads)
        mask = torch.ones(time, time, device=x.device).tril()
        weights = torch.softmax(scores * mask - 1e4 * (1 - mask), dim=-1)
        return self.output((weights @ split(self.value(x))).transpose(1, 2).reshape(batch, time, width))


class PlainBlock(nn.Module):
    def __init__(self, width: int, heads: int, mlp: int) -> None:
        super().__init__()
        self.attention = PlainAttention(width, heads)
        self.first_norm, self.second_norm = nn.LayerNorm(width), nn.LayerNorm(width)
        self.up, self.down = nn.Linear(width, mlp), nn.Linear(mlp, width)

    def forward(self, x: Tensor) -> Tensor:
        x = self.first_norm(x + self.attention(x))
        return self.second_norm(x + self.down(F.gelu(self.up(x))))


class PlainGPT(nn.Module):
    def __init__(self, vocabulary: int, context: int, width: int, layers: int, heads: int, mlp: int) -> None:
        super().__init__()
        self.embedding, self.positions = nn.Embedding(vocabulary, width), nn.Embedding(context, width)
        self.blocks = nn.ModuleList(PlainBlock(width, heads, mlp) for _ in range(layers))

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.embedding(tokens) + self.positions(torch.arange(tokens.shape[1], device=tokens.device))
        for block in self.blocks:
            x = block(x)
        return x @ self.embedding.weight.T


class PlainLSTM(nn.Module):
    def __init__(self, vocabulary: int, width: int, hidden: int, layers: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, width)
        self.lstm = nn.LSTM(width, hidden, num_layers=layers, batch_first=True)
        self.head = nn.Sequential(nn.Linear(hidden, width), nn.ReLU())

    def forward(self, tokens: Tensor) -> Tensor:
        return self.head(self.lstm(self.embedding(tokens))[0]) @ self.embedding.weight.T


def plain_loss(logits: Tensor, targets: Tensor, padding: int) -> Tensor:
    """Mean NLL over the targets that are not ``padding``, through a full log-softmax and a mask."""
    mask = (targets != padding).float()
    log_probabilities = F.log_softmax(logits, dim=-1)
    nll = -log_probabilities.gather(-1, targets.clamp_min(0).unsqueeze(-1)).squeeze(-1)
    return (nll * mask).sum() / mask.sum()
