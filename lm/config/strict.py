"""What every mapping of settings has in common: nothing unknown passes, and every refusal is one line."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError, model_validator
from pydantic_core import PydanticCustomError


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
                raise unknown(key, key, known, f"unknown key (value {one_line(repr(content[key]))})")
        return content


def unknown(key: str | None, word: str, known: Iterable[str], what: str) -> PydanticCustomError:
    """The error for a ``word``, a key or (``key`` None) a value, that is none of ``known``."""
    return PydanticCustomError("unknown", "{what}", {"key": key, "word": word, "known": list(known), "what": what})


def misplaced(key: str, what: str) -> PydanticCustomError:
    """The error for a known key that stands where it cannot apply, or lacks, or has a value that it cannot have."""
    return PydanticCustomError("misplaced", "{what}", {"key": key, "what": what})


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """``did you mean 'gpt'? allowed: lstm, gpt``; the question only where something is close."""
    known = list(known)
    close = difflib.get_close_matches(word, known, n=1)
    return (f"did you mean '{close[0]}'? " if close else "") + f"allowed: {', '.join(known)}"


def explain(error: ValidationError, *, names: Iterable[str] = ()) -> str:
    """The first of pydantic's errors as a line: the key, the value, what is allowed.

    ``names`` are put before the key.
    """
    problem = error.errors()[0]
    kind, context, value = problem["type"], problem.get("ctx", {}), problem.get("input")
    location = [*names, *(str(part) for part in problem["loc"] if part != "[key]")]
    if kind in ("unknown", "misplaced") and context["key"] is not None:
        location.append(context["key"])
    if kind == "string_type" and "[key]" in problem["loc"]:
        return f"{'.'.join(map(one_line, location[:-1]))}: the key {value!r} must be text; put it in quotes"
    key = ".".join(map(one_line, location)) or "the file"
    if kind == "unknown":
        return f"{key}: {one_line(context['what'])}; {did_you_mean(context['word'], context['known'])}"
    if kind == "misplaced":
        return f"{key}: {context['what']}"
    if kind == "missing":
        return f"{key}: missing; it has no default"
    message = problem["msg"].removeprefix("Value error, ")
    shown = "" if isinstance(value, dict) else f"{one_line(repr(value))}: "
    return f"{key}: {shown}{message[0].lower()}{message[1:]}"


def one_line(text: object, longest: int = 80) -> str:
    """As it is where that is short and printable, else escaped and cut."""
    shown = str(text)
    shown = shown if shown.isprintable() else repr(shown)[1:-1]
    return shown if len(shown) <= longest else f"{shown[: longest - 1]}…"
