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

from benchmarks.arguments import at_least_one, check_most, most
from benchmarks.contenders import Step, our_step, our_trainer, plain_step
from benchmarks.sizes import configuration, open_scale, random_windows, scale_of
from lm.config.run import ComputeConfig, RunConfig, Threads
from lm.config.study import Study
from lm.corpus.windows import Batch
from lm.errors import StudyError, reported
from lm.models.build import step_operations
from lm.training.first_use import first_use
from lm.training.hardware import choose, fingerprint, settle
from lm.training.loss import projected_cross_entropy
from lm.training.memory import MemoryMeter

_MOST_STEPS = 30
_SECONDS = 1.0
_EPOCH_OPERATIONS = 2e12
_EPOCH_BATCHES = (3, 50)


def median_seconds(step: Step) -> float:
    """Of a step, after a first one: over two at least, and no more than thirty, or a second of them."""
    step()
    seconds: list[float] = []
    while len(seconds) < 2 or (len(seconds) < _MOST_STEPS and sum(seconds) < _SECONDS):
        started = time.perf_counter()
        step()
        seconds.append(time.perf_counter() - started)
    return statistics.median(seconds)


def time_ours(study: Study, config: RunConfig) -> dict[str, float]:
    first_use(config, settle(choose(config.compute)))
    meter = MemoryMeter(torch.device("cpu"))
    step = our_step(study, config)
    meter.enter("training")
    return {"seconds": median_seconds(step), "footprint": footprint(meter)}


def footprint(meter: MemoryMeter) -> float:
    """MiB of the training steps above the level before there was a model."""
    return float(meter.report()["memory_footprint_mb"] or 0.0)


def time_compiled(study: Study, config: RunConfig) -> dict[str, float]:
    """Through ``torch.compile``, with what its first step takes when nothing has been compiled before."""
    config = config.model_copy(update={"compute": config.compute.model_copy(update={"compile": True})})
    with tempfile.TemporaryDirectory() as cache:
        os.environ["TORCHINDUCTOR_CACHE_DIR"] = cache
        step = our_step(study, config)
        started = time.perf_counter()
        step()
        first = time.perf_counter() - started
        return {"seconds": median_seconds(step), "first": first}


def time_plain(study: Study, config: RunConfig) -> dict[str, float]:
    compute = settle(choose(config.compute))
    first_use(config, compute)
    meter = MemoryMeter(torch.device("cpu"))
    meter.enter("training")
    step = plain_step(study, config, compute)
    return {"seconds": median_seconds(step), "footprint": footprint(meter)}


def time_loss(study: Study, config: RunConfig) -> dict[str, float]:
    """The vocabulary projection with its loss alone, forward and backward."""
    compute, shapes, size = settle(choose(config.compute)), config.model, config.training.batch
    batch = random_windows(study, 1).batch(np.arange(size))
    features = torch.randn(size, shapes.context, shapes.width, requires_grad=True)
    weight = torch.randn(scale_of(study).tokenizer.vocabulary, shapes.width).mul_(0.02)
    weight.requires_grad_(shapes.embeddings == "learned")

    def step() -> None:
        projected_cross_entropy(features, weight, batch, compute.dtype).backward()
        features.grad = weight.grad = None

    return {"seconds": median_seconds(step)}


def time_products(_study: Study, config: RunConfig) -> dict[str, float]:
    """The machine's rate on large dense products in the given type, in floating-point operations a second."""
    compute = settle(choose(config.compute))
    size = 2048
    a, b = (torch.randn(size, size).to(compute.dtype) for _ in range(2))

    def step() -> None:
        a @ b

    return {"rate": 2 * size**3 / median_seconds(step)}


def time_bookkeeping(study: Study, config: RunConfig) -> dict[str, float]:
    """The part of a training epoch that is not training steps."""
    least, most = _EPOCH_BATCHES
    batches = int(_EPOCH_OPERATIONS / sum(operations(study, config).values()))
    trainer = our_trainer(study, config, max(least, min(most, batches)))
    inside = 0.0
    step = trainer._step

    def timed(batch: Batch) -> torch.Tensor:
        nonlocal inside
        started = time.perf_counter()
        nll = step(batch)
        inside += time.perf_counter() - started
        return nll

    trainer._step = timed  # type: ignore[method-assign]
    started = time.perf_counter()
    trainer._train_epoch()
    return {"share": 1 - inside / (time.perf_counter() - started)}


