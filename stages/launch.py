"""Train the runs of a pipeline side by side, here, on a Ray cluster or on SLURM, and leave what dvc repro leaves."""

from __future__ import annotations

import argparse
from pathlib import Path

from lm.errors import StudyError, reported
from lm.launch.session import finish, launch
from lm.launch.settings import read_settings


@reported
def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m stages.launch", description=__doc__)
    parser.add_argument(
        "targets", nargs="*", metavar="TARGET", help="as dvc repro takes them: train@5-42, path/dvc.yaml (default: all)"
    )
    parser.add_argument("--jobs", type=int, help="runs at once (default: as many as there is room for)")
    parser.add_argument("--gpus", type=int, help="GPUs a run (default: 1 where params.yaml's device is a GPU)")
    parser.add_argument("--address", help="a Ray cluster instead of this machine; auto: the one it is part of")
    parser.add_argument("--slurm", action="store_true", help="submit to SLURM and return")
    parser.add_argument("--profile", type=Path, help="a YAML file with a section launch: (docs/scaling.md)")
    parser.add_argument(
        "--finish", action="store_true", help="train nothing: make what depends on the runs, if all of them are there"
    )
    arguments = parser.parse_args()

    root = Path.cwd()
    if not (root / "dvc.yaml").is_file():
        raise StudyError(f"{root}: has no dvc.yaml; run from the project's root")
    if arguments.finish:
        raise SystemExit(finish(root, arguments.targets))
    given = {"jobs": arguments.jobs, "gpus": arguments.gpus, "address": arguments.address}
    settings = read_settings(arguments.profile, given | {"engine": "slurm" if arguments.slurm else None})
    raise SystemExit(launch(root, arguments.targets, settings))


if __name__ == "__main__":
    main()
