"""An LSTM language model (Hochreiter & Schmidhuber 1997) with a two-layer head tied to the embedding."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from lm.config.run import ModelConfig
from lm.models.language_model import LanguageModel, MakeTable, Operations, Step, Table

HiddenAndCell = tuple[Tensor, Tensor]


class LSTM(LanguageModel):
    """Embedding → LSTM → linear → ReLU; the tied vocabulary projection follows outside. Zero initial state.

    Dropout is that of Zaremba et al. (2014): on inputs, between layers and on outputs, never on the recurrence.
    """

    def __init__(self, embedding: Table, hidden: int, layers: int, dropout: float = 0.0) -> None:
        """``embedding``: (V, D) table of tokens."""
        super().__init__()
        self.embedding = embedding
        width = embedding.weight.shape[1]
        between = dropout if layers > 1 else 0.0
        self.lstm = nn.LSTM(width, hidden, num_layers=layers, batch_first=True, dropout=between)
        self.head = nn.Sequential(nn.Linear(hidden, width), nn.ReLU())
        self.dropout = nn.Dropout(dropout)

    def forward(self, tokens_BT: Tensor) -> Tensor:
        """(B, T) ids → (B, T, D) features."""
        outputs_BTH, _ = self._recur(self.dropout(self.embedding(tokens_BT)))
        return self.head(self.dropout(outputs_BTH))

    def decode(self, tokens_BT: Tensor, state: HiddenAndCell | None = None) -> tuple[Tensor, HiddenAndCell]:
        """As :meth:`LanguageModel.decode`. The state goes on beyond the context that the model was trained with."""
        outputs_BTH, state = self._recur(self.embedding(tokens_BT), state)
        return self.head(outputs_BTH[:, -1]), state

    def _recur(self, inputs_BTD: Tensor, state: HiddenAndCell | None = None) -> tuple[Tensor, HiddenAndCell]:
        """On a GPU always in fp32. There autocast would cast to fp16, even where it was asked for bf16.

        In fp16, without a scaler, more than half of the lowest layer's gradients would vanish; and cuDNN's kernels take
        bf16 only from version 9.13 on. The head and the projection stay in the configured type. On a CPU autocast does
        what its name says.
        """
        if inputs_BTD.device.type != "cuda":
            return self.lstm(inputs_BTD, state)
        with torch.autocast("cuda", enabled=False):
            return self.lstm(inputs_BTD.float(), state)


def build(config: ModelConfig, vocabulary: int, table: MakeTable) -> LSTM:
    return LSTM(table("tokens", vocabulary), config.sizes["lstm_hidden"], config.layers, config.dropout)


def operations(config: ModelConfig) -> Operations:
    width, hidden = config.width, config.sizes["lstm_hidden"]
    recurrent = config.layers * 4 * hidden * hidden
    between = (config.layers - 1) * 4 * hidden * hidden
    return Operations(from_table=4 * hidden * width, deeper=recurrent + between + hidden * width)


def activation_bytes(config: ModelConfig, step: Step) -> int:
    """What PyTorch's operations save, counted in its own graph (``tests/test_predict.py``).

    A layer saves its output and a workspace: oneDNN's on a CPU takes 24 bytes a unit and nine numbers in the products'
    type, which was found by trial; cuDNN's in fp32 is taken to hold four gates, cell and hidden state. Beside them are
    the rows of the table and the two ends of the head.
    """
    width, hidden, half = config.width, config.sizes["lstm_hidden"], step.half
    recurrence = 4 if step.device == "cuda" else half
    workspace = 6 * 4 if step.device == "cuda" else 24 + 9 * half
    a_layer = hidden * (workspace + recurrence)
    rest = width * (recurrence + half) + hidden * half
    if config.dropout > 0:
        a_layer += hidden * step.mask_bytes(recurrence)
        rest += width * step.mask_bytes(4)
    return step.windows * config.context * (config.layers * a_layer + rest)
