"""One trainer a run: a second one would write over the first one's checkpoints and results."""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from lm.errors import StudyError

_HELD = (errno.EWOULDBLOCK, errno.EAGAIN, errno.EACCES)


@contextmanager
def one_trainer(path: Path) -> Iterator[None]:
    """Hold the lock file ``path`` while a run trains. The kernel lets go of it however the process ends.

    Raises :class:`StudyError` at once when another process holds it, or when it cannot be made.
    """
    descriptor = _acquire(path)
    try:
        yield
    finally:
        with suppress(OSError):
            path.unlink()  # while the lock is held, so that nobody waits on a file that is gone
        os.close(descriptor)


def _acquire(path: Path) -> int:
    while True:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        except OSError as error:
            raise StudyError(f"{error.filename or path}: cannot be written ({error.strerror})") from None
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if _same_file(descriptor, path):
                os.truncate(descriptor, 0)
                os.write(descriptor, f"{os.getpid()}\n".encode())
                return descriptor
        except OSError as error:
            holder = os.read(descriptor, 32).decode(errors="replace").strip()
            os.close(descriptor)
            if error.errno not in _HELD:
                raise StudyError(f"{path}: cannot be locked ({error.strerror})") from None
            raise StudyError(
                f"{path}: process {holder or 'unknown'} is training this run; wait for it, or stop it and start again"
            ) from None
        os.close(descriptor)


def _same_file(descriptor: int, path: Path) -> bool:
    """Whether the locked file is still the one at ``path``; its last holder may have taken it away meanwhile."""
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False
