"""The report's tables.

Figures over several seeds are means with half the 95 % interval in a column of its own.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import pandas as pd

from lm.results.experiments import by_experiment, epoch_range, unlike_hardware
from lm.results.findings.cost import WallClock
from lm.results.findings.learning import Learning
from lm.results.findings.memory import Memory
from lm.results.findings.quality import Generalization
from lm.results.findings.replication import matched
from lm.results.findings.stopping import PATIENCE, Stopping
from lm.results.names import listed, model_name, optimizer_name, order
from lm.results.reference import Reference, corrected
from lm.results.table import Column, Table
from lm.results.text import MISSING, number, whole

IDENTITY = (Column("experiment", "#"), Column("model", "Model"), Column("layers", "Layers", 0))
CONFIGURATION = (*IDENTITY, Column("optimizer", "Optimizer"))


def named(row) -> dict:
    """The identity columns as the report spells them."""
    return {
        "experiment": str(row["experiment"]),
        "model": model_name(row["model"]),
        "layers": row["layers"],
        "optimizer": optimizer_name(row["optimizer"]),
    }


def _names(runs: pd.DataFrame) -> dict[str, dict]:
    """The identity columns by experiment, in the report's order."""
    return {str(row["experiment"]): named(row) for row in by_experiment(runs).to_dict("records")}


def with_half(columns: Iterable[Column], experiments: pd.DataFrame, keys: Sequence[str]) -> tuple[Column, ...]:
    """Insert a ± column after each of ``keys`` where any experiment has an interval for it."""
    wide = []
    for column in columns:
        wide.append(column)
        if column.key in keys and experiments.get(f"{column.key}_half", pd.Series(dtype=float)).notna().any():
            wide.append(Column(f"{column.key}_half", "±", column.digits))
    return tuple(wide)


def _rows(experiments: pd.DataFrame) -> tuple[dict, ...]:
    return tuple({**row, **named(row)} for row in experiments.to_dict("records"))


def _lowest(experiments: pd.DataFrame, key: str) -> frozenset[tuple[int, str]]:
    """The lowest of ``key`` within each architecture."""
    rows = experiments.reset_index(drop=True)
    known = rows.dropna(subset=[key])
    return frozenset((int(index), key) for index in known.groupby("model", sort=False)[key].idxmin())


def _marked(rows: tuple[dict, ...], marks: dict[str, int], key: str) -> tuple[dict, ...]:
    """A ``comparable`` column that says which rows were measured on other hardware."""
    return tuple({**row, "comparable": f"no ({marks[row[key]]})" if row[key] in marks else "yes"} for row in rows)


def _hardware(runs: pd.DataFrame, columns: tuple[Column, ...], rows: tuple[dict, ...]):
    marks = unlike_hardware(runs)
    if not marks:
        return columns, rows, ()
    note = (
        "Rows marked ‘no’ were measured on other hardware than most rows; their times and memory do not compare with "
        "the others (the provenance table names the hardware)."
    )
    return (*columns, Column("comparable", "Comparable")), _marked(rows, marks, "experiment"), (note,)


def performance(runs: pd.DataFrame) -> Table:
    experiments = by_experiment(runs)
    keys = ["validation_perplexity", "train_perplexity"]
    columns = (
        *CONFIGURATION,
        Column("validation_perplexity", "Validation PPL", 1),
        Column("train_perplexity", "Train PPL", 1),
        Column("best_epochs", "Best epoch"),
    )
    notes = ["Sorted by architecture, layers and optimizer. Train PPL is the running mean of the best epoch."]
    notes.append("Bold: the lowest of each architecture. Epochs count from 0.")
    if (experiments["diverged"] > 0).any():
        names = experiments.loc[experiments["diverged"] > 0, "experiment"]
        notes.append(f"Diverged, judged on the epochs before (if any): {', '.join(names)}.")
    return Table(
        "performance",
        "Best validation perplexity of each experiment, and the train perplexity of that epoch",
        with_half(columns, experiments, keys),
        _rows(experiments),
        _lowest(experiments, "validation_perplexity"),
        tuple(notes),
    )


