"""The report's figures, drawn from summaries and findings.

A colour means the same thing in all of them: the optimizers' are in ``lm/config/optimizers.py``, Okabe and Ito's, safe
for colour-blind readers; architecture is told by marker, never by colour. Perplexity is the exponential of the loss,
so one curve on a logarithmic axis shows both: its left axis reads perplexity, its right axis the loss. What is not
finite is not drawn, and what lies far above a model that knows nothing leaves the panel at the top.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

os.environ["MPLBACKEND"] = "agg"  # whatever the user's shell names: an unknown one ends the import below

import matplotlib.pyplot as plt
import numpy as np
from adjustText import adjust_text
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas
from matplotlib.font_manager import findfont, get_font
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullFormatter, NullLocator

from lm.config.architectures import ARCHITECTURES
from lm.config.optimizers import OPTIMIZERS
from lm.findings.study import Findings
from lm.report.chart import Chart, Figure, Panel, Point, Series, as_perplexity, shape
from lm.report.text import known
from lm.results.states import EXPLODED
from lm.results.summary import Epoch, ExperimentSummary, Summaries

STYLE = Path(__file__).with_name("study.mplstyle")
VALIDATION, TRAINING, RUNNING, UNIGRAM, FRONT = "#000000", "#CC79A7", "#E3B8CF", "#767676", "#767676"
DEPTH = ("#7FCDA9", "#009E73", "#00513B", "#00241A")
PARTS = {
    "parameters": "#4D4D4D",
    "gradients": "#9A9A9A",
    "optimizer": "#D9D9D9",
    "activations": "#B3A2CC",
    "logits": "#7B5EA7",
}
MEASURED = "#882255"
_DASHES = ("-", (0, (5, 2)), (0, (1.5, 1.5)), (0, (6, 1, 1, 1)))
"""Line styles, a step for each further depth or each further line of a panel."""

_TOUCHING = 4.0
"""Points nearer than this (of 72 to the inch) share a label."""

Labels = Mapping[str, str]
Painted = tuple[Canvas, Chart | None, dict[str, Any]]
"""What was drawn, the same as data where a page can draw it anew, and the facts for its caption."""


def draw_all(summaries: Summaries, findings: Findings, labels: Labels, folder: Path) -> dict[str, Figure]:
    """Draw every figure the results allow as ``<key>.svg`` and ``<key>.pdf`` into ``folder``, which is empty or not yet
    there; what there is no data for is left out. ``labels``: the words in them."""
    folder.mkdir(parents=True, exist_ok=True)
    painters: list[tuple[str, str, Callable[[], Painted | None]]] = [
        ("pareto", "pareto", lambda: pareto(summaries, findings, labels)),
        ("optimizers", "optimizers", lambda: by_optimizer(summaries, labels)),
        ("depth", "depth", lambda: by_depth(findings, labels)),
        ("gap", "gap", lambda: gap(summaries, labels)),
        ("memory", "memory", lambda: memory(summaries, findings, labels)),
    ]
    for summary in summaries.experiments:
        painters.append((curve_key(summary.id), "curves", partial(curves, summary, labels)))
    drawn: dict[str, Figure] = {}
    with plt.style.context(STYLE):
        for key, kind, paint in painters:
            painted = paint()
            if painted is not None:
                save(painted[0], folder / key)
                drawn[key] = Figure(key=key, kind=kind, chart=painted[1], facts=painted[2])
    return drawn


def save(canvas: Canvas, path: Path) -> None:
    """Write ``<path>.svg`` and ``<path>.pdf``, the same bytes for the same figure."""
    _lay_out(canvas)
    canvas.savefig(f"{path}.svg", metadata={"Date": None})
    canvas.savefig(f"{path}.pdf", metadata={"CreationDate": None, "Producer": None, "Creator": None})
    plt.close(canvas)


def _lay_out(canvas: Canvas) -> None:
    """Once for both formats, not again for each; long labels and legends settle in the second pass."""
    engine = ConstrainedLayoutEngine()
    for _ in range(2):
        engine.execute(canvas)


def curve_key(experiment: str) -> str:
    """A file name for an experiment's curves, whatever characters its id has."""
    return "experiment-" + "".join(c if c.isascii() and c.isalnum() else f"x{ord(c):x}" for c in experiment)


