"""A shared model: what transformers, or the class beside the weights, makes of it; and its card."""

from __future__ import annotations

import importlib.util
import json
import math
import re
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from huggingface_hub import ModelCard

from lm.embeddings.tables import open_embeddings, write_embeddings
from lm.errors import StudyError
from lm.results.statistics import estimate
from lm.results.summarize import summarize
from lm.trained import export as export_room
from lm.trained.card import model_card
from lm.trained.export import export
from lm.trained.figures import CardFigures, card_figures
from lm.trained.generation import Drawing, write
from lm.trained.hub import packer
from lm.trained.runs import TrainedRun
from stages import export as export_stage
from tests.synthetic import make_results
from tests.synthetic import write as write_reports
from tests.trained_runs import CONTEXT, DOCUMENTS, VOCABULARY, config, folders, open_written, write_run, write_workspace

GPTS = {"5": config("gpt", "5"), "6": config("gpt", "6", norm="pre", layers=3), "7": config("gpt", "7", layers=1)}
PROMPT = "The river was"


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("study")
    write_workspace(root)
    for run in [*GPTS.values(), config("lstm", "1", layers=1), config("lstm", "2"), config("gpt", "8", context=40)]:
        write_run(root, run)
    return root


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")


def shared(workspace: Path, name: str, out: Path, **options: str) -> TrainedRun:
    run = open_written(workspace, name)
    export(run, out, corpus=workspace / "data/corpus", reports=workspace / "reports", **options)
    return run


def logits_of(run: TrainedRun, tokens: torch.Tensor) -> torch.Tensor:
    with torch.inference_mode():
        return run.model(tokens) @ run.model.embedding.weight.T


def some_tokens() -> torch.Tensor:
    return torch.randint(0, VOCABULARY, (3, CONTEXT), generator=torch.Generator().manual_seed(0))


@pytest.mark.usefixtures("offline")
@pytest.mark.parametrize("experiment", GPTS)
def test_transformers_gives_our_logits(workspace, tmp_path, experiment):
    """Without code of ours, and with nothing missing or left over."""
    from transformers import AutoModelForCausalLM

    run = shared(workspace, f"{experiment}-42", tmp_path / "out")
    model, found = AutoModelForCausalLM.from_pretrained(tmp_path / "out", output_loading_info=True)
    assert not any(found.values()), found
    assert not list((tmp_path / "out").glob("*.py"))
    with torch.inference_mode():
        theirs = model(some_tokens()).logits
        exactly = model.double()(some_tokens()).logits
    torch.testing.assert_close(theirs, logits_of(run, some_tokens()), rtol=0, atol=1e-5)
    assert theirs.std() > 0.5, "of logits near zero it would say nothing"
    run.model.double()
    torch.testing.assert_close(exactly, logits_of(run, some_tokens()), rtol=0, atol=1e-12)


@pytest.mark.usefixtures("offline")
def test_the_approximate_gelu_would_not_do(workspace, tmp_path):
    from transformers import AutoModelForCausalLM

    run = shared(workspace, "5-42", tmp_path / "out")
    settings = json.loads((tmp_path / "out/config.json").read_text())
    (tmp_path / "out/config.json").write_text(json.dumps(settings | {"activation_function": "gelu_new"}))
    with torch.inference_mode():
        theirs = AutoModelForCausalLM.from_pretrained(tmp_path / "out")(some_tokens()).logits
    assert (theirs - logits_of(run, some_tokens())).abs().max() > 1e-4


@pytest.mark.usefixtures("offline")
def test_transformers_reads_a_prompt_as_the_study_does_and_writes_the_same(workspace, tmp_path):
    from transformers import AutoModelForCausalLM, AutoTokenizer

    run = shared(workspace, "5-42", tmp_path / "out")
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "out")
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "out")
    for text in ("The ferry", "Café — 1,234.\n\n  then"):
        assert tokenizer(text)["input_ids"] == [run.boundary, *run.tokenizer.encode(text).ids]
        assert tokenizer(text, add_special_tokens=False)["input_ids"] == run.tokenizer.encode(text).ids
        assert tokenizer.decode(tokenizer(text)["input_ids"], skip_special_tokens=True) == text
    assert tokenizer.model_max_length == CONTEXT
    prompt = tokenizer("The", return_tensors="pt")
    ids = prompt["input_ids"][0].tolist()
    theirs = model.generate(**prompt, max_length=CONTEXT, do_sample=False, eos_token_id=None)[0].tolist()
    assert theirs == ids + write(run.model, ids, CONTEXT - len(ids), seed=0, drawing=Drawing(top_k=1))


