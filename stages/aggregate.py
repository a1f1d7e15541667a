"""Join the runs that params.yaml names into reports/runs.parquet, reports/epochs.parquet and reports/metrics.json."""

from __future__ import annotations

import argparse
from pathlib import Path

from lm.config.study import PARAMS, load_study
from lm.errors import reported
from lm.runs.collect import collect, read_json, write_tables


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
    card["source"] = read_json(arguments.corpus / "card.json")["source"]
    write_tables(*collect(load_study(arguments.params), arguments.runs, card), arguments.out)


if __name__ == "__main__":
    main()
