"""The controlled report's figures. Colours and markers mean what they mean in the default report's."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas
from matplotlib.ticker import FixedLocator, MaxNLocator, NullFormatter

from lm.controlled.findings import ControlledFindings, Ranking, Search
from lm.controlled.results import ArmResult
from lm.controlled.tables import test_loss
from lm.protocol.rates import Edge
from lm.report.chart import Chart, Figure, Panel, Point, Series, as_perplexity, shape
from lm.report.figures import (
    STYLE,
    UNIGRAM,
    VALIDATION,
    Labels,
    Painted,
    colour,
    dash,
    drawable,
    legend_below,
    levels,
    marker,
    perplexity_axis,
    save,
    shown_perplexities,
)

_SHADE = "0.93"
_DASHES = ("-", (0, (5, 2)))
"""Every second line of a panel is dashed: Adam and AdamW often lie on each other."""
_NORMS = {"pre": "#CC79A7"}
"""A colour for a norm placed otherwise than the study's."""


def draw_all(findings: ControlledFindings, labels: Labels, folder: Path) -> dict[str, Figure]:
    """Draw every figure the results allow as ``<key>.svg`` and ``<key>.pdf`` into ``folder``; by key."""
    folder.mkdir(parents=True, exist_ok=True)
    painters: dict[str, Callable[[ControlledFindings, Labels], Painted | None]] = {
        "rates": by_rate,
        "confirmed": confirmed,
        "search": searched,
        "depth": by_depth,
        "remedies": treated,
    }
    drawn = {}
    with plt.style.context(STYLE):
        for key, paint in painters.items():
            painted = paint(findings, labels)
            if painted is not None:
                save(painted[0], folder / key)
                picture = folder / f"{key}.svg"
                drawn[key] = Figure(key=key, kind=key, chart=painted[1], picture=picture, facts=painted[2])
    return drawn


def by_rate(findings: ControlledFindings, labels: Labels) -> Painted | None:
    """Validation loss of the trials over the rate, a panel an architecture."""
    rankings = findings.rankings
    if not rankings:
        return None
    text = findings.study.text
    shown = [arm for ranking in rankings for arm in ranking.arms]
    losses = [trial.loss for arm in shown for trial in arm.trials if trial.loss is not None]
    ceiling = text.unigram_loss + 0.25
    canvas, panels = plt.subplots(1, len(rankings), sharey=True, squeeze=False, figsize=(6.3, 3.3))
    for axes, ranking in zip(panels[0], rankings, strict=True):
        perplexity_axis(axes, [*losses, text.unigram_loss], ceiling)
        top = axes.get_ylim()[1]
        axes.axhline(text.unigram_loss, color=UNIGRAM, linestyle=":", linewidth=1.2, label=labels["unigram"])
        for index, arm in enumerate(ranking.arms):
            _trials(axes, arm, top, _DASHES[index % 2])
            _edge(axes, arm)
        axes.plot([], [], "x", color=VALIDATION, markersize=5, label=labels["failed"])
        axes.plot([], [], "o", color=VALIDATION, markerfacecolor="white", markersize=6, label=labels["chosen"])
        tried = [trial.rate for arm in ranking.arms for trial in arm.trials]
        axes.set_xscale("log")
        axes.set_xlim(min(tried) / 1.7, 1.7 * max(tried))
        axes.xaxis.set_major_formatter(lambda rate, _: f"{rate:g}")
        axes.xaxis.set_minor_formatter(NullFormatter())
        axes.set_xlabel(labels["rate"])
        axes.set_title(drawable(ranking.label))
    panels[0][0].set_ylabel(labels["validation perplexity"])
    _one_legend(canvas, panels[0])
    edges = [arm for arm in shown if arm.edge is not Edge.NONE]
    chart = Chart(
        kind="lines",
        axes=(labels["plain rate"],),
        stretched=True,
        value=labels["plain validation perplexity"],
        logarithmic=True,
        panels=tuple(_rates(ranking, levels(text.unigram_loss, labels)) for ranking in rankings),
        domain=shown_perplexities([*losses, text.unigram_loss], ceiling),
        special=labels["chosen"],
        crossed=labels["failed"],
        subject=labels["arm"],
        table=labels["values"],
    )
    return canvas, chart, {"edges": edges, "tuning_seed": findings.study.tuning_seed}


