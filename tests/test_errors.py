"""Whatever fails in a stage: one line that names the file and what to do, and an exit status."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from lm.errors import StudyError, reading, reported, writing

ROOT = Path(__file__).parents[1]


def line_of(capsys, raises: BaseException) -> tuple[int, str]:
    @reported
    def main() -> None:
        raise raises

    with pytest.raises(SystemExit) as end:
        main()
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert error.count("\n") == 1
    return end.value.code, error


@pytest.mark.parametrize(
    ("number", "named"),
    [
        (errno.ENOSPC, ["No space left on device", "free some space"]),
        (errno.EROFS, ["Read-only file system", "make the file system writable"]),
        (errno.EACCES, ["Permission denied", "give yourself the right"]),
        (errno.EDQUOT, ["quota"]),
        (errno.EMFILE, ["ulimit"]),
        (errno.EIO, ["Input/output error", "disk"]),
        (errno.ENOENT, ["No such file", "see that it is there"]),
    ],
)
def test_an_error_of_the_system(capsys, tmp_path, number, named):
    path = str(tmp_path / "train.npy")
    status, line = line_of(capsys, OSError(number, os.strerror(number), path))
    assert status == 1
    assert path in line
    assert "`dvc repro`" in line
    assert [word for word in named if word not in line] == []


def test_an_error_without_a_file_names_the_folder(capsys):
    _status, line = line_of(capsys, OSError(errno.ENOSPC, "No space left on device"))
    assert str(Path.cwd()) in line


@pytest.mark.parametrize("error", [StudyError("a line\nand another"), MemoryError(), KeyboardInterrupt()])
def test_other_ends_are_one_line(capsys, error):
    status, _line = line_of(capsys, error)
    assert status == (130 if isinstance(error, KeyboardInterrupt) else 1)


def test_a_full_disk_is_named_by_its_file():
    """What the system says when a write fails names no file; /dev/full is a disk that is always full."""
    with pytest.raises(OSError, match=r"No space left on device: '/dev/full'"), writing(Path("/dev/full")):
        Path("/dev/full").write_bytes(b"text")


@pytest.mark.parametrize(
    ("content", "named"), [(None, "no such file"), (b"\xff", "damaged"), (b"{", "damaged")], ids=str
)
def test_reading(tmp_path, content, named):
    path = tmp_path / "card.json"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(StudyError, match=f"card.json: {named}.*; run it again$"), reading(path, "run it again"):
        int(path.read_text(encoding="utf-8"))


def run(code: str, shell: str = "{}") -> subprocess.CompletedProcess[str]:
    program = f"{sys.executable} -c '{code}'"
    return subprocess.run(["bash", "-c", shell.format(program)], cwd=ROOT, capture_output=True, text=True, check=False)


LINES = "from lm.errors import reported\n@reported\ndef main():\n for i in range(100000): print(i)\nmain()"


def test_a_reader_that_has_gone():
    done = run(LINES, "set -o pipefail; {} | head -n 1")
    assert (done.returncode, done.stdout, done.stderr) == (141, "0\n", "")


def test_names_that_the_terminal_lacks():
    code = "from lm.errors import reported\n@reported\ndef main(): print(chr(0xdcff), chr(0xe9))\nmain()"
    done = run(code, "PYTHONIOENCODING=ascii {}")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "\\udcff \\xe9\n"
