"""The LSTM with a class of its own, which travels with the weights: ``transformers`` has none like it."""

from __future__ import annotations

from pathlib import Path

from lm.config.run import ModelConfig
from lm.models.language_model import LanguageModel
from lm.models.lstm import LSTM
from lm.trained.hub import Packed

CODE = Path(__file__).with_name("lstm_language_model.py")


def pack(model: LanguageModel, config: ModelConfig, boundary: int | None) -> Packed:
    assert isinstance(model, LSTM)
    tensors = model.state_dict() | {"embedding.weight": model.embedding.weight}
    settings = {
        "vocabulary": len(model.embedding.weight),
        "width": config.width,
        "hidden": config.sizes["lstm_hidden"],
        "layers": config.layers,
        "dropout": config.dropout,
        "boundary": boundary,
    }
    return Packed(tensors=tensors, config=settings, library="pytorch", code=(CODE,))
