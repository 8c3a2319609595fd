"""The download against a real HTTP server that behaves badly: what is kept, what is refused, what is said."""

from __future__ import annotations

import hashlib
import json
import threading
import zipfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from mlflow_hydraulic.errors import BadData, BadInput, Failed, NotFound, Unavailable, Untrusted
from mlflow_hydraulic.rig import fetch as fetching
from mlflow_hydraulic.rig.fetch import Attempts, blob_sha1, fetch, fingerprints
from mlflow_hydraulic.rig.find import find_cycles
from mlflow_hydraulic.rig.load import load_cycles
from mlflow_hydraulic.rig.published import FILES, ZIP_NAME, open_published
from mlflow_hydraulic.rig.sensors import SENSORS
from mlflow_hydraulic.rig.simulate import simulate_cycles
from mlflow_hydraulic.rig.write import sensor_lines, write_parquet, write_uci
from mlflow_hydraulic.settings import Settings

TRY = Attempts(count=4, pause_s=0.0, connect_s=2.0, sleep=lambda _: None)


class Server(ThreadingHTTPServer):
    """Serves `content`; cuts the first answers after `cuts` bytes each, and can ignore Range or answer an error."""

    content = b""
    etag = '"one"'
    ranges = True
    cuts: list[int]
    statuses: list[int]
    asked: list[str | None]


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        server = self.server
        server.asked.append(self.headers.get("Range"))
        if server.statuses:
            self.send_response(server.statuses.pop(0))
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        start = 0
        wanted = self.headers.get("Range")
        if wanted and server.ranges and self.headers.get("If-Range") == server.etag:
            start = int(wanted.removeprefix("bytes=").removesuffix("-"))
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(server.content) - 1}/{len(server.content)}")
        self.send_header("ETag", server.etag)
        body = server.content[start:]
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[: server.cuts.pop(0)] if server.cuts else body)
        self.close_connection = True

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class calls it so
        pass


