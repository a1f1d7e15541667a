"""Downloads from a server that behaves badly: what is used is whole and right; what has come is not asked for twice."""

from __future__ import annotations

import hashlib
import random
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from huggingface_hub import constants

from lm import download
from lm.corpus.catalogue import CORPORA, parse_description, read_description
from lm.corpus.sources import load_corpus
from lm.corpus.sources.hub import HubDescription
from lm.download import fetch
from lm.errors import StudyError

ROOT = Path(__file__).parents[1]
REVISION = "0123456789abcdef0123456789abcdef01234567"
CONTENT = random.Random(7).randbytes(300_000)
SHA256 = hashlib.sha256(CONTENT).hexdigest()
GIT_SHA1 = hashlib.sha1(b"blob %d\0" % len(CONTENT) + CONTENT).hexdigest()
INSTEAD = "put it somewhere and run with -S some.key=path"


class Hub(ThreadingHTTPServer):
    """As much of the Hub as a download needs. ``faults`` are taken one a GET, from the front; then all goes well."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answer)
        self.content, self.etag, self.ranges = CONTENT, SHA256, True
        self.faults: list[Callable[[Answer, bytes], None]] = []
        self.requests: list[tuple[str, str, str | None]] = []
        self.closing = threading.Event()

    @property
    def asked(self) -> list[str | None]:
        """The Range header of each GET."""
        return [wanted for method, _path, wanted in self.requests if method == "GET"]


class Answer(BaseHTTPRequestHandler):
    server: Hub

    def log_message(self, *_arguments: object) -> None:
        pass

    def _head(self) -> bytes:
        wanted = self.headers.get("Range")
        self.server.requests.append((self.command, self.path, wanted))
        content = self.server.content
        start = int(wanted.removeprefix("bytes=").removesuffix("-")) if wanted and self.server.ranges else 0
        self.send_response(206 if start else 200)
        self.send_header("ETag", f'"{self.server.etag}"')
        self.send_header("X-Repo-Commit", REVISION)
        self.send_header("Content-Length", str(len(content) - start))
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        self.end_headers()
        return content[start:]

    def do_HEAD(self) -> None:
        self._head()

    def do_GET(self) -> None:
        if self.path.startswith("/api/"):  # huggingface_hub's own questions, about its user agent
            self.send_error(404)
            return
        rest = self._head()
        if self.server.faults:
            self.server.faults.pop(0)(self, rest)
        else:
            self.wfile.write(rest)


def closes(answer: Answer, rest: bytes) -> None:
    answer.wfile.write(rest[:100_000])


def resets(answer: Answer, rest: bytes) -> None:
    answer.wfile.write(rest[:100_000])
    answer.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    answer.connection.close()


def stalls(answer: Answer, rest: bytes) -> None:
    answer.wfile.write(rest[:100_000])
    answer.wfile.flush()
    answer.server.closing.wait(20)


def says_nothing(answer: Answer, _rest: bytes) -> None:
    answer.server.closing.wait(20)


@pytest.fixture
def hub(monkeypatch, tmp_path) -> Iterator[Hub]:
    server = Hub()
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    monkeypatch.setattr(constants, "ENDPOINT", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setattr(
        constants, "HUGGINGFACE_CO_URL_TEMPLATE", constants.ENDPOINT + "/{repo_id}/resolve/{revision}/{filename}"
    )
    monkeypatch.setattr(constants, "HF_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "home" / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_DOWNLOAD_TIMEOUT", 0.3)
    monkeypatch.setattr(download, "_PAUSE", 0.0)
    yield server
    server.closing.set()
    server.shutdown()
    server.server_close()


def get(sha256: str | None = SHA256, name: str = "folder/file.bin") -> Path:
    return fetch("someone/something", REVISION, name, sha256, instead=INSTEAD)


def refused(sha256: str | None = SHA256) -> str:
    with pytest.raises(StudyError) as error:
        get(sha256)
    assert "\n" not in str(error.value)
    return str(error.value)


def files(folder: Path) -> set[str]:
    return {path.name for path in folder.rglob("*") if path.is_file() and path.suffix != ".lock"}


def test_a_file_comes_once(hub, tmp_path):
    path = get()
    assert path.read_bytes() == CONTENT
    assert path.is_relative_to(tmp_path / "home")
    assert path.name == "file.bin"
    assert [request[:2] for request in hub.requests] == [
        ("HEAD", f"/someone/something/resolve/{REVISION}/folder/file.bin"),
        ("GET", f"/someone/something/resolve/{REVISION}/folder/file.bin"),
    ]
    assert get() == path
    assert len(hub.requests) == 2, "the second time nothing is asked"
    assert files(tmp_path) == {"file.bin"}


def test_a_dataset_has_its_own_address(hub):
    path = fetch("someone/something", REVISION, "file.bin", SHA256, dataset=True, instead=INSTEAD)
    assert path.read_bytes() == CONTENT
    assert hub.requests[0][1] == f"/datasets/someone/something/resolve/{REVISION}/file.bin"


@pytest.mark.parametrize("fault", [closes, resets, stalls])
def test_a_broken_connection_is_taken_up_where_it_broke(hub, tmp_path, fault):
    hub.faults = [fault, fault]
    assert get().read_bytes() == CONTENT
    first, second, third = hub.asked
    assert first is None
    starts = [int(wanted.removeprefix("bytes=").removesuffix("-")) for wanted in (second, third)]
    assert 0 < starts[0] <= 100_000
    assert starts[0] < starts[1] <= 200_000
    assert files(tmp_path) == {"file.bin"}


@pytest.mark.parametrize("fault", [closes, stalls])
def test_a_later_try_goes_on(hub, tmp_path, fault):
    """Between the two calls nothing survives but the disk, as between two processes."""
    hub.faults = [fault] + [says_nothing] * 5
    line = refused()
    assert "folder/file.bin could not be downloaded" in line
    assert "of 300,000 bytes came" in line
    assert line.endswith(INSTEAD)
    assert "file.bin" not in files(tmp_path), "what is incomplete does not carry the file's name"
    asked = len(hub.asked)
    assert get().read_bytes() == CONTENT
    assert [wanted is not None for wanted in hub.asked[asked:]] == [True]
    assert files(tmp_path) == {"file.bin"}


def test_a_server_without_ranges_starts_again(hub):
    hub.ranges = False
    hub.faults = [closes]
    assert get().read_bytes() == CONTENT
    assert len(hub.asked) == 2


def test_a_server_that_never_gets_further_is_given_up(hub, tmp_path):
    hub.ranges = False
    hub.faults = [closes] * 100
    assert "of 300,000 bytes came" in refused()
    assert len(hub.asked) == 6
    assert "file.bin" not in files(tmp_path)


@pytest.mark.parametrize("sha256", [SHA256, None])
def test_wrong_bytes_are_never_used(hub, tmp_path, sha256):
    hub.content = bytes([CONTENT[0] ^ 1]) + CONTENT[1:]
    found = hashlib.sha256(hub.content).hexdigest()
    line = refused(sha256)
    assert f"sha256 is {found}, expected {SHA256}" in line
    assert files(tmp_path) == set(), "the next try starts anew"
    hub.content = CONTENT
    assert get(sha256).read_bytes() == CONTENT


def test_a_corpus_of_other_bytes_is_not_loaded(hub, tmp_path):
    folder = ROOT / CORPORA / "wikitext-2"
    described = parse_description(HubDescription, read_description(folder), folder)
    official = described.files.train
    with pytest.raises(StudyError, match=f"{official.name}, .* sha256 is {SHA256}, expected {official.sha256}"):
        load_corpus("wikitext-2", ROOT / CORPORA)
    assert hub.requests[0][1] == f"/datasets/Salesforce/wikitext/resolve/{described.revision}/{official.name}"
    assert files(tmp_path) == set()


def test_a_wrong_beginning_spoils_the_whole(hub, tmp_path):
    hub.faults = [closes] + [says_nothing] * 5
    refused()
    partial = next(path for path in tmp_path.rglob("*.incomplete"))
    partial.write_bytes(bytes(partial.stat().st_size))
    assert "expected" in refused()
    assert get().read_bytes() == CONTENT


def test_without_a_known_sha256_the_hubs_own_names_are_checked(hub):
    hub.etag = GIT_SHA1
    assert get(None).read_bytes() == CONTENT
    hub.content = CONTENT[:-1] + b"?"
    with pytest.raises(StudyError, match=f"git blob sha1 is [0-9a-f]{{40}}, expected {GIT_SHA1}"):
        get(None, "other.bin")


@pytest.mark.usefixtures("hub")
def test_a_file_that_was_spoiled_later_is_not_used():
    path = get()
    path.write_bytes(CONTENT[:-1])
    line = refused()
    assert str(path) in line
    assert "delete it" in line
    path.unlink()
    assert get().read_bytes() == CONTENT


def test_what_the_hubs_own_cache_has_is_used_if_it_is_right(hub, tmp_path):
    cached = tmp_path / "home" / "hub" / "models--someone--something" / "snapshots" / REVISION / "folder" / "file.bin"
    cached.parent.mkdir(parents=True)
    cached.write_bytes(CONTENT)
    assert get() == cached
    assert hub.requests == []
    cached.write_bytes(CONTENT + b"?")
    assert get().read_bytes() == CONTENT
    assert len(hub.asked) == 1


def test_an_answer_that_is_not_the_hubs(hub):
    hub.etag = ""
    assert "is HF_ENDPOINT a Hub?" in refused(None)


def test_without_a_network_the_line_says_what_to_do(monkeypatch, tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        unused = f"http://127.0.0.1:{taken.getsockname()[1]}"
        code = (
            "from lm.download import fetch; from lm.errors import reported;"
            f"reported(lambda: fetch('someone/something', '{REVISION}', 'file.bin', None, instead={INSTEAD!r}))()"
        )
        environment = {"HF_ENDPOINT": unused, "HF_HOME": str(tmp_path), "PATH": "", "PYTHONDONTWRITEBYTECODE": "1"}
        done = subprocess.run([sys.executable, "-c", code], env=environment, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.startswith("error: someone/something: file.bin could not be downloaded from " + unused)
    assert done.stderr.endswith(INSTEAD + "\n")
    assert done.stderr.count("\n") == 1
    monkeypatch.setattr(constants, "HF_HOME", str(tmp_path))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert "could not be downloaded" in refused()
