"""Every stage of the controlled study, spelled out for DVC.

DVC makes stages of a list or of the product of two lists, and an arm's rates are its own: so the plan is written out,
and committed like a lock. ``controlled/dvc.yaml`` makes a stage of each entry.
"""

from __future__ import annotations

from io import StringIO
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from lm.controlled import places
from lm.controlled.protocol import Protocol
from lm.errors import StudyError

PLAN = Path("controlled/plan.yaml")
_HEAD = "# Written by `python -m stages.controlled_plan` from controlled/protocol.yaml: every stage of the study.\n"


def plan(protocol: Protocol) -> dict[str, Any]:
    """Stages by kind and key; what stands in an entry fills in the stage's template."""
    arms = protocol.arms
    return {
        "tuning_seed": protocol.tuning_seed,
        "more_text": {str(arm.text): {"times": arm.text} for arm in arms.values() if arm.text > 1},
        "after": {name: {"tuned": str(places.tuned_config(str(arm.of)))} for name, arm in arms.items() if arm.times},
        "trials": {
            f"{name}_{point}": {
                "config": str(places.trial_config(name, point, relative=arm.times is not None)),
                "tokens": str(places.tokens(arm.text)),
                "run": str(places.trial_run(name, point)),
            }
            for name, arm in arms.items()
            for point in arm.points
        },
        "grids": {name: {"configs": str(places.CONFIGS / "grid" / name)} for name, arm in arms.items() if arm.rates},
        "beyond": {
            f"{name}_beyond{number}": {
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


def check_plan(protocol: Protocol, path: Path = PLAN) -> None:
    """Raises :class:`StudyError` unless the plan is that of the protocol."""
    try:
        found = path.read_text(encoding="utf-8")
    except OSError:
        found = ""
    if found != as_yaml(protocol):
        raise StudyError(f"{path}: not the plan of controlled/protocol.yaml; run `python -m stages.controlled_plan`")
