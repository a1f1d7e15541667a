"""A folder of text files, split by file."""

from __future__ import annotations

import hashlib
from pathlib import Path

from lm.corpus.documents import Corpus, Document
from lm.errors import StudyError

_HELD_OUT = 0.05


def load_folder(folder: Path) -> Corpus:
    """Every ``*.txt`` below ``folder``, in three splits by file.

    Files are ranked by the SHA-256 of their relative path, so the split depends on nothing but the names: the first
    5 % (at least one) validate, the next 5 % test, the rest train. Raises :class:`StudyError` for fewer than three
    files and for empty or non-UTF-8 ones.
    """
    paths = sorted(folder.rglob("*.txt"))
    if len(paths) < 3:
        raise StudyError(f"corpus {folder}: found {len(paths)} .txt files; at least 3 are needed, one a split")
    names = [path.relative_to(folder).as_posix() for path in paths]
    documents = {name: Document(name, _read(path)) for name, path in zip(names, paths, strict=True)}
    ranked = sorted(names, key=lambda name: hashlib.sha256(name.encode()).digest())
    held_out = max(1, round(_HELD_OUT * len(ranked)))
    validation, test = set(ranked[:held_out]), set(ranked[held_out : 2 * held_out])
    splits: dict[str, list[Document]] = {"train": [], "validation": [], "test": []}
    for name in names:
        split = "validation" if name in validation else "test" if name in test else "train"
        splits[split].append(documents[name])
    content = hashlib.sha256("".join(d.name + "\0" + d.text for d in documents.values()).encode())
    return Corpus(str(folder), f"sha256:{content.hexdigest()[:16]}", "unknown", splits)


def _read(path: Path) -> str:
    content = path.read_bytes()
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise StudyError(f"{path}: not UTF-8 at byte {error.start}; convert it or take it out") from None
    if not text.strip():
        raise StudyError(f"{path}: empty; take it out or fill it")
    return text
