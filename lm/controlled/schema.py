"""What a row of the controlled study's Parquet files means; units and descriptions are field metadata there.

``runs.parquet`` has the default study's columns and, before them, what the run was for. ``epochs.parquet`` is that of
the default study. An ``experiment`` is an arm at a rate: for trials ``<arm>_<point>``, for confirmations the arm.
"""

from __future__ import annotations

from enum import StrEnum

import pyarrow as pa

from lm.results.schema import RUNS as DEFAULT_RUNS
from lm.results.schema import VERSION


class Role(StrEnum):
    """What a run was for."""

    TRIAL = "trial"
    BEYOND = "beyond"
    """A trial beyond an edge of the grid."""
    CONFIRMATION = "confirmation"


def _field(name: str, kind: pa.DataType, unit: str, description: str) -> pa.Field:
    return pa.field(name, kind, metadata={"unit": unit, "description": description})


_OWN = [
    _field("arm", pa.string(), "", "arm, a key of controlled/protocol.yaml's arms"),
    _field("part", pa.string(), "", "part of the study: rates, depth or remedies"),
    _field("role", pa.string(), "", "trial, beyond (a trial beyond an edge of the grid) or confirmation"),
    _field("point", pa.string(), "", "the trial's rate, or x3 for three times another arm's; null: a confirmation"),
    _field("text_times", pa.int64(), "", "training text, as a multiple of the default study's"),
]

RUNS = pa.schema([*_OWN, *DEFAULT_RUNS], metadata={"schema": VERSION})

DOCUMENTS = pa.schema(
    [
        _field("arm", pa.string(), "", "arm, a key of controlled/protocol.yaml's arms"),
        _field("seed", pa.int64(), "", "seed of the confirmation"),
        _field("document", pa.int64(), "", "document of the test split, counting from 0"),
        _field("predicted_tokens", pa.int64(), "tokens", "predicted tokens of the document"),
        _field("nll", pa.float64(), "nats", "summed loss over these, with the best epoch's weights"),
    ],
    metadata={"schema": VERSION},
)
