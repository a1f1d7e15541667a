"""Where text comes from. A source is one module with a function that returns a :class:`Corpus` (or ids of one).

To add one, write the module and name its function in :data:`SOURCES` or, if it reads files that the user has, in
:data:`LAYOUTS`.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from lm.corpus.documents import Corpus
from lm.corpus.ids import IdCorpus
from lm.corpus.sources.folder import load_folder
from lm.corpus.sources.npz import holds_npz, load_npz
from lm.corpus.sources.sotu import load_sotu
from lm.corpus.sources.wikitext import DESCRIBED, holds_wikitext, load_wikitext, load_wikitext_files
from lm.errors import StudyError

SOURCES: dict[str, Callable[[], Corpus]] = {"sotu": load_sotu, "wikitext-2": load_wikitext}

LAYOUTS: list[tuple[Callable[[Path], bool], Callable[[Path], Corpus | IdCorpus]]] = [
    (holds_npz, load_npz),
    (holds_wikitext, load_wikitext_files),
    (Path.is_dir, load_folder),
]
"""What a path may hold: how to tell, and how to load it. The first that fits is taken."""


def load_corpus(name: str) -> Corpus | IdCorpus:
    """The named source, or what lies at that path, by its layout.

    Raises :class:`StudyError` when it is neither.
    """
    if name in SOURCES:
        return SOURCES[name]()
    for fits, load in LAYOUTS:
        if fits(Path(name)):
            return load(Path(name))
    raise StudyError(
        f"params.yaml: corpus: '{name}' is neither a known corpus ({', '.join(SOURCES)}) nor a folder: allowed are a "
        f"folder of .txt files, a folder of the course's .npz archives, and a folder or .zip archive with {DESCRIBED}"
    )
