"""WikiText-2, and text that is laid out as WikiText is: three files, a line a paragraph, articles under headings.

The splits are the files' own, so figures compare with published ones. Documents are the articles, so that a scale's
``train_share`` can take some of them; joined again they are the split, line for line. The text stays as it is, with the
marks of its tokenization (``@-@``) and, in the word-level variant, ``<unk>``.

Source of text and counts: Merity, Xiong, Bradbury, Socher, "Pointer Sentinel Mixture Models", arXiv 1609.07843.
"""

from __future__ import annotations

import hashlib
import io
import re
import zipfile
import zlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath

import pyarrow.parquet as pq
from pyarrow import ArrowException

from lm.corpus.documents import SPLITS, Corpus, Document
from lm.download import fetch
from lm.errors import StudyError

REPOSITORY = "Salesforce/wikitext"
REVISION = "b08601e04326c79dfdd32d625aee71d232d685c3"
VARIANT = "wikitext-2-raw-v1"
LICENSE = "CC BY-SA 3.0 and GFDL"


@dataclass(frozen=True)
class _Official:
    """A split's file in the repository and the lines of its text, blank ones included.

    The SHA-256 are the files' git-LFS names at the pinned revision, as several public projects that pin the same one
    record them. They agree on the sizes, 6,357,543, 657,209 and 732,610 bytes, which add up to the download size
    7,747,362 in that dataset's own metadata.
    """

    file: str
    sha256: str
    lines: int


OFFICIAL = {
    "train": _Official(
        f"{VARIANT}/train-00000-of-00001.parquet",
        "e83889baabc497075506f91975be5fac0d45c5290b6b20582c8cd1e853d0c9f7",
        36_718,
    ),
    "validation": _Official(
        f"{VARIANT}/validation-00000-of-00001.parquet",
        "204929b7ff9d6184953f867dedb860e40aa69c078fc1e54b3baaa8fb28511c4c",
        3_760,
    ),
    "test": _Official(
        f"{VARIANT}/test-00000-of-00001.parquet",
        "5f1bea067869d04849c0f975a2b29c4ff47d867f484f5010ea5e861eab246d91",
        4_358,
    ),
}

_INSTEAD = (
    f"put {', '.join(PurePosixPath(each.file).name for each in OFFICIAL.values())} "
    f"of huggingface.co/datasets/{REPOSITORY}, {VARIANT}/, into a folder and set -S corpus=path/to/that/folder"
)


@dataclass(frozen=True)
class _Layout:
    """File names by split, as patterns; what they hold; and whether other files of the kind may lie beside them."""

    described: str
    patterns: dict[str, str]
    license: str = "unknown"
    alone: str | None = None


_LAYOUTS = (
    *(
        _Layout(
            f"wiki.{{train,valid,test}}.{suffix}",
            {
                "train": rf"wiki\.train\.{suffix}",
                "validation": rf"wiki\.valid\.{suffix}",
                "test": rf"wiki\.test\.{suffix}",
            },
            LICENSE,
        )
        for suffix in ("tokens", "raw")
    ),
    _Layout("{train,validation,test}-*.parquet", {split: rf"{split}-.*\.parquet" for split in SPLITS}),
    _Layout(
        "{train,valid,test}.txt",
        {"train": r"train\.txt", "validation": r"valid(ation)?\.txt", "test": r"test\.txt"},
        alone=".txt",
    ),
)
DESCRIBED = ", ".join(layout.described for layout in _LAYOUTS)

_Files = dict[str, Callable[[], bytes]]


def load_wikitext() -> Corpus:
    """WikiText-2's raw variant, downloaded on first use.

    Raises :class:`StudyError` when it cannot be downloaded, a checksum is off or a split has not its official lines.
    """
    splits = {}
    for split, official in OFFICIAL.items():
        path = fetch(REPOSITORY, REVISION, official.file, official.sha256, dataset=True, instead=_INSTEAD)
        lines = split_lines(_parquet(path.read_bytes(), str(path)))
        if len(lines) != official.lines:
            raise StudyError(f"{path}: {len(lines)} lines, not the {official.lines} of WikiText-2's {split} split")
        splits[split] = articles(lines)
    return Corpus("wikitext-2", f"{VARIANT} at {REVISION}", LICENSE, splits)


def holds_wikitext(path: Path) -> bool:
    """Whether a folder, or a folder below it, is laid out as WikiText; a ``.zip`` archive has no other use here."""
    if path.suffix == ".zip" and path.is_file():
        return True
    return path.is_dir() and bool(_recognised(_in_folder(path)))


