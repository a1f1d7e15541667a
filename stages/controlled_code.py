"""Write controlled/code.json, the checksums of the code that decides what a run of the controlled study learns."""

from __future__ import annotations

import argparse
import json

from lm.controlled.code import checksums, code_of_a_run
from lm.controlled.places import CODE
from lm.errors import reported


@reported
def main() -> None:
    argparse.ArgumentParser(prog="python -m stages.controlled_code", description=__doc__).parse_args()
    CODE.write_text(json.dumps(checksums(code_of_a_run()), indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
