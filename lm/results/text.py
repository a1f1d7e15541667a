"""Numbers and words made safe for the two formats the report comes in.

Templates hold one text for both. What they print goes through a ``Writer``: values are escaped unless they are
``Raw``, that is, already written in the format.
"""

from __future__ import annotations

import math
import re
import unicodedata
from typing import ClassVar

import pandas as pd

MISSING = "–"


class Raw(str):
    """Text already in the output format."""


def number(value, digits: int = 1) -> str:
    """A figure with a fixed number of decimals; a dash for what a run does not have."""
    if value is None or pd.isna(value) or not math.isfinite(value):
        return MISSING
    text = f"{value:.{digits}f}"
    return text.lstrip("-") if float(text) == 0 else text


def whole(value) -> str:
    """The nearest integer, in groups of three."""
    return MISSING if value is None or pd.isna(value) else f"{round(value):,}"


def perplexity(value) -> str:
    """A perplexity in a sentence: three figures below a thousand, none after the point beyond."""
    if value is None or pd.isna(value):
        return MISSING
    return number(value, 2 if value < 10 else 1 if value < 1000 else 0)


def percent(value, digits: int = 1) -> str:
    """A size in percent; its direction is the sentence's business."""
    return MISSING if value is None or pd.isna(value) else f"{number(abs(value), digits)} %"


def signed(value, digits: int = 2) -> str:
    text = number(value, digits)
    return text if text == MISSING or text.startswith("-") or float(text) == 0 else f"+{text}"


class Markdown:
    """GitHub's Markdown."""

    suffix = "svg"

    def text(self, value) -> Raw:
        if isinstance(value, Raw):
            return value
        plain = _printable(str(value))
        plain = re.sub(r"([\\`*_\[\]|~$])", r"\\\1", plain)
        plain = plain.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
        return Raw(re.sub(r"^(\s*)([#+-]|\d+[.)])(?=\s)", r"\1\\\2", plain, flags=re.MULTILINE))

    def heading(self, level: int, title, kept_with: float = 0.0) -> Raw:
        del kept_with
        return Raw(f"{'#' * level} {self.text(title)}\n")

    def strong(self, value) -> Raw:
        return Raw(f"**{self.text(value)}**")

    def emphasis(self, value) -> Raw:
        return Raw(f"*{self.text(value)}*")

    def code(self, value) -> Raw:
        plain = _printable(str(value)).replace("\n", " ")
        fence = "`" * (1 + max((len(run) for run in re.findall(r"`+", plain)), default=0))
        pad = " " if "`" in plain else ""
        return Raw(f"{fence}{pad}{plain}{pad}{fence}")

    def block(self, value: str, language: str = "") -> Raw:
        fence = "`" * max(3, 1 + max((len(run) for run in re.findall(r"`+", value)), default=0))
        return Raw(f"{fence}{language}\n{value.rstrip()}\n{fence}\n")

    def items(self, values) -> Raw:
        return Raw("".join(f"- {self.text(value)}\n" for value in values))

    def reference(self, kind: str, key: str, position: int) -> Raw:
        del key
        return Raw(f"{kind.capitalize()} {position}")


class Latex:
    """LaTeX for pdfTeX: what its fonts can't print is spelled as its code point, so that any text compiles."""

    suffix = "pdf"
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

    def text(self, value) -> Raw:
        return value if isinstance(value, Raw) else self._escaped(str(value))

    def _escaped(self, value: str) -> Raw:
        escaped = "".join(map(self._character, _printable(value))).replace("--", "-{}-")
        return Raw(re.sub(r"(?<=\d) (?=\\%)", "~", escaped))

    def _character(self, character: str) -> str:
        if character in self._special:
            return self._special[character]
        if character == "\n" or character.isascii():
            return character
        composed = unicodedata.normalize("NFC", character)
        if "À" <= composed <= "ÿ" or composed in self._letters:
            return composed
        return rf"{{\ttfamily [U+{ord(character):04X}]}}\allowbreak{{}}"

    def heading(self, level: int, title, kept_with: float = 0.0) -> Raw:
        """``kept_with``: of the page's height, what must fit below or the heading goes to the next page."""
        command = {2: "section", 3: "subsection", 4: "subsubsection"}[level]
        need = f"\\Needspace{{{kept_with:g}\\textheight}}\n" if kept_with else ""
        return Raw(f"{need}\\{command}{{{self.text(title)}}}\n")

    def strong(self, value) -> Raw:
        return Raw(rf"\textbf{{{self.text(value)}}}")

    def emphasis(self, value) -> Raw:
        return Raw(rf"\emph{{{self.text(value)}}}")

    def code(self, value) -> Raw:
        breakable = re.sub(r"([ =./@,:_-])", "\\1\0", str(value))
        return Raw(rf"\texttt{{{self.text(breakable).replace(chr(0), chr(92) + 'allowbreak{}')}}}")

    def block(self, value: str, language: str = "") -> Raw:
        del language
        plain = "".join(c if c == "\n" or (c.isascii() and c.isprintable()) else "?" for c in value.rstrip())
        return Raw(f"\\begin{{Verbatim}}\n{plain}\n\\end{{Verbatim}}\n")

    def items(self, values) -> Raw:
        lines = "".join(f"  \\item {self.text(value)}\n" for value in values)
        return Raw(f"\\begin{{itemize}}\n{lines}\\end{{itemize}}\n" if lines else "")

    def reference(self, kind: str, key: str, position: int) -> Raw:
        del position
        return Raw(rf"{kind.capitalize()}~\ref{{{kind}:{key}}}")


Writer = Markdown | Latex


def _printable(text: str) -> str:
    """Control characters can't stand in either format: they show as a replacement mark."""
    return "".join(c if c in "\n\0" or c.isprintable() or c == "\u00a0" else " " if c.isspace() else "?" for c in text)
