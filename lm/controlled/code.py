"""The code that decides what a run learns, in one small file.

DVC reads its lock whole for each stage, and writes it whole after each, in pure Python. Were the files of code named by
every one of the study's 200 runs, the lock would have 25,000 lines, which are 6 s a stage. So one stage depends on the
code, and the runs on its checksums.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from lm.controlled.places import ACTIVE
from lm.errors import reading


def code_of_a_run(active: Path = ACTIVE) -> list[Path]:
    """What the pipeline's stage ``code`` depends on, files and folders.

    Raises :class:`StudyError` where ``active`` is no such pipeline.
    """
    with reading(active, "`python -m stages.controlled_plan` writes it", (YAMLError, KeyError, TypeError)):
        return [Path(place) for place in YAML(typ="safe").load(active)["stages"]["code"]["deps"]]


def checksums(places: list[Path]) -> dict[str, str]:
    """SHA-256 by path of every Python file in ``places``, folders or files, sorted."""
    paths = {path for place in places for path in (place.rglob("*.py") if place.is_dir() else [place])}
    return {path.as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(paths)}
