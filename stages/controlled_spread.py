"""Put the spread over seeds that the controlled study measured among those that single runs are judged by."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from lm.controlled.outside import with_spread
from lm.controlled.results import load
from lm.errors import reported
from lm.results.spread import load_spread


@reported
def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m stages.controlled_spread", description=__doc__)
    parser.add_argument(
        "--results", type=Path, default=Path("reports/controlled"), help="folder of results (default: %(default)s)"
    )
    parser.add_argument(
        "--table", type=Path, default=Path("reports/reference/spread.csv"), help="the table (default: %(default)s)"
    )
    arguments = parser.parse_args()
    load_spread(arguments.table)
    before = arguments.table.read_text(encoding="utf-8")
    after = with_spread(before, load(arguments.results))
    arguments.table.write_text(after, encoding="utf-8")
    new = len(set(after.splitlines()) - set(before.splitlines()))
    print(f"{arguments.table}: {new} new rows" if after != before else f"{arguments.table}: as it was", file=sys.stderr)


if __name__ == "__main__":
    main()
