"""Train one configuration with one seed; a run that was stopped goes on from its last checkpoint."""

from __future__ import annotations

import argparse
import errno
import json
import os
import sys
from contextlib import nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from lm.code import code_of_a_run
from lm.config.run import RunConfig
from lm.corpus import SPLITS
from lm.corpus.windows import open_windows, read_card
from lm.embeddings.tables import open_embeddings
from lm.errors import StudyError, reported
from lm.training import checkpoints, finished
from lm.training.documents import open_starts
from lm.training.first_use import first_use
from lm.training.hardware import choose, kind_of_machine, settle
from lm.training.history import HistoryFile
from lm.training.lock import one_trainer
from lm.training.loop import Job, Trainer
from lm.training.memory import MemoryMeter
from lm.training.outputs import files_of_a_run, put_back_run, runs_side_by_side, write_run
from lm.training.processes import Place, Processes, joined
from lm.training.progress import Progress
from lm.training.saver import Saver
from lm.training.stopping import Interrupted, Parent, Stop

_SEEDS = 2**31
_NO_MEMORY = ("out of memory", "allocate memory", "not enough memory", "a memory object", "STATUS_ALLOC_FAILED")
"""What CUDA, cuBLAS, cuDNN and oneDNN say then. Memory that was accessed wrongly is another matter."""


@dataclass(frozen=True, kw_only=True)
class Run:
    """A run, the places of its files, and this process's place among those that train it."""

    name: str
    place: Place
    job: Job
    card: dict[str, Any]
    test_starts: NDArray[np.int64]
    belongs_to: str
    out: Path
    checkpoint: Path
    checkpoint_seconds: float
    finished: Path | None
    weights: bool


@reported
def main() -> None:
    parent = Parent()
    run = _open_run(_parse())
    try:
        with one_trainer(run.checkpoint.with_suffix(".lock")) if run.place.first else nullcontext():
            known = run.place.first and _put_back(run)
            if known and not run.place.torchrun:
                return
            with joined(run.place, run.job.compute.device) as processes:
                if not processes.first_says(known):
                    _train(run, parent, processes)
    except Interrupted as stopped:
        if run.place.first:
            _say(f"{run.name}: stopped by {stopped}; saved {run.checkpoint}: `dvc repro` goes on from there")
        raise SystemExit(128 + stopped.signal_number) from None
    except (MemoryError, RuntimeError) as error:
        if not isinstance(error, MemoryError | torch.OutOfMemoryError) and not any(w in str(error) for w in _NO_MEMORY):
            raise
        raise StudyError(f"{run.name}: out of memory; lower the scale's batch, context or width") from None
    except OSError as error:
        raise StudyError(f"{run.name}: {_what_failed(error, run.checkpoint)}") from None


def _put_back(run: Run) -> bool:
    """Whether this machine has trained the run before; its files are in their place then."""
    if not run.finished or not put_back_run(run.finished, run.belongs_to, run.out, weights=run.weights):
        return False
    _say(f"{run.name}: trained before on this machine; its files are put back (--no-reuse trains anew)")
    return True


def _train(run: Run, parent: Parent, processes: Processes) -> None:
    first_use(run.job.config, run.job.compute)
    meter = MemoryMeter(run.job.compute.device)
    trainer = Trainer(run.job, Stop(parent, processes.largest), processes)
    saver = Saver(path=run.checkpoint, belongs_to=run.belongs_to, every_seconds=run.checkpoint_seconds, meter=meter)
    message = saver.restore(trainer)
    _check_alike(run, trainer, processes)
    if not processes.first:
        trainer.run()
        return
    trainer.run([meter, HistoryFile(run.out), Progress(run.name, message), saver])
    write_run(trainer, meter, run.card, run.test_starts, run.out, weights=run.weights)
    if run.finished:
        finished.keep(run.finished, run.belongs_to, run.out, files_of_a_run(weights=run.weights))
    checkpoints.remove(run.checkpoint)


def _check_alike(run: Run, trainer: Trainer, processes: Processes) -> None:
    """Raises :class:`StudyError` in a process that is about to train something else than the first."""
    at = trainer.position
    mine = run.belongs_to, at.epoch, at.step
    if mine != processes.first_says(mine):
        raise StudyError(
            f"{run.name}: process {processes.rank} differs from the first in its files, its code, its kind of machine "
            f"or its checkpoint {run.checkpoint}; all processes of a run need the same"
        )


def _open_run(arguments: argparse.Namespace) -> Run:
    """Everything that the command line names, read and checked before anything is trained."""
    runs_side_by_side()
    config = RunConfig.read(arguments.config)
    place = Place.of_environment(config.training.shards)
    card = read_card(arguments.tokens)
    splits = {split: open_windows(arguments.tokens, split, config.model.context, card) for split in SPLITS}
    pretrained = open_embeddings(arguments.embeddings, config.model, card["vocabulary"])
    compute = settle(choose(config.compute))
    place.take_device(compute.device)
    name = f"{config.experiment}-{arguments.seed}"
    belongs_to = checkpoints.fingerprint(
        config.to_json().encode(),
        f"{arguments.seed} {compute}".encode(),
        (arguments.tokens / "card.json").read_bytes(),
        pretrained.sha256.encode() if pretrained else b"",
        json.dumps(code_of_a_run()).encode(),
        kind_of_machine(compute.device).encode(),
    )
    return Run(
        name=name,
        place=place,
        job=Job(
            config=config,
            seed=arguments.seed,
            splits=splits,
            vocabulary=card["vocabulary"],
            compute=compute,
            pretrained=pretrained,
        ),
        card=card,
        test_starts=open_starts(arguments.tokens, "test", card),
        belongs_to=belongs_to,
        out=arguments.out,
        checkpoint=arguments.checkpoints / f"{name}.pt",
        checkpoint_seconds=arguments.checkpoint_seconds,
        finished=arguments.checkpoints / "finished" if arguments.reuse else None,
        weights=arguments.weights,
    )


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m stages.train", description=__doc__)
    add = parser.add_argument
    add("--config", type=Path, required=True, help="a resolved configuration, configs/<experiment>.json")
    add("--seed", type=int, required=True, help="seed of initialization and data order")
    add("--tokens", type=Path, default=Path("data/tokens"), help="tokens (default: %(default)s)")
    add("--embeddings", type=Path, default=Path("data/embeddings"), help="pretrained ones (default: %(default)s)")
    add("--out", type=Path, required=True, help="folder of the run, runs/<experiment>-<seed>")
    add("--checkpoints", type=Path, default=Path(".checkpoints"), help="folder of checkpoints (default: %(default)s)")
    add("--checkpoint-seconds", type=float, default=180.0, help="between checkpoints inside an epoch (%(default)s)")
    add("--without-weights", dest="weights", action="store_false", help="do not write model.safetensors")
    add(
        "--no-reuse",
        dest="reuse",
        action="store_false",
        default="STUDY_NO_REUSE" not in os.environ,
        help="train even what this machine has trained before (or set STUDY_NO_REUSE)",
    )
    arguments = parser.parse_args()
    if not 0 <= arguments.seed < _SEEDS:
        raise StudyError(f"--seed: {arguments.seed}; allowed: 0 to {_SEEDS - 1}")
    return arguments


def _what_failed(error: OSError, checkpoint: Path) -> str:
    place = error.filename or checkpoint
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"no space left on the disk for {place}; free some"
    return f"{place}: {error.strerror or error}"


def _say(text: str) -> None:
    with suppress(OSError):  # nobody may be there to read
        print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
