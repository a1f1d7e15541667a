"""WikiText-2 and its layouts: the same text, whatever it lies in, is the same documents."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lm.corpus import SPLITS, checks
from lm.corpus.catalogue import CORPORA, read_description
from lm.corpus.sources import hub, load_corpus
from lm.corpus.sources.wikitext import articles, split_lines
from lm.errors import StudyError

ROOT = Path(__file__).parents[1]
OFFICIAL = read_description(ROOT / CORPORA / "wikitext-2")

TEXTS = {
    split: (
        f" \n = The {split} moth = \n \n The {split} moth @-@ eater was seen by night . \n \n = = Habits = = \n \n"
        " P = Played , W = \n = Wins ; L = \n Losses <unk> \n \n = Ash ( tree ) = \n \n"
        f" In {split} it grew \u2028 \x85 äö . \n"
    )
    for split in SPLITS
}
TITLES = ["The {} moth", "Ash ( tree )"]


def write_text(names: list[str]) -> Callable[[Path], None]:
    def write(folder: Path) -> None:
        for name, text in zip(names, TEXTS.values(), strict=True):
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(text.encode())

    return write


def write_rows(path: Path, rows: list, column: str = "text") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table({column: rows}), path)


def write_parquet(below: str = "", shards: int = 1) -> Callable[[Path], None]:
    """As the Hub has them: a row a line, empty where the line is blank."""

    def write(folder: Path) -> None:
        for split, text in TEXTS.items():
            rows = [line if line.strip() else "" for line in split_lines(text)]
            for shard in range(shards):
                part = rows[shard * len(rows) // shards : (shard + 1) * len(rows) // shards]
                write_rows(folder / below / f"{split}-{shard:05}-of-{shards:05}.parquet", part)

    return write


LAYOUTS = {
    "word-level": write_text(["wiki.train.tokens", "wiki.valid.tokens", "wiki.test.tokens"]),
    "raw": write_text(["wiki.train.raw", "wiki.valid.raw", "wiki.test.raw"]),
    "raw, a folder below": write_text([f"wikitext-2-raw/wiki.{split}.raw" for split in ("train", "valid", "test")]),
    "text": write_text(["train.txt", "valid.txt", "test.txt"]),
    "text, the split spelled out": write_text(["train.txt", "validation.txt", "test.txt"]),
    "Parquet": write_parquet(),
    "Parquet, a folder below": write_parquet("wikitext-2-raw-v1"),
    "Parquet in parts": write_parquet(shards=3),
}


def pack(folder: Path, archive: Path) -> Path:
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as file:
        for path in sorted(folder.rglob("*")):
            file.write(path, path.relative_to(folder))
    return archive


@pytest.fixture
def folder(tmp_path) -> Path:
    path = tmp_path / "corpus"
    path.mkdir()
    return path


@pytest.mark.parametrize("packed", [False, True], ids=["folder", "zip"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_gives_the_same_documents(tmp_path, folder, layout, packed):
    LAYOUTS[layout](folder)
    if packed:
        (tmp_path / "packed").mkdir()
        pack(folder, tmp_path / "packed" / "archive.zip")
    corpus = load_corpus("packed" if packed else folder.name, tmp_path)
    for split in SPLITS:
        assert [document.name for document in corpus.splits[split]] == [title.format(split) for title in TITLES]
        assert "".join(document.text for document in corpus.splits[split]) == TEXTS[split]
    assert corpus.source == ("packed" if packed else "corpus")
    assert corpus.license == "unknown", "a layout is not a text: what is laid out so need not be WikiText"
    assert corpus.left_out == ()


def test_the_version_tells_contents_apart(folder):
    LAYOUTS["text"](folder)
    before = load_corpus(folder.name, folder.parent).version
    assert load_corpus(folder.name, folder.parent).version == before
    (folder / "test.txt").write_text("another text")
    assert load_corpus(folder.name, folder.parent).version != before


def test_other_text_files_beside_make_it_a_folder_split_by_file(folder):
    LAYOUTS["text"](folder)
    (folder / "more.txt").write_text("more")
    names = {document.name for split in SPLITS for document in load_corpus(folder.name, folder.parent).splits[split]}
    assert names == {"train.txt", "valid.txt", "test.txt", "more.txt"}


@pytest.mark.parametrize(
    ("text", "names"),
    [
        (" \n = A = \n \n a \n", ["A"]),
        (" = A = \n \n a \n \n = B = \n", ["A", "B"]),
        ("before \n \n = A = \n\n a \n", ["before the first title", "A"]),
        (" \n = = A = = \n \n = A = \n directly \n", ["before the first title"]),
        (" a \n = A = \n \n", ["before the first title"]),
        (" \n = A = B = \n \n = <unk> = ", ["A = B", "<unk>"]),
        ("no title", ["before the first title"]),
    ],
)
def test_where_articles_begin(text, names):
    documents = articles(split_lines(text))
    assert [document.name for document in documents] == names
    assert "".join(document.text for document in documents) == text


@settings(max_examples=200, deadline=None, derandomize=True)
@given(
    st.lists(st.sampled_from([" \n", "\n", " = A = \n", " = = B = = \n", "c\n", "d\r\u2028\x0be\n", " = "])).map(
        "".join
    )
)
def test_joined_articles_are_the_text(text):
    assert "".join(document.text for document in articles(split_lines(text))) == text
    assert len(split_lines(text)) == text.count("\n") + (not text.endswith("\n") and bool(text))


def spoil(name: str, content: bytes | None) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        if content is None:
            (folder / name).unlink()
        else:
            (folder / name).write_bytes(content)

    return change


@pytest.mark.parametrize(
    ("layout", "change", "named"),
    [
        ("raw", spoil("wiki.valid.raw", None), ["no validation split", "wiki.{train,valid,test}.raw"]),
        ("Parquet", spoil("test-00000-of-00001.parquet", None), ["no test split", "parquet"]),
        ("raw", spoil("wiki.test.raw", b""), ["wiki.test.raw", "empty"]),
        ("text", spoil("valid.txt", b" \n"), ["valid.txt", "empty"]),
        ("word-level", spoil("wiki.train.tokens", b"caf\xe9"), ["wiki.train.tokens", "not UTF-8 at byte 3"]),
        (
            "Parquet",
            spoil("train-00000-of-00001.parquet", b"PAR1 and then"),
            ["train-00000", "not a whole Parquet file"],
        ),
        (
            "Parquet",
            lambda folder: write_rows(folder / "test-00000-of-00001.parquet", ["a"], "line"),
            ["no column text", "line"],
        ),
        (
            "Parquet",
            lambda folder: write_rows(folder / "test-00000-of-00001.parquet", [1, 2]),
            ["test-00000", "no strings"],
        ),
        ("Parquet", lambda folder: write_rows(folder / "test-00000-of-00001.parquet", ["a", None]), ["no strings"]),
        ("raw", LAYOUTS["word-level"], ["more than one text", ".tokens", ".raw"]),
    ],
)
def test_a_layout_that_will_not_do(folder, layout, change, named):
    LAYOUTS[layout](folder)
    change(folder)
    with pytest.raises(StudyError) as error:
        load_corpus(folder.name, folder.parent)
    line = str(error.value)
    assert "\n" not in line
    assert str(folder) in line
    assert [word for word in named if word not in line] == []


def half(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def one_byte_off(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[60] ^= 0xFF
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("change", "named"),
    [(half, "not a whole zip archive"), (one_byte_off, "cannot be unpacked")],
)
def test_a_damaged_archive(tmp_path, folder, change, named):
    LAYOUTS["raw"](folder)
    (tmp_path / "packed").mkdir()
    archive = pack(folder, tmp_path / "packed" / "wikitext-2-raw-v1.zip")
    change(archive)
    with pytest.raises(StudyError, match=named) as error:
        load_corpus("packed", tmp_path)
    assert str(archive) in str(error.value)
    assert "\n" not in str(error.value)


def test_an_archive_of_something_else(tmp_path, folder):
    (folder / "notes.md").write_text("notes")
    (tmp_path / "packed").mkdir()
    pack(folder, tmp_path / "packed" / "notes.zip")
    with pytest.raises(StudyError, match=r"holds none of wiki\.\{train,valid,test\}\.tokens"):
        load_corpus("packed", tmp_path)


def test_two_archives(tmp_path, folder):
    LAYOUTS["raw"](folder)
    (tmp_path / "packed").mkdir()
    for name in ("a.zip", "b.zip"):
        pack(folder, tmp_path / "packed" / name)
    with pytest.raises(StudyError, match=r"more than one archive: a\.zip, b\.zip"):
        load_corpus("packed", tmp_path)


def test_a_member_too_large_to_unpack_is_not_unpacked(tmp_path, folder, monkeypatch):
    LAYOUTS["raw"](folder)
    (tmp_path / "packed").mkdir()
    pack(folder, tmp_path / "packed" / "wikitext.zip")
    monkeypatch.setattr(checks, "LARGEST_FILE", 100)
    with pytest.raises(StudyError, match=r"wikitext\.zip/wiki\.train\.raw: .* a file of a corpus has at most"):
        load_corpus("packed", tmp_path)


def test_files_beside_a_layout_are_named(folder):
    LAYOUTS["raw"](folder)
    for name in ("notes.md", "more.txt", "README.md", "LICENSE"):
        (folder / name).write_text("more")
    left_out = load_corpus(folder.name, folder.parent).left_out
    assert left_out == ("LICENSE (about the text)", "README.md (about the text)", "more.txt", "notes.md")


def test_an_article_of_two_splits_stays_where_it_is_judged(folder):
    LAYOUTS["raw"](folder)
    held_out = folder / "wiki.test.raw"
    repeated = " \n = Repeated = \n \n The very same . \n \n"
    held_out.write_text(repeated + held_out.read_text())
    (folder / "wiki.train.raw").write_text((folder / "wiki.train.raw").read_text() + repeated)
    corpus = load_corpus(folder.name, folder.parent)
    assert [split for split in SPLITS if "Repeated" in {d.name for d in corpus.splits[split]}] == ["test"]
    assert "Repeated of train (the text of Repeated in test)" in corpus.left_out


@pytest.fixture
def downloaded(folder, monkeypatch) -> list[tuple]:
    """The invented text in the place of the downloaded files, with counts that are right for it."""
    write_parquet("wikitext-2-raw-v1")(folder)
    fetched = []

    def fetch(repository: str, revision: str, name: str, sha256: str, *, dataset: bool, instead: str) -> Path:
        fetched.append((repository, revision, name, sha256, dataset))
        assert "-S corpus=" in instead
        return folder / name

    monkeypatch.setattr(hub, "fetch", fetch)
    return fetched


@pytest.fixture
def described(tmp_path) -> Path:
    """The corpus.yaml of WikiText-2, with counts that are right for the invented text."""
    content = (ROOT / CORPORA / "wikitext-2" / "corpus.yaml").read_text()
    for split, text in TEXTS.items():
        content = content.replace(f"lines: {OFFICIAL['files'][split]['lines']}", f"lines: {len(split_lines(text))}")
    (tmp_path / "wikitext-2").mkdir()
    (tmp_path / "wikitext-2" / "corpus.yaml").write_text(content)
    return tmp_path


def test_the_described_corpus_is_the_pinned_files(downloaded, described):
    corpus = load_corpus("wikitext-2", described)
    assert {split: "".join(d.text for d in corpus.splits[split]) for split in SPLITS} == TEXTS
    assert (corpus.source, corpus.license) == ("wikitext-2", "CC BY-SA 3.0 and GFDL")
    assert OFFICIAL["revision"] in corpus.version
    assert downloaded == [
        (
            "Salesforce/wikitext",
            OFFICIAL["revision"],
            f"wikitext-2-raw-v1/{split}-00000-of-00001.parquet",
            OFFICIAL["files"][split]["sha256"],
            True,
        )
        for split in SPLITS
    ]


@pytest.mark.usefixtures("downloaded")
def test_other_counts_than_the_official_ones_are_refused():
    with pytest.raises(StudyError, match="14 lines, not the 36718 of the train split of wikitext-2"):
        load_corpus("wikitext-2", ROOT / CORPORA)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (("source: hub", "source: hab"), ["source", "'hab'", "sotu, hub"]),
        (("revision:", "revison:"), ["revision", "field required"]),
        (("lines: 3760", "lines: many"), ["files.validation.lines"]),
        (("files:", "files: ["), ["not YAML at line"]),
    ],
)
def test_a_description_that_will_not_do(tmp_path, change, named):
    content = (ROOT / CORPORA / "wikitext-2" / "corpus.yaml").read_text()
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "corpus.yaml").write_text(content.replace(*change))
    with pytest.raises(StudyError) as error:
        load_corpus("mine", tmp_path)
    line = str(error.value)
    assert line.startswith(str(tmp_path / "mine" / "corpus.yaml"))
    assert "\n" not in line
    assert [word for word in named if word not in line] == []
