"""``params.yaml``: its schema, its validation and its resolution into run configurations.

DVC itself lets an unknown key pass without effect. A study whose ``weight_dcay`` was silently ignored is worse
than one that stops, so everything unknown, ill-typed, out of range or contradictory stops here, in one line.
"""

from __future__ import annotations

import difflib
import re
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import Field, PositiveInt, ValidationError, model_validator
from ruamel.yaml import YAML
from ruamel.yaml.constructor import DuplicateKeyError
from ruamel.yaml.error import YAMLError

from lm.config.run import (
    Architecture,
    ComputeConfig,
    Device,
    Embeddings,
    ModelConfig,
    OptimizerConfig,
    OptimizerName,
    OptimizerSettings,
    Precision,
    RunConfig,
    Strict,
    TrainingConfig,
)
from lm.errors import StudyError

PARAMS = Path("params.yaml")
GPT1_VOCABULARY = 40_479
"""GPT-1's 40,478 entries and the padding that the study put before them."""
GPT1_WIDTH = 768
GPT1_CONTEXT = 512
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.]*")


class TokenizerSettings(Strict):
    """How text becomes tokens; the only part of a scale that the tokenize stage depends on."""

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


class Scale(Strict):
    """Sizes of a study: from a smoke test to the reference."""

    tokenizer: TokenizerSettings
    context: PositiveInt
    width: PositiveInt
    lstm_hidden: PositiveInt
    heads: PositiveInt
    mlp: PositiveInt
    embeddings: Embeddings
    batch: PositiveInt
    epochs: PositiveInt
    train_sample: PositiveInt
    precision: Precision

    @model_validator(mode="after")
    def _heads_divide_width(self) -> Scale:
        if self.width % self.heads:
            raise ValueError(f"width {self.width} is not divisible by heads {self.heads}")
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


class Experiment(Strict):
    """One row of the study. Without ``optimizer`` it takes the study's ``optim``."""

    model: Architecture
    layers: PositiveInt
    optimizer: OptimizerName | None = None


class Split(Strict):
    """The corpus's own split, or fold ``fold`` of so many ``folds`` for validation."""

    folds: Annotated[int, Field(ge=2, le=100)] | None = None
    fold: Annotated[int, Field(ge=0)] = 0

    @model_validator(mode="after")
    def _fold_is_one_of_them(self) -> Split:
        if self.fold >= (self.folds or 1):
            raise ValueError(f"fold {self.fold} is not below folds {self.folds}")
        return self


class Study(Strict):
    corpus: Annotated[str, Field(min_length=1)]
    split: Split = Split()
    scale: str
    optim: OptimizerName
    seeds: Annotated[list[Annotated[int, Field(ge=0, lt=2**31)]], Field(min_length=1)]
    device: Device
    threads: PositiveInt
    compile: bool
    experiments: Annotated[dict[str, Experiment], Field(min_length=1)]
    scales: Annotated[dict[str, Scale], Field(min_length=1)]
    gpt1: GPT1Files
    optimizers: dict[OptimizerName, OptimizerSettings]

    def optimizer_of(self, experiment: str) -> OptimizerName:
        return self.experiments[experiment].optimizer or self.optim

    def resolve(self) -> dict[str, RunConfig]:
        """Everything each experiment needs, by experiment id."""
        return {name: self._resolve(name) for name in self.experiments}

    def _resolve(self, name: str) -> RunConfig:
        experiment, scale = self.experiments[name], self.scales[self.scale]
        lstm = experiment.model == "lstm"
        optimizer = self.optimizer_of(name)
        return RunConfig(
            experiment=name,
            model=ModelConfig(
                architecture=experiment.model,
                layers=experiment.layers,
                context=scale.context,
                width=scale.width,
                lstm_hidden=scale.lstm_hidden if lstm else None,
                heads=None if lstm else scale.heads,
                mlp=None if lstm else scale.mlp,
                embeddings=scale.embeddings,
            ),
            optimizer=OptimizerConfig(name=optimizer, **self.optimizers[optimizer].model_dump()),
            training=TrainingConfig(batch=scale.batch, epochs=scale.epochs, train_sample=scale.train_sample),
            compute=ComputeConfig(
                device=self.device,
                precision=scale.precision,
                threads=self.threads,
                compile=self.compile,
            ),
        )


