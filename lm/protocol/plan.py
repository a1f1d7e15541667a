"""Every stage of the controlled study, spelled out for DVC.

DVC makes stages of a list or of the product of two lists, and an arm's rates are its own: so the plan is written out,
and committed like a lock. ``controlled/pipeline.yaml`` makes a stage of each entry.

DVC reads every ``dvc.yaml`` of a repository whenever it is asked for nothing in particular. Were the pipeline one from
the start, ``dvc status`` would list 200 runs that nobody asked for, so it becomes ``dvc.yaml`` where the study is made.
"""

from __future__ import annotations

from io import StringIO
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from lm.errors import StudyError
from lm.protocol import places
from lm.protocol.places import ACTIVE, PIPELINE, PLAN
from lm.protocol.protocol import Protocol, beyond_point, trial_id

_HEAD = "# Written by `python -m stages.controlled_plan` from controlled/protocol.yaml: every stage of the study.\n"


def plan(protocol: Protocol) -> dict[str, Any]:
    """Stages by kind and key; what stands in an entry fills in the stage's template."""
    arms = protocol.arms
    return {
        "tuning_seed": protocol.tuning_seed,
        "more_text": {str(arm.text): {"times": arm.text} for arm in arms.values() if arm.text > 1},
        "after": {name: {"tuned": str(places.tuned_config(str(arm.of)))} for name, arm in arms.items() if arm.times},
        "trials": {
            trial_id(name, point): {
                "config": str(places.trial_config(name, point, relative=arm.times is not None)),
                "tokens": str(places.tokens(arm.text)),
                "run": str(places.trial_run(name, point)),
            }
            for name, arm in arms.items()
            for point in arm.points
        },
        "grids": {name: {"configs": str(places.CONFIGS / "grid" / name)} for name, arm in arms.items() if arm.rates},
        "beyond": {
            trial_id(name, beyond_point(number)): {
                "config": str(places.beyond_config(name, number)),
                "edge": str(places.edge_file(name)),
                "tokens": str(places.tokens(arm.text)),
                "run": str(places.beyond_run(name, number)),
            }
            for name, arm in arms.items()
            if arm.rates
            for number in range(1, protocol.beyond + 1)
        },
        "confirmations": {
            f"{name}-{seed}": {
                "config": str(places.tuned_config(name)),
                "seed": seed,
                "tokens": str(places.tokens(arm.text)),
                "run": str(places.confirmation_run(name, seed)),
            }
            for name, arm in arms.items()
            for seed in protocol.seeds
        },
    }


def as_yaml(protocol: Protocol) -> str:
    """The file's content."""
    text = StringIO()
    yaml = YAML()
    yaml.default_flow_style = False
    yaml.width = 200
    yaml.dump(plan(protocol), text)
    return _HEAD + text.getvalue()


def write_plan(protocol: Protocol) -> None:
    """Write ``controlled/plan.yaml`` and, a copy of ``pipeline.yaml``, the ``controlled/dvc.yaml`` that DVC runs."""
    PLAN.write_text(as_yaml(protocol), encoding="utf-8")
    ACTIVE.write_bytes(PIPELINE.read_bytes())


def check_plan(protocol: Protocol, path: Path = PLAN) -> None:
    """Raises :class:`StudyError` unless the plan is that of the protocol."""
    if _content(path) != as_yaml(protocol):
        raise StudyError(f"{path}: not the plan of controlled/protocol.yaml; run `python -m stages.controlled_plan`")


def check_pipeline(active: Path = ACTIVE, pipeline: Path = PIPELINE) -> None:
    """Raises :class:`StudyError` unless what DVC runs is the pipeline of this version."""
    if _content(active) != _content(pipeline):
        raise StudyError(f"{active}: not what {pipeline} says; run `python -m stages.controlled_plan`")


def _content(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8")
    except OSError:
        return None
