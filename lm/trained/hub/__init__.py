"""How each architecture is packed for the Hugging Face Hub: one module and one card template an architecture.

A module has ``pack``, as :class:`Packer` says, and beside it lies ``<architecture>.md.j2``: how to load what it packed,
for the model card.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol, cast

from torch import Tensor

from lm.config.run import ModelConfig
from lm.errors import StudyError
from lm.models.language_model import LanguageModel

TEMPLATES = Path(__file__).parent


@dataclass(frozen=True, kw_only=True)
class Packed:
    """``config`` is what config.json holds, ``library`` the Hub's name for what loads the folder: ``transformers``, or
    ``pytorch`` where that is a class in ``code``, the files that go with the weights."""

    tensors: dict[str, Tensor]
    config: dict[str, Any]
    library: str
    code: tuple[Path, ...] = ()


class Packer(Protocol):
    """A module of this package."""

    def pack(self, model: LanguageModel, config: ModelConfig, boundary: int | None) -> Packed:
        """The model's weights, frozen tables too, under the names that what loads them gives them."""


def packer(architecture: str) -> Packer:
    """The architecture's module; raises :class:`StudyError` where nobody has written one."""
    name = f"{__name__}.{architecture}"
    if find_spec(name) is None:
        raise StudyError(f"export: no way to pack {architecture} yet; write lm/trained/hub/{architecture}.py")
    return cast(Packer, importlib.import_module(name))
