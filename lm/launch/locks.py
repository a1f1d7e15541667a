"""Whose turn it is: one launch a folder, and what to do about locks that somebody left behind."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from lm.errors import StudyError

STATE = Path(".launch")
"""Logs and marks of launches, in the project's root; git passes it over by a file of its own."""
_RWLOCK = Path(".dvc", "tmp", "rwlock")
_REPOSITORY_LOCK = Path(".dvc", "tmp", "lock")


def state_folder(root: Path) -> Path:
    folder = root / STATE
    folder.mkdir(exist_ok=True)
    (folder / ".gitignore").write_text("*\n")
    return folder


@contextlib.contextmanager
def only_launch(root: Path) -> Iterator[None]:
    """Hold the folder's launch. Raises :class:`StudyError` while another process does; a killed one holds nothing."""
    with (state_folder(root) / "lock").open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            who = file.read().strip() or "another launch"
            raise StudyError(f"{file.name}: {who} is at work in this folder; wait for it, or stop it") from None
        except OSError as error:
            raise StudyError(f"{file.name}: cannot be locked ({error.strerror}); runs need a disk with flock") from None
        file.truncate(0)
        file.write(f"process {os.getpid()} on {os.uname().nodename}\n")
        file.flush()
        yield


@dataclass(frozen=True, kw_only=True)
class Holder:
    """A process that ``.dvc/tmp/rwlock`` names: DVC writes its number there, and not the machine that it ran on."""

    pid: int
    command: str
    paths: tuple[str, ...]
    is_dvc: bool


def holders(root: Path) -> list[Holder]:
    """Processes in DVC's table of locks whose number is in use here; DVC itself strikes out the others."""
    table = _table(root / _RWLOCK)
    found: dict[tuple[int, str], list[str]] = {}
    for entries in (table.get("write", {}), table.get("read", {})):
        for path, infos in entries.items():
            for info in infos if isinstance(infos, list) else [infos]:
                if info:
                    found.setdefault((info["pid"], info["cmd"]), []).append(os.path.relpath(path, root))
    return [
        Holder(pid=pid, command=command, paths=tuple(paths), is_dvc=_is_dvc(pid))
        for (pid, command), paths in found.items()
        if psutil.pid_exists(pid)
    ]


def _table(path: Path, tries: int = 20) -> dict[str, Any]:
    """DVC's table of locks. DVC empties the file before it writes it anew, so what is half there is read again."""
    while True:
        tries -= 1
        try:
            return dict(json.loads(path.read_text()))
        except FileNotFoundError:
            return {}
        except ValueError:
            if not tries:
                remedy = "remove it while no `dvc` runs in this folder, on any machine"
                raise StudyError(f"{_RWLOCK}: damaged; {remedy}") from None
        time.sleep(0.1)


def _is_dvc(pid: int) -> bool:
    try:
        return any("dvc" in Path(word).name for word in psutil.Process(pid).cmdline())
    except psutil.Error:
        return False


def wait_for_locks(root: Path, tell: Callable[[str], None], seconds: float = 150.0) -> None:
    """Wait for those who hold DVC's locks here, as runs of a launch that was killed do while they stop.

    Raises :class:`StudyError` that names who still does after ``seconds``, or a lock that nobody can hold any more,
    with what to do about it.
    """
    deadline, told = time.monotonic() + seconds, False
    outlives = _lock_outlives_its_process(root)
    while True:
        held = holders(root)
        for holder in held:
            if not holder.is_dvc:
                raise StudyError(
                    f"{_RWLOCK}: {holder.paths[0]} is locked by process {holder.pid} ({holder.command}), but here that "
                    f"is another program; unless DVC runs in this folder on another machine, remove the file"
                )
        stale = _REPOSITORY_LOCK if outlives and (root / _REPOSITORY_LOCK).is_file() else None
        if not held and stale is None:
            return
        if not told:
            tell(f"waiting for {_named(held) if held else stale}")
            told = True
        if time.monotonic() > deadline:
            if held:
                raise StudyError(f"{_RWLOCK}: {_named(held)} at work in this folder; wait for it, or stop it")
            raise StudyError(
                f"{stale}: there for {seconds:.0f} s; if no `dvc` runs in this folder, on any machine, remove it"
            )
        time.sleep(0.5)


def _named(held: list[Holder]) -> str:
    return ", ".join(f"process {holder.pid} ({holder.command})" for holder in held)


def _lock_outlives_its_process(root: Path) -> bool:
    """Whether the repository's lock is a file that stays where a process is killed (``core.hardlink_lock``)."""
    # DVC takes a second to import
    from dvc.config import Config, ConfigError

    try:
        return bool(Config(root / ".dvc")["core"].get("hardlink_lock"))
    except ConfigError as error:
        raise StudyError(f".dvc/config: {' '.join(str(error).split())}") from None
