"""What a figure shows, apart from who draws it: a format that can be hovered over draws it anew from this.

A chart holds what the painted figure of its key holds: the painters in ``lm/report/figures.py`` make both.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lm.report.text import known

_DARK = {
    "#000000": "#FFFFFF",
    "#E3B8CF": "#8F6078",
    "#767676": "#9A9A9A",
    "#7FCDA9": "#1F8262",
    "#009E73": "#37B98D",
    "#00513B": "#8ADCBD",
    "#00241A": "#D8F5EA",
    "#4D4D4D": "#C4C4C4",
    "#9A9A9A": "#8C8C8C",
    "#D9D9D9": "#4F4F4F",
    "#B3A2CC": "#CBBCE2",
    "#7B5EA7": "#8F73BD",
    "#882255": "#F08CB8",
    "#666666": "#AAAAAA",
}
"""What a colour becomes on a dark page; the others show on both."""

_SHAPES = {"o": "circle", "s": "square", "D": "diamond", "d": "diamond", "^": "triangle-up", "v": "triangle-down"}
_SHAPES |= {"<": "triangle-left", ">": "triangle-right", "P": "cross", "+": "cross", "X": "cross", "x": "cross"}


@dataclass(frozen=True, kw_only=True)
class Point:
    """``places``: where it stands on each axis that the chart can lie on; ``low`` and ``high``: the range over seeds,
    or an interval.

    ``name`` stands beside it.
    """

    value: float
    places: tuple[float, ...]
    low: float
    high: float
    name: str = ""


@dataclass(frozen=True, kw_only=True)
class Series:
    """What a click on its line of the legend isolates. ``dash`` in units of ``width``; ``shape`` marks each point, ""
    none; ``special``: its points are ringed; ``faint``: single seeds behind their means."""

    label: str
    colour: str
    points: tuple[Point, ...]
    dash: tuple[float, ...] = ()
    shape: str = ""
    filled: bool = True
    width: float = 1.5
    special: bool = False
    faint: tuple[Point, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Panel:
    """``levels``: lines across, each with its label. ``rings``: points that are marked out. ``crosses``: where on the
    axis there is no figure, since the run failed; ``shaded``: parts of the axis of which nothing is known."""

    title: str
    series: tuple[Series, ...]
    levels: tuple[tuple[str, float], ...] = ()
    rings: tuple[Point, ...] = ()
    crosses: tuple[float, ...] = ()
    shaded: tuple[tuple[float, float], ...] = ()


@dataclass(frozen=True, kw_only=True)
class Chart:
    """``kind``: lines, points, bars, or rows of points. ``axes``: what a point's places are measured in; where there
    are several, the reader chooses. ``logarithmic``: whether values start on a logarithmic scale, or None where they
    can't stand on one; ``stretched``: the same for the axis. ``domain``: the lowest and the highest value shown.

    ``rows``: what bars and rows are called. ``special``: why points are ringed; ``crossed``: why there are none;
    ``interval``: points have one, rather than a range over seeds; ``whole``: the first axis counts. ``subject``: what a
    point of its own or a row is; ``table``: what the table of its values is called.
    """

    kind: str
    axes: tuple[str, ...]
    value: str
    panels: tuple[Panel, ...]
    domain: tuple[float, float]
    subject: str
    table: str
    logarithmic: bool | None = None
    stretched: bool | None = None
    rows: tuple[str, ...] = ()
    special: str = ""
    crossed: str = ""
    interval: bool = False
    whole: bool = False

    def data(self) -> dict[str, Any]:
        """As the page's script reads it, figures to seven digits."""
        return {
            "kind": self.kind,
            "axes": self.axes,
            "value": self.value,
            "logarithmic": self.logarithmic,
            "stretched": self.stretched,
            "domain": [_short(each) for each in self.domain],
            "rows": self.rows,
            "special": self.special,
            "crossed": self.crossed,
            "interval": self.interval,
            "whole": self.whole,
            "panels": [
                {
                    "title": panel.title,
                    "series": [_series(each) for each in panel.series],
                    "levels": [[label, _short(value)] for label, value in panel.levels],
                    "rings": [_point(each) for each in panel.rings],
                    "crosses": [_short(each) for each in panel.crosses],
                    "shaded": [[_short(each) for each in ends] for ends in panel.shaded],
                }
                for panel in self.panels
            ],
        }


@dataclass(frozen=True, kw_only=True)
class Figure:
    """A figure: ``kind`` names its caption in the templates, ``facts`` is what that is written from.

    ``chart`` is None where a page can only show the ``picture``, an SVG file.
    """

    key: str
    kind: str
    chart: Chart | None
    picture: Path | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)


def as_perplexity(rows: Iterable[tuple[float, tuple[float, ...], float, float]]) -> tuple[Point, ...]:
    """Points from (loss, places, lowest loss, highest loss); those too high for a float are left out."""
    points = []
    for mean, places, low, high in rows:
        if max(mean, high) < math.log(1e300):
            points.append(Point(value=math.exp(mean), places=places, low=math.exp(low), high=math.exp(high)))
    return tuple(points)


def shape(marker: str) -> str:
    """Vega's name for one of matplotlib's markers; a diamond for those that it does not have."""
    return _SHAPES.get(marker, "diamond")


def _series(series: Series) -> dict[str, Any]:
    return {
        "label": series.label,
        "colour": [series.colour, _DARK.get(series.colour.upper(), series.colour)],
        "dash": [round(part * series.width, 2) for part in series.dash],
        "shape": series.shape,
        "filled": series.filled,
        "width": series.width,
        "special": series.special,
        "points": [_point(each) for each in series.points],
        "faint": [_point(each) for each in series.faint],
    }


def _point(point: Point) -> list[Any]:
    figures = [point.value, point.low, point.high, *point.places]
    return [*map(_short, figures), *([point.name] if point.name else [])]


def _short(value: float) -> float | None:
    return float(f"{value:.7g}") if known(value) else None
