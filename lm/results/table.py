"""What a table holds, apart from how Markdown and LaTeX set it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import pandas as pd

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


_PAGE = 40
"""Rows that fit on a page; a longer table is set as one that breaks across pages."""


def latex(table: Table) -> Raw:
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
    layout = {"hrules": True, "column_format": "@{}" + "".join(formats) + "@{}"}
    if len(body) > _PAGE:
        caption, label = f"{writer.text(table.caption)}.", f"table:{table.key}"
        long = styler.to_latex(environment="longtable", caption=caption, label=label, **layout)
        return Raw(f"{{\\footnotesize\n{long}}}\n\n{writer.text(' '.join(table.notes))}\n")
    tabular = styler.to_latex(**layout)
    notes = (
        f"\\par\\smallskip\\begin{{minipage}}{{\\linewidth}}\\footnotesize {writer.text(' '.join(table.notes))}"
        "\\end{minipage}\n"
        if table.notes
        else ""
    )
    return Raw(
        "\\begin{table}[H]\n\\centering\\small\n"
        f"\\caption{{{writer.text(table.caption)}.}}\\label{{table:{table.key}}}\n"
        f"\\begin{{adjustbox}}{{max width=\\linewidth}}\n{tabular}\\end{{adjustbox}}\n{notes}\\end{{table}}\n"
    )
