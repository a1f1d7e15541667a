"""From a configuration to a model, and what its parameters count."""

from __future__ import annotations

from torch import nn

from lm.config.run import ModelConfig
from lm.models.attention import CausalSelfAttention
from lm.models.gpt import GPT
from lm.models.lstm import LSTM


def build_model(config: ModelConfig, vocabulary: int) -> GPT | LSTM:
    """The configured architecture with freshly drawn weights (seed torch's generator first)."""
    if config.architecture == "lstm":
        return LSTM(vocabulary, config.width, config.lstm_hidden, config.layers)
    return GPT(vocabulary, config.context, config.width, config.layers, config.heads, config.mlp)


def count_parameters(model: GPT | LSTM) -> dict[str, int]:
    """Parameters in all (tied ones once), those an optimizer updates, embeddings, attention projections."""

    def size(module: nn.Module) -> int:
        return sum(parameter.numel() for parameter in module.parameters())

    tables = [module for module in model.modules() if isinstance(module, nn.Embedding)]
    attentions = [module for module in model.modules() if isinstance(module, CausalSelfAttention)]
    return {
        "parameters": size(model),
        "trainable_parameters": sum(p.numel() for p in model.parameters() if p.requires_grad),
        "embedding_parameters": sum(map(size, tables)),
        "attention_parameters": sum(map(size, attentions)),
    }
