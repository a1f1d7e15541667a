"""What a model makes of any text: its loss, and the passages that it expected least.

Shape suffixes: N ids of the text, P = N − 1 predicted ones, W words; B windows, T tokens of a window.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from tokenizers import Encoding

from lm.corpus.windows import PADDING, Batch
from lm.errors import StudyError
from lm.models.language_model import LanguageModel
from lm.trained.runs import TrainedRun
from lm.training.evaluation import to_device
from lm.training.history import perplexity
from lm.training.loss import token_losses

_TOKENS_AT_ONCE = 8192


@dataclass(frozen=True, kw_only=True)
class Score:
    """Loss of a text, ``nll`` in nats, over ``tokens`` predicted ones; ``words`` and ``bytes`` are the whole text's."""

    nll: float
    tokens: int
    words: int
    bytes: int

    @property
    def perplexity(self) -> float:
        """By token: compares only where the tokenizer is the same."""
        return perplexity(self.nll / self.tokens)

    @property
    def word_perplexity(self) -> float:
        """By word, split at white space."""
        return perplexity(self.nll / self.words)

    @property
    def bits_per_byte(self) -> float:
        """Of the text in UTF-8: compares across tokenizers."""
        return self.nll / self.bytes / math.log(2)


@dataclass(frozen=True, kw_only=True)
class Passage:
    """Words in a row, from line ``line`` (counted from 1) of the text on, and what they cost."""

    line: int
    text: str
    bits_per_byte: float


@dataclass(frozen=True, kw_only=True)
class ScoredText:
    """``as_reported``: in windows end to end, as the study scores its splits, so that the figures compare.

    ``with_context``: in windows that overlap by half, so that before every token, from the text's start apart, the
    model sees half a window or more. The passages, the most surprising first, are told by these losses: at the start
    of a window anything is a surprise.
    """

    context: int
    as_reported: Score
    with_context: Score
    passages: tuple[Passage, ...]


def score_text(run: TrainedRun, text: str, *, passages: int, words: int) -> ScoredText:
    """Score ``text`` and find its ``passages`` most surprising stretches of so many ``words``, none overlapping.

    Where the vocabulary has a boundary the first token is predicted from it, as a document's is in training; else it
    is not predicted. Raises :class:`StudyError` for a text that leaves nothing to predict.
    """
    encoding = run.need_tokenizer().encode(text)
    before = [] if run.boundary is None else [run.boundary]
    ids_N = np.array([*before, *encoding.ids], dtype=np.int64)
    if len(ids_N) < 2:
        raise StudyError("text: too short: it leaves no token to predict; allowed: two words or more")
    context = run.config.model.context
    alone_P = text_losses(run.model, ids_N, context, context)
    after_half_P = text_losses(run.model, ids_N, context, max(1, context // 2))
    return ScoredText(
        context=context,
        as_reported=_score(alone_P, text),
        with_context=_score(after_half_P, text),
        passages=surprising_passages(text, encoding, after_half_P, passages, words),
    )


def text_losses(model: LanguageModel, ids_N: NDArray[np.int64], context: int, stride: int) -> NDArray[np.float64]:
    """Nats of each id but the first, (P,), in windows of ``context`` inputs that start every ``stride`` of them.

    The first window counts whole, each later one by what the windows before it did not reach: with ``stride`` equal to
    ``context`` these are the study's windows. ``model`` is in evaluation mode.
    """
    predicted = len(ids_N) - 1
    width = min(context, predicted)
    windows = 1 + max(0, -(-(predicted - width) // stride))
    device, found = model.embedding.weight.device, []
    at_once = max(1, _TOKENS_AT_ONCE // width)
    for first in range(0, windows, at_once):
        starts_B = np.arange(first, min(first + at_once, windows)) * stride
        places_BT = starts_B[:, None] + np.arange(width + 1)
        ids_BT = ids_N[np.minimum(places_BT, predicted)]
        counted_BT = places_BT[:, 1:] <= predicted
        counted_BT[starts_B > 0, : width - stride] = False
        targets_BT = np.where(counted_BT, ids_BT[:, 1:], PADDING)
        inputs_BT = np.ascontiguousarray(ids_BT[:, :-1])
        batch = Batch(torch.from_numpy(inputs_BT), torch.from_numpy(targets_BT), int(counted_BT.sum()))
        batch = to_device(batch, device)
        with torch.inference_mode():
            nll_N = token_losses(model(batch.inputs_BT), model.embedding.weight, batch)
        found.append(nll_N.cpu().numpy().astype(np.float64))
    return np.concatenate(found)


def _score(nll_P: NDArray[np.float64], text: str) -> Score:
    return Score(nll=float(nll_P.sum()), tokens=len(nll_P), words=max(1, len(text.split())), bytes=len(text.encode()))


def surprising_passages(
    text: str, encoding: Encoding, nll_P: NDArray[np.float64], passages: int, words: int
) -> tuple[Passage, ...]:
    """Of all stretches of ``words`` words (or the whole of a shorter text) those that cost most bits a byte.

    ``nll_P`` are the losses of ``encoding``'s last P tokens. The first of the passages is the most surprising.
    """
    spans = [match.span() for match in re.finditer(r"\S+", text)]
    ends_W = np.array([end for _, end in spans])
    nll_W = np.zeros(len(spans))
    predicted = encoding.offsets[len(encoding.offsets) - len(nll_P) :]
    # white space before a word is the word's, as in the tokens
    words_P = np.minimum(np.searchsorted(ends_W, [end for _, end in predicted]), len(spans) - 1)
    np.add.at(nll_W, words_P, nll_P)
    starts = [0, *ends_W[:-1]]
    bytes_W = np.array([len(text[start:end].encode()) for start, end in zip(starts, ends_W, strict=True)])
    length = min(words, len(spans))
    cost_W = np.convolve(nll_W, np.ones(length), "valid") / np.convolve(bytes_W, np.ones(length), "valid") / math.log(2)

    chosen: list[int] = []
    for first in np.argsort(-cost_W, kind="stable").tolist():
        if len(chosen) == passages:
            break
        if all(abs(first - other) >= length for other in chosen):
            chosen.append(first)
    return tuple(
        Passage(
            line=text.count("\n", 0, spans[first][0]) + 1,
            text=" ".join(text[spans[first][0] : spans[first + length - 1][1]].split()),
            bits_per_byte=float(cost_W[first]),
        )
        for first in chosen
    )