def colour(summary: ExperimentSummary) -> str:
    """The optimizer's colour; black for one that the registry does not know."""
    return OPTIMIZERS[summary.optimizer].colour if summary.optimizer in OPTIMIZERS else VALIDATION


def marker(summary: ExperimentSummary) -> str:
    """The architecture's marker; a diamond for one that the registry does not know."""
    return ARCHITECTURES[summary.model].marker if summary.model in ARCHITECTURES else "D"


def drawable(text: str) -> str:
    """Text in the figures' own font: what it lacks is spelled as its code point, alike on every machine."""
    characters = get_font(findfont("DejaVu Sans")).get_charmap()
    return "".join(c if ord(c) in characters else f"[U+{ord(c):04X}]" for c in text)


@dataclass(frozen=True, kw_only=True)
class Curve:
    """A figure over epochs: mean, lowest and highest over seeds, and the mean training time at which it was reached."""

    epochs: np.ndarray
    seconds: np.ndarray
    mean: np.ndarray
    low: np.ndarray
    high: np.ndarray

    def __bool__(self) -> bool:
        return len(self.epochs) > 0

    def rows(self) -> Iterator[tuple[float, tuple[float, ...], float, float]]:
        """Mean, (epoch, seconds), lowest and highest of each epoch."""
        for epoch, passed, *figures in np.stack(
            [self.epochs, self.seconds, self.mean, self.low, self.high], axis=1
        ).tolist():
            yield figures[0], (epoch, passed), figures[1], figures[2]


def curve(summary: ExperimentSummary, value: Callable[[Epoch], float | None]) -> Curve:
    """``value`` of each epoch, over the seeds that have it."""
    found: dict[int, list[tuple[float, float]]] = {}
    for run in summary.runs:
        passed = 0.0
        for epoch in run.epochs:
            passed += epoch.train_seconds if known(epoch.train_seconds) else 0.0
            figure = value(epoch)
            if known(figure):
                found.setdefault(epoch.epoch, []).append((passed, figure))
    rows = [
        (epoch, *(math.fsum(part) / len(part) for part in zip(*pairs, strict=True)), *_range(v for _, v in pairs))
        for epoch, pairs in sorted(found.items())
    ]
    columns = np.array(rows, dtype=float).reshape(len(rows), 5).T
    return Curve(epochs=columns[0], seconds=columns[1], mean=columns[2], low=columns[3], high=columns[4])


def _range(values: Iterable[float]) -> tuple[float, float]:
    every = list(values)
    return min(every), max(every)


def _ceiling(summaries: Iterable[ExperimentSummary]) -> float:
    """The highest loss that a panel shows: a little above a model that gives every token the same probability."""
    return max(summary.text.uniform_loss for summary in summaries) + EXPLODED / 2


def _plot(axes: Axes, drawn: Curve, over: str, **style: Any) -> None:
    x = drawn.epochs if over == "epoch" else drawn.seconds
    axes.plot(x, drawn.mean, **style)
    if (drawn.high > drawn.low).any():
        axes.fill_between(x, drawn.low, drawn.high, color=style["color"], alpha=0.2, linewidth=0)


def dash(line: Any) -> tuple[float, ...]:
    """A line style of matplotlib's as lengths on and off."""
    return () if line == "-" else line[1]


def shown_perplexities(losses: Iterable[float], ceiling: float) -> tuple[float, float]:
    """The lowest and the highest perplexity that a panel shows."""
    shown = [min(loss, ceiling) for loss in losses if known(loss)]
    return math.exp(min(shown, default=0.0)), math.exp(max(shown, default=1.0))


def levels(unigram: float, labels: Labels) -> tuple[tuple[str, float], ...]:
    return ((labels["unigram"], math.exp(unigram)),) if known(unigram) else ()


