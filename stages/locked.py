"""Say whether dvc.lock fits the code, the settings and the committed results, without any run or cache.

What git holds is compared with what the lock says of it: code and other inputs, parameters, commands, and results that
are not in DVC's cache, such as the report. Of what lies in the cache alone, a stage's input must be what the lock says
that other stages made: an output, a part of one, or a folder of outputs, such as `runs`, with nothing else in it. The
lock has one checksum for an output that is a folder. An input that is a part of it, such as `data/corpus/card.json`, or
that holds it among other outputs is compared where DVC's cache has the list of its files: where it was made, but not in
a fresh clone. `dvc status` looks at the files of the runs too, which a fresh clone does not have.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from dvc.exceptions import DvcException
from dvc.repo import Repo
from dvc_data.hashfile.tree import Tree

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
            made = {Path(out.fs_path): out for stage in repo.index.stages for out in stage.outs}
            for stage in stages:
                for what in _faults(stage, made):
                    found.setdefault(what, []).append(stage.name)
    except DvcException as error:
        raise StudyError(str(error)) from None
    missing = set(pipelines) - {stage.path_in_repo for stage in stages}
    if missing:
        raise StudyError(f"{', '.join(sorted(missing))}: no stages; allowed: a dvc.yaml, from the project's root")
    return found


def _faults(stage: Any, made: dict[Path, Any]) -> list[str]:
    """What of a stage the lock does not know as it is; ``made`` holds all stages' outputs by their paths."""
    found = ["command"] if stage.cmd_changed else []
    for dependency in stage.deps:
        path = Path(dependency.fs_path)
        outs = {at: out for at, out in made.items() if at.is_relative_to(path) or path.is_relative_to(at)}
        if not outs:
            found += _differing(dependency)
        elif not _is_made(dependency, outs):
            folder = all(path in at.parents for at in outs)
            found.append(f"{dependency} (may hold only what stages make)" if folder else str(dependency))
    for out in stage.outs:
        if not out.use_cache:
            found += _differing(out)
    return found


def _is_made(dependency: Any, outs: dict[Path, Any]) -> bool:
    """Whether a dependency is what the lock says of ``outs``: itself, the one that it is a part of, or those in it.

    Taken to be so where it depends on the files of a folder and DVC's cache has no list of them.
    """
    path = Path(dependency.fs_path)
    if path in outs:
        return dependency.hash_info == outs[path].hash_info
    files: dict[Path, Any] = {}
    for at, out in outs.items():
        listed = out.get_obj() if out.hash_info.isdir else [((), None, out.hash_info)]
        if listed is None:
            return True
        files |= {at.joinpath(*key): hash_info for key, _, hash_info in listed}
    if path in files:
        return dependency.hash_info == files[path]
    tree = Tree()
    for file, hash_info in files.items():
        if path in file.parents:
            tree.add(file.relative_to(path).parts, None, hash_info)
    tree.digest()
    return dependency.hash_info == tree.hash_info


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
