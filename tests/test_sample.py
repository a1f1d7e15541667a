"""Asking a model: its kept state against the whole window, draws, text as it comes, and what the command refuses."""

from __future__ import annotations

import hashlib
import io
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import pytest
import torch
from dvc_data.hashfile.hash_info import HashInfo
from dvc_data.hashfile.tree import Tree
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from lm.corpus.gpt1 import build_tokenizer
from lm.corpus.tokenizer import BOUNDARY, train_byte_bpe
from lm.models.language_model import LanguageModel
from lm.trained.generation import Drawing, TextStream, draw, stream, write
from lm.trained.locked import md5_of
from stages import export as export_stage
from stages import sample as sample_stage
from stages import score as score_stage
from tests import invented
from tests.trained_runs import CONTEXT, TEXT, VOCABULARY, config, folders, open_written, write_run, write_workspace

ROOT = Path(__file__).parent.parent
TOKENIZER = train_byte_bpe([TEXT], VOCABULARY)
MODELS = {
    "lstm": config("lstm", "1"),
    "gpt": config("gpt", "5"),
    "gpt before": config("gpt", "6", norm="pre"),
    "gpt of odd context": config("gpt", "7", context=CONTEXT - 1),
}


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("study")
    write_workspace(root)
    for run in MODELS.values():
        write_run(root, run)
    return root


def model_of(workspace: Path, name: str) -> LanguageModel:
    return open_written(workspace, f"{MODELS[name].experiment}-42").model


# the kept state


