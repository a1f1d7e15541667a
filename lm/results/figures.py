"""The report's figures. A colour means the same thing in all of them (Okabe and Ito's palette, safe for colour-blind
readers); architecture is told by marker, never by colour.

Perplexity is the exponential of the loss, so one curve on a logarithmic axis shows both: its left axis reads
perplexity, its right axis the loss.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas
from matplotlib.font_manager import findfont, get_font
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullFormatter, NullLocator

from lm.results.experiments import by_experiment
from lm.results.findings import Findings
from lm.results.findings.cost import WallClock, comparable_in_time
from lm.results.findings.depth import depth_series
from lm.results.findings.memory import Memory
from lm.results.names import configuration, counted, listed, model_name, optimizer_name, order
from lm.results.text import percent, perplexity

STYLE = Path(__file__).with_name("study.mplstyle")
VALIDATION, TRAINING, RUNNING, UNIGRAM, FRONT = "#000000", "#CC79A7", "#E3B8CF", "#767676", "#767676"
OPTIMIZER = {"adam": "#0072B2", "adamw": "#56B4E9", "sgd": "#D55E00", "momentum": "#E69F00"}
DEPTH = ("#7FCDA9", "#009E73", "#00513B", "#00241A")
MARKER = {"lstm": "o", "gpt": "s"}
MEMORY = {
    "model_parameters_mb": ("parameters", "#4D4D4D"),
    "model_gradients_mb": ("gradients", "#9A9A9A"),
    "model_optimizer_mb": ("optimizer state", "#D9D9D9"),
    "model_activations_mb": ("activations", "#B3A2CC"),
    "model_logits_mb": ("logits and loss", "#7B5EA7"),
}
MEASURED = "#882255"
ON_TOP = (OPTIMIZER["adamw"], OPTIMIZER["momentum"])
"""Lines that often lie on Adam's and SGD's, and would hide them."""
_DASHED = (0, (3, 1.5))


@dataclass(frozen=True)
class Figure:
    """A drawn figure's name and the sentences below it."""

    key: str
    caption: str


def draw_all(runs: pd.DataFrame, epochs: pd.DataFrame, findings: Findings, folder: Path) -> dict[str, Figure]:
    """Draw every figure the results allow as ``<key>.svg`` and ``<key>.pdf``; what there is no data for is left out."""
    folder.mkdir(parents=True, exist_ok=True)
    drawn: dict[str, Figure] = {}
    for stale in folder.glob("*.*"):
        if stale.suffix in (".svg", ".pdf"):
            stale.unlink()
    painters: list[tuple[str, Callable[[], tuple[Canvas, str] | None]]] = [
        ("pareto", lambda: pareto_front(runs, findings.wall_clock)),
        ("optimizers", lambda: overlay_optimizers(runs, epochs)),
        ("depth", lambda: overlay_depth(runs, epochs)),
        ("gap", lambda: generalization_gap(runs, epochs)),
        ("memory", lambda: memory_parts(runs, findings.memory)),
    ]
    for experiment in dict.fromkeys(order(runs)["experiment"]):
        painters.append((curve_key(experiment), lambda experiment=experiment: curves(runs, epochs, experiment)))
    with plt.style.context(STYLE):
        for key, paint in painters:
            painted = paint()
            if painted is None:
                continue
            canvas, caption = painted
            for _ in range(2):  # long labels and legends settle in the second pass
                canvas.get_layout_engine().execute(canvas)
            canvas.set_layout_engine("none")  # not again for each format
            canvas.savefig(folder / f"{key}.svg", metadata={"Date": None})
            canvas.savefig(folder / f"{key}.pdf", metadata={"CreationDate": None, "Producer": None, "Creator": None})
            plt.close(canvas)
            drawn[key] = Figure(key, caption)
    return drawn


def curve_key(experiment: str) -> str:
    """A file name for an experiment's curves, whatever characters its id has."""
    return "experiment-" + "".join(c if c.isascii() and c.isalnum() else f"x{ord(c):x}" for c in str(experiment))


