"""Write the default study's tokens with so many times the text to train on."""

from __future__ import annotations

import argparse
from pathlib import Path

from lm.config.study import load_study
from lm.errors import StudyError, reported
from lm.protocol.places import tokens
from lm.protocol.text import more_text


@reported
def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m stages.controlled_text", description=__doc__)
    parser.add_argument("times", type=int, metavar="TIMES", help="training text, as a multiple of the default study's")
    times = parser.parse_args().times
    if times < 1:
        raise StudyError(f"TIMES: {times}; allowed: 1 or more")
    more_text(load_study(), times, Path("data/corpus"), Path("data/tokens"), tokens(times))


if __name__ == "__main__":
    main()
