"""The saved folder: what is in it, what comes back, and what happens to it when disks fill and strangers edit."""

from __future__ import annotations

import errno
import hashlib
import importlib.metadata
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
import pytest
import skops.io
import yaml
from mlflow.exceptions import MlflowException
from mlflow.models import Model
from sklearn.ensemble import RandomForestRegressor
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from mlflow_hydraulic.bundle.digest import digest_folder
from mlflow_hydraulic.bundle.read import read_bundle
from mlflow_hydraulic.errors import BadInput
from mlflow_hydraulic.plugin import flavor
from mlflow_hydraulic.rig.model import HydraulicModel
from mlflow_hydraulic.schema import Schema
from mlflow_hydraulic.version import VERSION
from tests.integration.conftest import make_rows

ROWS = make_rows(40, seed=1)


def test_the_model_comes_back(small_model: HydraulicModel, small_saved: Path) -> None:
    again = flavor.load_model(small_saved)
    assert (again.schema, again.features, again.origin) == (small_model.schema, "means", "simulated")
    pd.testing.assert_frame_equal(again.background, small_model.background)
    assert np.array_equal(again.predict_proba(ROWS), small_model.predict_proba(ROWS))
    assert np.array_equal(again.predict(ROWS), small_model.predict(ROWS))


def test_mlmodel_tells_what_it_is(small_saved: Path) -> None:
    conf = Model.load(str(small_saved)).flavors["hydraulic"]
    assert conf == {
        "code": None,
        "data": "model.skops",
        "card": "hydraulic.json",
        "bundle": "bundle",
        "bundle_digest": read_bundle(small_saved / "bundle").digest,
        "code_version": VERSION,
        "target": "cool_cond_y",
        "labels": [3, 20, 100],
        "features": "means",
        "origin": "simulated",
    }


def test_the_signature_names_inputs_target_and_parameter(small_model: HydraulicModel, small_saved: Path) -> None:
    signature = Model.load(str(small_saved)).signature
    assert signature.inputs.input_names() == list(small_model.schema.names)
    assert {kind.name for kind in signature.inputs.input_types()} == {"double"}
    assert signature.outputs.to_dict() == [{"type": "long", "name": "cool_cond_y", "required": True}]
    assert [(spec.name, spec.default) for spec in signature.params.params] == [("predict_method", "predict")]


def test_the_example_is_a_real_row(small_model: HydraulicModel, small_saved: Path) -> None:
    example = Model.load(str(small_saved)).load_input_example(str(small_saved))
    pd.testing.assert_frame_equal(example, small_model.usual(1))


def test_the_requirements_name_this_package_and_what_the_numbers_hang_on(small_saved: Path) -> None:
    lines = (small_saved / "requirements.txt").read_text().splitlines()
    names = {line.partition("==")[0].partition(" @ ")[0] for line in lines}
    assert {"mlflow", "mlflow-hydraulic", "scikit-learn", "skops", "onnxruntime", "numpy", "pandas"} <= names
    assert yaml.safe_load((small_saved / "conda.yaml").read_text())["dependencies"][-1]["pip"] == lines


def test_a_package_from_a_repository_is_required_at_its_commit(monkeypatch: pytest.MonkeyPatch) -> None:
    class Installed:
        version = "1"

        def read_text(self, name: str) -> str:
            return json.dumps({"url": "https://example.org/x.git", "vcs_info": {"vcs": "git", "commit_id": "abc"}})

    monkeypatch.setattr(importlib.metadata, "distribution", lambda name: Installed())
    assert flavor.get_default_pip_requirements()[0] == "mlflow-hydraulic @ git+https://example.org/x.git@abc"


def test_the_same_model_saved_twice_is_the_same(small_model: HydraulicModel, small_saved: Path, tmp_path: Path) -> None:
    flavor.save_model(small_model, tmp_path / "again")
    for name in ("model.skops", "hydraulic.json", "background.parquet"):
        assert (tmp_path / "again" / name).read_bytes() == (small_saved / name).read_bytes()
    assert digest_folder(tmp_path / "again") == digest_folder(small_saved)


