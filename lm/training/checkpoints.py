"""Checkpoints that are whole, fit what is being trained, or are not used.

A file holds one JSON line (what it belongs to, and the SHA-256 of the rest) and torch's serialization of the
state. It is written beside its place, synced and renamed, so a kill at any moment leaves the old one or the new.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
from pathlib import Path
from typing import Any

import torch


def fingerprint(*parts: bytes) -> str:
    """A hash over everything that must be the same for a checkpoint to be of use."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(hashlib.sha256(part).digest())
    return digest.hexdigest()


def code_of(*folders: Path) -> bytes:
    """The source of every module in ``folders``, in a fixed order."""
    paths = sorted(path for folder in folders for path in folder.rglob("*.py"))
    return b"".join(path.name.encode() + b"\0" + path.read_bytes() for path in paths)


def save(path: Path, state: dict[str, Any], belongs_to: str) -> None:
    """Write ``state`` atomically and durably."""
    buffer = io.BytesIO()
    torch.save(state, buffer)
    payload = buffer.getbuffer()
    header = {"belongs_to": belongs_to, "sha256": hashlib.sha256(payload).hexdigest()}
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    try:
        with partial.open("wb") as file:
            file.write(json.dumps(header).encode() + b"\n")
            file.write(payload)
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


def load(path: Path, belongs_to: str) -> tuple[dict[str, Any] | None, str | None]:
    """The state, or why there is none to use (None when there is no checkpoint at all)."""
    try:
        with path.open("rb") as file:
            header = json.loads(file.readline())
            payload = file.read()
    except FileNotFoundError:
        return None, None
    except (ValueError, OSError) as error:
        return None, f"unreadable ({error})"
    if not isinstance(header, dict) or header.get("sha256") != hashlib.sha256(payload).hexdigest():
        return None, "truncated or damaged"
    if header.get("belongs_to") != belongs_to:
        return None, "of another configuration, other tokens or other code"
    return torch.load(io.BytesIO(payload), map_location="cpu", weights_only=True), None


def remove(path: Path) -> None:
    """Take the checkpoint away once its run has written its results."""
    path.unlink(missing_ok=True)
    path.with_suffix(".partial").unlink(missing_ok=True)
