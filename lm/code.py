"""The code that decides what a run learns, in one small file.

DVC reads its lock whole for each stage, and writes it whole after each, in pure Python. Were the files of code named by
every run, the lock of 200 runs would have over 20,000 lines, which are several seconds a run. So one stage depends on
the code, and the runs on its checksums.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from lm.errors import reading

_TAKES_THEM = (Path("lm/code.py"), Path("stages/code.py"))


def code_of_a_run(pipeline: Path = Path("dvc.yaml")) -> list[Path]:
    """What the pipeline's stage ``code`` depends on, files and folders, less what only takes the checksums.

    Raises :class:`StudyError` where ``pipeline`` is not one that has such a stage.
    """
    with reading(pipeline, "the study's pipeline, with a stage `code`", (YAMLError, KeyError, TypeError)):
        places = map(Path, YAML(typ="safe", pure=True).load(pipeline)["stages"]["code"]["deps"])
        return [place for place in places if place not in _TAKES_THEM]


def checksums(places: list[Path]) -> dict[str, str]:
    """SHA-256 by path of every Python file in ``places``, folders or files, sorted."""
    paths = {path for place in places for path in (place.rglob("*.py") if place.is_dir() else [place])}
    return {path.as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(paths)}
