"""``corpora/<name>/``: what the setting ``corpus`` names. DVC hashes the folder, so what is read must be what it sees.

A folder with a ``corpus.yaml`` that names a ``source`` stands for text that lies elsewhere, at a pinned revision: the
one home of its revision, checksums and license. Any other folder holds its texts itself.
"""

from __future__ import annotations

import fnmatch
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from lm.config.yaml import read_yaml
from lm.errors import StudyError
from lm.text import name_of

CORPORA = Path("corpora")
DESCRIPTION = "corpus.yaml"
NOT_TEXT = ("README*", "LICENSE*", "SOURCES*")
"""Files about a corpus. ``.dvcignore`` has the same patterns: an edit in one of them changes nothing."""
_UNSEEN = (*NOT_TEXT, "__pycache__", "*.pyc")
"""Folders that ``.dvcignore`` names, and DVC looks away from with all that is in them."""
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}")
_SHOWN = 60
"""Characters of a wrong name that a message shows."""


class Description(BaseModel):
    """A ``corpus.yaml``: by default of a folder that holds its texts itself, and may say under which license."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    license: str = "unknown"


_Model = TypeVar("_Model", bound=Description)


@dataclass(frozen=True, kw_only=True)
class Listing:
    """The files of a corpus by path below it, and what is no part of it, with the reason where there is one.

    Paths are as :func:`lm.text.name_of` gives them, in the order of their characters, under any locale.
    """

    files: dict[str, Path]
    left_out: list[str]


def find_corpus(name: str, corpora: Path = CORPORA) -> Path:
    """The folder ``corpora/<name>``, its names and links checked, its files not yet read.

    Raises :class:`StudyError` for what is no name, such as a path; for a folder that is not there; and for what DVC
    could not hash: a folder that ``.dvcignore`` names, a broken link, a name that is not UTF-8.
    """
    if not _NAME.fullmatch(name):
        shown = name if len(name) <= _SHOWN else f"{name[:_SHOWN]}…"
        target = shown if name.startswith(("/", "~")) and name.strip("/") else "/path/to/texts"
        raise StudyError(
            f"params.yaml: corpus: {shown!r} is not the name of a folder in {corpora}/ (letters, digits, '_', '-', "
            f"'.'; at most 100); to use text that lies elsewhere, link it: `ln -s {_quoted(target)} {corpora}/mine`, "
            f"and set corpus to mine"
        )
    folder = corpora / name
    if _is_unseen(name):
        raise StudyError(
            f"params.yaml: corpus: {name!r}: DVC would not see changes in {folder}: .dvcignore names it; rename it"
        )
    if folder.is_symlink() and not folder.exists():
        raise StudyError(f"{folder}: a link to {folder.readlink()}, where nothing is; link it anew")
    if folder.exists() and not folder.is_dir():
        raise StudyError(f"{folder}: a file, not a folder; make a folder {folder} and put the file into it")
    if not folder.is_dir():
        raise StudyError(
            f"params.yaml: corpus: '{name}': no folder {folder}; there are: {', '.join(names(corpora)) or 'none'}; put "
            f"your texts there or link them (`ln -s /path/to/texts {folder}`); a queued experiment sees only what is "
            f"tracked: `git add {folder}` or `dvc add {folder}`"
        )
    list_files(folder)
    return folder


def names(corpora: Path = CORPORA) -> list[str]:
    """The corpora that are there."""
    return sorted(
        path.name
        for path in corpora.glob("*")
        if path.is_dir() and _NAME.fullmatch(path.name) and not _is_unseen(path.name)
    )


def list_files(folder: Path) -> Listing:
    """Every file below ``folder`` that DVC hashes and a source may read. Links to files are followed.

    Raises :class:`StudyError` for a broken link, a name that is not UTF-8, two names that look the same and a folder
    that cannot be read.
    """
    files: dict[str, Path] = {}
    left_out = []

    def refuse(error: OSError) -> None:
        raise StudyError(f"{error.filename}: can't be read: {error.strerror}; give yourself the right to it")

    for where, folders, here in os.walk(folder, onerror=refuse):
        below = Path(where)
        for name in sorted([*folders, *here]):
            path = below / name
            shown = name_of(path.relative_to(folder).as_posix())
            if shown is None:
                raise StudyError(f"{below}/{_quoted(name)}: its name is not UTF-8; rename it or take it out")
            if name in here:
                if path.is_symlink() and not path.exists():
                    raise StudyError(f"{path}: a link to {path.readlink()}, where nothing is; take it out or mend it")
                if not path.is_file():
                    raise StudyError(f"{path}: neither a file nor a folder; take it out")
                if _is_hidden(name) or name == DESCRIPTION:
                    continue
                if _is_one_of(name, NOT_TEXT):
                    left_out.append(f"{shown} (about the text)")
                elif shown in files:
                    raise StudyError(
                        f"{folder}: two files are called {shown}, written with composed and with decomposed letters; "
                        f"rename or remove one"
                    )
                else:
                    files[shown] = path
            elif path.is_symlink():
                left_out.append(f"{shown} (a link to a folder: DVC would not see changes in it)")
            elif _is_unseen(name):
                left_out.append(f"{shown} (a folder that .dvcignore names: DVC would not see changes in it)")
            elif name.endswith(".txt"):
                left_out.append(f"{shown} (a folder)")
        folders[:] = sorted(name for name in folders if not _is_hidden(name) and not _is_unseen(name))
    return Listing(files=dict(sorted(files.items())), left_out=sorted(left_out))


def read_description(folder: Path) -> dict[str, Any]:
    """The content of ``corpus.yaml``, or nothing where there is none.

    Raises :class:`StudyError` when it can't be read or is no mapping of words to values.
    """
    path = folder / DESCRIPTION
    if not path.exists():
        return {}
    content = read_yaml(path)
    if not isinstance(content, dict):
        raise StudyError(f"{path}: expected a mapping, such as `license: CC BY 4.0`")
    return content


def parse_description(model: type[_Model], content: dict[str, Any], folder: Path) -> _Model:
    """The content of ``corpus.yaml`` as its source needs it; raises :class:`StudyError` naming the key that is off."""
    try:
        return model.model_validate(content)
    except ValidationError as error:
        problem = error.errors()[0]
        key = ".".join(str(part) for part in problem["loc"])
        known = ", ".join(model.model_fields)
        raise StudyError(f"{folder / DESCRIPTION}: {key}: {problem['msg'].lower()}; its keys are {known}") from None


def _is_hidden(name: str) -> bool:
    return name.startswith(".")


def _is_unseen(name: str) -> bool:
    return _is_one_of(name, _UNSEEN)


def _is_one_of(name: str, patterns: tuple[str, ...]) -> bool:
    return any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)


def _quoted(name: str) -> str:
    return name if name_of(name) else os.fsencode(name).decode("utf-8", "backslashreplace")
