"""What DVC's lock says of each run: which configuration, tokens and weights it is of."""

from __future__ import annotations

from pathlib import Path

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from lm.errors import reading


def load_locked(path: Path) -> dict[str, dict[str, str]]:
    """From dvc.lock: the hashes of each run's configuration, tokens and weights; empty where nothing is locked.

    Raises :class:`StudyError` for a file that is no lock.
    """
    if not path.exists():
        return {}
    locked = {}
    with reading(path, "`git checkout` it, or `dvc repro` makes it anew", (YAMLError, ValueError, AttributeError)):
        stages = (YAML(typ="safe").load(path) or {}).get("stages") or {}  # libyaml's reader, as DVC takes it too
        for name, stage in stages.items():
            if not name.startswith("train@"):
                continue
            hashes = {}
            for entry in [*stage.get("deps", []), *stage.get("outs", [])]:
                location, digest = str(entry.get("path", "")), str(entry.get("md5", ""))
                if location.startswith("configs/"):
                    hashes["configuration"] = digest
                elif (location.startswith("data/tokens") and "train" in location) or location == "data/tokens":
                    hashes["tokens"] = digest
                elif location.endswith("model.safetensors"):
                    hashes["weights"] = digest
            locked[name.removeprefix("train@")] = hashes
    return locked
