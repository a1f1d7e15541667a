"""Text from a trained model, token by token, from the state that the model keeps of what it has read.

Several passages are drawn side by side, each with a generator of its own: a passage does not depend on how many others
are written with it (but for the last bits of a matrix product of more rows, which may once in a long while tip a draw).

Shape suffixes: B passages, C the candidates of a draw, V vocabulary.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import torch
from tokenizers import Tokenizer
from torch import Tensor

from lm.models.language_model import LanguageModel

_UNDECODED = "\N{REPLACEMENT CHARACTER}"


@dataclass(frozen=True, kw_only=True)
class Drawing:
    """How the next token is drawn.

    Logits are divided by ``temperature``. Drawn is among the ``top_k`` likeliest (None: all), and of these among the
    fewest that together have a probability of ``top_p`` (Holtzman et al. 2020). ``top_k`` 1 takes the likeliest.

    Raises :class:`ValueError`, naming the setting, its value and what is allowed.
    """

    temperature: float = 1.0
    top_k: int | None = 50
    top_p: float = 1.0

    def __post_init__(self) -> None:
        if not (math.isfinite(self.temperature) and self.temperature > 0):
            raise ValueError(f"temperature: {self.temperature:g}; allowed: above 0 (the likeliest token: top-k 1)")
        if self.top_k is not None and self.top_k < 1:
            raise ValueError(f"top-k: {self.top_k}; allowed: 1 or more")
        if not 0 < self.top_p <= 1:
            raise ValueError(f"top-p: {self.top_p:g}; allowed: above 0, at most 1")


def draw(logits_BV: Tensor, drawing: Drawing, generators: Sequence[torch.Generator]) -> list[int]:
    """One id a row; row b's draw is ``generators[b]``'s. On the CPU, in float64, which no temperature overflows."""
    kept = logits_BV.shape[1] if drawing.top_k is None else min(drawing.top_k, logits_BV.shape[1])
    logits_BC, ids_BC = torch.topk(logits_BV.cpu().double(), kept)
    probabilities_BC = torch.softmax((logits_BC - logits_BC[:, :1]) / drawing.temperature, 1)
    if drawing.top_p < 1:
        before_BC = probabilities_BC.cumsum(1) - probabilities_BC
        probabilities_BC = probabilities_BC.where(before_BC < drawing.top_p, 0.0)
    rows = zip(probabilities_BC, ids_BC, generators, strict=True)
    return [int(ids_C[torch.multinomial(p_C, 1, generator=generator)]) for p_C, ids_C, generator in rows]


def stream(
    model: LanguageModel, prompt: Sequence[int], *, drawing: Drawing, seeds: Sequence[int], end: int | None = None
) -> Iterator[list[int | None]]:
    """What each passage goes on with after ``prompt``, a token of each at a time, without end.

    Passage b is drawn with ``seeds[b]``. One that has drawn ``end`` is over: from there on it has None, and the stream
    ends when all are over. ``model`` is in evaluation mode.

    Raises :class:`ValueError` for an empty prompt.
    """
    if not prompt:
        raise ValueError("a prompt has at least one token")
    generators = [torch.Generator().manual_seed(seed) for seed in seeds]
    unread_BT = torch.tensor([list(prompt)] * len(seeds), device=model.embedding.weight.device)
    state: Any = None
    over = [False] * len(seeds)
    while not all(over):
        with torch.inference_mode():
            features_BD, state = model.decode(unread_BT, state)
            drawn = draw((features_BD @ model.embedding.weight.T).float(), drawing, generators)
        over = [was or token == end for was, token in zip(over, drawn, strict=True)]
        yield [None if done else token for done, token in zip(over, drawn, strict=True)]
        unread_BT = torch.tensor(drawn, device=unread_BT.device)[:, None]


def write(
    model: LanguageModel, prompt: Sequence[int], count: int, *, seed: int, drawing: Drawing | None = None
) -> list[int]:
    """``count`` ids after ``prompt``, documents' ends among them."""
    drawn = stream(model, prompt, drawing=drawing or Drawing(), seeds=[seed])
    return [token for (token,) in islice(drawn, count) if token is not None]


class TextStream:
    """Ids to text as they come. What ends amid a character waits for the rest of it."""

    def __init__(self, tokenizer: Tokenizer, prompt: Sequence[int]) -> None:
        """``prompt``: ids that stand before, whose text is not given out again."""
        self._tokenizer = tokenizer
        self._ids = list(prompt)
        self._known, self._shown = 0, len(self._ids)

    def add(self, token: int) -> str:
        """The text that one more token makes known, often none."""
        self._ids.append(token)
        text = self._new()
        if not text or text.endswith(_UNDECODED):
            return ""
        self._known, self._shown = self._shown, len(self._ids)
        return text

    def rest(self) -> str:
        """What waited for the rest of a character that did not come."""
        text = self._new()
        self._shown = len(self._ids)
        return text

    def _new(self) -> str:
        """Text of the ids not shown yet; those shown last stand before them, as spaces between words depend on them."""
        before = self._decode(self._ids[self._known : self._shown])
        return self._decode(self._ids[self._known :])[len(before) :]

    def _decode(self, ids: list[int]) -> str:
        # special tokens too: GPT-1's one, <unk>, stands for a character
        return self._tokenizer.decode(ids, skip_special_tokens=False)
