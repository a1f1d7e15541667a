"""From a configuration to a model: its weights, what its parameters count, what its products take."""

from __future__ import annotations

import importlib
from itertools import chain
from pathlib import Path
from typing import cast

import torch
from safetensors import safe_open
from torch import nn

from lm.config.architectures import ARCHITECTURES
from lm.config.run import ModelConfig
from lm.embeddings.tables import PretrainedEmbeddings
from lm.errors import StudyError
from lm.models.attention import CausalSelfAttention
from lm.models.embeddings import FrozenEmbedding, learned_embedding
from lm.models.language_model import Entry, LanguageModel, Table

FROZEN = "frozen_embeddings_sha256"
"""Key in a saved model's metadata: which tables belong to it, and are not in it."""


def entry(architecture: str) -> Entry:
    """The architecture's module; raises :class:`KeyError` for a name that no configuration lets pass."""
    return cast(Entry, importlib.import_module(ARCHITECTURES[architecture].module))


def build_model(config: ModelConfig, vocabulary: int, pretrained: PretrainedEmbeddings | None = None) -> LanguageModel:
    """The configured architecture with freshly drawn weights (seed torch's generator first).

    ``pretrained`` tables are for ``embeddings: gpt1``, which only a model of shapes (the meta device) can do without;
    else raises :class:`ValueError`.
    """

    def table(name: str, entries: int) -> Table:
        if config.embeddings == "learned":
            return learned_embedding(entries, config.width)
        if pretrained is not None:
            return FrozenEmbedding(torch.from_numpy(pretrained.table(name)))
        if torch.get_default_device().type != "meta":
            raise ValueError(f"embeddings {config.embeddings} need their tables")
        return FrozenEmbedding(torch.empty(entries, config.width))

    return entry(config.architecture).build(config, vocabulary, table)


def restore_model(
    path: Path, config: ModelConfig, vocabulary: int, pretrained: PretrainedEmbeddings | None
) -> LanguageModel:
    """The trained model of a run's ``model.safetensors``, joined with the frozen tables that it leaves out.

    Raises :class:`StudyError` when it was trained with other tables.
    """
    with safe_open(path, framework="pt") as file:
        metadata, state = file.metadata() or {}, {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    if metadata.get(FROZEN) != (pretrained.sha256 if pretrained else None):
        raise StudyError(f"{path}: trained with other embeddings than those given; run `dvc repro`")
    model = build_model(config, vocabulary, pretrained)
    model.load_state_dict(state)
    return model


def count_parameters(model: LanguageModel) -> dict[str, int]:
    """Parameters in all (tied ones once), those an optimizer updates, embeddings, attention projections.

    Frozen tables, though buffers to PyTorch, are parameters of the model.
    """

    def size(module: nn.Module) -> int:
        return sum(weight.numel() for weight in chain(module.parameters(), module.buffers()))

    tables = [module for module in model.modules() if isinstance(module, nn.Embedding | FrozenEmbedding)]
    attentions = [module for module in model.modules() if isinstance(module, CausalSelfAttention)]
    return {
        "parameters": size(model),
        "trainable_parameters": sum(p.numel() for p in model.parameters() if p.requires_grad),
        "embedding_parameters": sum(map(size, tables)),
        "attention_parameters": sum(map(size, attentions)),
    }


def step_operations(config: ModelConfig, vocabulary: int, tokens: int, frozen_table: bool) -> dict[str, float]:
    """Floating-point operations of matrix products, forward and backward, for ``tokens`` predicted tokens.

    A product with a trained weight costs three times its forward pass. With a frozen table the projection has no
    weight's gradient, and the body's first product none of its input's: these cost twice.
    """
    projection = (2 if frozen_table else 3) * 2 * tokens * config.width * vocabulary
    of_body = entry(config.architecture).operations(config)
    body = 2.0 * tokens * (3 * of_body.deeper + (2 if frozen_table else 3) * of_body.from_table)
    return {"projection": float(projection), "body": body}
