"""The code that decides what a run learns: the modules that training imports, and their checksums.

DVC reads its lock whole for each stage, and writes it whole after each, in pure Python. Were the files of code named by
every run, the lock of 200 runs would have over 20,000 lines, which are several seconds per run. So one stage depends on
the code, and the runs on its checksums.
"""

from __future__ import annotations

import ast
import hashlib
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[1]
TRAINING = "stages.train"
_DECIDES_NOTHING = {"lm.errors", "lm.code"}
"""Imported by training, but without effect on what is learned: how errors are worded, and this module."""


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
    """The SHA-256 of every module that decides what a run learns, by its path from ``root``."""
    known = modules(root)
    paths = sorted(known[name] for name in imported(TRAINING, known) - _DECIDES_NOTHING)
    return {path.relative_to(root).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}


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
