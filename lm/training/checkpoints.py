"""Checkpoints that are whole, fit what is being trained, or are not used.

A file holds one JSON line (what it belongs to, and the SHA-256 of the rest) and torch's serialization of the
state, which goes straight to the disk: no second copy of a model is ever in memory. It is written beside its place,
synced and renamed, so a kill at any moment leaves the old one or the new.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
from pathlib import Path
from typing import Any, BinaryIO

import torch

from lm.errors import writing

_BLOCK = 2**20


def fingerprint(*parts: bytes) -> str:
    """A hash over everything that must be the same for a checkpoint to be of use."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(hashlib.sha256(part).digest())
    return digest.hexdigest()


class _Hashed:
    """A file that torch writes to from front to back; the hash is taken on the way."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.digest = hashlib.sha256()

    def write(self, data: bytes | memoryview) -> int:
        self.digest.update(data)
        return self._file.write(data)

    def flush(self) -> None:
        self._file.flush()


class _After(io.RawIOBase):
    """What stands after a file's first line, as a file of its own."""

    def __init__(self, file: io.BufferedReader) -> None:
        self._file, self._start = file, file.tell()

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        return self._file.readinto(buffer)

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        return self._file.seek(offset + (self._start if whence == os.SEEK_SET else 0), whence) - self._start

    def tell(self) -> int:
        return self._file.tell() - self._start


def save(path: Path, state: dict[str, Any], belongs_to: str) -> None:
    """Write ``state`` atomically and durably. Raises :class:`OSError` where there is no room or no right to."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    try:
        with writing(path), partial.open("wb") as file:
            file.write(_header(belongs_to, hashlib.sha256().hexdigest()))  # of the length that it will have
            hashed = _Hashed(file)
            _serialize(state, hashed)
            file.seek(0)
            file.write(_header(belongs_to, hashed.digest.hexdigest()))
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)
    except OSError:
        partial.unlink(missing_ok=True)
        raise
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _header(belongs_to: str, sha256: str) -> bytes:
    return json.dumps({"belongs_to": belongs_to, "sha256": sha256}).encode() + b"\n"


def _serialize(state: dict[str, Any], file: _Hashed) -> None:
    try:
        torch.save(state, file)  # type: ignore[arg-type]  # it asks for no more than write and flush
    except RuntimeError as error:  # torch hides what the file said behind its own
        cause: BaseException | None = error
        while cause is not None and not isinstance(cause, OSError):
            cause = cause.__cause__ or cause.__context__
        if cause is None:
            raise
        raise cause from None


def load(path: Path, belongs_to: str) -> tuple[dict[str, Any] | None, str | None]:
    """The state, or why there is none to use (None when there is no checkpoint at all)."""
    try:
        with path.open("rb") as file:
            header = json.loads(file.readline())
            payload = _After(file)
            if not isinstance(header, dict) or header.get("sha256") != _sha256(payload):
                return None, "truncated or damaged"
            if header.get("belongs_to") != belongs_to:
                return None, "of another configuration, other tokens, other code or another kind of machine"
            payload.seek(0)
            return torch.load(io.BufferedReader(payload, _BLOCK), map_location="cpu", weights_only=True), None
    except FileNotFoundError:
        return None, None
    except (ValueError, OSError) as error:
        return None, f"unreadable ({error})"


def _sha256(file: io.RawIOBase) -> str:
    digest = hashlib.sha256()
    while block := file.read(_BLOCK):
        digest.update(block)
    return digest.hexdigest()


def remove(path: Path) -> None:
    """Take the checkpoint away once its run has written its results."""
    path.unlink(missing_ok=True)
    path.with_suffix(".partial").unlink(missing_ok=True)
