"""What a user sees while a run trains: a bar on a terminal; elsewhere a line an epoch and a line a checkpoint."""

from __future__ import annotations

import sys

from tqdm import tqdm


class Progress:
    """Loss, tokens/s and time left."""

    def __init__(self, name: str, steps: int, done: int) -> None:
        self.name = name
        self._state = "starting"
        self._bar = tqdm(
            total=steps,
            initial=done,
            desc=name,
            unit="step",
            disable=not sys.stderr.isatty(),
            dynamic_ncols=True,
            mininterval=0.5,
        )

    def step(self, epoch: int, loss: float, tokens_per_second: float) -> None:
        self._state = f"epoch {epoch}, loss {loss:.3f}, {tokens_per_second:,.0f} tokens/s"
        self._bar.set_postfix_str(self._state, refresh=False)

    def saved(self, step: int, steps: int) -> None:
        """Tell of a checkpoint inside an epoch, where no bar shows that the run is alive."""
        if self._bar.disable:
            self.line(f"step {step} of {steps}, {self._state}")

    def advance(self, steps: int) -> None:
        self._bar.update(steps)

    def line(self, text: str) -> None:
        """Print a line above the bar."""
        tqdm.write(f"{self.name}: {text}", file=sys.stderr)

    def close(self) -> None:
        self._bar.close()
