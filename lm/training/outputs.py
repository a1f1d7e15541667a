"""The files of a run. What is learned and what is measured stand apart, so that hashes of the former repeat."""

from __future__ import annotations

import csv
import json
import math
import os
import shutil
from pathlib import Path

import torch
from safetensors.torch import save

from lm.models.build import FROZEN, count_parameters
from lm.training.evaluation import mean_loss
from lm.training.hardware import fingerprint
from lm.training.loop import Trainer
from lm.training.memory_model import predict_memory

_LEARNED = ("epoch", "train_loss", "train_eval_loss", "validation_loss")
_MEASURED = ("epoch", "train_seconds", "validation_seconds", "tokens_per_second")


def write_run(trainer: Trainer, card: dict, folder: Path) -> None:
    """Score the test split and write the run's five files, all or none."""
    partial = folder.with_name(f".{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        history = trainer.position.history
        last_test = _test_loss(trainer) if history else None
        weights = trainer.best_weights or trainer.model.state_dict()
        trainer.model.load_state_dict(weights)
        at_best = history and trainer.position.best is history[-1] and trainer.position.diverged_step is None
        best_test = last_test if at_best or not history else _test_loss(trainer)
        metadata = {FROZEN: trainer.pretrained.sha256} if trainer.pretrained else None
        content = save({name: tensor.contiguous().cpu() for name, tensor in weights.items()}, metadata)
        (partial / "model.safetensors").write_bytes(content)
        _write_csv(trainer, _LEARNED, partial / "history.csv")
        _write_csv(trainer, _MEASURED, partial / "timing.csv")
        _write_json(_metrics(trainer, card, best_test, last_test), partial / "metrics.json")
        _write_json(_cost(trainer, card), partial / "cost.json")
        folder.mkdir(parents=True, exist_ok=True)
        for path in partial.iterdir():
            os.replace(path, folder / path.name)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _test_loss(trainer: Trainer) -> float:
    windows = trainer.splits["test"]
    return mean_loss(trainer.model, windows, windows.indices, trainer.compute)


def _write_csv(trainer: Trainer, columns: tuple[str, ...], path: Path) -> None:
    losses = [column for column in columns if column.endswith("_loss")]
    with path.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow([*columns, *(name.replace("_loss", "_perplexity") for name in losses)])
        for epoch in trainer.position.history:
            perplexities = [_perplexity(getattr(epoch, name)) for name in losses]
            writer.writerow([*(repr(getattr(epoch, name)) for name in columns), *map(repr, perplexities)])


def _perplexity(loss: float) -> float:
    return math.exp(loss) if loss < 700 else math.inf


def _metrics(trainer: Trainer, card: dict, best_test: float | None, last_test: float | None) -> dict:
    """Everything learned that is one number a run; null where a diverged run has none."""
    at = trainer.position
    best = at.best
    learned = {
        "status": "completed" if at.diverged_step is None else "diverged",
        "diverged_step": at.diverged_step,
        "epochs_done": len(at.history),
        "best_epoch": best.epoch if best else None,
        "train_perplexity": _perplexity(best.train_loss) if best else None,
        "train_eval_perplexity": _perplexity(best.train_eval_loss) if best else None,
        "last_validation_perplexity": _perplexity(at.history[-1].validation_loss) if best else None,
        "last_test_perplexity": _perplexity(last_test) if last_test is not None else None,
    }
    for split, loss in (("validation", best.validation_loss if best else None), ("test", best_test)):
        learned |= _split_measures(split, loss, card["splits"][split])
    return learned | count_parameters(trainer.model)


def _split_measures(split: str, loss: float | None, counts: dict) -> dict[str, float | None]:
    """Loss a token, and the measures that compare across tokenizers: bits per byte and perplexity per word.

    These are null for a corpus of ids, whose bytes and words nobody knows.
    """
    nll = loss * counts["predicted_tokens"] if loss is not None else None
    known = nll is not None and counts["bytes"] is not None
    return {
        f"{split}_loss": loss,
        f"{split}_perplexity": _perplexity(loss) if loss is not None else None,
        f"{split}_bits_per_byte": nll / counts["bytes"] / math.log(2) if known else None,
        f"{split}_word_perplexity": _perplexity(nll / counts["words"]) if known else None,
    }


def _cost(trainer: Trainer, card: dict) -> dict:
    at = trainer.position
    return {
        "train_seconds": sum(epoch.train_seconds for epoch in at.history) + at.train_seconds,
        "validation_seconds": sum(epoch.validation_seconds for epoch in at.history),
        "tokens_per_second": _median([epoch.tokens_per_second for epoch in at.history]),
        "resumed": at.resumed,
        **trainer.meter.report(),
        **predict_memory(
            trainer.config, trainer.model, card["vocabulary"], trainer.compute.device.type, trainer.compute.precision
        ),
        **fingerprint(trainer.compute),
    }


def _median(values: list[float]) -> float | None:
    return torch.tensor(values, dtype=torch.float64).median().item() if values else None


def _write_json(content: dict, path: Path) -> None:
    # an infinite perplexity is not JSON
    finite = {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in content.items()}
    path.write_text(json.dumps(finite, indent=2) + "\n")
