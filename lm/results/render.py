"""One text, two documents: ``report.j2`` is written once through a Markdown and once through a LaTeX writer.

Same inputs give the same bytes: nothing here knows the date or the machine that renders.
"""

from __future__ import annotations

import itertools
import re
from dataclasses import dataclass
from pathlib import Path

import jinja2

from lm.results import names, text
from lm.results.figures import Figure
from lm.results.findings.remedies import Remedy
from lm.results.table import Table, latex, markdown
from lm.results.text import Latex, Markdown, Raw, Writer

PASSAGES = "pdf/samples.tex"
"""The sample texts as LaTeX, relative to report.tex; made with the PDF and, like it, not part of the repository."""


@dataclass(frozen=True)
class Document:
    """What a template may call: headings, tables, figures and references in the document's format."""

    writer: Writer
    tables: dict[str, Table]
    figures: dict[str, Figure]

    def heading(self, level: int, title, kept_with: float = 0.0) -> Raw:
        return self.writer.heading(level, title, kept_with)

    def table(self, key: str) -> Raw:
        """The table, or nothing where the results have none of it."""
        if key not in self.tables:
            return Raw("")
        if isinstance(self.writer, Markdown):
            return markdown(self.tables[key], self._position(self.tables, key))
        return latex(self.tables[key])

    def figure(self, key: str) -> Raw:
        """The figure, or nothing where the results have none of it."""
        if key not in self.figures:
            return Raw("")
        caption = self.writer.text(self.figures[key].caption)
        if isinstance(self.writer, Markdown):
            position = self._position(self.figures, key)
            return Raw(f"![Figure {position}](figures/{key}.svg)\n\n**Figure {position}.** {caption}\n")
        return Raw(
            "\\begin{figure}[H]\n\\centering\n"
            f"\\includegraphics[width=\\linewidth]{{figures/{key}.pdf}}\n"
            f"\\caption{{{caption}}}\\label{{figure:{key}}}\n\\end{{figure}}\n"
        )

    def reference(self, kind: str, key: str) -> Raw:
        return self.writer.reference(kind, key, self._position(self.tables if kind == "table" else self.figures, key))

    @staticmethod
    def _position(parts: dict, key: str) -> int:
        return 1 + list(parts).index(key)

    def strong(self, value) -> Raw:
        return self.writer.strong(value)

    def emphasis(self, value) -> Raw:
        return self.writer.emphasis(value)

    def code(self, value) -> Raw:
        return self.writer.code(value)

    def block(self, value, language: str = "") -> Raw:
        return self.writer.block(value, language)

    def remedies(self, remedies: tuple[Remedy, ...]) -> Raw:
        """For which experiments, why, and the line to type."""
        items = []
        for remedy in remedies:
            name = "experiment" if len(remedy.experiments) == 1 else "experiments"
            reason = f"{name} {names.listed(list(remedy.experiments))} ({remedy.verdict}): {remedy.claim}."
            items.append(Raw(f"{self.writer.text(names.capital(reason))} {self.writer.code(remedy.command)}"))
        return self.writer.items(items)

    def passages(self) -> Raw:
        """Where LaTeX takes in the sample texts, if the PDF is made where they are; Markdown has no such place."""
        return Raw("" if isinstance(self.writer, Markdown) else f"\\InputIfFileExists{{{PASSAGES}}}{{}}{{}}\n")

    def items(self, values) -> Raw:
        return self.writer.items(values)


def passages(samples: str) -> str:
    """The sample texts, Markdown as stages/samples.py writes it, as LaTeX: headings, sentences, indented passages."""
    writer, parts = Latex(), []
    for kind, lines in itertools.groupby(samples.splitlines(), _kind):
        if kind == "heading":
            # a heading at the foot of a page would part from its passage
            parts += ["\\needspace{12\\baselineskip}\n" + writer.heading(3, line.removeprefix("## ")) for line in lines]
        elif kind == "passage":
            body = "\\par\n".join(writer.text(line.strip()) for line in lines)
            parts.append(f"\\begin{{quote}}\\small\\raggedright\n{body}\n\\end{{quote}}\n")
        elif kind == "sentence":
            parts.append(f"{writer.text(' '.join(lines))}\n")
    return "\n".join(parts)


def _kind(line: str) -> str:
    """``title`` stands in the report already."""
    starts = {"# ": "title", "## ": "heading", "    ": "passage"}
    return next((kind for start, kind in starts.items() if line.startswith(start)), "sentence" if line else "nothing")


def render(templates: Path, context: dict, parts: dict[str, Table], figures: dict[str, Figure]) -> dict[str, str]:
    """``{"report.md": …, "report.tex": …}``. Tables and figures count in the order given."""
    rendered = {}
    for suffix, writer in (("md", Markdown()), ("tex", Latex())):
        environment = jinja2.Environment(
            loader=jinja2.FileSystemLoader(templates),
            undefined=jinja2.StrictUndefined,
            finalize=writer.text,
            trim_blocks=True,
            lstrip_blocks=True,
            keep_trailing_newline=True,
        )
        environment.filters["percent"] = text.percent
        document = Document(writer, parts, figures)
        page = environment.get_template(f"report.{suffix}.j2").render(doc=document, **context)
        rendered[f"report.{suffix}"] = re.sub(r"\n{3,}", "\n\n", page).strip() + "\n"
    return rendered
