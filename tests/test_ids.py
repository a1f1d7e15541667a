"""The course's archives of token ids as a corpus: its very tokens, and no words or bytes, which nobody knows."""

from __future__ import annotations

import argparse
import json
import math
import re
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from ruamel.yaml import YAML
from tokenizers import Tokenizer

import stages.corpus
import stages.samples
import stages.tokenize
from lm.corpus import SPLITS, gpt1
from lm.corpus.gpt1 import build_tokenizer, content_digest
from lm.corpus.ids import IdLines, read_ids, write_ids
from lm.corpus.sources import load_corpus
from lm.corpus.tokenizer import BOUNDARY, train_byte_bpe
from lm.corpus.tokens import select_lines
from lm.errors import StudyError
from lm.training.outputs import _split_measures
from tests.invented import MERGES, VOCABULARY, write_files
from tests.trained_runs import config

ROOT = Path(__file__).parents[1]


def archive(folder: Path, split: str, tokens, sizes) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    np.savez(folder / f"wiki.{split}.npz", tokens=tokens, sizes=sizes)


def lines_of(seed: int, count: int, highest: int = 40_478) -> tuple[np.ndarray, np.ndarray]:
    """``count`` lines of 1 to 9 ids each, the lowest and the highest id among them."""
    generator = np.random.default_rng(seed)
    sizes = generator.integers(1, 10, count)
    tokens = generator.integers(1, highest + 1, sizes.sum()).astype(np.uint16)
    tokens[0], tokens[-1] = 1, highest
    return tokens, sizes


@pytest.fixture
def course(tmp_path) -> Path:
    """A folder as students have it, with few lines, free to be spoiled."""
    for seed, split in enumerate(SPLITS):
        archive(tmp_path / "course", split, *lines_of(seed, 40 + 20 * (split == "train")))
    return tmp_path / "course"


@pytest.fixture
def pipeline(tmp_path, monkeypatch):
    """Runs the stages corpus and tokenize with changed settings; returns the tokens' folder."""

    def run(corpus: Path, tokenizer: dict, given: Path | None = None, context: int = 32) -> Path:
        params = YAML(typ="safe").load((ROOT / "params.yaml").read_text())
        params |= {"corpus": corpus.name, "scale": "smoke", "gpt1": {"tokenizer": None, "embeddings": None}}
        params["gpt1"]["tokenizer"] = str(given) if given else None
        params["scales"]["smoke"] |= {"tokenizer": tokenizer, "context": context}
        with (tmp_path / "params.yaml").open("w") as file:
            YAML().dump(params, file)
        data, tokens = tmp_path / "data" / "corpus", tmp_path / "data" / "tokens"
        shutil.rmtree(tmp_path / "data", ignore_errors=True)
        common = ["--params", str(tmp_path / "params.yaml"), "--out"]
        monkeypatch.setattr("sys.argv", ["corpus", *common, str(data), "--corpora", str(corpus.parent)])
        stages.corpus.main()
        monkeypatch.setattr("sys.argv", ["tokenize", *common, str(tokens), "--corpus", str(data)])
        stages.tokenize.main()
        return tokens

    return run


@pytest.fixture
def accepted(monkeypatch) -> None:
    """The invented vocabulary passes for GPT-1's, and nothing is downloaded."""
    monkeypatch.setattr(gpt1, "DIGEST", content_digest(VOCABULARY, MERGES))
    monkeypatch.delattr(gpt1, "fetch")


GPT1 = {"kind": "gpt1", "vocabulary": 40_479, "train_share": 1.0, "held_out_share": 1.0}
BPE = {"kind": "bpe", "vocabulary": 300, "train_share": 1.0, "held_out_share": 1.0}


@pytest.mark.parametrize("settings", [GPT1, BPE], ids=["gpt1", "bpe"])
def test_the_ids_pass_through_whatever_the_scales_tokenizer(course, pipeline, settings, monkeypatch):
    monkeypatch.delattr(gpt1, "fetch")
    folder = pipeline(course, settings)
    card = json.loads((folder / "card.json").read_text())
    assert card["vocabulary"] == 40_479
    assert card["tokenizer"] == {"kind": "ids", "sha256": None}
    for split in SPLITS:
        expected = np.load(course / f"wiki.{split}.npz")["tokens"]
        found = np.load(folder / f"{split}.npy")
        assert found.dtype == np.uint16
        assert np.array_equal(found, expected)
        counts = card["splits"][split]
        assert (counts["tokens"], counts["words"], counts["bytes"]) == (len(expected), None, None)
        assert 1 < counts["unigram_perplexity"] < 100_000
    assert not (folder / "tokenizer.json").exists()


@pytest.mark.usefixtures("accepted")
def test_a_vocabulary_beside_the_archives_or_in_the_settings_decodes(course, pipeline, tmp_path):
    expected = build_tokenizer(VOCABULARY, MERGES).to_str()
    given = write_files(tmp_path / "release")
    for folder in (pipeline(course, GPT1, given), pipeline(write_files(course), BPE)):
        assert Tokenizer.from_file(str(folder / "tokenizer.json")).to_str() == expected
        assert len(json.loads((folder / "card.json").read_text())["tokenizer"]["sha256"]) == 64


