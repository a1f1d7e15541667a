"""Load the corpus that params.yaml names and write its documents by split, with a card of counts."""

from __future__ import annotations

import argparse
from pathlib import Path

from lm.config.study import PARAMS, load_study
from lm.corpus.catalogue import CORPORA
from lm.corpus.documents import describe, write_corpus
from lm.corpus.ids import IdCorpus, write_ids
from lm.corpus.sources import load_corpus
from lm.errors import reported


@reported
def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m stages.corpus", description=__doc__)
    parser.add_argument("--params", type=Path, default=PARAMS, help="the settings (default: %(default)s)")
    parser.add_argument("--corpora", type=Path, default=CORPORA, help="folder of corpora (default: %(default)s)")
    parser.add_argument("--out", type=Path, default=Path("data/corpus"), help="folder to write (default: %(default)s)")
    arguments = parser.parse_args()
    corpus = load_corpus(load_study(arguments.params).corpus, arguments.corpora)
    card = write_ids(corpus, arguments.out) if isinstance(corpus, IdCorpus) else write_corpus(corpus, arguments.out)
    print(describe(card))


if __name__ == "__main__":
    main()
