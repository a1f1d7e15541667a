"""Text that is laid out as WikiText is: three files, a line a paragraph, articles under headings.

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

from lm.corpus import SPLITS
from lm.corpus.catalogue import Listing
from lm.corpus.checks import check_size, check_words, read_bytes, read_text
from lm.corpus.documents import Corpus, Document
from lm.errors import StudyError
from lm.text import clean, is_blank, name_in_archive


@dataclass(frozen=True)
class _Layout:
    """File names by split, as patterns; what they hold; and whether other files of the kind may lie beside them."""

    described: str
    patterns: dict[str, str]
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


def holds_wikitext(listing: Listing) -> bool:
    """Whether a folder, or a folder below it, is laid out as WikiText."""
    return bool(_recognised(listing.files))


def load_wikitext(folder: Path, listing: Listing) -> Corpus:
    """The three splits of a folder in one of WikiText's layouts, wherever in it they lie.

    Raises :class:`StudyError` when a split is missing, when there are several layouts to choose from, and for what is
    empty, damaged or not UTF-8.
    """
    files: _Files = {name: partial(read_bytes, path) for name, path in listing.files.items()}
    return _load(folder, str(folder), files, listing.left_out)


def holds_archive(listing: Listing) -> bool:
    return any(name.endswith(".zip") for name in listing.files)


def load_archive(folder: Path, listing: Listing) -> Corpus:
    """The same of a ``.zip`` archive in the folder; raises :class:`StudyError` where there are two."""
    archives = [name for name in listing.files if name.endswith(".zip")]
    if len(archives) > 1:
        raise StudyError(f"corpus {folder}: holds more than one archive: {', '.join(archives)}; leave one")
    beside = [name for name in listing.files if name not in archives]
    path = listing.files[archives[0]]
    return _load(folder, str(path), _in_archive(path), [*listing.left_out, *beside])


def _load(folder: Path, place: str, files: _Files, left_out: list[str]) -> Corpus:
    recognised = _recognised(files)
    if not recognised:
        raise StudyError(f"corpus {place}: holds none of {DESCRIBED}")
    if len(recognised) > 1:
        found = ", ".join(str(PurePosixPath(below, layout.described)) for below, layout in recognised)
        raise StudyError(f"corpus {place}: holds more than one text: {found}; leave one")
    below, layout = recognised[0]
    splits, read, content = {}, set(), hashlib.sha256()
    for split, pattern in layout.patterns.items():
        names = _matching(files, below, pattern)
        if not names:
            raise StudyError(f"corpus {place}: no {split} split; {layout.described} are needed, all in one folder")
        text = "".join(_text(files[name](), f"{place}/{name}") for name in names)
        if is_blank(text):
            raise StudyError(f"{place}/{names[0]}: empty; the {split} split needs text")
        content.update(f"{split}\0{text}\0".encode())
        splits[split] = articles(split_lines(text))
        read |= set(names)
    return Corpus(
        folder.name,
        f"sha256:{content.hexdigest()[:16]}",
        "unknown",
        splits,
        layout=f"{layout.described}, split as they are, an article a document",
        files=len(read),
        left_out=(*left_out, *(name for name in files if name not in read)),
    )


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


def _in_archive(path: Path) -> _Files:
    try:
        with zipfile.ZipFile(path) as archive:
            members = [member for member in archive.infolist() if not member.is_dir()]
    except (zipfile.BadZipFile, OSError) as error:
        raise StudyError(f"{path}: not a whole zip archive ({error}); get it again") from None
    return {(name := name_in_archive(member)): partial(_member, path, member, name) for member in members}


def _member(path: Path, member: zipfile.ZipInfo, name: str) -> bytes:
    check_size(member.file_size, f"{path}/{name}")
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.read(member)
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, NotImplementedError, RuntimeError) as error:
        raise StudyError(f"{path}/{name}: cannot be unpacked ({error}); get the archive again") from None


def _text(content: bytes, name: str) -> str:
    if name.endswith(".parquet"):
        text = clean(parquet_text(content, name), name)
        check_words(text, name)
        return text
    return read_text(content, name)


def parquet_text(content: bytes, name: str) -> str:
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