def _rates(ranking: Ranking, marks: tuple[tuple[str, float], ...]) -> Panel:
    arms = ranking.arms
    return Panel(
        title=ranking.label,
        series=tuple(
            _line(arm, index, [(each.rate, each.loss) for each in arm.trials if each.loss is not None])
            for index, arm in enumerate(arms)
        ),
        levels=marks,
        rings=tuple(
            point
            for arm in arms
            if arm.chosen is not None and arm.chosen.loss is not None
            for point in as_perplexity([(arm.chosen.loss, (arm.rate,), arm.chosen.loss, arm.chosen.loss)])
        ),
        crosses=tuple(trial.rate for arm in arms for trial in arm.trials if trial.loss is None),
        shaded=tuple(ends for arm in arms for ends in _unknown(arm)),
    )


def _line(arm: ArmResult, index: int, losses: Sequence[tuple[float, float]]) -> Series:
    """An optimizer's line: (where it stands, loss) of each point."""
    return Series(
        label=arm.confirmed.optimizer_label,
        colour=colour(arm.confirmed),
        dash=dash(_DASHES[index % 2]),
        shape=shape(marker(arm.confirmed)),
        points=as_perplexity((loss, (place,), loss, loss) for place, loss in losses),
    )


def _unknown(arm: ArmResult) -> list[tuple[float, float]]:
    """Where nothing was tried, beyond a chosen rate at the edge."""
    if arm.edge is Edge.HIGH:
        return [(arm.rate, 10 * arm.rate)]
    return [(arm.rate / 10, arm.rate)] if arm.edge is Edge.LOW else []


def _trials(axes: Axes, arm: ArmResult, top: float, line: Any) -> None:
    shade, finite = colour(arm.confirmed), [(each.rate, each.loss) for each in arm.trials if each.loss is not None]
    axes.plot(
        [rate for rate, _ in finite],
        [loss for _, loss in finite],
        marker=marker(arm.confirmed),
        linestyle=line,
        color=shade,
        label=drawable(arm.confirmed.optimizer_label),
    )
    failed = [trial.rate for trial in arm.trials if trial.loss is None]
    if failed:  # an empty line that is not clipped has no end to the layout
        axes.plot(failed, [top] * len(failed), "x", color=shade, markersize=5, clip_on=False)
    if arm.chosen is not None and arm.chosen.loss is not None:
        axes.plot(arm.rate, arm.chosen.loss, "o", color=shade, markerfacecolor="white", markersize=6, zorder=3)


def _edge(axes: Axes, arm: ArmResult) -> None:
    for low, high in _unknown(arm):
        axes.axvspan(low, high, color=_SHADE, zorder=0, linewidth=0)


def _interval(axes: Axes, arm: ArmResult, at: float, *, vertical: bool, shade: str) -> None:
    """Seeds as small points, the mean with its interval."""
    loss = test_loss(arm)
    if loss.mean is None:
        return
    values = list(arm.losses.values())
    places = [at] * len(values)
    axes.plot(*((places, values) if vertical else (values, places)), ".", color=shade, markersize=4, alpha=0.45)
    half = loss.half or 0.0
    axes.errorbar(
        *((at, loss.mean) if vertical else (loss.mean, at)),
        xerr=None if vertical else half,
        yerr=half if vertical else None,
        marker=marker(arm.confirmed),
        color=shade,
        capsize=2.5,
        linewidth=1.2,
        markersize=5,
        linestyle="none",
    )


def _share(arm: ArmResult, labels: Labels) -> str:
    failed = labels["failed seeds"].replace("{}", f"{len(arm.failed)}/{len(arm.confirmed.runs)}")
    return f" ({failed})" if arm.failed else ""


