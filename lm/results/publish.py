"""What ``aggregate`` leaves for people and for DVC: the tables, every run's epochs in one CSV, the headline figures."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from lm.results.schema import EPOCHS, HISTORY, RUNS
from lm.results.summary import Summaries, lowest, perplexity


def publish(runs: pa.Table, epochs: pa.Table, summaries: Summaries, folder: Path) -> None:
    """Write ``runs.parquet``, ``epochs.parquet``, ``history.csv`` and ``metrics.json``."""
    folder.mkdir(parents=True, exist_ok=True)
    pq.write_table(runs.replace_schema_metadata(RUNS.metadata), folder / "runs.parquet")
    pq.write_table(epochs.replace_schema_metadata(EPOCHS.metadata), folder / "epochs.parquet")
    history(epochs.to_pandas(), summaries).to_csv(folder / "history.csv", index=False, lineterminator="\n")
    (folder / "metrics.json").write_text(json.dumps(headline(summaries), indent=2) + "\n", encoding="utf-8")


def history(epochs: pd.DataFrame, summaries: Summaries) -> pd.DataFrame:
    """Losses and perplexities of all runs by epoch, without times, so that the file repeats to the bit."""
    several = any(len(summary.runs) > 1 for summary in summaries.experiments)
    labels = {
        (summary.id, run.seed): f"{summary.id} {summary.model_label} {summary.layers} {summary.optimizer_label}"
        + (f" ({run.seed})" if several else "")
        for summary in summaries.experiments
        for run in summary.runs
    }
    keys = zip(epochs["experiment"], epochs["seed"], strict=True)
    return epochs.assign(label=[labels[key] for key in keys])[list(HISTORY)]


def headline(summaries: Summaries) -> dict[str, Any]:
    """Few figures, all learned and none measured, so that ``dvc metrics diff`` shows only what another setting changed.

    ``learned`` of ``experiments`` learned to use context; ``best`` has the lowest validation perplexity of those.
    """
    best = lowest(summaries.experiments)
    return {
        "experiments": len(summaries.experiments),
        "learned": sum(summary.learned for summary in summaries.experiments),
        "best": None if best is None else best.id,
        "best_validation_ppl": None if best is None else _rounded(best.validation_loss.mean),
        "best_test_ppl": None if best is None else _rounded(best.test_loss.mean),
        "validation_ppl": {summary.id: _rounded(summary.validation_loss.mean) for summary in summaries.experiments},
    }


def _rounded(loss: float | None) -> float | None:
    """Perplexity to four decimals; None where there is none that JSON could hold."""
    value = perplexity(loss)
    return None if value is None or value == float("inf") else round(value, 4)
