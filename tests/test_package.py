"""What stands in several files at once is the same: versions, requirements and their lock, notes and citation."""

from __future__ import annotations

import os
import re
import subprocess
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.test_slurm import PROGRAMS

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
LOCK = (ROOT / "requirements.lock").read_text()
REQUIREMENTS = sorted(path.name for path in ROOT.glob("requirements*.txt"))


def required(name: str) -> list[Requirement]:
    """The lines of a file of requirements, those that it includes left out."""
    lines = [line.partition("#")[0].strip() for line in (ROOT / name).read_text().splitlines()]
    return [Requirement(line) for line in lines if line and not line.startswith("-r")]


def locked() -> dict[str, list[tuple[str, int]]]:
    """By package: its versions, each with the number of its hashes; two versions where Pythons differ."""
    found: dict[str, list[tuple[str, int]]] = {}
    for entry in re.split(r"\n(?=\S)", re.sub(r"^#.*\n", "", LOCK, flags=re.MULTILINE)):
        requirement = Requirement(entry.partition(" \\\n")[0].strip())
        (pin,) = requirement.specifier
        assert pin.operator == "=="
        hashes = len(re.findall(r"--hash=sha256:[0-9a-f]{64}(?: \\)?$", entry, flags=re.MULTILINE))
        found.setdefault(canonicalize_name(requirement.name), []).append((pin.version, hashes))
    return found


@pytest.mark.parametrize("name", REQUIREMENTS)
def test_requirements_are_pinned_and_in_the_lock(name):
    """After an edit of a requirement the lock is made anew, as CONTRIBUTING.md says."""
    versions = {package: [version for version, _ in pins] for package, pins in locked().items()}
    for requirement in required(name):
        (pin,) = requirement.specifier
        assert pin.operator == "=="
        assert versions.get(canonicalize_name(requirement.name)) == [pin.version], requirement.name


def test_all_requirements_are_the_developers_too():
    """So that one lock, made of requirements-dev.txt, holds all."""
    included, left = set(), ["requirements-dev.txt"]
    while left:
        name = left.pop()
        included.add(name)
        left += re.findall(r"^-r (\S+)", (ROOT / name).read_text(), flags=re.MULTILINE)
    assert included == set(REQUIREMENTS)


def test_all_that_is_locked_has_hashes():
    assert [package for package, pins in locked().items() if min(count for _, count in pins) == 0] == []


def test_the_lock_names_no_place():
    """It holds for any index; torch is the public release, which has no local part such as +cpu."""
    assert re.findall(r"https?:|file:|--(?:extra-)?index|--find-links|--trusted|@ ", LOCK) == []
    assert [package for package, pins in locked().items() if any("+" in version for version, _ in pins)] == []


def test_the_project_runs_on_requirements_txt():
    assert PROJECT["project"]["dynamic"] == ["dependencies"]
    assert PROJECT["tool"]["setuptools"]["dynamic"]["dependencies"] == {"file": ["requirements.txt"]}


def test_one_version():
    version = PROJECT["project"]["version"]
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    newest = re.search(
        r"^## \[(\d+\.\d+\.\d+)\] - (\d{4}-\d\d-\d\d)$", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE
    )
    assert newest
    assert (citation["version"], str(citation["date-released"])) == newest.groups()
    assert newest[1] == version


def test_one_license():
    name = PROJECT["project"]["license"]
    assert (ROOT / "LICENSE").read_text().startswith(f"{name} License")
    assert yaml.safe_load((ROOT / "CITATION.cff").read_text())["license"] == name


def test_the_oldest_python_is_the_one_that_types_are_checked_for():
    assert PROJECT["project"]["requires-python"] == f">={PROJECT['tool']['mypy']['python_version']}"


def test_the_workflow_runs_what_is_run_here_and_needs_no_secret():
    text = (ROOT / ".github" / "workflows" / "ci.yml").read_text()
    jobs = yaml.safe_load(text)["jobs"]
    ran = [step["run"] for job in jobs.values() for step in job["steps"] if "run" in step]
    assert ".ci/run" in ran
    assert any("python -m stages.compare" in run for run in ran)
    assert "secrets." not in text
    assert yaml.safe_load(text)["permissions"] == {"contents": "read"}


@pytest.mark.parametrize(
    ("told", "status"), [("error: runs of another schema", 0), ("Traceback\nImportError: cannot import name 'page'", 1)]
)
def test_the_workflow_takes_a_line_that_says_why_for_a_comparison_and_nothing_else(tmp_path, told, status):
    steps = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text())["jobs"]["compare"]["steps"]
    (script,) = [step["run"] for step in steps if "python -m stages.compare" in step.get("run", "")]
    (tmp_path / "python").write_text(f"#!/bin/sh\ncat >&2 <<'END'\na warning\n{told}\nEND\nexit 1\n")
    (tmp_path / "python").chmod(0o755)
    environment = {
        "PATH": f"{tmp_path}:{os.environ['PATH']}",
        "RUNNER_TEMP": str(tmp_path),
        "GITHUB_STEP_SUMMARY": str(tmp_path / "summary.md"),
        "BEFORE": "a",
        "AFTER": "b",
    }
    done = subprocess.run(["bash", "-e", "-c", script], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == status
    assert done.stderr == f"a warning\n{told}\n"
    page = f"No comparison.\n\n```\n{told}\n```\n"
    assert (tmp_path / "compare.md").read_text() == (page if status == 0 else "")
    assert (tmp_path / "summary.md").exists() == (status == 0)


def test_slurm_is_installed_where_a_program_of_its_tests_is_missing(tmp_path):
    """`.ci/run` looks for the very programs without which the tests are skipped."""
    (asked,) = re.findall(r"^slurm_programs=.*\nhas_slurm\(\) \{.*\}$", (ROOT / ".ci" / "run").read_text(), re.M)
    for missing in ("", *PROGRAMS):
        folder = tmp_path / (missing or "all")
        folder.mkdir()
        for name in set(PROGRAMS) - {missing}:
            (folder / name).write_text("")
            (folder / name).chmod(0o755)
        script = f"PATH={folder}\n{asked}\nhas_slurm"
        done = subprocess.run(["bash", "-eu", "-c", script], capture_output=True, check=False)
        assert (done.returncode == 0) == (not missing), missing


def test_hooks_run_what_the_developers_requirements_install():
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"][0]["hooks"]
    tools = {requirement.name for requirement in required("requirements-dev.txt")} | {"python"}
    assert {hook["language"] for hook in hooks} == {"system"}
    assert {hook["entry"].split()[0] for hook in hooks} <= tools