def _perplexity_axis(axes: Axes, losses: np.ndarray, right: bool = True) -> None:
    """Loss drawn, read as perplexity on the left (1, 2, 5 times powers of ten) and as loss on the right."""
    low, high = float(np.nanmin(losses)), float(np.nanmax(losses))
    margin = max(0.06 * (high - low), 0.02)
    axes.set_ylim(low - margin, high + margin)
    ticks = [math.log(value) for value in _round_values(low - margin, high + margin)]
    axes.yaxis.set_major_locator(FixedLocator(ticks))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(FuncFormatter(lambda loss, _: _tick(math.exp(loss))))
    if right:
        twin = axes.twinx()
        twin.set_ylim(axes.get_ylim())
        twin.grid(False)
        twin.spines["right"].set_visible(True)
        twin.yaxis.set_major_locator(MaxNLocator(5))
        twin.set_ylabel("loss (nats per token)")


def _drawable(text: str) -> str:
    """Text in the figures' own font: what it lacks is spelled as its code point, alike on every machine."""
    known = get_font(findfont("DejaVu Sans")).get_charmap()
    return "".join(c if ord(c) in known else f"[U+{ord(c):04X}]" for c in text)


def _tick(value: float) -> str:
    return f"{value:,.0f}" if value >= 10 else f"{value:.3g}"


def _round_values(low: float, high: float) -> list[float]:
    """Round perplexities between two losses: 1-2-5 steps, finer where the range is narrow."""
    for mantissas in ((1, 2, 5), (1, 1.5, 2, 3, 4, 5, 6, 8), (1, 1.2, 1.4, 1.6, 1.8, *np.arange(2, 10, 0.5))):
        decades = range(math.floor(low / math.log(10)), math.ceil(high / math.log(10)) + 1)
        values = [m * 10.0**d for d in decades for m in mantissas if low <= math.log(m * 10.0**d) <= high]
        if len(values) >= 3:
            return values
    return [float(f"{math.exp(loss):.3g}") for loss in np.linspace(low, high, 4)]


def _mean_curve(rows: pd.DataFrame, column: str) -> pd.DataFrame:
    """Mean, lowest and highest of a column over seeds, epoch by epoch, with the mean time at which it was reached."""
    rows = rows.dropna(subset=[column]).assign(
        seconds=lambda table: table.groupby("seed")["train_seconds"].cumsum(),
    )
    return rows.groupby("epoch").agg(
        mean=(column, "mean"), low=(column, "min"), high=(column, "max"), seconds=("seconds", "mean")
    )


def _plot(axes: Axes, curve: pd.DataFrame, over: str, **style) -> None:
    x = curve.index if over == "epoch" else curve["seconds"]
    axes.plot(x, curve["mean"], **style)
    if (curve["high"] > curve["low"]).any():
        axes.fill_between(x, curve["low"], curve["high"], color=style["color"], alpha=0.2, linewidth=0)


def _legend_below(axes: Axes) -> None:
    """Outside the panel, so that it hides no curve whatever the results."""
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.2), ncols=2, columnspacing=0.8, handlelength=1.7)


def _bands(runs: pd.DataFrame) -> str:
    seeds = runs["seed"].nunique()
    return f" Lines are means over {seeds} seeds, bands their range." if seeds > 1 else ""


