"""Where text comes from. A source is one module with one function that returns a :class:`Corpus` (or ids of one).

To add one, write the module and name its function in :data:`SOURCES`.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from lm.corpus.documents import Corpus
from lm.corpus.ids import IdCorpus
from lm.corpus.sources.folder import load_folder
from lm.corpus.sources.npz import PATTERN, load_npz
from lm.corpus.sources.sotu import load_sotu
from lm.errors import StudyError

SOURCES: dict[str, Callable[[], Corpus]] = {"sotu": load_sotu}


def load_corpus(name: str) -> Corpus | IdCorpus:
    """The named source, or the folder of text files or of the course's archives at that path.

    Raises :class:`StudyError` when it is neither.
    """
    if name in SOURCES:
        return SOURCES[name]()
    if Path(name).is_dir():
        return load_npz(Path(name)) if any(Path(name).glob(PATTERN)) else load_folder(Path(name))
    raise StudyError(
        f"params.yaml: corpus: '{name}' is neither a known corpus ({', '.join(SOURCES)}) nor a folder of .txt files"
    )