def time(runs: pd.DataFrame) -> Table:
    experiments = by_experiment(runs).sort_values("train_seconds", kind="stable", na_position="last")
    columns = (
        *CONFIGURATION,
        Column("train_seconds", "Training (s)", 1),
        Column("validation_seconds", "Validation (s)", 1),
        Column("epoch_seconds", "Epoch (s)", 2),
        Column("tokens_per_second", "Tokens/s", 0),
    )
    experiments["epoch_seconds"] = experiments["train_seconds"] / experiments["epochs_done"]
    columns, rows, notes = _hardware(runs, with_half(columns, experiments, ["train_seconds"]), _rows(experiments))
    note = "Sorted by training time: the sum of the training epochs, data included, validation not."
    return Table("time", "Training time", columns, rows, notes=(note, *notes))


def memory(runs: pd.DataFrame) -> Table:
    experiments = by_experiment(runs).sort_values("memory_mean_mb", kind="stable", na_position="last")
    columns = (
        *CONFIGURATION,
        Column("memory_mean_mb", "Mean (MiB)", 1),
        Column("memory_peak_mb", "Peak (MiB)", 1),
        Column("memory_footprint_mb", "Above baseline (MiB)", 1),
    )
    if experiments.get("nvml_mean_mb", pd.Series(dtype=float)).notna().any():
        columns = (*columns, Column("nvml_mean_mb", "NVML mean (MiB)", 1))
    columns, rows, notes = _hardware(runs, with_half(columns, experiments, ["memory_mean_mb"]), _rows(experiments))
    measures = sorted(set(runs["memory_measure"].dropna()))
    meanings = {
        "rss": "resident set size of the training process",
        "cuda": "memory allocated by PyTorch on the GPU",
        "nvidia-smi": "memory that nvidia-smi shows in use",
    }
    meant = "; ".join(meanings.get(measure, measure) for measure in measures)
    note = f"Sorted by mean memory. Measure: {meant}. A run is a process of its own."
    return Table("memory", "Memory", columns, rows, notes=(note, *notes))


def optimizer_means(runs: pd.DataFrame) -> Table | None:
    """Means by optimizer over the one-layer experiments, one of each architecture."""
    shallow = by_experiment(runs)
    shallow = shallow[shallow["layers"] == 1]
    if shallow["optimizer"].nunique() < 2:
        return None
    means = ("validation_perplexity", "train_seconds", "memory_mean_mb")
    rows = []
    for name, group in shallow.groupby("optimizer", sort=False):
        rows.append(
            {
                "optimizer": optimizer_name(name),
                "models": ", ".join(dict.fromkeys(model_name(model) for model in group["model"])),
                **{key: group[key].mean() for key in means},
            }
        )
    return Table(
        "optimizer_means",
        "Means by optimizer over the one-layer experiments",
        (
            Column("optimizer", "Optimizer"),
            Column("models", "Architectures"),
            Column("validation_perplexity", "Validation PPL", 1),
            Column("train_seconds", "Training (s)", 1),
            Column("memory_mean_mb", "Memory, mean (MiB)", 1),
        ),
        tuple(rows),
        notes=("Arithmetic means. Learning rates are the configured ones, not tuned for each optimizer.",),
    )


