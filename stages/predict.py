"""What each experiment of a scale would take, from shapes alone, before anything is trained: a Markdown table."""

from __future__ import annotations

import argparse
from pathlib import Path

import torch

from lm.config.study import PARAMS, load_study
from lm.corpus.windows import read_card
from lm.errors import StudyError, reported
from lm.models.build import build_model, count_parameters, step_operations
from lm.training.memory_model import predict_memory

_COLUMNS = ("parameters", "gradients", "optimizer", "activations", "logits")


@reported
def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m stages.predict", description=__doc__)
    parser.add_argument("--params", type=Path, default=PARAMS, help="the settings (default: %(default)s)")
    parser.add_argument("--scale", help="a scale of params.yaml (default: the one it names)")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu", help="default: %(default)s")
    parser.add_argument("--precision", choices=["fp32", "bf16", "fp16"], default="bf16", help="default: %(default)s")
    parser.add_argument("--train-tokens", type=int, help="tokens an epoch (default: those of data/tokens)")
    parser.add_argument("--peak", type=float, help="the device's matrix product rate, TFLOP/s: adds expected hours")
    parser.add_argument(
        "--utilization", type=float, default=0.4, help="part of the peak reached (default: %(default)s)"
    )
    arguments = parser.parse_args()

    study = load_study(arguments.params)
    name = arguments.scale or study.scale
    if name not in study.scales:
        raise StudyError(f"--scale: unknown scale '{name}'; allowed: {', '.join(study.scales)}")
    study = study.model_copy(update={"scale": name})
    vocabulary = study.scales[name].tokenizer.vocabulary
    tokens = arguments.train_tokens or read_card(Path("data/tokens"))["splits"]["train"]["predicted_tokens"]

    heads = ["experiment", "model", "layers", "optimizer", "parameters", "trainable"]
    heads += [f"{column} MiB" for column in _COLUMNS] + ["in all MiB", "TFLOP an epoch"]
    heads += ["hours expected"] if arguments.peak else []
    print(f"scale {name}, {arguments.device}, {arguments.precision}, {tokens:,} training tokens an epoch")
    if arguments.peak:
        print(f"hours of training alone, at {arguments.utilization:.0%} of {arguments.peak:g} TFLOP/s")
    print("\n| " + " | ".join(heads) + " |\n|" + " ---: |" * len(heads))
    teraflops, hours = 0.0, 0.0
    for experiment, config in study.resolve().items():
        with torch.device("meta"):
            model = build_model(config.model, vocabulary)
        counts = count_parameters(model)
        memory = predict_memory(config, model, vocabulary, arguments.device, arguments.precision)
        frozen = not model.embedding.weight.requires_grad
        epoch = sum(step_operations(config.model, vocabulary, tokens, frozen).values()) / 1e12
        teraflops += epoch
        row = [experiment, config.model.architecture, str(config.model.layers), config.optimizer.name]
        row += [f"{counts['parameters']:,}", f"{counts['trainable_parameters']:,}"]
        row += [f"{memory[f'model_{column}_mb']:,.1f}" for column in _COLUMNS]
        row += [f"{sum(memory.values()):,.1f}", f"{epoch:,.1f}"]
        if arguments.peak:
            expected = config.training.epochs * epoch / (arguments.peak * arguments.utilization) / 3600
            hours += expected
            row.append(f"{expected:.2f}")
        print("| " + " | ".join(row) + " |")
    last = ["all, one seed", *[""] * (len(heads) - (3 if arguments.peak else 2)), f"{teraflops:,.1f}"]
    print("| " + " | ".join(last + ([f"{hours:.2f}"] if arguments.peak else [])) + " |")


if __name__ == "__main__":
    main()
