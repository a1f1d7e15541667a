"""The README shows results too; they must be the committed report's."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

ROOT = Path(__file__).parent.parent


def committed(name: str) -> str:
    return subprocess.check_output(["git", "show", f"HEAD:{name}"], cwd=ROOT, text=True)


def first_table(text: str) -> list[str]:
    found = re.search(r"(?:^\|.*\n)+", text, flags=re.MULTILINE)
    return found.group().splitlines()


def test_the_table_is_the_reports():
    shown = committed("README.md").split("<!-- results -->")[1].split("<!-- /results -->")[0]
    assert first_table(shown) == first_table(committed("reports/report.md"))


def test_what_the_readme_links_to_is_there():
    links = re.findall(r"\]\(((?!https?:)[^)#]+)\)", committed("README.md"))
    assert links
    tracked = subprocess.check_output(["git", "ls-files"], cwd=ROOT, text=True).splitlines()
    assert set(links) <= set(tracked)
