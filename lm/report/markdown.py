"""The report in GitHub's Markdown."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from markupsafe import Markup

from lm.report.chart import Figure
from lm.report.table import Worded
from lm.report.writer import Writer, printable


class Markdown(Writer):
    """GitHub's Markdown, tables as pipes, figures as links to SVG."""

    suffix = "md"

    def escape(self, plain: str) -> Markup:
        plain = re.sub(r"([\\`*_\[\]|~$])", r"\\\1", plain)
        plain = plain.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
        return Markup(re.sub(r"^(\s*)([#+-]|\d+[.)])(?=\s)", r"\1\\\2", plain, flags=re.MULTILINE))

    def heading(self, level: int, title: Any, kept_with: float = 0.0) -> Markup:
        del kept_with
        return Markup(f"{'#' * level} {self.prose(title)}\n")

    def strong(self, value: Any) -> Markup:
        return Markup(f"**{self.prose(value)}**")

    def emphasis(self, value: Any) -> Markup:
        return Markup(f"*{self.prose(value)}*")

    def code(self, value: Any) -> Markup:
        plain = printable(str(value)).replace("\n", " ")
        fence = "`" * (1 + max((len(run) for run in re.findall(r"`+", plain)), default=0))
        pad = " " if "`" in plain else ""
        return Markup(f"{fence}{pad}{plain}{pad}{fence}")

    def document(self, title: str, place: str) -> Markup:
        return Markup(f"[{self.prose(title)}]({place}.md)")

    def block(self, value: str, language: str = "") -> Markup:
        fence = "`" * max(3, 1 + max((len(run) for run in re.findall(r"`+", value)), default=0))
        return Markup(f"{fence}{language}\n{value.rstrip()}\n{fence}\n")

    def paragraph(self, value: Markup) -> Markup:
        return Markup(f"{value}\n")

    def items(self, values: Sequence[Markup]) -> Markup:
        return Markup("".join(f"- {value}\n" for value in values))

    def quote(self, lines: Sequence[str]) -> Markup:
        return Markup("".join(f"    {printable(line)}".rstrip() + "\n" for line in lines))

    def reference(self, word: str, key: str, position: str) -> Markup:
        del key
        return Markup(f"{word} {position}")

    def table(self, worded: Worded) -> Markup:
        """A pipe table under a bold caption, its note in italics."""
        cells = [
            [
                self.strong(cell) if (row, column) in worded.bold else self.prose(cell)
                for column, cell in enumerate(line)
            ]
            for row, line in enumerate(worded.cells)
        ]
        titles = [self.prose(title) for title in worded.titles]
        widths = [max(4, *(len(row[i]) for row in [titles, *cells])) for i in range(len(titles))]
        right = [digits is not None for digits in worded.digits]

        def line(values: Sequence[str]) -> str:
            padded = (v.rjust(w) if r else v.ljust(w) for v, w, r in zip(values, widths, right, strict=True))
            return f"| {' | '.join(padded)} |"

        rule = "|".join(f"{'-' * (w + 1)}:" if r else f"{'-' * (w + 2)}" for w, r in zip(widths, right, strict=True))
        caption = f"**{worded.word} {worded.position}.** {worded.caption}"
        note = f"\n*{worded.note}*\n" if worded.note else ""
        return Markup("\n".join([caption, "", line(titles), f"|{rule}|", *map(line, cells)]) + "\n" + note)

    def figure(self, figure: Figure, caption: str, word: str, position: int) -> Markup:
        return Markup(f"![{word} {position}](figures/{figure.key}.svg)\n\n**{word} {position}.** {caption}\n")
