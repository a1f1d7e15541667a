"""What is run when a GPU is at hand: its parts at smoke size on a CPU, and how they fail, end and are told of."""

from __future__ import annotations

import csv
import json
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from dvc.utils.serialize import dumps_yaml

from benchmarks import cells, gpu, kit, parts, summary
from benchmarks.attend import Ended, Minutes, attend
from benchmarks.parts import Measures, Part, Session
from benchmarks.sizes import open_scale
from lm.errors import StudyError

ROOT = Path(__file__).parents[1]


def call(monkeypatch, *words: str | Path) -> int:
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(sys, "argv", ["gpu", *map(str, words)])
    try:
        gpu.main()
    except SystemExit as end:
        return end.code
    return 0


@pytest.fixture
def prepared(tmp_path, token_folder) -> Path:
    """A kit of toy tokens at the smoke scale, for what trains nothing."""
    folder = tmp_path / "kit"
    folder.mkdir()
    kit.write_params(ROOT / "params.yaml", folder / "params.yaml", scale="smoke")
    (folder / "tokens").symlink_to(token_folder)
    for name in ("corpus", "embeddings"):
        (folder / name).mkdir()
        (folder / name / "card.json").write_text("{}")
    return folder


@pytest.fixture
def session(prepared, tmp_path) -> Session:
    known = Measures(scale="smoke", device="cpu", embeddings="learned", minutes=1.0)
    return Session(
        kit=prepared,
        out=tmp_path / "out",
        minutes=Minutes(1.0),
        scale="smoke",
        device="cpu",
        models=["gpt"],
        layers=[1],
        precisions=["bf16", "fp32", "fp16"],
        known=known,
        write=lambda: None,
    )


def ended(**changed) -> Ended:
    return Ended(**{"status": 0, "seconds": 1.0, "stopped": False, "last_line": "", **changed})


def test_all_of_it_on_a_cpu(monkeypatch, tmp_path, capsys):
    """From the kit to the report; nothing is compiled, which takes a minute of a processor."""
    folder, out = tmp_path / "kit", tmp_path / "out"
    assert call(monkeypatch, "--prepare", folder, "--scale", "smoke", "--without-wheels") == 0
    assert "sotu at scale smoke" in capsys.readouterr().out
    text = (folder / "params.yaml").read_text().replace("precision: auto", "precision: fp32")
    text = text.replace("epochs: 2", "epochs: 1").replace("threads: 2", "threads: 1")
    (folder / "params.yaml").write_text(text)
    kit.write_params(folder / "params.yaml", folder / "params.yaml", experiments=["5"])

    monkeypatch.setenv("TORCHDYNAMO_DISABLE", "1")
    words = ["--kit", folder, "--out", out, "--minutes", "60", "--scale", "smoke", "--device", "cpu"]
    assert call(monkeypatch, *words, "--models", "gpt", "--layers", "1", "--precisions", "fp32", "fp16") == 0
    found = json.loads((out / "measures.json").read_text())
    assert [(part["part"], part["status"]) for part in found["parts"]] == [
        (name, "done") for name in ("tests", "steps", "compiled", "study", "report")
    ]
    assert {test["outcome"] for test in found["tests"]} == {"passed" if torch.cuda.is_available() else "skipped"}

    with (out / "steps.csv").open() as file:
        steps = list(csv.DictReader(file))
    assert [(row["precision"], row["contender"]) for row in steps] == [
        *((precision, name) for precision in ("fp32", "fp16") for name in parts.CONTENDERS["eager"]),
        *((precision, name) for precision in ("fp32", "fp16") for name in parts.CONTENDERS["compiled"]),
    ]
    for row in steps:
        measured = row["precision"] == "fp32"
        assert (row["status"] == "measured") is measured
        assert (row["step_ms"] != "") is measured
        assert row["memory_mib"] == ""
    (run,) = found["runs"]
    assert (run["run"], run["status"]) == ("5-42", "trained")
    assert run["expected_seconds"] > 0
    assert run["validation_perplexity"] < 512

    study = out / "study"
    assert (study / "runs" / "5-42" / "model.safetensors").exists()
    assert "GPT-1" in (study / "reports" / "report.md").read_text()
    page = (out / "summary.md").read_text()
    assert "the figures mean nothing" in page
    assert "needs a GPU" in page
    assert capsys.readouterr().out == f"{out / 'summary.md'}\n"


