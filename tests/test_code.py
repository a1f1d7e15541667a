"""The code that runs are known by."""

from __future__ import annotations

import ast
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from lm.code import ROOT, checksum, code_of_a_run, imported, modules
from stages import code

SOURCES = {
    "lm/__init__.py": "",
    "lm/code.py": "",
    "lm/errors.py": "",
    "lm/unused.py": "",
    "lm/data.py": "import lm.errors\n",
    "lm/table.py": "NAMED = 'lm.models.gpt:GPT'\n",
    "lm/typed.py": "",
    "lm/late.py": "",
    "lm/models/__init__.py": "",
    "lm/models/gpt.py": "from lm import data\n",
    "lm/models/build.py": "import importlib\nfrom lm.table import NAMED\n",
    "stages/__init__.py": "",
    "stages/controlled_beyond.py": "",
    "stages/other.py": "import lm.unused\n",
    "stages/train.py": """from typing import TYPE_CHECKING
from lm.models.build import build
import lm.code
if TYPE_CHECKING:
    from lm.typed import T
def main():
    from lm.late import late
""",
}
DECIDE = {
    "lm/__init__.py",
    "lm/data.py",
    "lm/late.py",
    "lm/models/__init__.py",
    "lm/models/build.py",
    "lm/models/gpt.py",
    "lm/table.py",
    "stages/__init__.py",
    "stages/controlled_beyond.py",
    "stages/train.py",
}


@pytest.fixture
def tree(tmp_path):
    for path, source in SOURCES.items():
        (tmp_path / path).parent.mkdir(exist_ok=True, parents=True)
        (tmp_path / path).write_text(source)
    return tmp_path


def test_imports_are_followed_through_packages_functions_and_tables(tree):
    assert set(code_of_a_run(tree)) == DECIDE


def test_a_text_that_names_a_module_imports_it_only_for_importlib(tree):
    assert imported("lm.table", modules(tree)) == {"lm", "lm.table"}


@pytest.mark.parametrize("path", SOURCES)
def test_an_edit_changes_the_checksum_of_its_file_alone(tree, path):
    before = code_of_a_run(tree)
    (tree / path).write_text(SOURCES[path] + "x = 1\n")
    after = code_of_a_run(tree)
    assert {each for each in before if before[each] != after[each]} == {path} & DECIDE


def test_all_that_training_has_imported_is_known():
    """What Python itself has loaded after a model of every architecture was built, and every optimizer looked up."""
    script = (
        "import sys, json, stages.train; from lm.config.architectures import ARCHITECTURES; "
        "from lm.models import build; [build.entry(name) for name in ARCHITECTURES]; "
        "print(json.dumps([name for name in sys.modules if name.split('.')[0] in ('lm', 'stages')]))"
    )
    output = subprocess.run([sys.executable, "-c", script], cwd=ROOT, check=True, capture_output=True).stdout
    loaded = set(json.loads(output))
    assert {"lm.models.gpt", "lm.training.loop"} < loaded
    assert loaded <= imported("stages.train", modules())


def test_the_stage_writes_the_checksums(tmp_path, monkeypatch):
    for package in ("lm", "stages"):
        (tmp_path / package).symlink_to(ROOT / package)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["stages.code"])
    code.main()
    found = json.loads(Path("data/code.json").read_text())
    assert found == code_of_a_run()
    assert {"stages/train.py", "lm/training/loop.py", "lm/models/gpt.py", "lm/config/run.py"} < set(found)
    assert not {"lm/code.py", "lm/errors.py", "lm/text.py", "lm/config/study.py", "lm/corpus/tokens.py"} & set(found)


