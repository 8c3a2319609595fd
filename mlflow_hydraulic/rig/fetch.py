"""Downloads the data set that UCI publishes, and proves that it is the published one. Called by `find` and the CLI.

The download goes to a `.part` file, which a later call continues; the zip gets its name only when every file in it has
the published fingerprint, so what has the name is whole.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import IO

import requests

from mlflow_hydraulic.errors import BadData, BadInput, Failed, Unavailable, Untrusted
from mlflow_hydraulic.rig.published import FILES, ZIP_NAME, Published, open_published

URL = f"https://archive.ics.uci.edu/static/public/447/{ZIP_NAME}"
WAY_OUT = "give the data that you have with --data (or HYDRAULIC_DATA), or make some: hydraulic data simulate"
CHUNK_BYTES = 1 << 16
MAX_ZIP_BYTES = 1 << 30  # the published zip has some 80 MB
READ_TIMEOUT_S = 30.0
Progress = Callable[[int, int | None], None]  # bytes had so far, bytes in all where the server says so


@dataclass(frozen=True, kw_only=True)
class Attempts:
    """How long to try: `count` tries, the pause doubling from `pause_s`; `connect_s` to reach the server."""

    count: int = 5
    pause_s: float = 1.0
    connect_s: float = 10.0
    sleep: Callable[[float], None] = time.sleep


class Changed(Exception):
    """The file on the server is another one than the one that `.part` began with."""


def fetch(
    folder: Path, *, url: str = URL, progress: Progress = lambda *_: None, attempts: Attempts = Attempts()
) -> Path:
    """The verified zip in `folder`; downloaded, or continued, unless it is there already.

    Raises `Unavailable` when the server cannot be reached or breaks off again and again (what arrived is kept),
    `Failed` when it refuses or the disk is full, `Untrusted` when the files are not the published ones.
    """
    target = folder / ZIP_NAME
    if target.exists():
        verify(target)
        return target
    part = folder / f"{ZIP_NAME}.part"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _download(url, part, progress, attempts)
    except OSError as error:
        raise Failed(f"{part}: cannot be written: {error.strerror or error}; free some space or choose --to") from error
    try:
        verify(part)
    except (BadData, Untrusted) as error:
        _forget(part)
        raise Untrusted(f"{url}: not the published data set, so it was removed: {error}; {WAY_OUT}") from error
    part.replace(target)
    _forget(part)
    return target


def verify(path: Path) -> Published:
    """Check all 18 files of a zip or folder against UCI's fingerprints; `Untrusted` names the first that differs."""
    published = open_published(path)
    known = fingerprints()
    for name in FILES:
        found = blob_sha1(published, name)
        if found != known[name]:
            raise Untrusted(f"{path.name}: {name}: git blob SHA-1 is {found}, published is {known[name]}")
    return published


def fingerprints() -> dict[str, str]:
    """git blob SHA-1 of each published file."""
    text = (files("mlflow_hydraulic.rig") / "fingerprints.json").read_text(encoding="utf-8")
    return dict(json.loads(text)["git_blob_sha1"])


def blob_sha1(published: Published, name: str) -> str:
    """What `git hash-object` says of a file: sha1 over "blob <size>", a zero byte and the content."""
    size = sum(len(chunk) for chunk in published.chunks(name))
    digest = hashlib.sha1(b"blob %d\0" % size, usedforsecurity=False)
    for chunk in published.chunks(name):
        digest.update(chunk)
    return digest.hexdigest()


def _download(url: str, part: Path, progress: Progress, attempts: Attempts) -> None:
    for left in reversed(range(attempts.count)):
        before = _size(part)
        try:
            _continue(url, part, progress, attempts.connect_s)
        except Changed:
            _forget(part)
        except (requests.exceptions.InvalidURL, requests.exceptions.InvalidSchema, ValueError) as error:
            raise BadInput(f"url={url!r}: must be an http or https address: {error}") from error
        except (requests.RequestException, Unavailable) as error:
            if not left:
                raise Unavailable(_away(url, part, error)) from error
            attempts.sleep(attempts.pause_s * 2 ** (attempts.count - 1 - left) if _size(part) <= before else 0.0)
        else:
            return
    raise Unavailable(f"{url}: the file changes while it is downloaded; try again later, or {WAY_OUT}")


def _away(url: str, part: Path, error: Exception) -> str:
    kept = f"{_size(part)} bytes are kept in {part}, the next call goes on from there; " if _size(part) else ""
    return f"{url}: cannot be downloaded: {_reason(error)}; {kept}{WAY_OUT}"


def _reason(error: Exception) -> str:
    if isinstance(error, requests.Timeout):
        return "the server does not answer in time"
    if isinstance(error, requests.ConnectionError):
        return "no connection to the server (offline, or a proxy or firewall in between)"
    return str(error)


def _continue(url: str, part: Path, progress: Progress, connect_s: float) -> None:
    """One request for what is missing of `part`; writes what arrives."""
    had, tag = _size(part), _tag(part)
    headers = {"Accept-Encoding": "identity"}
    if had and tag:
        headers |= {"Range": f"bytes={had}-", "If-Range": tag}
    with requests.get(url, headers=headers, stream=True, timeout=(connect_s, READ_TIMEOUT_S)) as answer:
        if answer.status_code == 416:
            raise Changed
        if answer.status_code >= 500 or answer.status_code == 429:
            raise Unavailable(f"the server answers {answer.status_code} {answer.reason}")
        if answer.status_code not in {200, 206}:
            raise Failed(f"{url}: the server answers {answer.status_code} {answer.reason}; {WAY_OUT}")
        start = had if answer.status_code == 206 else 0  # a server may ignore Range, or the file may have changed
        if start and not answer.headers.get("Content-Range", "").startswith(f"bytes {start}-"):
            raise Changed
        length = answer.headers.get("Content-Length", "")
        total = start + int(length) if length.isdigit() else None
        if not start:
            _forget(part)  # before the new tag is there: old bytes must never go with it
        _tag_file(part).write_text(_tag_of(answer), encoding="utf-8")
        with part.open("ab" if start else "wb") as file:
            _receive(answer, file, start, total, progress)


def _receive(answer: requests.Response, file: IO[bytes], start: int, total: int | None, progress: Progress) -> None:
    done = start
    answer.raw.enforce_content_length = False  # else the last bytes before a cut are lost; `total` finds the cut
    for chunk in answer.iter_content(CHUNK_BYTES):
        done += len(chunk)
        if done > MAX_ZIP_BYTES:
            raise Failed(f"{answer.url}: more than {MAX_ZIP_BYTES} bytes: not the published data set; {WAY_OUT}")
        file.write(chunk)
        progress(done, total)
    if total is not None and done < total:
        raise Unavailable(f"the connection ended after {done} of {total} bytes")


def _tag_of(answer: requests.Response) -> str:
    """What If-Range may hold: a strong ETag, else the date of the last change."""
    etag = answer.headers.get("ETag", "")
    return etag if etag and not etag.startswith("W/") else answer.headers.get("Last-Modified", "")


def _tag_file(part: Path) -> Path:
    return part.with_name(part.name + ".tag")


def _tag(part: Path) -> str:
    return _tag_file(part).read_text(encoding="utf-8") if _tag_file(part).exists() else ""


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _forget(part: Path) -> None:
    part.unlink(missing_ok=True)
    _tag_file(part).unlink(missing_ok=True)