def curves(runs: pd.DataFrame, epochs: pd.DataFrame, experiment: str) -> tuple[Canvas, str] | None:
    """Training and validation of one experiment over epochs and over wall-clock."""
    own = runs[runs["experiment"] == experiment]
    rows = epochs[epochs["experiment"] == experiment]
    if rows["validation_loss"].dropna().empty:
        return None
    series = {
        "training (running mean)": ("train_loss", {"color": RUNNING, "linestyle": (0, (4, 2))}),
        "training (after the epoch)": ("train_eval_loss", {"color": TRAINING}),
        "validation": ("validation_loss", {"color": VALIDATION}),
    }
    unigram = own["unigram_validation_perplexity"].mean()
    canvas, (left, right) = plt.subplots(1, 2, sharey=True)
    values = [rows[column].to_numpy(float) for column, _ in series.values()]
    if np.isfinite(unigram):
        values.append(np.array([math.log(unigram)]))
    for axes, over in ((left, "epoch"), (right, "seconds")):
        for label, (column, style) in series.items():
            curve = _mean_curve(rows, column)
            if not curve.empty:
                _plot(axes, curve, over, label=label, **style)
        if np.isfinite(unigram):
            axes.axhline(math.log(unigram), color=UNIGRAM, linestyle=":", linewidth=1.2, label="unigram model")
        validation = _mean_curve(rows, "validation_loss")
        best = int(validation["mean"].idxmin())
        x = best if over == "epoch" else validation.loc[best, "seconds"]
        axes.plot(x, validation.loc[best, "mean"], "o", color=VALIDATION, markerfacecolor="white", label="best epoch")
    _perplexity_axis(left, np.concatenate(values), right=False)
    _perplexity_axis(right, np.concatenate(values))
    right.tick_params(labelleft=False)
    left.set_ylabel("perplexity (log scale)")
    left.set_xlabel("epoch")
    left.xaxis.set_major_locator(MaxNLocator(integer=True))
    right.set_xlabel("training time (s)")
    handles, labels = left.get_legend_handles_labels()
    canvas.legend(handles, labels, loc="outside upper center", ncols=len(labels), columnspacing=1.0, handlelength=1.5)
    first = own.iloc[0]
    reached = math.exp(validation.loc[best, "mean"])
    caption = (
        f"Experiment {experiment}: {configuration(first['model'], first['layers'], first['optimizer'])}. Loss and "
        f"perplexity over epochs and over training time. Lowest validation perplexity {perplexity(reached)} after "
        f"epoch {best}, at {validation.loc[best, 'seconds']:.0f} s; the unigram model has {perplexity(unigram)}."
    )
    return canvas, caption + _bands(own)


def _panels(runs: pd.DataFrame, epochs: pd.DataFrame, members: dict[str, list[tuple[str, str, str]]]) -> Canvas:
    """A panel an architecture; ``members`` lists (experiment, label, colour)."""
    canvas, panels = plt.subplots(1, len(members), sharey=True, squeeze=False, figsize=(6.3, 3.1))
    chosen = [experiment for group in members.values() for experiment, _, _ in group]
    losses = epochs[epochs["experiment"].isin(chosen)]["validation_loss"].to_numpy(float)
    unigram = runs["unigram_validation_perplexity"].mean()
    if np.isfinite(unigram):
        losses = np.append(losses, math.log(unigram))
    for axes, (model, group) in zip(panels[0], members.items(), strict=True):
        for experiment, label, color in group:
            curve = _mean_curve(epochs[epochs["experiment"] == experiment], "validation_loss")
            if not curve.empty:
                style = {
                    "marker": MARKER.get(model, "D"),
                    "label": _drawable(f"{label} ({experiment})"),
                    "color": color,
                }
                _plot(axes, curve, "epoch", linestyle=_DASHED if color in ON_TOP else "-", **style)
        if np.isfinite(unigram):
            axes.axhline(math.log(unigram), color=UNIGRAM, linestyle=":", linewidth=1.2, label="unigram model")
        axes.set_title(model_name(model))
        axes.set_xlabel("epoch")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        _legend_below(axes)
        _perplexity_axis(axes, losses, right=False)
    panels[0][0].set_ylabel("validation perplexity (log scale)")
    return canvas


def overlay_optimizers(runs: pd.DataFrame, epochs: pd.DataFrame) -> tuple[Canvas, str] | None:
    shallow = by_experiment(runs[runs["layers"] == 1])
    if shallow.empty or shallow["optimizer"].nunique() < 2:
        return None
    members = {
        model: [
            (row.experiment, optimizer_name(row.optimizer), OPTIMIZER.get(row.optimizer, VALIDATION))
            for row in group.itertuples()
        ]
        for model, group in shallow.groupby("model", sort=False)
    }
    caption = (
        "Validation perplexity by optimizer, one layer each, at the configured learning rates; experiment numbers in "
        "parentheses. The dotted line is the unigram model: above it, nothing of the context has been learned."
    )
    return _panels(runs, epochs, members), caption + _bands(runs)


