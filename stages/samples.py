"""Let the best model of each architecture write a passage, from the start of a document, into reports/samples.md."""

from __future__ import annotations

import argparse
from pathlib import Path

import pandas as pd
from safetensors.torch import load_file
from tokenizers import Tokenizer

from lm.config.run import RunConfig
from lm.corpus.tokenizer import BOUNDARY
from lm.errors import reported
from lm.generate import generate
from lm.models.build import build_model


@reported
def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m stages.samples", description=__doc__)
    parser.add_argument("--reports", type=Path, default=Path("reports"), help="read and write (default: %(default)s)")
    parser.add_argument("--configs", type=Path, default=Path("configs"), help="configurations (default: %(default)s)")
    parser.add_argument("--runs", type=Path, default=Path("runs"), help="folder of runs (default: %(default)s)")
    parser.add_argument("--tokens", type=Path, default=Path("data/tokens"), help="tokens (default: %(default)s)")
    parser.add_argument("--count", type=int, default=200, help="tokens a passage (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of the draws (default: %(default)s)")
    arguments = parser.parse_args()

    runs = pd.read_parquet(arguments.reports / "runs.parquet").dropna(subset="validation_perplexity")
    tokenizer = Tokenizer.from_file(str(arguments.tokens / "tokenizer.json"))
    passages = ["# Passages written by the best model of each architecture\n"]
    for _, group in runs.groupby("model"):
        best = group.loc[group.validation_perplexity.idxmin()]
        config = RunConfig.read(arguments.configs / f"{best.experiment}.json").model
        model = build_model(config, int(best.vocabulary))
        model.load_state_dict(load_file(arguments.runs / f"{best.experiment}-{best.seed}" / "model.safetensors"))
        start = tokenizer.token_to_id(BOUNDARY)
        text = tokenizer.decode(generate(model, [start], arguments.count, config.context, arguments.seed))
        passages.append(
            f"## Experiment {best.experiment}, {config.architecture}, {config.layers} layers, {best.optimizer}\n\n"
            f"Validation perplexity {best.validation_perplexity:.1f}; seed {arguments.seed}, 50 likeliest tokens.\n\n"
            + "\n".join(f"    {line}" for line in text.splitlines())
            + "\n"
        )
    (arguments.reports / "samples.md").write_text("\n".join(passages))


if __name__ == "__main__":
    main()