SAMPLE = """
'''A module.'''
from __future__ import annotations
import a.b as c, d
from . import e
from ..f import (g as h, i,)
x: int = 1_000; y = z = 0x1F; (w): float = 1e-5; v: str
"attribute"
t = u"ü\\n" 'b' "c"; s = b"\\xff" + rb'\\d'; r = f"a{{{x!r:>{y}.2f}}}" "b" f'{x=}{y:}' rf'\\d{z}'
q = (1, 2.5, 3j, True, None, ..., -1, not x, ~y, +z, 1 < 2 <= 3 != 4, x if y else z, *w,)
p = {1: 2, **x}, {3, *y}, [4, *z], x[1:2, ..., ::3], x[()], x.y.z(1, *w, k=2, **v)
o = [a for a in b if c if d for e in f], {a: b for a in b}, {a for a in b}, (a async for a in b)
n = lambda a, /, b=1, *c, d, e=2, **f: (yield a); m = (l := 1) and 2 or 3
x += 1; x **= 2; x @= y; x //= z; x, (y, *z) = w; del x, y[0], z.a
k = a + b - c * d / e // f % g ** h @ i & j | k ^ l << m >> n
a is b, a is not c, a in d, a not in e, a == b, a > b, a >= c
@decorated(1)
@other
class A(B, metaclass=C):
    'doc'
    u: list[int] = field(default=1)
    @property
    def v(self, a: int, /, b: str = "x", *args: int, c, d=None, **kwargs) -> int:
        'doc'
        global g1, g2
        nonlocal n1
        assert a, "m"
        return a
    async def w(self):
        async with a as b, c:
            await d
        async for e in f: yield g
        else: pass
        yield
        return
def f(): ...
if a: b
elif c: d
else: e
while a:
    if b: break
    continue
else: c
for a, b in c: pass
try: a
except (B, C) as d: raise E(d) from d
except F: raise
else: g
finally: h
try: a
except* B: c
with (a as b, c): yield from d
match a:
    case 1 | -2.5 | "x" | None | True: b
    case [c, *_] if d: e
    case {"k": v, **rest}: f
    case P(q, r=s) as t: u
    case m.n: w
    case _: pass
"""


def test_every_version_of_python_computes_the_same():
    """Compared with 3.11, 3.12, 3.13 and 3.14 when it was written."""
    assert checksum(SAMPLE.encode()) == "e292c4c9fe15be759f396a400229ca7d5536182e4e87e775bfa8a17c4f66b0c2"


