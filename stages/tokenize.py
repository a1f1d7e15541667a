"""Train the tokenizer on the training split and write every split as an array of token ids."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from lm.config.study import PARAMS, load_study
from lm.corpus.documents import SPLITS, read_split
from lm.corpus.tokenizer import train_byte_bpe
from lm.corpus.tokens import encode, select_share, write_tokens
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

    settings = scale.tokenizer
    shares = {"train": settings.train_share, "validation": settings.held_out_share, "test": settings.held_out_share}
    documents = {split: select_share(read_split(arguments.corpus, split), shares[split]) for split in SPLITS}
    texts = {split: [document.text for document in documents[split]] for split in SPLITS}
    tokenizer = train_byte_bpe(texts["train"], settings.vocabulary)
    tokens = {split: encode(tokenizer, documents[split]) for split in SPLITS}
    for split in SPLITS:
        if len(tokens[split]) <= scale.context:
            raise StudyError(
                f"corpus {study.corpus}: the {split} split has {len(tokens[split])} tokens, "
                f"fewer than one window of {scale.context + 1} (scales.{study.scale}.context + 1)"
            )
    card = json.loads((arguments.corpus / "card.json").read_text())
    source = {key: card[key] for key in ("source", "version", "license")}
    write_tokens(tokens, texts, settings.vocabulary, arguments.out, source)
    tokenizer.save(str(arguments.out / "tokenizer.json"))


if __name__ == "__main__":
    main()