def confirmed(findings: ControlledFindings, labels: Labels) -> Painted | None:
    """Test perplexity of the optimizers at their own rates, best first within an architecture."""
    shown = [arm for ranking in findings.rankings for arm in _best_first(ranking)][::-1]
    known = [loss for arm in shown for loss in arm.losses.values()]
    if not known:
        return None
    canvas, axes = plt.subplots(figsize=(6.3, 0.9 + 0.25 * len(shown)))
    for at, arm in enumerate(shown):
        _interval(axes, arm, at, vertical=False, shade=colour(arm.confirmed))
    names = [f"{arm.label}, {arm.confirmed.optimizer_label}{_share(arm, labels)}" for arm in shown]
    axes.set_yticks(range(len(shown)), [drawable(name) for name in names])
    axes.set_ylim(-0.6, len(shown) - 0.4)
    _perplexity_below(axes, known)
    axes.set_xlabel(labels["test perplexity"])
    rows = list(zip(reversed(shown), reversed(names), strict=True))
    chart = Chart(
        kind="rows",
        axes=("",),
        value=labels["plain test perplexity"],
        logarithmic=True,
        interval=True,
        rows=tuple(name for _, name in rows),
        panels=(
            Panel(
                title="",
                series=tuple(_seeds(arm, name, at, colour(arm.confirmed)) for at, (arm, name) in enumerate(rows)),
            ),
        ),
        domain=_reach(shown),
        subject=labels["arm"],
        table=labels["values"],
    )
    return canvas, chart, {"seeds": len(findings.study.seeds)}


def _seeds(arm: ArmResult, label: str, at: float, shade: str) -> Series:
    """The mean with its interval, seeds behind it."""
    return Series(
        label=label,
        colour=shade,
        shape=shape(marker(arm.confirmed)),
        points=_mean(arm, at),
        faint=as_perplexity((loss, (at,), loss, loss) for loss in arm.losses.values()),
    )


def _mean(arm: ArmResult, at: float) -> tuple[Point, ...]:
    loss = test_loss(arm)
    if loss.mean is None:
        return ()
    half = loss.half or 0.0
    return as_perplexity([(loss.mean, (at,), loss.mean - half, loss.mean + half)])


def _reach(arms: Sequence[ArmResult]) -> tuple[float, float]:
    """The lowest and the highest perplexity of seeds and intervals."""
    ends = [value for arm in arms for point in _mean(arm, 0.0) for value in (point.low, point.high)]
    ends += [math.exp(loss) for arm in arms for loss in arm.losses.values()]
    return min(ends), max(ends)


def _best_first(ranking: Ranking) -> list[ArmResult]:
    means = {arm.name: test_loss(arm).mean for arm in ranking.arms}
    return sorted(ranking.arms, key=lambda arm: (means[arm.name] is None, means[arm.name] or 0.0))


def _perplexity_below(axes: Axes, losses: Sequence[float]) -> None:
    """A loss axis, read as perplexity, along the bottom."""
    low, high = min(losses), max(losses)
    margin = max(0.06 * (high - low), 0.02)
    axes.set_xlim(low - margin, high + margin)
    steps = [math.log(value) for value in _round(low - margin, high + margin)]
    axes.xaxis.set_major_locator(FixedLocator(steps))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.xaxis.set_major_formatter(lambda loss, _: f"{math.exp(loss):,.0f}")


