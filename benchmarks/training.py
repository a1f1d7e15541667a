"""One training step, ours against the plain way and against the machine's own matrix products.

Every contender runs in a process of its own; contenders take turns, round by round, so that a machine that drifts
drifts for all. Printed are medians over the rounds, as a Markdown table.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time

import numpy as np
import psutil
import torch

from benchmarks.arguments import at_least_one
from benchmarks.plain import PlainGPT, PlainLSTM, plain_loss
from lm.config.run import ComputeConfig, ModelConfig, OptimizerConfig, RunConfig, TrainingConfig
from lm.corpus.windows import PADDING, Windows
from lm.errors import reported
from lm.models.build import step_operations
from lm.training.first_use import first_use
from lm.training.hardware import fingerprint, settle
from lm.training.loop import Job, Trainer
from lm.training.loss import projected_cross_entropy
from lm.training.memory import MemoryMeter

SHAPES = {
    "smoke": {
        "vocabulary": 512,
        "width": 32,
        "hidden": 32,
        "heads": 2,
        "mlp": 128,
        "context": 32,
        "steps": 3,
        "epoch": 12,
    },
    "laptop": {
        "vocabulary": 4096,
        "width": 128,
        "hidden": 128,
        "heads": 2,
        "mlp": 512,
        "context": 128,
        "steps": 30,
        "epoch": 50,
    },
    "reference": {
        "vocabulary": 40479,
        "width": 768,
        "hidden": 512,
        "heads": 12,
        "mlp": 3072,
        "context": 256,
        "steps": 2,
        "epoch": 3,
    },
}
BATCH = 16


def configuration(shape: dict, model: str, precision: str, threads: int, compiled: bool = False) -> RunConfig:
    lstm = model == "lstm"
    return RunConfig(
        experiment="benchmark",
        model=ModelConfig(
            architecture=model,
            layers=1,
            context=shape["context"],
            width=shape["width"],
            **({"lstm_hidden": shape["hidden"]} if lstm else {"heads": shape["heads"], "mlp": shape["mlp"]}),
        ),
        optimizer=OptimizerConfig(name="adam", lr=0.001),
        training=TrainingConfig(batch=BATCH, epochs=1, train_sample=1),
        compute=ComputeConfig(device="cpu", precision=precision, threads=threads, compile=compiled),
    )


def random_windows(shape: dict, batches: int) -> Windows:
    tokens = np.random.default_rng(0).integers(0, shape["vocabulary"], batches * BATCH * shape["context"] + 1)
    return Windows(tokens.astype(np.uint16), shape["context"])


def trainer_for(
    shape: dict, model: str, precision: str, threads: int, batches: int, compiled: bool = False
) -> tuple[Trainer, MemoryMeter]:
    config = configuration(shape, model, precision, threads, compiled)
    windows = random_windows(shape, batches)
    splits = {"train": windows, "validation": windows, "test": windows}
    compute = settle(config.compute)
    first_use(config, compute)
    meter = MemoryMeter(compute.device)
    trainer = Trainer(Job(config=config, seed=0, splits=splits, vocabulary=shape["vocabulary"], compute=compute))
    freeze_embeddings(trainer.model, shape)
    meter.enter("training")
    return trainer, meter


def freeze_embeddings(model: torch.nn.Module, shape: dict) -> None:
    """At the reference sizes the embeddings are pretrained and frozen."""
    if shape is SHAPES["reference"]:
        for module in model.modules():
            if isinstance(module, torch.nn.Embedding):
                module.weight.requires_grad_(False)


def median_seconds(step, steps: int) -> float:
    step()
    seconds = []
    for _ in range(steps):
        started = time.perf_counter()
        step()
        seconds.append(time.perf_counter() - started)
    return statistics.median(seconds)


def time_ours(shape: dict, model: str, threads: int, precision: str) -> dict:
    trainer, meter = trainer_for(shape, model, precision, threads, 1)
    batch = trainer.job.splits["train"].batch(np.arange(BATCH))
    seconds = median_seconds(lambda: trainer._step(batch), shape["steps"])
    return {"seconds": seconds, "footprint": meter.report()["memory_footprint_mb"]}


def time_compiled(shape: dict, model: str, threads: int, precision: str) -> dict:
    """Through ``torch.compile``, with what its first step takes when nothing has been compiled before."""
    with tempfile.TemporaryDirectory() as cache:
        os.environ["TORCHINDUCTOR_CACHE_DIR"] = cache
        trainer, _ = trainer_for(shape, model, precision, threads, 1, compiled=True)
        batch = trainer.job.splits["train"].batch(np.arange(BATCH))
        started = time.perf_counter()
        trainer._step(batch)
        first = time.perf_counter() - started
        return {"seconds": median_seconds(lambda: trainer._step(batch), shape["steps"]), "first": first}


def time_plain(shape: dict, model: str, threads: int, _precision: str) -> dict:
    config = configuration(shape, model, "fp32", threads)
    first_use(config, settle(config.compute))
    meter = MemoryMeter(torch.device("cpu"))
    meter.enter("training")
    if model == "gpt":
        sizes = (shape["vocabulary"], shape["context"], shape["width"], 1, shape["heads"], shape["mlp"])
        network = PlainGPT(*sizes)
    else:
        network = PlainLSTM(shape["vocabulary"], shape["width"], shape["hidden"], 1)
    torch.nn.init.normal_(network.embedding.weight, std=0.02)
    freeze_embeddings(network, shape)
    trainable = [parameter for parameter in network.parameters() if parameter.requires_grad]
    optimizer = torch.optim.Adam(trainable, lr=0.001, foreach=False)
    batch = random_windows(shape, 1).batch(np.arange(BATCH))

    def step() -> None:
        loss = plain_loss(network(batch.inputs_BT), batch.targets_BT, PADDING)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    seconds = median_seconds(step, shape["steps"])
    return {"seconds": seconds, "footprint": meter.report()["memory_footprint_mb"]}


def time_loss(shape: dict, _model: str, threads: int, precision: str) -> dict:
    """The vocabulary projection with its loss alone, forward and backward."""
    compute = settle(ComputeConfig(device="cpu", precision=precision, threads=threads))
    batch = random_windows(shape, 1).batch(np.arange(BATCH))
    features = torch.randn(BATCH, shape["context"], shape["width"], requires_grad=True)
    weight = torch.randn(shape["vocabulary"], shape["width"]).mul_(0.02)
    weight.requires_grad_(shape is not SHAPES["reference"])

    def step() -> None:
        projected_cross_entropy(features, weight, batch, compute.dtype).backward()
        features.grad = weight.grad = None

    return {"seconds": median_seconds(step, shape["steps"])}


def time_products(_shape: dict, _model: str, threads: int, precision: str) -> dict:
    """The machine's rate on large dense products in the given type, in floating-point operations a second."""
    compute = settle(ComputeConfig(device="cpu", precision=precision, threads=threads))
    size = 2048
    a, b = (torch.randn(size, size).to(compute.dtype) for _ in range(2))
    return {"rate": 2 * size**3 / median_seconds(lambda: a @ b, 9)}


