"""Verification names every field that does not fit; the baseline; `hydraulic bundle` on a bundle."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier

from mlflow_hydraulic.bundle import manifest as files
from mlflow_hydraulic.bundle.baseline import QUANTILES, make_baseline
from mlflow_hydraulic.bundle.build import build_bundle
from mlflow_hydraulic.bundle.verify import verify_bundle
from mlflow_hydraulic.cli import main
from mlflow_hydraulic.errors import Untrusted
from mlflow_hydraulic.rig.model import HydraulicModel
from tests.unit.bundle_models import make_model


@pytest.fixture
def model() -> HydraulicModel:
    return make_model(RandomForestClassifier(4, random_state=0))


def rewrite(folder: Path, name: str, change: Any) -> None:
    """A file changed by somebody who corrects all digests."""
    value = json.loads((folder / name).read_text())
    change(value)
    content = files.canonical(value)
    (folder / name).write_bytes(content)
    manifest = json.loads((folder / files.MANIFEST).read_text())
    manifest["files"][name] = {"sha256": files.digest_of(content), "bytes": len(content)}
    (folder / files.MANIFEST).write_bytes(files.canonical(files.seal(manifest)))


def test_a_true_bundle_is_verified(tmp_path: Path, model: HydraulicModel) -> None:
    bundle = build_bundle(model, tmp_path / "bundle", seed=5)
    steps: list[str] = []
    certificate = verify_bundle(tmp_path / "bundle", model, progress=steps.append)
    assert certificate is not None
    assert certificate.to_dict() == bundle.read_certificate()
    assert steps == ["training", "uniform", "normal", "borders", "thresholds"]


@pytest.mark.parametrize("estimator", [HistGradientBoostingClassifier(max_iter=2), LinearDiscriminantAnalysis()])
def test_other_kinds_are_verified_too(tmp_path: Path, estimator: Any) -> None:
    model = make_model(estimator, "two")
    build_bundle(model, tmp_path / "bundle")
    verify_bundle(tmp_path / "bundle", model)


def test_the_bundle_of_another_model_is_not_trusted(tmp_path: Path, model: HydraulicModel) -> None:
    build_bundle(model, tmp_path / "bundle")
    other = make_model(RandomForestClassifier(4, random_state=1))
    with pytest.raises(Untrusted, match=r"digests: estimator.*") as caught:
        verify_bundle(tmp_path / "bundle", other)
    assert "labels differ and are no ties" in str(caught.value) or "differs by" in str(caught.value)


@pytest.mark.parametrize(
    ("name", "change", "words"),
    [
        ("certificate.json", lambda v: v["summary"].update(flips=1), "certificate.json: summary: flips: stored 1"),
        ("certificate.json", lambda v: v["bounds"].update(tie=0.5), "bounds: tie: stored 0.5"),
        ("certificate.json", lambda v: v["groups"].pop(), "groups"),
        ("certificate.json", lambda v: v["digests"].update(graph="0"), "digests: graph"),
        ("certificate.json", lambda v: v.update(seed=1), "rows_sha256"),
        ("baseline.json", lambda v: v["inputs"][0].update(mean=9.0), r"baseline.json: inputs\[0\]: mean: stored 9.0"),
    ],
)
def test_a_field_that_was_changed_with_all_digests_corrected_is_named(
    tmp_path: Path, model: HydraulicModel, name: str, change: Any, words: str
) -> None:
    build_bundle(model, tmp_path / "bundle")
    rewrite(tmp_path / "bundle", name, change)
    with pytest.raises(Untrusted, match=words):
        verify_bundle(tmp_path / "bundle", model)


def test_where_the_libraries_are_others_measured_numbers_may_differ_but_no_more(
    tmp_path: Path, model: HydraulicModel
) -> None:
    build_bundle(model, tmp_path / "bundle")
    rewrite(tmp_path / "bundle", "certificate.json", lambda v: v["environment"].update(numpy="0.1"))
    rewrite(tmp_path / "bundle", "certificate.json", lambda v: v["groups"][1].update(largest_ulp=1))
    verify_bundle(tmp_path / "bundle", model)
    rewrite(tmp_path / "bundle", "certificate.json", lambda v: v["bounds"].update(tie=0.5))
    with pytest.raises(Untrusted, match="bounds: tie"):
        verify_bundle(tmp_path / "bundle", model)


def test_the_baseline_tells_of_ties_and_adds_up(model: HydraulicModel) -> None:
    baseline = make_baseline(model)
    vs = baseline["inputs"][2]
    assert (vs["name"], vs["unit"], vs["mode"], vs["mode_share"], vs["missing"]) == ("vs", "bar", 0.0, 0.5, 0.0)
    assert list(vs["quantiles"]) == [str(q) for q in QUANTILES]
    assert vs["minimum"] == vs["quantiles"]["0.0"]
    assert sum(output["share"] for output in baseline["outputs"]) == pytest.approx(1)
    assert [output["label"] for output in baseline["outputs"]] == [3, 20, 100]
    assert np.diag(np.array(baseline["correlation"])) == pytest.approx(1)
    constant = HydraulicModel(**{**vars(model), "background": model.background.assign(ts=7.0)})
    found = make_baseline(constant)
    assert found["inputs"][1]["skewness"] is None
    assert found["correlation"][1] == [None, None, None]
    json.loads(files.canonical(found))


def test_show_prints_a_table_and_json(tmp_path: Path, model: HydraulicModel) -> None:
    build_bundle(model, tmp_path / "bundle")
    shown = CliRunner().invoke(main, ["bundle", "show", str(tmp_path / "bundle")])
    assert shown.exit_code == 0
    assert "certificate: passed" in shown.output
    assert "cool_cond_y: 3, 20, 100" in shown.output
    as_json = CliRunner().invoke(main, ["bundle", "show", "--json", str(tmp_path / "bundle")])
    assert json.loads(as_json.output)["certificate"]["summary"]["passed"] is True


def test_show_names_what_is_not_there_or_damaged(tmp_path: Path, model: HydraulicModel) -> None:
    absent = CliRunner().invoke(main, ["bundle", "show", str(tmp_path)])
    assert absent.exit_code == 4
    assert "holds no bundle" in absent.output
    build_bundle(model, tmp_path / "bundle")
    (tmp_path / "bundle" / "baseline.json").write_text("{}")
    damaged = CliRunner().invoke(main, ["bundle", "show", str(tmp_path / "bundle")])
    assert damaged.exit_code == 7
    assert "baseline.json" in damaged.output
