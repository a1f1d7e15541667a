"""What one training run needs to know, resolved: the content of ``configs/<experiment>.json``.

It holds nothing else, so that a run is trained again only when something that concerns it has changed.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    NonNegativeFloat,
    PositiveFloat,
    PositiveInt,
    ValidationError,
    model_validator,
)

from lm.errors import StudyError

Architecture = Literal["lstm", "gpt"]
OptimizerName = Literal["adam", "adamw", "sgd", "momentum"]
Device = Literal["auto", "cpu", "cuda"]
Precision = Literal["auto", "fp32", "tf32", "bf16", "fp16"]
Embeddings = Literal["learned", "gpt1"]


class Strict(BaseModel):
    """Unknown keys, coerced types and non-finite numbers are errors: a typo must never pass for a setting."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)


class ModelConfig(Strict):
    """Shapes of a language model. ``width`` is the embedding size, for GPT the residual width too."""

    architecture: Architecture
    layers: PositiveInt
    context: PositiveInt
    width: PositiveInt
    lstm_hidden: PositiveInt | None = None
    heads: PositiveInt | None = None
    mlp: PositiveInt | None = None
    embeddings: Embeddings = "learned"

    @model_validator(mode="after")
    def _heads_divide_width(self) -> ModelConfig:
        if self.heads is not None and self.width % self.heads:
            raise ValueError(f"width {self.width} is not divisible by heads {self.heads}")
        return self


class OptimizerSettings(Strict):
    """Hyperparameters of one optimizer; everything not named here is PyTorch's default."""

    lr: PositiveFloat
    weight_decay: NonNegativeFloat = 0.0
    momentum: float = Field(default=0.0, ge=0.0, lt=1.0)


class OptimizerConfig(OptimizerSettings):
    name: OptimizerName


class TrainingConfig(Strict):
    """How long and on what."""

    batch: PositiveInt
    epochs: PositiveInt
    train_sample: PositiveInt = Field(description="training windows scored in evaluation mode after each epoch")


class ComputeConfig(Strict):
    """Where and in which number format. ``auto`` takes what the hardware does natively."""

    device: Device
    precision: Precision
    threads: PositiveInt
    compile: bool = False


class RunConfig(Strict):
    experiment: str
    model: ModelConfig
    optimizer: OptimizerConfig
    training: TrainingConfig
    compute: ComputeConfig

    @classmethod
    def read(cls, path: Path) -> RunConfig:
        """Read a resolved configuration; raises :class:`StudyError` when the file is missing or not one."""
        try:
            return cls.model_validate_json(path.read_bytes())
        except FileNotFoundError:
            raise StudyError(f"{path}: no such file; run `dvc repro configure`") from None
        except ValidationError as error:
            raise StudyError(f"{path}: not a run configuration ({error.errors()[0]['msg']})") from None
