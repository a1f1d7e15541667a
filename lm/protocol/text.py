"""More text to train on, in the default study's tokens: the same vocabulary and the same held-out splits."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np

from lm.config.study import Study
from lm.corpus.documents import Document, count, read_split
from lm.corpus.documents import read_card as read_corpus_card
from lm.corpus.ids import is_ids
from lm.corpus.tokenizer import load_tokenizer
from lm.corpus.tokens import encode, join, select_share
from lm.corpus.windows import read_card
from lm.errors import StudyError

_AGAIN = "run `dvc repro tokenize`"


def more_text(study: Study, times: int, corpus: Path, tokens: Path, out: Path) -> None:
    """Write ``tokens`` to ``out`` with ``times`` the scale's share of the training documents.

    Documents differ in length: what goes beyond so many times the tokens is cut, so that an epoch of it has the steps
    of so many epochs. Raises :class:`StudyError` where the corpus has not that much text, comes as token ids, is dealt
    to folds, or is missing or damaged.
    """
    settings = study.scales[study.scale].tokenizer
    share = times * settings.train_share
    where = f"scales.{study.scale}.tokenizer.train_share {settings.train_share:g}"
    if share > 1:
        raise StudyError(
            f"controlled/protocol.yaml: text {times}: {where} leaves at most {1 / settings.train_share:.3g}"
        )
    if is_ids(read_corpus_card(corpus)) or study.split.folds:
        raise StudyError(f"controlled/protocol.yaml: text {times}: needs documents and the corpus's own split")
    documents = select_share(read_split(corpus, "train"), share)
    card = read_card(tokens)
    train, starts = join(encode(load_tokenizer(tokens, _AGAIN), documents))
    train = train[: times * card["splits"]["train"]["tokens"]]
    starts = starts[starts < len(train)]
    shutil.copytree(tokens, out, dirs_exist_ok=True)
    np.save(out / "train.npy", train)
    np.save(out / "train_documents.npy", starts)
    # the unigram model stays the default study's: it marks the same line for every arm
    card["splits"]["train"] |= _counts(train, documents[: len(starts)], out)
    (out / "card.json").write_text(json.dumps(card, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def _counts(train: np.ndarray, documents: list[Document], out: Path) -> dict[str, Any]:
    return {
        "documents": len(documents),
        "tokens": len(train),
        "predicted_tokens": len(train) - 1,
        **count(document.text for document in documents),
        "sha256": _digest(out / "train.npy"),
        "documents_sha256": _digest(out / "train_documents.npy"),
    }


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
