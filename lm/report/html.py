"""The report as one page for a browser: nothing is loaded, tables sort, figures are drawn where they are read."""

from __future__ import annotations

import base64
import functools
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import markupsafe
from markupsafe import Markup

from lm.report.chart import Chart, Figure, Point
from lm.report.table import Worded
from lm.report.text import MISSING, number, perplexity
from lm.report.vega import runtime
from lm.report.writer import BEFORE_UNIT, Writer, one_line, printable

_HERE = Path(__file__).parent


@functools.cache
def _asset(name: str) -> str:
    return (_HERE / name).read_text(encoding="utf-8")


class Html(Writer):
    """HTML with its style, its scripts and its data inside. Keeps the headings it has set, for the table of contents;
    one writer sets one document."""

    suffix = "html"

    def __init__(self) -> None:
        self._headings: list[tuple[int, Markup]] = []
        self._draws = False

    def escape(self, plain: str) -> Markup:
        return Markup(BEFORE_UNIT.sub("&nbsp;", markupsafe.escape(plain)))

    def heading(self, level: int, title: Any, kept_with: float = 0.0) -> Markup:
        del kept_with
        self._headings.append((level, self.prose(title)))
        return Markup(f'<h{level} id="section-{len(self._headings)}">{self.prose(title)}</h{level}>\n')

    def contents(self) -> Markup:
        """Links to the headings of the second level, those of the third folded away below them."""
        numbered = [(level, title, index + 1) for index, (level, title) in enumerate(self._headings)]
        chapters: list[tuple[str, list[str]]] = []
        for level, title, index in numbered:
            link = f'<a href="#section-{index}">{title}</a>'
            if level == 2 or not chapters:
                chapters.append((link, []))
            else:
                chapters[-1][1].append(f"<li>{link}</li>")
        lines = [f"<li>{link}{'<ul>' + ''.join(below) + '</ul>' if below else ''}</li>\n" for link, below in chapters]
        return Markup(f"<ul>\n{''.join(lines)}</ul>\n")

    def head(self) -> Markup:
        return Markup(f"<style>\n{_asset('page.css')}</style>\n")

    def foot(self) -> Markup:
        """The scripts; Vega only where there is a figure to draw."""
        scripts = [runtime()] if self._draws else []
        return Markup("".join(f"<script>\n{script}\n</script>\n" for script in [*scripts, _asset("page.js")]))

    def strong(self, value: Any) -> Markup:
        return Markup(f"<strong>{self.prose(value)}</strong>")

    def emphasis(self, value: Any) -> Markup:
        return Markup(f"<em>{self.prose(value)}</em>")

    def code(self, value: Any) -> Markup:
        return Markup(f"<code>{markupsafe.escape(one_line(printable(str(value))))}</code>")

    def document(self, title: str, place: str) -> Markup:
        return Markup(f'<a href="{self.text(place)}.html">{self.prose(title)}</a>')

    def block(self, value: str, language: str = "") -> Markup:
        del language
        return Markup(f'<pre tabindex="0"><code>{markupsafe.escape(printable(value.rstrip()))}</code></pre>\n')

    def paragraph(self, value: Markup) -> Markup:
        return Markup(f"<p>{value}</p>\n")

    def items(self, values: Sequence[Markup]) -> Markup:
        return Markup("<ul>\n" + "".join(f"<li>{value}</li>\n" for value in values) + "</ul>\n")

    def quote(self, lines: Sequence[str]) -> Markup:
        return Markup("<blockquote>" + "<br>\n".join(self.text(line) for line in lines) + "</blockquote>\n")

    def reference(self, word: str, key: str, position: str) -> Markup:
        return Markup(f'<a href="#{key}">{word} {position}</a>')

    def table(self, worded: Worded) -> Markup:
        """A table under its caption, in a box that scrolls sideways where it is too wide; the first cell of a row heads
        it."""
        cells = [
            [
                self.strong(cell) if (row, column) in worded.bold else self.prose(cell)
                for column, cell in enumerate(line)
            ]
            for row, line in enumerate(worded.cells)
        ]
        body = self._grid(list(map(self.prose, worded.titles)), cells, [d is not None for d in worded.digits])
        label = f"table-{worded.key}"
        note = f'<p class="note">{worded.note}</p>\n' if worded.note else ""
        return Markup(
            f'<figure class="table" id="{label}">\n'
            f'<figcaption id="{label}-caption"><b>{worded.word} {worded.position}.</b> {worded.caption}</figcaption>\n'
            f'<div class="scroll" role="region" tabindex="0" aria-labelledby="{label}-caption">\n'
            f'<table class="sorts" aria-labelledby="{label}-caption">\n{body}</table>\n</div>\n{note}</figure>\n'
        )

    def _grid(self, titles: Sequence[str], cells: Iterable[Sequence[str]], figures: Sequence[bool]) -> str:
        kinds = [' class="n"' if figure else "" for figure in figures]
        heads = "".join(f'<th scope="col"{kind}>{title}</th>' for title, kind in zip(titles, kinds, strict=True))
        rows = []
        for first, *others in cells:
            tail = "".join(f"<td{kind}>{cell}</td>" for cell, kind in zip(others, kinds[1:], strict=True))
            rows.append(f'<tr><th scope="row"{kinds[0]}>{first}</th>{tail}</tr>\n')
        return f"<thead><tr>{heads}</tr></thead>\n<tbody>\n{''.join(rows)}</tbody>\n"

    def figure(self, figure: Figure, caption: str, word: str, position: int) -> Markup:
        """A figure's data, from which the page's script draws it, its caption, and the same as a table; a picture where
        there is no such data."""
        label = f"figure-{figure.key}"
        if figure.chart is None:
            return self._picture(figure, label, f"<b>{word} {position}.</b> {caption}")
        self._draws = True
        data = json.dumps(figure.chart.data(), ensure_ascii=False, allow_nan=False, separators=(",", ":"))
        titles, cells = _values(figure.chart)
        body = self._grid(
            [self.prose(title) for title in titles],
            [[self.prose(cell) for cell in row] for row in cells],
            [column > 0 for column in range(len(titles))],
        )
        summary = self.prose(figure.chart.table)
        return Markup(
            f'<figure class="chart" id="{label}">\n'
            f'<script type="application/json">{data.replace("<", chr(92) + "u003c")}</script>\n'
            f'<figcaption id="{label}-caption"><b>{word} {position}.</b> {caption}</figcaption>\n'
            f"<details><summary>{summary}</summary>\n"
            f'<div class="scroll" role="region" tabindex="0" aria-label="{word} {position}: {summary}">\n'
            f'<table class="sorts" aria-labelledby="{label}-caption">\n{body}</table>\n</div>\n</details>\n</figure>\n'
        )

    def _picture(self, figure: Figure, label: str, caption: str) -> Markup:
        if figure.picture is None:
            raise ValueError(f"figure {figure.key} has neither a chart nor a picture")
        data = base64.b64encode(figure.picture.read_bytes()).decode()
        text = self.escape(Markup(caption).striptags())
        return Markup(
            f'<figure class="picture" id="{label}">\n<img alt="{text}" src="data:image/svg+xml;base64,{data}">\n'
            f"<figcaption>{caption}</figcaption>\n</figure>\n"
        )


