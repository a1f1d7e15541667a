"""What a table holds, apart from how a format sets it and what its columns are called."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from lm.report.text import MISSING, known, number, whole


@dataclass(frozen=True)
class Column:
    """``digits``: decimals of a figure, 0 for a count; None for text.

    ``title`` names the column's heading among those of ``reports/templates/tables.j2`` (its own key where empty);
    ``value`` stands in a heading with a blank, as a perplexity in "Until {}".
    """

    key: str
    digits: int | None = None
    title: str = ""
    value: str = ""

    def cell(self, value: Any) -> str:
        if self.digits is None:
            return MISSING if value is None or value == "" else str(value)
        if not known(value):
            return MISSING
        return whole(value) if self.digits == 0 else number(value, self.digits)

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

    def cells(self) -> list[list[str]]:
        return [[column.cell(row.get(column.key)) for column in self.columns] for row in self.rows]


@dataclass(frozen=True, kw_only=True)
class Worded:
    """A table with its words: what a writer sets. ``caption`` and ``note`` are already in the writer's format;
    ``word`` is what tables are called."""

    table: Table
    titles: tuple[str, ...]
    caption: str
    note: str
    word: str
    position: int
