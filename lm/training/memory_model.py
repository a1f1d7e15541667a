"""What a run's shapes say that a training step must hold in memory."""

from __future__ import annotations

from itertools import chain

from torch import nn

from lm.config.optimizers import OPTIMIZERS
from lm.config.run import RunConfig
from lm.training.loss import chunk_rows, group_rows, softmax_rows

_MIB = 2**20


def predict_memory(
    config: RunConfig, model: nn.Module, vocabulary: int, device: str, precision: str
) -> dict[str, float]:
    """The bytes that a training step must hold, from shapes alone, in MiB by purpose.

    Parameters and gradients are fp32. Activations are what the backward pass reads again, plus the bf16 or fp16
    copies of weights that autocast keeps for the step; logits are the buffers of the chunked loss. It is a lower
    bound on what a process shows: allocators keep more, and libraries need room of their own. Frozen tables are
    parameters without gradient or state.
    """
    all_parameters = sum(weight.numel() for weight in chain(model.parameters(), model.buffers()))
    trainable = sum(p.numel() for p in model.parameters() if p.requires_grad)
    state = {"adam": 2, "adamw": 2, "momentum": 1, "sgd": 0}[config.optimizer.name]
    half = 2 if precision in ("bf16", "fp16") else 4
    shapes = config.model
    tokens = config.training.batch * shapes.context
    table_trained = model.embedding.weight.requires_grad
    rows = min(chunk_rows(vocabulary, device), tokens)
    table = vocabulary * shapes.width

    if shapes.architecture == "lstm":
        # gates, cell and output a layer, and the head's input and output
        kept = tokens * (shapes.layers * 6 * shapes.lstm_hidden * half + shapes.width * (4 + 2 * half))
    else:
        # a block keeps its input, q, k, v, the mix, two norms' inputs and outputs (fp32), the inner layer before and
        # after its GELU, and a row of attention weights a head where the CPU's attention is two products
        rows_of_weights = shapes.heads * shapes.context * half if (device, precision) == ("cpu", "bf16") else 0
        a_block = shapes.width * (5 * half + 4 * 4) + shapes.mlp * 2 * half + rows_of_weights
        kept = tokens * (shapes.layers * a_block + shapes.width * 4)
    copies = (all_parameters - table) * half if half == 2 else 0
    product_rows = min(group_rows(vocabulary, device), tokens) if table_trained else rows
    logits = vocabulary * (
        product_rows * half + (min(softmax_rows(vocabulary, device), tokens) * 4 if half == 2 else 0)
    )
    logits += tokens * shapes.width * 2 * half + (table * half if half == 2 else 0)
    # the table's gradient, and the product that is added to it
    logits += table * (4 + half) if table_trained else 0
    parts = {
        "model_parameters_mb": all_parameters * 4,
        "model_gradients_mb": trainable * 4,
        "model_optimizer_mb": trainable * 4 * state,
        "model_activations_mb": kept + copies,
        "model_logits_mb": logits,
    }
    return {name: size / _MIB for name, size in parts.items()}