def _values(chart: Chart) -> tuple[list[str], list[list[str]]]:
    """What a chart shows as a table: headings, and rows of cells."""
    shown = [(f"{p.title}: {s.label}" if p.title else s.label, s.points) for p in chart.panels for s in p.series]
    if chart.kind == "points":
        rows = [[label, number(each.places[0]), _cell(chart, each)] for label, points in shown for each in points]
        return [chart.subject, chart.axes[0], chart.value], rows
    if chart.kind == "rows":
        return [chart.subject, chart.value], [[label, _cell(chart, each)] for label, points in shown for each in points]
    by_place = [{each.places[0]: each for each in points} for _, points in shown]
    labels = [label for label, _ in shown]
    if chart.kind == "bars":
        rows = [[name, *(_cell(chart, each.get(row)) for each in by_place)] for row, name in enumerate(chart.rows)]
        return [chart.subject, *(f"{label} ({chart.value})" for label in labels)], rows
    places = sorted({place for each in by_place for place in each})
    rows = [[f"{place:g}", *(_cell(chart, each.get(place)) for each in by_place)] for place in places]
    return [chart.axes[0], *labels], rows


def _cell(chart: Chart, point: Point | None) -> str:
    if point is None:
        return MISSING

    def figure(value: float) -> str:
        if chart.logarithmic is not None:
            return perplexity(value)
        return number(value, 3 if chart.kind == "lines" else 1)

    spread = f" ({figure(point.low)} to {figure(point.high)})" if point.low < point.high else ""
    return figure(point.value) + spread
