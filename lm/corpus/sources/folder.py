"""A folder of text files, split by file."""

from __future__ import annotations

import hashlib
from pathlib import Path

from lm.corpus.catalogue import Listing
from lm.corpus.checks import read_bytes, read_text
from lm.corpus.documents import Corpus, Document
from lm.errors import StudyError
from lm.text import is_blank, rank

_HELD_OUT = 0.05


def holds_texts(listing: Listing) -> bool:
    return any(name.endswith(".txt") for name in listing.files)


def load_folder(folder: Path, listing: Listing) -> Corpus:
    """Every ``*.txt`` below ``folder``, in three splits by file.

    Files are ranked by the SHA-256 of their relative path, so the split depends on nothing but the names: the first
    5 % (at least one) validate, the next 5 % test, the rest train. Raises :class:`StudyError` for fewer than three
    files and for empty or non-UTF-8 ones.
    """
    names = [name for name in listing.files if name.endswith(".txt")]
    if len(names) < 3:
        raise StudyError(f"corpus {folder}: found {len(names)} .txt files; at least 3 are needed, one a split")
    documents = {name: Document(name, _read(listing.files[name])) for name in names}
    ranked = sorted(names, key=rank)
    held_out = max(1, round(_HELD_OUT * len(ranked)))
    validation, test = set(ranked[:held_out]), set(ranked[held_out : 2 * held_out])
    splits: dict[str, list[Document]] = {"train": [], "validation": [], "test": []}
    for name in names:
        split = "validation" if name in validation else "test" if name in test else "train"
        splits[split].append(documents[name])
    content = hashlib.sha256("".join(d.name + "\0" + d.text for d in documents.values()).encode())
    return Corpus(
        folder.name,
        f"sha256:{content.hexdigest()[:16]}",
        "unknown",
        splits,
        layout="a folder of .txt files, split by name",
        files=len(names),
        left_out=(*listing.left_out, *(name for name in listing.files if name not in documents)),
    )


def _read(path: Path) -> str:
    text = read_text(read_bytes(path), str(path))
    if is_blank(text):
        raise StudyError(f"{path}: empty; take it out or fill it")
    return text
