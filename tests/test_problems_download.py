"""Downloads, the files they bring, and the user's own modules."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import shutil
import threading
from collections.abc import Generator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ravine.errors import UserError
from ravine.problems.download import fetch

CONTENT = np.random.default_rng(0).bytes(900_001)
SHA = hashlib.sha256(CONTENT).hexdigest()


@dataclass
class Site:
    """A server of one content on this machine, and how it misbehaves."""

    content: bytes = CONTENT
    cut: int | None = None  # each answer ends after so many bytes
    ranges: bool = True
    status: int | None = None
    asked: list[str | None] = field(default_factory=list[str | None])  # the Range of each request
    url: str = ""


@pytest.fixture
def site() -> Generator[Site, None, None]:
    site = Site()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            wanted = self.headers.get("Range")
            site.asked.append(wanted)
            start = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted and site.ranges else 0
            if site.status or start >= len(site.content):
                self.send_error(site.status or 416)
                return
            self.send_response(206 if start else 200)
            if start:
                last = len(site.content) - 1
                self.send_header("Content-Range", f"bytes {start}-{last}/{len(site.content)}")
            self.send_header("Content-Length", str(len(site.content) - start))
            self.end_headers()
            with contextlib.suppress(ConnectionError):  # the reader may have had enough
                self.wfile.write(site.content[start:][: site.cut])

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    site.url = f"http://127.0.0.1:{server.server_port}/file"
    yield site
    server.shutdown()
    server.server_close()
    thread.join()


def get(site: Site, path: Path) -> Path:
    return fetch([site.url], path, sha256=SHA, size=len(CONTENT))


def test_whole_file(site: Site, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = get(site, tmp_path / "deep" / "file")
    assert path.read_bytes() == CONTENT
    assert not path.with_name("file.part").exists()
    assert site.asked == [None]
    printed = capsys.readouterr()
    assert (printed.out, "downloading file (0.9 MB)" in printed.err) == ("", True)


def test_a_file_that_is_there_is_not_fetched(site: Site, tmp_path: Path) -> None:
    get(site, tmp_path / "file")
    get(site, tmp_path / "file")
    assert len(site.asked) == 1


def test_interrupted_download_goes_on(site: Site, tmp_path: Path) -> None:
    (tmp_path / "file.part").write_bytes(CONTENT[:300_000])
    assert get(site, tmp_path / "file").read_bytes() == CONTENT
    assert site.asked == ["bytes=300000-"]


def test_connection_that_breaks_is_taken_up_again(site: Site, tmp_path: Path) -> None:
    site.cut = 400_000
    assert get(site, tmp_path / "file").read_bytes() == CONTENT
    assert site.asked == [None, "bytes=400000-", "bytes=800000-"]


def test_server_that_cannot_resume_starts_again(site: Site, tmp_path: Path) -> None:
    site.ranges = False
    (tmp_path / "file.part").write_bytes(CONTENT[:300_000])
    assert get(site, tmp_path / "file").read_bytes() == CONTENT


@pytest.mark.parametrize("length", [100, len(CONTENT), len(CONTENT) + 50])
def test_wrong_bytes_of_an_earlier_download_are_thrown_away(site: Site, tmp_path: Path, length: int) -> None:
    (tmp_path / "file.part").write_bytes(b"?" * length)
    assert get(site, tmp_path / "file").read_bytes() == CONTENT
    assert site.asked[-1] is None


def test_wrong_content_is_never_believed(site: Site, tmp_path: Path) -> None:
    site.content = bytes(reversed(CONTENT))
    with pytest.raises(UserError, match="gave a file of another SHA-256"):
        get(site, tmp_path / "file")
    assert not (tmp_path / "file").exists()
    assert not (tmp_path / "file.part").exists()


@pytest.mark.parametrize("length", [500_000, 0])
def test_truncated_at_the_source(site: Site, tmp_path: Path, length: int) -> None:
    site.content = CONTENT[:length]
    with pytest.raises(UserError, match=r"cannot download file: .* answered 416"):
        get(site, tmp_path / "file")
    assert not (tmp_path / "file").exists()


def test_endless_content_is_cut_off(site: Site, tmp_path: Path) -> None:
    site.content = CONTENT * 8
    with pytest.raises(UserError, match="another SHA-256"):
        get(site, tmp_path / "file")


def test_mirrors_are_tried_in_turn(site: Site, tmp_path: Path) -> None:
    dead = "http://127.0.0.1:9/file"
    assert fetch([dead, site.url], tmp_path / "file", sha256=SHA, size=len(CONTENT)).read_bytes() == CONTENT


def test_no_network(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"cannot download file: http://127.0.0.1:9/file cannot be reached \("):
        fetch(["http://127.0.0.1:9/file"], tmp_path / "file", sha256=SHA, size=10)


def test_server_error(site: Site, tmp_path: Path) -> None:
    site.status = 503
    with pytest.raises(UserError, match="answered 503 Service Unavailable"):
        get(site, tmp_path / "file")


def test_no_disk_space(site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = shutil.disk_usage(tmp_path)._replace(free=1000)
    monkeypatch.setattr("ravine.problems.download.shutil.disk_usage", lambda _: usage)
    with pytest.raises(UserError, match=rf"no disk space for file in {tmp_path}: make room"):
        get(site, tmp_path / "file")
    assert site.asked == []


def test_disk_that_fills_up_keeps_what_came(site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("ravine.problems.download.os.fsync", full)
        with pytest.raises(UserError, match="no disk space for file"):
            get(site, tmp_path / "file")
    assert not (tmp_path / "file").exists()
    assert get(site, tmp_path / "file").read_bytes() == CONTENT


def test_folder_that_cannot_be_made(site: Site, tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("in the way")
    with pytest.raises(UserError, match=r"cannot write .*: (File exists|Not a directory); set RAVINE_DATA"):
        get(site, tmp_path / "cache" / "file")


def test_two_at_once_fetch_once(site: Site, tmp_path: Path) -> None:
    threads = [threading.Thread(target=get, args=(site, tmp_path / "file")) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (tmp_path / "file").read_bytes() == CONTENT
    assert len(site.asked) == 1
