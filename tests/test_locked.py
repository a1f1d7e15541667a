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
    cmd: mkdir -p data/texts/deep && cp code/part.py data/texts/made.txt && cp settings.yaml data/texts/deep/made.txt
    params: [size]
    deps: [code, settings.yaml]
    outs: [data/texts]
  train:
    matrix: {seed: [1, 2, 3, 4, 5]}
    cmd: >-
      mkdir -p runs/${item.seed} && cp data/texts/made.txt run-${item.seed}.txt &&
      echo ${item.seed} > runs/${item.seed}/weights.txt
    deps: [data/texts/made.txt, trainer.py]
    outs: ["run-${item.seed}.txt", "runs/${item.seed}/weights.txt"]
  table:
    cmd: cat runs/*/weights.txt data/texts/deep/made.txt > table.txt
    deps: [runs, data, data/texts/deep]
    outs:
      - table.txt: {cache: false}
  report:
    cmd: cat run-1.txt > report.md
    deps: [run-1.txt, run-2.txt]
    outs:
      - report.md: {cache: false}
"""


RUNS, DATA = (f"{folder} (may hold only what stages make)" for folder in ("runs", "data"))


def reproduce(root, **options):
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        with Repo(str(root)) as repo:
            repo.reproduce(**options)


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
        Repo.init(str(root), no_scm=True).close()
    reproduce(root)
    return root


@pytest.fixture
def clone(project, tmp_path):
    """The project without what is in the cache alone."""
    root = tmp_path / "clone"
    shutil.copytree(project, root, ignore=shutil.ignore_patterns("cache", "tmp", "data", "run*"))
    return root


@pytest.fixture
def workspace(project, tmp_path):
    """The project with its cache and all that its stages made."""
    return shutil.copytree(project, tmp_path / "workspace")


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


def test_a_workspace_with_its_runs_fits(workspace):
    assert unfit(workspace) == {}


@pytest.mark.parametrize(
    ("out", "found"),
    [("run-2.txt", {"run-2.txt": ["report"]}), ("runs/2/weights.txt", {RUNS: ["table"]})],
)
def test_a_lock_that_holds_half_of_a_reproduction(clone, out, found):
    """A stage was run again, and the lock of those after it is still the old one."""
    lock = clone / "dvc.lock"
    head, made, rest = lock.read_text().partition(f"    - path: {out}\n      hash: md5\n      md5: ")
    assert made
    assert not rest.startswith("f" * 32)
    lock.write_text(head + made + "f" * 32 + rest[32:])
    assert unfit(clone) == found


@pytest.mark.parametrize(
    ("file", "found"),
    [
        ("code/part.py", {"data/texts/made.txt": TRAIN, DATA: ["table"]}),
        ("settings.yaml", {"data/texts/deep": ["table"], DATA: ["table"]}),
    ],
)
def test_a_part_of_an_output_is_compared_where_the_cache_has_its_list(workspace, file, found):
    (workspace / file).write_text("edited: 1\n")
    reproduce(workspace, targets=["prepare"], single_item=True)
    assert unfit(workspace) == found
    shutil.rmtree(workspace / ".dvc" / "cache")
    assert unfit(workspace) == {}


def test_a_folder_of_outputs_holds_nothing_else(workspace):
    (workspace / "runs" / "former").mkdir()
    (workspace / "runs" / "former" / "weights.txt").write_text("of a removed experiment")
    assert unfit(workspace) == {}
    reproduce(workspace)
    assert unfit(workspace) == {RUNS: ["table"]}


def test_no_lock(clone):
    (clone / "dvc.lock").unlink()
    assert set().union(*unfit(clone).values()) == {"prepare", "table", "report", *TRAIN}


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
