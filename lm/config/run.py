"""What one training run needs to know, resolved: the content of ``configs/<experiment>.json``.

It holds nothing else, so that a run is trained again only when something that concerns it has changed. Settings at
their default are left out of the file: a setting that comes later, at its default, retrains nothing.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, ConfigDict, Field, ValidationError, field_validator, model_validator

from lm.config.architectures import ARCHITECTURES, all_sizes
from lm.config.optimizers import OPTIMIZERS, all_keys
from lm.config.strict import Strict, explain, misplaced, unknown
from lm.errors import StudyError

Device = Literal["auto", "cpu", "cuda"]
Precision = Literal["auto", "fp32", "tf32", "bf16", "fp16"]
Embeddings = Literal["learned", "gpt1"]
Norm = Literal["post", "pre"]
ScheduleName = Literal["constant", "cosine", "wsd", "plateau"]

Layers = Annotated[int, Field(gt=0, le=256)]
Context = Annotated[int, Field(gt=0, le=2**16)]
Size = Annotated[int, Field(gt=0, le=2**17)]
"""A width; the largest that a mistyped file may ask for before anybody wonders where the memory went."""
BatchSize = Annotated[int, Field(gt=0, le=2**16)]
Epochs = Annotated[int, Field(gt=0, le=10_000)]
TrainSample = Annotated[int, Field(gt=0, le=2**20)]
Threads = Annotated[int, Field(gt=0, le=256)]
Rate = Annotated[float, Field(gt=0.0, le=1000.0)]
Share = Annotated[float, Field(ge=0.0, le=1.0)]
PartBelowOne = Annotated[float, Field(ge=0.0, lt=1.0)]
Clip = Annotated[float, Field(gt=0.0)]
Patience = Annotated[int, Field(gt=0)]


def _power_of_two(number: int) -> int:
    if number & (number - 1):
        raise ValueError("not a power of two; allowed: 1, 2, 4, 8, 16, 32, 64")
    return number


Shards = Annotated[int, Field(gt=0, le=64), AfterValidator(_power_of_two)]


class ModelConfig(Strict):
    """Shapes of a language model. ``width`` is the embedding size, for GPT the residual width too.

    Beside these fields stand the sizes that the architecture's entry names, and no other: ``sizes`` has them.
    """

    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[str, Size]

    architecture: str
    layers: Layers
    context: Context
    width: Size
    embeddings: Embeddings = "learned"
    norm: Norm = "post"
    dropout: PartBelowOne = 0.0

    @classmethod
    def known_keys(cls) -> tuple[str, ...]:
        return (*cls.model_fields, *all_sizes())

    @property
    def sizes(self) -> dict[str, int]:
        """The architecture's own sizes, by name."""
        return dict(self.__pydantic_extra__)

    @field_validator("architecture")
    @classmethod
    def _architecture_is_known(cls, name: str) -> str:
        return known_architecture(name)

    @model_validator(mode="after")
    def _is_the_architectures(self) -> ModelConfig:
        entry = ARCHITECTURES[self.architecture]
        for size in self.sizes:
            if size not in entry.sizes:
                raise misplaced(size, f"{self.architecture} has none; its sizes are: {', '.join(entry.sizes)}")
        for size in entry.sizes:
            if size not in self.sizes:
                raise misplaced(size, f"missing; {self.architecture} takes it")
        check_divisors(self.width, {size: self.sizes[size] for size in entry.divide_width})
        if self.norm != "post" and "norm" not in entry.settings:
            raise misplaced("norm", f"{self.architecture} has none to place")
        return self


def known_architecture(name: str) -> str:
    if name not in ARCHITECTURES:
        raise unknown(None, name, ARCHITECTURES, f"unknown architecture '{name}'")
    return name


def known_optimizer(name: str) -> str:
    if name not in OPTIMIZERS:
        raise unknown(None, name, OPTIMIZERS, f"unknown optimizer '{name}'")
    return name