@pytest.fixture(autouse=True)
def direct(monkeypatch: pytest.MonkeyPatch) -> None:
    """No proxy of the person who runs the tests stands before the local server."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


@pytest.fixture
def server() -> Iterator[Server]:
    with Server(("127.0.0.1", 0), Handler) as running:
        running.cuts, running.statuses, running.asked = [], [], []
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield running
        running.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def small_zip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("zip")
    write_uci(simulate_cycles(cycles=2), folder / "text")
    with zipfile.ZipFile(folder / "small.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for file in sorted((folder / "text").iterdir()):
            archive.write(file, file.name)
    return folder / "small.zip"


@pytest.fixture
def published(server: Server, small_zip: Path, monkeypatch: pytest.MonkeyPatch) -> Server:
    """The server with a small set whose fingerprints pass for the published ones."""
    server.content = small_zip.read_bytes()
    small = open_published(small_zip)
    known = {name: blob_sha1(small, name) for name in FILES}
    monkeypatch.setattr(fetching, "fingerprints", lambda: known)
    return server


def url_of(server: Server) -> str:
    return f"http://127.0.0.1:{server.server_address[1]}/{ZIP_NAME}"


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_fetch_and_again(published: Server, tmp_path: Path) -> None:
    seen: list[tuple[int, int | None]] = []
    path = fetch(tmp_path, url=url_of(published), attempts=TRY, progress=lambda *now: seen.append(now))
    assert names(tmp_path) == [ZIP_NAME]
    assert path.read_bytes() == published.content
    assert seen[-1] == (len(published.content), len(published.content))
    assert fetch(tmp_path, url=url_of(published), attempts=TRY) == path
    assert published.asked == [None]


def test_cut_connections_are_continued(published: Server, tmp_path: Path) -> None:
    published.cuts = [1000, 0, 2000]
    fetch(tmp_path, url=url_of(published), attempts=TRY)
    assert published.asked == [None, "bytes=1000-", "bytes=1000-", "bytes=3000-"]
    assert names(tmp_path) == [ZIP_NAME]


def test_a_later_call_goes_on(published: Server, tmp_path: Path) -> None:
    published.cuts = [500] * 4
    with pytest.raises(Unavailable, match=r"after 2000 of .* 2000 bytes are kept .*the next call goes on.*--data"):
        fetch(tmp_path, url=url_of(published), attempts=TRY)
    assert names(tmp_path) == [f"{ZIP_NAME}.part", f"{ZIP_NAME}.part.tag"]
    fetch(tmp_path, url=url_of(published), attempts=TRY)
    assert published.asked[-1] == "bytes=2000-"
    assert names(tmp_path) == [ZIP_NAME]


@pytest.mark.parametrize("ranges", [True, False])
def test_server_without_range_or_with_another_file(published: Server, tmp_path: Path, ranges: bool) -> None:
    part = tmp_path / f"{ZIP_NAME}.part"
    part.write_bytes(b"of another file")
    part.with_name(part.name + ".tag").write_text('"one"' if not ranges else '"old"')
    published.ranges = ranges
    fetch(tmp_path, url=url_of(published), attempts=TRY)
    assert names(tmp_path) == [ZIP_NAME]


def test_a_part_longer_than_the_file_starts_anew(published: Server, tmp_path: Path) -> None:
    part = tmp_path / f"{ZIP_NAME}.part"
    part.write_bytes(b"x" * 10)
    part.with_name(part.name + ".tag").write_text('"one"')
    published.statuses = [416]
    fetch(tmp_path, url=url_of(published), attempts=TRY)
    assert published.asked == ["bytes=10-", None]


def test_wrong_content_is_removed(server: Server, small_zip: Path, tmp_path: Path) -> None:
    for content, words in (
        (b"<html>sign in</html>", "not a readable zip"),
        (small_zip.read_bytes(), "git blob SHA-1 is"),
    ):
        server.content = content
        with pytest.raises(Untrusted, match=words):
            fetch(tmp_path, url=url_of(server), attempts=TRY)
        assert names(tmp_path) == []


def test_a_damaged_file_under_the_final_name_is_never_taken(published: Server, small_zip: Path, tmp_path: Path) -> None:
    path = fetch(tmp_path, url=url_of(published), attempts=TRY)
    whole = bytearray(path.read_bytes())
    whole[len(whole) // 2] ^= 255
    path.write_bytes(whole)
    with pytest.raises((BadData, Untrusted), match=r"\.txt"):
        fetch(tmp_path, url=url_of(published), attempts=TRY)


def test_refusals_and_outages(published: Server, tmp_path: Path) -> None:
    published.statuses = [404]
    with pytest.raises(Failed, match=r"404 Not Found.*hydraulic data simulate"):
        fetch(tmp_path, url=url_of(published), attempts=TRY)
    published.statuses = [503, 429, 500]
    assert fetch(tmp_path / "a", url=url_of(published), attempts=TRY).exists()
    pauses: list[float] = []
    waiting = Attempts(count=4, pause_s=1.0, connect_s=2.0, sleep=pauses.append)
    published.statuses = [503] * 4
    with pytest.raises(Unavailable, match="503"):
        fetch(tmp_path / "b", url=url_of(published), attempts=waiting)
    assert pauses == [1.0, 2.0, 4.0]
    with pytest.raises(BadInput, match="must be an http or https address"):
        fetch(tmp_path / "c", url="ftp//x", attempts=TRY)


def test_offline(free_port: int, tmp_path: Path) -> None:
    url = f"http://127.0.0.1:{free_port}/x.zip"
    with pytest.raises(Unavailable, match=rf"{url}.*no connection.*offline.*--data.*simulate"):
        fetch(tmp_path, url=url, attempts=TRY)
    assert names(tmp_path) == []


def test_disk_full(published: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(fetching, "_receive", full)
    with pytest.raises(Failed, match="No space left on device; free some space or choose --to"):
        fetch(tmp_path, url=url_of(published), attempts=TRY)
    assert ZIP_NAME not in names(tmp_path)


def test_interrupted_by_hand_leaves_a_part_to_continue(published: Server, tmp_path: Path) -> None:
    def interrupt(done: int, total: int | None) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fetch(tmp_path, url=url_of(published), attempts=TRY, progress=interrupt)
    assert f"{ZIP_NAME}.part" in names(tmp_path)
    fetch(tmp_path, url=url_of(published), attempts=TRY)
    assert published.asked[-1] is not None
    assert names(tmp_path) == [ZIP_NAME]


def test_fingerprints_are_those_of_git_and_of_the_real_files(rig_data: Path) -> None:
    known = fingerprints()
    source = json.loads((rig_data / "raw_fingerprints.json").read_text())["files"]
    assert known == {name: facts["git_blob_sha1"] for name, facts in source.items()}
    seconds = load_cycles(rig_data).seconds
    assert seconds is not None
    for i, sensor in enumerate(SENSORS):
        if sensor.rate_hz == 1:  # full-rate samples cannot be had back from their means
            content = "".join(sensor_lines(seconds[:, i, :], sensor)).encode()
            found = hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()
            assert found == known[f"{sensor.name}.txt"]


def test_find_takes_what_is_given_or_refuses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_parquet(simulate_cycles(cycles=2), tmp_path / "c.parquet")
    assert len(find_cycles(Settings(home=tmp_path / "home", data="c.parquet"))) == 2
    with pytest.raises(NotFound, match="no such file"):
        find_cycles(Settings(home=tmp_path / "home", data="absent"))


def test_find_looks_beside_then_downloads_then_simulates(
    published: Server,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    free_port: int,
) -> None:
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    settings = Settings(home=tmp_path / "home")
    offline = find_cycles(settings, url=f"http://127.0.0.1:{free_port}/x.zip")
    assert offline.origin == "simulated" and len(offline) == 2205
    assert "WARNING: these cycles are SIMULATED" in capsys.readouterr().err
    assert find_cycles(settings, fetch=False).digest == offline.digest
    capsys.readouterr()
    assert len(find_cycles(settings, url=url_of(published))) == 2
    assert len(find_cycles(settings, fetch=False)) == 2  # the download is there now
    (tmp_path / "shared" / "data").mkdir(parents=True)
    write_parquet(simulate_cycles(cycles=5), tmp_path / "shared" / "data" / "hydraulic_1hz.parquet")
    assert len(find_cycles(settings, fetch=False)) == 5
    assert capsys.readouterr().err == ""
