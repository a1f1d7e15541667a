"""Text and names as people's files hold them: one reader, so that the same text gives the same result everywhere.

How a file was saved (byte-order mark, line ends, UTF-8 or UTF-16) and the locale that it is read under make no
difference. What cannot be read for certain is refused.
"""

from __future__ import annotations

import codecs
import hashlib
import os
import re
import unicodedata
from contextlib import suppress
from zipfile import ZipInfo

from lm.errors import StudyError

_MARKS = (
    (codecs.BOM_UTF8, "UTF-8"),
    # UTF-16's little-endian mark begins UTF-32's
    (codecs.BOM_UTF32_LE, "UTF-32LE"),
    (codecs.BOM_UTF32_BE, "UTF-32BE"),
    (codecs.BOM_UTF16_LE, "UTF-16LE"),
    (codecs.BOM_UTF16_BE, "UTF-16BE"),
)
_MARK = "\N{ZERO WIDTH NO-BREAK SPACE}"
_NUL_SAMPLE = 2**16
_ZIP_UTF8 = 0x800


def decode(content: bytes, name: str) -> str:
    """The text of a file in UTF-8, or in UTF-16 or UTF-32 if it begins with a byte-order mark, as :func:`clean` has it.

    Raises :class:`StudyError`, which begins with ``name``, for other bytes and for NUL.
    """
    mark, encoding = next(((mark, e) for mark, e in _MARKS if content.startswith(mark)), (b"", "UTF-8"))
    if encoding == "UTF-8" and b"\0" in content:
        raise _has_nul(content, name)
    try:
        text = str(memoryview(content)[len(mark) :], encoding)
    except UnicodeDecodeError as error:
        raise _not_text(content, encoding, error, len(mark), name) from None
    return clean(text, name)


def clean(text: str, name: str) -> str:
    """Decoded text with ``\\n`` as its only line end and no byte-order mark, not even inside, from joined files.

    Only CR LF and CR become ``\\n``: form feeds, U+0085 and U+2028 are characters of the text. Raises
    :class:`StudyError` for NUL.
    """
    if "\0" in text:
        raise StudyError(f"{name}: character {text.index(chr(0))} is NUL, which no text holds; restore it or remove it")
    return text.replace(_MARK, "").replace("\r\n", "\n").replace("\r", "\n")


def is_blank(text: str) -> bool:
    """Whether nothing of ``text`` can be seen: white space, control and format characters only."""
    return not text.strip() or all(each.isspace() or unicodedata.category(each) in ("Cc", "Cf") for each in text)


def identity(text: str) -> bytes:
    """A digest of what a text says: the same for other white space and for composed and decomposed letters."""
    return hashlib.sha256(unicodedata.normalize("NFC", re.sub(r"\s+", " ", text.strip())).encode()).digest()


def name_of(path: str) -> str | None:
    """A file's name or path as text in NFC, under any locale; None where its bytes are not UTF-8."""
    try:
        return unicodedata.normalize("NFC", os.fsencode(path).decode())
    except UnicodeError:
        return None


def name_in_archive(member: ZipInfo) -> str:
    """The same of a zip archive's member: in UTF-8, marked as such or not, otherwise in the code page of DOS."""
    name = member.filename
    if not member.flag_bits & _ZIP_UTF8:
        with suppress(UnicodeError):  # if so, zipfile has read it as DOS would
            name = name.encode("cp437").decode()
    return unicodedata.normalize("NFC", name)


def rank(name: str) -> bytes:
    """What names are ordered by where chance is wanted: a split must depend on names alone, whoever typed them."""
    return hashlib.sha256(unicodedata.normalize("NFC", name).encode()).digest()


def _has_nul(content: bytes, name: str) -> StudyError:
    sample = content[:_NUL_SAMPLE]
    even, odd, size = sample[::2].count(0), sample[1::2].count(0), len(sample) / 2
    if even > size / 4 and odd > size / 4:
        guess = "UTF-32LE" if content[0] else "UTF-32BE"
    elif max(even, odd) > size / 100:
        guess = "UTF-16LE" if odd > even else "UTF-16BE"
    else:
        guess = None
    what = f"{name}: byte {content.index(0)} is NUL, which no text holds"
    if guess is None:
        return StudyError(f"{what}; a damaged or binary file, or UTF-16? Restore it, convert it to UTF-8 or remove it")
    return StudyError(f"{what}; {guess[:6]} without a byte-order mark? Convert it: {_conversion(guess)}")


def _not_text(content: bytes, encoding: str, error: UnicodeDecodeError, skipped: int, name: str) -> StudyError:
    place = error.start + skipped
    what = f"{name}: not {encoding[:6]} at byte {place}"
    if encoding != "UTF-8":
        return StudyError(f"{what}, though its byte-order mark says so; save it as UTF-8")
    line = re.sub(rb"\r\n?", b"\n", content[:place]).count(b"\n") + 1
    if error.reason == "unexpected end of data":
        return StudyError(f"{what} (line {line}): ends within a character; get all of it, or cut it elsewhere")
    return StudyError(f"{what} (line {line}); convert it, if it is Windows-1252: {_conversion('WINDOWS-1252')}")


def _conversion(encoding: str) -> str:
    return f"`iconv -f {encoding} -t UTF-8 old.txt > new.txt`"