def test_another_model_has_another_digest(small_model: HydraulicModel, small_saved: Path, tmp_path: Path) -> None:
    flavor.save_model(replace(small_model, origin="measured"), tmp_path / "other")
    assert digest_folder(tmp_path / "other") != digest_folder(small_saved)


def test_a_folder_that_holds_something_is_kept(small_model: HydraulicModel, tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("mine")
    with pytest.raises(MlflowException, match="exists already") as raised:
        flavor.save_model(small_model, tmp_path)
    assert raised.value.error_code == "RESOURCE_ALREADY_EXISTS"
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]
    with pytest.raises(MlflowException, match="exists already"):
        flavor.save_model(small_model, tmp_path / "mine")


def test_an_empty_folder_is_filled_and_readable_by_all_that_umask_allows(
    small_model: HydraulicModel, tmp_path: Path
) -> None:
    (tmp_path / "empty").mkdir()
    flavor.save_model(small_model, tmp_path / "empty")
    (tmp_path / "made").mkdir()
    assert (tmp_path / "empty").stat().st_mode == (tmp_path / "made").stat().st_mode
    assert sorted(path.name for path in tmp_path.iterdir()) == ["empty", "made"]


@pytest.mark.parametrize("victim", ["model.skops", "hydraulic.json", "MLmodel", "requirements.txt"])
def test_a_full_disk_leaves_nothing(
    small_model: HydraulicModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, victim: str
) -> None:
    def filling(write: Callable[..., Any]) -> Callable[..., Any]:
        def full(self: Path | Model, *args: Any, **kwargs: Any) -> Any:
            if victim in {getattr(self, "name", ""), "MLmodel" if isinstance(self, Model) else ""}:
                raise OSError(errno.ENOSPC, "No space left on device")
            return write(self, *args, **kwargs)

        return full

    for owner, name in ((Path, "write_bytes"), (Path, "write_text"), (Model, "save")):
        monkeypatch.setattr(owner, name, filling(getattr(owner, name)))
    with pytest.raises(OSError, match="No space left"):
        flavor.save_model(small_model, tmp_path / "deep" / "model")
    assert list((tmp_path / "deep").iterdir()) == []


def broken_models(model: HydraulicModel) -> dict[str, tuple[HydraulicModel, str]]:
    fields = model.schema.inputs
    return {
        "labels": (replace(model, schema=replace(model.schema, labels=(3, 100, 20))), "classes are"),
        "order": (replace(model, schema=replace(model.schema, inputs=fields[::-1])), "was fitted on columns"),
        "text": (replace(model, schema=replace(model.schema, inputs=(replace(fields[0], type="string"),))), "numbers"),
        "background": (replace(model, background=model.background.head(0)), "background rows need"),
        "unfitted": (replace(model, estimator=RandomForestRegressor()), "not fitted on the 17 columns"),
    }


@pytest.mark.parametrize("name", ["labels", "order", "text", "background", "unfitted"])
def test_a_model_whose_parts_do_not_fit_is_refused(small_model: HydraulicModel, tmp_path: Path, name: str) -> None:
    model, problem = broken_models(small_model)[name]
    with pytest.raises(MlflowException, match=problem) as raised:
        flavor.save_model(model, tmp_path / "model")
    assert raised.value.error_code == "INVALID_PARAMETER_VALUE"
    assert isinstance(raised.value.__cause__, BadInput)
    assert list(tmp_path.iterdir()) == []


def test_a_type_off_the_list_is_refused_on_save(small_model: HydraulicModel, tmp_path: Path) -> None:
    unsafe = small_model.estimator.__class__(1, random_state=0).fit(ROWS, [3, 20, 100, 3] * 10)
    unsafe.callback = shutil.rmtree
    with pytest.raises(MlflowException, match=r"shutil\.rmtree: not on the list") as raised:
        flavor.save_model(replace(small_model, estimator=unsafe), tmp_path / "model")
    assert raised.value.error_code == "INVALID_PARAMETER_VALUE"


