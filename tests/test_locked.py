"""Whether a lock fits, in a small pipeline of its own, without its cache and its generated files, as a clone has it."""

from __future__ import annotations

import shutil
import sys

import pytest
from dvc.repo import Repo

from stages import locked

PIPELINE = """
stages:
  prepare:
    cmd: mkdir data && cp code/part.py data/made.txt
    params: [size]
    deps: [code, settings.yaml]
    outs: [data]
  train:
    matrix: {seed: [1, 2, 3, 4, 5]}
    cmd: cp data/made.txt run-${item.seed}.txt
    deps: [data/made.txt, trainer.py]
    outs: ["run-${item.seed}.txt"]
  report:
    cmd: cat run-1.txt > report.md
    deps: [run-1.txt, run-2.txt]
    outs:
      - report.md: {cache: false}
"""


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    root = tmp_path_factory.mktemp("study")
    (root / "dvc.yaml").write_text(PIPELINE)
    (root / "params.yaml").write_text("size: 1\nother: 1\n")
    (root / "settings.yaml").write_text("a: 1\n")
    (root / "trainer.py").write_text("train\n")
    (root / "code").mkdir()
    (root / "code" / "part.py").write_text("part\n")
    (root / ".dvcignore").write_text("*.pyc\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        with Repo.init(str(root), no_scm=True) as repo:
            repo.reproduce()
    return root


@pytest.fixture
def clone(project, tmp_path):
    """The project without what is in the cache alone."""
    root = tmp_path / "clone"
    shutil.copytree(project, root, ignore=shutil.ignore_patterns("cache", "tmp", "data", "run-*.txt"))
    return root


def unfit(root):
    return locked.unfit(root, ["dvc.yaml"])


def test_a_clone_fits(clone):
    (clone / "code" / "part.pyc").write_text("not a dependency")
    assert unfit(clone) == {}


TRAIN = [f"train@{seed}" for seed in range(1, 6)]


@pytest.mark.parametrize(
    ("file", "old", "new", "found"),
    [
        ("code/part.py", "part", "parts", {"code": ["prepare"]}),
        ("settings.yaml", "1", "2", {"settings.yaml": ["prepare"]}),
        ("trainer.py", "train", "trains", {"trainer.py": TRAIN}),
        ("params.yaml", "size: 1", "size: 2", {"size": ["prepare"]}),
        ("params.yaml", "other: 1", "other: 2", {}),
        ("report.md", "part", "edited", {"report.md": ["report"]}),
        ("dvc.yaml", "cat run-1.txt", "cat run-2.txt", {"command": ["report"]}),
        ("dvc.yaml", "[run-1.txt, run-2.txt]", "[run-1.txt, run-3.txt]", {"run-3.txt": ["report"]}),
    ],
)
def test_what_does_not_fit_is_named(clone, file, old, new, found):
    text = (clone / file).read_text()
    assert old in text
    (clone / file).write_text(text.replace(old, new, 1))
    assert unfit(clone) == found


def test_a_committed_result_that_is_gone(clone):
    (clone / "report.md").unlink()
    assert unfit(clone) == {"report.md": ["report"]}


def test_a_lock_that_holds_half_of_a_reproduction(clone):
    """A stage was run again, and the lock of those after it is still the old one."""
    lock = clone / "dvc.lock"
    head, made, rest = lock.read_text().partition("    - path: run-2.txt\n      hash: md5\n      md5: ")
    assert made
    assert not rest.startswith("f" * 32)
    lock.write_text(head + made + "f" * 32 + rest[32:])
    assert unfit(clone) == {"run-2.txt": ["report"]}


def test_no_lock(clone):
    (clone / "dvc.lock").unlink()
    assert set().union(*unfit(clone).values()) == {"prepare", "report", *TRAIN}


@pytest.mark.parametrize(
    ("edit", "status", "out", "error"),
    [
        (None, 0, "the lock fits\n", ""),
        (
            "trainer.py",
            1,
            "trainer.py: train@1, train@2, train@3 and 2 more\n",
            "error: dvc.lock: does not fit trainer.py; run `dvc repro` and commit what it writes\n",
        ),
    ],
)
def test_command(clone, edit, status, out, error, monkeypatch, capsys):
    if edit:
        (clone / edit).write_text("edited\n")
    monkeypatch.setattr(sys, "argv", ["locked", "--root", str(clone)])
    if status:
        with pytest.raises(SystemExit, match=f"^{status}$"):
            locked.main()
    else:
        locked.main()
    assert capsys.readouterr() == (out, error)


@pytest.mark.parametrize(
    ("lock", "line"), [("stages: {", "dvc.lock"), ("<<<<<<< ours\n", "dvc.lock")], ids=["cut", "conflict"]
)
def test_a_damaged_lock(clone, lock, line, monkeypatch, capsys):
    (clone / "dvc.lock").write_text(lock)
    monkeypatch.setattr(sys, "argv", ["locked", "--root", str(clone)])
    with pytest.raises(SystemExit, match=r"^1$"):
        locked.main()
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert error.count("\n") == 1
    assert line in error


def test_a_pipeline_that_is_not_there(clone, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["locked", "--root", str(clone), "elsewhere/dvc.yaml"])
    with pytest.raises(SystemExit, match=r"^1$"):
        locked.main()
    assert capsys.readouterr().err == (
        "error: elsewhere/dvc.yaml: no stages; allowed: a dvc.yaml, from the project's root\n"
    )
