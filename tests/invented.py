"""A vocabulary in the layouts of GPT-1's release, made up: small letters, digits, some signs, a few merges."""

from __future__ import annotations

import json
import string
from pathlib import Path

MERGES = [
    ("t", "h"),
    ("th", "e</w>"),
    ("i", "n"),
    ("in", "g</w>"),
    ("th", "in"),
    ("thin", "g</w>"),
    ("in", "</w>"),
    ("a", "n"),
    ("an", "d</w>"),
    ("1", "9"),
    ("19", "1"),
    ("r", "e"),
    ("#", "#</w>"),
]
_SIGNS = [*string.ascii_lowercase, *string.digits, *".,'-@=#<>", "ß", "é", "λ"]
_MADE = [a + b for a, b in MERGES]
VOCABULARY = {
    token: number
    for number, token in enumerate(["<unk>", *_SIGNS, *(f"{sign}</w>" for sign in _SIGNS), "</w>", *_MADE])
}
LAYOUTS = [("encoder_bpe_40000.json", "vocab_40000.bpe"), ("vocab.json", "merges.txt")]


def write_files(folder: Path, names: tuple[str, str] = LAYOUTS[0], version: bool = True) -> Path:
    """The two files under ``names``; returns the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / names[0]).write_text(json.dumps(VOCABULARY), encoding="utf-8")
    lines = ["#version: 0.2"] * version + [" ".join(pair) for pair in MERGES]
    (folder / names[1]).write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder
