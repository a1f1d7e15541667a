"""docs/extending.md, done as it is written in a copy of the project: its code blocks are this test's text."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import pytest

from tests.test_pipeline import Project, clone

PAGE = Path(__file__).parents[1] / "docs" / "extending.md"
STEP = re.compile(
    r"^(?:New file `(?P<new>[^`]+)`|In `(?P<path>[^`]+)`, (?P<place>at the end of|below) `(?P<anchor>[^`]+)`):"
    r"\n\n```\w+\n(?P<text>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)


def follow(page: str, folder: Path) -> list[str]:
    """Do what the page says; returns the files that it had written or changed."""
    touched = []
    for step in STEP.finditer(page):
        path = folder / (step["new"] or step["path"])
        touched.append(path.relative_to(folder).as_posix())
        if step["new"]:
            path.write_text(step["text"])
            continue
        content = path.read_text()
        if step["place"] == "below":
            place = re.search(rf"^ *{re.escape(step['anchor'])}.*\n", content, re.MULTILINE)
        else:
            place = re.search(rf"^{step['anchor']}\b.*?(?=^\}})", content, re.MULTILINE | re.DOTALL)
        assert place, f"{path} has no {step['anchor']}"
        path.write_text(content[: place.end()] + step["text"] + content[place.end() :])
    return touched


@pytest.fixture(scope="module")
def extended(tmp_path_factory, resident) -> Project:
    """The project with a GRU and RMSprop; of the study's experiments one each of LSTM and GPT is left."""
    project = clone(tmp_path_factory.mktemp("extended") / "clone", resident)
    touched = follow(PAGE.read_text(), project.folder)
    assert touched == [
        "lm/models/gru.py",
        "lm/config/architectures.py",
        "params.yaml",
        "params.yaml",
        "lm/config/optimizers.py",
        "params.yaml",
    ]

    def smaller(params: dict) -> None:
        params["scale"], params["threads"] = "smoke", 1
        params["scales"]["smoke"]["tokenizer"]["train_share"] = 0.01
        for name in set(params["experiments"]) - {"2", "6", "13", "14"}:
            del params["experiments"][name]

    project.edit_params(smaller)
    project.git("add", "--all")
    project.git("commit", "--quiet", "--message", "a GRU and RMSprop")
    return project


def test_every_code_block_of_the_page_is_tried():
    page = PAGE.read_text()
    assert len(STEP.findall(page)) == page.count("```") / 2


def test_its_settings_are_checked(extended):
    run = ("python", "-m", "stages.configure")
    extended.command(*run)
    config = json.loads((extended.folder / "configs" / "14.json").read_text())
    assert config["model"] | {"architecture": "gru", "layers": 2, "gru_hidden": 48} == config["model"]
    assert config["optimizer"] == {"name": "rmsprop", "lr": 0.001, "alpha": 0.95}
    params = extended.folder / "params.yaml"
    before = params.read_text()
    for right, wrong, answer in (
        ("gru_hidden: 48", "lstm_hidden: 48", "experiments.14.lstm_hidden: gru has none; its sizes are: gru_hidden"),
        ("model: gru, layers: 1", "model: gur, layers: 1", "unknown architecture 'gur'; did you mean 'gru'?"),
        ("alpha: 0.95", "alpha: 1.0", "optimizers.rmsprop.alpha: 1.0: input should be less than 1"),
        ("alpha: 0.95", "momentum: 0.9", "optimizers.rmsprop.momentum: rmsprop takes none"),
        ("    gru_hidden: 32\n", "", "scales.smoke.gru_hidden: missing; experiments.13 (gru) takes it"),
    ):
        assert right in before
        params.write_text(before.replace(right, wrong))
        assert answer in extended.command(*run, ok=False).output
    params.write_text(before)


def test_its_shapes_are_predicted(extended):
    output = extended.command("python", "-m", "stages.predict", "--train-tokens=10000").output
    heads, *rows = ([cell.strip() for cell in line.split("|")] for line in output.splitlines() if line.startswith("|"))
    of = {row[1]: dict(zip(heads, row, strict=True)) for row in rows}
    hidden, width = 48, 32
    recurrent = 3 * hidden * (width + hidden + 2) + 3 * hidden * (2 * hidden + 2)
    whole = 512 * width + recurrent + (hidden + 1) * width
    assert of["14"]["parameters"] == f"{whole:,}"
    assert float(of["14"]["optimizer MiB"]) == pytest.approx(whole * 4 / 2**20, abs=0.06)


def test_the_pipeline_trains_them(extended):
    """The model itself against its own decoding, and training to outputs that a report is made of."""
    check = (
        "import torch; from lm.config.run import RunConfig; from lm.models.build import build_model\n"
        "from pathlib import Path\n"
        "model = build_model(RunConfig.read(Path('configs/14.json')).model, 512).eval()\n"
        "tokens, state = torch.randint(512, (2, 9)), None\n"
        "for t in range(9): features, state = model.decode(tokens[:, t : t + 1], state)\n"
        "torch.testing.assert_close(features, model(tokens)[:, -1], atol=1e-5, rtol=1e-5)"
    )
    extended.dvc("repro", "train@13-42", "train@14-42")
    extended.command(sys.executable, "-c", check)
    for name in ("13", "14"):
        metrics = json.loads((extended.folder / "runs" / f"{name}-42" / "metrics.json").read_text())
        assert metrics["status"] == "completed"
        assert metrics["validation_perplexity"] < 512, "it has learned something"
    assert metrics["parameters"] == metrics["trainable_parameters"]


def test_the_report_has_them_everywhere(extended):
    extended.dvc("repro")
    report = (extended.folder / "reports" / "report.md").read_text()
    assert "GRU" in report
    assert "RMSprop" in report
    for pair in (("GRU", "LSTM"), ("GRU", "GPT-1"), ("LSTM", "GPT-1")):
        assert any(all(name in line for name in pair) for line in report.splitlines()), pair
    assert extended.dvc("repro").ran == set()
    changed = set(extended.git("diff", "--name-only", "HEAD~1", "HEAD").split())
    assert (
        changed - {"lm/models/gru.py", "lm/config/architectures.py", "lm/config/optimizers.py", "params.yaml"} == set()
    )