@pytest.mark.usefixtures("accepted")
def test_text_becomes_one_stream_of_gpt1_ids(pipeline, tmp_path):
    texts = {f"{number}.txt": f"The thing\n\n in {number} 日本 <unk> and\n" * 30 for number in range(5)}
    (tmp_path / "texts").mkdir()
    for name, text in texts.items():
        (tmp_path / "texts" / name).write_text(text, encoding="utf-8")
    folder = pipeline(tmp_path / "texts", GPT1, write_files(tmp_path / "release"))
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    card = json.loads((folder / "card.json").read_text())
    assert card["tokenizer"]["kind"] == "gpt1"
    for split in SPLITS:
        documents = (tmp_path / "data" / "corpus" / f"{split}.jsonl").read_text(encoding="utf-8").splitlines()
        ids = tokenizer.encode("\n".join(json.loads(line)["text"] for line in documents)).ids
        assert np.load(folder / f"{split}.npy").tolist() == ids
        assert card["splits"][split]["words"] == 7 * 30 * len(documents)


def test_a_share_is_of_lines_spread_evenly():
    tokens, sizes = lines_of(3, 200)
    starts = np.cumsum(sizes) - sizes
    chosen = select_lines(IdLines(tokens, sizes), 0.1)
    assert len(chosen.sizes) == 20
    numbers = range(5, 200, 10)
    assert chosen.tokens.tolist() == [t for i in numbers for t in tokens[starts[i] : starts[i] + sizes[i]].tolist()]
    whole = select_lines(IdLines(tokens, sizes), 1.0)
    assert np.array_equal(whole.tokens, tokens)
    assert np.array_equal(whole.sizes, sizes)


def test_what_is_written_is_the_same_each_time_and_comes_back(course, tmp_path):
    corpus = load_corpus(course.name, course.parent)
    for name in "ab":
        write_ids(corpus, tmp_path / name)
    files = [{path.name: path.read_bytes() for path in (tmp_path / name).iterdir()} for name in "ab"]
    assert files[0] == files[1]
    assert set(files[0]) == {"card.json", *(f"{split}.npz" for split in SPLITS)}
    for split in SPLITS:
        lines = read_ids(tmp_path / "a", split)
        assert np.array_equal(lines.tokens, corpus.splits[split].tokens)
        assert np.array_equal(lines.sizes, corpus.splits[split].sizes)
    card = json.loads(files[0]["card.json"])
    assert (card["kind"], card["vocabulary"], card["version"][:7]) == ("ids", 40_479, "sha256:")
    assert card["splits"]["train"]["documents"] == 60


def test_the_version_tells_contents_apart(course):
    before = load_corpus(course.name, course.parent).version
    tokens, sizes = lines_of(1, 40)
    tokens[5] = tokens[5] % 40_000 + 1
    archive(course, "validation", tokens, sizes)
    assert load_corpus(course.name, course.parent).version != before


def test_wider_integers_are_as_good(course):
    tokens, sizes = lines_of(1, 40)
    archive(course, "validation", tokens.astype(np.int64), sizes.astype(np.uint16))
    found = load_corpus(course.name, course.parent).splits["validation"]
    assert (found.tokens.dtype, found.sizes.dtype) == (np.uint16, np.int64)
    assert np.array_equal(found.tokens, tokens)


def saved(content, folder: Path) -> None:
    np.savez(folder / "wiki.test.npz", **content)


def zipped(path: Path, members: dict[str, bytes]) -> None:
    with zipfile.ZipFile(path, "w") as file:
        for name, content in members.items():
            file.writestr(name, content)


