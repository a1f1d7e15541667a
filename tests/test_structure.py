"""What imports what: stages' deps are exactly the code they run, and the rooms of lm/ keep their order."""

from __future__ import annotations

import ast
import graphlib
import re
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[1]
STAGES = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
CODE = ("stages/", "lm/")
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
    "controlled": {"errors", "config", "corpus", "results", "findings", "report"},
    "trained": {"errors", "text", "config", "corpus", "embeddings", "models", "training", "results"},
    "launch": {"errors", "config", "corpus", "prediction"},
}
"""Each room of lm/, and the rooms that it may import beside itself."""


def modules() -> dict[str, Path]:
    """Every module of the library and the stages, by dotted name."""
    found = {}
    for package in ("lm", "stages"):
        for path in sorted((ROOT / package).rglob("*.py")):
            parts = path.relative_to(ROOT).with_suffix("").parts
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


MODULES = modules()


def named_imports(name: str, *, typing: bool = True) -> set[str]:
    """The dotted names in the import statements of a module, wherever in it they stand.

    Without ``typing`` less those that only a type checker follows.
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
            assert node.level == 0, f"{name}: relative imports are not followed by this test"
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def looked_up(name: str) -> set[str]:
    """The project's modules that a module imports by a name from a registry, such as ``lm.models.gpt``.

    Whoever uses importlib may import what stands as text in the modules that it imports itself.
    """
    named = named_imports(name)
    if "importlib" not in named:
        return set()
    constants = {
        node.value.partition(":")[0]
        for each in named & MODULES.keys()
        for node in ast.walk(ast.parse(MODULES[each].read_text()))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }
    return constants & MODULES.keys()


def ancestors(name: str) -> set[str]:
    parts = name.split(".")
    return {".".join(parts[:i]) for i in range(1, len(parts) + 1)}


def direct_imports(name: str) -> set[str]:
    """The project's own modules that a module imports, with the packages that Python runs on the way."""
    own = {each for each in named_imports(name) | looked_up(name) if each in MODULES}
    return set().union(*map(ancestors, own)) | ancestors(name) - {name}


def closure(name: str) -> set[str]:
    """Every module of the project that runs when ``python -m name`` does."""
    seen, left = set(), [name]
    while left:
        each = left.pop()
        if each not in seen:
            seen.add(each)
            left.extend(direct_imports(each))
    return seen


TRAIN, CHECKSUMS = "stages.train", "data/code.json"


def scripts_of(stage: str) -> set[str]:
    """The scripts whose code a stage depends on: its own, but training's code is depended on by the stage ``code``."""
    scripts = set(re.findall(r"python -m (stages\.\w+)", STAGES[stage]["cmd"]))
    assert (TRAIN in scripts) == (CHECKSUMS in STAGES[stage]["deps"])
    return scripts - {TRAIN} | ({TRAIN} if stage == "code" else set())


def code_dependencies(stage: str) -> set[str]:
    """The .py files among a stage's deps, directories expanded."""
    found = set()
    for dep in STAGES[stage]["deps"]:
        if dep.startswith(CODE):
            path = ROOT / dep
            assert path.exists(), f"{stage}: the dependency {dep} does not exist"
            found |= set(path.rglob("*.py")) if path.is_dir() else {path}
    return {path.relative_to(ROOT).as_posix() for path in found}


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_depends_on_exactly_the_code_it_runs(stage):
    runs = {MODULES[name].relative_to(ROOT).as_posix() for script in scripts_of(stage) for name in closure(script)}
    declared = {path for path in code_dependencies(stage) if path.endswith(".py")}
    # what a new architecture or optimizer goes into is declared as a whole, so that adding one needs no line here
    whole = {path for path in declared if path.startswith(("lm/models/", "lm/training/"))}
    assert declared - runs <= whole, "depends on code that it does not run"
    assert runs - declared == set(), "runs code that it does not depend on"


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
    imported = {each.split(".")[1] for each in direct_imports(name) if each.startswith("lm.")}
    assert imported - {room} <= ROOMS[room]
    assert not any(each.split(".")[0] in ("stages", "tests") for each in named_imports(name))


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
        graph[name] = {each for each in named_imports(name, typing=False) if each in MODULES} - set(ancestors(name))
    graphlib.TopologicalSorter(graph).prepare()  # raises CycleError


@pytest.mark.parametrize("stage", ["corpus", "tokenize", "embeddings", "aggregate", "report"])
def test_what_neither_trains_nor_generates_needs_no_torch(stage):
    named = {each for script in scripts_of(stage) for name in closure(script) for each in named_imports(name)}
    assert "torch" not in {each.split(".")[0] for each in named}