def time_bookkeeping(shape: dict, model: str, threads: int, precision: str) -> dict:
    """The part of a training epoch that is not training steps."""
    trainer, _ = trainer_for(shape, model, precision, threads, shape["epoch"])
    inside = 0.0
    step = trainer._step

    def timed(batch) -> torch.Tensor:
        nonlocal inside
        started = time.perf_counter()
        nll = step(batch)
        inside += time.perf_counter() - started
        return nll

    trainer._step = timed
    started = time.perf_counter()
    trainer._train_epoch()
    return {"share": 1 - inside / (time.perf_counter() - started)}


CONTENDERS = {
    "plain": (time_plain, "fp32"),
    "ours": (time_ours, "auto"),
    "ours-fp32": (time_ours, "fp32"),
    "ours-compiled": (time_compiled, "auto"),
    "loss": (time_loss, "auto"),
    "products": (time_products, "auto"),
    "products-fp32": (time_products, "fp32"),
    "bookkeeping": (time_bookkeeping, "auto"),
}


def operations(shape: dict, model: str, threads: int) -> dict[str, float]:
    config = configuration(shape, model, "auto", threads).model
    return step_operations(config, shape["vocabulary"], BATCH * shape["context"], shape is SHAPES["reference"])


def run_contender(contender: str, shape: str, model: str, threads: int) -> dict:
    command = [sys.executable, "-m", "benchmarks.training", "--contender", contender]
    command += ["--shapes", shape, "--models", model, "--threads", str(threads)]
    return json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()[-1])


