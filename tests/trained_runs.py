"""A workspace with runs as the pipeline leaves them, made in a moment: models of random weights, a real tokenizer."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer

from lm.config.run import ComputeConfig, ModelConfig, OptimizerConfig, RunConfig, TrainingConfig
from lm.corpus.tokenizer import train_byte_bpe
from lm.embeddings.tables import PretrainedEmbeddings
from lm.models.build import FROZEN, build_model, count_parameters
from lm.trained.runs import TrainedRun, add_run_arguments, open_run

TEXT = """The river was high that spring, and the ferry did not run for nine days. Those who lived on the far side
walked up to the bridge at the mill, and those who had nothing to do there stayed where they were.

Café owners on the quay — there were three — sold more coffee than in the whole of March; nobody knew why.
When the water fell, the ferry ran again, and the river was the river that it had been the year before.
"""
VOCABULARY, CONTEXT = 300, 8
SIZES: dict[str, dict[str, int]] = {"lstm": {"lstm_hidden": 12}, "gpt": {"heads": 2, "mlp": 32}}
DOCUMENTS = [(40, 201.5), (25, 130.25), (34, 160.0)]
"""Predicted tokens and nats of the test split's documents."""


def config(architecture: str, experiment: str = "5", layers: int = 2, **model: Any) -> RunConfig:
    return RunConfig(
        experiment=experiment,
        model=ModelConfig(
            architecture=architecture, layers=layers, width=16, **({"context": CONTEXT} | SIZES[architecture] | model)
        ),
        optimizer=OptimizerConfig(name="adamw", lr=0.001, weight_decay=0.01),
        training=TrainingConfig(batch=4, epochs=2, train_sample=6),
        compute=ComputeConfig(device="cpu", precision="fp32", threads=1),
    )


def write_workspace(root: Path, *, text: bool = True) -> Tokenizer:
    """``data/`` of a study; without ``text`` the corpus is ids that nothing decodes."""
    tokens = root / "data/tokens"
    tokens.mkdir(parents=True)
    tokenizer = train_byte_bpe([TEXT], VOCABULARY)
    ids = np.array(tokenizer.encode(TEXT).ids, dtype=np.uint16)
    counts = {
        "tokens": len(ids),
        "predicted_tokens": len(ids) - 1,
        "words": len(TEXT.split()) if text else None,
        "bytes": len(TEXT.encode()) if text else None,
        "unigram_perplexity": 123.4,
        "sha256": "0123456789abcdef" * 4,
    }
    splits = dict.fromkeys(("train", "validation", "test"), counts)
    (tokens / "card.json").write_text(json.dumps({"vocabulary": VOCABULARY, "splits": splits}))
    if text:
        tokenizer.save(str(tokens / "tokenizer.json"))
    corpus = root / "data/corpus"
    corpus.mkdir()
    origin = {"source": "ferry", "version": "3", "license": "CC BY 4.0", "splits": {}}
    (corpus / "card.json").write_text(json.dumps(origin))
    return tokenizer


def write_run(
    root: Path, run: RunConfig, seed: int = 42, pretrained: PretrainedEmbeddings | None = None, **metrics: Any
) -> None:
    """A run's files. Its tables are larger than freshly drawn, as every token would be as likely."""
    torch.manual_seed(seed)
    model = build_model(run.model, VOCABULARY, pretrained)
    state = {
        name: weight * _GROWN.get(name, 1) + 0.1 * (weight.dim() == 1) for name, weight in model.state_dict().items()
    }
    folder = root / f"runs/{run.experiment}-{seed}"
    folder.mkdir(parents=True)
    save_file(state, folder / "model.safetensors", {FROZEN: pretrained.sha256} if pretrained else None)
    (root / "configs").mkdir(exist_ok=True)
    (root / f"configs/{run.experiment}.json").write_text(run.to_json())
    tokens = sum(count for count, _ in DOCUMENTS)
    loss = sum(nll for _, nll in DOCUMENTS) / tokens
    measured = {
        "status": "completed",
        "diverged_step": None,
        "stopped_early": False,
        "best_epoch": 1,
        "validation_loss": loss - 0.1,
        "test_loss": loss,
        **{f"{split}_{name}": value for split in ("validation", "test") for name, value in _MEASURES.items()},
        **count_parameters(model),
    }
    (folder / "metrics.json").write_text(json.dumps(measured | metrics))
    cost = {"precision": "fp32", "train_seconds": 61.2, "hardware": "a processor", "revision": "abc123", "torch": "9.9"}
    (folder / "cost.json").write_text(json.dumps(cost))
    rows = [f"{number},{count},{nll}" for number, (count, nll) in enumerate(DOCUMENTS)]
    (folder / "test_documents.csv").write_text("\n".join(["document,predicted_tokens,nll", *rows]) + "\n")


_GROWN = {"embedding.weight": 8, "positions.weight": 8}
_MEASURES = {"perplexity": 143.25, "bits_per_byte": 2.125, "word_perplexity": 98765.0}


def open_written(root: Path, name: str) -> TrainedRun:
    return open_run(arguments(root, name))


def arguments(root: Path, name: str, *more: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    add_run_arguments(parser)
    return parser.parse_args([name, *folders(root), "--device", "cpu", *more])


def folders(root: Path) -> list[str]:
    """Options that have a command look there."""
    places = {"runs": "runs", "configs": "configs", "tokens": "data/tokens", "embeddings": "data/embeddings"}
    return [word for option, place in places.items() for word in (f"--{option}", str(root / place))]