def perplexity_axis(
    axes: Axes, losses: Iterable[float], ceiling: float, right: str | None = None, share: float = 0.06
) -> None:
    """Loss drawn, read as perplexity on the left (1, 2, 5 times powers of ten) and, where ``right`` names that axis,
    as loss on the right. ``share``: of the range, what is left free above and below."""
    shown = [min(loss, ceiling) for loss in losses if known(loss)]
    low, high = min(shown, default=0.0), max(shown, default=1.0)
    margin = max(share * (high - low), 0.02)
    axes.set_ylim(low - margin, high + margin)
    ticks = [math.log(value) for value in _round_values(low - margin, high + margin)]
    axes.yaxis.set_major_locator(FixedLocator(ticks))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(FuncFormatter(lambda loss, _: _tick(loss)))
    if right is not None:
        twin = axes.twinx()
        twin.set_ylim(axes.get_ylim())
        twin.grid(False)
        twin.spines["right"].set_visible(True)
        twin.yaxis.set_major_locator(MaxNLocator(5))
        twin.set_ylabel(right)


def _tick(loss: float) -> str:
    value = math.exp(min(loss, 100.0))
    return f"{value:,.0f}" if value >= 10 else f"{value:.3g}"


def _round_values(low: float, high: float) -> list[float]:
    """Round perplexities between two losses: 1-2-5 steps, finer where the range is narrow."""
    for mantissas in (
        (1, 2, 5),
        (1, 1.5, 2, 3, 4, 5, 6, 8),
        (1, 1.2, 1.5, 2, 2.5, 3, 4, 5, 6, 7, 8, 9),
        tuple(np.arange(1, 10, 0.25)),
    ):
        decades = range(math.floor(low / math.log(10)), math.ceil(high / math.log(10)) + 1)
        values = [m * 10.0**d for d in decades for m in mantissas if low <= math.log(m * 10.0**d) <= high]
        if len(values) >= 3:
            return values
    return [float(f"{math.exp(loss):.3g}") for loss in np.linspace(low, high, 4)]


def _epoch_axis(axes: Axes, label: str) -> None:
    axes.set_xlabel(label)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))


_NAME_IN_TWO_COLUMNS = 24
"""Characters of a legend's longest name beyond which two columns are wider than half a figure."""


def legend_below(axes: Axes) -> None:
    """Outside the panel, so that it hides no curve whatever the results; long names make it one column, many a taller
    figure."""
    names = axes.get_legend_handles_labels()[1]
    columns = 1 if max(map(len, names), default=0) > _NAME_IN_TWO_COLUMNS else 2
    canvas = axes.get_figure(root=True)
    assert canvas is not None, "axes are drawn on a figure"
    canvas.set_figheight(max(canvas.get_figheight(), 2.6 + 0.17 * math.ceil(len(names) / columns)))
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.2), ncols=columns, columnspacing=0.8, handlelength=2.2)


def seeds(summaries: Iterable[ExperimentSummary]) -> int:
    """The largest number of seeds that an experiment has."""
    return max(len(summary.seeds) for summary in summaries)


def curves(summary: ExperimentSummary, labels: Labels) -> Painted | None:
    """Training and validation of one experiment over epochs and over wall-clock."""
    series: dict[str, tuple[Curve, dict[str, Any]]] = {
        "running": (curve(summary, lambda epoch: epoch.train_loss), {"color": RUNNING, "linestyle": (0, (4, 2))}),
        "training": (curve(summary, lambda epoch: epoch.train_eval_loss), {"color": TRAINING}),
        "validation": (curve(summary, lambda epoch: epoch.validation_loss), {"color": VALIDATION}),
    }
    validation = series["validation"][0]
    if not validation:
        return None
    unigram, best = summary.text.unigram_loss, int(np.argmin(validation.mean))
    canvas, (left, right) = plt.subplots(1, 2, sharey=True)
    short = {"marker": "."} if len(validation.epochs) == 1 else {}
    for axes, over, x in ((left, "epoch", validation.epochs), (right, "seconds", validation.seconds)):
        for key, (drawn, style) in series.items():
            if drawn:
                _plot(axes, drawn, over, label=labels[key], **style, **short)
        if known(unigram):
            axes.axhline(unigram, color=UNIGRAM, linestyle=":", linewidth=1.2, label=labels["unigram"])
        axes.plot(
            x[best], validation.mean[best], "o", color=VALIDATION, markerfacecolor="white", label=labels["best epoch"]
        )
    values = [unigram, *(value for drawn, _ in series.values() for value in drawn.mean)]
    ceiling = _ceiling([summary])
    perplexity_axis(left, values, ceiling)
    perplexity_axis(right, values, ceiling, labels["loss"])
    right.tick_params(labelleft=False)
    left.set_ylabel(labels["perplexity"])
    _epoch_axis(left, labels["epoch"])
    right.set_xlabel(labels["training time"])
    handles, names = left.get_legend_handles_labels()
    canvas.legend(handles, names, loc="outside upper center", ncols=len(names), columnspacing=1.0, handlelength=1.5)
    facts = {
        "experiment": summary,
        "lowest": float(validation.mean[best]),
        "epoch": int(validation.epochs[best]),
        "seconds": float(validation.seconds[best]),
        "seeds": len(summary.seeds),
        "above": bool(max(value for value in values if known(value)) > ceiling),
    }
    panel = Panel(
        title="",
        series=tuple(
            Series(
                label=labels[key],
                colour=style["color"],
                dash=dash(style.get("linestyle", "-")),
                shape="circle" if short else "",
                points=as_perplexity(drawn.rows()),
            )
            for key, (drawn, style) in series.items()
            if drawn
        ),
        levels=levels(unigram, labels),
        rings=as_perplexity([list(validation.rows())[best]]),
    )
    chart = Chart(
        kind="lines",
        axes=(labels["epoch"], labels["training time"]),
        whole=True,
        value=labels["plain perplexity"],
        panels=(panel,),
        domain=shown_perplexities(values, ceiling),
        logarithmic=True,
        special=labels["best epoch"],
        subject=labels["experiment"],
        table=labels["values"],
    )
    return canvas, chart, facts


Member = tuple[ExperimentSummary, str, str, Any]
"""An experiment in a panel: its label, colour and line style."""


def _panels(members: Mapping[str, Sequence[Member]], labels: Labels) -> tuple[Canvas, Chart]:
    """A panel an architecture, validation perplexity over epochs."""
    shown = [member[0] for group in members.values() for member in group]
    drawn = {summary.id: curve(summary, lambda epoch: epoch.validation_loss) for summary in shown}
    unigram = shown[0].text.unigram_loss
    losses = [unigram, *(value for line in drawn.values() for value in line.mean)]
    canvas, panels = plt.subplots(1, len(members), sharey=True, squeeze=False, figsize=(6.3, 3.1))
    for axes, (model, group) in zip(panels[0], members.items(), strict=True):
        for summary, label, shade, line in group:
            if drawn[summary.id]:
                _plot(
                    axes,
                    drawn[summary.id],
                    "epoch",
                    marker=marker(summary),
                    label=drawable(f"{label} ({summary.id})"),
                    color=shade,
                    linestyle=line,
                    markerfacecolor=shade if line == "-" else "white",
                )
        if known(unigram):
            axes.axhline(unigram, color=UNIGRAM, linestyle=":", linewidth=1.2, label=labels["unigram"])
        axes.set_title(drawable(model))
        _epoch_axis(axes, labels["epoch"])
        legend_below(axes)
        perplexity_axis(axes, losses, _ceiling(shown))
    panels[0][0].set_ylabel(labels["validation perplexity"])
    chart = Chart(
        kind="lines",
        axes=(labels["epoch"], labels["training time"]),
        whole=True,
        value=labels["plain validation perplexity"],
        panels=tuple(
            Panel(
                title=model,
                series=tuple(
                    Series(
                        label=f"{label} ({summary.id})",
                        colour=shade,
                        dash=dash(line),
                        shape=shape(marker(summary)),
                        filled=line == "-",
                        points=as_perplexity(drawn[summary.id].rows()),
                    )
                    for summary, label, shade, line in group
                    if drawn[summary.id]
                ),
                levels=levels(unigram, labels),
            )
            for model, group in members.items()
        ),
        domain=shown_perplexities(losses, _ceiling(shown)),
        logarithmic=True,
        subject=labels["experiment"],
        table=labels["values"],
    )
    return canvas, chart


def _grouped(summaries: Iterable[ExperimentSummary]) -> dict[str, list[ExperimentSummary]]:
    groups: dict[str, list[ExperimentSummary]] = {}
    for summary in summaries:
        groups.setdefault(summary.model_label, []).append(summary)
    return groups


def _distinct(summaries: Iterable[ExperimentSummary], key: str) -> Iterator[ExperimentSummary]:
    """The first of each value of an attribute."""
    seen = set()
    for summary in summaries:
        if getattr(summary, key) not in seen:
            seen.add(getattr(summary, key))
            yield summary


def by_optimizer(summaries: Summaries, labels: Labels) -> Painted | None:
    """One-layer experiments, as configured; those made from another one are in the remedies' table."""
    shallow = [s for s in summaries.experiments if s.layers == 1 and s.of is None]
    if len({summary.optimizer for summary in shallow}) < 2:
        return None
    members = {
        model: [
            # every second line is dashed: Adam and AdamW, SGD and Momentum often lie on each other
            (summary, summary.optimizer_label, colour(summary), _DASHES[index % 2])
            for index, summary in enumerate(_distinct(group, "optimizer"))
        ]
        for model, group in _grouped(shallow).items()
    }
    return *_panels(members, labels), {"seeds": seeds(shallow)}


def by_depth(findings: Findings, labels: Labels) -> Painted | None:
    """The experiments that the findings on depth compare."""
    if findings.depth is None:
        return None
    chosen = [summary for series in findings.depth.series for summary in series.experiments]
    depths = sorted({summary.layers for summary in chosen})
    shades = {layers: DEPTH[min(index, len(DEPTH) - 1)] for index, layers in enumerate(depths)}
    members = {
        model: [
            (
                summary,
                labels["layer" if summary.layers == 1 else "layers"].replace("{}", str(summary.layers)),
                shades[summary.layers],
                "-",
            )
            for summary in group
        ]
        for model, group in _grouped(chosen).items()
    }
    optimizers = list(dict.fromkeys(summary.optimizer_label for summary in chosen))
    return *_panels(members, labels), {"optimizers": optimizers, "seeds": seeds(chosen)}


def pareto(summaries: Summaries, findings: Findings, labels: Labels) -> Painted | None:
    """Training time against best validation perplexity; lower left is better. Only what compares in time is drawn."""
    front = [summary.id for summary in findings.wall_clock.front]
    shown = list(findings.wall_clock.compared)
    points = {
        summary.id: (summary.train_seconds.mean, summary.validation_loss.mean)
        for summary in shown
        if known(summary.train_seconds.mean) and known(summary.validation_loss.mean)
    }
    shown = [summary for summary in shown if summary.id in points]
    if len(shown) < 2:
        return None
    canvas, axes = plt.subplots(figsize=(6.3, 3.5))
    ceiling = _ceiling(shown)
    places = {e: (x, min(y, ceiling)) for e, (x, y) in points.items()}
    ring: dict[str, Any] = {"linestyle": "", "marker": "o", "markersize": 11, "markerfacecolor": "none", "color": FRONT}
    ringed = [places[experiment] for experiment in front if experiment in places]
    axes.plot([x for x, _ in ringed], [y for _, y in ringed], **ring)
    for summary in shown:
        axes.plot(*places[summary.id], marker(summary), color=colour(summary), markersize=6, markeredgecolor="white")
    times = [x for x, _ in places.values()]
    stretched = max(times) > 20 * min(times) > 0
    if stretched:
        axes.set_xscale("log")
    axes.margins(x=0.08)
    axes.set_xlabel(labels["training time"])
    axes.set_ylabel(labels["best validation perplexity"])
    perplexity_axis(axes, (y for _, y in places.values()), ceiling, share=0.12)
    handles = [
        Line2D([], [], marker=marker(summary), linestyle="", color="0.4", label=drawable(summary.model_label))
        for summary in _distinct(shown, "model")
    ]
    handles += [
        Line2D([], [], marker="o", linestyle="", color=colour(summary), label=drawable(summary.optimizer_label))
        for summary in _distinct(shown, "optimizer")
    ]
    handles.append(Line2D([], [], label=labels["front"], **ring))
    canvas.legend(handles=handles, loc="outside upper center", ncols=len(handles), columnspacing=1.0, handletextpad=0.4)
    _lay_out(canvas)
    _label_points(axes, [(summary, places[summary.id]) for summary in shown])
    left_out = [summary.id for summary in summaries.experiments if summary.id not in points]
    chart = Chart(
        kind="points",
        axes=(labels["training time"],),
        value=labels["plain best validation perplexity"],
        panels=(
            Panel(
                title="",
                series=tuple(
                    Series(
                        label=f"{summary.id}: {_name(summary, labels)}",
                        colour=colour(summary),
                        shape=shape(marker(summary)),
                        special=summary.id in front,
                        points=tuple(
                            replace(point, name=f"{summary.id} ({summary.layers})")
                            for point in as_perplexity([_alone(points[summary.id])])
                        ),
                    )
                    for summary in shown
                ),
            ),
        ),
        domain=shown_perplexities((y for _, y in places.values()), ceiling),
        logarithmic=True,
        stretched=stretched if min(times) > 0 else None,
        special=labels["front"],
        subject=labels["experiment"],
        table=labels["values"],
    )
    return canvas, chart, {"front": [e for e in front if e in places], "left_out": left_out}


def _alone(point: tuple[float, float]) -> tuple[float, tuple[float, ...], float, float]:
    return point[1], (point[0],), point[1], point[1]


def _label_points(axes: Axes, points: Sequence[tuple[ExperimentSummary, tuple[float, float]]]) -> None:
    """Number each point where the label covers neither a point nor another label, with a line where it stands off.
    Points that lie on each other share a label.

    Bounded by iterations, not by time, so that every rendering places them alike.
    """
    clusters: list[tuple[np.ndarray, tuple[float, float], list[str]]] = []
    for summary, data in points:
        place, label = axes.transData.transform(data), f"{summary.id} ({summary.layers})"
        near = [labels for other, _, labels in clusters if math.dist(other, place) < _TOUCHING]
        if near:
            near[0].append(label)
        else:
            clusters.append((place, data, [label]))
    texts = [axes.text(*data, drawable(", ".join(labels)), fontsize=7, color="0.25") for _, data, labels in clusters]
    adjust_text(
        texts,
        [x for _, (x, _) in points],
        [y for _, (_, y) in points],
        ax=axes,
        iter_lim=300,
        expand=(1.6, 2.4),
        force_text=(0.3, 0.5),
        max_move=(15, 15),
        arrowprops={"arrowstyle": "-", "color": "0.6", "linewidth": 0.5},
    )


def gap(summaries: Summaries, labels: Labels) -> Painted | None:
    """Validation loss less training loss, the latter on a fixed sample with the same weights."""

    def of(epoch: Epoch) -> float | None:
        if not (known(epoch.validation_loss) and known(epoch.train_eval_loss)):
            return None
        return epoch.validation_loss - epoch.train_eval_loss

    drawn = {summary.id: curve(summary, of) for summary in summaries.experiments}
    shown = [summary for summary in summaries.experiments if drawn[summary.id]]
    if not shown:
        return None
    groups = _grouped(shown)
    depths = sorted({summary.layers for summary in shown})
    canvas, panels = plt.subplots(1, len(groups), sharey=True, squeeze=False, figsize=(6.3, 3.4))
    lines: dict[str, list[Series]] = {model: [] for model in groups}
    for axes, (model, group) in zip(panels[0], groups.items(), strict=True):
        used: list[tuple[str, Any]] = []
        for summary in group:
            line = _DASHES[min(depths.index(summary.layers), len(_DASHES) - 1)]
            depth = labels["layer" if summary.layers == 1 else "layers"].replace("{}", str(summary.layers))
            label = drawable(f"{summary.optimizer_label}, {depth} ({summary.id})")
            # a line drawn over one that may lie on it is thinner, so that both are seen
            width = 1.2 if len(used) % 2 else 2.6
            used.append((summary.id, line))
            _plot(axes, drawn[summary.id], "epoch", color=colour(summary), linestyle=line, linewidth=width, label=label)
            lines[model].append(
                Series(
                    label=f"{summary.optimizer_label}, {depth} ({summary.id})",
                    colour=colour(summary),
                    dash=dash(line),
                    width=width,
                    points=tuple(
                        Point(value=mean, places=places, low=low, high=high)
                        for mean, places, low, high in drawn[summary.id].rows()
                    ),
                )
            )
        axes.axhline(0, color="0.6", linewidth=0.8)
        axes.set_title(drawable(model))
        _epoch_axis(axes, labels["epoch"])
        legend_below(axes)
    means = [value for summary in shown for value in drawn[summary.id].mean]
    low, high = max(min(means), -EXPLODED), min(max(means), 2 * _ceiling(shown))
    margin = max(0.06 * (high - low), 0.02)
    panels[0][0].set_ylim(min(low, 0.0) - margin, max(high, 0.0) + margin)
    panels[0][0].set_ylabel(labels["gap"])
    chart = Chart(
        kind="lines",
        axes=(labels["epoch"], labels["training time"]),
        whole=True,
        value=labels["gap"],
        panels=tuple(Panel(title=model, series=tuple(series)) for model, series in lines.items()),
        domain=(min(low, 0.0), max(high, 0.0)),
        subject=labels["experiment"],
        table=labels["values"],
    )
    return canvas, chart, {"seeds": seeds(shown)}


