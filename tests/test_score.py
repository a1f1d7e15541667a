"""Scoring text: the study's own figures, every token once, and the passages that were expected least."""

from __future__ import annotations

import dataclasses
import io
import json
import math
import re
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lm.config.run import ComputeConfig
from lm.corpus.tokenizer import train_byte_bpe
from lm.corpus.windows import Windows
from lm.errors import StudyError
from lm.models.build import build_model
from lm.trained.scoring import score_text, surprising_passages, text_losses
from lm.training.evaluation import token_nll
from lm.training.hardware import choose, settle
from stages import score as score_stage
from tests.trained_runs import CONTEXT, TEXT, VOCABULARY, config, folders, open_written, write_run, write_workspace

TOKENIZER = train_byte_bpe([TEXT], VOCABULARY)


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("study")
    write_workspace(root)
    write_run(root, config("lstm", "1"))
    write_run(root, config("gpt", "5"))
    return root


def model_of(architecture: str) -> torch.nn.Module:
    torch.manual_seed(2)
    return build_model(config(architecture).model, VOCABULARY).eval()


@pytest.mark.parametrize("architecture", ["lstm", "gpt"])
def test_windows_end_to_end_are_the_studys(architecture):
    ids = np.random.default_rng(0).integers(0, VOCABULARY, 5 * CONTEXT + 4)
    compute = settle(choose(ComputeConfig(device="cpu", precision="fp32", threads=1)))
    mean, expected = token_nll(model_of(architecture), Windows(ids, CONTEXT), compute)
    found = text_losses(model_of(architecture), ids, CONTEXT, CONTEXT)
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    assert found.mean() == pytest.approx(mean, rel=1e-6)


@given(size=st.integers(2, 45), stride=st.integers(1, CONTEXT), architecture=st.sampled_from(["lstm", "gpt"]))
@settings(max_examples=40, deadline=None)
def test_every_token_counts_once_and_sees_what_it_should(size, stride, architecture):
    """Against one window a token: the first that reaches it."""
    ids = np.random.default_rng(size).integers(0, VOCABULARY, size)
    model = model_of(architecture)
    expected = []
    for target in range(1, size):
        start = max(0, math.ceil((target - CONTEXT) / stride)) * stride
        with torch.no_grad():
            logits = model(torch.from_numpy(ids[start:target])[None])[0, -1] @ model.embedding.weight.T
        expected.append(-torch.log_softmax(logits, 0)[ids[target]].item())
        assert start == 0 or target - start > CONTEXT - stride
    np.testing.assert_allclose(text_losses(model, ids, CONTEXT, stride), expected, rtol=1e-4)


def test_a_model_that_knows_nothing_has_the_vocabularys_perplexity(workspace):
    run = open_written(workspace, "5-42")
    for weight in run.model.parameters():
        weight.data.zero_()
    scored = score_text(run, TEXT, passages=1, words=5)
    tokens = len(TOKENIZER.encode(TEXT).ids)
    for score in (scored.as_reported, scored.with_context):
        assert score.tokens == tokens, "the first is predicted from the boundary"
        assert score.perplexity == pytest.approx(VOCABULARY)
        assert score.bits_per_byte == pytest.approx(tokens * math.log2(VOCABULARY) / len(TEXT.encode()))
        assert score.word_perplexity == pytest.approx(VOCABULARY ** (tokens / len(TEXT.split())))


def test_text_that_the_model_has_just_read_surprises_less(workspace):
    """The two ways differ by what is seen at windows' starts alone."""
    run = open_written(workspace, "1-42")
    scored = score_text(run, TEXT, passages=0, words=5)
    assert scored.passages == () and scored.as_reported.nll != scored.with_context.nll
    short = score_text(run, "The ferry", passages=0, words=5)
    assert short.as_reported == short.with_context


def test_one_token_without_a_boundary_leaves_nothing_to_predict(workspace):
    run = open_written(workspace, "5-42")
    bare = TOKENIZER.from_str(
        json.dumps(json.loads(TOKENIZER.to_str()) | {"added_tokens": []}).replace("endoftext", "x")
    )
    run = dataclasses.replace(run, tokenizer=bare)
    assert run.boundary is None
    with pytest.raises(StudyError, match="text: too short"):
        score_text(run, "T", passages=1, words=1)
    assert score_text(run, "The ferry", passages=1, words=1).as_reported.tokens == len(bare.encode("The ferry").ids) - 1


def cost_by_word(text: str, costs: dict[str, float]) -> tuple[object, np.ndarray]:
    """The encoding, and losses: every token of a word in ``costs`` that, every other 0.01."""
    encoding = TOKENIZER.encode(text)
    nll = np.full(len(encoding.ids), 0.01)
    for word, cost in costs.items():
        start = text.index(word)
        for place, (first, last) in enumerate(encoding.offsets):
            if start <= first and last <= start + len(word):
                nll[place] = cost
    return encoding, nll


def test_the_passage_holds_the_surprise_and_says_where():
    text = TEXT + "\n\n  And then a Zeppelin 🦆 came  over the mill, and nobody looked.\n\n"
    encoding, nll = cost_by_word(text, {"Zeppelin": 9.0, "Café": 4.0})
    first, second, third = surprising_passages(text, encoding, nll, 3, 3)
    assert "Zeppelin" in first.text and first.line == 8
    assert "Café" in second.text and second.line in (2, 4)
    assert first.bits_per_byte > second.bits_per_byte > third.bits_per_byte > 0
    assert all(len(passage.text.split()) == 3 for passage in (first, second, third))