def load_class(folder: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location("lstm_language_model", folder / "lstm_language_model.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.usefixtures("offline")
@pytest.mark.parametrize("experiment", ["1", "2"])
def test_the_class_beside_the_lstms_weights_gives_our_logits(workspace, tmp_path, experiment):
    run = shared(workspace, f"{experiment}-42", tmp_path / "out")
    code = (tmp_path / "out/lstm_language_model.py").read_text()
    assert not re.search(r"(import|from) (lm|stages)\b", code), "it needs nothing of the study"
    model = load_class(tmp_path / "out").LSTMLanguageModel.from_pretrained(str(tmp_path / "out"), strict=True)
    with torch.inference_mode():
        theirs, state = model(some_tokens()[:, :3])
        rest, _ = model(some_tokens()[:, 3:], state)
    torch.testing.assert_close(torch.cat([theirs, rest], 1), logits_of(run, some_tokens()), rtol=0, atol=1e-5)
    assert model.generate([5, 7], 12, top_k=1) == _until(
        write(run.model, [5, 7], 12, seed=0, drawing=Drawing(top_k=1)), run.boundary
    )


def _until(ids: list[int], end: int) -> list[int]:
    return ids[: ids.index(end)] if end in ids else ids


@pytest.mark.usefixtures("offline")
@pytest.mark.parametrize("architecture", ["gpt", "lstm"])
def test_frozen_embeddings_travel_along(tmp_path, architecture):
    from transformers import AutoModelForCausalLM

    write_workspace(tmp_path)
    generator = np.random.default_rng(0)
    tables = tuple((0.3 * generator.standard_normal((rows, 16))).astype(np.float32) for rows in (VOCABULARY, CONTEXT))
    write_embeddings(tmp_path / "data/embeddings", tables, {"source": "invented"})
    run_config = config(architecture, "5", embeddings="gpt1")
    pretrained = open_embeddings(tmp_path / "data/embeddings", run_config.model, VOCABULARY)
    write_run(tmp_path, run_config, pretrained=pretrained)
    run = shared(tmp_path, "5-42", tmp_path / "out")
    if architecture == "gpt":
        theirs = AutoModelForCausalLM.from_pretrained(tmp_path / "out")(some_tokens()).logits
    else:
        theirs = load_class(tmp_path / "out").LSTMLanguageModel.from_pretrained(str(tmp_path / "out"))(some_tokens())[0]
    torch.testing.assert_close(theirs, logits_of(run, some_tokens()), rtol=0, atol=1e-5)
    assert "OpenAI's GPT-1, released under the MIT license" in (tmp_path / "out/README.md").read_text()


# the card


@pytest.mark.usefixtures("offline")
@pytest.mark.parametrize("name", ["8-42", "1-42"])
def test_what_the_card_has_you_type_works(workspace, tmp_path, capsys, monkeypatch, name):
    shared(workspace, name, tmp_path / "out")
    (code,) = re.findall(r"```python\n(.*?)```", (tmp_path / "out/README.md").read_text(), flags=re.DOTALL)
    monkeypatch.setattr(sys, "path", list(sys.path))
    exec(code.replace('"MODEL"', repr(str(tmp_path / "out"))), {})
    sys.modules.pop("lstm_language_model", None)
    assert "Fellow citizens" in capsys.readouterr().out


def test_the_card_says_what_the_run_is(workspace, tmp_path):
    shared(workspace, "6-42", tmp_path / "out", license_name="cc-by-4.0", language="en")
    card = ModelCard.load(tmp_path / "out/README.md")
    assert (card.data.license, card.data.language, card.data.library_name) == ("cc-by-4.0", "en", "transformers")
    assert card.data.model_name == "GPT-1, 3 layers, AdamW, trained on ferry"
    measured = {
        (each.dataset_name, each.dataset_split, each.metric_type): each.metric_value for each in card.data.eval_results
    }
    assert measured == {("ferry", "test", "perplexity"): 143.25, ("ferry", "test", "bits_per_byte"): 2.125}
    for said in (
        "`6-42`",
        "| corpus | ferry, version 3 |",
        "| license of the texts | CC BY 4.0 |",
        "| perplexity by token, test split | 143.25 |",
        "| bits per byte, test split | 2.125 |",
        "| norm | pre |",
        "| weight decay | 0.01 |",
        "| training time | 61 s on a processor |",
        "revision abc123, PyTorch 9.9",
        "layer norm before attention",
        "These weights: `cc-by-4.0`",
        "how far another seed would move these figures is not known",
    ):
        assert said in card.text, said
    assert "None" not in card.text and str(workspace) not in card.text


def test_an_interval_over_documents_is_that_of_a_ratio(workspace, tmp_path):
    figures = card_figures(open_written(workspace, "5-42"), workspace / "reports")
    tokens, loss = sum(count for count, _ in DOCUMENTS), figures.documents.mean
    assert loss == pytest.approx(sum(nll for _, nll in DOCUMENTS) / tokens)
    shared(workspace, "5-42", tmp_path / "out")
    low, high = math.exp(figures.documents.low), math.exp(figures.documents.high)
    assert f"perplexity is {low:,.2f} to {high:,.2f}" in (tmp_path / "out/README.md").read_text()


def test_of_documents_of_one_size_it_is_that_of_their_mean(workspace):
    run = open_written(workspace, "5-42")
    nll = [20.5, 31.0, 26.25, 24.0]
    rows = "".join(f"{number},10,{value}\n" for number, value in enumerate(nll))
    path = run.folder / "test_documents.csv"
    before = path.read_text()
    try:
        path.write_text("document,predicted_tokens,nll\n4,0,0.0\n" + rows)
        found = card_figures(run, workspace / "reports").documents
        path.write_text("document,predicted_tokens,nll\n0,10,20.5\n")
        assert card_figures(run, workspace / "reports").documents is None
        path.write_text("document,tokens\n0,10\n")
        with pytest.raises(StudyError, match=r"test_documents\.csv: cannot be read"):
            card_figures(run, workspace / "reports")
    finally:
        path.write_text(before)
    expected = estimate(value / 10 for value in nll)
    assert (found.mean, found.half, found.count) == pytest.approx((expected.mean, expected.half, 4))


def test_seeds_stand_beside_a_run_that_the_reports_hold(workspace):
    run = open_written(workspace, "5-42")
    runs, epochs = make_results({"5": ("gpt", 2, "adamw")}, seeds=[42, 43, 44])
    summary = summarize(runs, epochs)["5"]
    own = card_figures(run, workspace / "reports")
    figures = CardFigures(metrics=own.metrics, cost=own.cost, documents=own.documents, summary=summary)
    packed = packer("gpt").pack(run.model, run.config.model, run.boundary)
    corpus = {"source": "ferry", "version": "3", "license": "CC0"}
    text = model_card(run, packed, corpus, figures, None, None)
    mean, low, high = (math.exp(x) for x in (summary.test_loss.mean, summary.test_loss.low, summary.test_loss.high))
    assert "| | this model | mean over 3 seeds (95 % interval) |" in text
    assert f"| perplexity by token, test split | 143.25 | {mean:,.2f} ({low:,.2f} to {high:,.2f}) |" in text
    assert "is not known" not in text and "Nobody has said under which license" in text


def test_reports_of_other_runs_are_left_alone(workspace, tmp_path):
    run = open_written(workspace, "5-42")
    runs, epochs = make_results({"5": ("gpt", 2, "adamw")}, seeds=[42, 43])
    write_reports(tmp_path, runs, epochs)
    assert card_figures(run, tmp_path).summary is None
    metrics = json.loads((run.folder / "metrics.json").read_text())
    runs.loc[runs["seed"] == 42, "test_loss"] = metrics["test_loss"]
    write_reports(tmp_path, runs, epochs)
    assert card_figures(run, tmp_path).summary.id == "5"


def test_a_run_that_diverged_says_so(tmp_path):
    write_workspace(tmp_path)
    nothing = {
        f"{split}_{name}": None
        for split in ("test", "validation")
        for name in ("perplexity", "bits_per_byte", "word_perplexity")
    }
    write_run(tmp_path, config("lstm", "1"), status="diverged", diverged_step=17, **nothing)
    shared(tmp_path, "1-42", tmp_path / "out")
    card = ModelCard.load(tmp_path / "out/README.md")
    assert "**Its training diverged** at step 17" in card.text and card.data.eval_results is None
    assert "| perplexity by token, test split | none |" in card.text and "bits per byte, test" not in card.text


def test_a_corpus_of_ids_has_no_tokenizer_to_share(tmp_path):
    write_workspace(tmp_path, text=False)
    write_run(tmp_path, config("gpt", "5"))
    write_run(tmp_path, config("lstm", "1"))
    for name in ("5-42", "1-42"):
        shared(tmp_path, name, tmp_path / name)
        assert not list((tmp_path / name).glob("tokenizer*"))
        card = (tmp_path / name / "README.md").read_text()
        assert "there is no `tokenizer.json`" in card and "AutoTokenizer" not in card and "Tokenizer.from" not in card


# the folder and the command


def run_export(monkeypatch, workspace: Path, *words: str) -> None:
    options = ["--corpus", str(workspace / "data/corpus"), "--reports", str(workspace / "reports"), "--device", "cpu"]
    monkeypatch.setattr(sys, "argv", ["export", *words, *folders(workspace), *options])
    export_stage.main()


def test_it_names_what_it_wrote_and_repeats(monkeypatch, capsys, workspace, tmp_path):
    for out in ("a", "b/c"):
        (tmp_path / out).mkdir(parents=True)
        run_export(monkeypatch, workspace, "5-42", str(tmp_path / out))
    said = capsys.readouterr().out
    names = sorted(path.name for path in (tmp_path / "a").iterdir())
    assert names == [
        "README.md",
        "config.json",
        "generation_config.json",
        "model.safetensors",
        "tokenizer.json",
        "tokenizer_config.json",
    ]
    assert all(f"  {name} " in said for name in names)
    assert all((tmp_path / "a" / name).read_bytes() == (tmp_path / "b/c" / name).read_bytes() for name in names)
    assert [path.name for path in (tmp_path / "b").iterdir()] == ["c"], "nothing half-made is left beside it"


def test_what_it_refuses_is_one_line_and_leaves_nothing(monkeypatch, capsys, workspace, tmp_path):
    (tmp_path / "full").mkdir()
    (tmp_path / "full/mine.txt").write_text("mine")
    (tmp_path / "file").write_text("mine")
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    for words, said in (
        (["5-43", "out"], r"no trained run '5-43'; did you mean"),
        (["5-42", "full"], "full: there already; name a folder that is new or empty"),
        (["5-42", "file"], "file: there already"),
        (["5-42", "link"], "link: there already"),
        (["5-42", "file/out"], r"file/out: cannot be written \(Not a directory\); name another"),
        (["5-42", "out", "--corpus", str(tmp_path)], "card.json: no such file; run `dvc repro"),
    ):
        monkeypatch.chdir(tmp_path)
        with pytest.raises(SystemExit) as end:
            # the last of an option given twice counts
            monkeypatch.setattr(
                sys,
                "argv",
                ["export", "--corpus", str(workspace / "data/corpus"), *words, *folders(workspace)],
            )
            export_stage.main()
        err = capsys.readouterr().err
        assert end.value.code == 1 and re.match(f"error: .*{said}", err) and err.count("\n") == 1, err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "full", "link"]


def test_a_full_disk_leaves_nothing_half_made(monkeypatch, workspace, tmp_path):
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(export_room, "_write_json", full)
    with pytest.raises(StudyError, match=r"out: cannot be written \(No space left on device\)"):
        shared(workspace, "5-42", tmp_path / "out")
    assert not list(tmp_path.iterdir())


def test_a_run_without_its_figures_is_not_shared(tmp_path):
    write_workspace(tmp_path)
    write_run(tmp_path, config("gpt", "5"))
    path = tmp_path / "runs/5-42/metrics.json"
    path.unlink()
    with pytest.raises(StudyError, match=r"metrics\.json: no such file; run `dvc repro train@5-42`"):
        shared(tmp_path, "5-42", tmp_path / "out")
    path.write_text("{")
    with pytest.raises(StudyError, match=r"metrics\.json: cannot be read"):
        shared(tmp_path, "5-42", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_an_architecture_that_nobody_has_packed_is_refused():
    with pytest.raises(StudyError, match=r"no way to pack mamba yet; write lm/trained/hub/mamba\.py"):
        packer("mamba")
