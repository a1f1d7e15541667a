"""The report in LaTeX."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from typing import Any, ClassVar

from markupsafe import Markup

from lm.report.chart import Figure
from lm.report.table import Worded
from lm.report.text import MISSING
from lm.report.writer import BEFORE_UNIT, Writer

PASSAGES = "pdf/samples.tex"
"""The sample texts as LaTeX, relative to report.tex; made with the PDF and, like it, not part of the repository."""

_PAGE = 40
"""Rows that fit on a page; a longer table is set as one that breaks across pages."""


class Latex(Writer):
    """LaTeX for pdfTeX: what its fonts can't print is spelled as its code point, so that any text compiles."""

    suffix = "tex"
    _letters = "ĂăĄąĆćČčĎďĘęĚěĞğĹĺŁłŃńŇňŐőŔŕŘřŚśŞşŠšŤŮůŰűŸŹźŻżŽžŒœ"  # of the T1 encoding, beside Latin-1's
    _special: ClassVar[dict[str, str]] = {
        "\\": r"\textbackslash{}",
        "{": r"\{",
        "}": r"\}",
        "&": r"\&",
        "%": r"\%",
        "$": r"\$",
        "#": r"\#",
        "_": r"\_",
        "~": r"\textasciitilde{}",
        "^": r"\textasciicircum{}",
        "<": r"\textless{}",
        ">": r"\textgreater{}",
        "|": r"\textbar{}",
        '"': r"\textquotedbl{}",
        "'": r"\textquotesingle{}",
        "`": r"\textasciigrave{}",
        "[": "{[}",
        "]": "{]}",
        "−": r"\ensuremath{-}",
        "≤": r"\ensuremath{\leq}",
        "≥": r"\ensuremath{\geq}",
        "→": r"\textrightarrow{}",
        "·": r"\textperiodcentered{}",
        "×": r"\texttimes{}",
        "±": r"\textpm{}",
        "½": r"\textonehalf{}",
        "²": r"\texttwosuperior{}",
        "°": r"\textdegree{}",
        "–": r"\textendash{}",
        "—": r"\textemdash{}",
        "…": r"\ldots{}",
        "‘": "`",
        "’": "'",
        "“": "``",
        "”": "''",
        "\u00a0": "~",
    }

    def escape(self, plain: str) -> Markup:
        escaped = "".join(map(self._character, plain)).replace("--", "-{}-")
        return Markup(BEFORE_UNIT.sub("~", escaped))

    def _character(self, character: str) -> str:
        if character in self._special:
            return self._special[character]
        if character == "\n" or character.isascii():
            return character
        composed = unicodedata.normalize("NFC", character)
        if "À" <= composed <= "ÿ" or composed in self._letters:
            return composed
        return rf"{{\ttfamily [U+{ord(character):04X}]}}\allowbreak{{}}"

    def heading(self, level: int, title: Any, kept_with: float = 0.0) -> Markup:
        """``kept_with``: of the page's height, what must fit below or the heading goes to the next page."""
        command = {2: "section", 3: "subsection", 4: "subsubsection"}[level]
        need = f"\\Needspace{{{kept_with:g}\\textheight}}\n" if kept_with else ""
        return Markup(f"{need}\\{command}{{{self.prose(title)}}}\n")

    def strong(self, value: Any) -> Markup:
        return Markup(rf"\textbf{{{self.prose(value)}}}")

    def emphasis(self, value: Any) -> Markup:
        return Markup(rf"\emph{{{self.prose(value)}}}")

    def code(self, value: Any) -> Markup:
        breakable = re.sub(r"([ =./@,:_-])", "\\1\0", str(value))
        return Markup(rf"\texttt{{{self.text(breakable).replace(chr(0), chr(92) + 'allowbreak{}')}}}")

    def document(self, title: str, place: str) -> Markup:
        return Markup(f"{self.prose(title)} ({self.code(f'{place}.md')})")

    def block(self, value: str, language: str = "") -> Markup:
        del language
        spelled = unicodedata.normalize("NFKC", value.rstrip())  # an ellipsis as three dots
        plain = "".join(c if c == "\n" or (c.isascii() and c.isprintable()) else "?" for c in spelled)
        return Markup(f"\\begin{{Verbatim}}\n{plain}\n\\end{{Verbatim}}\n")

    def paragraph(self, value: Markup) -> Markup:
        return Markup(f"{value}\n")

    def items(self, values: Sequence[Markup]) -> Markup:
        lines = "".join(f"  \\item {value}\n" for value in values)
        ragged = "\\raggedright" if "\\texttt" in lines else ""  # a long command breaks, but does not stretch
        return Markup(f"\\begin{{itemize}}{ragged}\n{lines}\\end{{itemize}}\n")

    def quote(self, lines: Sequence[str]) -> Markup:
        body = "\\par\n".join(self.prose(line) for line in lines)
        return Markup(f"\\begin{{quote}}\\small\\raggedright\n{body}\n\\end{{quote}}\n")

    def passages(self) -> Markup:
        return Markup(f"\\InputIfFileExists{{{PASSAGES}}}{{}}{{}}\n")

    def reference(self, word: str, key: str, position: str) -> Markup:
        del position
        return Markup(rf"{word}~\ref{{{key}}}")

    def table(self, worded: Worded) -> Markup:
        """A booktabs table with siunitx columns; wide ones shrink to the text's width, long ones break across pages."""
        columns = [self._column([row[i] for row in worded.cells], digits) for i, digits in enumerate(worded.digits)]
        layout = "@{}" + "".join(kind for kind, _ in columns) + "@{}"
        head = " & ".join(f"{{{self.prose(title)}}}" for title in worded.titles) + r" \\"
        rows = []
        for index, row in enumerate(zip(*(cells for _, cells in columns), strict=True)):
            bold = (r"\bfseries " if (index, column) in worded.bold else "" for column in range(len(row)))
            rows.append(" & ".join(mark + cell for mark, cell in zip(bold, row, strict=True)) + r" \\")
        body, label = "\n".join(rows), f"table-{worded.key}"
        if len(rows) > _PAGE:
            return Markup(
                f"{{\\footnotesize\n\\begin{{longtable}}{{{layout}}}\n"
                f"\\caption{{{worded.caption}}}\\label{{{label}}} \\\\\n"
                f"\\toprule\n{head}\n\\midrule\n\\endfirsthead\n\\toprule\n{head}\n\\midrule\n\\endhead\n"
                f"\\bottomrule\n\\endfoot\n{body}\n\\end{{longtable}}}}\n\n{worded.note}\n"
            )
        note = (
            f"\\par\\smallskip\\begin{{minipage}}{{\\linewidth}}\\footnotesize {worded.note}\\end{{minipage}}\n"
            if worded.note
            else ""
        )
        return Markup(
            "\\begin{table}[H]\n\\centering\\small\n"
            f"\\caption{{{worded.caption}}}\\label{{{label}}}\n"
            "\\begin{adjustbox}{max width=\\linewidth}\n"
            f"\\begin{{tabular}}{{{layout}}}\n\\toprule\n{head}\n\\midrule\n{body}\n\\bottomrule\n\\end{{tabular}}\n"
            f"\\end{{adjustbox}}\n{note}\\end{{table}}\n"
        )

    def _column(self, cells: list[str], digits: int | None) -> tuple[str, list[str]]:
        """The kind of a column and its cells: text, or figures that siunitx aligns at the point."""
        if digits is None:
            return "l", [self.prose(cell) for cell in cells]
        plain = [cell.replace(",", "") for cell in cells]
        figures = [cell for cell in plain if cell != MISSING and not self._worded(cell)]
        whole = max([len(cell.split(".")[0].lstrip("-+")) for cell in figures], default=1)
        sign = "+" if any(cell.startswith(("-", "+")) for cell in figures) else ""
        shown = ["{--}" if c == MISSING else f"{{{self.escape(c)}}}" if self._worded(c) else c for c in plain]
        return f"S[table-format={sign}{whole}.{digits}]", shown

    def _worded(self, cell: str) -> bool:
        """Whether siunitx is to take a figure as text: a power of ten, a bound."""
        return "e" in cell or cell.startswith("<")

    def figure(self, figure: Figure, caption: str, word: str, position: int) -> Markup:
        del word, position
        return Markup(
            "\\begin{figure}[H]\n\\centering\n"
            f"\\includegraphics[max width=\\linewidth]{{figures/{figure.key}.pdf}}\n"
            f"\\caption{{{caption}}}\\label{{figure-{figure.key}}}\n\\end{{figure}}\n"
        )
