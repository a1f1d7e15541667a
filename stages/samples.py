"""Let the best model of each architecture write a passage, from the start of a document, into reports/samples.json."""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import pandas as pd
from safetensors import SafetensorError
from tokenizers import Tokenizer

from lm.config.architectures import ARCHITECTURES
from lm.config.optimizers import OPTIMIZERS
from lm.config.run import RunConfig
from lm.corpus.tokenizer import BOUNDARY, FILE, load_tokenizer
from lm.embeddings.tables import open_embeddings
from lm.errors import StudyError, reading, reported
from lm.models.build import restore_model
from lm.results.samples import Passage, Samples
from lm.trained.generation import Drawing, write

TOP = 50


def start_token(tokenizer: Tokenizer, tokens: Path) -> int:
    """What stands before a document: the boundary or, GPT-1's vocabulary having none, validation's first token.

    It is given to the model and not printed.
    """
    boundary = tokenizer.token_to_id(BOUNDARY)
    return int(np.load(tokens / "validation.npy", mmap_mode="r")[0]) if boundary is None else int(boundary)


def write_passage(row: pd.Series, tokenizer: Tokenizer, arguments: argparse.Namespace) -> Passage:
    """One run's model restored and let write; ``row`` is its row of runs.parquet."""
    config = RunConfig.read(arguments.configs / f"{row.experiment}.json").model
    pretrained = open_embeddings(arguments.embeddings, config, int(row.vocabulary))
    weights = arguments.runs / f"{row.experiment}-{row.seed}" / "model.safetensors"
    again = f"run `dvc repro train@{row.experiment}-{row.seed}`"
    with reading(weights, again, (SafetensorError, RuntimeError)):
        model = restore_model(weights, config, int(row.vocabulary), pretrained)
    start = start_token(tokenizer, arguments.tokens)
    written = write(model.eval(), [start], arguments.count, seed=arguments.seed, drawing=Drawing(top_k=TOP))
    # GPT-1's one special token, <unk>, stands for a character and is shown
    text = tokenizer.decode(written, skip_special_tokens=tokenizer.token_to_id(BOUNDARY) is not None)
    return Passage(
        experiment=str(row.experiment),
        seed=int(row.seed),
        model=ARCHITECTURES[row.model].label,
        layers=int(row.layers),
        optimizer=OPTIMIZERS[row.optimizer].label,
        validation_loss=float(row.validation_loss),
        text=text,
    )


@reported
def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m stages.samples", description=__doc__)
    parser.add_argument("--reports", type=Path, default=Path("reports"), help="read and write (default: %(default)s)")
    parser.add_argument("--configs", type=Path, default=Path("configs"), help="configurations (default: %(default)s)")
    parser.add_argument("--runs", type=Path, default=Path("runs"), help="folder of runs (default: %(default)s)")
    parser.add_argument("--tokens", type=Path, default=Path("data/tokens"), help="tokens (default: %(default)s)")
    parser.add_argument(
        "--embeddings", type=Path, default=Path("data/embeddings"), help="pretrained ones (default: %(default)s)"
    )
    parser.add_argument("--count", type=int, default=200, help="tokens a passage (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of the draws (default: %(default)s)")
    arguments = parser.parse_args()
    if arguments.count < 1:
        raise StudyError(f"--count: {arguments.count}; allowed: 1 or more")

    decodable = (arguments.tokens / FILE).exists()
    passages: list[Passage] = []
    if decodable:
        tokenizer = load_tokenizer(arguments.tokens, "run `dvc repro -f tokenize`")
        path = arguments.reports / "runs.parquet"
        with reading(path, "`dvc repro aggregate` makes it"):
            runs = pd.read_parquet(path).query("status == 'completed'")
        groups = runs.dropna(subset="validation_loss").groupby("model", sort=False)
        best = [group.loc[group["validation_loss"].idxmin()] for _, group in groups]
        passages = [write_passage(row, tokenizer, arguments) for row in best]
    Samples(
        draws=arguments.seed,
        top=TOP,
        count=arguments.count,
        decodable=decodable,
        passages=tuple(passages),
    ).write(arguments.reports / "samples.json")


if __name__ == "__main__":
    main()