def test_every_test_that_needs_a_gpu_has_it_in_its_name():
    """By which they are chosen."""
    for path in (ROOT / "tests").glob("test_*.py"):
        marked = re.findall(r"^@pytest\.mark\.skipif\(not torch\.cuda.*\n(?:@.*\n)*def (\w+)", path.read_text(), re.M)
        assert [name for name in marked if parts.NAMED not in name] == []


def test_what_is_refused(prepared, monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    for words, told in (
        (["--kit", prepared], "finds no GPU.*allowed: a machine with one"),
        (
            ["--kit", prepared, "--device", "cpu"],
            "'cpu' with --scale reference; allowed: cuda, or cpu with --scale smoke",
        ),
        (["--kit", prepared, "--layers", "257"], "--layers: 257; allowed: a whole number, 1 to 256"),
        (["--kit", tmp_path / "no"], "no/params.yaml: no such file; make the folder with"),
        (["--prepare", prepared], "is not empty; name a new folder"),
        (["--prepare", tmp_path / "new", "--scale", "smok"], "--scale: unknown scale 'smok'; did you mean 'smoke'"),
    ):
        assert call(monkeypatch, *words) == 1
        shown = capsys.readouterr()
        assert re.search(told, shown.err)
        assert shown.err.count("\n") == 1
    assert call(monkeypatch, "--minutes", "0") == 2
    assert "0; allowed: a number above 0" in capsys.readouterr().err
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert call(monkeypatch, "--kit", prepared, "--out", tmp_path / "out") == 1
    assert "scale: 'smoke', but --scale is 'reference'" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_preparation_that_failed_is_made_again(monkeypatch, capsys, tmp_path):
    folder, failing = tmp_path / "kit", ["stages.corpus", "stages.tokenize", "download"]

    def run(command, **_):
        told = ["error: broken off; run again\n" if name in command else "" for name in failing[:1]]
        if "--out" in command:
            out = Path(command[command.index("--out") + 1])
            assert not out.exists()
            out.mkdir()
            (out / "card.json").touch()
            (out / "train.jsonl").touch()
        elif "download" in command:
            (folder / kit.WHEELS).mkdir(exist_ok=True)
        return subprocess.CompletedProcess(command, int(any(told)), stderr="".join(told))

    monkeypatch.setattr(subprocess, "run", run)
    while failing:
        assert call(monkeypatch, "--prepare", folder, "--scale", "smoke") == 1
        assert "not empty" not in capsys.readouterr().err
        assert call(monkeypatch, "--kit", folder) == 1
        assert "kit: its preparation failed; run" in capsys.readouterr().err
        failing.pop(0)
    assert call(monkeypatch, "--prepare", folder, "--scale", "smoke") == 0
    kit.check(folder)
    assert sorted(path.name for path in folder.iterdir()) == [
        "corpus", "embeddings", "params.yaml", "requirements.txt", "tokens", "wheels",
    ]  # fmt: skip
    assert [path.name for path in (folder / "corpus").iterdir()] == ["card.json"]
    assert call(monkeypatch, "--prepare", folder, "--scale", "smoke") == 1
    assert "is not empty; name a new folder" in capsys.readouterr().err


def test_without_torch_and_without_packages(prepared, monkeypatch, capsys):
    monkeypatch.setattr(kit, "missing_packages", lambda: ["torch", "pytest"])
    assert call(monkeypatch, "--kit", prepared) == 1
    assert "torch is not installed" in capsys.readouterr().err
    monkeypatch.setattr(kit, "missing_packages", lambda: ["pytest"])
    assert call(monkeypatch, "--kit", prepared, "--device", "cpu") == 1
    assert "not installed, so that parts may fail: pytest" in capsys.readouterr().err


def test_what_is_required_is_pinned():
    assert all(re.fullmatch(r"[\w.-]+==[\w.]+", line) for line in kit.required())
    assert {"torch", "pytest", "pytest-xdist"} <= {line.partition("==")[0] for line in kit.required()}
    assert "ray" not in {line.partition("==")[0] for line in kit.required()}


def test_settings_are_changed_and_the_rest_is_kept(tmp_path):
    target = tmp_path / "params.yaml"
    kit.write_params(
        ROOT / "params.yaml", target, scale="reference", embeddings="learned", device="cuda", experiments=["5", "1"]
    )
    before, after = open_scale("reference", "", ROOT / "params.yaml"), open_scale("reference", "", target)
    assert (after.scale, after.device, list(after.experiments)) == ("reference", "cuda", ["1", "5"])
    assert after.scales["reference"].embeddings == "learned"
    assert after.scales["laptop"] == before.scales["laptop"]
    assert (after.optimizers, after.training) == (before.optimizers, before.training)
    assert "# The study." in target.read_text()


def test_a_null_is_written_out_in_a_copy_of_the_settings_alone(tmp_path):
    """DVC writes its lock with the same library, and leaves a null empty."""
    (tmp_path / "params.yaml").write_text("scale: smoke\ndevice: cpu\ngpt1:\n  tokenizer: null\n")
    kit.write_params(tmp_path / "params.yaml", tmp_path / "copy.yaml")
    assert (tmp_path / "copy.yaml").read_text() == (tmp_path / "params.yaml").read_text()
    assert dumps_yaml({"a": {"b": None}}) == "a:\n  b:\n"


def test_a_child_that_takes_too_long_is_stopped(tmp_path):
    minutes, log = Minutes(1.0), tmp_path / "log"
    found = attend(["-c", "import time; time.sleep(600)"], log, minutes, 0.2, "child")
    assert (found.stopped, found.done, found.why()) == (True, False, "out of time")
    assert found.status == -signal.SIGTERM, "it is asked, so that a run saves a checkpoint"
    failed = attend(["-c", "import sys; print('x'); sys.exit('error: no room')"], log, minutes, 60.0, "child")
    assert (failed.done, failed.status, failed.why()) == (False, 1, "no room")
    assert attend(["-c", "pass"], log, minutes, 60.0, "child").done


def test_a_part_that_fails_stops_no_other(session):
    def breaks(_session, _part):
        raise OSError("no\nroom")

    gpu._do(session, "tests", 1.0, breaks)
    gpu._do(session, "steps", 1.0, lambda _, part: part.left_out.append("gpt, 4 layers, bf16"))
    gpu._do(session, "study", 1.0, lambda *_: None)
    assert [(part.status, part.why) for part in session.known.parts] == [
        ("failed", "OSError: no room"),
        ("out of time", ""),
        ("done", ""),
    ]
    page = summary.summary(session.known)
    assert "- steps: gpt, 4 layers, bf16" in page.split("What did not fit")[1]


def test_a_cell_that_dies_costs_its_own_figures_alone(session, monkeypatch):
    """As after an illegal access on a GPU; formats that it had not begun are measured by another process."""
    asked = []

    def fake(words, log, _minutes, _limit, _name):
        precisions = words[words.index("--precisions") + 1 :]
        asked.append(precisions)
        log.parent.mkdir(parents=True, exist_ok=True)
        ready = precisions[:1]
        rows = [
            {"model": "gpt", "layers": 1, "precision": name, "contender": "ours", "status": "measured"}
            for name in ready
        ]
        log.write_text("\n".join(map(json.dumps, [{"machine": {"hardware": "toy"}}, *rows])) + "\nillegal access\n")
        return ended(status=-6, last_line="illegal access")

    monkeypatch.setattr(parts, "attend", fake)
    part = Part(part="steps", limit=60.0)
    parts.eager_steps(session, part)
    assert asked == [["bf16", "fp32", "fp16"], ["fp16"]]
    assert [row["precision"] for row in session.known.steps] == ["bf16", "fp16"]
    assert (part.status, part.why) == ("failed", "gpt, 1 layer, fp32: illegal access")
    assert session.known.machine == {"hardware": "toy"}

    session.known.steps[0]["status"] = f"{parts.ABSENT}: bf16 is not there"
    parts.compiled_steps(session, Part(part="compiled", limit=60.0))
    assert asked[2:] == [["fp32"], ["fp16"]], "what is known not to be there is not tried again"
    told = [row for row in session.known.steps if (row["compared_in"], row["precision"]) == ("compiled", "bf16")]
    assert [(row["contender"], row["status"], row["step_ms"]) for row in told] == [
        (name, f"{parts.ABSENT}: bf16 is not there", None) for name in parts.CONTENDERS["compiled"]
    ]


def test_what_other_parts_have_found_is_kept(prepared, monkeypatch, tmp_path, capsys):
    """In a folder that is named again; what runs again is replaced."""

    def fake(words, log, _minutes, _limit, _name):
        log.parent.mkdir(parents=True, exist_ok=True)
        if "pytest" in words:
            log.with_name("tests.xml").write_text('<testsuite><testcase name="a"/></testsuite>')
            return ended()
        row = {"model": "gpt", "layers": 1, "precision": "fp32", "status": "measured", "step_ms": next(times)}
        kind = words[words.index("--cell") + 1]
        rows = [row | {"contender": name} for name in parts.CONTENDERS[kind]]
        log.write_text("\n".join(map(json.dumps, [{"machine": machine}, *rows])))
        return ended()

    def measure(*names: str) -> dict[str, object]:
        ran.append(call(monkeypatch, *words, "--parts", *names))
        found = json.loads((out / "measures.json").read_text())
        found["of"] = {(row["compared_in"], row["step_ms"]) for row in found["steps"]}
        return found

    monkeypatch.setattr(parts, "attend", fake)
    times, machine, out, ran = iter(range(1, 9)), {"hardware": "toy"}, tmp_path / "out", []
    words = ["--kit", prepared, "--out", out, "--scale", "smoke", "--device", "cpu"]
    words += ["--models", "gpt", "--layers", "1", "--precisions", "fp32"]
    measure("steps", "compiled")
    found = measure("tests")
    assert found["of"] == {("steps", 1), ("compiled", 2)}
    assert found["machine"] == machine
    assert found["tests"] == [{"test": "a", "outcome": "passed"}]
    found = measure("steps")
    assert found["of"] == {("steps", 3), ("compiled", 2)}
    assert [part["part"] for part in found["parts"]] == ["tests", "steps", "compiled"]
    assert "| gpt | 1 | fp32 | 3 | 3 | 2 | 2 |" in (out / "summary.md").read_text()
    assert ran == [0, 0, 0]

    machine = {"hardware": "another"}
    assert measure("steps")["of"] == {("steps", 3), ("compiled", 2)}
    assert "hardware 'toy', and now 'another'; name another --out" in (out / "summary.md").read_text()
    measure("tests")
    assert ran[3:] == [1, 0], "an earlier failure is none of this time"
    text = (out / "measures.json").read_text()
    for content, told in (
        (text.replace('"embeddings": "learned"', '"embeddings": "gpt1"'), "embeddings 'gpt1', and now 'learned'"),
        (text[:100], "measures.json: damaged"),
    ):
        capsys.readouterr()
        (out / "measures.json").write_text(content)
        assert call(monkeypatch, *words, "--parts", "tests") == 1
        shown = capsys.readouterr().err
        assert told in shown
        assert shown.endswith("; name another --out\n")
        assert (out / "measures.json").read_text() == content


def test_a_contender_that_fails_leaves_the_others(monkeypatch):
    monkeypatch.chdir(ROOT)
    study = open_scale("smoke", "--scale")

    def breaks(*_):
        raise RuntimeError("out of memory\nmore")

    monkeypatch.setattr(cells, "plain_step", breaks)
    plain, ours = cells.measure(study, "lstm", 1, "fp32", parts.CONTENDERS["eager"], "cpu", 1)
    assert (plain["status"], plain["step_ms"]) == ("failed: RuntimeError: out of memory", None)
    assert ours["status"] == "measured"
    assert ours["step_ms_quartile_1"] <= ours["step_ms"] <= ours["step_ms_quartile_3"]
    assert ours["tokens_per_second"] == pytest.approx(16 * 32 / ours["step_ms"] * 1e3)
    for row in cells.measure(study, "lstm", 1, "tf32", parts.CONTENDERS["eager"], "cpu", 1):
        assert row["status"].startswith("not on this device: precision: 'tf32' needs a GPU")
        assert row["step_ms"] is row["tokens_per_second"] is row["memory_mib"] is None


def test_the_study_goes_as_far_as_the_minutes(session, monkeypatch):
    """The run of the fewest operations first; what was begun and what was not is told apart."""
    kit.write_params(session.kit / "params.yaml", session.kit / "params.yaml", experiments=["1", "9", "12"])
    trained = []

    def fake(words, log, _minutes, _limit, name):
        log.parent.mkdir(parents=True, exist_ok=True)
        log.write_text("epoch 0: train ppl 9\n")
        if "stages.configure" in words:
            configs = Path(words[words.index("--out") + 1])
            configs.mkdir()
            for experiment, config in open_scale("smoke", "", session.kit / "params.yaml").resolve().items():
                (configs / f"{experiment}.json").write_text(config.to_json())
            return ended(seconds=0.0)
        trained.append(name)
        run = session.out / "study" / "runs" / name
        run.mkdir(parents=True)
        (run / "metrics.json").write_text('{"validation_perplexity": 9.0}')
        cost = {"train_seconds": 20.0, "tokens_per_second": 1.0, "memory_footprint_mb": 1.0, "precision": "fp32"}
        (run / "cost.json").write_text(json.dumps(cost))
        if len(trained) == 2:
            monkeypatch.setattr(Minutes, "gone", 100.0)
            return ended(stopped=True, status=143, seconds=30.0)
        return ended(seconds=20.0)

    monkeypatch.setattr(parts, "attend", fake)
    part = Part(part="study", limit=50.0)
    parts.study(session, part)
    first, second, third = session.known.runs
    assert first["operations"] < second["operations"] < third["operations"]
    assert trained == [first["run"], second["run"]]
    assert [run["status"] for run in session.known.runs] == ["trained", "out of time", "not begun: out of time"]
    assert part.left_out == [f"{second['run']}, begun: epoch 0: train ppl 9", third["run"]]
    assert first["expected_seconds"] is None
    same = next((run for run in (second, third) if run["model"] == first["model"]), None)
    assert same is None or same["expected_seconds"] == pytest.approx(20.0 * same["operations"] / first["operations"])


def test_the_report_is_of_what_is_finished(session, monkeypatch):
    """And of no experiment whose line stands on another's that is not."""
    params = session.kit / "params.yaml"
    params.write_text(params.read_text().replace('  "2": {', '  "12w": {of: "12", warmup: 0.1}\n  "2": {'))
    session.known.runs += [
        {"experiment": name, "status": status}
        for name, status in (("1", "trained"), ("5", "trained"), ("5", "out of time"), ("12w", "trained"))
    ]
    asked = []
    monkeypatch.setattr(parts, "attend", lambda words, *_: (asked.append(words[1]), ended())[1])
    part = Part(part="report", limit=60.0)
    parts.report(session, part)
    assert asked == ["stages.aggregate", "stages.report"]
    assert list(open_scale("smoke", "", session.out / "study" / "params.yaml").experiments) == ["1"]
    assert part.left_out == ["12w: 12, which it is of, is not finished"]

    session.known.runs[:] = [{"experiment": "1", "status": "begun"}]
    parts.report(session, part)
    assert part.left_out[-1] == "no experiment is finished"
    assert len(asked) == 2


def test_the_folder_makes_an_environment_without_a_network(tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(
        subprocess, "run", lambda words, **_: (asked.append(words), subprocess.CompletedProcess(words, 0))[1]
    )
    (tmp_path / "environment").mkdir()
    python = kit.environment(tmp_path)
    assert python == tmp_path / "environment" / "bin" / "python"
    assert asked[0][1:3] == ["-m", "venv"]
    assert {"--no-index", str(tmp_path / "wheels"), str(tmp_path / "requirements.txt")} <= set(asked[1])
    assert kit.environment(tmp_path) == python
    assert len(asked) == 2

    (tmp_path / "environment" / "ready").unlink()
    monkeypatch.setattr(subprocess, "run", lambda words, **_: subprocess.CompletedProcess(words, 1))
    with pytest.raises(StudyError, match=r"wheels: .* failed"):
        kit.environment(tmp_path)