def _round(low: float, high: float) -> list[int]:
    for mantissas in ((1, 2, 5), (1, 1.5, 2, 3, 4, 5, 7), tuple(np.arange(10, 100) / 10)):
        decades = range(math.floor(low / math.log(10)), math.ceil(high / math.log(10)) + 1)
        values = [round(m * 10**d) for d in decades for m in mantissas]
        inside = sorted({value for value in values if value > 0 and low <= math.log(value) <= high})
        if len(inside) >= 3:
            return inside[:: max(1, len(inside) // 8)]
    return [round(math.exp(low)), round(math.exp(high))]


def searched(findings: ControlledFindings, labels: Labels) -> Painted | None:
    """Expected best validation loss after so many trials, a panel an architecture."""
    rankings = findings.rankings
    if not rankings:
        return None
    searches: dict[str, Search] = {search.arm.name: search for search in findings.searches}
    canvas, panels = plt.subplots(1, len(rankings), sharey=True, squeeze=False, figsize=(6.3, 3.0))
    every = [loss for r in rankings for arm in r.arms for loss in searches[arm.name].best_after]
    for axes, ranking in zip(panels[0], rankings, strict=True):
        for index, arm in enumerate(ranking.arms):
            losses = searches[arm.name].best_after
            axes.plot(
                range(1, len(losses) + 1),
                losses,
                marker=marker(arm.confirmed),
                linestyle=_DASHES[index % 2],
                color=colour(arm.confirmed),
                label=drawable(arm.confirmed.optimizer_label),
            )
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.set_xlabel(labels["trials"])
        axes.set_title(drawable(ranking.label))
        perplexity_axis(axes, every, max(every))
    panels[0][0].set_ylabel(labels["validation perplexity"])
    _one_legend(canvas, panels[0])
    chart = Chart(
        kind="lines",
        axes=(labels["trials"],),
        whole=True,
        value=labels["plain validation perplexity"],
        logarithmic=True,
        panels=tuple(
            Panel(
                title=ranking.label,
                series=tuple(
                    _line(arm, index, [(n + 1.0, loss) for n, loss in enumerate(searches[arm.name].best_after)])
                    for index, arm in enumerate(ranking.arms)
                ),
            )
            for ranking in rankings
        ),
        domain=shown_perplexities(every, max(every)),
        subject=labels["arm"],
        table=labels["values"],
    )
    return canvas, chart, {}


def _one_legend(canvas: Canvas, panels: Sequence[Axes]) -> None:
    """For all panels together, whose markers are the architectures' own: the first panel that has an entry shows it."""
    entries: dict[str, Any] = {}
    for axes in panels:
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True):
            entries.setdefault(label, handle)
    canvas.legend(list(entries.values()), list(entries), loc="outside lower center", ncols=4, columnspacing=1.2)


def by_depth(findings: ControlledFindings, labels: Labels) -> Painted | None:
    """Test perplexity over layers; arms with another place of the norm beside the series that they treat."""
    if not findings.series:
        return None
    canvas, axes = plt.subplots(figsize=(4.6, 3.1))
    shown = [arm for series in findings.series for arm in series.arms]
    other = [each.arm for each in findings.trainable if each.arm.confirmed.settings.norm in _NORMS]
    step = 0.06
    for index, series in enumerate(findings.series):
        shift = step * (index - (len(findings.series) - 1) / 2)
        means = [(arm.confirmed.layers, test_loss(arm).mean) for arm in series.arms if not arm.failed]
        sound = [(math.log2(layers) + shift, mean) for layers, mean in means if mean is not None]
        axes.plot(
            [layers for layers, _ in sound],
            [mean for _, mean in sound],
            color=VALIDATION,
            linestyle=_DASHES[index % 2],
            marker=marker(series.arms[0].confirmed),
            label=drawable(series.label),
        )
        for arm in series.arms:
            _interval(axes, arm, math.log2(arm.confirmed.layers) + shift, vertical=True, shade=VALIDATION)
    for arm in other:
        shade = _NORMS[str(arm.confirmed.settings.norm)]
        _interval(axes, arm, math.log2(arm.confirmed.layers) + 2 * step, vertical=True, shade=shade)
        name = labels["pre-norm"].replace("{}", arm.label)
        axes.plot([], [], marker(arm.confirmed), color=shade, label=drawable(name))
    depths = sorted({arm.confirmed.layers for arm in [*shown, *other]})
    axes.set_xticks([math.log2(layers) for layers in depths], [str(layers) for layers in depths])
    axes.set_xlabel(labels["layers"])
    known = [loss for arm in [*shown, *other] for loss in arm.losses.values()]
    if not known:
        plt.close(canvas)
        return None
    perplexity_axis(axes, known, max(known))
    axes.set_ylabel(labels["test perplexity"])
    legend_below(axes)
    lines = [
        Series(
            label=series.label,
            colour=VALIDATION,
            dash=dash(_DASHES[index % 2]),
            shape=shape(marker(series.arms[0].confirmed)),
            points=tuple(p for arm in series.arms if not arm.failed for p in _mean(arm, arm.confirmed.layers)),
            faint=tuple(p for arm in series.arms for p in _seeds(arm, "", arm.confirmed.layers, "").faint),
        )
        for index, series in enumerate(findings.series)
    ]
    lines += [
        _seeds(
            arm,
            labels["pre-norm"].replace("{}", arm.label),
            arm.confirmed.layers,
            _NORMS[str(arm.confirmed.settings.norm)],
        )
        for arm in other
    ]
    chart = Chart(
        kind="lines",
        axes=(labels["layers"],),
        whole=True,
        interval=True,
        value=labels["plain test perplexity"],
        logarithmic=True,
        panels=(Panel(title="", series=tuple(lines)),),
        domain=_reach([*shown, *other]),
        subject=labels["arm"],
        table=labels["values"],
    )
    return canvas, chart, {"failed": [arm for arm in shown if arm.failed], "seeds": len(findings.study.seeds)}


def treated(findings: ControlledFindings, labels: Labels) -> Painted | None:
    """Paired differences of the treatments, in percent of perplexity."""
    shown = [each for each in findings.treatments if each.contrast.paired is not None][::-1]
    if not shown:
        return None
    canvas, axes = plt.subplots(figsize=(6.3, 0.9 + 0.26 * len(shown)))
    axes.axvline(0, color=UNIGRAM, linewidth=1)
    rows: list[Series] = []
    for at, each in enumerate(shown):
        first, second, difference = each.contrast.first, each.contrast.second, each.contrast.paired
        assert difference is not None, "those without are not shown"
        own = [_percent(first.losses[seed] - second.losses[seed]) for seed in first.losses if seed in second.losses]
        middle, low, high = (_percent(value) for value in (difference.difference, difference.low, difference.high))
        told = each.contrast.outcome.better is not None
        axes.plot(own, [at] * len(own), ".", color=UNIGRAM, markersize=4, alpha=0.6)
        axes.errorbar(
            middle,
            at,
            xerr=[[middle - low], [high - middle]],
            marker=marker(first.confirmed),
            color=VALIDATION,
            markerfacecolor=VALIDATION if told else "white",
            capsize=2.5,
            linewidth=1.2,
            markersize=5,
        )
        place = (float(len(shown) - 1 - at),)
        rows.append(
            Series(
                label=first.name,
                colour=VALIDATION,
                shape=shape(marker(first.confirmed)),
                filled=told,
                points=(Point(value=middle, places=place, low=low, high=high),),
                faint=tuple(Point(value=value, places=place, low=value, high=value) for value in own),
            )
        )
    axes.set_yticks(range(len(shown)), [drawable(each.contrast.first.name) for each in shown])
    axes.set_ylim(-0.6, len(shown) - 0.4)
    axes.set_xlabel(labels["difference"])
    failed = [each.contrast.first for each in findings.treatments if each.contrast.paired is None]
    ends = [value for row in rows for p in (*row.points, *row.faint) for value in (p.low, p.high)]
    chart = Chart(
        kind="rows",
        axes=("",),
        value=labels["difference"],
        interval=True,
        rows=tuple(row.label for row in reversed(rows)),
        panels=(Panel(title="", series=tuple(reversed(rows)), levels=(("", 0.0),)),),
        domain=(min(0.0, *ends), max(0.0, *ends)),
        subject=labels["arm"],
        table=labels["values"],
    )
    return canvas, chart, {"failed": failed}


def _percent(difference: float) -> float:
    return 100 * math.expm1(difference)
