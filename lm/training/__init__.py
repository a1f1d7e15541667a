"""The training engine: loss, optimizers, precision, clock, memory, checkpoints, and the loop that joins them."""
