"""The sample texts as data: what models wrote, to be set by any writer. The repository never holds them."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from lm.errors import StudyError


@dataclass(frozen=True, kw_only=True)
class Passage:
    """What one run's model wrote; ``validation_loss`` in nats a token."""

    experiment: str
    seed: int
    model: str
    layers: int
    optimizer: str
    validation_loss: float
    text: str


@dataclass(frozen=True, kw_only=True)
class Samples:
    """Passages and how they were drawn: ``count`` tokens each, among the ``top`` likeliest, from a generator seeded
    with ``draws``. ``decodable``: the corpus has a vocabulary to decode with; without one there are no passages."""

    draws: int
    top: int
    count: int
    decodable: bool
    passages: tuple[Passage, ...]

    def write(self, path: Path) -> None:
        """As JSON."""
        path.write_text(json.dumps(asdict(self), indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def read_samples(path: Path) -> Samples | None:
    """What ``Samples.write`` wrote; None where there is no such file, StudyError where it is something else."""
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
        return Samples(**{**stored, "passages": tuple(Passage(**passage) for passage in stored["passages"])})
    except FileNotFoundError:
        return None
    except (ValueError, TypeError, KeyError) as error:
        raise StudyError(f"{path}: not sample texts ({error}); `dvc repro samples` makes them anew") from None
