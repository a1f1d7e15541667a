"""Floating-point operations of a training step's matrix products: what its time is made of."""

from __future__ import annotations

from lm.config.run import ModelConfig


def step_operations(config: ModelConfig, vocabulary: int, tokens: int, frozen_table: bool) -> dict[str, float]:
    """Operations, forward and backward, for ``tokens`` predicted tokens: of the projection and of the body.

    A product with a trained weight costs three times its forward pass. With a frozen table the projection has no
    weight's gradient, and the body's first product none of its input's: these cost twice. The causal mask halves
    attention's scores.
    """
    width = config.width
    projection = (2 if frozen_table else 3) * 2 * tokens * width * vocabulary
    if config.architecture == "lstm":
        hidden = config.lstm_hidden
        from_table = 4 * hidden * width
        deeper = (config.layers - 1) * 4 * hidden * 2 * hidden
        body = from_table + 4 * hidden * hidden + deeper + hidden * width
    else:
        from_table = 3 * width * width
        body = config.layers * (4 * width * width + 2 * width * config.mlp + config.context * width)
    unneeded = from_table if frozen_table else 0
    return {"projection": float(projection), "body": 2.0 * tokens * (3 * body - unneeded)}