def parameters(runs: pd.DataFrame) -> Table:
    """Embedding, attention and the rest; attention's own formula is in the note."""
    rows, seen = [], set()
    for row in by_experiment(runs).to_dict("records"):
        if (row["model"], row["layers"]) in seen:
            continue
        seen.add((row["model"], row["layers"]))
        body = row["parameters"] - row["embedding_parameters"]
        rows.append({**row, **named(row), "body": body, "rest": body - row["attention_parameters"]})
    return Table(
        "parameters",
        "Parameters by architecture and depth",
        (
            *IDENTITY[1:],
            Column("embedding_parameters", "Embedding", 0),
            Column("attention_parameters", "Attention", 0),
            Column("rest", "Other body", 0),
            Column("body", "Body", 0),
            Column("parameters", "In all", 0),
            Column("trainable_parameters", "Trained", 0),
        ),
        tuple(rows),
        notes=("Tied parameters count once. Attention: four projections with biases, 4(d² + d) a layer at width d.",),
    )


def measures(runs: pd.DataFrame) -> Table:
    """Measures that compare across tokenizers and corpora, on both splits; those of a corpus without text are null."""
    experiments = by_experiment(runs)
    comparable = (
        Column("validation_bits_per_byte", "Val. bits/byte", 3),
        Column("test_bits_per_byte", "Test bits/byte", 3),
        Column("validation_word_perplexity", "Val. PPL/word", 0),
        Column("test_word_perplexity", "Test PPL/word", 0),
    )
    known = [column for column in comparable if experiments[column.key].notna().any()]
    columns = (*CONFIGURATION, Column("test_perplexity", "Test PPL", 1), *known)
    return Table(
        "measures",
        "Test perplexity, bits per byte and perplexity by word, of the best epoch’s weights"
        if known
        else "Test perplexity of the best epoch’s weights",
        with_half(columns, experiments, ["test_perplexity"]),
        _rows(experiments),
        _lowest(experiments, "test_perplexity"),
        (
            "Bits per byte and perplexity per word compare with other tokenizers; perplexity per token does not."
            if known
            else "The corpus came as token ids: without its text, bits per byte and perplexity per word are unknown.",
        ),
    )


def study_denominator(runs: pd.DataFrame) -> Table:
    """The same losses, divided as the original study divided them."""
    experiments = by_experiment(runs)
    return Table(
        "study_denominator",
        "Perplexity with the original study’s denominator",
        (
            *CONFIGURATION,
            Column("study_train_perplexity", "Train", 2),
            Column("study_validation_perplexity", "Validation", 2),
            Column("study_test_perplexity", "Test", 2),
        ),
        _rows(experiments),
        notes=(
            "Only for comparing with figures computed that way: the summed loss is divided by batches × batch size × "
            "context, as if every window and the last batch were full. All other perplexities of this report are over "
            "the tokens that were predicted.",
        ),
    )


def last_epoch(found: Generalization, runs: pd.DataFrame) -> Table | None:
    if not found.last:
        return None
    names = _names(runs)
    rows = [
        {**names[cost.experiment], "best": cost.best, "last": cost.last, "cost": cost.cost_percent}
        for cost in found.last
    ]
    return Table(
        "last_epoch",
        "Test perplexity of the best epoch’s weights and of the last epoch’s",
        (
            *CONFIGURATION,
            Column("best", "Best epoch", 1),
            Column("last", "Last epoch", 1),
            Column("cost", "Change (%)", 1),
        ),
        tuple(rows),
    )


def states(found: Learning, runs: pd.DataFrame) -> Table:
    """One row a run: how it ended, with the figures that decided it."""
    names = _names(runs)
    rows = [
        {
            **names[run.experiment],
            "seed": str(run.seed),
            "state": run.state,
            "left": run.left_plateau,
            "best": run.best_epoch,
            "slope": run.slope,
            "rise": run.rise,
            "gap": run.gap,
        }
        for run in found.runs
    ]
    seed = (Column("seed", "Seed"),) if runs["seed"].nunique() > 1 else ()
    return Table(
        "states",
        "How each run ended",
        (
            *CONFIGURATION,
            *seed,
            Column("state", "State"),
            Column("left", "Below unigram from", 0),
            Column("best", "Best epoch", 0),
            Column("slope", "Slope", 3),
            Column("rise", "Rise", 3),
            Column("gap", "Gap", 3),
        ),
        tuple(rows),
        notes=(
            "Nats per token. Slope: of validation loss over the last three epochs, an epoch. Rise: validation loss of "
            "the last epoch less that of the best. Gap: validation less training loss with the last epoch’s weights.",
        ),
    )


