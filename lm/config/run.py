"""What one training run needs to know, resolved: the content of ``configs/<experiment>.json``.

It holds nothing else, so that a run is trained again only when something that concerns it has changed. Settings at
their default are left out of the file: a setting that comes later, at its default, retrains nothing.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_core import PydanticCustomError

from lm.config.architectures import ARCHITECTURES, all_sizes
from lm.config.optimizers import OPTIMIZERS, all_keys
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


class Strict(BaseModel):
    """Unknown keys, coerced types and non-finite numbers are errors: a typo must never pass for a setting."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)

    @classmethod
    def known_keys(cls) -> tuple[str, ...]:
        """What may stand in such a mapping: the fields, and in some classes what a registry names."""
        return tuple(cls.model_fields)

    @model_validator(mode="before")
    @classmethod
    def _no_unknown_keys(cls, content: Any) -> Any:
        known = cls.known_keys()
        for key in content if isinstance(content, dict) else ():
            if isinstance(key, str) and key not in known:
                # a misspelled key is also a missing one: the misspelling is what helps, so it comes first
                raise unknown(key, known, f"unknown key (value {content[key]!r})")
        return content


def unknown(key: str | None, known: Iterable[str], what: str) -> PydanticCustomError:
    """The error for a key, or (``key`` None) for a value, that is none of ``known``."""
    return PydanticCustomError("unknown", "{what}", {"key": key, "known": list(known), "what": what})


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """``did you mean 'gpt'? allowed: lstm, gpt``; the question only where something is close."""
    known = list(known)
    close = difflib.get_close_matches(word, known, n=1)
    return (f"did you mean '{close[0]}'? " if close else "") + f"allowed: {', '.join(known)}"


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
                raise _misplaced(size, f"{self.architecture} has none; its sizes are: {', '.join(entry.sizes)}")
        for size in entry.sizes:
            if size not in self.sizes:
                raise _misplaced(size, f"missing; {self.architecture} takes it")
        check_divisors(self.width, {size: self.sizes[size] for size in entry.divide_width})
        if self.norm != "post" and "norm" not in entry.settings:
            raise _misplaced("norm", f"{self.architecture} has none to place")
        return self


def known_architecture(name: str) -> str:
    if name not in ARCHITECTURES:
        raise unknown(None, ARCHITECTURES, f"unknown architecture '{name}'")
    return name


def known_optimizer(name: str) -> str:
    if name not in OPTIMIZERS:
        raise unknown(None, OPTIMIZERS, f"unknown optimizer '{name}'")
    return name


def check_divisors(width: int, sizes: dict[str, int]) -> None:
    """Raises :class:`ValueError` where one of ``sizes`` does not divide the width."""
    for name, size in sizes.items():
        if width % size:
            raise ValueError(f"width {width} is not divisible by {name} {size}")


def _misplaced(key: str, what: str) -> PydanticCustomError:
    return PydanticCustomError("misplaced", "{what}", {"key": key, "what": what})


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
                raise _misplaced(key, f"{self.name} takes none; it takes: {', '.join(['lr', *takes])}")
            refused = takes[key].refuses(value)
            if refused:
                raise _misplaced(key, f"{value!r}: input {refused}")
        for key, number in takes.items():
            if number.default is None and key not in given:
                raise _misplaced(key, f"missing; {self.name} takes it and it has no default")
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
    shards: Literal[1] = Field(default=1, description="parts that a batch is shared out in; one, so far")


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


def explain(error: ValidationError, *, names: Iterable[str] = ()) -> str:
    """The first of pydantic's errors as a line: the key, the value, what is allowed.

    ``names`` are put before the key.
    """
    problem = error.errors()[0]
    context, value = problem.get("ctx", {}), problem.get("input")
    location = [*names, *(str(part) for part in problem["loc"] if part != "[key]")]
    if problem["type"] in ("unknown", "misplaced") and context["key"] is not None:
        location.append(context["key"])
    key = ".".join(location) or "the file"
    if problem["type"] == "unknown":
        word = context["key"] if context["what"].startswith("unknown key") else str(value)
        return f"{key}: {context['what']}; {did_you_mean(word, context['known'])}"
    if problem["type"] == "misplaced":
        return f"{key}: {context['what']}"
    if problem["type"] == "missing":
        return f"{key}: missing; it has no default"
    message = problem["msg"].removeprefix("Value error, ")
    shown = "" if isinstance(value, dict) else f"{_short(value)}: "
    return f"{key}: {shown}{message[0].lower()}{message[1:]}"


def _short(value: object) -> str:
    shown = repr(value)
    return shown if len(shown) <= 80 else f"{shown[:77]}…"
