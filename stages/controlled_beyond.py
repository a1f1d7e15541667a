"""Run a trial beyond an edge of its arm's grid where that edge won; elsewhere leave an empty result."""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path

from lm.errors import reading, reported


@reported
def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m stages.controlled_beyond", description=__doc__)
    parser.add_argument("edge", type=Path, metavar="EDGE", help="file that says which edge won")
    parser.add_argument("command", nargs=argparse.REMAINDER, metavar="COMMAND", help="the trial, with --out RUN")
    arguments = parser.parse_args()
    command = arguments.command
    if "--out" not in command[:-1]:
        parser.error("COMMAND: has no --out RUN")
    with reading(arguments.edge, "`dvc repro controlled/dvc.yaml` makes it", (ValueError, KeyError, TypeError)):
        edge = json.loads(arguments.edge.read_text())["edge"]
    if edge != "none":
        os.execvp(command[0], command)  # signals go to the training itself
    out = Path(command[command.index("--out") + 1])
    out.mkdir(parents=True, exist_ok=True)
    (out / "metrics.json").write_text(json.dumps({"status": "not needed"}) + "\n")


if __name__ == "__main__":
    main()
