"""Text from a trained model, one token at a time."""

from __future__ import annotations

import torch
from torch import Tensor

from lm.models.language_model import LanguageModel


@torch.inference_mode()
def generate(
    model: LanguageModel,
    prompt: list[int],
    count: int,
    *,
    seed: int,
    temperature: float = 1.0,
    top_k: int | None = 50,
    top_p: float = 1.0,
) -> list[int]:
    """``count`` token ids after ``prompt`` (one token or more), drawn with a generator of their own, seeded.

    Logits are divided by ``temperature``; 0 always takes the likeliest token. Drawn is among the ``top_k`` likeliest
    (None: all), and of these among the fewest that together have a probability of ``top_p`` (Holtzman et al. 2020).

    Raises :class:`ValueError` for an empty prompt and for settings out of their range.
    """
    if not prompt:
        raise ValueError("a prompt has at least one token")
    if temperature < 0 or (top_k is not None and top_k < 1) or not 0 < top_p <= 1:
        raise ValueError("allowed: temperature ≥ 0, top_k ≥ 1, 0 < top_p ≤ 1")
    generator = torch.Generator().manual_seed(seed)
    model.eval()
    written: list[int] = []
    device = model.embedding.weight.device
    unread, state = prompt, None
    while len(written) < count:
        features_BD, state = model.decode(torch.tensor([unread], device=device), state)
        logits_V = (features_BD[0] @ model.embedding.weight.T).float().cpu()
        written.append(_draw(logits_V, generator, temperature, top_k, top_p))
        unread = written[-1:]
    return written


def _draw(logits_V: Tensor, generator: torch.Generator, temperature: float, top_k: int | None, top_p: float) -> int:
    kept = len(logits_V) if top_k is None else min(top_k, len(logits_V))
    best = torch.topk(logits_V, 1 if temperature == 0 else kept)
    probabilities = torch.softmax(best.values / (temperature or 1.0), 0)
    if top_p < 1:
        before = probabilities.cumsum(0) - probabilities
        probabilities = probabilities.where(before < top_p, 0.0)
    return int(best.indices[torch.multinomial(probabilities, 1, generator=generator)])
