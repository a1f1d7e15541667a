"""An LSTM language model whose vocabulary projection is its embedding, as ``config.json`` beside this file describes.

Needs ``torch``, ``safetensors`` and ``huggingface_hub``; nothing of the study that it was trained in.
"""

from __future__ import annotations

import torch
from huggingface_hub import PyTorchModelHubMixin
from torch import Tensor, nn

State = tuple[Tensor, Tensor]


class LSTMLanguageModel(nn.Module, PyTorchModelHubMixin):
    """Embedding, LSTM, linear layer, ReLU, and the embedding again."""

    def __init__(
        self,
        vocabulary: int,
        width: int,
        hidden: int,
        layers: int,
        dropout: float = 0.0,
        boundary: int | None = None,
    ) -> None:
        """``boundary``: the id that stands between documents, and so before one."""
        super().__init__()
        self.boundary = boundary
        self.embedding = nn.Embedding(vocabulary, width)
        self.lstm = nn.LSTM(width, hidden, layers, batch_first=True, dropout=dropout if layers > 1 else 0.0)
        self.head = nn.Sequential(nn.Linear(hidden, width), nn.ReLU())
        self.dropout = nn.Dropout(dropout)

    def forward(self, tokens: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        """Ids (batch, time) → logits (batch, time, vocabulary), and the state to read on from."""
        outputs, state = self.lstm(self.dropout(self.embedding(tokens)), state)
        return self.head(self.dropout(outputs)) @ self.embedding.weight.T, state

    @torch.inference_mode()
    def generate(
        self, prompt: list[int], count: int, *, temperature: float = 1.0, top_k: int = 50, seed: int = 0
    ) -> list[int]:
        """At most ``count`` ids after ``prompt``, drawn among the ``top_k`` likeliest; a document's end ends them."""
        generator = torch.Generator().manual_seed(seed)
        state: State | None = None
        unread, written = prompt, list[int]()
        while len(written) < count:
            logits, state = self(torch.tensor([unread], device=self.embedding.weight.device), state)
            best = torch.topk(logits[0, -1].double().cpu(), min(top_k, logits.shape[-1]))
            place = torch.multinomial(torch.softmax(best.values / temperature, 0), 1, generator=generator)
            unread = best.indices[place].tolist()
            if unread == [self.boundary]:
                break
            written += unread
        return written
