"""Floating-point operations of a training step's matrix products: what its time is made of."""

from __future__ import annotations

from lm.config.run import ModelConfig


def step_operations(config: ModelConfig, vocabulary: int, tokens: int, frozen_table: bool) -> dict[str, float]:
    """Operations, forward and backward, for ``tokens`` predicted tokens: of the projection and of the body.

    A product with a trained weight costs three times its forward pass, with a frozen one twice. The causal mask
    halves attention's scores.
    """
    width = config.width
    projection = (2 if frozen_table else 3) * 2 * tokens * width * vocabulary
    if config.architecture == "lstm":
        hidden = config.lstm_hidden
        first = 4 * hidden * (width + hidden)
        deeper = (config.layers - 1) * 4 * hidden * 2 * hidden
        body = first + deeper + hidden * width
    else:
        body = config.layers * (4 * width * width + 2 * width * config.mlp + config.context * width)
    return {"projection": float(projection), "body": 3.0 * 2 * tokens * body}