@given(st.text(st.sampled_from("ab é🦆\n\t"), min_size=1, max_size=40), st.integers(1, 6), st.integers(0, 5))
@settings(max_examples=200, deadline=None)
def test_passages_do_not_overlap_and_lose_nothing(text, words, passages):
    if not text.strip():
        return
    encoding = TOKENIZER.encode(text)
    nll = np.random.default_rng(len(text)).random(len(encoding.ids))
    (whole,) = surprising_passages(text, encoding, nll, 1, 1000)
    assert whole.text == " ".join(text.split())
    size = len(text[: len(text.rstrip())].encode())
    assert whole.bits_per_byte == pytest.approx(nll.sum() / size / math.log(2)), "every token is some word's"
    found = surprising_passages(text, encoding, nll, passages, words)
    assert [p.bits_per_byte for p in found] == sorted((p.bits_per_byte for p in found), reverse=True)
    length = min(words, len(text.split()))
    assert len(found) <= passages and sum(len(p.text.split()) for p in found) <= max(length, len(text.split()))
    assert passages == 0 or found


# the command


def run_score(monkeypatch, workspace: Path, *words: str, given: bytes | None = None) -> None:
    monkeypatch.setattr(sys, "argv", ["score", *words, *folders(workspace), "--device", "cpu"])
    stdin = io.TextIOWrapper(io.BytesIO(given or b""))
    monkeypatch.setattr(stdin, "isatty", lambda: given is None)
    monkeypatch.setattr(sys, "stdin", stdin)
    score_stage.main()


def test_it_says_what_it_counted(monkeypatch, capsys, workspace, tmp_path):
    path = tmp_path / "ferry.txt"
    path.write_text(TEXT)
    run_score(monkeypatch, workspace, "5-42", str(path), "--passages", "2", "--words", "4")
    table = capsys.readouterr().out
    run_score(monkeypatch, workspace, "5-42", "-", "--passages", "2", "--words", "4", "--json", given=TEXT.encode())
    figures = json.loads(capsys.readouterr().out)
    assert figures["words"] == len(TEXT.split()) and figures["bytes"] == len(TEXT.encode())
    assert f"{figures['words']} words, {figures['bytes']} bytes, {figures['tokens']} tokens predicted" in table
    for way in ("as_reported", "with_context"):
        found = figures[way]
        assert math.exp(found["loss"]) == pytest.approx(found["perplexity"])
        assert f"{found['perplexity']:,.2f}" in table and f"{found['bits_per_byte']:.3f}" in table
    for passage in figures["passages"]:
        assert f"{passage['bits_per_byte']:.2f}   line {passage['line']}: {passage['text']}" in table
    assert len(figures["passages"]) == 2 and figures["text"] == "standard input"


def test_what_no_float_holds_is_null(monkeypatch, capsys, workspace):
    run_score(monkeypatch, workspace, "5-42", "-", "--json", given=b"x" * 3000)
    found = json.loads(capsys.readouterr().out)["as_reported"]
    assert found["word_perplexity"] is None and found["perplexity"] > 1
    run_score(monkeypatch, workspace, "5-42", "-", given=b"x" * 3000)
    assert max(map(len, capsys.readouterr().out.splitlines())) < 450


@pytest.mark.parametrize(
    ("words", "content", "said"),
    [
        (["5-43"], b"x", r"no trained run '5-43'; did you mean '5-42'\? allowed: 1-42, 5-42"),
        (["5-42"], b"", "text.txt: empty; allowed: at least one word"),
        (["5-42"], b" \n\t", "text.txt: empty"),
        (["5-42"], b"abc\xc3", "text.txt: not UTF-8 at byte 3 \\(line 1\\): ends within a character"),
        (["5-42", "--passages", "-1"], b"x", "--passages: -1; allowed: 0 or more"),
        (["5-42", "--words", "0"], b"x", "--words: 0; allowed: 1 or more"),
    ],
)
def test_what_it_refuses_is_one_line(monkeypatch, capsys, workspace, tmp_path, words, content, said):
    path = tmp_path / "text.txt"
    path.write_bytes(content)
    refused(monkeypatch, capsys, workspace, said, words[0], str(path), *words[1:])


def test_what_is_no_text_is_one_line(monkeypatch, capsys, workspace, tmp_path):
    refused(monkeypatch, capsys, workspace, "none.txt: no such file", "5-42", str(tmp_path / "none.txt"))
    refused(monkeypatch, capsys, workspace, "a folder; name a text file", "5-42", str(tmp_path))
    refused(monkeypatch, capsys, workspace, "standard input: none; give a text, or name a file", "5-42", "-")


def refused(monkeypatch, capsys, workspace: Path, said: str, *words: str) -> None:
    with pytest.raises(SystemExit) as end:
        run_score(monkeypatch, workspace, *words)
    out, err = capsys.readouterr()
    assert (end.value.code, out) == (1, "")
    assert re.match(f"error: .*{said}", err) and err.count("\n") == 1, err