def operations(study: Study, config: RunConfig) -> dict[str, float]:
    """Of a step, by part."""
    scale = scale_of(study)
    tokens = scale.batch * scale.context
    return step_operations(config.model, scale.tokenizer.vocabulary, tokens, scale.embeddings != "learned")


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


def run_contender(contender: str, scale: str, model: str, threads: int) -> dict[str, float]:
    """Its figures, from a process of its own; raises :class:`StudyError` where that fails."""
    words = ["-m", "benchmarks.training", "--contender", contender]
    words += ["--shapes", scale, "--models", model, "--threads", str(threads)]
    done = subprocess.run([sys.executable, *words], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise StudyError(
            f"{contender}: {scale} {model} failed, exit status {done.returncode}; `python {' '.join(words)}` shows why"
        )
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def report(study: Study, model: str, rounds: int, threads: int) -> None:
    results: dict[str, list[dict[str, float]]] = {name: [] for name in CONTENDERS}
    for _ in range(rounds):
        for name in CONTENDERS:
            results[name].append(run_contender(name, study.scale, model, threads))

    def median(contender: str, figure: str) -> float:
        return statistics.median(result[figure] for result in results[contender])

    def ratio(a: str, b: str, figure: str) -> float:
        pairs = zip(results[a], results[b], strict=True)
        return statistics.median(first[figure] / second[figure] for first, second in pairs)

    ours, plain = median("ours", "seconds"), median("plain", "seconds")
    rate = median("products", "rate")
    needed = operations(study, configuration(study, model, 1))
    loss_share = needed["projection"] / rate / median("loss", "seconds")
    step_share = sum(needed.values()) / rate / ours
    scale = scale_of(study)
    rows = [
        ("plain step", f"{plain * 1e3:,.1f} ms, {median('plain', 'footprint'):,.0f} MiB"),
        ("our step", f"{ours * 1e3:,.1f} ms, {median('ours', 'footprint'):,.0f} MiB"),
        ("our tokens/s", f"{scale.batch * scale.context / ours:,.0f}"),
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
    print(f"\n| {study.scale} {model}, 1 layer | median of {rounds} |\n| --- | --- |")
    for name, value in rows:
        print(f"| {name} | {value} |")


@reported
def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.training", description=__doc__)
    parser.add_argument(
        "--shapes", nargs="+", default=["laptop", "reference"], help="scales of params.yaml (default: laptop reference)"
    )
    parser.add_argument(
        "--models", nargs="+", choices=["gpt", "lstm"], default=["gpt", "lstm"], help="architectures (default: both)"
    )
    parser.add_argument("--rounds", type=at_least_one, default=5, help="turns of each contender (default: %(default)s)")
    parser.add_argument(
        "--threads",
        type=at_least_one,
        default=min(psutil.cpu_count(logical=False) or 1, most(Threads)),
        help="CPU threads (default: all cores)",
    )
    parser.add_argument("--contender", choices=CONTENDERS, help="time this one alone, in this process, and print JSON")
    arguments = parser.parse_args()
    check_most("--threads", [arguments.threads], Threads)
    studies = [open_scale(name, "--shapes") for name in arguments.shapes]
    if arguments.contender:
        measure, precision = CONTENDERS[arguments.contender]
        config = configuration(studies[0], arguments.models[0], 1, precision=precision, threads=arguments.threads)
        print(json.dumps(measure(studies[0], config)))
        return
    machine = fingerprint(settle(choose(ComputeConfig(device="cpu", precision="auto", threads=arguments.threads))))
    print(
        f"{machine['hardware']}, {machine['threads']} threads, native {machine['precision']}, torch {machine['torch']}"
    )
    for study in studies:
        for model in arguments.models:
            report(study, model, arguments.rounds, arguments.threads)


if __name__ == "__main__":
    main()
