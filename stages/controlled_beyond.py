"""Run a trial beyond an edge of its arm's grid where that edge won; elsewhere leave an empty result.

``python -m stages.controlled_beyond EDGE python -m stages.train … --out RUN``
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

from lm.errors import StudyError, reported


@reported
def main() -> None:
    if len(sys.argv) < 3 or "--out" not in sys.argv[2:-1]:
        raise StudyError("usage: python -m stages.controlled_beyond EDGE COMMAND … --out RUN")
    edge, command = json.loads(Path(sys.argv[1]).read_text())["edge"], sys.argv[2:]
    if edge != "none":
        os.execvp(command[0], command)  # signals go to the training itself
    out = Path(command[command.index("--out") + 1])
    out.mkdir(parents=True, exist_ok=True)
    (out / "metrics.json").write_text(json.dumps({"status": "not needed"}) + "\n")


if __name__ == "__main__":
    main()
