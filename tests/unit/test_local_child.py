"""The scorer's launcher: nothing that is imported from a pinned folder comes from, or leaves, byte code."""

from __future__ import annotations

import importlib.util
import os
import py_compile
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from mlflow_hydraulic.deploy_targets.local.child import source_only


@pytest.fixture
def imports(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    monkeypatch.setattr(sys, "path", [str(tmp_path / "code"), *sys.path])
    monkeypatch.setattr(sys, "path_hooks", [source_only(tmp_path), *sys.path_hooks])
    yield
    for name in [n for n in sys.modules if n.startswith("pinned_")]:
        del sys.modules[name]
    for path in [p for p in sys.path_importer_cache if p.startswith(str(tmp_path))]:
        del sys.path_importer_cache[path]


def stale(file: Path, old: str, new: str) -> None:
    """Byte code of `old` beside the source `new`, with the time and size by which Python takes it for good."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(old)
    py_compile.compile(str(file), doraise=True)
    seen = file.stat()
    file.write_text(new)
    os.utime(file, ns=(seen.st_atime_ns, seen.st_mtime_ns))


@pytest.mark.usefixtures("imports")
def test_stale_byte_code_in_a_pinned_folder_is_not_read_and_none_is_written(tmp_path: Path) -> None:
    package = tmp_path / "code" / "pinned_package"
    stale(package / "__init__.py", "who = 'old'", "who = 'new'")
    stale(package / "inner.py", "who = 'old'", "who = 'new'")
    (package / "plain.py").write_text("who = 'new'")
    before = sorted(tmp_path.rglob("*.pyc"))
    for name in ("pinned_package", "pinned_package.inner", "pinned_package.plain"):
        assert importlib.import_module(name).who == "new"
    assert sorted(tmp_path.rglob("*.pyc")) == before


@pytest.mark.usefixtures("imports")
def test_byte_code_without_source_is_not_there(tmp_path: Path) -> None:
    file = tmp_path / "code" / "pinned_alone.py"
    file.parent.mkdir()
    file.write_text("who = 'hidden'")
    py_compile.compile(str(file), cfile=str(file.with_suffix(".pyc")), doraise=True)
    file.unlink()
    assert importlib.util.find_spec("pinned_alone") is None


def test_the_test_above_would_see_stale_byte_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stale(tmp_path / "pinned_trap.py", "who = 'old'", "who = 'new'")
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    try:
        assert importlib.import_module("pinned_trap").who == "old"
    finally:
        del sys.modules["pinned_trap"]
