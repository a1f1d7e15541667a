"""``params.yaml``: its schema, its validation and its resolution into run configurations.

DVC itself lets an unknown key pass without effect. A study whose ``weight_dcay`` was silently ignored is worse
than one that stops, so everything unknown, ill-typed, out of range or contradictory stops here, in one line.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError, field_validator, model_validator

from lm.config.architectures import ARCHITECTURES, all_sizes, some_settings
from lm.config.optimizers import OPTIMIZERS, all_keys
from lm.config.run import (
    BatchSize,
    Clip,
    ComputeConfig,
    Context,
    Device,
    Embeddings,
    Epochs,
    Layers,
    ModelConfig,
    Norm,
    OptimizerConfig,
    PartBelowOne,
    Patience,
    Precision,
    RunConfig,
    ScheduleName,
    Shards,
    Share,
    Size,
    Threads,
    TrainingConfig,
    TrainSample,
    check_divisors,
    known_architecture,
    known_optimizer,
)
from lm.config.strict import Strict, did_you_mean, explain, one_line, unknown
from lm.config.yaml import read_yaml
from lm.errors import StudyError

PARAMS = Path("params.yaml")
GPT1_VOCABULARY = 40_479
"""GPT-1's 40,478 entries and the padding that the study put before them."""
GPT1_WIDTH = 768
GPT1_CONTEXT = 512
"""Positions that GPT-1's release has."""
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.]{0,63}")
_SCALE = re.compile(r"[A-Za-z0-9_-]{1,64}")
"""DVC takes a scale's settings by a path with its name, ``scales.laptop.tokenizer``: a dot or bracket would part it."""


class TokenizerSettings(Strict):
    """How text becomes tokens: with the context, the part of a scale that the tokenize stage depends on."""

    kind: Literal["bpe", "gpt1"]
    vocabulary: Annotated[int, Field(ge=257, le=2**20)]
    train_share: Annotated[float, Field(gt=0.0, le=1.0)]
    held_out_share: Annotated[float, Field(gt=0.0, le=1.0)]

    @model_validator(mode="after")
    def _gpt1_has_one_vocabulary(self) -> TokenizerSettings:
        if self.kind == "gpt1" and self.vocabulary != GPT1_VOCABULARY:
            raise ValueError(
                f"kind gpt1 has a vocabulary of {GPT1_VOCABULARY}, padding included, not {self.vocabulary}"
            )
        return self


class Scale(Strict, extra="allow"):
    """Sizes of a study, from a smoke test to the reference: these, and those of the architectures."""

    __pydantic_extra__: dict[str, Size]

    tokenizer: TokenizerSettings
    context: Context
    width: Size
    embeddings: Embeddings
    batch: BatchSize
    epochs: Epochs
    train_sample: TrainSample
    precision: Precision

    @classmethod
    def known_keys(cls) -> tuple[str, ...]:
        return (*cls.model_fields, *all_sizes())

    @property
    def sizes(self) -> dict[str, int]:
        """The architectures' own sizes, by name."""
        return dict(self.__pydantic_extra__)

    @model_validator(mode="after")
    def _what_divides_the_width_does(self) -> Scale:
        divisors = {name for each in ARCHITECTURES.values() for name in each.divide_width}
        check_divisors(self.width, {name: size for name, size in self.sizes.items() if name in divisors})
        return self

    @model_validator(mode="after")
    def _pretrained_embeddings_fit(self) -> Scale:
        if self.embeddings == "gpt1":
            if self.tokenizer.kind != "gpt1":
                raise ValueError("embeddings gpt1 belong to the ids of tokenizer kind gpt1; set that, or learned")
            if self.width != GPT1_WIDTH or self.context > GPT1_CONTEXT:
                raise ValueError(
                    f"embeddings gpt1 are {GPT1_WIDTH} wide with {GPT1_CONTEXT} positions; "
                    f"width {self.width} and context {self.context} do not fit them"
                )
        return self


class GPT1Files(Strict):
    """Where the files of GPT-1's release are; what is null is downloaded once."""

    tokenizer: Annotated[str, Field(min_length=1)] | None
    embeddings: Annotated[str, Field(min_length=1)] | None


class Remedies(Strict):
    """``training:``, and in an experiment's line what differs from it. The defaults are the original study's."""

    norm: Norm = "post"
    warmup: Share = 0.0
    schedule: ScheduleName = "constant"
    clip: Clip | None = None
    dropout: PartBelowOne = 0.0
    label_smoothing: PartBelowOne = 0.0
    patience: Patience | None = None
    shards: Shards = 1

    def named(self) -> dict[str, Any]:
        """Those that are written down, by name."""
        return {name: getattr(self, name) for name in Remedies.model_fields if name in self.model_fields_set}


