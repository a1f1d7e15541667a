"""Under default settings every bit of what is learned stays what it was before there were settings.

``bits.json`` holds, for each kind of machine that made them, hashes of histories at the smoke scale's sizes. On another
kind, defaults are held against every remedy at a strength of nothing: the other path through the code.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from lm.config.run import ComputeConfig, ModelConfig, OptimizerConfig, RunConfig, TrainingConfig
from lm.corpus.windows import Windows
from lm.training.hardware import choose, kind_of_machine, settle
from lm.training.history import LEARNED, as_csv
from lm.training.loop import Job, Trainer

STORED = Path(__file__).with_name("bits.json")
VOCABULARY = 512
SIZES = {"lstm": {"lstm_hidden": 32}, "gpt": {"heads": 2, "mlp": 128}}
OPTIMIZERS = {
    "adam": {"lr": 0.001},
    "adamw": {"lr": 0.001, "weight_decay": 0.01},
    "sgd": {"lr": 0.001, "weight_decay": 0.0005},
    "momentum": {"lr": 0.001, "weight_decay": 0.0005, "momentum": 0.9},
}
RUNS = [(model, optimizer, layers) for model in SIZES for optimizer in OPTIMIZERS for layers in (1, 2)]
NOTHING = {"clip": 1e30, "patience": 1000, "schedule": "plateau"}
"""As long as every epoch is better than the last, which these are."""


def tokens(split: int, length: int) -> np.ndarray:
    return np.random.default_rng(split).zipf(1.5, length).clip(max=VOCABULARY - 1).astype(np.uint16)


def history(model: str, optimizer: str, layers: int, settings: dict[str, object]) -> str:
    config = RunConfig(
        experiment="7",
        model=ModelConfig(architecture=model, layers=layers, context=32, width=32, **SIZES[model]),
        optimizer=OptimizerConfig(name=optimizer, **OPTIMIZERS[optimizer]),
        training=TrainingConfig(batch=16, epochs=2, train_sample=32, **settings),
        compute=ComputeConfig(device="cpu", precision="auto", threads=1),
    )
    lengths = {"train": 6_000, "validation": 1_501, "test": 1_501}
    splits = {split: Windows(tokens(i, length), 32) for i, (split, length) in enumerate(lengths.items())}
    compute = settle(choose(config.compute))
    trainer = Trainer(Job(config=config, seed=42, splits=splits, vocabulary=VOCABULARY, compute=compute))
    trainer.run()
    return as_csv(trainer.position.history, LEARNED)


@pytest.mark.parametrize(("model", "optimizer", "layers"), RUNS)
def test_defaults_keep_their_bits(model, optimizer, layers):
    found = history(model, optimizer, layers, {})
    stored = json.loads(STORED.read_text()).get(kind_of_machine(torch.device("cpu")))
    if stored is None:
        assert found == history(model, optimizer, layers, NOTHING)
    else:
        assert hashlib.sha256(found.encode()).hexdigest() == stored[f"{model}-{optimizer}-{layers}"]


@pytest.mark.parametrize("model", SIZES)
def test_remedies_of_no_strength_change_no_bit(model):
    assert history(model, "adam", 2, {}) == history(model, "adam", 2, NOTHING)
