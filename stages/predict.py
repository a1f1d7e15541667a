"""What each experiment of a scale would take, from shapes alone, before anything is trained: a Markdown table."""

from __future__ import annotations

import argparse
import math
from pathlib import Path

import pandas as pd

from lm.config.strict import did_you_mean
from lm.config.study import PARAMS, Study, load_study
from lm.corpus.windows import read_card
from lm.errors import StudyError, reported
from lm.prediction.run import Prediction, predict_run

_TERA = 1e12


def _row(found: Prediction, rate: float | None) -> dict[str, str]:
    config = found.config
    row = {
        "experiment": config.experiment,
        "model": config.model.architecture,
        "layers": str(config.model.layers),
        "optimizer": config.optimizer.name,
        "parameters": f"{found.parameters:,}",
        "trainable": f"{found.trainable_parameters:,}",
    }
    row |= {f"{name.removeprefix('model_').removesuffix('_mb')} MiB": f"{mb:,.1f}" for name, mb in found.memory.items()}
    row |= {"in all MiB": f"{found.memory_mb:,.1f}", "TFLOP an epoch": f"{found.epoch_operations / _TERA:,.1f}"}
    return row if rate is None else row | {"hours expected": f"{found.hours(rate):.2f}"}


def _total(found: list[Prediction], rate: float | None) -> dict[str, str]:
    row = {
        "experiment": "all, one seed",
        "TFLOP an epoch": f"{sum(each.epoch_operations for each in found) / _TERA:,.1f}",
    }
    return row if rate is None else row | {"hours expected": f"{sum(each.hours(rate) for each in found):.2f}"}


def _check(arguments: argparse.Namespace) -> None:
    """Raise :class:`StudyError` for a number of which no prediction can be made."""
    if arguments.train_tokens is not None and arguments.train_tokens < 1:
        raise StudyError(f"--train-tokens: {arguments.train_tokens}; allowed: 1 or more")
    if arguments.peak is not None and not 0 < arguments.peak < math.inf:
        raise StudyError(f"--peak: {arguments.peak}; allowed: above 0")
    if not 0 < arguments.utilization <= 1:
        raise StudyError(f"--utilization: {arguments.utilization}; allowed: above 0, at most 1")


def _counts(study: Study, scale: str, tokens: int | None) -> tuple[int, int]:
    """Vocabulary and training tokens an epoch: ``tokens``, or where that is None those in data/tokens.

    A corpus of token ids has the vocabulary that it came with, at any scale. Raises :class:`StudyError` where the
    tokens in data/tokens would be taken for those of another scale.
    """
    if tokens is None and scale != study.scale:
        raise StudyError(f"--train-tokens: missing; data/tokens is of the scale {study.scale}, not {scale}")
    vocabulary, made = study.scales[scale].tokenizer.vocabulary, Path("data/tokens")
    if tokens is not None and not (made / "card.json").exists():
        return vocabulary, tokens
    card = read_card(made)
    if card.get("tokenizer", {}).get("kind") == "ids":
        vocabulary = card["vocabulary"]
    if tokens is None:
        if card["vocabulary"] != vocabulary:
            raise StudyError(
                f"--train-tokens: missing; data/tokens has a vocabulary of {card['vocabulary']:,} and the scale "
                f"{scale} one of {vocabulary:,}: run `dvc repro tokenize`"
            )
        tokens = card["splits"]["train"]["predicted_tokens"]
    return vocabulary, tokens


@reported
def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m stages.predict", description=__doc__)
    parser.add_argument("--params", type=Path, default=PARAMS, help="the settings (default: %(default)s)")
    parser.add_argument("--scale", help="a scale of params.yaml (default: the one it names)")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu", help="device (default: %(default)s)")
    parser.add_argument(
        "--precision",
        choices=["fp32", "bf16", "fp16"],
        default="bf16",
        help="format of products (default: %(default)s)",
    )
    parser.add_argument("--train-tokens", type=int, help="tokens an epoch (default: those of data/tokens)")
    parser.add_argument("--peak", type=float, help="the device's matrix product rate, TFLOP/s: adds expected hours")
    parser.add_argument(
        "--utilization", type=float, default=0.4, help="part of the peak reached (default: %(default)s)"
    )
    arguments = parser.parse_args()
    _check(arguments)

    study = load_study(arguments.params)
    name = arguments.scale or study.scale
    if name not in study.scales:
        raise StudyError(f"--scale: unknown scale '{name}'; {did_you_mean(name, study.scales)}")
    vocabulary, tokens = _counts(study, name, arguments.train_tokens)
    study = study.model_copy(update={"scale": name})
    rate = None if arguments.peak is None else arguments.peak * arguments.utilization * _TERA
    found = [
        predict_run(config, vocabulary, tokens, arguments.device, arguments.precision)
        for config in study.resolve().values()
    ]
    of = f"vocabulary of {vocabulary:,}, {tokens:,} training tokens an epoch"
    print(f"scale {name}, {arguments.device}, {arguments.precision}, {of}")
    if rate is not None:
        print(f"hours of training alone, at {arguments.utilization:.0%} of {arguments.peak:g} TFLOP/s")
    table = pd.DataFrame([*(_row(each, rate) for each in found), _total(found, rate)]).fillna("")
    print("\n" + table.to_markdown(index=False, disable_numparse=True, stralign="right"))


if __name__ == "__main__":
    main()
