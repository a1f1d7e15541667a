"""A small GPT-1 (Radford et al. 2018): a Transformer decoder with learned positions, its norms after or before."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from lm.config.run import ModelConfig, Norm
from lm.models.attention import CausalSelfAttention, KeysAndValues, takes_products
from lm.models.language_model import LanguageModel, MakeTable, Operations, Step, Table


class Block(nn.Module):
    """Attention and a feed-forward layer, each beside a residual path, each with a layer norm.

    Post-norm, as in 2017: ``x = LN(x + attention(x)); x = LN(x + mlp(x))``. Pre-norm (Xiong et al. 2020):
    ``x = x + attention(LN(x)); x = x + mlp(LN(x))``. Dropout is that of GPT-1: on the weights of attention, and on what
    is added to the residual path.
    """

    def __init__(self, width: int, heads: int, mlp: int, norm: Norm = "post", dropout: float = 0.0) -> None:
        super().__init__()
        self.pre_norm = norm == "pre"
        self.attention = CausalSelfAttention(width, heads, dropout)
        self.attention_norm = nn.LayerNorm(width)
        self.mlp = nn.Sequential(nn.Linear(width, mlp), nn.GELU(), nn.Linear(mlp, width))
        self.mlp_norm = nn.LayerNorm(width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x_BTD: Tensor, past: KeysAndValues | None = None) -> Tensor:
        """(B, T, D) → (B, T, D); with ``past`` of T tokens that follow it."""
        if self.pre_norm:
            x_BTD = x_BTD + self.dropout(self._attend(self.attention_norm(x_BTD), past))
            return x_BTD + self.dropout(self.mlp(self.mlp_norm(x_BTD)))
        x_BTD = self.attention_norm(x_BTD + self.dropout(self._attend(x_BTD, past)))
        return self.mlp_norm(x_BTD + self.dropout(self.mlp(x_BTD)))

    def _attend(self, x_BTD: Tensor, past: KeysAndValues | None) -> Tensor:
        return self.attention(x_BTD) if past is None else self.attention.decode(x_BTD, past)


@dataclass
class Decoding:
    """The tokens of the present window, (B, t), and what each block's attention has read of them."""

    tokens_BT: Tensor
    past: list[KeysAndValues] = field(default_factory=list)


class GPT(LanguageModel):
    """Token ids to features. No norm on the embeddings; pre-norm has one after the last block, post-norm none."""

    def __init__(
        self,
        embedding: Table,
        positions: Table,
        layers: int,
        heads: int,
        mlp: int,
        norm: Norm = "post",
        dropout: float = 0.0,
    ) -> None:
        """``embedding``: (V, D) table of tokens; ``positions``: (context, D) table."""
        super().__init__()
        self.embedding = embedding
        self.positions = positions
        width = embedding.weight.shape[1]
        self.dropout = nn.Dropout(dropout)
        self.blocks = nn.ModuleList(Block(width, heads, mlp, norm, dropout) for _ in range(layers))
        self.final_norm = nn.LayerNorm(width) if norm == "pre" else nn.Identity()

    def forward(self, tokens_BT: Tensor) -> Tensor:
        """(B, T) ids, T at most the context → (B, T, D) features."""
        x_BTD = self._embedded(tokens_BT, 0)
        for block in self.blocks:
            x_BTD = block(x_BTD)
        return self.final_norm(x_BTD)

    def decode(self, tokens_BT: Tensor, state: Decoding | None = None) -> tuple[Tensor, Decoding]:
        """As :meth:`LanguageModel.decode`, keys and values kept, so that a token costs one position's products.

        Positions are learned, so a window that is full cannot slide by one without all of it changing. It starts anew
        with its last half (or, where more tokens are given at once, with the last that fill it): what is seen is
        between half a context and a whole one.
        """
        context = len(self.positions.weight)
        window_BT = tokens_BT if state is None else torch.cat([state.tokens_BT, tokens_BT], 1)
        if window_BT.shape[1] > context:
            kept = min(context, max(tokens_BT.shape[1], (context + 1) // 2))
            window_BT, state = window_BT[:, -kept:], None
        if state is None:
            state, new_BT = Decoding(window_BT, [KeysAndValues(context) for _ in self.blocks]), window_BT
        else:
            state.tokens_BT, new_BT = window_BT, tokens_BT
        x_BTD = self._embedded(new_BT, window_BT.shape[1] - new_BT.shape[1])
        for block, past in zip(self.blocks, state.past, strict=True):
            x_BTD = block(x_BTD, past)
        return self.final_norm(x_BTD[:, -1]), state

    def _embedded(self, tokens_BT: Tensor, first_place: int) -> Tensor:
        places_T = torch.arange(first_place, first_place + tokens_BT.shape[1], device=tokens_BT.device)
        return self.dropout(self.embedding(tokens_BT) + self.positions(places_T))


def build(config: ModelConfig, vocabulary: int, table: MakeTable) -> GPT:
    sizes = config.sizes
    return GPT(
        table("tokens", vocabulary),
        table("positions", config.context),
        config.layers,
        sizes["heads"],
        sizes["mlp"],
        config.norm,
        config.dropout,
    )


def operations(config: ModelConfig) -> Operations:
    """The causal mask halves attention's two products of ``context`` by width each."""
    width = config.width
    from_table = 3 * width * width
    a_block = 4 * width * width + 2 * width * config.sizes["mlp"] + config.context * width
    return Operations(from_table=from_table, deeper=config.layers * a_block - from_table)


def activation_bytes(config: ModelConfig, step: Step) -> int:
    """What PyTorch's operations save, counted in its own graph (``tests/test_predict.py``), and the features.

    A block saves the inputs of its products (x, q, k, v, the mix, the second half's x) and the inner layer before and
    after its GELU in the products' type, and in fp32 what its two norms take in. Where attention's weights are formed
    whole, they are saved; with dropout thrice, as they were, as they are, and the mask.
    """
    width, half = config.width, step.half
    heads, mlp = config.sizes["heads"], config.sizes["mlp"]
    dropped = config.dropout > 0
    whole = step.device == "cpu" and (dropped or takes_products(step.device, half == 2))
    weights = heads * config.context * half * (3 if dropped else 1) if whole else 0
    a_block = width * (6 * half + 2 * 4) + 2 * mlp * half + weights
    rest = width * 4 * (2 if config.norm == "pre" else 1)
    if dropped:
        a_block += 2 * width * step.mask_bytes(half)
        rest += width * step.mask_bytes(4)
    return step.windows * config.context * (config.layers * a_block + rest)
