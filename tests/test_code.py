"""The file by which runs name the code that they are trained by."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
import yaml

from lm.code import checksums, code_of_a_run
from lm.errors import StudyError
from stages import code

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize("content", ["stages: {}\n", "stages: [\n", "- code\n"])
def test_a_pipeline_without_such_a_stage_is_told(tmp_path, content):
    pipeline = tmp_path / "dvc.yaml"
    pipeline.write_text(content)
    with pytest.raises(StudyError, match=r"dvc\.yaml: damaged .*a stage `code`"):
        code_of_a_run(pipeline)


def test_an_edit_of_code_changes_its_checksum_alone(tmp_path):
    pipeline, module, other = tmp_path / "dvc.yaml", tmp_path / "b.py", tmp_path / "room" / "a.py"
    other.parent.mkdir()
    module.write_text("x = 1\n")
    other.write_text("y = 1\n")
    (other.parent / "a.txt").write_text("no code")
    pipeline.write_text(yaml.safe_dump({"stages": {"code": {"deps": [str(module), str(other.parent)]}}}))
    before = checksums(code_of_a_run(pipeline))
    assert set(before) == {module.as_posix(), other.as_posix()}
    other.write_text("y = 2\n")
    after = checksums(code_of_a_run(pipeline))
    assert {path for path in before if before[path] != after[path]} == {other.as_posix()}


def test_what_takes_the_checksums_is_none_of_them(tmp_path, monkeypatch):
    """Else a word in its docstring would train every run anew."""
    for name in ("dvc.yaml", "lm", "stages"):
        (tmp_path / name).symlink_to(ROOT / name)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["stages.code"])
    code.main()
    found = json.loads(Path("data/code.json").read_text())
    assert {"stages/train.py", "lm/training/loop.py", "lm/models/gpt.py", "lm/errors.py"} < set(found)
    assert not {"stages/code.py", "lm/code.py"} & set(found)