TOKENS = np.arange(1, 11, dtype=np.uint16)
SPOILED = {
    "missing": (lambda f: (f / "wiki.test.npz").unlink(), "no such file"),
    "text": (lambda f: (f / "wiki.test.npz").write_text("a text"), "not a NumPy archive"),
    "empty": (lambda f: (f / "wiki.test.npz").write_bytes(b""), "not a NumPy archive"),
    "cut off": (
        lambda f: (f / "wiki.test.npz").write_bytes((f / "wiki.test.npz").read_bytes()[:-40]),
        "not a NumPy archive",
    ),
    "one byte off": (
        lambda f: (f / "wiki.test.npz").write_bytes(
            (content := (f / "wiki.test.npz").read_bytes())[:200] + bytes([content[200] ^ 1]) + content[201:]
        ),
        "not a NumPy archive",
    ),
    "a bare array": (
        lambda f: (np.save(f / "x.npy", TOKENS), (f / "x.npy").rename(f / "wiki.test.npz")),
        "not a NumPy archive",
    ),
    "objects": (
        lambda f: saved({"tokens": np.array([[1], [2, 3]], dtype=object), "sizes": [1, 2]}, f),
        "not a NumPy archive of plain integers",
    ),
    "no array": (
        lambda f: zipped(f / "wiki.test.npz", {"tokens": b"1 2", "sizes": b"2"}),
        "tokens is |S3 of shape ()",
    ),
    "members that are no arrays": (
        lambda f: zipped(f / "wiki.test.npz", {"tokens.npy": b"1 2", "sizes.npy": b"2"}),
        "tokens is |S3 of shape ()",
    ),
    "no sizes": (lambda f: saved({"tokens": TOKENS}, f), "sizes"),
    "floats": (lambda f: saved({"tokens": TOKENS * 1.0, "sizes": [10]}, f), "tokens is float64 of shape (10,)"),
    "a table": (
        lambda f: saved({"tokens": TOKENS.reshape(2, 5), "sizes": [10]}, f),
        "tokens is uint16 of shape (2, 5)",
    ),
    "no tokens": (lambda f: saved({"tokens": TOKENS[:0], "sizes": np.zeros(0, int)}, f), "no tokens"),
    "padding": (lambda f: saved({"tokens": TOKENS - 1, "sizes": [10]}, f), "id 0 in tokens; ids are 1 to 40478"),
    "negative": (lambda f: saved({"tokens": TOKENS.astype(int) - 4, "sizes": [10]}, f), "id -3 in tokens"),
    "too high": (lambda f: saved({"tokens": TOKENS + 40_469, "sizes": [10]}, f), "id 40479 in tokens; ids are 1 to"),
    "sizes short": (lambda f: saved({"tokens": TOKENS, "sizes": [4, 5]}, f), "sizes sum to 9 with 10 tokens"),
    "sizes below 0": (lambda f: saved({"tokens": TOKENS, "sizes": [12, -2]}, f), "sizes sum to 10 with 10 tokens"),
}


@pytest.mark.parametrize("case", SPOILED)
def test_an_archive_that_will_not_do_is_one_line(course, pipeline, capsys, tmp_path, case):
    spoil, said = SPOILED[case]
    spoil(course)
    with pytest.raises(SystemExit):
        pipeline(course, BPE)
    error = capsys.readouterr().err
    assert error.startswith(f"error: {course / 'wiki.test.npz'}: ")
    assert said in error
    assert error.count("\n") == 1
    assert not (tmp_path / "data").exists()


def test_too_few_ids_for_a_window(course, pipeline, capsys, tmp_path):
    with pytest.raises(SystemExit):
        pipeline(course, BPE, context=5000)
    assert re.search(r"the train split has \d+ tokens, fewer than one window of 5001", capsys.readouterr().err)
    assert not (tmp_path / "data" / "tokens").exists()


def test_a_wrong_vocabulary_beside_the_archives(course):
    with pytest.raises(StudyError, match=r"encoder_bpe_40000\.json: .* not GPT-1's"):
        load_corpus(course.name, write_files(course).parent)


def test_without_bytes_and_words_there_are_no_measures_by_them():
    counts = {"predicted_tokens": 100, "bytes": None, "words": None}
    assert _split_measures("test", 2.0, counts) == {
        "test_loss": 2.0,
        "test_perplexity": math.exp(2.0),
        "test_bits_per_byte": None,
        "test_word_perplexity": None,
    }


def test_samples_without_a_vocabulary_say_so(tmp_path, monkeypatch):
    for name in ("reports", "tokens"):
        (tmp_path / name).mkdir()
    arguments = ["--reports", str(tmp_path / "reports"), "--tokens", str(tmp_path / "tokens")]
    monkeypatch.setattr("sys.argv", ["samples", *arguments])
    stages.samples.main()
    written = json.loads((tmp_path / "reports" / "samples.json").read_text())
    assert (written["decodable"], written["passages"]) == (False, [])


def test_what_a_passage_starts_with(tmp_path):
    np.save(tmp_path / "validation.npy", np.array([17, 4], dtype=np.uint16))
    assert stages.samples.start_token(build_tokenizer(VOCABULARY, MERGES), tmp_path) == 17
    bytes_tokenizer = train_byte_bpe(["some text, some more text"], 258)
    assert stages.samples.start_token(bytes_tokenizer, tmp_path) == bytes_tokenizer.token_to_id(BOUNDARY)


@pytest.mark.parametrize(("content", "said"), [(b"cut off", "damaged ("), (None, "no such file")])
def test_samples_of_damaged_weights_are_one_line(tmp_path, content, said):
    """It names the file and the run that makes it anew."""
    run = pd.Series({"experiment": "5", "seed": 42, "vocabulary": 300, "model": "gpt", "layers": 2})
    (tmp_path / "runs" / "5-42").mkdir(parents=True)
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs" / "5.json").write_text(config("gpt").to_json())
    if content is not None:
        (tmp_path / "runs" / "5-42" / "model.safetensors").write_bytes(content)
    places = {name: tmp_path / name for name in ("runs", "configs", "tokens", "embeddings")}
    arguments = argparse.Namespace(**places, count=3, seed=0)
    with pytest.raises(StudyError) as error:
        stages.samples.write_passage(run, build_tokenizer(VOCABULARY, MERGES), arguments)
    line = str(error.value)
    assert line.startswith(f"{tmp_path / 'runs' / '5-42' / 'model.safetensors'}: {said}")
    assert line.endswith("run `dvc repro train@5-42`")
