"""Let the best model of each architecture write a passage, from the start of a document, into reports/samples.md."""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import pandas as pd
from tokenizers import Tokenizer

from lm.config.run import RunConfig
from lm.corpus.tokenizer import BOUNDARY
from lm.embeddings.tables import open_embeddings
from lm.errors import reported
from lm.models.build import restore_model
from lm.trained.generation import write


def start_token(tokenizer: Tokenizer, tokens: Path) -> int:
    """What stands before a document: the boundary or, GPT-1's vocabulary having none, validation's first token.

    It is given to the model and not printed.
    """
    boundary = tokenizer.token_to_id(BOUNDARY)
    return int(np.load(tokens / "validation.npy", mmap_mode="r")[0]) if boundary is None else boundary


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

    runs = pd.read_parquet(arguments.reports / "runs.parquet").dropna(subset="validation_perplexity")
    passages = ["# Passages written by the best model of each architecture\n"]
    vocabulary = arguments.tokens / "tokenizer.json"
    if not vocabulary.exists():
        passages.append("None: the corpus is token ids without a vocabulary to decode with; see `gpt1.tokenizer`.\n")
        (arguments.reports / "samples.md").write_text("\n".join(passages))
        return
    tokenizer = Tokenizer.from_file(str(vocabulary))
    start = start_token(tokenizer, arguments.tokens)
    for _, group in runs.groupby("model"):
        best = group.loc[group.validation_perplexity.idxmin()]
        config = RunConfig.read(arguments.configs / f"{best.experiment}.json").model
        pretrained = open_embeddings(arguments.embeddings, config, int(best.vocabulary))
        weights = arguments.runs / f"{best.experiment}-{best.seed}" / "model.safetensors"
        model = restore_model(weights, config, int(best.vocabulary), pretrained)
        written = write(model.eval(), [start], arguments.count, seed=arguments.seed)
        # GPT-1's one special token, <unk>, stands for a character and is shown
        text = tokenizer.decode(written, skip_special_tokens=tokenizer.token_to_id(BOUNDARY) is not None)
        passages.append(
            f"## Experiment {best.experiment}: {config.architecture}, {best.optimizer}, layers: {config.layers}\n\n"
            f"Validation perplexity {best.validation_perplexity:.1f}; seed {arguments.seed}, 50 likeliest tokens.\n\n"
            + "\n".join(f"    {line}" for line in text.splitlines())
            + "\n"
        )
    (arguments.reports / "samples.md").write_text("\n".join(passages))


if __name__ == "__main__":
    main()
