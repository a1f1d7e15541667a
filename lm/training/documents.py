"""Which document each of a split's tokens belongs to, and what predicting each document cost."""

from __future__ import annotations

import csv
import hashlib
import io
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lm.errors import StudyError


def open_starts(folder: Path, split: str, card: dict[str, Any]) -> NDArray[np.int64]:
    """Where in the split's tokens each document starts, from ``{split}_documents.npy``; (documents,).

    Raises :class:`StudyError` when the file is missing, is no such array, or does not fit its card.
    """
    path = folder / f"{split}_documents.npy"
    try:
        starts: NDArray[np.int64] = np.load(path, allow_pickle=False)
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
    except FileNotFoundError:
        raise StudyError(f"{path}: no such file; run `dvc repro -f tokenize`") from None
    except (ValueError, EOFError, OSError) as error:
        raise StudyError(f"{path}: not an array of offsets ({error}); run `dvc repro -f tokenize`") from None
    if digest != card["splits"][split].get("documents_sha256"):
        raise StudyError(f"{path}: does not fit its card (sha256 {digest[:12]}…); run `dvc repro -f tokenize`")
    return starts


def as_csv(nll_N: NDArray[np.float32], starts: NDArray[np.int64]) -> str:
    """A row a document: its number, how many of its tokens were predicted, and their negative log-likelihood in nats.

    ``nll_N`` has every token of the split but the first, which nothing predicts. A token counts for the document that
    holds it, not for the one that it was predicted from.
    """
    document_N = np.searchsorted(starts, np.arange(1, len(nll_N) + 1), side="right") - 1
    predicted = np.bincount(document_N, minlength=len(starts))
    nll = np.bincount(document_N, weights=nll_N.astype(np.float64), minlength=len(starts))
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["document", "predicted_tokens", "nll"])
    writer.writerows(
        (i, int(count), repr(float(sum_))) for i, (count, sum_) in enumerate(zip(predicted, nll, strict=True))
    )
    return text.getvalue()
