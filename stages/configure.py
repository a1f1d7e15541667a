"""Check params.yaml and write one resolved configuration an experiment, ``configs/<experiment>.json``.

``data/checked.json`` says that the settings were checked and which corpus they name. The stages that read ``corpora/``
and a scale's settings depend on it, so that what is wrong is said here, before DVC looks for what is not there.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from lm.config.study import PARAMS, load_study
from lm.corpus.catalogue import CORPORA, find_corpus
from lm.errors import reported, writing


@reported
def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m stages.configure", description=__doc__)
    parser.add_argument("--params", type=Path, default=PARAMS, help="the settings (default: %(default)s)")
    parser.add_argument("--out", type=Path, default=Path("configs"), help="folder to write (default: %(default)s)")
    parser.add_argument("--corpora", type=Path, default=CORPORA, help="folder of corpora (default: %(default)s)")
    parser.add_argument(
        "--checked", type=Path, default=Path("data/checked.json"), help="file to write (default: %(default)s)"
    )
    arguments = parser.parse_args()
    study = load_study(arguments.params)
    find_corpus(study.corpus, arguments.corpora)
    configurations = study.resolve()
    arguments.out.mkdir(parents=True, exist_ok=True)
    for name, run in configurations.items():
        path = arguments.out / f"{name}.json"
        with writing(path):
            path.write_text(run.model_dump_json(indent=2, exclude_none=True) + "\n")
    arguments.checked.parent.mkdir(parents=True, exist_ok=True)
    with writing(arguments.checked):
        arguments.checked.write_text(json.dumps({"corpus": study.corpus}) + "\n")


if __name__ == "__main__":
    main()
