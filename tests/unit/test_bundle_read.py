"""Reading a bundle: what is right is read, whatever was damaged is named, and nothing heavy is imported."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sklearn.ensemble import RandomForestClassifier

from mlflow_hydraulic.bundle import manifest as files
from mlflow_hydraulic.bundle.build import build_bundle
from mlflow_hydraulic.bundle.read import read_bundle
from mlflow_hydraulic.errors import BadData, BadInput, Conflict, HydraulicError, NotFound, Untrusted
from tests.unit.bundle_models import make_model

Change = Callable[[dict[str, Any]], object]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bundle") / "bundle"
    build_bundle(make_model(RandomForestClassifier(3, max_depth=3, random_state=0)), folder)
    return folder


@pytest.fixture
def folder(whole: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(whole, tmp_path / "bundle"))


def reseal(folder: Path, change: Change) -> None:
    """A manifest changed by somebody who also corrects its own digest."""
    value = json.loads((folder / files.MANIFEST).read_text())
    change(value)
    (folder / files.MANIFEST).write_bytes(files.canonical(files.seal(value)))


def test_a_whole_bundle_is_read(whole: Path) -> None:
    bundle = read_bundle(whole)
    assert bundle.graph == whole / "model.onnx"
    assert bundle.schema.labels == (3, 20, 100)
    assert bundle.background.shape == (150, 3)
    assert 1 <= len(bundle.sample) <= 3
    assert {tuple(row) for row in bundle.sample} <= {tuple(row) for row in bundle.background}
    assert (bundle.origin, bundle.features, bundle.target, bundle.reason) == ("simulated", "means", "cool_cond_y", "")
    assert "first in the order of the labels" in bundle.tie_rule
    assert bundle.read_graph() == (whole / "model.onnx").read_bytes()
    assert bundle.read_baseline()["rows"] == 150
    assert set(bundle.files) == {"model.onnx", "background.npy", "baseline.json", "certificate.json"}


@settings(deadline=None, max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_changed_byte_in_any_file_is_found_and_the_file_named(whole: Path, data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(sorted(path.name for path in whole.iterdir())))
    content = (whole / name).read_bytes()
    place = data.draw(st.integers(0, len(content) - 1))
    byte = data.draw(st.integers(0, 255).filter(lambda value: value != content[place]))
    damaged = content[:place] + bytes([byte]) + content[place + 1 :]
    (whole / name).write_bytes(damaged)
    try:
        with pytest.raises(HydraulicError) as caught:
            read_bundle(whole)
    finally:
        (whole / name).write_bytes(content)
    assert isinstance(caught.value, (Untrusted, BadData, BadInput))
    assert name in str(caught.value)


@pytest.mark.parametrize("name", ["bundle.json", "model.onnx", "background.npy", "baseline.json", "certificate.json"])
def test_a_file_cut_short_grown_or_gone_is_named(folder: Path, name: str) -> None:
    content = (folder / name).read_bytes()
    for wrong in (b"", content[:-1], content + b"\0"):
        (folder / name).write_bytes(wrong)
        with pytest.raises((Untrusted, BadData), match=name):
            read_bundle(folder, verify_digests=False)
    (folder / name).unlink()
    with pytest.raises(NotFound, match=name):
        read_bundle(folder, verify_digests=False)
    (folder / name).mkdir()
    with pytest.raises((Untrusted, BadData), match=name):
        read_bundle(folder)


def test_digests_can_be_left_unchecked_to_start_quickly_but_the_graph_is_checked_when_read(folder: Path) -> None:
    graph = bytearray((folder / "model.onnx").read_bytes())
    graph[100] ^= 1
    (folder / "model.onnx").write_bytes(graph)
    with pytest.raises(Untrusted, match=r"model\.onnx"):
        read_bundle(folder)
    bundle = read_bundle(folder, verify_digests=False)
    with pytest.raises(Untrusted, match=r"model\.onnx"):
        bundle.read_graph()


@pytest.mark.parametrize(
    ("change", "kind", "words"),
    [
        (lambda v: v.update(version=2), BadInput, "format version 2.*upgrade mlflow-hydraulic"),
        (lambda v: v.update(format="other"), BadData, "this is no bundle"),
        (lambda v: v["files"].update({"../secret": v["files"]["model.onnx"]}), BadData, "plain name"),
        (lambda v: v["files"].update({"/etc/passwd": v["files"]["model.onnx"]}), BadData, "plain name"),
        (lambda v: v["files"].update({"..": v["files"]["model.onnx"]}), BadData, "plain name"),
        (lambda v: v["files"].update({"other.bin": v["files"]["model.onnx"]}), NotFound, "other.bin"),
        (lambda v: v["files"]["model.onnx"].pop("sha256"), BadData, "must have its sha256"),
        (lambda v: v["files"]["model.onnx"].update(bytes=None), BadData, "bytes=None"),
        (lambda v: v["files"].pop("background.npy"), BadData, "background.npy"),
        (lambda v: v["files"].pop("certificate.json"), BadData, "needs a certificate"),
        (lambda v: v.update(files=[]), BadData, "files="),
        (lambda v: v.update(graph="bundle.json"), BadData, "graph="),
        (lambda v: v.update(graph=["model.onnx"]), BadData, "graph="),
        (lambda v: v.update(precision="half"), BadData, "precision="),
        (lambda v: v.update(sample=[150]), BadData, "sample="),
        (lambda v: v.update(sample=[True]), BadData, "sample="),
        (lambda v: v.pop("tie_rule"), BadData, "tie_rule"),
        (lambda v: v["schema"].pop("labels"), BadData, "schema"),
        (lambda v: v["schema"].update(inputs=[]), BadData, "one or more inputs"),
        (lambda v: v["schema"]["inputs"].pop(), BadData, "background.npy"),
        (lambda v: v["schema"].update(inputs=[v["schema"]["inputs"][0]] * 3), BadData, "occur twice"),
    ],
)
def test_a_manifest_that_was_made_wrong_is_refused(
    folder: Path, change: Change, kind: type[HydraulicError], words: str
) -> None:
    reseal(folder, change)
    with pytest.raises(kind, match=words):
        read_bundle(folder)


@pytest.mark.parametrize(
    "content",
    [b"", b"null", b"[]", b"{", b'{"format": NaN}', b"\xff\xfe", b"[" * 100_000, b'{"a": 1e999}', b"1" * 5000],
)
def test_a_manifest_that_is_no_json_object_is_refused(folder: Path, content: bytes) -> None:
    (folder / "bundle.json").write_bytes(content)
    with pytest.raises(BadData, match=r"bundle\.json"):
        read_bundle(folder)


def test_a_huge_manifest_is_not_read(folder: Path) -> None:
    os.truncate(folder / "bundle.json", 2**33)  # sparse: takes no room
    with pytest.raises(BadData, match="at most"):
        read_bundle(folder)


def test_a_link_out_of_the_bundle_is_refused(folder: Path, tmp_path: Path) -> None:
    shutil.move(folder / "model.onnx", tmp_path / "elsewhere.onnx")
    (folder / "model.onnx").symlink_to(tmp_path / "elsewhere.onnx")
    with pytest.raises(BadData, match="leads out of the bundle"):
        read_bundle(folder)


def test_rows_that_hold_python_objects_are_never_unpickled(folder: Path) -> None:
    np.save(folder / "background.npy", np.array([[print]], dtype=object), allow_pickle=True)
    content = (folder / "background.npy").read_bytes()
    entry = {"sha256": files.digest_of(content), "bytes": len(content)}
    reseal(folder, lambda value: value["files"].update({"background.npy": entry}))
    with pytest.raises(BadData, match=r"background\.npy"):
        read_bundle(folder)


def test_nothing_half_written_is_left_and_nothing_is_overwritten(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = make_model(RandomForestClassifier(2, max_depth=2, random_state=0))
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine").write_text("keep")
    with pytest.raises(Conflict, match="not an empty folder"):
        build_bundle(model, tmp_path / "full")

    def no_room(*args: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", no_room)
        with pytest.raises(HydraulicError, match="No space left"):
            build_bundle(model, tmp_path / "new")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["full"]


def test_the_reader_imports_only_the_standard_library_and_numpy() -> None:
    program = "import sys, mlflow_hydraulic.bundle.read; print(*sorted({m.split('.')[0] for m in sys.modules}))"
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True, timeout=60)
    loaded = set(done.stdout.split())
    assert "numpy" in loaded
    assert not loaded & {"onnx", "onnxruntime", "skl2onnx", "sklearn", "pandas", "scipy", "mlflow", "click"}
