"""The reference study's course files: WikiText-2 as GPT-1 token ids, a NumPy archive a split.

Whoever has them trains on the very tokens of the study, without its text or its tokenizer.
"""

from __future__ import annotations

import hashlib
import zipfile
import zlib
from fnmatch import fnmatchcase
from pathlib import Path

import numpy as np

from lm.config.study import GPT1_VOCABULARY
from lm.corpus import SPLITS
from lm.corpus.catalogue import Listing
from lm.corpus.gpt1 import VOCABULARY_FILES, has_vocabulary, load_gpt1
from lm.corpus.ids import IdCorpus, IdLines
from lm.errors import StudyError

_PATTERN = "wiki.*.npz"
_BESIDE = ("embeddings.npz", *VOCABULARY_FILES)
"""What other stages take from the same folder."""


def holds_npz(listing: Listing) -> bool:
    return any(fnmatchcase(name, _PATTERN) for name in listing.files)


def load_npz(folder: Path, listing: Listing) -> IdCorpus:
    """``wiki.{train,validation,test}.npz``: ``tokens``, flat ids from 1 on, and ``sizes``, tokens a line.

    GPT-1's vocabulary files may lie beside them. Raises :class:`StudyError` when a split is missing, is not such an
    archive, or holds ids that are none.
    """
    splits = {split: _read(folder / f"wiki.{split}.npz") for split in SPLITS}
    content = hashlib.sha256()
    for lines in splits.values():
        content.update(lines.tokens.astype("<u2").tobytes() + lines.sizes.astype("<i8").tobytes())
    tokenizer = load_gpt1(folder) if has_vocabulary(folder) else None
    read = {f"wiki.{split}.npz" for split in SPLITS}
    return IdCorpus(
        folder.name,
        f"sha256:{content.hexdigest()[:16]}",
        "unknown",
        GPT1_VOCABULARY,
        tokenizer,
        splits,
        files=len(read),
        left_out=(*listing.left_out, *(name for name in listing.files if name not in {*read, *_BESIDE})),
    )


def _read(path: Path) -> IdLines:
    try:
        with np.load(path, allow_pickle=False) as arrays:
            # a member that is no array comes as bytes
            tokens, sizes = np.asarray(arrays["tokens"]), np.asarray(arrays["sizes"])
    except FileNotFoundError:
        raise StudyError(f"{path}: no such file; each split has its own, {_PATTERN}") from None
    except KeyError as error:
        raise StudyError(f"{path}: {error.args[0]}; it must hold tokens and sizes") from None
    except (ValueError, TypeError, AttributeError, EOFError, OSError, zipfile.BadZipFile, zlib.error):
        raise StudyError(
            f"{path}: not a NumPy archive of plain integers that can be read; take the file anew"
        ) from None
    for name, array in (("tokens", tokens), ("sizes", sizes)):
        if array.ndim != 1 or array.dtype.kind not in "iu":
            raise StudyError(
                f"{path}: {name} is {array.dtype} of shape {array.shape}; it must be a flat array of integers"
            )
    if not len(tokens):
        raise StudyError(f"{path}: no tokens")
    lowest, highest = int(tokens.min()), int(tokens.max())
    if lowest < 1 or highest >= GPT1_VOCABULARY:
        wrong = lowest if lowest < 1 else highest
        raise StudyError(
            f"{path}: id {wrong} in tokens; ids are 1 to {GPT1_VOCABULARY - 1}, 0 is padding and no text's"
        )
    total = sum(sizes.tolist())
    if sizes.min(initial=0) < 0 or total != len(tokens):
        raise StudyError(
            f"{path}: sizes sum to {total} with {len(tokens)} tokens; they are tokens a line, none below 0"
        )
    return IdLines(tokens.astype(np.uint16), sizes.astype(np.int64))