def test_a_regression_comes_back(small_model: HydraulicModel, tmp_path: Path) -> None:
    rows = small_model.background
    model = replace(
        small_model,
        estimator=RandomForestRegressor(3, random_state=0).fit(rows, rows["psa_bar"]),
        schema=replace(small_model.schema, target="wear", labels=()),
    )
    flavor.save_model(model, tmp_path / "model")
    loaded = mlflow.pyfunc.load_model(str(tmp_path / "model"))
    assert np.array_equal(loaded.predict(ROWS), model.predict(ROWS))
    assert loaded.metadata.signature.outputs.to_dict() == [{"type": "double", "name": "wear", "required": True}]
    with pytest.raises(MlflowException, match="is a regression of 'wear'"):
        loaded.predict(ROWS, params={"predict_method": "predict_proba"})


def test_arguments_of_other_flavors_work(small_model: HydraulicModel, tmp_path: Path) -> None:
    code = tmp_path / "extra_code_of_a_test.py"
    code.write_text("ANSWER = 42\n")
    flavor.save_model(
        small_model,
        tmp_path / "model",
        code_paths=[str(code)],
        signature=False,
        input_example=False,
        extra_pip_requirements=["rig-tools==1"],
        metadata={"site": "north"},
    )
    saved = Model.load(str(tmp_path / "model"))
    assert (saved.signature, saved.saved_input_example_info, saved.metadata) == (None, None, {"site": "north"})
    assert "rig-tools==1" in (tmp_path / "model" / "requirements.txt").read_text().splitlines()
    assert (tmp_path / "model" / "code" / code.name).exists()
    script = f"import mlflow; mlflow.pyfunc.load_model({str(tmp_path / 'model')!r}); import {code.stem}"
    before = digest_folder(tmp_path / "model")
    subprocess.run([sys.executable, "-c", script], check=True)
    assert digest_folder(tmp_path / "model") == before


def test_pip_requirements_and_conda_env_replace_the_default(small_model: HydraulicModel, tmp_path: Path) -> None:
    flavor.save_model(small_model, tmp_path / "pip", pip_requirements=["mlflow-hydraulic==9"])
    assert (tmp_path / "pip" / "requirements.txt").read_text().splitlines()[-1] == "mlflow-hydraulic==9"
    flavor.save_model(small_model, tmp_path / "conda", conda_env=flavor.get_default_conda_env())
    assert f"mlflow-hydraulic=={VERSION}" in (tmp_path / "conda" / "requirements.txt").read_text()
    with pytest.raises(ValueError, match="Only one of"):
        flavor.save_model(small_model, tmp_path / "both", conda_env={}, pip_requirements=[])


@pytest.fixture
def hostile(small_saved: Path, tmp_path: Path) -> Path:
    return shutil.copytree(small_saved, tmp_path / "hostile")


def edit_card(folder: Path, **changes: object) -> None:
    card = json.loads((folder / "hydraulic.json").read_text()) | changes
    (folder / "hydraulic.json").write_text(json.dumps(card))


def put_estimator(folder: Path, data: bytes) -> None:
    (folder / "model.skops").write_bytes(data)
    card = json.loads((folder / "hydraulic.json").read_text())
    edit_card(folder, sha256=card["sha256"] | {"model.skops": hashlib.sha256(data).hexdigest()})


def refusal(folder: Path) -> MlflowException:
    with pytest.raises(MlflowException) as raised:
        flavor.load_model(folder)
    with pytest.raises(MlflowException) as raised_by_pyfunc:
        mlflow.pyfunc.load_model(str(folder))
    assert str(raised_by_pyfunc.value) == str(raised.value)
    return raised.value


def test_a_hostile_estimator_is_refused_by_name(hostile: Path) -> None:
    put_estimator(hostile, skops.io.dumps(FunctionTransformer(os.system)))
    error = refusal(hostile)
    assert error.error_code == "INVALID_STATE"
    assert "posix.system: not on the list of types that are safe to load" in str(error)


