"""Finished runs of this machine, so that nothing is trained twice.

DVC restores what a stage made before, unless its lock names outputs that this machine does not have, as after a
``git checkout`` of somebody's lock whose times were other ones: then it runs the stage again without asking its cache.
What the stage finds here it puts back instead of training: files of the same configuration, seed, tokens, embeddings,
code and kind of machine, so the learned ones are those that training would make, and the measured ones were measured.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

_MANIFEST = "sha256.json"
_MOST_BYTES = 2 * 2**30


def keep(folder: Path, fingerprint: str, run: Path, names: Iterable[str], most_bytes: int = _MOST_BYTES) -> None:
    """Copy a run's files into ``folder``; what was used longest ago goes when all take more than ``most_bytes``.

    The store is a convenience: where it cannot be written, nothing is kept and nothing is said.
    """
    entry, partial = folder / fingerprint, folder / f".{fingerprint}.{os.getpid()}"
    try:
        partial.mkdir(parents=True)
        hashes = {name: _copy(run / name, partial / name) for name in names}
        (partial / _MANIFEST).write_text(json.dumps(hashes))
        shutil.rmtree(entry, ignore_errors=True)
        os.replace(partial, entry)
        _shrink(folder, most_bytes)
    except OSError:
        pass
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def put_back(folder: Path, fingerprint: str, partial: Path, names: Iterable[str]) -> bool:
    """Copy the files of a finished run to ``partial``; False, and nothing there, unless all are there and whole."""
    entry = folder / fingerprint
    try:
        hashes = json.loads((entry / _MANIFEST).read_text())
        partial.mkdir(parents=True, exist_ok=True)
        if all(_copy(entry / name, partial / name) == hashes[name] for name in names):
            os.utime(entry)
            return True
    except (OSError, ValueError, KeyError, TypeError):
        pass
    shutil.rmtree(partial, ignore_errors=True)
    return False


def _copy(source: Path, target: Path) -> str:
    """Copy a file; the SHA-256 of what was copied."""
    digest = hashlib.sha256()
    with source.open("rb") as read, target.open("wb") as write:
        while block := read.read(2**20):
            digest.update(block)
            write.write(block)
    return digest.hexdigest()


def _shrink(folder: Path, most_bytes: int) -> None:
    entries = []
    for entry in folder.iterdir():
        with suppress(OSError):  # another run's trainer may be taking it away
            size = sum(path.stat().st_size for path in entry.iterdir())
            entries.append((entry.stat().st_mtime, size, entry))
    total = sum(size for _, size, _ in entries)
    for _, size, entry in sorted(entries)[:-1]:
        if total <= most_bytes:
            return
        shutil.rmtree(entry, ignore_errors=True)
        total -= size
