"""Train one configuration with one seed; a run that was stopped goes on from its last checkpoint."""

from __future__ import annotations

import argparse
import errno
import sys
from pathlib import Path

import lm
from lm.config.run import RunConfig
from lm.corpus.documents import SPLITS
from lm.corpus.windows import open_windows, read_card
from lm.embeddings.tables import open_embeddings
from lm.errors import StudyError, reported
from lm.training import checkpoints
from lm.training.hardware import settle
from lm.training.loop import Interrupted, Trainer
from lm.training.outputs import write_run

_NO_MEMORY = ("out of memory", "allocate memory", "not enough memory", "a memory object", "STATUS_ALLOC_FAILED")
"""What PyTorch, CUDA, cuBLAS, cuDNN and oneDNN say then. Memory that was accessed wrongly is another matter."""


@reported
def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m stages.train", description=__doc__)
    parser.add_argument(
        "--config", type=Path, required=True, help="a resolved configuration, configs/<experiment>.json"
    )
    parser.add_argument("--seed", type=int, required=True, help="seed of initialization and data order")
    parser.add_argument("--tokens", type=Path, default=Path("data/tokens"), help="tokens (default: %(default)s)")
    parser.add_argument(
        "--embeddings", type=Path, default=Path("data/embeddings"), help="pretrained ones (default: %(default)s)"
    )
    parser.add_argument("--out", type=Path, required=True, help="folder of the run, runs/<experiment>-<seed>")
    parser.add_argument(
        "--checkpoints", type=Path, default=Path(".checkpoints"), help="folder of checkpoints (default: %(default)s)"
    )
    parser.add_argument(
        "--checkpoint-seconds", type=float, default=180.0, help="between checkpoints inside an epoch (%(default)s)"
    )
    arguments = parser.parse_args()

    config = RunConfig.read(arguments.config)
    card = read_card(arguments.tokens)
    splits = {split: open_windows(arguments.tokens, split, config.model.context, card) for split in SPLITS}
    pretrained = open_embeddings(arguments.embeddings, config.model, card["vocabulary"])
    compute = settle(config.compute)
    name = f"{config.experiment}-{arguments.seed}"
    rooms = ("corpus", "embeddings", "models", "training")
    belongs_to = checkpoints.fingerprint(
        config.model_dump_json().encode(),
        f"{arguments.seed} {compute}".encode(),
        (arguments.tokens / "card.json").read_bytes(),
        pretrained.sha256.encode() if pretrained else b"",
        checkpoints.code_of(*(Path(lm.__file__).parent / room for room in rooms)),
    )
    checkpoint = arguments.checkpoints / f"{name}.pt"
    try:
        trainer = Trainer(
            config, arguments.seed, splits, card["vocabulary"], compute, checkpoint, belongs_to,
            arguments.checkpoint_seconds, pretrained,
        )  # fmt: skip
        trainer.run(name)
        write_run(trainer, card, arguments.out)
    except Interrupted as stopped:
        print(f"{name}: stopped by {stopped}; saved {checkpoint}: `dvc repro` goes on from there", file=sys.stderr)
        raise SystemExit(128 + stopped.signal_number) from None
    except (MemoryError, RuntimeError) as error:
        if not isinstance(error, MemoryError) and not any(words in str(error) for words in _NO_MEMORY):
            raise
        raise StudyError(f"{name}: out of memory; lower the scale's batch, context or width") from None
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise StudyError(f"{name}: no space left on the disk for {error.filename or checkpoint}; free some") from None
    checkpoints.remove(checkpoint)


if __name__ == "__main__":
    main()
