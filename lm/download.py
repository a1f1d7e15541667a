"""Public files of the Hugging Face Hub, each downloaded once, at a pinned revision, and checked before it is used.

A study that trains on half a file, or on a file that has changed since, measures something else than it says.
``huggingface_hub`` knows the Hub's addresses, headers, environment variables (``HF_ENDPOINT``, ``HF_HOME``,
``HF_HUB_DOWNLOAD_TIMEOUT``, ``HF_HUB_OFFLINE``) and cache, and is asked for all of these. Its own ``hf_hub_download``
does not compare contents with a hash and, in 2.4, throws away what it has when the process ends or the connection is
reset; so the transfer itself is here: it goes on where the last one broke off, in this process or a later one.
"""

from __future__ import annotations

import hashlib
import time
from pathlib import Path

import httpx2
from huggingface_hub import constants, get_hf_file_metadata, get_session, hf_hub_url, try_to_load_from_cache
from huggingface_hub.utils._fixes import WeakFileLock
from huggingface_hub.utils._headers import build_hf_headers
from huggingface_hub.utils._http import hf_raise_for_status
from huggingface_hub.utils.tqdm import tqdm

from lm.errors import StudyError

_ATTEMPTS = 5
"""Connections that may fail in a row without one byte more."""
_PAUSE = 1.0
"""Seconds between two connections."""
_LONG = 4 * 2**20
"""Bytes from which on a download shows its progress."""


def fetch(
    repository: str, revision: str, name: str, sha256: str | None, *, dataset: bool = False, instead: str
) -> Path:
    """The local path of one file of a public repository, downloaded on the first call.

    ``revision`` is a commit, so the content cannot change. It is checked against ``sha256``, each time; where none is
    known, after the download against the hash by which the Hub itself names it at that revision (its ETag: SHA-256 of
    a large file, git's blob SHA-1 of another). That tells a damaged transfer, not a Hub that lies.

    A file that ``hf download`` has put into the Hub's own cache is taken from there. Others are kept under ``HF_HOME``,
    in ``verified/``; what is not complete and checked has another name there, so half a file is never taken for one.

    ``instead`` says in a few words what somebody without a network can do; it ends the message. Raises
    :class:`StudyError`, in one line, when the file cannot be had whole, when its hash is off, and when the disk
    refuses; what has arrived so far stays for the next try, unless it is wrong.
    """
    kind = "dataset" if dataset else "model"
    path = Path(constants.HF_HOME) / "verified" / f"{kind}s" / repository / revision / name
    if path.is_file():
        _check(path, sha256, f"{path} (delete it to download it again)")
        return path
    cached = try_to_load_from_cache(repository, name, revision=revision, repo_type=kind)
    if isinstance(cached, str) and (sha256 is None or _digest(Path(cached), "sha256") == sha256):
        return Path(cached)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with WeakFileLock(path.with_name(f"{path.name}.lock")):
            if not path.is_file():
                _download(repository, revision, name, sha256, kind, path)
    except (httpx2.HTTPError, httpx2.InvalidURL, OSError) as error:
        reason = str(error).strip().split("\n")[0] or type(error).__name__
        raise StudyError(
            f"{repository}: {name} could not be downloaded from {constants.ENDPOINT} ({reason}); "
            f"run again, it goes on where it stopped; or {instead}"
        ) from None
    return path


def _download(repository: str, revision: str, name: str, sha256: str | None, kind: str, path: Path) -> None:
    url = hf_hub_url(repository, name, repo_type=kind, revision=revision, endpoint=constants.ENDPOINT)
    metadata = get_hf_file_metadata(url, token=False, timeout=constants.HF_HUB_ETAG_TIMEOUT)
    expected = sha256 or metadata.etag
    if not expected or metadata.size is None:
        raise OSError("the answer tells no size and hash; is HF_ENDPOINT a Hub?")
    partial = path.with_name(f"{path.name}.{expected[:16]}.incomplete")
    if _size(partial) > metadata.size:
        partial.unlink()
    _transfer(url, partial, metadata.size, name)
    try:
        _check(partial, expected, f"{repository}: {name}, as downloaded from {constants.ENDPOINT}; it is not used")
    except StudyError:
        partial.unlink()
        raise
    partial.replace(path)


def _transfer(url: str, partial: Path, size: int, name: str) -> None:
    """Append to ``partial`` until it has ``size`` bytes, over as many connections as that takes.

    A connection that brings nothing for ``HF_HUB_DOWNLOAD_TIMEOUT`` seconds counts as broken.
    """
    headers = build_hf_headers(token=False, headers={"Accept-Encoding": "identity"})
    have = furthest = _size(partial)
    failures = 0
    with tqdm(total=size, initial=have, desc=name, unit="B", unit_scale=True, disable=size < _LONG or None) as progress:
        while have < size:
            wanted = {**headers, "Range": f"bytes={have}-"} if have else headers
            reason = "the connection was closed"
            try:
                with get_session().stream(
                    "GET", url, headers=wanted, timeout=constants.HF_HUB_DOWNLOAD_TIMEOUT
                ) as answer:
                    hf_raise_for_status(answer)
                    # a server that knows no ranges sends the whole file again
                    with partial.open("ab" if answer.status_code == httpx2.codes.PARTIAL_CONTENT else "wb") as file:
                        for chunk in answer.iter_bytes():
                            file.write(chunk)
                            progress.update(len(chunk))
            except httpx2.TransportError as error:
                reason = str(error) or type(error).__name__
            have = _size(partial)
            progress.update(have - progress.n)
            failures = 0 if have > furthest else failures + 1
            furthest = max(furthest, have)
            if have < size:
                if failures == _ATTEMPTS:
                    raise OSError(f"{have:,} of {size:,} bytes came, then: {reason}")
                time.sleep(_PAUSE)


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0


def _check(path: Path, expected: str | None, what: str) -> None:
    """Compare a file with a SHA-256 (64 digits) or git's SHA-1 of a blob (40)."""
    if expected is None:
        return
    kind = "sha256" if len(expected) == 64 else "git blob sha1"
    found = _digest(path, kind)
    if found != expected:
        raise StudyError(f"{what}: {kind} is {found}, expected {expected}")


def _digest(path: Path, kind: str) -> str:
    if kind == "sha256":
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    content = path.read_bytes()
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
