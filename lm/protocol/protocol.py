"""``controlled/protocol.yaml``: what the controlled study compares, at which rates, with which seeds.

The protocol is data. Everything that it declares is declared before anything runs; a typo in it stops here, in one
line, like one in ``params.yaml``.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, ValidationError, field_validator, model_validator

from lm.config.run import Rate, RunConfig, Threads
from lm.config.strict import Strict, did_you_mean, explain, misplaced, one_line
from lm.config.study import Experiment, Study
from lm.config.yaml import read_yaml
from lm.errors import StudyError

PROTOCOL = Path("controlled/protocol.yaml")
_NAME = re.compile(r"[a-z][a-z0-9_]{0,39}")

Seed = Annotated[int, Field(ge=0, lt=2**31)]


class Part(StrEnum):
    """The parts of the study; a question's comparisons stay within one."""

    RATES = "rates"
    """Optimizers at one layer, each at its own rate."""
    DEPTH = "depth"
    """Architectures at equal parameters of the body, at several depths."""
    REMEDIES = "remedies"
    """Treatments against the untreated arm that they name by ``of``."""


class Arm(Experiment):
    """A configuration without its learning rate: an experiment's line, and the rates that are tried.

    Either ``rates``, ascending, or ``times``: multiples of the rate that was chosen for the arm named by ``of``, whose
    line this one takes over. ``text`` trains on that many times the scale's share of the corpus.
    """

    part: Part
    rates: Annotated[list[Rate], Field(min_length=2)] | None = None
    times: Annotated[list[Annotated[float, Field(gt=0.0, le=1000.0)]], Field(min_length=1)] | None = None
    text: Annotated[int, Field(ge=1, le=1000)] = 1

    @field_validator("part", mode="before")
    @classmethod
    def _part_is_text(cls, part: Any) -> Any:
        return Part(part) if part in list(Part) else part

    @model_validator(mode="after")
    def _tries_rates(self) -> Arm:
        if (self.rates is None) == (self.times is None):
            raise ValueError("name either rates or times")
        if self.times is not None and self.of is None:
            raise misplaced("times", "multiples of another arm's rate; name that arm with of")
        tried = self.rates or self.times or []
        key = "rates" if self.rates else "times"
        if any(later <= earlier for earlier, later in itertools.pairwise(tried)):
            raise misplaced(key, f"{tried}: should be ascending, each once")
        if len(set(self.points)) < len(tried):
            raise misplaced(key, f"{tried}: should differ in their first six digits, by which trials are named")
        if "lr" in self.own:
            raise misplaced("lr", "an arm has none; its rates do")
        return self

    @property
    def line(self) -> dict[str, Any]:
        """The experiment's line, as ``params.yaml`` would have it."""
        return {
            key: value
            for key, value in self.model_dump(exclude_unset=True).items()
            if key not in ("part", "rates", "times", "text", "of")
        }

    @property
    def points(self) -> list[str]:
        """What its trials are called: the rate, or ``x3`` for three times the other arm's."""
        return [f"{rate:g}" for rate in self.rates] if self.rates else [f"x{times:g}" for times in self.times or []]


def beyond_point(number: int) -> str:
    """What the first, second, … trial beyond the winning edge of a grid is called."""
    return f"beyond{number}"


def trial_id(arm: str, point: str) -> str:
    """The experiment that a trial of an arm is; a confirmation's is the arm."""
    return f"{arm}_{point}"


