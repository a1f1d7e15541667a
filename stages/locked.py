"""Say whether dvc.lock fits the code, the settings and the committed results, without any run or cache.

What git holds is compared with what the lock says of it: code and other inputs, parameters, commands, and results that
are not in DVC's cache, such as the report. Of what lies in the cache alone, a stage's input must be what the lock says
that another stage made. `dvc status` looks at the files of the runs too, which a fresh clone does not have.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from dvc.exceptions import DvcException
from dvc.repo import Repo

from lm.errors import StudyError, reported

_SHOWN = 3


def unfit(root: Path, pipelines: list[str]) -> dict[str, list[str]]:
    """What does not fit, each with the stages whose record in the lock it is not in, in the pipeline's order.

    ``pipelines`` are dvc.yaml files, relative to ``root``. Raises :class:`StudyError` where there is no such pipeline
    or DVC cannot read it.
    """
    found: dict[str, list[str]] = {}
    try:
        with Repo(str(root)) as repo:
            stages = [stage for stage in repo.index.stages if stage.path_in_repo in pipelines]
            made = {out.fs_path: out for stage in repo.index.stages for out in stage.outs}
            for stage in stages:
                for what in _faults(stage, made):
                    found.setdefault(what, []).append(stage.name)
    except DvcException as error:
        raise StudyError(str(error)) from None
    missing = set(pipelines) - {stage.path_in_repo for stage in stages}
    if missing:
        raise StudyError(f"{', '.join(sorted(missing))}: no stages; allowed: a dvc.yaml, from the project's root")
    return found


def _faults(stage: Any, made: dict[str, Any]) -> list[str]:
    """What of a stage the lock does not know as it is; ``made`` holds all stages' outputs by their paths."""
    found = ["command"] if stage.cmd_changed else []
    for dependency in stage.deps:
        if dependency.fs_path in made:
            if dependency.hash_info != made[dependency.fs_path].hash_info:
                found.append(str(dependency))
        elif not _is_of_outputs(Path(dependency.fs_path), made):
            found += _differing(dependency)
    for out in stage.outs:
        if not out.use_cache:
            found += _differing(out)
    return found


def _is_of_outputs(path: Path, made: dict[str, Any]) -> bool:
    """Whether it lies in an output, or holds outputs: git has it not."""
    return any(path in out.parents or out in path.parents for out in map(Path, made))


def _differing(file: Any) -> list[str]:
    """What DVC's status names: files, and of parameters each key."""
    status = file.workspace_status()
    return [key for name, state in status.items() for key in (state if isinstance(state, dict) else [name])]


def _named(stages: list[str]) -> str:
    rest = len(stages) - _SHOWN
    return ", ".join(stages[:_SHOWN]) + (f" and {rest} more" if rest > 0 else "")


@reported
def main() -> None:
    summary, _, rest = (__doc__ or "").partition("\n\n")
    parser = argparse.ArgumentParser(prog="python -m stages.locked", description=summary, epilog=rest)
    parser.add_argument("--root", type=Path, default=Path(), help="the study's folder (default: %(default)s)")
    parser.add_argument(
        "pipelines", nargs="*", metavar="PIPELINE", default=["dvc.yaml"], help="dvc.yaml files (default: dvc.yaml)"
    )
    arguments = parser.parse_args()
    found = unfit(arguments.root, arguments.pipelines)
    for what, stages in found.items():
        print(f"{what}: {_named(stages)}")
    if found:
        locks = ", ".join(str(Path(pipeline).with_suffix(".lock")) for pipeline in arguments.pipelines)
        raise StudyError(f"{locks}: does not fit {_named(list(found))}; run `dvc repro` and commit what it writes")
    print("the lock fits")


if __name__ == "__main__":
    main()