def test_a_replaced_estimator_is_refused(hostile: Path) -> None:
    (hostile / "model.skops").write_bytes(b"another")
    assert "model.skops: its sha256 is" in str(refusal(hostile))


def test_an_estimator_of_other_columns_is_refused(hostile: Path, small_model: HydraulicModel) -> None:
    put_estimator(hostile, skops.io.dumps(StandardScaler().fit(ROWS.iloc[:, :3])))
    error = refusal(hostile)
    assert error.error_code == "INVALID_PARAMETER_VALUE"
    assert "was fitted on columns ['psa_bar', 'psb_bar', 'psc_bar']" in str(error)


def test_a_newer_format_asks_for_an_update(hostile: Path) -> None:
    edit_card(hostile, format=2, code_version="9.1")
    error = refusal(hostile)
    assert "written in format 2 by mlflow-hydraulic 9.1" in str(error)
    assert "reads formats up to 1" in str(error)
    assert "pip install --upgrade" in str(error)


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("{", "not readable JSON"),
        ("\xff", "hydraulic.json"),
        ("[" * 100_000, "not readable JSON"),
        ("[]", 'needs an object with "format"'),
        ('{"format": "1"}', 'needs an object with "format"'),
        ('{"format": 0}', 'needs an object with "format"'),
        ('{"format": 1}', "'sha256' is missing"),
        ('{"format": 1, "sha256": 5}', "not iterable"),
    ],
)
def test_a_malformed_card_is_refused(hostile: Path, content: str, problem: str) -> None:
    (hostile / "hydraulic.json").write_text(content, encoding="latin-1")
    error = refusal(hostile)
    assert error.error_code == "INVALID_PARAMETER_VALUE"
    assert problem in str(error)
    assert "hydraulic.json" in str(error)


@pytest.mark.parametrize(
    "schema",
    [
        None,
        {},
        {"inputs": 5, "target": "x", "labels": []},
        {"inputs": [{"name": 5}], "target": "x", "labels": []},
        {"inputs": [{"name": "a", "evil": 5}], "target": "x", "labels": []},
        {"inputs": [{"name": "a"}, {"name": "a"}], "target": "x", "labels": []},
        {"inputs": [{"name": "a"}], "target": None, "labels": []},
        {"inputs": [{"name": "a"}], "target": "x", "labels": [[]]},
        {"inputs": [{"name": "a"}], "target": "x", "labels": 3},
    ],
)
def test_a_malformed_schema_is_refused(hostile: Path, schema: object) -> None:
    edit_card(hostile, schema=schema)
    error = refusal(hostile)
    assert error.error_code == "INVALID_PARAMETER_VALUE"
    assert "hydraulic.json: " in str(error)


@pytest.mark.parametrize("name", ["model.skops", "hydraulic.json", "background.parquet"])
def test_a_missing_file_is_named(hostile: Path, name: str) -> None:
    (hostile / name).unlink()
    error = refusal(hostile)
    assert f"{name}: cannot be read: No such file" in str(error)


def test_a_damaged_background_is_refused(hostile: Path) -> None:
    data = b"PAR1" + bytes(20)
    (hostile / "background.parquet").write_bytes(data)
    card = json.loads((hostile / "hydraulic.json").read_text())
    edit_card(hostile, sha256=card["sha256"] | {"background.parquet": hashlib.sha256(data).hexdigest()})
    assert "background.parquet: not a parquet file of numbers" in str(refusal(hostile))


def test_another_flavors_model_is_refused_clearly(tmp_path: Path) -> None:
    Model(flavors={"python_function": {}}).save(str(tmp_path / "MLmodel"))
    with pytest.raises(MlflowException, match='does not have the "hydraulic" flavor'):
        flavor.load_model(tmp_path)


def test_schema_round_trip(small_model: HydraulicModel) -> None:
    assert Schema.from_dict(json.loads(json.dumps(small_model.schema.to_dict()))) == small_model.schema
