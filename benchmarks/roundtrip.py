"""How well GPT-1's tokenizer, as built here, gives the reference study's own token ids.

The study's text is not at hand as it was tokenized, its ids are: decoded line by line and encoded again they must come
back. What does not is counted by its cause. Where the word-level WikiText-2 is given too, lines without <unk> say
the same as the raw text, so their ids must be the study's without any decoding.
"""

from __future__ import annotations

import argparse
from collections import Counter
from difflib import SequenceMatcher
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer

from lm.corpus import SPLITS
from lm.corpus.catalogue import list_files
from lm.corpus.gpt1 import UNKNOWN, WORD_END, load_gpt1
from lm.corpus.ids import IdLines
from lm.corpus.sources.npz import load_npz
from lm.errors import StudyError, reported

_FILES = {"train": "train.txt", "validation": "valid.txt", "test": "test.txt"}


def by_line(lines: IdLines) -> list[list[int]]:
    return [line.tolist() for line in np.split(lines.tokens, np.cumsum(lines.sizes)[:-1])]


def differences(expected: list[int], found: list[int]) -> list[tuple[int, int, int, int]]:
    """Ranges (in ``expected``, in ``found``) that are not the same."""
    blocks = SequenceMatcher(None, expected, found, autojunk=False).get_opcodes()
    return [(a, b, c, d) for kind, a, b, c, d in blocks if kind != "equal"]


def cause(tokenizer: Tokenizer, line: list[int], start: int, end: int) -> str:
    """Why the tokens ``line[start:end]`` did not come back."""
    pieces = [tokenizer.id_to_token(each) or "" for each in line[start : end + 1]]
    if start == end:
        return "tokens more than expected"
    inside = not pieces[end - start - 1].endswith(WORD_END)
    if inside and len(pieces) > end - start and pieces[-1] == UNKNOWN:
        return f"the part of a word before {UNKNOWN}: decoded it ends there, so it is encoded as a word"
    return "other"


def round_trip(tokenizer: Tokenizer, lines: list[list[int]]) -> tuple[int, Counter[str]]:
    """How many tokens come back after decoding and encoding, and the causes of the others, in tokens."""
    texts = tokenizer.decode_batch(lines, skip_special_tokens=False)
    causes: Counter[str] = Counter()
    lost = 0
    for line, encoding in zip(lines, tokenizer.encode_batch(texts), strict=True):
        for start, end, *_ in differences(line, encoding.ids) if line != encoding.ids else ():
            lost += end - start
            causes[cause(tokenizer, line, start, end)] += end - start
    return sum(map(len, lines)) - lost, causes


def against_text(tokenizer: Tokenizer, lines: list[list[int]], path: Path) -> str:
    """Ids of the text's lines without ``<unk>`` against the study's."""
    texts = [line for line in path.read_text(encoding="utf-8").split("\n") if line.strip()]
    if len(texts) != len(lines):
        raise StudyError(f"{path}: {len(texts)} lines with text, the archive has {len(lines)}; not the same split")
    known = [(text, line) for text, line in zip(texts, lines, strict=True) if UNKNOWN not in text]
    encodings = tokenizer.encode_batch([text for text, _ in known])
    pairs = [(line, encoding.ids) for (_, line), encoding in zip(known, encodings, strict=True)]
    off = [(line, ids) for line, ids in pairs if line != ids]
    total = sum(len(line) for line, _ in pairs)
    lost = sum(end - start for line, ids in off for start, end, *_ in differences(line, ids))
    return (
        f"{len(pairs)} of {len(lines)} lines have no {UNKNOWN}: {total - lost:,} of {total:,} ids are the study's "
        f"({(total - lost) / total:.4%}), {len(off)} lines differ"
    )


@reported
def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.roundtrip", description=__doc__)
    parser.add_argument("ids", type=Path, help="folder of the course's wiki.{train,validation,test}.npz")
    parser.add_argument("tokenizer", type=Path, help="folder of GPT-1's vocabulary and merges")
    parser.add_argument("--text", type=Path, help="folder of WikiText-2, word level: train.txt, valid.txt, test.txt")
    arguments = parser.parse_args()
    tokenizer = load_gpt1(arguments.tokenizer)
    corpus = load_npz(arguments.ids, list_files(arguments.ids))
    for split in SPLITS:
        lines = by_line(corpus.splits[split])
        same, causes = round_trip(tokenizer, lines)
        total = sum(map(len, lines))
        print(f"{split}: {same:,} of {total:,} tokens come back ({same / total:.4%})")
        for name, count in causes.most_common():
            print(f"  {count}: {name}")
        if arguments.text:
            print(f"  text: {against_text(tokenizer, lines, arguments.text / _FILES[split])}")


if __name__ == "__main__":
    main()
