"""The one reader of text and names: how a file was saved, and where it is read, make no difference."""

from __future__ import annotations

import codecs
import json
import os
import subprocess
import sys
import unicodedata
import zipfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lm.corpus import SPLITS
from lm.corpus.documents import Corpus, Document, write_corpus
from lm.corpus.folds import deal
from lm.corpus.sources import load_corpus
from lm.errors import StudyError
from lm.text import clean, decode, identity, is_blank, name_of

ROOT = Path(__file__).parents[1]
ENCODINGS = {
    "utf-8": b"",
    "utf-8-sig": b"",
    "utf-16-le": codecs.BOM_UTF16_LE,
    "utf-16-be": codecs.BOM_UTF16_BE,
    "utf-32-le": codecs.BOM_UTF32_LE,
    "utf-32-be": codecs.BOM_UTF32_BE,
}
ENDS = ("\n", "\r\n", "\r")
TEXTS = st.text(st.characters(exclude_characters="\r\ufeff\0", exclude_categories=["Cs"]))


def saved(text: str, encoding: str, end: str) -> bytes:
    return ENCODINGS[encoding] + text.replace("\n", end).encode(encoding)


@given(TEXTS, st.sampled_from(sorted(ENCODINGS)), st.sampled_from(ENDS))
@settings(max_examples=300, deadline=None)
def test_a_text_is_the_same_however_it_was_saved(text, encoding, end):
    assert decode(saved(text, encoding, end), "name") == text


@given(st.lists(st.tuples(TEXTS, st.sampled_from(["utf-8", "utf-8-sig"]), st.sampled_from(ENDS)), min_size=1))
@settings(max_examples=200, deadline=None)
def test_joined_files_are_their_joined_texts(parts):
    # a CR that ends one file and an LF that begins the next are one line end once they are joined
    whole = "".join(text.replace("\n", end) for text, _, end in parts)
    assert decode(b"".join(saved(*part) for part in parts), "name") == clean(whole, "name")


@given(TEXTS)
@settings(max_examples=200, deadline=None)
def test_cleaning_changes_nothing_else_and_nothing_twice(text):
    assert clean(text, "name") == text
    assert clean(clean("\ufeff" + text + "\r\n", "name"), "name") == text + "\n"


@pytest.mark.parametrize("kept", ["\x0b", "\x0c", "\x1c", "\x85", "\u2028", "\u2029", "\u200b", "\u00ad", "\u0301"])
def test_other_characters_are_the_texts_own(kept):
    assert decode(f"a{kept}b\n".encode(), "name") == f"a{kept}b\n"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("The ferry.\n".encode("utf-16-le"), r"byte 1 is NUL.*UTF-16 without.*iconv -f UTF-16LE"),
        ("The ferry.\n".encode("utf-16-be"), r"byte 0 is NUL.*UTF-16 without.*iconv -f UTF-16BE"),
        ("Die Fähre.\n".encode("utf-16-le"), r"byte 1 is NUL.*UTF-16 without.*iconv -f UTF-16LE"),
        (("渡船早上七點離開。" * 5 + "\n").encode("utf-16-le"), r"byte 91 is NUL.*UTF-16 without.*iconv -f UTF-16LE"),
        ("The ferry.\n".encode("utf-32-le"), r"byte 1 is NUL.*UTF-32 without.*iconv -f UTF-32LE"),
        ("The ferry.\n".encode("utf-32-be"), r"byte 0 is NUL.*UTF-32 without.*iconv -f UTF-32BE"),
        (b"The ferry left.\n" * 20 + b"\0", r"byte 320 is NUL.*damaged or binary file, or UTF-16\?"),
        (codecs.BOM_UTF16_LE + "a\0b".encode("utf-16-le"), r"character 1 is NUL"),
        (codecs.BOM_UTF16_LE + b"a\0b", r"not UTF-16 at byte 4"),
        (codecs.BOM_UTF8 + b"ab\xe9 c", r"not UTF-8 at byte 5 \(line 1\).*iconv -f WINDOWS-1252"),
        (b"one\r\ntwo\rcaf\xe9 au lait", r"not UTF-8 at byte 12 \(line 3\)"),
        ("Fähre".encode()[:2], r"not UTF-8 at byte 1 \(line 1\): ends within a character"),
        (b"\xed\xa0\x80", r"not UTF-8 at byte 0"),
        (b"ascii" + codecs.BOM_UTF16_LE, r"not UTF-8 at byte 5"),
    ],
)
def test_what_cannot_be_read_for_certain_is_refused_in_one_line(content, said):
    with pytest.raises(StudyError, match=f"^name: {said}") as error:
        decode(content, "name")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("blank", ["", " \n\t", "\u3000\x85", "\u200b\n", "\x07", "\u2060\u00ad "])
