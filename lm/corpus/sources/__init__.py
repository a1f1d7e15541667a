"""Where text comes from. A source is one module with a function that returns a :class:`Corpus` (or ids of one).

To add one, write the module and name its function in :data:`SOURCES`, where a ``corpus.yaml`` finds it by its
``source``, or, if it reads files that the user has, in :data:`LAYOUTS`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

from lm.corpus.catalogue import (
    CORPORA,
    DESCRIPTION,
    Description,
    Listing,
    find_corpus,
    list_files,
    parse_description,
    read_description,
)
from lm.corpus.checks import part_duplicates
from lm.corpus.documents import Corpus
from lm.corpus.ids import IdCorpus
from lm.corpus.sources.folder import holds_texts, load_folder
from lm.corpus.sources.hub import load_hub
from lm.corpus.sources.npz import holds_npz, load_npz
from lm.corpus.sources.sotu import load_sotu
from lm.corpus.sources.wikitext import DESCRIBED, holds_archive, holds_wikitext, load_archive, load_wikitext
from lm.errors import StudyError

SOURCES: dict[str, Callable[[dict[str, Any], Path], Corpus]] = {"sotu": load_sotu, "hub": load_hub}
"""By the ``source`` of a ``corpus.yaml``: what reads the text that it describes, given that content and its folder."""

LAYOUTS: list[tuple[Callable[[Listing], bool], Callable[[Path, Listing], Corpus | IdCorpus]]] = [
    (holds_npz, load_npz),
    (holds_wikitext, load_wikitext),
    (holds_texts, load_folder),
    (holds_archive, load_archive),
]
"""What a folder may hold: how to tell, and how to load it. The first that fits is taken."""


def load_corpus(name: str, corpora: Path = CORPORA) -> Corpus | IdCorpus:
    """The text of ``corpora/<name>``: what its ``corpus.yaml`` describes, or its files, by their layout.

    No text is in two splits. Raises :class:`StudyError` when there is no such folder, and for what in it will not do.
    """
    folder = find_corpus(name, corpora)
    content = read_description(folder)
    if "source" in content:
        source = content["source"]
        if not isinstance(source, str) or source not in SOURCES:
            raise StudyError(
                f"{folder / DESCRIPTION}: source: unknown source {source!r}; allowed: {', '.join(SOURCES)}, "
                f"or none, for a folder that holds its texts itself"
            )
        corpus: Corpus | IdCorpus = SOURCES[source](content, folder)
    else:
        corpus = _load_files(folder, parse_description(Description, content, folder))
    if isinstance(corpus, IdCorpus):
        return corpus
    splits, repeated = part_duplicates(corpus.splits)
    return dataclasses.replace(corpus, splits=splits, left_out=(*corpus.left_out, *repeated))


def _load_files(folder: Path, description: Description) -> Corpus | IdCorpus:
    listing = list_files(folder)
    for fits, load in LAYOUTS:
        if fits(listing):
            return dataclasses.replace(load(folder, listing), license=description.license)
    found = ", ".join([*listing.files, *listing.left_out][:3]) or "nothing"
    raise StudyError(
        f"corpus {folder}: holds {found}, no text that can be read; needed are .txt files, {DESCRIBED}, one .zip "
        f"archive of those, or the course's wiki.{{train,validation,test}}.npz"
    )
