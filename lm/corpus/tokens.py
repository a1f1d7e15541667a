"""Token arrays on disk, their card, and the unigram baseline.

The unigram perplexity is the line below which a model has learned context: any model that only knows how often
each token occurs can reach it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer

from lm.corpus.documents import SPLITS, Document, count
from lm.corpus.ids import IdLines
from lm.corpus.tokenizer import BOUNDARY


def select_share(documents: Sequence[Document], share: float) -> list[Document]:
    """About ``share`` of the documents, spread evenly over the list, so that no period is left out; at least one."""
    keep = max(1, round(share * len(documents)))
    return [documents[(2 * i + 1) * len(documents) // (2 * keep)] for i in range(keep)]


def select_lines(lines: IdLines, share: float) -> IdLines:
    """The same of a corpus of ids, whose documents are lines: a share of 1 is the whole stream as it was."""
    chosen = np.zeros(len(lines.sizes), dtype=bool)
    chosen[select_share(range(len(lines.sizes)), share)] = True
    return IdLines(lines.tokens[np.repeat(chosen, lines.sizes)], lines.sizes[chosen])


def encode(tokenizer: Tokenizer, documents: Sequence[Document]) -> np.ndarray:
    """The documents' ids, each followed by the boundary where the vocabulary has one (GPT-1's has none).

    Shape (tokens,), uint16 where that holds them, else uint32.
    """
    boundary = tokenizer.token_to_id(BOUNDARY)
    end = () if boundary is None else (boundary,)
    dtype = np.uint16 if tokenizer.get_vocab_size() <= 2**16 else np.uint32
    encodings = tokenizer.encode_batch([document.text for document in documents])
    return np.array([token for encoding in encodings for token in (*encoding.ids, *end)], dtype=dtype)


def unigram_perplexity(counts: np.ndarray, targets: np.ndarray) -> float:
    """Perplexity of ``targets`` under the add-1/2 unigram model with training ``counts`` (vocabulary,)."""
    probabilities = (counts + 0.5) / (counts.sum() + 0.5 * len(counts))
    return float(np.exp(-np.log(probabilities[targets]).mean()))


def write_tokens(
    tokens: dict[str, np.ndarray], texts: dict[str, list[str]] | None, vocabulary: int, folder: Path, source: dict
) -> None:
    """Write ``{split}.npy`` and ``card.json``, which begins with ``source``.

    A token is predicted when another stands before it, so a split of n tokens has n − 1 predicted ones. Without
    ``texts`` words and bytes are unknown: null.
    """
    folder.mkdir(parents=True, exist_ok=True)
    counts = np.bincount(tokens["train"], minlength=vocabulary)
    card = {**source, "vocabulary": vocabulary, "splits": {}}
    for split in SPLITS:
        path = folder / f"{split}.npy"
        np.save(path, tokens[split])
        card["splits"][split] = {
            "tokens": len(tokens[split]),
            "predicted_tokens": len(tokens[split]) - 1,
            **(count(iter(texts[split])) if texts else {"words": None, "bytes": None}),
            "unigram_perplexity": unigram_perplexity(counts, tokens[split][1:]),
            "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        }
    (folder / "card.json").write_text(json.dumps(card, indent=2, ensure_ascii=False) + "\n")
