"""What a run would take, from shapes alone, before anything is trained."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from lm.config.run import RunConfig
from lm.models.build import build_model, count_parameters, step_operations
from lm.training.memory_model import predict_memory


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """``memory`` is :func:`predict_memory`'s, MiB by purpose; ``epoch_operations`` are floating-point operations."""

    config: RunConfig
    parameters: int
    trainable_parameters: int
    memory: dict[str, float]
    epoch_operations: float

    @property
    def memory_mb(self) -> float:
        return sum(self.memory.values())

    def hours(self, rate: float) -> float:
        """Of training alone, all epochs, at so many floating-point operations a second."""
        return self.config.training.epochs * self.epoch_operations / rate / 3600


def predict_run(config: RunConfig, vocabulary: int, train_tokens: int, device: str, precision: str) -> Prediction:
    """For ``train_tokens`` predicted tokens an epoch, on ``device`` (cpu or cuda) in a resolved ``precision``."""
    with torch.device("meta"):
        model = build_model(config.model, vocabulary)
    counts = count_parameters(model)
    frozen = not model.embedding.weight.requires_grad
    return Prediction(
        config=config,
        parameters=counts["parameters"],
        trainable_parameters=counts["trainable_parameters"],
        memory=predict_memory(config, model, vocabulary, device, precision),
        epoch_operations=sum(step_operations(config.model, vocabulary, train_tokens, frozen).values()),
    )
