"""GPT-1's tokenizer: as the published implementation gives it, one id higher, and from no other files than its own."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer
from transformers import OpenAIGPTTokenizer

from lm.corpus import gpt1
from lm.corpus.documents import Document
from lm.corpus.gpt1 import build_tokenizer, content_digest, has_vocabulary, load_gpt1, read_files
from lm.corpus.tokens import encode
from lm.errors import StudyError
from tests.invented import LAYOUTS, MERGES, VOCABULARY, write_files


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return build_tokenizer(VOCABULARY, MERGES)


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    folder = write_files(tmp_path_factory.mktemp("hub"), ("vocab.json", "merges.txt"))
    return OpenAIGPTTokenizer.from_pretrained(folder, local_files_only=True)


@pytest.fixture
def accepted(monkeypatch) -> None:
    """The invented vocabulary passes for GPT-1's."""
    monkeypatch.setattr(gpt1, "DIGEST", content_digest(VOCABULARY, MERGES))


TEXT = st.one_of(
    st.text(max_size=40),
    st.text(alphabet="thinga ndre19#.,'-@=<>unk\n\té\u0301ẞßİÜ日本\u2028\u00a0\u00adλ", max_size=40),
    st.lists(st.sampled_from(["the", "Thing", "<unk>", "1911", "##", "<pad>", "@-@", "\n", "RÉ", "o'er"])).map(
        " ".join
    ),
)


@settings(max_examples=300, deadline=None, derandomize=True)
@given(text=TEXT)
@example(text=" \n = The thing = \n \n 1911 @-@ 19 \n")
@example(text="the<unk>ing <UNK> <pad> </w> the</w>")
def test_ids_are_the_published_tokenizers_and_one(tokenizer, published, text):
    assert tokenizer.encode(text).ids == [each + 1 for each in published.encode(text)]


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("The thing", ["the</w>", "th", "ing</w>"]),
        ("in\n\n \nTHÈ", ["i", "n</w>", "the</w>"]),
        ("1911 ##", ["191", "1</w>", "#</w>", "#</w>"]),
        ("日a", ["<unk>", "a</w>"]),
        ("a<unk>b", ["a</w>", "<unk>", "b</w>"]),
        ("\n \t\n", []),
    ],
)
def test_tokens_worked_out_by_hand(tokenizer, text, tokens):
    assert tokenizer.encode(text).tokens == tokens


def test_padding_is_0_unknown_1_and_no_text_pads(tokenizer):
    assert (tokenizer.token_to_id("<pad>"), tokenizer.token_to_id("<unk>")) == (0, 1)
    assert tokenizer.get_vocab_size() == len(VOCABULARY) + 1
    assert 0 not in tokenizer.encode("<pad> a<pad>b").ids


def test_saved_it_encodes_and_decodes_straight(tokenizer, tmp_path):
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    again = Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    ids = again.encode("The thing and\n日 1911").ids
    assert ids == tokenizer.encode("The thing and\n日 1911").ids
    assert again.decode(ids, skip_special_tokens=False) == "the thing and <unk>1911"


def test_documents_run_into_one_stream_without_boundaries(tokenizer):
    texts = [" \n the thing\n\n", "and\n", "\n1911"]
    stream = encode(tokenizer, [Document(str(i), text) for i, text in enumerate(texts)])
    assert np.concatenate(stream).tolist() == tokenizer.encode("the thing and 1911").ids
    assert stream[0].dtype == "uint16"


@pytest.mark.parametrize("names", LAYOUTS)
@pytest.mark.parametrize("version", [True, False])
@pytest.mark.usefixtures("accepted")
def test_either_layout_with_and_without_its_version_line(tokenizer, tmp_path, names, version):
    assert not has_vocabulary(tmp_path)
    folder = write_files(tmp_path, names, version)
    assert has_vocabulary(folder)
    assert load_gpt1(folder).to_str() == tokenizer.to_str()


@pytest.mark.usefixtures("accepted")
def test_however_the_json_is_written(tokenizer, tmp_path):
    folder = write_files(tmp_path)
    backwards = dict(reversed(VOCABULARY.items()))
    (folder / LAYOUTS[0][0]).write_text(json.dumps(backwards, indent=1, ensure_ascii=False), encoding="utf-8")
    assert load_gpt1(folder).encode("the thing").ids == tokenizer.encode("the thing").ids