def check_divisors(width: int, sizes: dict[str, int]) -> None:
    """Raises :class:`ValueError` where one of ``sizes`` does not divide the width."""
    for name, size in sizes.items():
        if width % size:
            raise ValueError(f"width {width} is not divisible by {name} {size}")


class OptimizerConfig(Strict):
    """One optimizer's hyperparameters: ``lr``, and of the others those that its entry takes.

    One that is at its default is not held, so that naming it changes no run; ``get`` knows it all the same.
    """

    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[str, float]

    name: str
    lr: Rate

    @classmethod
    def known_keys(cls) -> tuple[str, ...]:
        return ("name", *all_keys())

    def get(self, key: str) -> float | None:
        """``weight_decay``, ``momentum``, …; its default where it is not given, None where the optimizer has none."""
        return self.settings.get(key)

    @property
    def settings(self) -> dict[str, float]:
        """Every hyperparameter that the optimizer takes beside ``lr``, those at their default too."""
        found = {}
        for key, number in OPTIMIZERS[self.name].takes.items():
            value = self.__pydantic_extra__.get(key, number.default)
            assert value is not None, "validation let nothing pass that must be given"
            found[key] = value
        return found

    @field_validator("name")
    @classmethod
    def _optimizer_is_known(cls, name: str) -> str:
        return known_optimizer(name)

    @model_validator(mode="after")
    def _is_the_optimizers(self) -> OptimizerConfig:
        takes, given = OPTIMIZERS[self.name].takes, self.__pydantic_extra__
        for key, value in given.items():
            if key not in takes:
                raise misplaced(key, f"{self.name} takes none; it takes: {', '.join(['lr', *takes])}")
            refused = takes[key].refuses(value)
            if refused:
                raise misplaced(key, f"{value!r}: input {refused}")
        for key, number in takes.items():
            if number.default is None and key not in given:
                raise misplaced(key, f"missing; {self.name} takes it and it has no default")
        for key in [key for key, value in given.items() if value == takes[key].default]:
            del given[key]
        return self


class TrainingConfig(Strict):
    """How long, on what, and with which remedies. The defaults are the original study's."""

    batch: BatchSize
    epochs: Epochs
    train_sample: TrainSample = Field(description="training windows scored in evaluation mode after each epoch")
    warmup: Share = Field(default=0.0, description="share of all steps over which the learning rate rises linearly")
    schedule: ScheduleName = "constant"
    clip: Clip | None = Field(default=None, description="norm that the gradients are clipped to")
    label_smoothing: PartBelowOne = 0.0
    patience: Patience | None = Field(
        default=None, description="epochs without a better validation loss that end a run"
    )
    shards: Shards = Field(default=1, description="slices of a batch whose gradients are added in a fixed order")


class ComputeConfig(Strict):
    """Where and in which number format. ``auto``, what the hardware does natively, is resolved by ``configure``."""

    device: Device
    precision: Precision
    threads: Threads
    compile: bool = False


class RunConfig(Strict):
    experiment: str
    model: ModelConfig
    optimizer: OptimizerConfig
    training: TrainingConfig
    compute: ComputeConfig

    def to_json(self) -> str:
        """The file's content, settings at their default left out: also what a fingerprint of a run is to be made of."""
        return self.model_dump_json(indent=2, exclude_defaults=True) + "\n"

    @classmethod
    def read(cls, path: Path) -> RunConfig:
        """Read a resolved configuration; raises :class:`StudyError` when the file is missing or not one."""
        try:
            return cls.model_validate_json(path.read_bytes())
        except FileNotFoundError:
            raise StudyError(f"{path}: no such file; run `dvc repro configure`") from None
        except OSError as error:
            raise StudyError(f"{path}: cannot be read ({error.strerror})") from None
        except ValidationError as error:
            raise StudyError(f"{path}: not a run configuration ({explain(error)})") from None
