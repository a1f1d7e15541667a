"""What a run's shapes say that a training step must hold in memory, before it has run."""

from __future__ import annotations

import math
from itertools import chain

from lm.config.optimizers import OPTIMIZERS
from lm.config.run import RunConfig
from lm.models.build import entry
from lm.models.language_model import LanguageModel, Step
from lm.training.loss import chunk_rows, group_rows, softmax_rows

_MIB = 2**20


def predict_memory(
    config: RunConfig, model: LanguageModel, vocabulary: int, device: str, precision: str
) -> dict[str, float]:
    """What a training step holds where it holds most, when the loss has formed its gradients: MiB by purpose.

    - ``model_parameters_mb``: all weights in fp32, frozen tables too;
    - ``model_gradients_mb``: of what is trained, in fp32; with ``shards`` also the sums that wait for their other half,
      in a process that has all shards;
    - ``model_optimizer_mb``: the numbers that the optimizer keeps a trained parameter, in fp32;
    - ``model_activations_mb``: what the forward pass leaves for the backward pass, by the architecture's own account,
      and the copies of weights that autocast keeps for the step;
    - ``model_logits_mb``: the chunked loss's buffers, its copy of the table and what it adds to the table's gradient.

    ``model`` may be one of shapes alone (the meta device). ``device`` is cpu or cuda, ``precision`` a resolved one.

    At the original study's sizes on a CPU it came to 85 to 109 % of the peak that was measured above the level before
    the model was built (1 and 2 layers of both architectures, bf16 and fp32, learned and frozen tables, dropout). It
    does not know what an allocator keeps between two uses, which is most of the rest there. It cannot predict small
    scales: below some 100 MiB in all, libraries' buffers, padding and holes in the heap outweigh what shapes say, and
    of two runs that differ little either may be measured as the larger. Nor does it know what a compiled step or cuDNN
    keeps.
    """
    half = 2 if precision in ("bf16", "fp16") else 4
    shards = config.training.shards
    windows = math.ceil(config.training.batch / shards)
    width, tokens = config.model.width, windows * config.model.context
    parameters = sum(weight.numel() for weight in chain(model.parameters(), model.buffers()))
    trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
    table, table_trained = vocabulary * width, model.embedding.weight.requires_grad
    step = Step(windows=windows, half=half, device=device)
    activations = entry(config.model.architecture).activation_bytes(config.model, step)

    rows = group_rows(vocabulary, device) if table_trained else chunk_rows(vocabulary, device)
    logits = min(rows, tokens) * vocabulary * half
    logits += tokens * width * 4  # the features' gradient
    if half == 2:
        logits += min(softmax_rows(vocabulary, device), tokens) * vocabulary * 4
        logits += tokens * width * 2 * 4  # the targets' rows of the table, for what rounding took off them
        logits += table * half
        activations += (parameters - table) * half
    if table_trained:
        logits += table * half
    parts = {
        "model_parameters_mb": parameters * 4,
        "model_gradients_mb": trained * 4 * (1 if shards == 1 else 2 + int(math.log2(shards))),
        "model_optimizer_mb": trained * 4 * OPTIMIZERS[config.optimizer.name].state_copies,
        "model_activations_mb": activations,
        "model_logits_mb": logits,
    }
    return {name: size / _MIB for name, size in parts.items()}