def load_study(path: Path = PARAMS) -> Study:
    """Read and check the whole file.

    Raises :class:`StudyError`, one line naming key, value and what is allowed, for the first problem found.
    """
    try:
        # the parser and the YAML version that DVC itself uses: 1e-3 is a number, a key given twice is an error
        content = YAML(typ="safe", pure=True).load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise StudyError(f"{path}: no such file; run from the project's root") from None
    except UnicodeDecodeError:
        raise StudyError(f"{path}: not UTF-8 text") from None
    except DuplicateKeyError as error:
        line = error.problem_mark.line + 1
        raise StudyError(f"{path}: line {line}: {error.problem.splitlines()[0]}; each key may stand once") from None
    except YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f" at line {mark.line + 1}" if mark else ""
        raise StudyError(f"{path}: not YAML{where}: {getattr(error, 'problem', error)}") from None
    if not isinstance(content, dict):
        raise StudyError(f"{path}: expected a mapping of settings, found {type(content).__name__}")
    try:
        study = Study.model_validate(content)
    except ValidationError as error:
        raise StudyError(f"{path}: {_explain(error)}") from None
    _check_references(study, path)
    return study


def _check_references(study: Study, path: Path) -> None:
    if study.scale not in study.scales:
        raise StudyError(f"{path}: scale: unknown scale '{study.scale}'; allowed: {', '.join(study.scales)}")
    if len(set(study.seeds)) < len(study.seeds):
        raise StudyError(f"{path}: seeds: {study.seeds} holds a seed twice; each may stand once")
    seen: dict[tuple, str] = {}
    for name, experiment in study.experiments.items():
        if not _ID.fullmatch(name):
            raise StudyError(f"{path}: experiments: id '{name}' is not allowed; use letters, digits, '_' and '.'")
        optimizer = study.optimizer_of(name)
        if optimizer not in study.optimizers:
            raise StudyError(
                f"{path}: experiments.{name}: optimizer '{optimizer}' has no settings; "
                f"optimizers has: {', '.join(study.optimizers)}"
            )
        key = (experiment.model, experiment.layers, optimizer)
        if key in seen:
            raise StudyError(
                f"{path}: experiments.{name}: the same configuration as experiments.{seen[key]} "
                f"({experiment.model}, layers {experiment.layers}, {optimizer})"
            )
        seen[key] = name


def _explain(error: ValidationError) -> str:
    """One of pydantic's errors as a line: the key, the value, what is allowed."""
    # a misspelled key is also a missing one: the misspelling is what helps
    problem: dict[str, Any] = min(error.errors(), key=lambda each: each["type"] != "extra_forbidden")
    location = [str(part) for part in problem["loc"] if part != "[key]"]
    key, kind, value = ".".join(location), problem["type"], problem.get("input")
    if kind == "extra_forbidden":
        known = _known_keys(location[:-1])
        close = difflib.get_close_matches(location[-1], known, n=1)
        hint = f"did you mean '{close[0]}'? " if close else ""
        return f"{key}: unknown key (value {value!r}); {hint}allowed: {', '.join(known)}"
    if kind == "missing":
        return f"{key}: missing; it has no default"
    if "[key]" in problem["loc"] and location[:1] == ["optimizers"]:
        return f"{key}: unknown optimizer; allowed: {', '.join(get_args(OptimizerName))}"
    if kind == "string_type" and location[:1] == ["experiments"]:
        return f"experiments: id {value!r} must be text; put it in quotes"
    message = problem["msg"].removeprefix("Value error, ")
    shown = "" if isinstance(value, dict) else f"{value!r}: "
    return f"{key}: {shown}{message[0].lower()}{message[1:]}"


def _known_keys(location: list[str]) -> list[str]:
    models = {"experiments": Experiment, "scales": Scale, "optimizers": OptimizerSettings, "gpt1": GPT1Files}
    model = models.get(location[0]) if location else Study
    if location[-1:] == ["tokenizer"]:
        model = TokenizerSettings
    return list(model.model_fields) if model else []