def test_what_shows_nothing_is_blank(blank):
    assert is_blank(blank)
    assert not is_blank(blank + "é") and not is_blank(blank + "\ue000")


def test_texts_that_differ_in_white_space_or_composition_are_the_same():
    assert identity(" Caf\u00e9\n\nau lait") == identity("Cafe\u0301 au\tlait\n") != identity("Cafe au lait")


# corpora

NAMES = [f"Gedicht {number} – Ä\u00e9ñ한.txt" for number in range(30)]


def fill(folder: Path, form: str = "NFC", encoding: str = "utf-8", end: str = "\n") -> Path:
    folder.mkdir(parents=True)
    for number, name in enumerate(NAMES):
        text = f"Zeile eins, Gedicht {number}\nZeile zwei: äöü\n"
        (folder / unicodedata.normalize(form, name)).write_bytes(saved(text, encoding, end))
    return folder


def content(corpus: Corpus) -> tuple[object, ...]:
    return corpus.version, corpus.splits, corpus.left_out


@pytest.mark.parametrize("form", ["NFC", "NFD"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16-le"])
@pytest.mark.parametrize("end", ENDS)
def test_a_folder_is_the_same_however_it_was_saved(tmp_path, form, encoding, end):
    plain = load_corpus("a", fill(tmp_path / "a").parent)
    assert content(load_corpus("b", fill(tmp_path / "b", form, encoding, end).parent)) == content(plain)
    assert all("\r" not in d.text and "\ufeff" not in d.text for split in SPLITS for d in plain.splits[split])


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16-be"])
@pytest.mark.parametrize("end", ENDS)
def test_articles_are_found_whatever_ends_their_lines(tmp_path, encoding, end):
    text = "".join(f" \n = Ort {number} = \n \n Ein Satz zu {{}} {number} . \n" for number in range(4))
    found = []
    for name, encoded, ended in (("a", "utf-8", "\n"), ("b", encoding, end)):
        (tmp_path / name).mkdir()
        for split in ("train", "valid", "test"):
            (tmp_path / name / f"{split}.txt").write_bytes(saved(text.format(*[split] * 4), encoded, ended))
        found.append(load_corpus(name, tmp_path))
    assert content(found[0]) == content(found[1])
    assert [len(found[0].splits[split]) for split in SPLITS] == [4, 4, 4]


def test_a_duplicate_is_seen_whatever_its_bytes(tmp_path):
    folder = fill(tmp_path / "mine")
    tested = load_corpus("mine", tmp_path).splits["test"][0]
    other = unicodedata.normalize("NFD", tested.text)
    (folder / "more 1.txt").write_bytes(saved(other, "utf-16-le", "\r\n"))
    (folder / "more 2.txt").write_bytes(saved("\n" + other.replace("\n", "\n\n"), "utf-8-sig", "\r"))
    corpus = load_corpus("mine", tmp_path)
    left = {each.partition(" of ")[0] for each in corpus.left_out}
    kept = [d for split in SPLITS for d in corpus.splits[split] if identity(d.text) == identity(tested.text)]
    assert left | {d.name for d in kept} == {tested.name, "more 1.txt", "more 2.txt"}
    assert len({split for split in SPLITS for d in corpus.splits[split] if d in kept}) == 1


def test_folds_are_dealt_the_same_for_names_in_either_form():
    def dealt(form: str) -> list[set[str]]:
        documents = [Document(unicodedata.normalize(form, name), f"text {name}") for name in NAMES]
        parts = [deal({"train": documents, "validation": [], "test": []}, 5, fold) for fold in range(5)]
        return [{unicodedata.normalize("NFC", d.name) for d in part["validation"]} for part in parts]

    assert dealt("NFC") == dealt("NFD")


def test_two_names_that_look_the_same_are_refused(tmp_path):
    folder = fill(tmp_path / "mine")
    (folder / unicodedata.normalize("NFD", NAMES[3])).write_text("another text")
    with pytest.raises(StudyError, match=r"two files are called Gedicht 3 – Äéñ한\.txt"):
        load_corpus("mine", tmp_path)


@pytest.mark.parametrize(
    "empty", [codecs.BOM_UTF8, codecs.BOM_UTF8 + b"\r\n \r", codecs.BOM_UTF16_LE, b"\xe2\x80\x8b\n"]
)
def test_a_file_that_is_empty_once_it_is_read(tmp_path, empty):
    (fill(tmp_path / "mine") / "more.txt").write_bytes(empty)
    with pytest.raises(StudyError, match=r"more\.txt: empty"):
        load_corpus("mine", tmp_path)


@pytest.mark.parametrize("marked", [True, False])
def test_a_zip_has_the_names_of_its_unpacked_folder(tmp_path, marked):
    """Archives of Unix and of macOS hold names in UTF-8 without saying so."""
    (tmp_path / "mine").mkdir()
    path = tmp_path / "mine" / "texts.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for split in ("train", "valid", "test"):
            archive.writestr(f"{split}.txt", f"text of {split}")
        archive.writestr(zipfile.ZipInfo(unicodedata.normalize("NFD", "Übersicht.pdf")), "more")
    if not marked:
        held = path.read_bytes()
        for signature, place in ((b"PK\3\4", 7), (b"PK\1\2", 9)):
            parts = held.split(signature)
            changed = [part[: place - 4] + bytes([part[place - 4] & ~8]) + part[place - 3 :] for part in parts[1:]]
            held = signature.join([parts[0], *changed])
        path.write_bytes(held)
        assert not any(member.flag_bits & 0x800 for member in zipfile.ZipFile(path).infolist())
    assert load_corpus("mine", tmp_path).left_out == ("Übersicht.pdf",)


# locales

LOAD = """
import json, sys
from pathlib import Path
from lm.corpus.documents import write_corpus
from lm.corpus.sources import load_corpus
print(sys.getfilesystemencoding())
write_corpus(load_corpus("mine", Path(sys.argv[1])), Path(sys.argv[2]))
"""


@pytest.fixture(scope="module")
def latin1(tmp_path_factory) -> dict[str, str]:
    """The variables of a locale in Latin-1, made here: few machines have one."""
    folder = tmp_path_factory.mktemp("locales")
    try:
        done = subprocess.run(
            ["localedef", "-i", "en_US", "-f", "ISO-8859-1", folder / "en_US.ISO-8859-1"], capture_output=True
        )
    except FileNotFoundError:
        pytest.skip("localedef is not installed")
    if not (folder / "en_US.ISO-8859-1").exists():
        pytest.skip(f"no Latin-1 locale can be made: {done.stderr!r}")
    return {"LOCPATH": str(folder), "LC_ALL": "en_US.ISO-8859-1"}


@pytest.mark.parametrize("form", ["NFC", "NFD"])
@pytest.mark.parametrize("locale", ["C", "Latin-1"])
def test_a_folder_is_the_same_under_any_locale(tmp_path, request, form, locale):
    variables = {"LC_ALL": "C"} if locale == "C" else request.getfixturevalue("latin1")
    folder = fill(tmp_path / "corpora" / "mine", form)
    (folder / "Übersicht.pdf").write_bytes(b"more")
    write_corpus(load_corpus("mine", tmp_path / "corpora"), tmp_path / "here")
    environment = os.environ | {"PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "PYTHONPATH": str(ROOT), **variables}
    done = subprocess.run(
        [sys.executable, "-c", LOAD, tmp_path / "corpora", tmp_path / "there"],
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == {"C": "ascii", "Latin-1": "iso8859-1"}[locale]
    for name in ("card.json", *(f"{split}.jsonl" for split in SPLITS)):
        assert (tmp_path / "there" / name).read_bytes() == (tmp_path / "here" / name).read_bytes()
    assert json.loads((tmp_path / "there" / "card.json").read_text(encoding="utf-8"))["left_out"] == ["Übersicht.pdf"]


def test_a_name_that_is_not_utf8_is_none():
    assert name_of(os.fsdecode(b"caf\xe9.txt")) is None
    assert name_of("cafe\u0301.txt") == "caf\u00e9.txt"
