"""Tokens: nothing of the text is lost, documents are marked, and the baseline is what it says."""

from __future__ import annotations

import hashlib
import json
import math
from itertools import combinations

import numpy as np
import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from lm.corpus import SPLITS
from lm.corpus import tokens as module
from lm.corpus.documents import Document
from lm.corpus.folds import deal
from lm.corpus.gpt1 import build_tokenizer
from lm.corpus.sources import load_corpus
from lm.corpus.tokenizer import BOUNDARY, train_byte_bpe
from lm.corpus.tokens import encode, join, pieces, select_share, unigram_perplexity, write_tokens
from lm.errors import StudyError


@pytest.fixture(scope="module")
def addresses():
    return load_corpus("sotu").splits


@pytest.fixture(scope="module")
def tokenizer(addresses):
    return train_byte_bpe([d.text for d in select_share(addresses["train"], 0.02)], 600)


def decoded(tokenizer, tokens: np.ndarray) -> list[str]:
    """The documents back from a stream of tokens, cut at its boundaries."""
    boundary = tokenizer.token_to_id(BOUNDARY)
    ends = np.flatnonzero(tokens == boundary)
    starts = [0, *(ends[:-1] + 1)]
    return [tokenizer.decode(tokens[a:b].tolist()) for a, b in zip(starts, ends, strict=True)]


def test_the_validation_tokens_give_the_text_back_byte_for_byte(addresses, tokenizer):
    documents = addresses["validation"]
    tokens, _starts = join(encode(tokenizer, documents))
    assert [text.encode() for text in decoded(tokenizer, tokens)] == [d.text.encode() for d in documents]


@settings(max_examples=100, deadline=None, derandomize=True)
@given(texts=st.lists(st.text(max_size=40), min_size=1, max_size=4))
def test_any_text_comes_back(tokenizer, texts):
    assert decoded(tokenizer, join(encode(tokenizer, [Document("d", text) for text in texts]))[0]) == texts


@pytest.mark.parametrize("text", [BOUNDARY, f"a{BOUNDARY}b {BOUNDARY}", "<|endof", "Ġ Ċ ā", "\r\n \t  ", "\u0000é😀"])
def test_text_that_looks_special_stays_text(tokenizer, text):
    tokens, starts = join(encode(tokenizer, [Document("d", text), Document("e", "end")]))
    assert decoded(tokenizer, tokens) == [text, "end"]
    ends = np.flatnonzero(tokens == tokenizer.token_to_id(BOUNDARY))
    assert starts.tolist() == [0, ends[0] + 1]
    assert ends[1] == len(tokens) - 1


def test_vocabulary_is_exactly_as_asked_for_and_the_same_each_time(addresses):
    texts = [d.text for d in addresses["validation"][:2]]
    first, second = train_byte_bpe(texts, 400), train_byte_bpe(texts, 400)
    assert first.get_vocab_size() == 400
    assert first.to_str() == second.to_str()


def test_text_too_small_for_the_vocabulary():
    with pytest.raises(StudyError, match=r"vocabulary 1000 cannot be reached: the training text yields \d+ entries"):
        train_byte_bpe(["a few words"], 1000)


def test_ids_take_two_bytes(addresses, tokenizer):
    assert encode(tokenizer, addresses["validation"][:1])[0].dtype == np.uint16


@given(count=st.integers(1, 300), share=st.floats(0.001, 1.0))
@settings(max_examples=100, deadline=None, derandomize=True)
def test_a_share_is_of_its_size_and_from_everywhere(count, share):
    chosen = select_share(list(range(count)), share)
    assert len(chosen) == max(1, round(share * count))
    assert chosen == sorted(set(chosen))
    gaps = np.diff([-1, *chosen, count])
    assert gaps.max() <= count / len(chosen) + 1


