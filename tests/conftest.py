"""Tiny data and configurations that the unit tests share. No test needs a network, a GPU or a git configuration."""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import os
import sys
from collections.abc import Callable, Iterator
from multiprocessing.process import BaseProcess
from pathlib import Path

import numpy as np
import pytest
import torch

from lm.config.run import ComputeConfig, ModelConfig, OptimizerConfig, RunConfig, TrainingConfig
from lm.corpus.tokens import write_tokens
from lm.corpus.windows import Windows
from tests.resident import resident_python

VOCABULARY = 50
LONGEST_FIRST = (
    *("test_slurm", "test_pipeline", "test_launch", "test_faults", "test_processes", "test_controlled_pipeline"),
    *("test_extending", "test_page", "test_report", "test_remote", "test_controlled"),
)
"""Files are dealt to workers whole, so that what a file makes once is made once, in this order: the rest is short."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    order = {name: number for number, name in enumerate(LONGEST_FIRST)}
    items.sort(key=lambda item: order.get(item.path.stem, len(order)))


def write_documents(folder: Path, size: int = 40) -> None:
    """Documents of so many tokens each, for tokens that came without."""
    card = json.loads((folder / "card.json").read_text())
    for split, counts in card["splits"].items():
        path = folder / f"{split}_documents.npy"
        np.save(path, np.arange(0, len(np.load(folder / f"{split}.npy")), size, dtype=np.int64))
        counts["documents_sha256"] = hashlib.sha256(path.read_bytes()).hexdigest()
    (folder / "card.json").write_text(json.dumps(card))


@pytest.fixture(autouse=True, scope="session")
def _one_thread() -> Iterator[None]:
    """Small tensors gain nothing from threads, and sums that do not depend on them repeat anywhere."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(autouse=True)
def _settings_of_torch_are_put_back() -> Iterator[None]:
    deterministic = torch.are_deterministic_algorithms_enabled()
    yield
    torch.use_deterministic_algorithms(deterministic)
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def run_config() -> Callable[..., RunConfig]:
    """A resolved configuration of a model that trains in well under a second; keywords change it.

    Those that are not named here are settings of its training.
    """

    def make(
        model: str = "gpt",
        optimizer: str = "adam",
        *,
        layers: int = 1,
        lr: float = 1e-2,
        weight_decay: float = 0.0,
        momentum: float = 0.9,
        batch: int = 4,
        epochs: int = 2,
        context: int = 8,
        precision: str = "fp32",
        compiled: bool = False,
        dropout: float = 0.0,
        **training: object,
    ) -> RunConfig:
        sizes = {"lstm_hidden": 12} if model == "lstm" else {"heads": 2, "mlp": 32}
        settings = {"momentum": momentum} if optimizer == "momentum" else {}
        return RunConfig(
            experiment="7",
            model=ModelConfig(architecture=model, layers=layers, context=context, width=16, dropout=dropout, **sizes),
            optimizer=OptimizerConfig(name=optimizer, lr=lr, weight_decay=weight_decay, **settings),
            training=TrainingConfig(batch=batch, epochs=epochs, train_sample=6, **training),
            compute=ComputeConfig(device="cpu", precision=precision, threads=1, compile=compiled),
        )

    return make


@pytest.fixture(scope="session")
def token_arrays() -> dict[str, np.ndarray]:
    """A Markov chain over 50 tokens: there is something to learn, and no split fills its last window."""
    generator = np.random.default_rng(5)

    def chain(length: int) -> np.ndarray:
        steps = generator.integers(1, 4, size=length)
        return (np.cumsum(steps) % VOCABULARY).astype(np.uint16)

    return {"train": chain(1003), "validation": chain(131), "test": chain(150)}


@pytest.fixture
def splits(token_arrays) -> dict[str, Windows]:
    return {name: Windows(tokens, 8) for name, tokens in token_arrays.items()}


@pytest.fixture(scope="session")
def token_folder(token_arrays, tmp_path_factory) -> Path:
    """The same tokens as the tokenize stage would write them. Read only: a test that spoils it must copy it."""
    folder = tmp_path_factory.mktemp("tokens")
    texts = {split: [f"{split} text of five words"] for split in token_arrays}
    write_tokens(token_arrays, texts, VOCABULARY, folder, {"source": "toy", "version": "1", "license": "none"})
    write_documents(folder)
    return folder


@pytest.fixture(scope="session")
def forked_process() -> Callable[..., BaseProcess]:
    """Makes a process that is forked from one that has imported ``stages.train``, as 25 kills would else be 25 imports.

    Its target is a function of a module named here.
    """
    context = multiprocessing.get_context("forkserver")
    modules = ["tests.test_faults", "tests.test_processes", "torch._inductor"]  # the last for torch to be deterministic
    context.set_forkserver_preload(modules)
    return context.Process


@pytest.fixture(scope="session")
def resident(environment, tmp_path_factory) -> Iterator[dict[str, str]]:
    """The same for pipelines: ``python`` is tests/resident.py's, and DVC has no site, system or global folder."""
    home = tmp_path_factory.mktemp("home")
    with resident_python(home) as folder:
        yield environment | {
            "PATH": os.pathsep.join([str(folder), str(Path(sys.executable).parent), environment["PATH"]]),
            "PYTHONDONTWRITEBYTECODE": "1",
            **{
                name: str(home / name)
                for name in ("DVC_SITE_CACHE_DIR", "DVC_GLOBAL_CONFIG_DIR", "DVC_SYSTEM_CONFIG_DIR")
            },
        }


@pytest.fixture(scope="session")
def environment() -> dict[str, str]:
    """For child processes: an identity of its own for git, and no configuration of the user's or the machine's."""
    return os.environ | {
        "GIT_AUTHOR_NAME": "test",
        "GIT_AUTHOR_EMAIL": "test@example.invalid",
        "GIT_COMMITTER_NAME": "test",
        "GIT_COMMITTER_EMAIL": "test@example.invalid",
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_CONFIG_NOSYSTEM": "1",
        "DVC_NO_ANALYTICS": "true",
    }
