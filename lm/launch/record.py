"""DVC's own record of what is done, ``dvc.lock``, put back where a kill has left it half written.

DVC writes the file in place. Who is killed in that moment, by SIGKILL or with the machine, leaves a file that no DVC
reads any more, and with it would go all that it knew.
"""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

from lm.launch.locks import state_folder


def mend_locks(root: Path, tell: Callable[[str], None]) -> None:
    """Put back each ``dvc.lock`` that DVC could not read: as git has staged it, else as committed, else none.

    DVC stages the file whenever it has written it (``core.autostage``), so that little is lost; what runs have learned
    since then lies in DVC's cache and in ``.checkpoints/finished``. The damaged file goes to ``.launch``. Nothing may
    write to the folder meanwhile.
    """
    for path in sorted([*root.glob("dvc.lock"), *root.glob("*/dvc.lock")]):
        if _readable(path.read_bytes()):
            continue
        name = path.relative_to(root).as_posix()
        path.replace(state_folder(root) / f"{name.replace('/', '-')}.damaged")
        for revision, place in (("", "last staged by git"), ("HEAD", "last committed")):
            content = _in_git(root, f"{revision}:./{name}")
            if content is not None and _readable(content):
                path.write_bytes(content)
                tell(f"{name}: half written when its DVC was killed; put back as {place}")
                break
        else:
            tell(f"{name}: half written when its DVC was killed; taken away, as git has none")


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