def test_unigram_perplexity_in_closed_form():
    """Counts 3 and 0 with a half more each: probabilities 7/8 and 1/8; one target of each costs ln √(64/7)."""
    counts = np.array([3, 0])
    assert unigram_perplexity(counts, np.array([0])) == pytest.approx(8 / 7)
    assert unigram_perplexity(counts, np.array([1])) == pytest.approx(8)
    assert unigram_perplexity(counts, np.array([0, 1])) == pytest.approx(math.sqrt(64 / 7))


def test_unigram_perplexity_of_nothing_seen_is_the_vocabulary():
    assert unigram_perplexity(np.zeros(37, dtype=np.int64), np.arange(37)) == pytest.approx(37)


def test_the_card_tells_what_is_in_the_arrays(tmp_path):
    tokens = {
        "train": np.array([0, 1, 1, 2], dtype=np.uint16),
        "validation": np.array([2, 1], dtype=np.uint16),
        "test": np.array([0, 2, 2], dtype=np.uint16),
    }
    texts = {"train": ["a b", "ä"], "validation": ["one"], "test": ["t t t"]}
    starts = {"train": np.array([0, 2]), "validation": np.array([0]), "test": np.array([0])}
    write_tokens(tokens, texts, 4, tmp_path, {"tokenizer": "toy"}, starts)
    card = json.loads((tmp_path / "card.json").read_text())
    assert (card["tokenizer"], card["vocabulary"]) == ("toy", 4)
    for split in SPLITS:
        saved = np.load(tmp_path / f"{split}.npy")
        assert np.array_equal(saved, tokens[split])
        counts = card["splits"][split]
        assert (counts["tokens"], counts["predicted_tokens"]) == (len(saved), len(saved) - 1)
        first = np.load(tmp_path / f"{split}_documents.npy")
        assert (first.dtype, first.tolist()) == (np.int64, starts[split].tolist())
        assert counts["documents"] == len(first)
        path = tmp_path / f"{split}_documents.npy"
        assert counts["documents_sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
        assert counts["sha256"] == hashlib.sha256((tmp_path / f"{split}.npy").read_bytes()).hexdigest()
    assert (card["splits"]["train"]["words"], card["splits"]["train"]["bytes"]) == (3, 5)
    # train counts 1, 2, 1, 0 plus a half each over 6; the first token of a split is given, not predicted
    assert card["splits"]["validation"]["unigram_perplexity"] == pytest.approx(6 / 2.5)
    assert card["splits"]["test"]["unigram_perplexity"] == pytest.approx(6 / 1.5)


TEXT = st.text(alphabet="ab1.' \t\n\u00a0é日", max_size=60)
CONTROLS = st.text(alphabet="ab1. \n\r\v\f\x00\x1c\x1d\x1e\x1f\x85\u2028", max_size=60)
"""Among these what Python takes for blanks and a tokenizer does not."""


@settings(max_examples=400, deadline=None, derandomize=True)
@given(text=TEXT | CONTROLS, size=st.integers(1, 8))
def test_pieces_are_encoded_as_the_whole(tokenizer, gpt1, text, size):
    parts = pieces(text, size)
    assert "".join(parts) == text
    for each in (tokenizer, gpt1):
        assert [i for part in parts for i in each.encode(part).ids] == each.encode(text).ids


@pytest.fixture(scope="module")
def gpt1():
    """GPT-1's way with words, over a vocabulary of a few."""
    entries = ["a", "b", "a</w>", "b</w>", "1</w>", ".</w>", "ab</w>", "<unk>"]
    return build_tokenizer({token: i for i, token in enumerate(entries)}, [("a", "b</w>")])


def test_long_documents_go_in_pieces_and_come_out_whole(addresses, tokenizer, monkeypatch):
    """What the library holds while it encodes does not grow with the document."""
    documents = addresses["validation"]
    whole = [tokenizer.encode(d.text).ids for d in documents]
    longest = []

    class Watched:
        def __getattr__(self, name):
            return getattr(tokenizer, name)

        def encode_batch(self, texts):
            longest.append(sum(map(len, texts)))
            return tokenizer.encode_batch(texts)

    monkeypatch.setattr(module, "_BATCH", 20_000)
    monkeypatch.setattr(module, "_PIECE", 5_000)
    monkeypatch.setattr(module.pieces, "__defaults__", (5_000,))
    boundary = tokenizer.token_to_id(BOUNDARY)
    assert [ids.tolist() for ids in encode(Watched(), documents)] == [[*ids, boundary] for ids in whole]
    assert max(longest) < 30_000 < max(len(d.text) for d in documents)


def test_folds_of_the_addresses(addresses):
    """Each fold validates once, years stay together, the test split stays out."""
    folds = [deal(addresses, 5, fold) for fold in range(5)]
    pool = {d.name for split in ("train", "validation") for d in addresses[split]}
    validating = [{d.name for d in each["validation"]} for each in folds]
    assert set().union(*validating) == pool
    assert sum(map(len, validating)) == len(pool)
    assert max(map(len, validating)) - min(map(len, validating)) <= 10
    for each, names in zip(folds, validating, strict=True):
        assert {d.name for d in each["train"]} == pool - names
        assert each["test"] == addresses["test"]
        years = {d.group for d in each["validation"]}
        assert years.isdisjoint(d.group for d in each["train"])


def test_folds_depend_on_names_alone_and_keep_copies_together():
    names = [f"document {i}" for i in range(12)]
    splits = {
        "train": [Document(name, f"text {i}") for i, name in enumerate(names[:10])],
        "validation": [Document(name, "a copy") for name in names[10:]],
        "test": [Document("t", "t")],
    }
    validating = [[d.name for d in deal(splits, 3, fold)["validation"]] for fold in range(3)]
    home = [set(names[10:]) <= set(each) for each in validating]
    assert sum(home) == 1
    other = splits | {"train": [Document(d.name, f"other {d.text}") for d in splits["train"]]}
    assert [[d.name for d in deal(other, 3, fold)["validation"]] for fold in range(3)] == validating
    with pytest.raises(StudyError, match=r"split\.folds: 12: the corpus has 11 documents"):
        deal(splits, 12, 0)


DOCUMENTS = st.lists(
    st.builds(
        Document,
        st.sampled_from("abcdefgh"),
        st.sampled_from("stuvwxyz"),
        st.none() | st.sampled_from("ghijklmn"),
    ),
    max_size=10,
)


def apart(documents: list[Document], fold_of: list[object]) -> bool:
    """Whether documents of one group or with one text lie in different folds."""
    pairs = combinations(zip(documents, fold_of, strict=True), 2)
    return any(
        one_fold != other_fold and (one.text == other.text or (one.group or one.name) == (other.group or other.name))
        for (one, one_fold), (other, other_fold) in pairs
    )


@settings(max_examples=300, deadline=None, derandomize=True)
@example([Document("A", "t", "g"), Document("B", "t", "h"), Document("C", "u", "h")], [], 2)
@given(DOCUMENTS, DOCUMENTS, st.integers(1, 4))
def test_documents_that_others_join_lie_in_one_fold(train, validation, folds):
    """And where groups and the texts of their first documents part nothing, they alone say what lies together."""
    pool = [*train, *validation]
    first_with: dict[str, str] = {}
    plain = [first_with.setdefault(d.text, d.group or d.name) for d in pool]
    splits = {"train": train, "validation": validation, "test": []}
    try:
        dealt = [deal(splits, folds, fold)["validation"] for fold in range(folds)]
    except StudyError:
        assume(False)
    found = [[any(d is each for each in fold) for fold in dealt].index(True) for d in pool]
    assert not apart(pool, found)
    if not apart(pool, plain):
        ranked = sorted(set(plain), key=lambda group: hashlib.sha256(group.encode()).digest())
        assert found == [ranked.index(group) % folds for group in plain]
