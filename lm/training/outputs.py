"""The files of a run. What is learned and what is measured stand apart, so that hashes of the former repeat."""

from __future__ import annotations

import json
import math
import os
import re
import shutil
import statistics
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import save_file

from lm.errors import StudyError, writing
from lm.models.build import FROZEN, count_parameters, step_operations
from lm.training import documents, finished
from lm.training.evaluation import token_nll
from lm.training.hardware import fingerprint
from lm.training.history import LEARNED, MEASURED, as_csv, beside, perplexity
from lm.training.loop import Trainer
from lm.training.memory import MemoryMeter
from lm.training.memory_model import predict_memory

WEIGHTS = "model.safetensors"
TABLES = ("history.csv", "test_documents.csv", "metrics.json", "timing.csv", "cost.json")
_SIDE_BY_SIDE = "STUDY_SIDE_BY_SIDE"


def files_of_a_run(*, weights: bool) -> tuple[str, ...]:
    return (WEIGHTS, *TABLES) if weights else TABLES


def write_run(
    trainer: Trainer,
    meter: MemoryMeter,
    card: dict[str, Any],
    test_starts: NDArray[np.int64],
    folder: Path,
    *,
    weights: bool = True,
) -> None:
    """Score the test split under the best epoch's weights and write the run's files, all or none.

    ``test_starts`` are the offsets of the test split's documents. Without ``weights`` the model itself is left out.
    """
    partial = beside(folder)
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        at, windows = trainer.position, trainer.job.splits["test"]
        meter.enter("scoring")
        last = token_nll(trainer.model, windows, trainer.compute)
        best_weights = trainer.best_weights or trainer.model.state_dict()
        trainer.model.load_state_dict(best_weights)
        at_best = not at.history or (at.best is at.history[-1] and at.diverged_step is None)
        best_loss, nll_N = last if at_best else token_nll(trainer.model, windows, trainer.compute)
        meter.enter("other")
        if weights:
            metadata = {FROZEN: trainer.job.pretrained.sha256} if trainer.job.pretrained else None
            content = {name: tensor.contiguous().cpu() for name, tensor in best_weights.items()}
            try:
                save_file(content, partial / WEIGHTS, metadata)
            except SafetensorError as error:
                raise _of_system(error, folder / WEIGHTS) from None
            (partial / WEIGHTS).chmod(0o666 & ~_umask())  # it comes readable to its owner alone
        with writing(folder):
            (partial / "history.csv").write_text(as_csv(at.history, LEARNED))
            (partial / "timing.csv").write_text(as_csv(at.history, MEASURED))
            (partial / "test_documents.csv").write_text(documents.as_csv(nll_N, test_starts))
            _write_json(_metrics(trainer, card, best_loss, last[0]), partial / "metrics.json")
            _write_json(_cost(trainer, meter, card), partial / "cost.json")
            _publish(partial, folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _of_system(error: SafetensorError, path: Path) -> Exception:
    """The system's error of writing ``path``, which safetensors hides in a text of its own."""
    number = re.search(r"os error (\d+)", str(error))
    return OSError(int(number[1]), os.strerror(int(number[1])), str(path)) if number else error


def put_back_run(store: Path, belongs_to: str, folder: Path, *, weights: bool) -> bool:
    """Put back the files of a run that has been finished before, all or none; whether there was one."""
    partial = beside(folder)
    shutil.rmtree(partial, ignore_errors=True)
    try:
        found = finished.put_back(store, belongs_to, partial, files_of_a_run(weights=weights))
        if found:
            _publish(partial, folder)
        return found
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _publish(partial: Path, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    if not (partial / WEIGHTS).exists():
        (folder / WEIGHTS).unlink(missing_ok=True)  # of another run
    for path in partial.iterdir():
        os.replace(path, folder / path.name)


def _metrics(trainer: Trainer, card: dict[str, Any], best_test: float, last_test: float) -> dict[str, Any]:
    """Everything learned that is one number a run; null where a diverged run has none."""
    at = trainer.position
    best = at.best
    learned: dict[str, Any] = {
        "status": "completed" if at.diverged_step is None else "diverged",
        "diverged_step": at.diverged_step,
        "stopped_early": trainer.stopped_early,
        "epochs_done": len(at.history),
        "best_epoch": best.epoch if best else None,
        "train_perplexity": perplexity(best.train_loss) if best else None,
        "train_eval_perplexity": perplexity(best.train_eval_loss) if best else None,
        "last_validation_perplexity": perplexity(at.history[-1].validation_loss) if best else None,
        "last_test_perplexity": perplexity(last_test) if best else None,
    }
    scores = {"validation": best.validation_loss, "test": best_test} if best else {"validation": None, "test": None}
    for split, loss in scores.items():
        learned |= _split_measures(split, loss, card["splits"][split])
    return learned | count_parameters(trainer.model)


def _split_measures(split: str, loss: float | None, counts: dict[str, Any]) -> dict[str, float | None]:
    """Loss a token, and the measures that compare across tokenizers: bits per byte and perplexity per word.

    These are null for a corpus of ids, whose bytes and words nobody knows.
    """
    nll = loss * counts["predicted_tokens"] if loss is not None and counts["bytes"] is not None else None
    return {
        f"{split}_loss": loss,
        f"{split}_perplexity": perplexity(loss) if loss is not None else None,
        f"{split}_bits_per_byte": nll / counts["bytes"] / math.log(2) if nll is not None else None,
        f"{split}_word_perplexity": perplexity(nll / counts["words"]) if nll is not None else None,
    }


def _cost(trainer: Trainer, meter: MemoryMeter, card: dict[str, Any]) -> dict[str, Any]:
    at, job = trainer.position, trainer.job
    rates = [epoch.tokens_per_second for epoch in at.history]
    frozen = not trainer.model.embedding.weight.requires_grad
    operations = step_operations(job.config.model, card["vocabulary"], job.splits["train"].predicted, frozen)
    return {
        "train_seconds": sum(epoch.train_seconds for epoch in at.history) + at.spent.wall,
        "validation_seconds": sum(epoch.validation_seconds for epoch in at.history),
        "tokens_per_second": statistics.median(rates) if rates else None,
        "operations_per_epoch": sum(operations.values()),
        "side_by_side": runs_side_by_side(),
        "processes": trainer.processes.size,
        "resumed": at.resumed,
        **meter.report(),
        **predict_memory(
            job.config, trainer.model, card["vocabulary"], trainer.compute.device.type, trainer.compute.precision
        ),
        **fingerprint(trainer.compute),
    }


def runs_side_by_side() -> int:
    """How many runs a launch trains at once, on all its machines, as whoever started them says; 1 where nobody does.

    Raises :class:`StudyError` when that is no whole number of at least 1.
    """
    said = os.environ.get(_SIDE_BY_SIDE, "1")
    if not said.isascii() or not said.isdigit() or int(said) < 1:
        raise StudyError(f"environment: {_SIDE_BY_SIDE}: '{said}'; allowed: a whole number, at least 1")
    return int(said)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _write_json(content: dict[str, Any], path: Path) -> None:
    # an infinite perplexity is not JSON
    finite = {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in content.items()}
    path.write_text(json.dumps(finite, indent=2) + "\n")