class Experiment(Remedies, extra="allow"):
    """One row of the study: an architecture, its depth, an optimizer, and what is its own.

    Without ``optimizer`` it takes the study's ``optim``. ``of`` names the experiment whose line it took over. Sizes and
    hyperparameters of its own are checked with the configuration that they end in.
    """

    __pydantic_extra__: dict[str, Any]

    model: str
    layers: Layers
    optimizer: str | None = None
    epochs: Epochs | None = None
    of: str | None = None

    @classmethod
    def known_keys(cls) -> tuple[str, ...]:
        return (*cls.model_fields, *all_keys(), *all_sizes())

    @property
    def own(self) -> dict[str, Any]:
        """Sizes and hyperparameters in the line, unchecked, by name."""
        return dict(self.__pydantic_extra__)

    @field_validator("model")
    @classmethod
    def _architecture_is_known(cls, name: str) -> str:
        return known_architecture(name)

    @field_validator("optimizer")
    @classmethod
    def _optimizer_is_known(cls, name: str | None) -> str | None:
        return name if name is None else known_optimizer(name)


class Split(Strict):
    """Which documents are trained on, validated with, tested with.

    Without ``folds`` the corpus's own split. With them its training and validation documents are dealt to that many
    folds by a hash; the one counted ``fold`` from 0 serves as validation. The test split is the corpus's own.
    """

    folds: Annotated[int, Field(ge=2, le=100)] | None = None
    fold: Annotated[int, Field(ge=0)] = 0

    @model_validator(mode="before")
    @classmethod
    def _own(cls, content: Any) -> Any:
        return {} if content == "own" else content

    @model_validator(mode="after")
    def _fold_is_one_of_them(self) -> Split:
        if self.folds is None and self.fold != 0:
            raise ValueError(
                f"fold {self.fold} without folds; set folds, 2 to 100, or fold 0 for the corpus's own split"
            )
        if self.folds is not None and self.fold >= self.folds:
            raise ValueError(f"fold {self.fold} of {self.folds} folds; allowed: 0 to {self.folds - 1}")
        return self


class Study(Strict):
    corpus: Annotated[str, Field(min_length=1, max_length=4096)]
    split: Split
    scale: str
    optim: str
    seeds: Annotated[list[Annotated[int, Field(ge=0, lt=2**31)]], Field(min_length=1)]
    device: Device
    threads: Threads
    compile: bool
    training: Remedies = Remedies()
    experiments: Annotated[dict[str, Experiment], Field(min_length=1)]
    scales: Annotated[dict[str, Scale], Field(min_length=1)]
    gpt1: GPT1Files
    optimizers: dict[str, OptimizerConfig]

    @field_validator("optim")
    @classmethod
    def _optim_is_known(cls, name: str) -> str:
        return known_optimizer(name)

    @field_validator("optimizers", mode="before")
    @classmethod
    def _settings_know_their_optimizer(cls, content: Any) -> Any:
        if not isinstance(content, dict):
            return content
        for name, settings in content.items():
            if isinstance(name, str) and name not in OPTIMIZERS:
                raise unknown(name, name, OPTIMIZERS, "unknown optimizer")
            if isinstance(settings, dict) and "name" in settings:
                raise unknown(f"{name}.name", "name", all_keys(), f"unknown key (value {settings['name']!r})")
        return {
            name: {**settings, "name": name} if isinstance(settings, dict) else settings
            for name, settings in content.items()
        }

    def optimizer_of(self, experiment: str) -> str:
        return self.experiments[experiment].optimizer or self.optim

    def resolve(self) -> dict[str, RunConfig]:
        """Everything each experiment needs, by experiment id; ``device`` and ``precision`` as they are written.

        Raises :class:`StudyError`, which does not name the file, for a configuration that contradicts itself.
        :func:`load_study` has seen to it that none of the study's own scale does.
        """
        return {name: self._resolve(name) for name in self.experiments}

    def _resolve(self, name: str) -> RunConfig:
        line, scale = self.experiments[name], self.scales[self.scale]
        remedies = {**self.training.model_dump(), **line.named()}
        epochs, patience = line.epochs or scale.epochs, remedies["patience"]
        if patience is not None and patience >= epochs:
            key = f"experiments.{name}.patience" if "patience" in line.named() else "training.patience"
            allowed = f"1 to {epochs - 1}, null" if epochs > 1 else "null"
            raise StudyError(f"{key}: {patience} never ends experiment {name}, of {epochs} epochs; allowed: {allowed}")
        return RunConfig(
            experiment=name,
            model=self._model(name, remedies),
            optimizer=self._optimizer(name),
            training=TrainingConfig.model_validate(
                {
                    "batch": scale.batch,
                    "epochs": epochs,
                    "train_sample": scale.train_sample,
                    **{key: value for key, value in remedies.items() if key in TrainingConfig.model_fields},
                }
            ),
            compute=ComputeConfig(
                device=self.device, precision=scale.precision, threads=self.threads, compile=self.compile
            ),
        )

    def _model(self, name: str, remedies: dict[str, Any]) -> ModelConfig:
        line, scale = self.experiments[name], self.scales[self.scale]
        entry = ARCHITECTURES[line.model]
        for setting in line.named():
            if setting in some_settings() and setting not in entry.settings:
                raise StudyError(f"experiments.{name}.{setting}: {line.model} has none")
        sizes = {size: scale.sizes[size] for size in entry.sizes if size in scale.sizes}
        sizes |= {key: value for key, value in line.own.items() if key in all_sizes()}
        for size in entry.sizes:
            if size not in sizes:
                raise StudyError(f"scales.{self.scale}.{size}: missing; experiments.{name} ({line.model}) takes it")
        content = {
            "architecture": line.model,
            "layers": line.layers,
            "context": scale.context,
            "width": scale.width,
            "embeddings": scale.embeddings,
            **{setting: remedies[setting] for setting in ("dropout", *entry.settings)},
            **sizes,
        }
        try:
            return ModelConfig.model_validate(content)
        except ValidationError as error:
            raise StudyError(explain(error, names=("experiments", name))) from None

    def _optimizer(self, name: str) -> OptimizerConfig:
        optimizer = self.optimizer_of(name)
        if optimizer not in self.optimizers:
            raise StudyError(
                f"experiments.{name}: optimizer '{optimizer}' has no settings; "
                f"optimizers has: {', '.join(self.optimizers)}"
            )
        own = {key: value for key, value in self.experiments[name].own.items() if key in all_keys()}
        try:
            return OptimizerConfig.model_validate(self.optimizers[optimizer].model_dump() | own)
        except ValidationError as error:
            raise StudyError(explain(error, names=("experiments", name))) from None