def reach(found: WallClock, runs: pd.DataFrame) -> Table | None:
    """Training seconds to given validation perplexities, of the experiments that reached any."""
    if not found.reaches:
        return None
    rows = []
    for experiment, names in _names(runs).items():
        times = {f"to_{i}": reach.seconds.get(experiment) for i, reach in enumerate(found.reaches)}
        if any(value is not None for value in times.values()):
            rows.append({**names, **times})
    columns = (Column(f"to_{i}", f"PPL {number(r.target, 0)} (s)", 1) for i, r in enumerate(found.reaches))
    note = "Training time at the end of the first epoch at or below it; a dash: never. Not listed: reached none."
    return Table(
        "reach", "Time to reach a validation perplexity", (*CONFIGURATION, *columns), tuple(rows), notes=(note,)
    )


def early_stopping(found: Stopping, runs: pd.DataFrame) -> Table | None:
    """For each patience: the last epoch trained, seconds saved and perplexity lost; means over seeds."""
    rows = []
    for experiment, names in _names(runs).items():
        cells = dict(names)
        for patience in PATIENCE:
            stops = found.of(experiment, patience)
            if any(stop.saved > 0 for stop in stops):
                cells[f"epoch_{patience}"] = epoch_range(pd.Series([stop.epoch for stop in stops]))
                cells[f"saved_{patience}"] = sum(stop.saved for stop in stops) / len(stops)
                cells[f"lost_{patience}"] = 100 * math.expm1(sum(stop.lost for stop in stops) / len(stops))
        if len(cells) > len(CONFIGURATION):
            rows.append(cells)
    if not rows:
        return None
    columns = []
    for patience in (patience for patience in PATIENCE if any(f"saved_{patience}" in row for row in rows)):
        columns.append(Column(f"epoch_{patience}", f"Stop, {patience}"))
        columns.append(Column(f"saved_{patience}", "Saved (s)", 0))
        columns.append(Column(f"lost_{patience}", "Lost (%)", 1))
    tried = listed([str(patience) for patience in PATIENCE])
    return Table(
        "early_stopping",
        f"Early stopping with patience {tried}, replayed on the recorded epochs",
        (*CONFIGURATION, *columns),
        tuple(rows),
        notes=(
            "Saved: training and validation time of the epochs not trained. Lost: increase of the best perplexity. A "
            "dash: that patience would not have stopped it. Not listed: patience or experiment where nothing stops.",
        ),
    )


def memory_accounts(found: Memory, runs: pd.DataFrame) -> Table | None:
    """The memory model's parts against the measured peak above the baseline."""
    present = list(dict.fromkeys(part for account in found.accounts for part in account.parts))
    if not present:
        return None
    names = _names(runs)
    rows = [{**names[a.experiment], **a.parts, "modelled": a.modelled, "measured": a.measured} for a in found.accounts]
    parts = (Column(part, part.capitalize(), 1) for part in present)
    return Table(
        "memory_accounts",
        "Memory accounted for by the memory model, and measured above the baseline (MiB)",
        (*CONFIGURATION, *parts, Column("modelled", "Sum", 1), Column("measured", "Measured", 1)),
        tuple(rows),
    )


