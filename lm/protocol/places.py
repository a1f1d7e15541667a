"""Where the files of the controlled study lie, all under ``controlled/``, so that the default study's stages see none
of them."""

from __future__ import annotations

from pathlib import Path

ROOT = Path("controlled")
CONFIGS, RUNS = ROOT / "configs", ROOT / "runs"
PLAN = ROOT / "plan.yaml"
PIPELINE = ROOT / "pipeline.yaml"
ACTIVE = ROOT / "dvc.yaml"
"""What DVC runs: the pipeline, where the study is made."""


def trial_config(arm: str, point: str, *, relative: bool) -> Path:
    """The configuration of a trial; those at multiples of another arm's rate are written after that is chosen."""
    return CONFIGS / ("after" if relative else "grid") / arm / f"{point}.json"


def beyond_config(arm: str, number: int) -> Path:
    """The configuration of the first, second, … trial beyond the winning edge of an arm's grid."""
    return CONFIGS / "beyond" / arm / f"{number}.json"


def tuned_config(arm: str) -> Path:
    """The configuration at the chosen rate, which the confirmations are trained from."""
    return CONFIGS / "tuned" / f"{arm}.json"


def trial_run(arm: str, point: str) -> Path:
    """The folder of a trial's results."""
    return RUNS / "trials" / arm / point


def beyond_run(arm: str, number: int) -> Path:
    """The folder of the results of a trial beyond the edge; it holds nothing but a status where none was needed."""
    return RUNS / "beyond" / arm / str(number)


def edge_file(arm: str) -> Path:
    """Which edge of the arm's grid won, if one did."""
    return RUNS / "beyond" / arm / "edge.json"


def confirmation_run(arm: str, seed: int) -> Path:
    """The folder of a confirmation's results."""
    return RUNS / "confirm" / f"{arm}-{seed}"


def tokens(text: int) -> Path:
    """The tokens that are trained on: the default study's, or those of ``text`` times its share of the corpus."""
    return Path("data/tokens") if text == 1 else ROOT / "tokens" / str(text)
