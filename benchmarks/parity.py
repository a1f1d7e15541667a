"""Does the fast path learn the same? The plain fp32 way, from the same weights and over the same batches, beside it.

Run it in a study's folder after `dvc repro`: it takes the study's configurations and tokens, trains the plain models of
`benchmarks/plain.py`, and sets their best validation perplexity beside that of the study's runs. An experiment with a
setting that the plain way has not, such as a schedule or dropout, is refused.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from benchmarks.contenders import PLAIN, plain_model
from benchmarks.plain import PlainGPT, PlainLSTM, plain_loss
from lm.config.run import RunConfig
from lm.corpus.windows import PADDING, Windows, epoch_order, open_windows, read_card
from lm.errors import StudyError, reading, reported
from lm.models.build import build_model
from lm.models.language_model import LanguageModel
from lm.models.lstm import LSTM

_HEEDED = {"architecture", "layers", "context", "width", "batch", "epochs", "name", "lr", "weight_decay", "momentum"}
_OF_NO_MATTER = {"train_sample", "shards"}
"""To what is learned: what is evaluated, and the order of sums."""
_OPTIMIZERS: dict[str, Callable[..., torch.optim.Optimizer]] = {
    "adam": torch.optim.Adam,
    "adamw": torch.optim.AdamW,
    "sgd": torch.optim.SGD,
    "momentum": torch.optim.SGD,
}


def check_plain(config: RunConfig) -> None:
    """Raises :class:`StudyError` for a run that is set to anything that the plain way has not."""
    for kind, name, there in (
        ("architecture", config.model.architecture, PLAIN),
        ("optimizer", config.optimizer.name, _OPTIMIZERS),
    ):
        if name not in there:
            raise StudyError(
                f"experiment {config.experiment}: {kind} {name}: there is no plain way of it; --experiments: name "
                f"others, of {', '.join(there)}"
            )
    known = _HEEDED | _OF_NO_MATTER | set(config.model.sizes)
    for settings in (config.model, config.optimizer, config.training):
        for name, value in settings.model_dump(exclude_defaults=True).items():
            if name not in known:
                raise StudyError(
                    f"experiment {config.experiment}: {name}: {value!r}: the plain way has it not; "
                    f"--experiments: name others, whose {name} is not set"
                )


def plain_copy(model: LanguageModel, config: RunConfig) -> PlainGPT | PlainLSTM:
    """The plain model with the very weights of ours."""
    weights = model.state_dict()
    plain = plain_model(config.model, len(model.embedding.weight))
    if isinstance(model, LSTM):
        plain.load_state_dict(weights)
        return plain
    names = {
        "attention.output": "attention.output",
        "attention_norm": "first_norm",
        "mlp.0": "up",
        "mlp.2": "down",
        "mlp_norm": "second_norm",
    }
    renamed = {name: weights[name] for name in ("embedding.weight", "positions.weight")}
    for layer in range(config.model.layers):
        block = f"blocks.{layer}."
        for kind in ("weight", "bias"):
            parts = weights[f"{block}attention.query_key_value.{kind}"].chunk(3)
            for name, part in zip(("query", "key", "value"), parts, strict=True):
                renamed[f"{block}attention.{name}.{kind}"] = part
            for ours, theirs in names.items():
                renamed[f"{block}{theirs}.{kind}"] = weights[f"{block}{ours}.{kind}"]
    plain.load_state_dict(renamed)
    return plain


def plain_optimizer(config: RunConfig, model: torch.nn.Module) -> torch.optim.Optimizer:
    settings = config.optimizer
    extra = {"momentum": settings.settings["momentum"]} if settings.name == "momentum" else {}
    return _OPTIMIZERS[settings.name](
        model.parameters(), lr=settings.lr, weight_decay=settings.settings["weight_decay"], foreach=False, **extra
    )


@torch.inference_mode()
def plain_perplexity(model: PlainGPT | PlainLSTM, windows: Windows) -> float:
    total = 0.0
    for start in range(0, len(windows), 16):
        batch = windows.batch(np.arange(start, min(start + 16, len(windows))))
        total += plain_loss(model(batch.inputs_BT), batch.targets_BT, PADDING).item() * batch.predicted
    return math.exp(total / windows.predicted)


def train_plain(config: RunConfig, seed: int, tokens: Path) -> list[float]:
    """Validation perplexity after each epoch."""
    card = read_card(tokens)
    train, validation = (open_windows(tokens, split, config.model.context, card) for split in ("train", "validation"))
    torch.set_num_threads(config.compute.threads)
    torch.manual_seed(seed)
    model = plain_copy(build_model(config.model, card["vocabulary"]), config)
    optimizer = plain_optimizer(config, model)
    reached = []
    size = config.training.batch
    for epoch in range(config.training.epochs):
        order = epoch_order(len(train), seed, epoch)
        for start in tqdm(range(0, len(order), size), desc=f"experiment {config.experiment}, epoch {epoch}"):
            batch = train.batch(order[start : start + size])
            loss = plain_loss(model(batch.inputs_BT), batch.targets_BT, PADDING)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        reached.append(plain_perplexity(model, validation))
    return reached


@reported
def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.parity", description=__doc__)
    parser.add_argument("--experiments", nargs="+", default=["1", "5", "9"], help="ids (default: 1 5 9)")
    parser.add_argument("--seed", type=int, default=42, help="a seed of the study (default: %(default)s)")
    arguments = parser.parse_args()
    configurations = [RunConfig.read(Path(f"configs/{experiment}.json")) for experiment in arguments.experiments]
    for config in configurations:
        check_plain(config)
    print("| experiment | plain fp32 | this engine | difference |\n| --- | ---: | ---: | ---: |")
    for experiment, config in zip(arguments.experiments, configurations, strict=True):
        path = Path(f"runs/{experiment}-{arguments.seed}/metrics.json")
        with reading(path, f"run `dvc repro train@{experiment}-{arguments.seed}`"):
            ours = json.loads(path.read_text())["validation_perplexity"]
        plain = min(train_plain(config, arguments.seed, Path("data/tokens")))
        print(f"| {experiment} | {plain:.2f} | {ours:.2f} | {ours / plain - 1:+.2%} |", flush=True)


if __name__ == "__main__":
    main()
