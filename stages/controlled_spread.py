"""Print the spread over seeds that the controlled study measured, as rows for reports/reference/spread.csv."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from lm.controlled.outside import spread_rows
from lm.controlled.results import load
from lm.errors import reported


@reported
def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m stages.controlled_spread", description=__doc__)
    parser.add_argument(
        "--results", type=Path, default=Path("reports/controlled"), help="folder of results (default: %(default)s)"
    )
    sys.stdout.write(spread_rows(load(parser.parse_args().results)))


if __name__ == "__main__":
    main()