@pytest.mark.usefixtures("accepted")
def test_without_a_folder_both_files_are_fetched(tokenizer, tmp_path, monkeypatch):
    folder, asked = write_files(tmp_path, ("vocab.json", "merges.txt")), []

    def fetch(repository, revision, name, sha256, *, instead):
        asked.append((repository, name, sha256[:8]))
        assert re.fullmatch(r"[0-9a-f]{40}", revision)
        assert "gpt1.tokenizer" in instead
        return folder / name

    monkeypatch.setattr(gpt1, "fetch", fetch)
    assert load_gpt1(None).to_str() == tokenizer.to_str()
    hub = "openai-community/openai-gpt"
    assert asked == [(hub, "vocab.json", "fdf49b19"), (hub, "merges.txt", "0ea9b51a")]


def test_another_vocabulary_is_refused(tmp_path):
    with pytest.raises(StudyError, match=r"encoder_bpe_40000\.json: 111 entries and 13 merges that are not GPT-1's"):
        load_gpt1(write_files(tmp_path))


@pytest.mark.usefixtures("accepted")
@pytest.mark.parametrize("change", ["two ids", "two merges", "a merge less"])
def test_one_change_and_it_is_another(tmp_path, change):
    vocabulary, merges = dict(VOCABULARY), list(MERGES)
    if change == "two ids":
        vocabulary["a"], vocabulary["b"] = vocabulary["b"], vocabulary["a"]
    elif change == "two merges":
        merges[0], merges[2] = merges[2], merges[0]
    else:
        merges.pop()
    folder = write_files(tmp_path)
    (folder / LAYOUTS[0][0]).write_text(json.dumps(vocabulary), encoding="utf-8")
    (folder / LAYOUTS[0][1]).write_text("\n".join(map(" ".join, merges)), encoding="utf-8")
    with pytest.raises(StudyError, match=r"not GPT-1's \(content sha256 [0-9a-f]{12}…, expected [0-9a-f]{12}…\)"):
        load_gpt1(folder)


@pytest.mark.parametrize("present", [None, LAYOUTS[0][0], LAYOUTS[1][1]])
def test_a_folder_without_both_files(tmp_path, present):
    if present:
        write_files(tmp_path / "all", LAYOUTS[0] if present in LAYOUTS[0] else LAYOUTS[1])
        (tmp_path / "all" / present).rename(tmp_path / present)
    with pytest.raises(StudyError, match=r"not a folder with encoder_bpe_40000\.json and vocab_40000\.bpe, or vocab"):
        load_gpt1(tmp_path)


DAMAGE = {
    "json cut off": (0, b'{"<unk>": 0, "a', "not JSON"),
    "json empty": (0, b"", "not JSON"),
    "a list": (0, b'["<unk>"]', "not a mapping of tokens to ids"),
    "no entries": (0, b"{}", "not a mapping of tokens to ids"),
    "ids that are text": (0, b'{"<unk>": "0"}', "not a mapping of tokens to ids"),
    "ids that are truth": (0, b'{"<unk>": false}', "not a mapping of tokens to ids"),
    "an id twice": (0, b'{"<unk>": 0, "a": 0}', "its ids are not 0, 1, 2"),
    "no unknown": (0, b'{"a": 0}', "its ids are not 0, 1, 2"),
    "json of bytes": (0, b'{"\xff": 0}', "not UTF-8 at byte 2"),
    "merges of bytes": (1, b"t \xff\n", "not UTF-8 at byte 2"),
    "a merge of three": (1, b"t h\nt h e\n", "merge 2 is not two entries"),
    "a merge cut off": (1, b"t h\nth \n", "merge 2 is not two entries"),
    "a merge to nowhere": (1, b"t h\nx q\n", "merge 2 is not two entries"),
    "no merges": (1, b"", "merge 1 is not two entries"),
}


@pytest.mark.parametrize("case", DAMAGE)
def test_a_damaged_file_is_one_line(tmp_path, case):
    which, content, said = DAMAGE[case]
    path = write_files(tmp_path) / LAYOUTS[0][which]
    path.write_bytes(content)
    with pytest.raises(StudyError, match=rf"^{re.escape(str(path))}: {said}") as caught:
        read_files(*(tmp_path / name for name in LAYOUTS[0]))
    assert "\n" not in str(caught.value)