class Protocol(Strict):
    """The whole study. ``beyond``: rates tried beyond an edge of a grid where the edge wins, half a decade apart."""

    tuning_seed: Seed
    seeds: Annotated[list[Seed], Field(min_length=2)]
    beyond: Annotated[int, Field(ge=0, le=10)]
    threads: Threads
    arms: Annotated[dict[str, Arm], Field(min_length=1)]

    def arm(self, name: str) -> Arm:
        """The arm of a name from the command line; raises :class:`StudyError` for one that the protocol has not."""
        if name not in self.arms:
            raise StudyError(f"{PROTOCOL}: no arm {one_line(repr(name))}; {did_you_mean(name, self.arms)}")
        return self.arms[name]

    def resolve(self, study: Study, arm: str, base_rate: float | None = None) -> dict[str, RunConfig]:
        """The configuration of each of an arm's trials, by point, under the scale and compute of ``params.yaml``.

        ``base_rate`` is the rate chosen for the arm that this one is a treatment of; needed where it has ``times``.
        Raises :class:`StudyError`, one line that names the file, for a line that contradicts itself.
        """
        own = self.arms[arm]
        if own.rates is not None:
            rates = own.rates
        elif base_rate is not None:
            rates = [float(f"{base_rate * times:.12g}") for times in own.times or []]
        else:
            raise ValueError(f"{arm} is tried at multiples of a rate that is not given")
        lines = {
            trial_id(arm, point): Experiment.model_validate(own.line | {"lr": rate})
            for point, rate in zip(own.points, rates, strict=True)
        }
        try:
            found = study.model_copy(update={"experiments": lines, "threads": self.threads}).resolve()
        except StudyError as error:
            raise StudyError(f"{PROTOCOL}: {_as_arm(str(error), lines, arm)}") from None
        return dict(zip(own.points, found.values(), strict=True))


def _as_arm(message: str, trials: Mapping[str, Any], arm: str) -> str:
    for trial in sorted(trials, key=len, reverse=True):  # one's name may begin another's
        message = message.replace(f"experiments.{trial}", f"arms.{arm}")
    return message


def load_protocol(path: Path = PROTOCOL) -> Protocol:
    """Read and check the protocol; raises :class:`StudyError`, one line, for the first problem found."""
    content = read_yaml(path)
    if not isinstance(content, dict):
        raise StudyError(f"{path}: expected a mapping of settings, found {type(content).__name__}")
    try:
        protocol = Protocol.model_validate(content | {"arms": _taken_over(content.get("arms"))})
        _check(protocol)
    except ValidationError as error:
        raise StudyError(f"{path}: {explain(error)}") from None
    except StudyError as error:
        raise StudyError(f"{path}: {error}") from None
    return protocol


def _taken_over(arms: object) -> object:
    """The arms, each completed by the line of the one that its ``of`` names; that one must stand alone."""
    if not isinstance(arms, dict):
        return arms
    completed = {}
    for name, arm in arms.items():
        of = arm.get("of") if isinstance(arm, dict) else None
        if of is None:
            completed[name] = arm
            continue
        key = f"arms.{one_line(name)}.of"
        if not isinstance(of, str) or of not in arms:
            raise StudyError(f"{key}: no arm '{one_line(of)}'; {did_you_mean(str(of), map(str, arms))}")
        base = arms[of]
        if not isinstance(base, dict) or base.get("of") is not None:
            raise StudyError(f"{key}: '{one_line(of)}' is itself the treatment of an arm; name an untreated one")
        taken = {key: value for key, value in base.items() if key not in ("part", "rates", "times", "text")}
        completed[name] = taken | arm
    return completed


def _check(protocol: Protocol) -> None:
    for name in protocol.arms:
        if not _NAME.fullmatch(name):
            raise StudyError(f"arms: name '{one_line(name)}' is not allowed; use small letters, digits and '_'")
    if len(set(protocol.seeds)) < len(protocol.seeds):
        raise StudyError(f"seeds: {protocol.seeds} holds a seed twice; each may stand once")
    if protocol.tuning_seed in protocol.seeds:
        raise StudyError(
            f"seeds: {protocol.tuning_seed} is the tuning seed; what chose the rates must not confirm them"
        )
    for name, arm in protocol.arms.items():
        if arm.optimizer is None:
            raise StudyError(f"arms.{name}.optimizer: missing; it has no default")
        beyond = range(1, protocol.beyond + 1) if arm.rates else ()
        for point in (*arm.points, *map(beyond_point, beyond)):
            if trial_id(name, point) in protocol.arms:
                raise StudyError(
                    f"arms.{trial_id(name, point)}: a trial of arm {name} is called so; rename one of them"
                )
