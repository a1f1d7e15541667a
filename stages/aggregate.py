"""Join the runs that params.yaml names: two Parquet tables, all their epochs as one CSV, and the headline figures."""

from __future__ import annotations

import argparse
from pathlib import Path

from lm.config.study import PARAMS, load_study
from lm.corpus.documents import read_card
from lm.errors import reported
from lm.results.collect import collect, read_json
from lm.results.publish import publish
from lm.results.summarize import summarize


@reported
def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m stages.aggregate", description=__doc__)
    parser.add_argument("--params", type=Path, default=PARAMS, help="the settings (default: %(default)s)")
    parser.add_argument("--runs", type=Path, default=Path("runs"), help="folder of runs (default: %(default)s)")
    parser.add_argument("--tokens", type=Path, default=Path("data/tokens"), help="tokens (default: %(default)s)")
    parser.add_argument("--corpus", type=Path, default=Path("data/corpus"), help="documents (default: %(default)s)")
    parser.add_argument("--out", type=Path, default=Path("reports"), help="folder to write (default: %(default)s)")
    arguments = parser.parse_args()
    # tokens know no name, so that the same text under another one trains nothing anew
    card = read_json(arguments.tokens / "card.json")
    card["source"] = read_card(arguments.corpus)["source"]
    runs, epochs = collect(load_study(arguments.params), arguments.runs, card)
    publish(runs, epochs, summarize(runs.to_pandas(), epochs.to_pandas()), arguments.out)


if __name__ == "__main__":
    main()
