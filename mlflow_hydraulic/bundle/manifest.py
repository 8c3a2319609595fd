"""`bundle.json`: the file names, canonical JSON and digests that writer and reader of a bundle share.

Only the standard library: the scorer imports this through `bundle.read`.
"""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path
from typing import Any, TypeVar

from mlflow_hydraulic.errors import BadData, BadInput, NotFound, Untrusted

Json = dict[str, Any]  # Any: the value is JSON
T = TypeVar("T")

FORMAT = "mlflow-hydraulic-bundle"
FORMAT_VERSION = 1

MANIFEST = "bundle.json"
GRAPH = "model.onnx"
BACKGROUND = "background.npy"
BASELINE = "baseline.json"
CERTIFICATE = "certificate.json"
DRIFT = "drift.npz"

PLAIN_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}")
SHA256 = re.compile(r"[0-9a-f]{64}")
LARGEST_JSON = 64 * 2**20  # bytes; a manifest has some 10 kB, a baseline some 100 kB
LARGEST_FILE = 2 * 2**30  # bytes; protobuf, and so ONNX, ends there


def canonical(value: Json) -> bytes:
    """The one way in which JSON files of a bundle are written: sorted keys, UTF-8, no NaN, one line feed at the end."""
    text = json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False, allow_nan=False)
    return text.encode("utf-8") + b"\n"


def digest_of(content: bytes) -> str:
    """sha256 in hex."""
    return hashlib.sha256(content).hexdigest()


def seal(manifest: Json) -> Json:
    """The manifest with `digest`, the sha256 over the canonical form of all the rest."""
    rest = {key: value for key, value in manifest.items() if key != "digest"}
    return {**rest, "digest": digest_of(canonical(rest))}


def take(where: str, value: Json, key: str, kind: type[T]) -> T:
    """`value[key]`, which must be there and of type `kind`; `BadData` names the file `where` and the key."""
    found = value.get(key)
    if key not in value or not isinstance(found, kind) or (isinstance(found, bool) and kind is not bool):
        raise BadData(where, f"{key}={found!r}: must be there and be of type {kind.__name__}")
    return found


def read_json(path: Path) -> Json:
    """The JSON object in a file; `BadData` names the file, and the row and column where JSON breaks."""
    content = read_whole(path, largest=LARGEST_JSON)
    try:
        value = json.loads(content.decode("utf-8"), parse_constant=_no_constant)
    except UnicodeDecodeError as error:
        raise BadData(path.name, f"not UTF-8: byte {error.start} is {content[error.start]:#04x}") from error
    except json.JSONDecodeError as error:
        raise BadData(path.name, f"not JSON: {error.msg}", error.lineno, error.colno) from error
    except (ValueError, RecursionError) as error:
        raise BadData(path.name, f"not usable JSON: {error}") from error
    if not isinstance(value, dict):
        raise BadData(path.name, f"holds a JSON {type(value).__name__}: must be an object")
    return value


def read_whole(path: Path, *, largest: int) -> bytes:
    """The content of a regular file of at most `largest` bytes; looked at before it is read."""
    if not path.exists():
        raise NotFound(f"{path}: there is no such file: the bundle is not whole; build it anew")
    if not path.is_file():
        raise BadData(path.name, "not a regular file")
    if path.stat().st_size > largest:
        raise BadData(path.name, f"has {path.stat().st_size} bytes: at most {largest} are read")
    return path.read_bytes()


def read_manifest(folder: Path) -> Json:
    """The manifest of the bundle in `folder`, its format version known and its own digest right.

    `Untrusted` when so much as a blank was changed after it was sealed.
    """
    path = folder / MANIFEST
    if not folder.is_dir():
        raise NotFound(f"{folder}: there is no such folder, so no bundle")
    manifest = read_json(path)
    if manifest.get("format") != FORMAT:
        raise BadData(MANIFEST, f"format={manifest.get('format')!r}: must be {FORMAT!r}; this is no bundle")
    if manifest.get("version") != FORMAT_VERSION:
        raise BadInput(
            f"{path}: format version {manifest.get('version')!r}: this program reads version {FORMAT_VERSION}; "
            "upgrade mlflow-hydraulic, or build the bundle anew with this version"
        )
    if path.read_bytes() != canonical(seal(manifest)):
        raise Untrusted(f"{path}: its digest does not fit its content: it was changed after it was written")
    return manifest


def check_files(folder: Path, manifest: Json, *, verify_digests: bool) -> dict[str, str]:
    """Name and sha256 of each listed file, after each was found inside `folder` with its size and digest."""
    files = {}
    for name, entry in take(MANIFEST, manifest, "files", dict).items():
        if not isinstance(entry, dict) or not SHA256.fullmatch(str(entry.get("sha256"))):
            raise BadData(MANIFEST, f"files: {name!r} must have its sha256 in hex and its size in bytes")
        path = inside(folder, name)
        size = take(MANIFEST, entry, "bytes", int)
        if not path.exists():
            raise NotFound(f"{path}: there is no such file: the bundle is not whole; build it anew")
        if path.stat().st_size != size:
            raise Untrusted(f"{path}: has {path.stat().st_size} bytes, the manifest says {size}")
        if verify_digests:
            check_digest(path, read_whole(path, largest=LARGEST_FILE), entry["sha256"])
        files[name] = entry["sha256"]
    return files


def check_digest(path: Path, content: bytes, expected: str) -> None:
    """`Untrusted` when the sha256 of `content` is not `expected`."""
    found = digest_of(content)
    if found != expected:
        raise Untrusted(f"{path}: sha256 is {found}, the manifest says {expected}: it was changed after it was written")


def inside(folder: Path, name: str) -> Path:
    """The path of the file `name`, which must be a plain name and lie in `folder`, links followed."""
    if not PLAIN_NAME.fullmatch(name):
        raise BadData(MANIFEST, f"file name {name!r}: must be a plain name, without a folder")
    path = folder / name
    if path.resolve().parent != folder.resolve():
        raise BadData(MANIFEST, f"file {name!r} is a link that leads out of the bundle")
    return path


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is not a JSON number")