def overlay_depth(runs: pd.DataFrame, epochs: pd.DataFrame) -> tuple[Canvas, str] | None:
    series = depth_series(runs)
    if not series:
        return None
    depths = sorted({int(layers) for group in series.values() for layers in group["layers"]})
    color = {layers: DEPTH[min(index, len(DEPTH) - 1)] for index, layers in enumerate(depths)}
    members = {
        model: [(row.experiment, counted(row.layers, "layer"), color[row.layers]) for row in group.itertuples()]
        for model, group in series.items()
    }
    used = listed(list(dict.fromkeys(optimizer_name(group["optimizer"].iloc[0]) for group in series.values())))
    caption = f"Validation perplexity by depth, all trained with {used}; experiment numbers in parentheses."
    return _panels(runs, epochs, members), caption + _bands(runs)


def pareto_front(runs: pd.DataFrame, found: WallClock) -> tuple[Canvas, str] | None:
    """Training time against best validation perplexity; lower left is better."""
    experiments = by_experiment(comparable_in_time(runs))
    if len(experiments) < 2:
        return None
    canvas, axes = plt.subplots(figsize=(6.3, 3.3))
    front = experiments[experiments["experiment"].isin(found.front)]
    ring = {"linestyle": "", "marker": "o", "markersize": 11, "markerfacecolor": "none", "color": FRONT}
    axes.plot(front["train_seconds"], np.log(front["validation_perplexity"]), **ring)
    for row in experiments.itertuples():
        color = OPTIMIZER.get(row.optimizer, VALIDATION)
        x, y = row.train_seconds, math.log(row.validation_perplexity)
        axes.plot(x, y, MARKER.get(row.model, "D"), color=color, markersize=6, markeredgecolor="white")
    _perplexity_axis(axes, np.log(experiments["validation_perplexity"].to_numpy(float)), right=False)
    _label_points(canvas, axes, experiments)
    axes.set_xlabel("training time (s)")
    axes.set_ylabel("best validation perplexity (log scale)")
    handles = [
        Line2D([], [], marker=MARKER.get(model, "D"), linestyle="", color="0.4", label=model_name(model))
        for model in dict.fromkeys(experiments["model"])
    ]
    handles += [
        Line2D([], [], marker="o", linestyle="", color=OPTIMIZER.get(name, VALIDATION), label=optimizer_name(name))
        for name in dict.fromkeys(experiments["optimizer"])
    ]
    handles.append(Line2D([], [], label="on the Pareto front", **ring))
    canvas.legend(handles=handles, loc="outside upper center", ncols=len(handles), columnspacing=1.0, handletextpad=0.4)
    caption = (
        "Training time against best validation perplexity, a point an experiment, with its number and layers. On the "
        f"front, where no other run is better in one and not worse in the other: {listed(list(found.front))}; "
        "differences that the report calls alike do not count."
    )
    return canvas, caption


def _label_points(canvas: Canvas, axes: Axes, experiments: pd.DataFrame) -> None:
    """Number each point where the label covers neither a point nor another label; the choice is deterministic."""
    canvas.draw_without_rendering()
    points = axes.transData.transform(
        np.column_stack([experiments["train_seconds"], np.log(experiments["validation_perplexity"])])
    )
    taken = [(x - 5, y - 5, x + 5, y + 5) for x, y in points]
    bounds = axes.get_window_extent()
    places = [
        (9, -3),
        (-9, -3),
        (7, -3),
        (-7, -3),
        (0, 7),
        (0, -13),
        (7, 6),
        (-7, 6),
        (7, -12),
        (-7, -12),
        (0, 16),
        (0, -22),
        (16, 14),
    ]
    scale = canvas.dpi / 72
    for (x, y), row in zip(points, experiments.itertuples(), strict=True):
        text = _drawable(f"{row.experiment} ({int(row.layers)})")
        width, height = 4.6 * len(text) * scale, 8 * scale
        for dx, dy in places:
            left = x + dx * scale - (width if dx < 0 else width / 2 if dx == 0 else 0)
            box = (left, y + dy * scale, left + width, y + dy * scale + height)
            inside = bounds.x0 <= box[0] and box[2] <= bounds.x1 + 12 and bounds.y0 <= box[1] and box[3] <= bounds.y1
            if inside and not any(_overlap(box, other) for other in taken):
                break
        taken.append(box)
        axes.annotate(
            text,
            axes.transData.inverted().transform((x, y)),
            (dx, dy),
            textcoords="offset points",
            fontsize=7,
            color="0.25",
            ha="right" if dx < 0 else "center" if dx == 0 else "left",
        )


