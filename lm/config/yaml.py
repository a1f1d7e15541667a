"""YAML as the study reads it, from files that people write: one line for whatever is wrong with one."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path

from ruamel.yaml import YAML
from ruamel.yaml.constructor import DuplicateKeyError
from ruamel.yaml.error import YAMLError
from ruamel.yaml.nodes import MappingNode, ScalarNode, SequenceNode

from lm.config.strict import one_line
from lm.errors import StudyError
from lm.text import decode

_SURROGATE = re.compile(r"[\ud800-\udfff]")


def read_yaml(path: Path, missing: str = "run from the project's root") -> object:
    """A file's content; raises :class:`StudyError`, one line, where it can't be read. ``missing``: what to do then."""
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise StudyError(f"{path}: no such file; {missing}") from None
    except OSError as error:
        raise StudyError(f"{path}: cannot be read ({error.strerror})") from None
    return parse_yaml(decode(content, str(path)), str(path))


def parse_yaml(text: str, name: str) -> object:
    """What a text says, as DVC reads it; raises :class:`StudyError` that begins with ``name`` where it is no YAML.

    So it does for a surrogate, which only an escape can write: half a character, which no file could hold again.
    """
    try:
        # the parser and the YAML version that DVC itself uses: 1e-3 is a number, a key given twice is an error
        content: object = YAML(typ="safe", pure=True).load(text)
    except DuplicateKeyError:
        raise StudyError(f"{name}: {_stands_twice(text)}; each key may stand once") from None
    except YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f" at line {mark.line + 1}" if mark else ""
        raise StudyError(f"{name}: not YAML{where}: {one_line(getattr(error, 'problem', error))}") from None
    except RecursionError:
        raise StudyError(f"{name}: nested too deeply") from None
    except ValueError as error:  # a number of thousands of digits, a date that there is not
        raise StudyError(f"{name}: not YAML: {one_line(error)}") from None
    for word in _words(content):
        if _SURROGATE.search(word):
            raise StudyError(f"{name}: '{one_line(word)}' holds half a character (a surrogate); write a whole one")
    return content


def _words(content: object) -> Iterator[str]:
    """Every text in what a YAML file holds, keys too."""
    left, done = [content], set[int]()
    while left:
        each = left.pop()
        if isinstance(each, str):
            yield each
        elif isinstance(each, Collection) and id(each) not in done:  # a value may hold itself
            done.add(id(each))
            left += [*each, *each.values()] if isinstance(each, Mapping) else each


def _stands_twice(text: str) -> str:
    """The first key that its mapping has twice, with both values as they are written.

    The parser's own message has the values of numbers and words only.
    """
    left = [YAML(pure=True).compose(text)]
    done: set[int] = set()
    while left:
        node = left.pop()
        if id(node) in done:  # a value may hold itself
            continue
        done.add(id(node))
        if isinstance(node, SequenceNode):
            left += node.value
        if not isinstance(node, MappingNode):
            continue
        seen: dict[str, str] = {}
        for key, value in node.value:
            left.append(value)
            if not isinstance(key, ScalarNode):
                continue
            written = one_line(text[value.start_mark.index : value.end_mark.index].strip())
            if key.value in seen:
                line = key.start_mark.line + 1
                return f"line {line}: key '{one_line(key.value)}' stands twice: {seen[key.value]} and {written}"
            seen[str(key.value)] = written
    return "a key stands twice"
