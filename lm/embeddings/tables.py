"""``data/embeddings``: a card, and for pretrained embeddings the two tables, held against it.

A table of another file would train without complaint. A run knows its tables by their SHA-256: a checkpoint is bound
to it, and the saved model, which leaves the tables out, names it.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import safe_open
from safetensors.numpy import save

from lm.config.run import ModelConfig
from lm.errors import StudyError, reading, writing

TABLES = "table.safetensors"


@dataclass(frozen=True)
class PretrainedEmbeddings:
    """Tables on the disk, checked. They are read when they are asked for, so that their memory is the model's."""

    path: Path
    sha256: str

    def table(self, name: str) -> np.ndarray:
        """``tokens`` (vocabulary, width) or ``positions`` (context, width), float32."""
        with safe_open(self.path, framework="np") as file:
            return file.get_tensor(name)


def write_embeddings(folder: Path, tables: tuple[np.ndarray, np.ndarray] | None, source: dict[str, str]) -> None:
    """Write ``card.json``, and ``table.safetensors`` where embeddings are pretrained: all or nothing.

    ``tables`` are tokens (vocabulary, width) and positions (context, width), float32; ``source`` says where from.
    """
    partial = folder.with_name(f".{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        card: dict[str, Any] = {"kind": "learned"}
        if tables is not None:
            tokens, positions = tables
            content = save({"tokens": tokens, "positions": positions})
            with writing(folder / TABLES):
                (partial / TABLES).write_bytes(content)
            shapes = {"tokens": list(tokens.shape), "positions": list(positions.shape)}
            card = {"kind": "gpt1", **source, **shapes, "sha256": hashlib.sha256(content).hexdigest()}
        with writing(folder / "card.json"):
            (partial / "card.json").write_text(json.dumps(card, indent=2) + "\n")
        shutil.rmtree(folder, ignore_errors=True)
        os.replace(partial, folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def open_embeddings(folder: Path, config: ModelConfig, vocabulary: int) -> PretrainedEmbeddings | None:
    """The tables for a model, or None for one that learns its own.

    Raises :class:`StudyError` when they are missing, of other shapes, or do not fit their card.
    """
    if config.embeddings == "learned":
        return None
    card, path = _read_card(folder), folder / TABLES
    again = "run `dvc repro -f embeddings`"
    if card.get("kind") != config.embeddings:
        raise StudyError(
            f"{folder / 'card.json'}: kind '{card.get('kind')}', but the run wants '{config.embeddings}'; {again}"
        )
    expected = {"tokens": [vocabulary, config.width], "positions": [config.context, config.width]}
    for name, shape in expected.items():
        if card.get(name) != shape:
            raise StudyError(
                f"{folder / 'card.json'}: {name} of shape {card.get(name)}, but the run wants {shape}; {again}"
            )
    with reading(path, again), path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if digest != card.get("sha256"):
        raise StudyError(f"{path}: does not fit its card (sha256 {digest[:12]}…); {again}")
    return PretrainedEmbeddings(path, digest)


def _read_card(folder: Path) -> dict[str, Any]:
    path = folder / "card.json"
    with reading(path, "run `dvc repro -f embeddings`"):
        card = json.loads(path.read_text())
    if not isinstance(card, dict):
        raise StudyError(f"{path}: not a card; run `dvc repro -f embeddings`")
    return card