def against_reference(runs: pd.DataFrame, reference: Reference) -> tuple[Table, Table] | tuple[()]:
    """The study's figures beside ours, what was learned and what it cost, where ours are at its scale."""
    rows = []
    for row, theirs, replicated in matched(runs, reference):
        rows.append(
            {
                **row,
                **named(row),
                "published": theirs["best_val_ppl"],
                "low": replicated.min(),
                "high": replicated.max(),
                "corrected": corrected(theirs["best_val_ppl"]),
                "published_train": theirs["train_ppl_at_best"],
                "published_epoch": theirs["best_epoch"],
                "published_seconds": theirs["train_seconds"],
                "published_memory": theirs["gpu_memory_mb"],
            }
        )
    if not rows:
        return ()
    learned = Table(
        "reference",
        "The original study’s validation perplexity beside ours",
        (
            *CONFIGURATION,
            Column("published", "Published", 1),
            Column("low", "Replications from", 1),
            Column("high", "to", 1),
            Column("study_validation_perplexity", "Ours, its way", 1),
            Column("corrected", "Corrected", 1),
            Column("validation_perplexity", "Ours", 1),
        ),
        tuple(rows),
        notes=(
            "Published, replications (public ones with the study’s batch size) and Ours, its way: with the study’s "
            "denominator. Corrected and Ours: over the tokens that were predicted.",
        ),
    )
    cost = Table(
        "reference_cost",
        "The original study’s train perplexity at the best epoch, that epoch, training time (s) and NVML’s used memory "
        "(MiB) beside ours",
        (
            *CONFIGURATION,
            Column("published_train", "PPL, study", 1),
            Column("study_train_perplexity", "ours", 1),
            Column("published_epoch", "Epoch, study", 0),
            Column("best_epochs", "ours"),
            Column("published_seconds", "s, study", 0),
            Column("train_seconds", "ours", 0),
            Column("published_memory", "MiB, study", 0),
            Column("nvml_mean_mb", "ours", 0),
        ),
        tuple(rows),
        notes=(
            "Train perplexity with the study’s denominator. Times and memory are from other hardware, one V100 in the "
            "study, and do not compare; nor did its runs start with empty GPU memory.",
        ),
    )
    return learned, cost


def provenance(runs: pd.DataFrame, locked: dict[str, dict[str, str]]) -> Table:
    """What made each row: code, data and weights by hash, software and hardware."""
    rows = []
    for row in order(runs).to_dict("records"):
        hashes = locked.get(f"{row['experiment']}-{row['seed']}", {})
        rows.append(
            {
                "run": f"{row['experiment']}-{row['seed']}",
                "revision": _short(row["revision"]),
                **{key: _short(hashes.get(key)) for key in ("configuration", "tokens", "weights")},
                "precision": row["precision"],
                "resumed": row["resumed"],
                "setting": setting_mark(runs, row),
            }
        )
    return Table(
        "provenance",
        "Where each run comes from",
        (
            Column("run", "Run"),
            Column("revision", "Code"),
            Column("configuration", "Configuration"),
            Column("tokens", "Tokens"),
            Column("weights", "Weights"),
            Column("precision", "Precision"),
            Column("setting", "Setting"),
            Column("resumed", "Resumed", 0),
        ),
        tuple(rows),
        notes=(
            "Code: git revision that trained, ‘+’ with local changes. The other hashes are the first digits of those "
            "in dvc.lock. Setting: hardware and versions, as listed below.",
        ),
    )


def settings(runs: pd.DataFrame) -> list[str]:
    """The distinct hardware and software that runs were made with, in a stable order."""
    columns = ["hardware", "device", "threads", "torch", "python"]
    return sorted({" · ".join(_described(row)) for row in runs[columns].to_dict("records")})


def setting_mark(runs: pd.DataFrame, row: dict) -> str:
    return chr(ord("A") + settings(runs).index(" · ".join(_described(row)))) if len(settings(runs)) <= 26 else MISSING


def _described(row: dict) -> list[str]:
    return [
        str(row["hardware"]),
        str(row["device"]),
        f"{whole(row['threads'])} threads",
        f"PyTorch {row['torch']}",
        f"Python {row['python']}",
    ]


def _short(digest) -> str | None:
    """Eight digits, and the mark of local changes."""
    if not isinstance(digest, str) or not digest:
        return None
    return digest[:8] + ("+" if digest.endswith("+") else "")
