"""The code that decides what a run learns: the modules that training imports, and their checksums.

A checksum is of what a module's code says, not of how it is written: comments, docstrings and formatting have no part
in it, and every version of Python computes the same.

DVC reads its lock whole for each stage, and writes it whole after each, in pure Python. Were the files of code named by
every run, the lock of 200 runs would have over 20,000 lines, which are several seconds per run. So one stage depends on
the code, and the runs on its checksums.
"""

from __future__ import annotations

import ast
import hashlib
from functools import cache
from pathlib import Path

from lm.errors import StudyError

ROOT = Path(__file__).parents[1]
TRAINING = frozenset({"stages.train", "stages.controlled_beyond"})
"""The scripts that train, and that decide whether a run is trained."""
_DECIDES_NOTHING = {"lm.errors", "lm.code"}
"""Imported by training, but without effect on what is learned: how errors are worded, and this module."""

_NO_MEANING = {"ctx", "kind", "type_comment"}
"""Fields of a syntax tree that say nothing else than the rest, such as that a text was written ``u"…"``."""

_EMPTY = {"None", "0", "[]"}


def modules(root: Path = ROOT) -> dict[str, Path]:
    """Every module of ``lm`` and ``stages`` under ``root``, by dotted name."""
    found = {}
    for path in sorted(path for package in ("lm", "stages") for path in (root / package).rglob("*.py")):
        parts = path.relative_to(root).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imported(name: str, known: dict[str, Path]) -> set[str]:
    """The modules among ``known`` that run when ``name`` does, itself included.

    Imports are followed wherever they are in a module, except those only for type checkers. A module that uses
    importlib also imports what the modules that it imports name in texts, such as ``"lm.models.gpt:GPT"``.
    """
    seen: set[str] = set()
    left = [name]
    while left:
        each = left.pop()
        if each in known and each not in seen:
            seen.add(each)
            imports, _ = _names(known[each].read_bytes())
            left += [each.rpartition(".")[0], *imports]
            if "importlib" in imports:
                left += [text for other in imports & known.keys() for text in _names(known[other].read_bytes())[1]]
    return seen


def code_of_a_run(root: Path = ROOT) -> dict[str, str]:
    """The SHA-256 of every module that decides what a run learns, by its path from ``root``.

    Raises :class:`StudyError` where ``root`` is not the project's.
    """
    known = modules(root)
    for script in TRAINING - known.keys():
        raise StudyError(f"{root / script.replace('.', '/')}.py: no such file; run from the project's root")
    names = {name for script in TRAINING for name in imported(script, known)}
    paths = sorted(known[name] for name in names - _DECIDES_NOTHING)
    return {path.relative_to(root).as_posix(): checksum(path.read_bytes()) for path in paths}


def checksum(source: bytes) -> str:
    """The SHA-256 of a module's code: the same after an edit of a comment, a docstring or the formatting."""
    return hashlib.sha256(_canonical(ast.parse(source)).encode()).hexdigest()


def _canonical(value: object) -> str:
    """A syntax tree as text, the same in every version of Python.

    ``ast.dump`` and ``ast.unparse`` differ between versions. Here fields are sorted, and left out where they are empty,
    as one is that only a newer version knows.
    """
    match value:
        case ast.Constant(value=constant):
            return f"Constant({constant!a})"
        case ast.JoinedStr(values=parts):
            return f"JoinedStr({', '.join(_joined(parts))})"
        case ast.AST():
            texts = {name: _canonical(getattr(value, name)) for name in sorted({*value._fields} - _NO_MEANING)}
            fields = (f"{name}={text}" for name, text in texts.items() if text not in _EMPTY)
            return f"{type(value).__name__}({', '.join(fields)})"
        case list():
            return f"[{', '.join(_canonical(each) for each in value if not _does_nothing(each))}]"
        case _:
            return ascii(value)


def _does_nothing(node: object) -> bool:
    """Whether ``node`` is a docstring, the text below a constant that describes it, ``...`` or ``pass``."""
    return isinstance(node, ast.Pass) or (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant))


def _joined(parts: list[ast.expr]) -> list[str]:
    """The parts of an f-string; versions of Python divide the text between its fields differently."""
    found, text = [], ""
    for part in parts:
        if isinstance(part, ast.Constant):
            text += str(part.value)
        else:
            found += [ascii(text), _canonical(part)]
            text = ""
    return [*found, ascii(text)]


@cache
def _names(source: bytes) -> tuple[set[str], set[str]]:
    """The dotted names that a module may import, and its texts up to a colon."""
    imports, texts = set(), set()
    left: list[ast.AST] = [ast.parse(source)]
    while left:
        node = left.pop()
        match node:
            case ast.Import(names=names):
                imports |= {alias.name for alias in names}
            case ast.ImportFrom(module=str(module), names=names):
                imports |= {module, *(f"{module}.{alias.name}" for alias in names)}
            case ast.Constant(value=str(text)):
                texts.add(text.partition(":")[0])
            case ast.If(test=ast.Name(id="TYPE_CHECKING"), orelse=orelse):
                left += orelse
                continue
        left += ast.iter_child_nodes(node)
    return imports, texts