def _overlap(first: tuple, second: tuple) -> bool:
    return first[0] < second[2] and second[0] < first[2] and first[1] < second[3] and second[1] < first[3]


def generalization_gap(runs: pd.DataFrame, epochs: pd.DataFrame) -> tuple[Canvas, str] | None:
    """Validation loss less training loss, the latter on a fixed sample with the same weights."""
    gaps = epochs.assign(gap=epochs["validation_loss"] - epochs["train_eval_loss"]).dropna(subset=["gap"])
    if gaps.empty:
        return None
    experiments = by_experiment(runs)
    models = list(dict.fromkeys(experiments["model"]))
    canvas, panels = plt.subplots(1, len(models), sharey=True, squeeze=False, figsize=(6.3, 3.3))
    lines = {1: "-", 2: (0, (5, 2)), 4: (0, (1.5, 1.5))}
    for axes, model in zip(panels[0], models, strict=True):
        for row in experiments[experiments["model"] == model].itertuples():
            curve = _mean_curve(gaps[gaps["experiment"] == row.experiment], "gap")
            if not curve.empty:
                label = f"{optimizer_name(row.optimizer)}, {counted(int(row.layers), 'layer')} ({row.experiment})"
                style = lines.get(int(row.layers), (0, (6, 1, 1, 1)))
                color = OPTIMIZER.get(row.optimizer, VALIDATION)
                width = 1.5 if color in ON_TOP else 3.0
                _plot(axes, curve, "epoch", color=color, linestyle=style, linewidth=width, label=_drawable(label))
        axes.axhline(0, color="0.6", linewidth=0.8)
        axes.set_title(model_name(model))
        axes.set_xlabel("epoch")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        _legend_below(axes)
    panels[0][0].set_ylabel("validation − training loss (nats)")
    caption = (
        "Generalization gap: validation loss less the loss on a fixed sample of the training text, both with the "
        "weights after the epoch. Above zero, the model knows its training text better than new text."
    )
    return canvas, caption + _bands(runs)


def memory_parts(runs: pd.DataFrame, found: Memory) -> tuple[Canvas, str] | None:
    """What the memory model accounts for, stacked, against what was measured above the process's baseline."""
    experiments = by_experiment(runs).iloc[::-1]
    parts = [part for part in MEMORY if experiments.get(part, pd.Series(dtype=float)).notna().any()]
    if not parts:
        return None
    canvas, axes = plt.subplots(figsize=(6.3, 0.9 + 0.22 * len(experiments)))
    y = np.arange(len(experiments))
    left = np.zeros(len(experiments))
    for part in parts:
        label, color = MEMORY[part]
        width = experiments[part].fillna(0).to_numpy(float)
        axes.barh(y, width, left=left, color=color, label=label, height=0.7)
        left += width
    measured = experiments["memory_footprint_mb"].to_numpy(float)
    if np.isfinite(measured).any():
        axes.plot(
            measured, y, "|", color=MEASURED, markersize=9, markeredgewidth=2, label="measured peak above baseline"
        )
    rows = experiments.itertuples()
    axes.set_yticks(y, [_drawable(f"{r.experiment}: {configuration(r.model, r.layers, r.optimizer)}") for r in rows])
    axes.set_ylim(-0.6, len(experiments) - 0.4)
    axes.grid(axis="y", visible=False)
    axes.set_xlabel("MiB")
    axes.yaxis.set_minor_formatter(NullFormatter())
    canvas.legend(loc="outside upper center", ncols=3, columnspacing=1.2)
    caption = "Memory by experiment: what the memory model accounts for, and the measured peak above the baseline"
    if found.covered is not None:
        caption += f"; the model's sum is {percent(100 * found.covered, 0)} of the measured figure at the median"
    return canvas, f"{caption}."