def memory(summaries: Summaries, findings: Findings, labels: Labels) -> Painted | None:
    """What the memory model accounts for, stacked, against what was measured above the process's baseline."""
    shown = [s for s in summaries.experiments if any(known(getattr(s.memory, part)) for part in PARTS)][::-1]
    if not shown:
        return None
    canvas, axes = plt.subplots(figsize=(6.3, 0.9 + 0.22 * len(shown)))
    y = np.arange(len(shown))
    left = np.zeros(len(shown))
    bars: list[Series] = []
    for part, shade in PARTS.items():
        if not any(known(getattr(s.memory, part)) for s in shown):
            continue
        width = np.array([_or(getattr(s.memory, part), 0.0) for s in shown])
        axes.barh(y, width, left=left, color=shade, label=labels[part], height=0.7)
        left += width
        bars.append(Series(label=labels[part], colour=shade, points=_row_points(width)))
    whole = findings.memory.whole
    measured = [_or(s.memory.mean if whole else s.memory.footprint, math.nan) for s in shown]
    if np.isfinite(measured).any():
        label = labels["in use" if whole else "measured"]
        axes.plot(measured, y, "|", color=MEASURED, markersize=9, markeredgewidth=2, label=label)
        bars.append(Series(label=label, colour=MEASURED, shape="stroke", points=_row_points(measured)))
    axes.set_yticks(y, [drawable(f"{s.id}: {_name(s, labels)}") for s in shown])
    axes.set_ylim(-0.6, len(shown) - 0.4)
    axes.grid(axis="y", visible=False)
    axes.set_xlabel("MiB")
    axes.yaxis.set_minor_formatter(NullFormatter())
    canvas.legend(loc="outside upper center", ncols=3, columnspacing=1.2)
    chart = Chart(
        kind="bars",
        axes=("",),
        value="MiB",
        panels=(Panel(title="", series=tuple(bars)),),
        domain=(0.0, max([*left.tolist(), *filter(known, measured)])),
        rows=tuple(f"{s.id}: {_name(s, labels)}" for s in reversed(shown)),
        subject=labels["experiment"],
        table=labels["values"],
    )
    return canvas, chart, {"covered": findings.memory.covered, "whole": whole}


def _row_points(values: Iterable[float]) -> tuple[Point, ...]:
    """A point a row, from the top; ``values`` are from the bottom. None where there is no figure."""
    return tuple(
        Point(value=float(value), places=(float(place),), low=float(value), high=float(value))
        for place, value in enumerate(reversed(list(values)))
        if known(value)
    )


def _or(value: float | None, otherwise: float) -> float:
    return value if known(value) else otherwise


def _name(summary: ExperimentSummary, labels: Labels) -> str:
    depth = labels["layer" if summary.layers == 1 else "layers"].replace("{}", str(summary.layers))
    return f"{summary.model_label}, {depth}, {summary.optimizer_label}"
