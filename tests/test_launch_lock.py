"""dvc.lock as the launcher's DVC writes it: the bytes of DVC's own, and whole at every moment."""

from __future__ import annotations

import os
import shutil

import pytest
from dvc.utils.serialize import dumps_yaml
from dvc.utils.serialize._yaml import parse_yaml_for_update  # as DVC's own writer reads the lock
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from ruamel.yaml import YAML

from lm.errors import StudyError
from lm.launch import dvc as ours
from lm.launch.dvc import with_entries
from lm.launch.record import mend_locks
from tests.toy import ROOT, Toy, toy_project

TEXTS = st.one_of(
    st.text("0123456789abcdef", min_size=1, max_size=32),
    st.sampled_from(
        ["", "1e5", "012", "0x1f", "null", "~", "yes", "12:30", "a: b", "x # y", "a & b", "two\nlines", "-"]
    ),
    st.text(max_size=12),
    st.lists(st.text("abc.=-/", min_size=1, max_size=20), min_size=1, max_size=14).map(" ".join),
)
KEYS = st.one_of(st.text("abc019.-_/", min_size=1, max_size=30), st.sampled_from(["12", "1e5", "null", "yes", "a#b"]))
"""Long ones with spaces DVC's own writer makes unreadable."""
VALUES = st.recursive(
    TEXTS | st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False),
    lambda each: st.lists(each, max_size=3) | st.dictionaries(KEYS, each, max_size=3),
    max_leaves=6,
)
ENTRIES = st.dictionaries(
    st.one_of(st.from_regex(r"[a-z]{1,6}(@[0-9a-z.]{1,6}-[0-9]{1,4})?", fullmatch=True), KEYS),
    st.builds(lambda cmd, more: {"cmd": cmd} | more, TEXTS, st.dictionaries(KEYS, VALUES, max_size=3)),
    min_size=1,
    max_size=4,
)


def by_dvc(lock: str, entries: dict) -> str:
    """What DVC's own method makes of the text."""
    data = parse_yaml_for_update(lock, "dvc.lock")
    data.setdefault("schema", "2.0")
    data.setdefault("stages", {}).update(entries)
    return dumps_yaml(data)


@settings(deadline=None)
@given(before=ENTRIES, after=ENTRIES)
@example(
    before={"a": {"cmd": "x"}, "b": {"cmd": "y"}}, after={"a": {"cmd": "z"}, "c": {"cmd": "w " * 60, "params": None}}
)
def test_a_lock_has_the_bytes_that_dvc_would_write(before, after):
    lock = by_dvc("", before)
    assume(by_dvc(lock, {}) == lock)  # of some long fractions DVC changes the last digit whenever it writes the file
    found = with_entries(lock, after)
    assert found is None or found == by_dvc(lock, after)


def test_the_study_s_own_lock_is_understood_and_given_back():
    text = (ROOT / "dvc.lock").read_text()
    stages = YAML(typ="safe").load(text)["stages"]
    assert len(stages) >= 20
    assert with_entries(text, stages) == text
    assert with_entries("", stages) == text
    changed = {
        "train@5-42": stages["train@5-42"] | {"cmd": "python -m stages.train " + "--out runs/5-42 " * 9},
        "new@1": {"cmd": "x"},
    }
    found = with_entries(text, changed)
    assert found == by_dvc(text, changed)
    assert found.count("train@5-42:") == 1


@pytest.mark.parametrize(
    "lock",
    [
        "schema: '2.0'\nstages:\n  a:\n    cmd: x # by hand\n",
        "schema: '2.0'\nstages:\n  a:\n    cmd: &x y\n  b:\n    cmd: *x\n",
        "schema: '2.0'\nstages:\n  a: {cmd: x}\n",
        "stages:\n  a:\n    cmd: x\nschema: '2.0'\n",
        "schema: '2.0'\ndatasets: []\nstages:\n  a:\n    cmd: x\n",
        "schema: '2.0'\nstages:\n  a:\n    cmd: x",
        "schema: '2.0'\nstages:\n  'a':\n    cmd: x\n",
        "schema: '2.0'\nstages:\n  \"b\":\n    cmd: x\n",
        "schema: '2.0'\nstages:\n  a:\n    cmd: x\n<<<<<<< HEAD\n",
    ],
)
def test_what_dvc_has_not_laid_out_so_is_left_to_dvc(lock):
    assert with_entries(lock, {"a": {"cmd": "z"}}) is None


@pytest.fixture
def toy(tmp_path, environment) -> Toy:
    return toy_project(tmp_path / "toy", environment, runs=2, steps=1)


def test_dvc_of_a_launch_leaves_what_dvc_leaves(toy):
    lock = toy.folder / "dvc.lock"
    told = toy.command("python", "-m", "lm.launch.dvc", "repro")
    assert told.status == 0, told.output
    assert "Generating lock file 'dvc.lock'" in told.output
    assert told.output.count("Updating lock file 'dvc.lock'") == 4
    found = lock.read_text()
    assert toy.command("git", "diff", "--quiet", "dvc.lock").status == 0, "staged, as core.autostage asks for"
    assert toy.dvc("status").output.strip().endswith("Data and pipelines are up to date.")

    lock.unlink()
    shutil.rmtree(toy.folder / ".dvc" / "cache")
    assert toy.dvc("repro", "--force").status == 0
    assert lock.read_text() == found

    lock.write_text(f"# by hand\n{found}")
    assert toy.command("python", "-m", "lm.launch.dvc", "repro", "--force", "report").status == 0
    assert lock.read_text() == f"# by hand\n{found}"
    wrong = toy.command("python", "-m", "lm.launch.dvc", "repro", "nothing"), toy.dvc("repro", "nothing")
    assert wrong[0] == wrong[1]


def test_a_merge_is_left_to_who_merges(toy, monkeypatch):
    monkeypatch.chdir(toy.folder)
    both = "<<<<<<< HEAD\nschema: '2.0'\n=======\nschema: '2.0'\n>>>>>>> other\n"
    (toy.folder / "dvc.lock").write_text(both)
    with pytest.raises(StudyError, match=r"dvc\.lock: has two sides of a merge; take one"):
        mend_locks(toy.folder, pytest.fail)
    assert (toy.folder / "dvc.lock").read_text() == both


def test_a_lock_is_whole_at_every_moment(tmp_path, monkeypatch):
    path, partial = tmp_path / "dvc.lock", tmp_path / "partial"
    path.write_text("old")
    path.chmod(0o640)

    def cut(_descriptor: int) -> None:
        assert path.read_text() == "old"
        raise OSError("no space left on device")

    monkeypatch.setattr(os, "fsync", cut)
    with pytest.raises(OSError, match="no space"):
        ours._replace(path, "new", partial)
    assert path.read_text() == "old"
    monkeypatch.undo()
    ours._replace(path, "new", partial)
    assert (path.read_text(), path.stat().st_mode & 0o777) == ("new", 0o640)
    assert not partial.exists()