def report(shape_name: str, model: str, rounds: int, threads: int) -> None:
    shape = SHAPES[shape_name]
    results: dict[str, list[dict]] = {name: [] for name in CONTENDERS}
    for _ in range(rounds):
        for name in CONTENDERS:
            results[name].append(run_contender(name, shape_name, model, threads))

    def median(contender: str, figure: str) -> float:
        return statistics.median(result[figure] for result in results[contender])

    def ratio(a: str, b: str, figure: str) -> float:
        pairs = zip(results[a], results[b], strict=True)
        return statistics.median(first[figure] / second[figure] for first, second in pairs)

    ours, plain = median("ours", "seconds"), median("plain", "seconds")
    rate = median("products", "rate")
    needed = operations(shape, model, threads)
    loss_share = needed["projection"] / rate / median("loss", "seconds")
    step_share = sum(needed.values()) / rate / ours
    rows = [
        ("plain step", f"{plain * 1e3:,.1f} ms, {median('plain', 'footprint'):,.0f} MiB"),
        ("our step", f"{ours * 1e3:,.1f} ms, {median('ours', 'footprint'):,.0f} MiB"),
        ("our tokens/s", f"{BATCH * shape['context'] / ours:,.0f}"),
        ("plain / ours, time", f"{ratio('plain', 'ours', 'seconds'):.2f}"),
        ("ours / plain, memory", f"{ratio('ours', 'plain', 'footprint'):.2f}"),
        ("plain / ours in fp32, time", f"{ratio('plain', 'ours-fp32', 'seconds'):.2f}"),
        ("ours in fp32 / plain, memory", f"{ratio('ours-fp32', 'plain', 'footprint'):.2f}"),
        ("ours / ours compiled, time", f"{ratio('ours', 'ours-compiled', 'seconds'):.2f}"),
        ("first step, compiled", f"{median('ours-compiled', 'first'):,.0f} s"),
        ("matrix products, native", f"{rate / 1e9:,.0f} GFLOP/s"),
        ("matrix products, fp32", f"{median('products-fp32', 'rate') / 1e9:,.0f} GFLOP/s"),
        ("projection and loss, of the native rate", f"{loss_share:.0%}"),
        ("whole step, of the native rate", f"{step_share:.0%}"),
        ("bookkeeping, of an epoch", f"{median('bookkeeping', 'share'):.1%}"),
    ]  # fmt: skip
    print(f"\n| {shape_name} {model}, 1 layer | median of {rounds} |\n| --- | --- |")
    for name, value in rows:
        print(f"| {name} | {value} |")


@reported
def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.training", description=__doc__)
    parser.add_argument(
        "--shapes", nargs="+", choices=SHAPES, default=["laptop", "reference"], help="sizes (default: laptop reference)"
    )
    parser.add_argument(
        "--models", nargs="+", choices=["gpt", "lstm"], default=["gpt", "lstm"], help="architectures (default: both)"
    )
    parser.add_argument("--rounds", type=at_least_one, default=5, help="turns of each contender (default: %(default)s)")
    parser.add_argument(
        "--threads", type=at_least_one, default=psutil.cpu_count(logical=False), help="CPU threads (default: all cores)"
    )
    parser.add_argument("--contender", choices=CONTENDERS, help="time this one alone, in this process, and print JSON")
    arguments = parser.parse_args()
    if arguments.contender:
        measure, precision = CONTENDERS[arguments.contender]
        shape, model = SHAPES[arguments.shapes[0]], arguments.models[0]
        print(json.dumps(measure(shape, model, arguments.threads, precision)))
        return
    machine = fingerprint(settle(ComputeConfig(device="cpu", precision="auto", threads=arguments.threads)))
    print(
        f"{machine['hardware']}, {machine['threads']} threads, native {machine['precision']}, torch {machine['torch']}"
    )
    for shape in arguments.shapes:
        for model in arguments.models:
            report(shape, model, arguments.rounds, arguments.threads)


if __name__ == "__main__":
    main()