def load_study(path: Path = PARAMS) -> Study:
    """Read and check the whole file.

    Raises :class:`StudyError`, one line naming key, value and what is allowed, for the first problem found.
    """
    content = read_yaml(path)
    if not isinstance(content, dict):
        raise StudyError(f"{path}: expected a mapping of settings, found {type(content).__name__}")
    try:
        study = Study.model_validate(content | {"experiments": _taken_over(content.get("experiments"))})
        _check_references(study)
    except ValidationError as error:
        raise StudyError(f"{path}: {explain(error)}") from None
    except StudyError as error:
        raise StudyError(f"{path}: {error}") from None
    return study


def _taken_over(experiments: object) -> object:
    """The lines of ``experiments``, each completed by the one that its ``of`` names, and that by its own.

    What is not a line is left to the schema. Raises :class:`StudyError` for an ``of`` that leads nowhere or round.
    """
    if not isinstance(experiments, dict):
        return experiments
    return {name: _completed(name, experiments) for name in experiments}


def _completed(name: object, experiments: dict[object, object]) -> object:
    way, lines = [name], [experiments[name]]
    while isinstance(line := lines[-1], dict) and line.get("of") is not None:
        of = line["of"]
        key = f"experiments.{one_line(way[-1])}.of"
        if not isinstance(of, str):
            raise StudyError(f"{key}: {of!r}: an id must be text; put it in quotes")
        if of not in experiments:
            raise StudyError(f"{key}: no experiment '{one_line(of)}'; {did_you_mean(of, map(str, experiments))}")
        if of in way:
            raise StudyError(f"{key}: leads in a circle: {' of '.join(one_line(each) for each in [*way, of])}")
        way.append(of)
        lines.append(experiments[of])
    if not all(isinstance(line, dict) for line in lines):
        return lines[0]
    return {key: value for line in reversed(lines) if isinstance(line, dict) for key, value in line.items()}


def _check_references(study: Study) -> None:
    if study.scale not in study.scales:
        raise StudyError(f"scale: unknown scale '{one_line(study.scale)}'; {did_you_mean(study.scale, study.scales)}")
    if len(set(study.seeds)) < len(study.seeds):
        raise StudyError(f"seeds: {study.seeds} holds a seed twice; each may stand once")
    for key, names, pattern, mark in (
        ("experiments: id", study.experiments, _ID, "."),
        ("scales: name", study.scales, _SCALE, "-"),
    ):
        for name in names:
            if not pattern.fullmatch(name):
                raise StudyError(f"{key} '{one_line(name)}' is not allowed; use letters, digits, '_' and '{mark}'")
    seen: dict[str, str] = {}
    for name, config in study.resolve().items():
        same = config.model_copy(update={"experiment": ""}).to_json()
        if same in seen:
            raise StudyError(
                f"experiments.{name}: the same configuration as experiments.{seen[same]} "
                f"({config.model.architecture}, layers {config.model.layers}, {config.optimizer.name})"
            )
        seen[same] = name
