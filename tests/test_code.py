"""The code that runs are known by."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from lm.code import ROOT, TRAINING, code_of_a_run, imported, modules
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
    assert loaded <= imported(TRAINING, modules())


def test_the_stage_writes_the_checksums(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["stages.code"])
    code.main()
    found = json.loads(Path("data/code.json").read_text())
    assert found == code_of_a_run()
    assert {"stages/train.py", "lm/training/loop.py", "lm/models/gpt.py", "lm/config/run.py"} < set(found)
    assert not {"lm/code.py", "lm/errors.py", "lm/text.py", "lm/config/study.py", "lm/corpus/tokens.py"} & set(found)
