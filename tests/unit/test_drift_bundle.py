"""What drift is judged by, in the bundle: kept whole, checked by digest, calibrated again, and absent from old ones."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from mlflow_hydraulic.bundle import manifest as files
from mlflow_hydraulic.bundle.build import build_bundle
from mlflow_hydraulic.bundle.read import NO_REFERENCE, read_bundle
from mlflow_hydraulic.bundle.verify import verify_bundle
from mlflow_hydraulic.drift.check import check_window, no_baseline
from mlflow_hydraulic.drift.reference import Reference, make_reference
from mlflow_hydraulic.drift.stored import pack, unpack
from mlflow_hydraulic.errors import BadInput, Untrusted
from mlflow_hydraulic.rig.model import HydraulicModel
from tests.unit.bundle_models import COLUMNS, make_model, rows


def reference() -> Reference:
    values = rows(300, seed=1).to_numpy(dtype=np.float64)
    return make_reference(values, COLUMNS, run=np.repeat(np.arange(30), 10), importance=np.array([2.0, 1.0, 0.0]))


@pytest.fixture
def model() -> HydraulicModel:
    return replace(make_model(LogisticRegression()), reference=reference())


def test_a_bundle_keeps_the_reference_with_its_calibrations(model: HydraulicModel, tmp_path: Path) -> None:
    bundle = build_bundle(model, tmp_path / "bundle")
    assert "drift.npz" in bundle.files
    again = bundle.read_reference()
    assert again is not None and np.array_equal(again.rows, reference().rows)
    drift = bundle.read_drift()
    assert drift is not None
    results = check_window(drift, rows(60, seed=5).to_numpy(dtype=np.float64))
    assert {result.colour for result in results} <= {"green", "orange"}
    series = bundle.read_baseline()["series"]
    assert (series["rows"], series["runs"], series["median_run_length"]) == (300, 30, 10.0)
    assert [entry["importance"] for entry in series["inputs"]] == pytest.approx([2 / 3, 1 / 3, 0])


def test_the_same_model_gives_the_same_bytes(model: HydraulicModel, tmp_path: Path) -> None:
    one, two = (build_bundle(model, tmp_path / name).files["drift.npz"] for name in ("one", "two"))
    assert one == two


def test_a_changed_reference_is_not_read(model: HydraulicModel, tmp_path: Path) -> None:
    bundle = build_bundle(model, tmp_path / "bundle")
    path = tmp_path / "bundle" / "drift.npz"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(bytes(content))
    with pytest.raises(Untrusted, match=r"drift\.npz"):
        bundle.read_drift()
    with pytest.raises(Untrusted, match=r"drift\.npz"):
        read_bundle(tmp_path / "bundle")


def test_verify_calibrates_again(model: HydraulicModel, tmp_path: Path) -> None:
    folder = tmp_path / "bundle"
    build_bundle(model, folder)
    verify_bundle(folder, replace(model, reference=None))  # the saved model does not keep it
    arrays = unpack((folder / "drift.npz").read_bytes())
    name = next(name for name in arrays if name.endswith("location/spread"))
    _rewrite(folder, pack({**arrays, name: np.asarray(arrays[name] * 3)}))
    with pytest.raises(Untrusted, match="calibrated again it is another"):
        verify_bundle(folder, model)


def _rewrite(folder: Path, content: bytes) -> None:
    """As somebody would who also seals the manifest anew."""
    (folder / "drift.npz").write_bytes(content)
    manifest = json.loads((folder / files.MANIFEST).read_text(encoding="utf-8"))
    manifest["files"]["drift.npz"] = {"sha256": files.digest_of(content), "bytes": len(content)}
    (folder / files.MANIFEST).write_bytes(files.canonical(files.seal(manifest)))


def test_a_bundle_without_a_reference_is_readable_and_says_the_way_out(tmp_path: Path) -> None:
    bundle = build_bundle(make_model(LogisticRegression()), tmp_path / "bundle")
    assert bundle.read_reference() is None and bundle.read_drift() is None
    assert bundle.read_baseline()["series"] is None
    result = no_baseline(NO_REFERENCE)
    assert result.colour == "grey" and "hydraulic train" in result.cause


def test_a_baseline_of_version_1_is_read_and_verified_and_one_of_the_future_is_not(tmp_path: Path) -> None:
    model, folder = make_model(LogisticRegression()), tmp_path / "bundle"
    build_bundle(model, folder)
    baseline = json.loads((folder / "baseline.json").read_text(encoding="utf-8"))
    del baseline["series"]
    _replace(folder, {**baseline, "version": 1})
    assert read_bundle(folder).read_baseline()["version"] == 1
    verify_bundle(folder, model)
    _replace(folder, {**baseline, "version": 99})
    with pytest.raises(BadInput, match="format version 99"):
        read_bundle(folder).read_baseline()


def _replace(folder: Path, baseline: files.Json) -> None:
    content = files.canonical(baseline)
    (folder / "baseline.json").write_bytes(content)
    manifest = json.loads((folder / files.MANIFEST).read_text(encoding="utf-8"))
    manifest["files"]["baseline.json"] = {"sha256": files.digest_of(content), "bytes": len(content)}
    (folder / files.MANIFEST).write_bytes(files.canonical(files.seal(manifest)))


def test_a_reference_of_other_inputs_is_refused(model: HydraulicModel, tmp_path: Path) -> None:
    other = make_reference(reference().rows, ("x", "y", "z"))
    with pytest.raises(BadInput, match="must be those of the schema"):
        build_bundle(replace(model, reference=other), tmp_path / "bundle")
