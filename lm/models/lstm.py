"""An LSTM language model (Hochreiter & Schmidhuber 1997) with a two-layer head tied to the embedding."""

from __future__ import annotations

from torch import Tensor, nn

from lm.models.embeddings import FrozenEmbedding


class LSTM(nn.Module):
    """Embedding → LSTM → linear → ReLU; the tied vocabulary projection follows outside. Zero initial state."""

    def __init__(self, embedding: nn.Embedding | FrozenEmbedding, hidden: int, layers: int) -> None:
        """``embedding``: (V, D) table of tokens."""
        super().__init__()
        self.embedding = embedding
        width = embedding.weight.shape[1]
        self.lstm = nn.LSTM(width, hidden, num_layers=layers, batch_first=True)
        self.head = nn.Sequential(nn.Linear(hidden, width), nn.ReLU())

    def forward(self, tokens_BT: Tensor) -> Tensor:
        """(B, T) ids → (B, T, D) features; logits are ``features @ embedding.weight.T``."""
        outputs_BTH, _ = self.lstm(self.embedding(tokens_BT))
        return self.head(outputs_BTH)
