"""DVC's own record of what is done, ``dvc.lock``, put back where a kill has left it half written.

Plain DVC writes the file in place. Who is killed in that moment, by SIGKILL or with the machine, leaves a file that no
DVC reads any more, and with it would go all that it knew.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable
from pathlib import Path

from lm.errors import StudyError
from lm.launch.locks import state_folder

_MERGING = re.compile(rb"(?m)^<{7} ")


def mend_locks(root: Path, tell: Callable[[str], None]) -> None:
    """Put back each ``dvc.lock`` that DVC could not read: as git has staged it, else as committed, else none.

    DVC stages the file whenever it has written it (``core.autostage``), so that little is lost; what runs have learned
    since then lies in DVC's cache and in ``.checkpoints/finished``. The damaged file goes to ``.launch``. Nothing may
    write to the folder meanwhile. Raises :class:`StudyError` for a merge that waits to be resolved.
    """
    for path in sorted([*root.glob("dvc.lock"), *root.glob("*/dvc.lock")]):
        held = path.read_bytes()
        if _readable(held):
            continue
        name = path.relative_to(root).as_posix()
        if _MERGING.search(held):
            raise StudyError(f"{name}: has two sides of a merge; take one (`git checkout --ours {name}`, or --theirs)")
        damaged = state_folder(root) / f"{name.replace('/', '-')}.damaged"
        path.replace(damaged)
        what = f"{name}: DVC cannot read it, as after a kill; {damaged.relative_to(root)} has it now;"
        for revision, place in (("", "last staged by git"), ("HEAD", "last committed")):
            content = _in_git(root, f"{revision}:./{name}")
            if content is not None and _readable(content):
                path.write_bytes(content)
                tell(f"{what} put back as {place}")
                break
        else:
            tell(f"{what} git has none to put back")


def _readable(content: bytes) -> bool:
    """Whether DVC takes it."""
    # DVC takes a second to import
    from dvc.dvcfile import Lockfile
    from dvc.exceptions import DvcException
    from dvc.utils.serialize import parse_yaml

    try:
        Lockfile.validate(parse_yaml(content.decode(), "dvc.lock"))
    except (DvcException, UnicodeDecodeError):
        return False
    return True


def _in_git(root: Path, object_name: str) -> bytes | None:
    try:
        return subprocess.run(["git", "show", object_name], cwd=root, capture_output=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return None
