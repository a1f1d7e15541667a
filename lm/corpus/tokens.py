"""Token arrays on disk, their card, and the unigram baseline.

The unigram perplexity is the line below which a model has learned context: any model that only knows how often
each token occurs can reach it.
"""

from __future__ import annotations

import hashlib
import io
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from tokenizers import Tokenizer

from lm.corpus import SPLITS
from lm.corpus.documents import Document, count, write_card
from lm.corpus.ids import IdLines
from lm.corpus.tokenizer import BOUNDARY
from lm.errors import writing

_PIECE = 2**18
"""Characters of a document that are encoded at once."""
_BATCH = 2**22
"""Characters of all documents that are encoded at once."""
_LONE_BLANK = re.compile(r"(?<=\S)[^\S\v\f\x1c-\x1f\x85](?=\S)")


def spread(count: int, share: float) -> list[int]:
    """Indices of about ``share`` of ``count`` things, at least one, spread evenly, so that no period is left out."""
    keep = max(1, round(share * count))
    return [(2 * i + 1) * count // (2 * keep) for i in range(keep)]


def select_share(documents: Sequence[Document], share: float) -> list[Document]:
    """About ``share`` of the documents, spread evenly over the list; at least one."""
    return [documents[i] for i in spread(len(documents), share)]


def select_lines(lines: IdLines, share: float) -> IdLines:
    """The same of a corpus of ids, whose documents are lines: a share of 1 is the whole stream as it was."""
    chosen = np.zeros(len(lines.sizes), dtype=bool)
    chosen[spread(len(lines.sizes), share)] = True
    return IdLines(lines.tokens[np.repeat(chosen, lines.sizes)], lines.sizes[chosen])


def encode(tokenizer: Tokenizer, documents: Sequence[Document]) -> list[np.ndarray]:
    """Each document's ids (tokens,), the last one the boundary where the vocabulary has one (GPT-1's has none).

    uint16 where that holds them, else uint32. Long documents are encoded piece by piece, which changes no id: what the
    library keeps of a token while it encodes is two hundred times the token.
    """
    boundary = tokenizer.token_to_id(BOUNDARY)
    dtype = np.uint16 if tokenizer.get_vocab_size() <= 2**16 else np.uint32
    end = np.array([] if boundary is None else [boundary], dtype=dtype)
    encoded: list[np.ndarray] = []
    for batch in _batches([document.text for document in documents]):
        places = [place for place, _ in batch]
        for place, encoding in zip(places, tokenizer.encode_batch([piece for _, piece in batch]), strict=True):
            ids = np.array(encoding.ids, dtype=dtype)
            if place < len(encoded):
                encoded[place] = np.concatenate([encoded[place], ids])
            else:
                encoded.append(ids)
    return [np.concatenate([ids, end]) for ids in encoded]


def join(arrays: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Documents as one stream (tokens,), and where in it each begins, (documents,) int64."""
    return np.concatenate(arrays), starts_of([len(array) for array in arrays])


def starts_of(sizes: Sequence[int] | np.ndarray) -> np.ndarray:
    """Where each of these begins when they stand one behind another: (len(sizes),) int64, the first 0."""
    ends = np.cumsum(np.asarray(sizes, dtype=np.int64))
    return np.concatenate([np.zeros(1, np.int64), ends[:-1]])


def pieces(text: str, size: int = _PIECE) -> list[str]:
    """``text`` in parts of about ``size`` characters that a tokenizer takes for the same words as the whole.

    Parts begin at a blank that has none beside it. Byte-level BPE joins one space with the word behind it and other
    blanks with one another, and GPT-1's drops blanks: neither looks across such a place. Of Python's blanks those that
    are control characters are none here, but for tab and line ends: GPT-1's takes them out and joins what stands on
    both sides, and to byte-level BPE U+001C to U+001F are marks.
    """
    found, start = [], 0
    for cut in _LONE_BLANK.finditer(text):
        if cut.start() - start >= size:
            found.append(text[start : cut.start()])
            start = cut.start()
    return [*found, text[start:]]


def _batches(texts: Sequence[str]) -> Iterator[list[tuple[int, str]]]:
    """Pieces with the index of their text, in order, by about :data:`_BATCH` characters."""
    batch: list[tuple[int, str]] = []
    held = 0
    for place, text in enumerate(texts):
        for piece in pieces(text) if len(text) > _PIECE else [text]:
            batch.append((place, piece))
            held += len(piece)
            if held >= _BATCH:
                yield batch
                batch, held = [], 0
    if batch:
        yield batch


def unigram_perplexity(counts: np.ndarray, targets: np.ndarray) -> float:
    """Perplexity of ``targets`` under the add-1/2 unigram model with training ``counts`` (vocabulary,)."""
    probabilities = (counts + 0.5) / (counts.sum() + 0.5 * len(counts))
    return float(np.exp(-np.log(probabilities[targets]).mean()))


def write_tokens(
    tokens: Mapping[str, np.ndarray],
    texts: Mapping[str, Sequence[str]] | None,
    vocabulary: int,
    folder: Path,
    source: Mapping[str, Any],
    starts: Mapping[str, np.ndarray] | None = None,
) -> None:
    """Write ``{split}.npy``, ``{split}_documents.npy`` and ``card.json``, which begins with ``source``.

    A token is predicted when another stands before it, so a split of n tokens has n − 1 predicted ones. Without
    ``texts`` words and bytes are unknown: null. ``starts`` are the documents' first places (documents,) int64; without
    them a split is one document. The card names contents, not where they came from: the same text under another name
    is the same to a run.
    """
    folder.mkdir(parents=True, exist_ok=True)
    counts = np.bincount(tokens["train"], minlength=vocabulary)
    card: dict[str, Any] = {**source, "vocabulary": vocabulary, "splits": {}}
    for split in SPLITS:
        first = starts[split] if starts else starts_of([len(tokens[split])])
        card["splits"][split] = {
            "documents": len(first),
            "tokens": len(tokens[split]),
            "predicted_tokens": len(tokens[split]) - 1,
            **(count(texts[split]) if texts else {"words": None, "bytes": None}),
            "unigram_perplexity": unigram_perplexity(counts, tokens[split][1:]),
            "sha256": _save(folder / f"{split}.npy", tokens[split]),
            "documents_sha256": _save(folder / f"{split}_documents.npy", first),
        }
    write_card(card, folder)


def _save(path: Path, array: np.ndarray) -> str:
    """Write an array and return the file's SHA-256."""
    content = io.BytesIO()
    np.save(content, array)  # straight to a file it would not tell a full disk from a short write
    with writing(path):
        path.write_bytes(content.getbuffer())
    return hashlib.sha256(content.getbuffer()).hexdigest()
