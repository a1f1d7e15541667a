"""Write every split as an array of token ids: of a BPE trained on the training split, of GPT-1, or the corpus's own."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from lm.config.study import PARAMS, load_study
from lm.corpus import SPLITS
from lm.corpus.documents import read_card, read_split
from lm.corpus.folds import deal
from lm.corpus.gpt1 import DIGEST, load_gpt1
from lm.corpus.ids import is_ids, read_ids
from lm.corpus.tokenizer import FILE, load_tokenizer, save_tokenizer, train_byte_bpe
from lm.corpus.tokens import encode, join, select_lines, select_share, starts_of, write_tokens
from lm.errors import StudyError, reported


@reported
def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m stages.tokenize", description=__doc__)
    parser.add_argument("--params", type=Path, default=PARAMS, help="the settings (default: %(default)s)")
    parser.add_argument("--corpus", type=Path, default=Path("data/corpus"), help="documents (default: %(default)s)")
    parser.add_argument("--out", type=Path, default=Path("data/tokens"), help="folder to write (default: %(default)s)")
    arguments = parser.parse_args()
    study = load_study(arguments.params)
    scale = study.scales[study.scale]

    settings, folds = scale.tokenizer, study.split.folds
    given = Path(study.gpt1.tokenizer) if study.gpt1.tokenizer else None
    shares = {"train": settings.train_share, "validation": settings.held_out_share, "test": settings.held_out_share}
    card = read_card(arguments.corpus)
    source: dict[str, Any] = {}
    if is_ids(card):
        if folds:
            raise StudyError(
                f"params.yaml: split.folds: {folds}: the corpus {study.corpus} came as lines of token ids, without "
                f"documents to deal; leave its own split: split.folds null"
            )
        lines = {split: select_lines(read_ids(arguments.corpus, split), shares[split]) for split in SPLITS}
        tokens, texts, vocabulary = {split: lines[split].tokens for split in SPLITS}, None, card["vocabulary"]
        starts = {split: starts_of(lines[split].sizes) for split in SPLITS}
        beside = (arguments.corpus / FILE).exists()
        again = "run `dvc repro -f corpus`"
        tokenizer = load_gpt1(given) if given else load_tokenizer(arguments.corpus, again) if beside else None
        source["tokenizer"] = {"kind": "ids", "sha256": DIGEST if tokenizer else None}
    else:
        splits = {split: read_split(arguments.corpus, split) for split in SPLITS}
        if folds:
            splits = deal(splits, folds, study.split.fold)
        documents = {split: select_share(splits[split], shares[split]) for split in SPLITS}
        texts, vocabulary = {split: [d.text for d in documents[split]] for split in SPLITS}, settings.vocabulary
        if settings.kind == "gpt1":
            tokenizer = load_gpt1(given)
            source["tokenizer"] = {"kind": "gpt1", "sha256": DIGEST}
        else:
            tokenizer = train_byte_bpe(texts["train"], vocabulary)
        joined = {split: join(encode(tokenizer, documents[split])) for split in SPLITS}
        tokens = {split: joined[split][0] for split in SPLITS}
        starts = {split: joined[split][1] for split in SPLITS}
    for split in SPLITS:
        if len(tokens[split]) <= scale.context:
            raise StudyError(
                f"corpus {study.corpus}: the {split} split has {len(tokens[split])} tokens, "
                f"fewer than one window of {scale.context + 1} (scales.{study.scale}.context + 1)"
            )
    write_tokens(tokens, texts, vocabulary, arguments.out, source, starts)
    (arguments.out / FILE).unlink(missing_ok=True)
    if tokenizer:
        save_tokenizer(tokenizer, arguments.out)


if __name__ == "__main__":
    main()
