"""What is looked for in a user's text before it is used: sizes that would not end, and documents that are repeated."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from lm.corpus import SPLITS
from lm.corpus.documents import Document
from lm.errors import StudyError, reading
from lm.text import decode, identity

LARGEST_FILE = 2**30
"""Bytes of one file, or of one member of an archive, unpacked."""
LONGEST_WORD = 2_000
"""Characters of one kind in a row. The time to learn a vocabulary grows with the square of the longest word: 0.4 s for
one of 10,000, 4 s for 100,000, hours for some millions."""
_RUN = re.compile(
    rf"[^\W\d_]{{{LONGEST_WORD + 1}}}|\d{{{LONGEST_WORD + 1}}}|[^\w\s]{{{LONGEST_WORD + 1}}}"
    rf"|_{{{LONGEST_WORD + 1}}}|\s{{{LONGEST_WORD + 1}}}"
)
_RARE_BLANK = re.compile(r"[^\S\t-\r ]")


def check_size(size: int, name: str) -> None:
    """Raises :class:`StudyError` for a file that would not fit in memory with what is made of it."""
    if size > LARGEST_FILE:
        raise StudyError(
            f"{name}: {size / 2**30:,.1f} GiB; a file of a corpus has at most {LARGEST_FILE / 2**30:,.0f} GiB: "
            f"split it, or take a part"
        )


def read_bytes(path: Path) -> bytes:
    """A file of a corpus; raises :class:`StudyError` when it is too large or cannot be read."""
    with reading(path, "mend it or take it out"):
        check_size(path.stat().st_size, str(path))
        return path.read_bytes()


def read_text(content: bytes, name: str) -> str:
    """A corpus's text; raises :class:`StudyError` for what is not text and for words that no tokenizer can take."""
    text = decode(content, name)
    check_words(text, name)
    return text


def check_words(text: str, name: str) -> None:
    """Raises :class:`StudyError` for more than :data:`LONGEST_WORD` letters, digits, marks or blanks in a row."""
    content = np.frombuffer(_RARE_BLANK.sub(" ", text).encode(), dtype=np.uint8)
    blank = (content == 32) | ((content >= 9) & (content <= 13))
    # where blanks and others follow one another closely, nothing can be too long
    turns = np.flatnonzero(np.diff(blank.astype(np.int8)))
    if np.diff(turns, prepend=-1, append=len(content) - 1).max(initial=0) <= LONGEST_WORD:
        return
    found = _RUN.search(text)
    if found:
        line = text.count("\n", 0, found.start()) + 1
        raise StudyError(
            f"{name}: line {line} has more than {LONGEST_WORD:,} letters, digits, marks or blanks in a row "
            f"('{text[found.start() : found.start() + 12]}…'), which is no word; break it up or take it out"
        )


def part_duplicates(splits: dict[str, list[Document]]) -> tuple[dict[str, list[Document]], list[str]]:
    """The documents with every text in one split only, and what was left out for that, in words.

    A text that is trained on tests nothing. It stays where it is judged: in test, else in validation. Texts that differ
    in white space or in the composition of letters are the same.
    """
    kept: dict[str, list[Document]] = {}
    home: dict[bytes, tuple[str, str]] = {}
    left_out = []
    for split in reversed(SPLITS):
        kept[split] = []
        for document in splits[split]:
            other, name = home.setdefault(identity(document.text), (split, document.name))
            if other == split:
                kept[split].append(document)
            else:
                left_out.append(f"{document.name} of {split} (the text of {name} in {other})")
    return {split: kept[split] for split in SPLITS}, left_out
