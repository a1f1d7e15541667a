"""Where and how runs are started: a profile's ``launch:`` section, with what the command line says on top."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, NonNegativeInt, PositiveInt, ValidationError

from lm.config.yaml import read_yaml
from lm.errors import StudyError


class Settings(BaseModel):
    """One place for runs: this machine, a Ray cluster, or SLURM. ``docs/scaling.md`` says what each needs."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    engine: Literal["ray", "slurm"] = "ray"
    jobs: PositiveInt | None = Field(default=None, description="runs at once; null: as many as there is room for")
    cores: PositiveInt | None = Field(default=None, description="cores a run on a cluster; null: its threads")
    gpus: NonNegativeInt | None = Field(default=None, description="GPUs a run; null: 1 where device is cuda")
    address: str | None = Field(default=None, description="of a Ray cluster; null: this machine")
    memory: str | None = Field(default=None, description="memory a run, as sbatch --mem takes it")
    time: str | None = Field(default=None, description="time limit of a run, as sbatch --time takes it")
    warning: Annotated[int, Field(ge=1)] = Field(default=60, description="seconds to save in before the time limit")
    preamble: str = Field(default="", description="shell lines at the head of every job: modules, variables")
    sbatch: list[str] = Field(default_factory=list, description="further options of sbatch: --partition=…")


def read_settings(profile: Path | None, given: dict[str, Any]) -> Settings:
    """The profile's settings; those ``given`` that are not None replace them.

    Raises :class:`StudyError` naming the file, the key and what is wrong with it.
    """
    content: Any = {}
    if profile is not None:
        content = read_yaml(profile, "--profile takes a YAML file with a section `launch:`")
        if not isinstance(content, dict) or set(content) != {"launch"} or not isinstance(content["launch"], dict):
            raise StudyError(f"{profile}: expected one section, `launch:`, with settings below it")
        content = content["launch"]
    try:
        return Settings.model_validate(content | {key: value for key, value in given.items() if value is not None})
    except ValidationError as error:
        problem = error.errors()[0]
        key = ".".join(str(part) for part in problem["loc"])
        allowed = f"; allowed: {', '.join(Settings.model_fields)}" if problem["type"] == "extra_forbidden" else ""
        source = profile or "launch"
        raise StudyError(f"{source}: launch.{key}: {problem['input']!r}: {problem['msg'].lower()}{allowed}") from None
