"""DVC as a launch starts it: ``python -m lm.launch.dvc`` is ``dvc``, but for how it writes ``dvc.lock``.

After each stage DVC reads the whole lock in a way that keeps comments and writes it whole, in pure Python and in place:
with 200 runs that is four seconds a run in which no other run's DVC gets on, and a kill in the wrong moment leaves half
a file. Here the entries of the stages that have run are exchanged in the file's text, and the new file takes the place
of the old one at once. The bytes are those that DVC writes.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from dvc.cli import main
from dvc.dvcfile import Lockfile, logger
from dvc.stage.serialize import to_lockfile
from dvc.utils.serialize import dumps_yaml, loads_yaml

from lm.launch.locks import state_folder

_HEAD = "schema: '2.0'\nstages:\n"
_ENTRY = re.compile(r"(?P<key>  [^\s#?].*:\n)(?:    .*\n)+")
_NOT_OURS = re.compile(r"(?m)(?:^|\s)[#&*]")
"""A comment, an anchor or an alias: what stands elsewhere in the file may hang on it."""
_dump_whole = Lockfile.dump_stages


def with_entries(lock: str, entries: Mapping[str, Mapping[str, Any]]) -> str | None:
    """The text of a ``dvc.lock`` with ``entries``, by stage, in the place of those of the same name or at its end.

    None where the text, or an entry's, is not laid out as DVC lays it out: then only DVC itself knows what to do.
    """
    lock = lock or _HEAD
    found = _parsed(lock)
    for name, entry in entries.items():
        new = _parsed(_HEAD + dumps_yaml({"stages": {name: entry}}).removeprefix("stages:\n"))
        if found is None or new is None:
            return None
        found |= new
    return None if found is None else _HEAD + "".join(found.values())


def _parsed(lock: str) -> dict[str, str] | None:
    """The text of each entry by the line that it begins with."""
    if not lock.startswith(_HEAD) or _NOT_OURS.search(lock):
        return None
    found, position = dict[str, str](), len(_HEAD)
    while position < len(lock):
        entry = _ENTRY.match(lock, position)
        if entry is None or not _as_dvc_writes(entry["key"]):
            return None
        found[entry["key"]] = entry[0]
        position = entry.end()
    return found


def _as_dvc_writes(key: str) -> bool:
    """Whether a line that begins an entry has quotes only where DVC would put them."""
    line = key.lstrip()
    return line[0] not in "'\"" or dumps_yaml(loads_yaml(line)) == line


def _dump_stages(self: Lockfile, stages: Sequence[Any], **options: Any) -> None:
    """In the place of DVC's own method of this name."""
    path = Path(self.path)
    before = path.read_text(encoding="utf-8") if path.exists() else ""
    entries: dict[str, Mapping[str, Any]] = {}
    for stage in stages:
        entries |= to_lockfile(stage, **options)
    after = with_entries(before, entries)
    if after is None:
        _dump_whole(self, stages, **options)
    elif after != before:
        logger.info("%s lock file '%s'", "Updating" if before else "Generating", self.relpath)
        _replace(path, after, state_folder(Path(self.repo.root_dir)) / "dvc.lock.partial")
        self.repo.scm_context.track_file(self.relpath)


def _replace(path: Path, text: str, partial: Path) -> None:
    """Write a file so that it is always whole: as it was, or as it is to be. DVC's lock keeps out all other writers."""
    with partial.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    if path.exists():
        partial.chmod(path.stat().st_mode)
    partial.replace(path)


if __name__ == "__main__":
    Lockfile.dump_stages = _dump_stages
    sys.exit(main(sys.argv[1:]))