def load_wikitext_files(path: Path) -> Corpus:
    """The three splits of a folder or ``.zip`` archive in one of WikiText's layouts, wherever in it they lie.

    Raises :class:`StudyError` when a split is missing, when there are several layouts to choose from, and for what is
    empty, damaged or not UTF-8.
    """
    files = _in_folder(path) if path.is_dir() else _in_archive(path)
    recognised = _recognised(files)
    if not recognised:
        raise StudyError(f"corpus {path}: holds none of {DESCRIBED}")
    if len(recognised) > 1:
        found = ", ".join(str(PurePosixPath(folder, layout.described)) for folder, layout in recognised)
        raise StudyError(f"corpus {path}: holds more than one text: {found}; leave one")
    folder, layout = recognised[0]
    splits, content = {}, hashlib.sha256()
    for split, pattern in layout.patterns.items():
        names = _matching(files, folder, pattern)
        if not names:
            raise StudyError(f"corpus {path}: no {split} split; {layout.described} are needed, all in one folder")
        text = "".join(_text(files[name](), f"{path}/{name}") for name in names)
        if not text.strip():
            raise StudyError(f"{path}/{names[0]}: empty; the {split} split needs text")
        content.update(f"{split}\0{text}\0".encode())
        splits[split] = articles(split_lines(text))
    return Corpus(str(path), f"sha256:{content.hexdigest()[:16]}", layout.license, splits)


def split_lines(text: str) -> list[str]:
    """Lines with their ends. Only ``\\n`` ends one: the text has other characters that ``str.splitlines`` splits at."""
    return re.findall(r"[^\n]*\n|[^\n]+", text)


def articles(lines: list[str]) -> list[Document]:
    """Lines as documents, one an article, named by its title; joined they are the lines.

    An article begins with `` = Title = `` between blank lines. Within paragraphs lines of that look occur, such as
    `` = Wins ; L = `` in the legend of a table: the word-level training split has 629, of which 600 are articles.
    Text before the first title is a document of its own.
    """
    starts = [
        i
        for i, line in enumerate(lines)
        if re.fullmatch(r" = [^=\s](?:.*[^=\s])? = \n?", line)
        and not "".join(lines[max(0, i - 1) : i]).strip()
        and not "".join(lines[i + 1 : i + 2]).strip()
    ]
    titles = [lines[i].strip(" =\n") for i in starts]
    if not starts or "".join(lines[: starts[0]]).strip():
        starts, titles = [0, *starts], ["before the first title", *titles]
    else:
        starts[0] = 0
    ends = [*starts[1:], len(lines)]
    return [Document(title, "".join(lines[i:j])) for title, i, j in zip(titles, starts, ends, strict=True)]


def _recognised(files: Iterable[str]) -> list[tuple[str, _Layout]]:
    """Each layout of which there is a file, with the folder that it lies in."""
    names = list(files)
    found = []
    for folder in sorted({str(PurePosixPath(name).parent) for name in names}):
        for layout in _LAYOUTS:
            held = [_matching(names, folder, pattern) for pattern in layout.patterns.values()]
            if layout.alone is None:
                fits = any(held)
            else:
                beside = [name for name in names if name.endswith(layout.alone)]
                fits = [len(each) for each in held] == [1, 1, 1] and len(beside) == 3
            if fits:
                found.append((folder, layout))
    return found


def _matching(names: Iterable[str], folder: str, pattern: str) -> list[str]:
    paths = map(PurePosixPath, names)
    return sorted(str(path) for path in paths if str(path.parent) == folder and re.fullmatch(pattern, path.name))


def _in_folder(path: Path) -> _Files:
    return {each.relative_to(path).as_posix(): each.read_bytes for each in path.rglob("*") if each.is_file()}


def _in_archive(path: Path) -> _Files:
    try:
        with zipfile.ZipFile(path) as archive:
            return {name: partial(_member, path, name) for name in archive.namelist() if not name.endswith("/")}
    except (zipfile.BadZipFile, OSError) as error:
        raise StudyError(f"{path}: not a whole zip archive ({error}); get it again") from None


def _member(path: Path, name: str) -> bytes:
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.read(name)
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, NotImplementedError, RuntimeError) as error:
        raise StudyError(f"{path}/{name}: cannot be unpacked ({error}); get the archive again") from None


def _text(content: bytes, name: str) -> str:
    if name.endswith(".parquet"):
        return _parquet(content, name)
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise StudyError(f"{name}: not UTF-8 at byte {error.start}; convert it") from None


def _parquet(content: bytes, name: str) -> str:
    """The column ``text``, a line a row.

    Rows of blank lines come empty; in the text files such a line is one space. With it put back the bytes are those of
    the text files: 1,256,449 for the word-level test split, by its metadata's 1,270,947 less 4 a row.
    """
    try:
        file = pq.ParquetFile(io.BytesIO(content))
        if "text" not in file.schema_arrow.names:
            raise StudyError(f"{name}: no column text; its columns are {', '.join(file.schema_arrow.names) or 'none'}")
        rows = file.read(columns=["text"])["text"].to_pylist()
    except (ArrowException, OSError) as error:
        raise StudyError(f"{name}: not a whole Parquet file ({str(error).splitlines()[0]}); get it again") from None
    except UnicodeDecodeError:
        raise StudyError(f"{name}: its column text is not UTF-8") from None
    if not all(isinstance(row, str) for row in rows):
        raise StudyError(f"{name}: its column text has rows that are no strings")
    return "".join(row if row.endswith("\n") else f"{row or ' '}\n" for row in rows)
