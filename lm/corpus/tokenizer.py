"""Text to token ids: a byte-level BPE trained on the training split alone."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from lm.errors import StudyError, reading, writing

BOUNDARY = "<|endoftext|>"
FILE = "tokenizer.json"


def train_byte_bpe(texts: Sequence[str], vocabulary: int) -> Tokenizer:
    """A byte-level BPE with exactly ``vocabulary`` entries: 256 bytes, the document boundary and the merges.

    Any text encodes, none is lost: decoding gives the bytes back. Raises :class:`StudyError` when the text is too
    small for that many merges.
    """
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=[BOUNDARY],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    found = tokenizer.get_vocab_size()
    if found != vocabulary:
        raise StudyError(
            f"tokenizer: vocabulary {vocabulary} cannot be reached: the training text yields {found} entries; "
            f"lower the scale's tokenizer.vocabulary or use more text"
        )
    # text that spells the boundary must stay text
    tokenizer.encode_special_tokens = True
    return tokenizer


def save_tokenizer(tokenizer: Tokenizer, folder: Path) -> None:
    """Write ``tokenizer.json``; an :class:`OSError` names it, which the library's own exception does not."""
    path = folder / FILE
    with writing(path):
        path.write_text(tokenizer.to_str(pretty=True), encoding="utf-8")


def load_tokenizer(folder: Path, again: str) -> Tokenizer:
    """Read ``tokenizer.json``; raises :class:`StudyError` when it is missing or damaged, ``again`` ending the line."""
    path = folder / FILE
    # the library raises plain Exception for what it cannot parse
    with reading(path, again, (Exception,)):
        return Tokenizer.from_str(path.read_text(encoding="utf-8"))
