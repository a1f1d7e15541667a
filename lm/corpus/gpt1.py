"""GPT-1's tokenizer: the reference study's tokens, from the vocabulary and merges that OpenAI released.

Its embeddings were trained with these ids, so the ids must be these and no others: files are known by their content,
whatever they are called. The study counted one higher than the release, 0 being its padding. That shift stands in the
vocabulary itself, so that a saved tokenizer encodes and decodes straight.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers

from lm.download import fetch
from lm.errors import StudyError
from lm.text import decode

PADDING, UNKNOWN, WORD_END = "<pad>", "<unk>", "</w>"
DIGEST = "b7136a457cafaada940bb4f8b525ddd4b533e93b2edba19387168c1000f2b300"
"""Of the release's vocabulary and merges, by :func:`content_digest`."""
_LAYOUTS = {"OpenAI's": ("encoder_bpe_40000.json", "vocab_40000.bpe"), "the Hub's": ("vocab.json", "merges.txt")}
VOCABULARY_FILES = tuple(name for names in _LAYOUTS.values() for name in names)
_REPOSITORY, _REVISION = "openai-community/openai-gpt", "b3ab1942f7090e287d001cec22331dfc2764acf0"
_SHA256 = {
    "vocab.json": "fdf49b19e7de236852091da09b84a7a3cd5e7b0e79916376cf45f6b8127b8078",
    "merges.txt": "0ea9b51ae695073cd871e0358f7016311d671a7ff3963e367d5236522f294725",
}
"""Of the Hub's copies, which are OpenAI's files byte for byte (github.com/openai/finetune-transformer-lm, a69b5c4)."""

Merges = list[tuple[str, str]]


def load_gpt1(folder: Path | None) -> Tokenizer:
    """The tokenizer from the two files in ``folder``, or, without one, from the Hub, downloaded once.

    Raises :class:`StudyError` when a file is missing, damaged or not GPT-1's.
    """
    paths = _find(folder) if folder else _download()
    vocabulary, merges = read_files(*paths)
    found = content_digest(vocabulary, merges)
    if found != DIGEST:
        raise StudyError(
            f"{paths[0]}: {len(vocabulary)} entries and {len(merges)} merges that are not GPT-1's (content sha256 "
            f"{found[:12]}…, expected {DIGEST[:12]}…); take both files from its release"
        )
    return build_tokenizer(vocabulary, merges)


def has_vocabulary(folder: Path) -> bool:
    """Whether any file of either layout lies in ``folder``."""
    return any((folder / name).exists() for name in VOCABULARY_FILES)


def build_tokenizer(vocabulary: dict[str, int], merges: Merges) -> Tokenizer:
    """Text to ids as GPT-1's published tokenizer gives them, each one higher, with 0 for padding.

    BERT's pre-tokenization of lower-cased text without accents, then BPE with a mark at the end of a word. Characters
    outside the vocabulary become ``<unk>``, and so does ``<unk>`` where it stands in the text. Line ends are white
    space: there is no token for them, and blank lines vanish.
    """
    shifted = {PADDING: 0} | {token: identity + 1 for token, identity in vocabulary.items()}
    tokenizer = Tokenizer(
        models.BPE(vocab=shifted, merges=merges, unk_token=UNKNOWN, end_of_word_suffix=WORD_END, fuse_unk=False)
    )
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.BPEDecoder(suffix=WORD_END)
    tokenizer.add_special_tokens([UNKNOWN])
    return tokenizer


def read_files(vocabulary: Path, merges: Path) -> tuple[dict[str, int], Merges]:
    """Token to id, and the merges in their order; raises :class:`StudyError` for what is not such a file."""
    entries = _read_vocabulary(vocabulary)
    lines = _read_text(merges).rstrip("\n").split("\n")
    pairs: Merges = []
    for number, line in enumerate(lines[lines[0].startswith("#version") :], start=1):
        first, _, second = line.partition(" ")
        if not first or not second or not {first, second, first + second} <= entries.keys():
            raise StudyError(f"{merges}: merge {number} is not two entries that make a third; take the file anew")
        pairs.append((first, second))
    return entries, pairs


def content_digest(vocabulary: dict[str, int], merges: Sequence[tuple[str, str]]) -> str:
    """SHA-256 over entries in the order of their ids and merges in theirs: the same however the files are written."""
    content = {"vocabulary": sorted(vocabulary.items(), key=lambda entry: entry[1]), "merges": merges}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _find(folder: Path) -> tuple[Path, Path]:
    for names in _LAYOUTS.values():
        vocabulary, merges = (folder / name for name in names)
        if vocabulary.is_file() and merges.is_file():
            return vocabulary, merges
    wanted = ", or ".join(" and ".join(names) for names in _LAYOUTS.values())
    raise StudyError(f"{folder}: not a folder with {wanted}; see gpt1.tokenizer in params.yaml")


def _download() -> tuple[Path, Path]:
    instead = "set gpt1.tokenizer in params.yaml to a folder with its vocab.json and merges.txt"
    vocabulary, merges = (
        fetch(_REPOSITORY, _REVISION, name, digest, instead=instead) for name, digest in _SHA256.items()
    )
    return vocabulary, merges


def _read_text(path: Path) -> str:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise StudyError(f"{path}: can't be read: {error.strerror}") from None
    return decode(content, str(path))


def _read_vocabulary(path: Path) -> dict[str, int]:
    try:
        entries = json.loads(_read_text(path))
    except json.JSONDecodeError as error:
        raise StudyError(f"{path}: not JSON ({error}); take the file anew") from None
    if not isinstance(entries, dict) or {type(each) for each in entries.values()} != {int}:
        raise StudyError(f"{path}: not a mapping of tokens to ids; take the file anew")
    if sorted(entries.values()) != list(range(len(entries))) or UNKNOWN not in entries:
        raise StudyError(f"{path}: its ids are not 0, 1, 2 … with {UNKNOWN} among the tokens; take the file anew")
    return entries