def seen_window(ids: list[int], new: int, before: list[int], context: int) -> list[int]:
    """What a GPT sees, by its documentation: all that is read, until it is more than a context; then the last half."""
    window = [*before, *ids[-new:]]
    return window if len(window) <= context else window[-min(context, max(new, (context + 1) // 2)) :]


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("prompt", [1, 3, CONTEXT, CONTEXT + 5])
def test_kept_state_gives_the_logits_of_the_window_run_whole(workspace, name, prompt):
    """To the context's limit and, by sliding, far beyond it."""
    model, context = model_of(workspace, name).double(), MODELS[name].model.context
    ids = torch.randint(0, VOCABULARY, (prompt + 3 * CONTEXT,), generator=torch.Generator().manual_seed(1)).tolist()
    state, window, slid = None, [], 0
    for end in range(prompt, len(ids)):
        new = prompt if end == prompt else 1
        before = len(window)
        window = ids[:end] if "lstm" in name else seen_window(ids[:end], new, window, context)
        slid += len(window) <= before
        with torch.inference_mode():
            features, state = model.decode(torch.tensor([ids[end - new : end]]), state)
            whole = model(torch.tensor([window]))[:, -1]
            table = model.embedding.weight
            torch.testing.assert_close(features @ table.T, whole @ table.T, rtol=0, atol=1e-12)
    assert ("lstm" in name) == (slid == 0)


def test_what_is_written_is_what_the_whole_window_would_write(workspace):
    model = model_of(workspace, "gpt")
    written = write(model, [5, 9], CONTEXT - 2, seed=3)
    ids, generator = [5, 9], torch.Generator().manual_seed(3)
    while len(ids) < CONTEXT:
        with torch.inference_mode():
            logits = model(torch.tensor([ids]))[:, -1] @ model.embedding.weight.T
        ids += draw(logits, Drawing(), [generator])
    assert ids[2:] == written


# draws


def test_a_passage_is_its_seeds_alone(workspace):
    model = model_of(workspace, "lstm")
    together = list(islice(stream(model, [7], drawing=Drawing(), seeds=[4, 5, 6]), 20))
    for place, seed in enumerate([4, 5, 6]):
        assert write(model, [7], 20, seed=seed) == [tokens[place] for tokens in together]
    assert len({tuple(column) for column in zip(*together, strict=True)}) == 3


def test_a_passage_ends_with_its_document_while_others_go_on(workspace):
    model = model_of(workspace, "gpt")
    free = write(model, [7], 30, seed=4), write(model, [7], 30, seed=5)
    end = next(token for token in free[0] if token not in free[1])
    place = free[0].index(end)
    drawn = list(islice(stream(model, [7], drawing=Drawing(), seeds=[4, 5], end=end), 30))
    assert [tokens[0] for tokens in drawn] == free[0][:place] + [None] * (30 - place)
    assert [tokens[1] for tokens in drawn] == free[1]
    alone = list(stream(model, [7], drawing=Drawing(), seeds=[4], end=end))
    assert len(alone) == place + 1, "and the stream ends with the last passage"


@given(
    logits=st.lists(st.floats(-50, 50, width=32), min_size=1, max_size=30),
    temperature=st.one_of(st.floats(1e-300, 1e300), st.sampled_from([5e-324, 1.0])),
    top_k=st.one_of(st.none(), st.integers(1, 40)),
    top_p=st.floats(0, 1, exclude_min=True),
    seed=st.integers(0, 2**63 - 1),
)
@settings(max_examples=200, deadline=None)
def test_only_what_is_kept_is_drawn(logits, temperature, top_k, top_p, seed):
    row = torch.tensor(logits, dtype=torch.float64)
    (drawn,) = draw(
        row[None],
        Drawing(temperature=temperature, top_k=top_k, top_p=top_p),
        [torch.Generator().manual_seed(seed)],
    )
    likelier = row > row[drawn]
    assert top_k is None or likelier.sum() < top_k
    kept = torch.topk(row, min(top_k or len(row), len(row))).values
    shares = torch.softmax((kept - kept[0]) / temperature, 0)
    before = shares[: int(likelier.sum())].sum()
    assert before < top_p or torch.isclose(before, torch.tensor(top_p, dtype=torch.float64))


def test_draws_come_in_their_probabilities():
    logits = torch.tensor([[2.0, 1.0, 0.0, -1.0]]).expand(4000, 4)
    generators = [torch.Generator().manual_seed(seed) for seed in range(4000)]
    for drawing, kept in (
        (Drawing(temperature=2.0, top_k=None), 4),
        (Drawing(temperature=2.0, top_k=3), 3),
        (Drawing(temperature=2.0, top_p=0.6), 2),
    ):
        expected = torch.zeros(4)
        expected[:kept] = torch.softmax(logits[0, :kept] / 2, 0)
        found = torch.bincount(torch.tensor(draw(logits, drawing, generators)), minlength=4) / 4000
        torch.testing.assert_close(found, expected, rtol=0, atol=0.03)


@pytest.mark.parametrize(
    ("settings", "kept"),
    [
        ({}, {0, 1, 2, 3}),
        ({"top_k": 2}, {1, 3}),
        ({"top_k": 9}, {0, 1, 2, 3}),
        ({"top_p": 0.35}, {1}),
        ({"top_p": 0.6}, {1, 3}),
        ({"top_p": 0.75}, {1, 2, 3}),
        ({"top_k": 2, "top_p": 0.5}, {1}),
        ({"temperature": 0.01}, {1}),
    ],
)
def test_top_k_and_top_p_keep_the_likeliest(settings, kept):
    logits = torch.tensor([[0.1, 0.4, 0.2, 0.3]]).log().expand(300, 4)
    generators = [torch.Generator().manual_seed(seed) for seed in range(300)]
    assert set(draw(logits, Drawing(**{"top_k": None} | settings), generators)) == kept


@pytest.mark.parametrize("top_k", [1, 5, None])
def test_the_likeliest_is_always_taken_where_nothing_else_is_kept(top_k):
    drawing = Drawing(top_k=top_k) if top_k == 1 else Drawing(top_k=top_k, temperature=1e-12)
    logits = torch.randn(20, 50, generator=torch.Generator().manual_seed(0))
    assert draw(logits, drawing, [torch.Generator()] * 20) == logits.argmax(1).tolist()


def test_an_empty_prompt_is_no_prompt(workspace):
    with pytest.raises(ValueError, match="at least one token"):
        write(model_of(workspace, "gpt"), [], 1, seed=0)


# text as it comes


def streamed(tokenizer, prompt: list[int], ids: list[int]) -> list[str]:
    text = TextStream(tokenizer, prompt)
    return [*(text.add(token) for token in ids), text.rest()]


@given(st.text(max_size=10), st.lists(st.integers(0, VOCABULARY - 1), max_size=30))
@settings(max_examples=200, deadline=None)
def test_what_comes_bit_by_bit_is_the_whole_text(prompt, ids):
    """Whatever the ids: a model that has not learned much ends characters amid their bytes."""
    before = TOKENIZER.encode(prompt).ids
    whole = TOKENIZER.decode(before + ids, skip_special_tokens=False)
    assert TOKENIZER.decode(before, skip_special_tokens=False) + "".join(streamed(TOKENIZER, before, ids)) == whole


def test_a_character_waits_for_all_of_its_bytes():
    ids = TOKENIZER.encode("é 🦆").ids
    pieces = streamed(TOKENIZER, [], ids)
    assert len(ids) > 3 and "".join(pieces) == "é 🦆" and not any("\ufffd" in piece for piece in pieces)


def test_words_of_gpt1s_vocabulary_stay_apart():
    """Its tokens mark a word's end, so that a space belongs to the word that follows."""
    tokenizer = build_tokenizer(invented.VOCABULARY, invented.MERGES)
    ids = tokenizer.encode("the thing and the ring").ids
    for split in range(1, len(ids)):
        before = tokenizer.decode(ids[:split], skip_special_tokens=False)
        assert before + "".join(streamed(tokenizer, ids[:split], ids[split:])) == "the thing and the ring"


# the command


def run_sample(monkeypatch, workspace: Path, *words: str, given: bytes | None = None) -> None:
    monkeypatch.setattr(sys, "argv", ["sample", *words, *folders(workspace), "--device", "cpu"])
    stdin = io.TextIOWrapper(io.BytesIO(given or b""))
    monkeypatch.setattr(stdin, "isatty", lambda: given is None)
    monkeypatch.setattr(sys, "stdin", stdin)
    sample_stage.main()


@pytest.mark.parametrize("run", ["1-42", "5-42"])
def test_it_goes_on_where_the_prompt_ends_and_repeats(monkeypatch, capsys, workspace, run):
    outputs = []
    for seed in ("3", "3", "4"):
        run_sample(monkeypatch, workspace, run, "The river", "--length", "20", "--seed", seed)
        outputs.append(capsys.readouterr().out)
    assert outputs[0] == outputs[1] != outputs[2]
    assert all(out.startswith("The river") and out.endswith("\n") for out in outputs)


def test_several_passages_are_each_what_its_seed_writes(monkeypatch, capsys, workspace):
    run_sample(monkeypatch, workspace, "5-42", "The river", "--length", "12", "--seed", "3", "--several", "2")
    together = capsys.readouterr().out
    alone = []
    for seed in ("3", "4"):
        run_sample(monkeypatch, workspace, "5-42", "The river", "--length", "12", "--seed", seed)
        alone.append(capsys.readouterr().out)
    assert together == f"--- 1 of 2, seed 3\n{alone[0]}\n--- 2 of 2, seed 4\n{alone[1]}"


class Screen(io.StringIO):
    """Keeps what was shown, which is what was written before a flush."""

    shown = ""

    def flush(self) -> None:
        self.shown = self.getvalue()


def test_text_is_shown_while_the_next_is_drawn(monkeypatch, workspace):
    screen, lengths = Screen(), []

    def watched(*arguments: object, **options: object) -> Iterator[list[int | None]]:
        for tokens in stream(*arguments, **options):
            lengths.append(len(screen.shown))
            yield tokens

    monkeypatch.setattr(sample_stage, "stream", watched)
    monkeypatch.setattr(sys, "stdout", screen)
    run_sample(monkeypatch, workspace, "1-42", "The river", "--length", "20", "--several", "2")
    first = screen.shown.split("\n\n--- 2 of 2")[0]
    heading = "--- 1 of 2, seed 0\n"
    assert lengths[0] == len(heading + "The river"), "the prompt before anything is drawn"
    assert len(set(lengths)) > 10 and lengths[-1] > 0.8 * len(first)


def test_a_prompt_from_standard_input_loses_its_last_line_end_alone(monkeypatch, capsys, workspace):
    run_sample(monkeypatch, workspace, "5-42", "The café\n\n", "--length", "9")
    expected = capsys.readouterr().out
    for more in ([], ["-"]):
        run_sample(monkeypatch, workspace, "5-42", *more, "--length", "9", given="The café\n\n\n".encode())
        assert capsys.readouterr().out == expected


def test_a_prompt_is_read_as_a_documents_beginning(monkeypatch, capsys, workspace):
    run = open_written(workspace, "5-42")
    prompt = [run.boundary, *run.tokenizer.encode("The river").ids]
    written = write(run.model, prompt, 5, seed=0)
    run_sample(monkeypatch, workspace, "5-42", "The river", "--length", "5")
    assert capsys.readouterr().out == run.tokenizer.decode(prompt[1:] + written) + "\n"


def test_text_that_spells_the_boundary_is_text(workspace):
    run = open_written(workspace, "5-42")
    assert run.boundary not in run.tokenizer.encode(f"a {BOUNDARY} b").ids


@pytest.mark.parametrize(
    ("words", "given", "said"),
    [
        (["5-43", "x"], None, r"runs: no trained run '5-43'; did you mean '5-42'\? allowed: 1-42, 5-42, 6-42, 7-42"),
        (["../runs/5-42", "x"], None, r"no trained run '\.\./runs/5-42'"),
        (["", "x"], None, "no trained run ''"),
        (["a\nb-1", "x"], None, r"no trained run 'a\\nb-1'"),
        (["5-42", ""], None, "prompt: empty; allowed: at least one word"),
        (["5-42", " \n"], None, "prompt: empty"),
        (["5-42", "ab\udcff"], None, "prompt: not UTF-8 at byte 2"),
        (["5-42"], b"ab\xff", "prompt: not UTF-8 at byte 2"),
        (["5-42"], b"\n", "prompt: empty"),
        (["5-42"], None, "prompt: none; give one after the run's name, or on standard input"),
        (["5-42", "x", "--temperature", "0"], None, r"--temperature: 0; allowed: above 0 \(.*top-k 1\)"),
        (["5-42", "x", "--temperature", "-1"], None, "--temperature: -1; allowed: above 0"),
        (["5-42", "x", "--temperature", "nan"], None, "--temperature: nan; allowed: above 0"),
        (["5-42", "x", "--temperature", "inf"], None, "--temperature: inf; allowed: above 0"),
        (["5-42", "x", "--top-k", "0"], None, "--top-k: 0; allowed: 1 or more"),
        (["5-42", "x", "--top-p", "0"], None, "--top-p: 0; allowed: above 0, at most 1"),
        (["5-42", "x", "--top-p", "1.1"], None, "--top-p: 1.1; allowed: above 0, at most 1"),
        (["5-42", "x", "--length", "0"], None, "--length: 0; allowed: 1 to "),
        (["5-42", "x", "--length", "9" * 23], None, "--length: 9{23}; allowed: 1 to "),
        (["5-42", "x", "--several", "0"], None, "--several: 0; allowed: 1 to 1000"),
        (["5-42", "x", "--several", "1001"], None, "--several: 1001; allowed: 1 to 1000"),
        (["5-42", "x", "--seed", "-1"], None, "--seed: -1; allowed: 0 to "),
        (["5-42", "x", "--seed", str(2**63)], None, "--seed: "),
        (["5-42", "x", "--threads", "0"], None, "--threads: 0; allowed: 1 to 256"),
        (["5-42", "x", "--threads", "100000"], None, "--threads: 100000; allowed: 1 to 256"),
    ],
)
def test_what_it_refuses_is_one_line(monkeypatch, capsys, workspace, words, given, said):
    with pytest.raises(SystemExit) as end:
        run_sample(monkeypatch, workspace, *words, given=given)
    out, err = capsys.readouterr()
    assert (end.value.code, out) == (1, "")
    assert re.match(f"error: .*{said}", err) and err.count("\n") == 1, err


def test_what_is_amiss_with_a_run_is_one_line(monkeypatch, capsys, tmp_path):
    def refused(said: str, run: str = "5-42") -> None:
        with pytest.raises(SystemExit) as end:
            run_sample(monkeypatch, tmp_path, run, "x")
        err = capsys.readouterr().err
        assert end.value.code == 1 and re.match(f"error: .*{said}", err) and err.count("\n") == 1, err

    refused("runs: holds no trained run; `dvc repro` trains them, `dvc pull` gets those trained before")
    write_workspace(tmp_path)
    write_run(tmp_path, config("gpt", "5"))
    weights = tmp_path / "runs/5-42/model.safetensors"
    whole = weights.read_bytes()
    weights.write_bytes(whole[: len(whole) // 2])
    refused(r"model.safetensors: damaged \(.*\); run `dvc repro train@5-42`")
    weights.write_bytes(whole)
    state = load_file(weights)
    save_file({name: weight * torch.nan for name, weight in state.items()}, weights)
    refused("model.safetensors: .*no finite numbers: the run diverged")
    weights.write_bytes(whole)
    (tmp_path / "configs/5.json").write_text(config("gpt", "5", mlp=20).to_json())
    refused("model.safetensors: does not fit .*5.json and .*tokens")
    (tmp_path / "configs/5.json").write_text(config("lstm", "5").to_json())
    refused("model.safetensors: does not fit .*5.json and .*tokens")
    (tmp_path / "configs/5.json").unlink()
    refused("5.json: no such file; run `dvc repro configure`")
    weights.unlink()
    refused(
        "model.safetensors: no such file, though the run's folder is there; get the weights by `dvc pull train@5-42`"
    )


def test_a_corpus_of_ids_knows_no_text(monkeypatch, capsys, tmp_path):
    write_workspace(tmp_path, text=False)
    write_run(tmp_path, config("gpt", "5"))
    with pytest.raises(SystemExit):
        run_sample(monkeypatch, tmp_path, "5-42", "x")
    assert "5-42: trained on token ids without a vocabulary" in capsys.readouterr().err


def test_a_configuration_may_lie_elsewhere(monkeypatch, capsys, tmp_path, workspace):
    """As in a pipeline whose runs have names of their own."""
    write_run(tmp_path, config("gpt", "5"))
    (tmp_path / "runs/5-42").rename(tmp_path / "runs/gpt-adam-a")
    runs, file = tmp_path / "runs", tmp_path / "configs/5.json"
    words = ["gpt-adam-a", "The", *folders(workspace), "--runs", str(runs), "--config", str(file)]
    monkeypatch.setattr(sys, "argv", ["sample", *words])
    sample_stage.main()
    assert capsys.readouterr().out.startswith("The")


def test_a_hash_is_dvcs(tmp_path):
    """DVC's own objects, over a folder with a folder."""
    (tmp_path / "b").mkdir()
    for name, text in (("z", "1"), ("b/a", "2"), ("b.txt", "3"), ("é", "")):
        (tmp_path / name).write_text(text)
    tree = Tree()
    for path in (each for each in tmp_path.rglob("*") if each.is_file()):
        tree.add(path.relative_to(tmp_path).parts, None, HashInfo("md5", md5_of(path)))
    tree.digest()
    assert md5_of(tmp_path) == tree.hash_info.value
    assert md5_of(tmp_path / "z") == hashlib.md5(b"1").hexdigest()


def test_options_may_stand_before_the_prompt(monkeypatch, capsys, workspace):
    run_sample(monkeypatch, workspace, "5-42", "--length", "3", "The river")
    assert capsys.readouterr().out.startswith("The river")


def test_a_closed_pipe_ends_it_quietly(workspace):
    command = [sys.executable, "-m", "stages.sample", "5-42", "The river", "--length", "50", *folders(workspace)]
    process = subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=os.environ | {"OMP_NUM_THREADS": "1"}
    )
    process.stdout.close()
    assert process.stderr.read() == b""
    assert process.wait() == 141


def test_an_interrupt_ends_it_quietly(monkeypatch, capsys, workspace):
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(sample_stage, "stream", interrupted)
    with pytest.raises(SystemExit) as end:
        run_sample(monkeypatch, workspace, "5-42", "The river")
    assert end.value.code == 130 and capsys.readouterr().err == ""


@pytest.mark.parametrize("stage", [sample_stage, score_stage, export_stage])
def test_help_says_what_there_is(monkeypatch, capsys, stage):
    name = stage.__name__
    monkeypatch.setattr(sys, "argv", [name, "--help"])
    with pytest.raises(SystemExit) as end:
        stage.main()
    said = capsys.readouterr().out
    assert end.value.code == 0 and "examples:" in said and "Exit status: 0" in said
    documented = (ROOT / "docs/models.md").read_text()
    commands = re.findall(rf"python -m {name}[^|\n]*", said + documented)
    assert len(commands) > 3
    for option in {option for command in commands for option in re.findall(r"--[a-z-]+", command)}:
        assert f"{option} " in said, f"{option} is no option of {name}"
