"""What is submitted to SLURM, in which order and of what size; stand-ins take the place of SLURM's commands."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from lm.errors import StudyError
from lm.launch import session, slurm
from lm.launch.plan import Plan, Run
from lm.launch.settings import Settings
from lm.launch.stopping import Stop
from lm.launch.work import Work

COMMANDS = {
    "sbatch": """
number=$(( $(cat number 2>/dev/null || echo 0) + 1 ))
echo $number > number
echo "$@" >> submitted
[ "$number" = "$(cat refused 2>/dev/null)" ] && echo "QOSMaxSubmitJobPerUserLimit" >&2 && exit 1
echo $number
""",
    "squeue": "cat queue",
    "scancel": 'echo "$@" > cancelled',
}


@pytest.fixture
def root(tmp_path, monkeypatch) -> Path:
    programs = tmp_path / "bin"
    programs.mkdir()
    for name, text in COMMANDS.items():
        (programs / name).write_text(f"#!/bin/sh\n{text}\n")
        (programs / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "queue").touch()
    (tmp_path / ".launch").mkdir()
    return tmp_path


def run(name: str, *after: str, upstream: str = "configure") -> Run:
    return Run(
        target=f"train@{name}",
        folder=Path("runs", name),
        config=Path("c"),
        tokens=Path("t"),
        after=frozenset(f"train@{each}" for each in after),
        upstream=frozenset([upstream]),
    )


TRIALS = [run("a-7"), run("b-7")]
CONFIRMED = [run("best-43", "a-7", "b-7", upstream="choose")]
PLAN = Plan(("dvc.yaml",), (*TRIALS, *CONFIRMED))


def submit(root: Path) -> list[str]:
    return slurm.submit(root, root / "logs", PLAN, [TRIALS, CONFIRMED], Settings(engine="slurm"), 2, False)


def test_a_wave_waits_for_the_one_before_and_for_what_lies_between(root):
    told = submit(root)
    jobs = [line.split() for line in (root / "submitted").read_text().splitlines()]
    assert [Path(words[-1]).stem for words in jobs] == ["runs-0", "between-1", "runs-1", "report"]
    waits = [[word for word in words if word.startswith("--dependency")] for words in jobs]
    assert waits == [[], ["--dependency=afterok:1"], ["--dependency=afterok:2"], ["--dependency=afterany:1:2:3"]]
    assert all("--kill-on-invalid-dep=yes" in words for words in jobs), "else a failure leaves the rest in the queue"
    assert "repro choose" in (root / ".launch" / "slurm" / "between-1.sh").read_text()
    assert told[-1] == "to see how far: squeue --jobs=1,2,3,4; to stop: scancel 1 2 3 4"
    (root / "queue").write_text("3\n4\n")
    with pytest.raises(StudyError, match=r"in the queue: 3, 4; wait for them, or `scancel 3 4`"):
        slurm.refuse_beside(root)
    (root / "queue").write_text("")
    slurm.refuse_beside(root)


def test_where_slurm_refuses_nothing_stays_submitted_and_what_does_is_known(root):
    (root / "refused").write_text("3")
    with pytest.raises(StudyError, match="sbatch: QOSMaxSubmitJobPerUserLimit"):
        submit(root)
    assert (root / "cancelled").read_text() == "1 2\n"
    (root / "queue").write_text("1\n")
    with pytest.raises(StudyError, match="in the queue: 1;"):
        slurm.refuse_beside(root)


@pytest.mark.parametrize("content", ['{"jobs": ["1"', "{}", "[]", '{"jobs": 3}'])
def test_a_damaged_record_of_jobs_is_one_line(root, content):
    (root / ".launch" / "slurm.json").write_text(content)
    with pytest.raises(StudyError, match=r"slurm\.json: damaged \(.*\); remove it once no job"):
        slurm.refuse_beside(root)


@pytest.mark.parametrize("stale", [{"a-7"}, {"best-43"}, set()])
def test_the_first_runs_that_are_not_done_are_the_first_wave(root, monkeypatch, stale):
    made: list[list[str]] = []
    sent: list[tuple[list[list[str]], int, bool]] = []
    ended: list[list[str]] = []

    def works(_root: Path, runs: list[Run]) -> dict[str, Work]:
        return {each.target: Work(threads=4, cuda=True, epochs=1, operations=1.0) for each in runs}

    def sending(*arguments: object) -> list[str]:
        _root, _logs, _plan, waves, _settings, threads, cuda = arguments
        sent.append(([[each.name for each in wave] for wave in waves], threads, cuda))
        return []

    monkeypatch.setattr(session, "_upstream", lambda _root, runs, _stop: made.append(session.upstream_of(runs)))
    monkeypatch.setattr(session, "changed", lambda _root, runs: [each for each in runs if each.name in stale])
    monkeypatch.setattr(session, "read_work", works)
    monkeypatch.setattr(session, "run_here", lambda command, *_: ended.append(command) or 0)
    monkeypatch.setattr(slurm, "submit", sending)
    assert session._submit(root, PLAN, Settings(engine="slurm"), Stop()) == 0
    if stale == {"a-7"}:
        assert sent == [([["a-7"], ["best-43"]], 4, True)]
        assert made == [["configure"]]
    elif stale:
        assert sent == [([["best-43"]], 4, True)], "of the size that the missing runs ask for"
        assert made == [["configure"], ["choose"]], "what was chosen is made before it is run"
    else:
        assert sent == []
        assert [command[-1] for command in ended] == ["dvc.yaml"]
