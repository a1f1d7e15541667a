"""What a format must be able to set. A further one is one more subclass and one more frame of templates.

Text goes through ``text``, which makes it safe in the format; what is ``Markup`` has been through it and stands.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar

from markupsafe import Markup

from lm.report.chart import Figure
from lm.report.table import Worded

BEFORE_UNIT = re.compile(r"(?<=\d) (?=\\?%|(?:s|min|h|MiB)\b)")
"""The blank between a figure and its unit, in text that has been made safe: no line ends there."""


def one_line(text: str) -> str:
    """Templates break lines where they like; a paragraph, an item or a caption is one line."""
    return " ".join(text.split())


def printable(text: str) -> str:
    """Control characters can't stand in any format: they show as a replacement mark."""
    return "".join(c if c in "\n\0" or c.isprintable() or c == "\u00a0" else " " if c.isspace() else "?" for c in text)


class Writer(ABC):
    """One document format."""

    suffix: ClassVar[str]

    def text(self, value: Any) -> Markup:
        """A value made safe; ``Markup`` unchanged. Numbers other than counts must have been formatted before."""
        if isinstance(value, Markup):
            return value
        if isinstance(value, bool) or not isinstance(value, str | int):
            raise TypeError(f"a template prints {value!r}: format it first")
        return self.escape(printable(str(value)))

    def prose(self, value: Any) -> Markup:
        """A value on one line."""
        return Markup(one_line(self.text(value)))

    @abstractmethod
    def escape(self, plain: str) -> Markup: ...

    @abstractmethod
    def heading(self, level: int, title: Any, kept_with: float = 0.0) -> Markup: ...

    @abstractmethod
    def strong(self, value: Any) -> Markup: ...

    @abstractmethod
    def emphasis(self, value: Any) -> Markup: ...

    @abstractmethod
    def code(self, value: Any) -> Markup: ...

    @abstractmethod
    def document(self, title: str, place: str) -> Markup:
        """Another document of this project: ``place`` is its path from this one, without the format's suffix."""

    @abstractmethod
    def block(self, value: str, language: str = "") -> Markup: ...

    @abstractmethod
    def paragraph(self, value: Markup) -> Markup: ...

    @abstractmethod
    def items(self, values: Sequence[Markup]) -> Markup: ...

    @abstractmethod
    def quote(self, lines: Sequence[str]) -> Markup: ...

    def passages(self) -> Markup:
        """Where the document takes in the sample texts; most formats have no such place."""
        return Markup("")

    def contents(self) -> Markup:
        """The headings set so far; most formats leave listing them to the reader's program."""
        return Markup("")

    def head(self) -> Markup:
        """What the format's frame takes in before the text; most need nothing."""
        return Markup("")

    def foot(self) -> Markup:
        """What the format's frame takes in after the text."""
        return Markup("")

    @abstractmethod
    def reference(self, word: str, key: str, position: str) -> Markup: ...

    @abstractmethod
    def table(self, worded: Worded) -> Markup: ...

    @abstractmethod
    def figure(self, figure: Figure, caption: str, word: str, position: int) -> Markup: ...