def test_the_sample_has_all_syntax_of_the_code():
    def kinds(source: bytes | str) -> set[str]:
        return {type(node).__name__ for node in ast.walk(ast.parse(source))}

    assert set().union(*(kinds(path.read_bytes()) for path in modules().values())) <= kinds(SAMPLE)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("x = 1", "# why\nx = 1  # what\n"),
        ("x = 1", "x = 1\n'what x is'\n"),
        ("def f(a): return a", "def f(a):\n    'doc'\n\n    return a"),
        ("class A: 'doc'", "class A:\n    pass"),
        ("def f(): ...", "def f():\n    'doc'"),
        ("if a: b\nelse: pass", "if a:\n    b"),
        ("f(a, b)", "f(\n    a,\n    b,\n)"),
        ("x = 'it is' \"n't\"", 'x = ("it"\n" isn\\x27t")'),
        ("x = f'{a}b' 'c'", 'x = f"{ a }" f"bc"'),
        ("x = 1000, 0XFF, 1E3", "x = (1_000, 0xff, 1000.0)"),
        ("x = a + b * c", "x = (a + (b * c))"),
        ("x = a and \\\n b", "x = (a\n and b)"),
        ("a = 1; b = 2", "a = 1\nb = 2"),
        ("x = 'ä'", "# coding: latin-1\nx = '\\xe4'"),
        ("with a, b: c", "with (\n    a,\n    b,\n):\n\tc"),
    ],
)
def test_comments_docstrings_and_formatting_have_no_part(before, after):
    assert checksum(before.encode()) == checksum(after.encode())
    assert checksum(before.encode()) == checksum(before.replace("\n", "\r\n").encode("utf-8-sig"))


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("x = 1", "x = 2"),
        ("x = 1", "x = 1.0"),
        ("x = 1", "x = True"),
        ("x = 1", "x = '1'"),
        ("x = 0", "x = None"),
        ("x = 'a'", "x = b'a'"),
        ("x = 'a b'", "x = 'a  b'"),
        ("x = -1", "x = 1"),
        ("x = a + b", "x = a - b"),
        ("x = a + b", "x = b + a"),
        ("x = a + b * c", "x = (a + b) * c"),
        ("x = a < b", "x = a <= b"),
        ("x = a", "x += a"),
        ("x = (a)", "x = (a,)"),
        ("x = [a]", "x = {a}"),
        ("x = a, b", "x = ab"),
        ("x = 'a', 'b'", "x = 'a' 'b'"),
        ("x = f'{a}'", "x = f'{a!r}'"),
        ("x = f'{a}'", "x = '{a}'"),
        ("x = f'{a}b'", "x = f'{b}a'"),
        ("x = f'{a}b{c}'", "x = f'{a}{c}b'"),
        ("x = f'{a:.2f}'", "x = f'{a:.3f}'"),
        ("def f(a=1): b", "def f(a=2): b"),
        ("def f(a, b): c", "def f(b, a): c"),
        ("def f(a, *, b): c", "def f(a, b): c"),
        ("def f(*, a, b=1): c", "def f(*, a=1, b): c"),
        ("def f(a): b", "async def f(a): b"),
        ("def f(a): b", "def g(a): b"),
        ("def f(a: int): b", "def f(a: float): b"),
        ("@a\ndef f(): b", "def f(): b"),
        ("@a\n@b\ndef f(): c", "@b\n@a\ndef f(): c"),
        ("class A:\n    x: int = 1", "class A:\n    x = 1"),
        ("class A(B): x = 1", "class A(C): x = 1"),
        ("{a: b, **c}", "{**c, a: b}"),
        ("f(a, b=c)", "f(a, c=b)"),
        ("f(*a)", "f(**a)"),
        ("import a, b", "import b, a"),
        ("import a.b", "import a.b as a"),
        ("from . import a", "from .. import a"),
        ("if a: b\nc", "if a:\n    b\n    c"),
        ("if a: b\nelse: c", "if not a: b\nelse: c"),
        ("if a: b\nif c: d", "if a: b\nelif c: d"),
        ("for a in b: c", "while a in b: c"),
        ("for a in b: c\nd", "for a in b: c\nelse: d"),
        ("x = y[1:]", "x = y[:1]"),
        ("x = y[1:2]", "x = y[1, 2]"),
        ("x = [a for a in b]", "x = (a for a in b)"),
        ("x = [a for a in b if c]", "x = [a for a in b if d]"),
        ("try: a\nexcept B: c", "try: a\nexcept* B: c"),
        ("a\nb", "b\na"),
        ("a", ""),
        ("def f(): return", "def f(): pass"),
        ("a.b = 1", "a.c = 1"),
    ],
)
def test_an_edit_of_what_code_says_changes_its_checksum(before, after):
    assert checksum(before.encode()) != checksum(after.encode())


def test_reformatting_the_code_of_a_run_changes_no_checksum(tmp_path):
    """Shorter lines, other quotes, no trailing commas."""
    for package in ("lm", "stages"):
        shutil.copytree(ROOT / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__"))
    options = "line-length=60", "format.quote-style='single'", "format.skip-magic-trailing-comma=true"
    ruff = [sys.executable, "-m", "ruff", "format", "--quiet", "--isolated", "--target-version=py311"]
    subprocess.run([*ruff, *(f"--config={option}" for option in options), str(tmp_path)], check=True)
    assert (tmp_path / "stages/train.py").read_bytes() != (ROOT / "stages/train.py").read_bytes()
    assert code_of_a_run(tmp_path) == code_of_a_run()
