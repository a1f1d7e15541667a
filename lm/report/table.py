"""What a table holds, apart from how a format sets it and what its columns and states are called."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from lm.report.text import MISSING, known, number, whole


@dataclass(frozen=True, kw_only=True)
class Column:
    """``digits``: decimals of a figure, 0 for a count; None for text. A figure below ``least`` is told as below it.

    ``title`` names the column's heading among those of ``reports/templates/tables.j2`` (its own key where empty);
    ``value`` fills the blank of a heading such as "Until {}". ``words`` names a table of ``reports/templates/words.j2``
    that the cells are looked up in: a cell is then a key of it, or several (key, what fills its blank).
    """

    key: str
    digits: int | None = None
    least: float | None = None
    title: str = ""
    value: str = ""
    words: str = ""

    def cell(self, value: Any, words: Mapping[str, str]) -> str:
        if self.digits is not None:
            if not known(value):
                return MISSING
            if self.least is not None and value < self.least:
                return f"<{number(self.least, self.digits)}"
            return whole(value) if self.digits == 0 else number(value, self.digits)
        if value is None or value in ("", ()):
            return MISSING
        if not self.words:
            return str(value)
        several = value if isinstance(value, tuple) else ((value, ""),)
        return ", ".join(words[key].replace("{}", str(blank)) for key, blank in several)

    def heading(self, titles: Mapping[str, str]) -> str:
        return titles[self.title or self.key].replace("{}", self.value)


@dataclass(frozen=True, kw_only=True)
class Table:
    """Rows in their order; ``bold`` holds (row, column key); ``facts`` is what caption and note are written from."""

    key: str
    columns: tuple[Column, ...]
    rows: tuple[Mapping[str, Any], ...]
    bold: frozenset[tuple[int, str]] = field(default_factory=frozenset)
    facts: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Worded:
    """A table with its words: what a writer sets. ``caption`` and ``note`` are already in the writer's format, the rest
    is plain; ``word`` is what tables are called."""

    key: str
    titles: tuple[str, ...]
    cells: tuple[tuple[str, ...], ...]
    digits: tuple[int | None, ...]
    bold: frozenset[tuple[int, int]]
    caption: str
    note: str
    word: str
    position: int


def worded(
    table: Table, titles: Mapping[str, str], words: Any, *, caption: str, note: str, word: str, position: int
) -> Worded:
    """The table with its headings from ``titles`` and its states from the tables of ``words``."""
    tables: list[Mapping[str, str]] = [getattr(words, column.words) if column.words else {} for column in table.columns]
    keys = [column.key for column in table.columns]
    return Worded(
        key=table.key,
        titles=tuple(column.heading(titles) for column in table.columns),
        cells=tuple(
            tuple(
                column.cell(row.get(column.key), lookup) for column, lookup in zip(table.columns, tables, strict=True)
            )
            for row in table.rows
        ),
        digits=tuple(column.digits for column in table.columns),
        bold=frozenset((row, keys.index(key)) for row, key in table.bold),
        caption=caption,
        note=note,
        word=word,
        position=position,
    )
