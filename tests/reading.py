"""Reading a rendered report back: its prose, its tables, the sentences' experiment lists."""

from __future__ import annotations

import re
from dataclasses import dataclass, field


@dataclass
class Page:
    """A Markdown report: its lines of prose (paragraphs, bullets, captions, notes), and its tables by caption."""

    prose: list[str] = field(default_factory=list)
    tables: dict[str, list[dict[str, str]]] = field(default_factory=dict)

    @property
    def text(self) -> str:
        return "\n".join(self.prose)

    def table(self, opening: str) -> list[dict[str, str]]:
        """The rows of the table whose caption begins so; none where the report has none."""
        return next((rows for caption, rows in self.tables.items() if caption.startswith(opening)), [])


def read(markdown: str) -> Page:
    """Take a rendered report apart; code blocks are left out."""
    page = Page()
    body = re.sub(r"^(`{3,})\w*\n.*?^\1$", "", markdown, flags=re.DOTALL | re.MULTILINE)
    caption, heads = "", []
    for line in body.splitlines():
        if line.startswith("|"):
            cells = [re.sub(r"\\(.)", r"\1", cell.strip()) for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
            if set(line) <= set("|-: "):
                continue
            if not heads:
                heads = _distinct(cells)
                continue
            page.tables[caption].append({head: cell.strip("*") for head, cell in zip(heads, cells, strict=True)})
            continue
        heads = heads if not line else []
        found = re.match(r"\*\*Table \d+\.\*\* (.*)", line)
        if found:
            caption, heads = found.group(1), []
            assert caption not in page.tables, "two tables of one caption"
            page.tables[caption] = []
        if line and not line.startswith(("#", "![")):
            page.prose.append(line)
    return page


def _distinct(heads: list[str]) -> list[str]:
    """Headings that repeat ("from", "to", "ours", "±") told apart by their place."""
    return [head if heads.count(head) == 1 else f"{head} {index}" for index, head in enumerate(heads)]


def plain(line: str) -> str:
    """A line of prose without its code and escapes."""
    return re.sub(r"\\(.)", r"\1", re.sub(r"(`+).*?\1", "code", line))


def ids(listed: str) -> set[str]:
    """``5, 6 and 11`` as a set."""
    return set(re.split(r", | and ", listed))


def figure(cell: str) -> float | None:
    """A table's figure; None for a dash."""
    return None if cell == "–" else float(cell.replace(",", ""))
