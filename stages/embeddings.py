"""Write the token and position embeddings that models take in frozen; where they are learned, only say so."""

from __future__ import annotations

import argparse
import hashlib
from pathlib import Path

from lm.config.study import PARAMS, load_study
from lm.corpus.catalogue import CORPORA
from lm.embeddings.release import REPOSITORY, REVISION, SHA256, find_release, read_release
from lm.embeddings.tables import write_embeddings
from lm.errors import reported


@reported
def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m stages.embeddings", description=__doc__)
    parser.add_argument("--params", type=Path, default=PARAMS, help="the settings (default: %(default)s)")
    parser.add_argument(
        "--out", type=Path, default=Path("data/embeddings"), help="folder to write (default: %(default)s)"
    )
    parser.add_argument("--corpora", type=Path, default=CORPORA, help="folder of corpora (default: %(default)s)")
    arguments = parser.parse_args()
    study = load_study(arguments.params)
    scale = study.scales[study.scale]
    if scale.embeddings == "learned":
        write_embeddings(arguments.out, None, {})
        return
    path = find_release(study.gpt1.embeddings, arguments.corpora / study.corpus)
    tables = read_release(path, scale.tokenizer.vocabulary, scale.width, scale.context)
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    # a copy of the released file is that file, wherever it lies
    source = f"{REPOSITORY} at {REVISION}" if digest == SHA256 else path.name
    write_embeddings(arguments.out, tables, {"source": source, "source_sha256": digest})


if __name__ == "__main__":
    main()
