"""Tokens a second of sampling: from the state that a model keeps, against running the whole window for every token.

Both write the same number of tokens from a prompt of one, a context and as many again, with models of random weights,
and draw them in the same way. They take turns, round by round, so that a machine that drifts drifts for both. Printed
are medians over the rounds, as a Markdown table.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Sequence

import torch

from benchmarks.arguments import at_least_one, check_most
from benchmarks.sizes import configuration, open_scale, scale_of, tables_of
from lm.config.architectures import ARCHITECTURES
from lm.config.run import Layers, Threads
from lm.errors import reported
from lm.models.build import build_model
from lm.models.language_model import LanguageModel
from lm.trained.generation import Drawing, draw, stream


def from_state(model: LanguageModel, context: int, passages: int) -> None:
    """As ``stages.sample``."""
    drawn = stream(model, [1], drawing=Drawing(), seeds=range(passages))
    for _ in range(2 * context):
        next(drawn)


@torch.inference_mode()
def from_window(model: LanguageModel, context: int, passages: int) -> None:
    """The last context of tokens, run whole, for every token."""
    generators: Sequence[torch.Generator] = [torch.Generator().manual_seed(seed) for seed in range(passages)]
    ids_BT = torch.ones(passages, 1, dtype=torch.long)
    for _ in range(2 * context):
        features_BD = model(ids_BT[:, -context:])[:, -1]
        drawn = draw(features_BD @ model.embedding.weight.T, Drawing(), generators)
        ids_BT = torch.cat([ids_BT, torch.tensor(drawn)[:, None]], 1)


def rate(way: Callable[[LanguageModel, int, int], None], model: LanguageModel, context: int, passages: int) -> float:
    start = time.perf_counter()
    way(model, context, passages)
    return 2 * context * passages / (time.perf_counter() - start)


@reported
def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.sampling", description=__doc__)
    parser.add_argument("--shape", default="laptop", help="a scale of params.yaml (default: %(default)s)")
    parser.add_argument("--layers", type=at_least_one, nargs="+", default=[1, 4], help="layers (default: 1 4)")
    parser.add_argument("--passages", type=at_least_one, nargs="+", default=[1, 8], help="drawn at once (default: 1 8)")
    parser.add_argument("--rounds", type=at_least_one, default=5, help="turns of each (default: %(default)s)")
    parser.add_argument("--threads", type=at_least_one, default=1, help="CPU threads (default: %(default)s)")
    arguments = parser.parse_args()
    check_most("--layers", arguments.layers, Layers)
    check_most("--threads", [arguments.threads], Threads)
    torch.set_num_threads(arguments.threads)
    study = open_scale(arguments.shape, "--shape")
    print(f"{study.scale} sizes, threads: {arguments.threads}, {2 * scale_of(study).context} tokens a passage\n")
    print("| model | layers | passages at once | tokens/s, kept state | tokens/s, whole window | ratio |")
    print("| --- | ---: | ---: | ---: | ---: | ---: |")
    for architecture in ARCHITECTURES:
        for layers in arguments.layers:
            config = configuration(study, architecture, layers).model
            torch.manual_seed(0)
            model = build_model(config, scale_of(study).tokenizer.vocabulary, tables_of(study)).eval()
            for passages in arguments.passages:
                rounds = [
                    [rate(way, model, config.context, passages) for way in (from_state, from_window)]
                    for _ in range(arguments.rounds)
                ]
                kept, whole = (statistics.median(way) for way in zip(*rounds, strict=True))
                print(f"| {architecture} | {layers} | {passages} | {kept:,.0f} | {whole:,.0f} | {kept / whole:.1f} |")


if __name__ == "__main__":
    main()
