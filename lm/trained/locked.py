"""Whether a run was trained with what lies there now, by DVC's own record, ``dvc.lock``.

Weights fit configurations and tokens that they were not trained with: a GPT of 2 heads has the shapes of one of 4.
"""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path

from lm.errors import StudyError

_LOCK = Path("dvc.lock")
# the file is searched, not parsed: with 200 runs, reading it as YAML takes half a second
_ENTRY = re.compile(r"(?m)^  (?P<stage>\S.*):\n(?P<content>(?:    .*\n)+)")
_RECORDED = re.compile(r"(?m)^    - path: (?P<path>.+)\n      hash: md5\n      md5: (?P<digest>\S+)$")


def refuse_changed(weights: Path, config: Path, tokens: Path) -> None:
    """Raise :class:`StudyError` where these weights are recorded as trained with another configuration or other tokens.

    The record is the ``dvc.lock`` beside the runs or in a folder above. Without one, and where the weights are not
    those that it has, as after ``stages.train`` by hand, nothing is known and nothing refused.
    """
    for lock in (folder / _LOCK for folder in weights.parents):
        if not lock.is_file():
            continue
        for entry in _ENTRY.finditer(lock.read_text(encoding="utf-8", errors="replace")):
            recorded = dict(_RECORDED.findall(entry["content"]))
            made = next((each for each in (weights, weights.parent) if _place(each, recorded)), None)
            if made is None:
                continue
            for used, other in ((config, "another"), (tokens, "other")):
                if md5_of(used) in recorded.values() or md5_of(made) != recorded[_place(made, recorded)]:
                    continue
                stage, elsewhere = entry["stage"], "" if lock == _LOCK else f"{lock.with_suffix('.yaml')}:"
                remedy = f"run `dvc repro {elsewhere}{stage}`"
                if not _place(used, recorded):
                    remedy = f"{lock} names its own under {stage}"
                raise StudyError(f"{weights.parent}: trained with {other} {used} than is there now; {remedy}")


def _place(path: Path, recorded: dict[str, str]) -> str:
    """The path by which a file or folder is recorded, relative to the project's root; empty where it is not."""
    whole = path.absolute().as_posix()
    return next((place for place in recorded if whole.endswith(f"/{place}")), "")


def md5_of(path: Path) -> str:
    """DVC's hash of a file, or of a folder by its files; raises :class:`OSError` where there is none."""
    if not path.is_dir():
        with path.open("rb") as file:
            return hashlib.file_digest(file, "md5").hexdigest()
    files = {each.relative_to(path).as_posix(): md5_of(each) for each in path.rglob("*") if each.is_file()}
    listing = [{"md5": digest, "relpath": name} for name, digest in sorted(files.items())]
    return hashlib.md5(json.dumps(listing, sort_keys=True).encode(), usedforsecurity=False).hexdigest() + ".dir"
