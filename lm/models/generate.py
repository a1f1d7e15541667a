"""Text from a trained model, one token at a time."""

from __future__ import annotations

import torch

from lm.models.gpt import GPT
from lm.models.lstm import LSTM


@torch.inference_mode()
def generate(model: GPT | LSTM, prompt: list[int], count: int, context: int, seed: int, top: int = 50) -> list[int]:
    """``count`` token ids after ``prompt``, drawn among the ``top`` likeliest at each step, from a seeded generator.

    The model sees at most its last ``context`` tokens, as in training.
    """
    generator = torch.Generator().manual_seed(seed)
    model.eval()
    tokens = list(prompt)
    for _ in range(count):
        window = torch.tensor([tokens[-context:]])
        logits_V = model(window)[0, -1] @ model.embedding.weight.T
        best = torch.topk(logits_V, min(top, len(logits_V)))
        choice = torch.multinomial(torch.softmax(best.values, 0), 1, generator=generator)
        tokens.append(int(best.indices[choice]))
    return tokens[len(prompt) :]
