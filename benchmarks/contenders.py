"""A training step in each way of writing it, ready to be taken: this project's, and the plain one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import nn

from benchmarks.plain import PlainGPT, PlainLSTM, plain_loss
from benchmarks.sizes import random_windows, scale_of, tables_of
from lm.config.run import ModelConfig, RunConfig
from lm.config.study import Study
from lm.corpus.windows import PADDING
from lm.models.embeddings import INITIAL_STD
from lm.training.evaluation import to_device
from lm.training.hardware import Compute, choose, settle
from lm.training.loop import Job, Trainer

Step = Callable[[], None]


def our_trainer(study: Study, config: RunConfig, batches: int = 1) -> Trainer:
    """A trainer of so many batches an epoch."""
    windows = random_windows(study, batches)
    job = Job(
        config=config,
        seed=0,
        splits={"train": windows, "validation": windows, "test": windows},
        vocabulary=scale_of(study).tokenizer.vocabulary,
        compute=settle(choose(config.compute)),
        pretrained=tables_of(study),
    )
    return Trainer(job)


def our_step(study: Study, config: RunConfig) -> Step:
    """A step of the training loop over one batch, which lies on the device already."""
    trainer = our_trainer(study, config)
    windows = trainer.job.splits["train"]
    batch = to_device(windows.batch(np.arange(config.training.batch)), trainer.compute.device)

    def step() -> None:
        trainer._step(batch)

    return step


def _plain_gpt(config: ModelConfig, vocabulary: int) -> PlainGPT:
    sizes = config.sizes
    return PlainGPT(vocabulary, config.context, config.width, config.layers, sizes["heads"], sizes["mlp"])


def _plain_lstm(config: ModelConfig, vocabulary: int) -> PlainLSTM:
    return PlainLSTM(vocabulary, config.width, config.sizes["lstm_hidden"], config.layers)


PLAIN: dict[str, Callable[[ModelConfig, int], PlainGPT | PlainLSTM]] = {"gpt": _plain_gpt, "lstm": _plain_lstm}
"""The architectures that there is a plain way of, in ``benchmarks/plain.py``."""


def plain_model(config: ModelConfig, vocabulary: int) -> PlainGPT | PlainLSTM:
    """The plain model of the configured shapes, its tables frozen where they are pretrained.

    Raises :class:`KeyError` for an architecture that :data:`PLAIN` lacks.
    """
    model = PLAIN[config.architecture](config, vocabulary)
    nn.init.normal_(model.embedding.weight, std=INITIAL_STD)
    for module in model.modules():
        if isinstance(module, nn.Embedding):
            module.weight.requires_grad_(config.embeddings == "learned")
    return model


def plain_step(study: Study, config: RunConfig, compute: Compute) -> Step:
    """A step as PyTorch's tutorials write it: autocast, for fp16 a scaler, and the optimizer as it comes."""
    model = plain_model(config.model, scale_of(study).tokenizer.vocabulary).to(compute.device)
    forward = torch.compile(model) if compute.compile else model
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.Adam(trained, lr=config.optimizer.lr)
    scaler = torch.amp.GradScaler(compute.device.type, enabled=compute.precision == "fp16")
    batch = to_device(random_windows(study, 1).batch(np.arange(config.training.batch)), compute.device)

    def step() -> None:
        with compute.autocast():
            loss = plain_loss(forward(batch.inputs_BT), batch.targets_BT, PADDING)
        optimizer.zero_grad()
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()

    return step


@contextmanager
def as_pytorch_comes() -> Iterator[None]:
    """PyTorch's own algorithms, repeatable or not, and its own sums; ``settle``'s come back afterwards.

    Whether fp32 products may be tf32 stays as it is: that is the number format, and the same for all.
    """
    products = torch.backends.cuda.matmul
    deterministic = torch.are_deterministic_algorithms_enabled()
    sums = products.allow_bf16_reduced_precision_reduction, products.allow_fp16_reduced_precision_reduction
    torch.use_deterministic_algorithms(False)
    products.allow_bf16_reduced_precision_reduction = products.allow_fp16_reduced_precision_reduction = True
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(deterministic)
        products.allow_bf16_reduced_precision_reduction, products.allow_fp16_reduced_precision_reduction = sums
