"""The original study's statements in our words, as data: ``reports/reference/claims.yaml``."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

from pydantic import Field, TypeAdapter, ValidationError

from lm.config.strict import Strict, explain, one_line
from lm.config.yaml import read_yaml
from lm.errors import StudyError


class Topic(StrEnum):
    """The question of the report that a statement stands under."""

    LEARNING = "learning"
    QUALITY = "quality"
    ARCHITECTURES = "architectures"
    OPTIMIZERS = "optimizers"
    DEPTH = "depth"
    TIME = "time"
    MEMORY = "memory"
    STOPPING = "stopping"
    REMEDIES = "remedies"


class By(StrEnum):
    """Which finding judges a statement; :mod:`lm.findings.original` has a line for each."""

    LOSS = "loss"
    """Best validation losses, two by two."""
    TRAINING = "training"
    """Running training losses of the last epoch, two by two."""
    TIME = "time"
    MEMORY = "memory"
    STOPPED = "stopped"
    """Times under early stopping, replayed."""
    STATE = "state"
    """How runs ended."""
    BEST = "best"
    CHOICE = "choice"
    """The run to take where time matters."""
    CAUSE = "cause"
    """Whether the optimizer's state explains a difference of memory."""
    STOPPING = "stopping"
    REMEDY = "remedy"
    LIMIT = "limit"
    """What no run of the study can tell."""


class Claim(Strict):
    """``answer``: its number in the source; ``says``: what it comes to, as the finding that judges it reads that."""

    topic: Annotated[Topic, Field(strict=False)]
    answer: Annotated[int, Field(ge=1)]
    by: Annotated[By, Field(strict=False)]
    says: Annotated[tuple[str, ...], Field(strict=False, min_length=1)]
    statement: Annotated[str, Field(min_length=1)]


_CLAIMS = TypeAdapter(tuple[Claim, ...])


def load_claims(path: Path) -> tuple[Claim, ...]:
    """The statements in their order; raises :class:`StudyError`, one line, for the first that is not one."""
    content = read_yaml(path)
    if not isinstance(content, list):
        raise StudyError(f"{path}: expected a list of statements, found {type(content).__name__}")
    try:
        return _CLAIMS.validate_python(tuple(content))
    except ValidationError as error:
        raise StudyError(f"{path}: statement {explain(error)}") from None


def refused(claim: Claim, says: str, why: str) -> StudyError:
    """The error for a statement whose ``says`` the finding that judges it cannot read."""
    return StudyError(f"claims.yaml: says: '{one_line(says)}' of '{one_line(claim.statement, 40)}': {why}")
