"""Write data/code.json, the checksums of the code that decides what a run learns."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from lm.code import code_of_a_run
from lm.errors import reported

_OUT = Path("data/code.json")


@reported
def main() -> None:
    argparse.ArgumentParser(prog="python -m stages.code", description=__doc__).parse_args()
    found = code_of_a_run(Path())
    _OUT.parent.mkdir(exist_ok=True)
    _OUT.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
