"""One text, several formats: the templates are written once and set through one writer each.

The templates hold every sentence. They see the findings, and through ``Document`` the tables, figures and formats.
Same inputs give the same bytes: nothing here knows the date or the machine that renders.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from lm.errors import StudyError
from lm.report import text
from lm.report.chart import Figure
from lm.report.html import Html
from lm.report.latex import Latex
from lm.report.markdown import Markdown
from lm.report.table import Table, worded
from lm.report.writer import Writer, one_line
from lm.results.names import natural

WRITERS: tuple[type[Writer], ...] = (Markdown, Latex, Html)
_PROMISE = "\ufdd0{}\ufdd1"
"""Stands for the number of a table or figure that a reference names before the document calls it."""


@functools.cache
def environment(templates: Path, kind: type[Writer]) -> jinja2.Environment:
    """Templates as a writer sets them: what they print is made safe in its format, what macros return stands."""
    writer = kind()

    @jinja2.pass_context  # else what is constant would be escaped for HTML when the template is compiled
    def finalize(context: jinja2.runtime.Context, value: Any) -> Markup:
        del context
        return writer.text(value)

    made = jinja2.Environment(
        loader=jinja2.FileSystemLoader(templates),
        undefined=jinja2.StrictUndefined,
        autoescape=True,  # macros return Markup: escaped once, by finalize, and never again
        finalize=finalize,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )

    def listed(items: Iterable[Any], conjunction: str = "and") -> Markup:
        return Markup(text.listed((writer.prose(item) for item in items), conjunction))

    def capital(value: Any) -> Markup:
        return Markup(text.capital(writer.prose(value)))

    made.filters |= {
        "capital": capital,
        "counted": text.counted,
        "each": lambda items, macro, *more: [writer.prose(macro(item, *more)) for item in items],
        "flat": lambda items, name: [each for item in items for each in getattr(item, name)],
        "ids": lambda experiments: sorted((each.id for each in experiments), key=natural),
        "joined": lambda items: Markup("; ".join(writer.prose(item) for item in items)),
        "known": text.known,
        "listed": listed,
        "log_percent": lambda value: text.percent(text.change(value)),
        "number": text.number,
        "rate": "{:g}".format,
        "percent": text.percent,
        "ppl": lambda loss, digits=None: text.perplexity(text.power(loss), digits),
        "seconds": text.seconds,
        "signed_range": text.signed_range,
        "sum_of": lambda items, name: sum(len(getattr(item, name)) for item in items),
        "whole": text.whole,
    }
    made.globals |= {
        "code": writer.code,
        "strong": writer.strong,
        "emphasis": writer.emphasis,
        "document": writer.document,
    }
    return made


class Document:
    """What a template may call. Tables and figures are numbered in the order in which it calls them."""

    def __init__(
        self,
        writer: Writer,
        templates: jinja2.Environment,
        tables: Mapping[str, Table],
        figures: Mapping[str, Figure],
        prefix: str = "",
    ) -> None:
        self._writer = writer
        self._tables, self._figures = tables, figures
        self._positions: dict[str, dict[str, int]] = {"table": {}, "figure": {}}
        self._words = templates.get_template(f"{prefix}words.j2").module
        self._own: dict[str, Any] = {
            kind: templates.get_template(f"{prefix}{kind}s.j2").module for kind in self._positions
        }

    def has(self, kind: str, key: str) -> bool:
        """Whether the results have this table or figure."""
        return key in {"table": self._tables, "figure": self._figures}[kind]

    def heading(self, level: int, title: Any, kept_with: float = 0.0) -> Markup:
        return self._writer.heading(level, title, kept_with)

    def paragraph(self, *sentences: Any) -> Markup:
        """Sentences that have something to say, on one line; nothing where none has."""
        said = self._said(sentences)
        return self._writer.paragraph(Markup(" ".join(said))) if said else Markup("")

    def items(self, sentences: Iterable[Any]) -> Markup:
        """A bullet for each sentence that has something to say."""
        said = self._said(sentences)
        return self._writer.items(said) if said else Markup("")

    def _said(self, sentences: Iterable[Any]) -> list[Markup]:
        return [line for line in map(self._writer.prose, sentences) if line]

    def table(self, key: str) -> Markup:
        """The table, or nothing where the results have none of it."""
        if key not in self._tables:
            return Markup("")
        table, own = self._tables[key], self._own["table"]
        return self._writer.table(
            worded(
                table,
                own.titles,
                self._words,
                caption=one_line(getattr(own, f"{key}_caption")(table.facts)),
                note=one_line(getattr(own, f"{key}_note")(table.facts)),
                word=own.word,
                position=self._number("table", key),
            )
        )

    def figure(self, key: str) -> Markup:
        """The figure, or nothing where the results have none of it."""
        if key not in self._figures:
            return Markup("")
        figure, own = self._figures[key], self._own["figure"]
        caption = one_line(getattr(own, f"{figure.kind}_caption")(figure.facts))
        return self._writer.figure(figure, caption, own.word, self._number("figure", key))

    def reference(self, kind: str, key: str) -> Markup:
        """ "Table 3", wherever in the document it stands; the table or figure must be one that is called."""
        if not self.has(kind, key):
            raise KeyError(f"no {kind} '{key}' to refer to: ask doc.has first")
        return self._writer.reference(self._own[kind].word, f"{kind}-{key}", _PROMISE.format(f"{kind}:{key}"))

    def passages(self) -> Markup:
        """Where the format takes in the sample texts, if it can take in what stands outside the report."""
        return self._writer.passages()

    def contents(self) -> Markup:
        """The headings so far, in a format that lists them itself."""
        return self._writer.contents()

    def head(self) -> Markup:
        """What a format needs to be read by, such as a style, set into its frame by the frame itself."""
        return self._writer.head()

    def foot(self) -> Markup:
        """The same for what comes after the text."""
        return self._writer.foot()

    def block(self, value: str, language: str = "") -> Markup:
        return self._writer.block(value, language)

    def quote(self, value: str) -> Markup:
        """A passage as it was written, line by line."""
        return self._writer.quote(value.splitlines())

    def fulfil(self, page: str) -> str:
        """The page with the numbers that references promised."""

        def position(promise: re.Match[str]) -> str:
            kind, key = promise.group(1).split(":", 1)
            if key not in self._positions[kind]:
                raise KeyError(f"{kind} '{key}' is referred to, and the document does not call it")
            return str(self._positions[kind][key])

        return re.sub(_PROMISE.format("(.*?)"), position, page)

    def _number(self, kind: str, key: str) -> int:
        positions = self._positions[kind]
        if key in positions:
            raise ValueError(f"the document calls {kind} '{key}' twice")
        return positions.setdefault(key, 1 + len(positions))


def render(
    name: str,
    templates: Path,
    writer: type[Writer],
    context: Mapping[str, Any],
    tables: Mapping[str, Table] | None = None,
    figures: Mapping[str, Figure] | None = None,
    prefix: str = "",
) -> str:
    """``<name>.<suffix>.j2`` of ``templates``, set by ``writer``.

    Words, tables' and figures' captions come from ``<prefix>words.j2``, ``<prefix>tables.j2``, ``<prefix>figures.j2``.

    Raises StudyError naming template and line where a template can't be read.
    """
    made = environment(templates, writer)
    with _readable(templates):
        document = Document(writer(), made, tables or {}, figures or {}, prefix)
        page = made.get_template(f"{name}.{writer.suffix}.j2").render(doc=document, **context)
    return re.sub(r"\n{3,}", "\n\n", document.fulfil(page)).strip() + "\n"


def words(templates: Path, name: str) -> Any:
    """The plain words of a template, for what is drawn rather than set; raises StudyError as :func:`render` does."""
    with _readable(templates):
        return environment(templates, _Plain).get_template(name).module


@contextmanager
def _readable(templates: Path) -> Iterator[None]:
    try:
        yield
    except jinja2.TemplateSyntaxError as error:
        raise StudyError(f"{templates / (error.name or '')}, line {error.lineno}: {error.message}") from None
    except jinja2.TemplateNotFound as error:
        raise StudyError(f"{templates / str(error.name)}: no such template; it belongs to the repository") from None


class _Plain(Markdown):
    """Text as it is: figures have their own way of showing what a font lacks."""

    def escape(self, plain: str) -> Markup:
        return Markup(plain)
