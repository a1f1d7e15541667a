"""What is measured: models of the sizes of params.yaml's scales."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lm.config.run import RunConfig
from lm.config.strict import did_you_mean
from lm.config.study import PARAMS, Experiment, Remedies, Scale, Study, load_study
from lm.corpus.windows import Windows
from lm.embeddings.tables import PretrainedEmbeddings
from lm.errors import StudyError
from lm.models.embeddings import INITIAL_STD

_NAME = "benchmark"


def open_scale(name: str, option: str, params: Path = PARAMS) -> Study:
    """The study of ``params`` at a scale.

    Raises :class:`StudyError` for a scale that it has not, which the command line's ``option`` named.
    """
    study = load_study(params)
    if name not in study.scales:
        raise StudyError(f"{option}: unknown scale '{name}'; {did_you_mean(name, study.scales)}")
    return study.model_copy(update={"scale": name})


def scale_of(study: Study) -> Scale:
    return study.scales[study.scale]


def configuration(
    study: Study,
    model: str,
    layers: int,
    *,
    device: str = "cpu",
    precision: str = "auto",
    threads: int = 1,
    compiled: bool = False,
) -> RunConfig:
    """A run of one epoch with Adam at the study's scale, without any remedy."""
    line = Experiment.model_validate({"model": model, "layers": layers, "optimizer": "adam", "epochs": 1})
    alone = {"experiments": {_NAME: line}, "training": Remedies(), "threads": threads, "compile": compiled}
    run = study.model_copy(update=alone).resolve()[_NAME]
    compute = run.compute.model_copy(update={"device": device, "precision": precision})
    return run.model_copy(update={"compute": compute})


def random_windows(study: Study, batches: int) -> Windows:
    """So many full batches of tokens drawn evenly."""
    scale = scale_of(study)
    tokens = np.random.default_rng(0).integers(
        0, scale.tokenizer.vocabulary, batches * scale.batch * scale.context + 1, dtype=np.uint32
    )
    return Windows(tokens, scale.context)


@dataclass(frozen=True)
class RandomTables(PretrainedEmbeddings):
    """Frozen tables of the right ``shapes``, (entries, width) by name: a step takes as long with any others."""

    path: Path = Path()
    sha256: str = ""
    shapes: Mapping[str, tuple[int, int]] = field(default_factory=dict)

    def table(self, name: str) -> NDArray[np.float32]:
        drawn = np.random.default_rng(0).standard_normal(self.shapes[name], dtype=np.float32)
        return drawn * np.float32(INITIAL_STD)


def tables_of(study: Study) -> RandomTables | None:
    """Stand-ins for pretrained tables, or None at a scale that learns its own."""
    scale = scale_of(study)
    if scale.embeddings == "learned":
        return None
    entries = {"tokens": scale.tokenizer.vocabulary, "positions": scale.context}
    return RandomTables(shapes={name: (count, scale.width) for name, count in entries.items()})
