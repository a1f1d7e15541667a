"""Write every trial and confirmation of the controlled study to reports/controlled, with units."""

from __future__ import annotations

import argparse
from pathlib import Path

from lm.config.study import load_study
from lm.controlled.collect import collect, write
from lm.errors import reported
from lm.protocol.protocol import load_protocol


@reported
def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m stages.controlled_collect", description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("reports/controlled"), help="folder (default: %(default)s)")
    out = parser.parse_args().out
    write(collect(load_protocol(), load_study()), out)


if __name__ == "__main__":
    main()
