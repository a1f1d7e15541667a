"""Check params.yaml and write one resolved configuration an experiment, ``configs/<experiment>.json``."""

from __future__ import annotations

import argparse
from pathlib import Path

from lm.config.study import PARAMS, load_study
from lm.errors import reported


@reported
def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m stages.configure", description=__doc__)
    parser.add_argument("--params", type=Path, default=PARAMS, help="the settings (default: %(default)s)")
    parser.add_argument("--out", type=Path, default=Path("configs"), help="folder to write (default: %(default)s)")
    arguments = parser.parse_args()
    configurations = load_study(arguments.params).resolve()
    arguments.out.mkdir(parents=True, exist_ok=True)
    for name, run in configurations.items():
        (arguments.out / f"{name}.json").write_text(run.to_json())


if __name__ == "__main__":
    main()
