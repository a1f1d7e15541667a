"""What imports what: stages depend on the code they run, and the packages of lm/ keep their order."""

from __future__ import annotations

import ast
import graphlib
import re
from functools import cache
from pathlib import Path

import pytest
import yaml

from lm.code import TRAINING, imported, modules

ROOT = Path(__file__).parents[1]
STAGES = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
CONTROLLED = yaml.safe_load((ROOT / "controlled" / "pipeline.yaml").read_text())["stages"]
CHECKSUMS = "data/code.json"
ROOMS = {
    "errors": set(),
    "text": {"errors"},
    "config": {"errors", "text"},
    "download": {"errors"},
    "code": {"errors"},
    "corpus": {"errors", "text", "config", "download"},
    "embeddings": {"errors", "config", "download"},
    "models": {"errors", "config", "embeddings"},
    "training": {"errors", "config", "corpus", "embeddings", "models"},
    "prediction": {"config", "models", "training"},
    "results": {"errors", "text", "config"},
    "findings": {"errors", "config", "results"},
    "report": {"errors", "config", "results", "findings"},
    "protocol": {"errors", "config", "corpus"},
    "controlled": {"errors", "config", "corpus", "protocol", "results", "findings", "report"},
    "trained": {"errors", "text", "config", "corpus", "embeddings", "models", "training", "results"},
    "launch": {"errors", "config", "corpus", "prediction"},
}
"""Each room of lm/, and the rooms that it may import beside itself."""


MODULES = modules()
CODE = {name: path.relative_to(ROOT).as_posix() for name, path in MODULES.items()}
UNDECLARED = {"lm/__init__.py", "stages/__init__.py"}
"""They hold a docstring, and when garbage is collected: no output depends on them."""


@cache
def closure(script: str) -> frozenset[str]:
    """Every module of the project that runs when ``python -m script`` does."""
    return frozenset(imported(script, MODULES))


def named_imports(name: str, *, typing: bool = True) -> set[str]:
    """The dotted names in the import statements of a module, wherever in it they are.

    Without ``typing``, minus those that only a type checker follows.
    """
    tree = ast.parse(MODULES[name].read_text())
    if not typing:
        tree.body = [
            node for node in tree.body if not (isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test))
        ]
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name}: relative imports are not followed by lm/code.py"
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def scripts_of(stage: str, content: dict) -> set[str]:
    """The scripts whose code a stage depends on; for those that train, that is the code of the stage ``code``."""
    scripts = set(re.findall(r"python -m (stages\.\w+)", content["cmd"]))
    assert bool(scripts & TRAINING) == (CHECKSUMS in content["deps"])
    return scripts | TRAINING if stage == "code" else scripts - TRAINING


@pytest.mark.parametrize(
    ("stage", "content"),
    [
        pytest.param(stage, content.get("do", content), id=f"{study}{stage}")
        for study, stages in (("", STAGES), ("controlled ", CONTROLLED))
        for stage, content in stages.items()
    ],
)
def test_a_stage_depends_on_the_code_it_runs(stage, content):
    """Nothing that a stage imports is missing from its dependencies, and each of them is imported."""
    runs = {CODE[name] for script in scripts_of(stage, content) for name in closure(script)} - UNDECLARED
    declared = [dep for dep in content["deps"] if dep.startswith(("lm/", "stages/"))]
    assert [dep for dep in declared if dep.count("/") > 1] == [], "packages are depended on as a whole"
    parts = {dep: {path for path in runs if path == dep or path.startswith(f"{dep}/")} for dep in declared}
    assert [dep for dep, part in parts.items() if not part] == [], "depends on code that it does not run"
    assert runs - set().union(*parts.values()) == set(), "runs code that it does not depend on"


def test_every_stage_of_the_design_is_there():
    assert {"configure", "corpus", "tokenize", "embeddings", "train", "aggregate", "report"} <= set(STAGES)


def test_nothing_runs_each_time():
    """An ``always_changed`` stage makes ``dvc status`` unclean for ever."""
    assert [name for name, stage in STAGES.items() if stage.get("always_changed")] == []


def test_all_that_a_run_writes_is_cached():
    """A remote gives back only what is cached: with one output that is not, every record of a run is of no use."""
    declared = [*STAGES["train"]["outs"], *STAGES["train"]["plots"]]
    assert [
        out for out in declared if isinstance(out, dict) and not all(v.get("cache", True) for v in out.values())
    ] == []


def test_settings_are_checked_before_anything_that_they_name_is_looked_for():
    """Each stage that reads corpora/ or a scale's settings comes after the stage that checks them."""
    checked = [out for out in STAGES["configure"]["outs"] if out.startswith("data/")]
    made_by = {out: name for name, stage in STAGES.items() for out in stage["outs"] if isinstance(out, str)}
    for name, stage in STAGES.items():
        if "${" in str(stage["deps"]) + str(stage.get("params", [])) and name != "train":
            before = {name} | {made_by[dep] for dep in stage["deps"] if dep in made_by and dep not in checked}
            assert any(dep in checked for each in before for dep in STAGES[each]["deps"]), name


@pytest.mark.parametrize("name", [name for name in MODULES if name.startswith("lm.")])
def test_a_room_imports_only_the_rooms_before_it(name):
    room = name.split(".")[1]
    names = named_imports(name)
    assert {each.split(".")[1] for each in names & MODULES.keys() if each.startswith("lm.")} - {room} <= ROOMS[room]
    assert not any(each.split(".")[0] in ("stages", "tests") for each in names)


def test_no_room_holds_more_than_a_third_of_the_lines():
    lines = dict.fromkeys(ROOMS, 0)
    for path in (ROOT / "lm").rglob("*.py"):
        room = path.relative_to(ROOT / "lm").parts[0].removesuffix(".py")
        if room in lines:
            lines[room] += len(path.read_text().splitlines())
    assert all(lines.values())
    assert max(lines.values()) <= sum(lines.values()) / 3, lines


def test_no_module_imports_itself_by_way_of_others():
    graph = {}
    for name in MODULES:
        found = named_imports(name, typing=False) & MODULES.keys()
        graph[name] = {each for each in found if not f"{name}.".startswith(f"{each}.")}
    graphlib.TopologicalSorter(graph).prepare()  # raises CycleError


@pytest.mark.parametrize("stage", ["corpus", "tokenize", "embeddings", "aggregate", "report"])
def test_what_neither_trains_nor_generates_needs_no_torch(stage):
    named = {each for name in closure(f"stages.{stage}") for each in named_imports(name)}
    assert "torch" not in {each.split(".")[0] for each in named}
