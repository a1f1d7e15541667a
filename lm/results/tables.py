"""The report's tables: what stands in them (``Table``) apart from how the two formats set them.

Figures over several seeds are means with half the 95 % interval in a column of its own.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import pandas as pd

from lm.results.names import model_name, optimizer_name, order
from lm.results.statistics import estimate
from lm.results.text import MISSING, Latex, Markdown, Raw, number, whole


@dataclass(frozen=True)
class Column:
    """``digits``: decimals of a figure, 0 for a count; None for text."""

    key: str
    title: str
    digits: int | None = None

    def cell(self, value) -> str:
        if self.digits is None:
            return MISSING if value is None or (not isinstance(value, str) and pd.isna(value)) else str(value)
        return whole(value) if self.digits == 0 else number(value, self.digits)


@dataclass(frozen=True)
class Table:
    """Rows in their order; ``bold`` holds (row, column key); notes are sentences below the table."""

    key: str
    caption: str
    columns: tuple[Column, ...]
    rows: tuple[dict, ...]
    bold: frozenset[tuple[int, str]] = field(default_factory=frozenset)
    notes: tuple[str, ...] = ()

    def cells(self) -> list[list[str]]:
        return [[column.cell(row.get(column.key)) for column in self.columns] for row in self.rows]


IDENTITY = (Column("experiment", "#"), Column("model", "Model"), Column("layers", "Layers", 0))
CONFIGURATION = (*IDENTITY, Column("optimizer", "Optimizer"))


def by_experiment(runs: pd.DataFrame) -> pd.DataFrame:
    """One row an experiment in the report's order; figures as means over its seeds, ``<name>_half`` beside them."""
    rows = []
    for _, group in order(runs).groupby("experiment", sort=False):
        first = group.iloc[0]
        row = {key: first[key] for key in ("experiment", "model", "layers", "optimizer", "hardware", "precision")}
        row |= {"seeds": len(group), "diverged": int((group["status"] == "diverged").sum())}
        row["best_epochs"] = _epoch_range(group["best_epoch"])
        for name in group.columns[group.dtypes.map(pd.api.types.is_numeric_dtype)]:
            if name not in row and name != "seed":
                spread = estimate(group[name])
                row[name], row[f"{name}_half"] = spread.mean, spread.half
        rows.append(row)
    return pd.DataFrame(rows)


def _epoch_range(epochs: pd.Series) -> str:
    known = sorted({int(epoch) for epoch in epochs.dropna()})
    if not known:
        return MISSING
    return f"[{known[0]}]" if len(known) == 1 else f"[{known[0]}–{known[-1]}]"


def named(row) -> dict:
    """The identity columns as the report spells them."""
    return {
        "experiment": str(row["experiment"]),
        "model": model_name(row["model"]),
        "layers": row["layers"],
        "optimizer": optimizer_name(row["optimizer"]),
    }


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


def unlike_hardware(runs: pd.DataFrame) -> dict[str, int]:
    """Experiment to a mark (1, 2, …) for hardware, device, precision class or threads unlike the commonest."""
    kinds = runs.groupby("experiment", sort=False).apply(
        lambda group: " / ".join(sorted({f"{r.hardware}, {whole(r.threads)} threads" for r in group.itertuples()}))
    )
    if kinds.nunique() < 2:
        return {}
    common = kinds.mode().iloc[0]
    others = sorted(set(kinds) - {common})
    return {str(experiment): 1 + others.index(kind) for experiment, kind in kinds.items() if kind != common}


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
    notes.append("Bold: the best of each architecture. Epochs count from 0.")
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


def markdown(table: Table, position: int) -> Raw:
    """A pipe table under a bold caption, notes in italics."""
    writer = Markdown()
    cells = []
    for index, row in enumerate(table.cells()):
        pairs = zip(table.columns, row, strict=True)
        cells.append(
            [writer.strong(cell) if (index, column.key) in table.bold else writer.text(cell) for column, cell in pairs]
        )
    titles = [str(writer.text(column.title)) for column in table.columns]
    widths = [max(4, *(len(row[i]) for row in [titles, *cells])) for i in range(len(titles))]
    right = [column.digits is not None for column in table.columns]

    def line(values: Sequence[str]) -> str:
        padded = (v.rjust(w) if r else v.ljust(w) for v, w, r in zip(values, widths, right, strict=True))
        return f"| {' | '.join(padded)} |"

    rule = "|".join(f"{'-' * (w + 1)}:" if r else f"{'-' * (w + 2)}" for w, r in zip(widths, right, strict=True))
    caption = f"**Table {position}.** {writer.text(table.caption)}."
    notes = f"\n*{writer.text(' '.join(table.notes))}*\n" if table.notes else ""
    return Raw("\n".join([caption, "", line(titles), f"|{rule}|", *map(line, cells)]) + "\n" + notes)


def latex(table: Table, position: int) -> Raw:
    """A booktabs table with siunitx columns by pandas' Styler; wide ones shrink to the text's width."""
    writer = Latex()
    body = pd.DataFrame(table.cells(), columns=range(len(table.columns)))
    formats = []
    for index, column in enumerate(table.columns):
        if column.digits is None:
            body[index] = [str(writer.text(cell)) for cell in body[index]]
            formats.append("l")
            continue
        plain = body[index].str.replace(",", "")
        whole_digits = max([len(cell.split(".")[0].lstrip("-+")) for cell in plain if cell != MISSING], default=1)
        sign = "+" if plain.str.startswith(("-", "+")).any() else ""
        formats.append(f"S[table-format={sign}{whole_digits}.{column.digits}]")
        body[index] = ["{--}" if cell == MISSING else cell for cell in plain]
    styles = pd.DataFrame("", index=body.index, columns=body.columns)
    keys = [column.key for column in table.columns]
    for row, key in table.bold:
        styles.loc[row, keys.index(key)] = "bfseries: ;"
    titles = [f"{{{writer.text(column.title)}}}" for column in table.columns]
    styler = body.style.hide(axis="index").format_index(titles.__getitem__, axis=1).apply(lambda _: styles, axis=None)
    tabular = styler.to_latex(hrules=True, column_format="@{}" + "".join(formats) + "@{}")
    notes = (
        f"\\par\\smallskip\\begin{{minipage}}{{\\linewidth}}\\footnotesize {writer.text(' '.join(table.notes))}"
        "\\end{minipage}\n"
        if table.notes
        else ""
    )
    return Raw(
        "\\begin{table}[htbp]\n\\centering\\small\n"
        f"\\caption{{{writer.text(table.caption)}.}}\\label{{table:{table.key}}}\n"
        f"\\begin{{adjustbox}}{{max width=\\linewidth}}\n{tabular}\\end{{adjustbox}}\n{notes}\\end{{table}}\n"
    )
