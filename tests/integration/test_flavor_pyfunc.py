"""The flavor as MLflow calls it: pyfunc, the registry, evaluation, serving in a real process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import mlflow
import numpy as np
import pandas as pd
import pytest
import requests
from mlflow.exceptions import MlflowException

from mlflow_hydraulic.bundle.digest import digest_folder
from mlflow_hydraulic.plugin import flavor
from mlflow_hydraulic.rig.model import HydraulicModel
from tests.integration.conftest import Registry, make_labels, make_rows

ROWS = make_rows(40, seed=1)
PROBA = {"predict_method": "predict_proba"}
OUTPUTS = ["cool_cond_y.3", "cool_cond_y.20", "cool_cond_y.100"]


@pytest.fixture(scope="module")
def loaded(small_saved: Path) -> mlflow.pyfunc.PyFuncModel:
    return mlflow.pyfunc.load_model(str(small_saved))


def test_labels_by_default(loaded: mlflow.pyfunc.PyFuncModel, small_model: HydraulicModel) -> None:
    labels = loaded.predict(ROWS)
    assert labels.dtype == np.int64
    assert np.array_equal(labels, small_model.predict(ROWS))
    assert np.array_equal(loaded.predict(ROWS, params={"predict_method": "predict"}), labels)


def test_probabilities_by_parameter(loaded: mlflow.pyfunc.PyFuncModel, small_model: HydraulicModel) -> None:
    rows = ROWS.set_index(pd.Index([f"cycle-{number}" for number in range(len(ROWS))]))
    answer = loaded.predict(rows, params=PROBA)
    assert list(answer.columns) == OUTPUTS
    assert answer.index.equals(rows.index)
    assert np.array_equal(answer.to_numpy(), small_model.predict_proba(ROWS))


def test_columns_may_be_more_in_any_order(loaded: mlflow.pyfunc.PyFuncModel, small_model: HydraulicModel) -> None:
    rows = ROWS.assign(shift="night", operator=3)[[*ROWS.columns[::-1], "operator", "shift"]]
    assert np.array_equal(loaded.predict(rows), small_model.predict(ROWS))
    assert np.array_equal(loaded.get_raw_model().predict(rows), small_model.predict(ROWS))


def problem(loaded: mlflow.pyfunc.PyFuncModel, rows: object, params: dict[str, object] | None = None) -> str:
    with pytest.raises(MlflowException) as raised:
        loaded.predict(rows, params=params)
    assert raised.value.get_http_status_code() == 400
    return str(raised.value)


def test_wrong_input_is_named(loaded: mlflow.pyfunc.PyFuncModel) -> None:
    assert "['psa_bar', 'psc_bar']" in problem(loaded, ROWS.drop(columns=["psa_bar", "psc_bar"]))
    hole = ROWS.copy()
    hole.loc[7, "tsb_temp"] = np.nan
    assert "row 7, column 'tsb_temp': nan is no number" in problem(loaded, hole)
    assert "row 7, column 'tsb_temp': -inf is no number" in problem(loaded, hole.fillna(-np.inf))
    message = problem(loaded, ROWS, {"predict_method": "explain"})
    assert 'predict_method=\'explain\': must be "predict" or "predict_proba"' in message
    assert "psa_bar" in problem(loaded, ROWS.assign(psa_bar="high"))


def test_no_rows_give_no_answers(loaded: mlflow.pyfunc.PyFuncModel) -> None:
    assert loaded.predict(ROWS.head(0)).shape == (0,)
    assert loaded.predict(ROWS.head(0), params=PROBA).shape == (0, 3)


def test_without_a_signature_the_flavor_checks_itself(small_model: HydraulicModel, tmp_path: Path) -> None:
    flavor.save_model(small_model, tmp_path / "model", signature=False)
    bare = mlflow.pyfunc.load_model(str(tmp_path / "model"))
    assert np.array_equal(bare.predict(ROWS.to_numpy()), small_model.predict(ROWS))
    assert "columns ['psa_bar'] are missing" in problem(bare, ROWS.drop(columns="psa_bar"))
    assert "shape (40, 3)" in problem(bare, ROWS.to_numpy()[:, :3])
    assert "column 'psa_bar': " in problem(bare, ROWS.assign(psa_bar="high"))
    assert "columns ['psa_bar'] occur more than once" in problem(bare, pd.concat([ROWS, ROWS[["psa_bar"]]], axis=1))


def test_a_process_that_never_heard_of_us_loads_it(small_saved: Path, small_model: HydraulicModel) -> None:
    script = (
        "import sys, mlflow;"
        "assert not [name for name in sys.modules if name.startswith('mlflow_hydraulic')];"
        f"model = mlflow.pyfunc.load_model({str(small_saved)!r});"
        "answer = model.predict(model.input_example, params={'predict_method': 'predict_proba'});"
        "print(answer.to_json(orient='split', double_precision=15));"
        "heavy = ('matplotlib', 'skl2onnx', 'mlflow_hydraulic.rig.train');"
        "print([name for name in sys.modules if name.startswith(heavy)])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    answer, heavy = done.stdout.splitlines()[-2:]
    assert json.loads(answer)["columns"] == OUTPUTS
    assert json.loads(answer)["data"] == small_model.predict_proba(small_model.usual(1)).round(15).tolist()
    assert heavy == "[]"


def test_registry_round_trip(small_model: HydraulicModel, registry: Registry, tmp_path: Path) -> None:
    with mlflow.start_run() as run:
        info = flavor.log_model(small_model, name="model", registered_model_name="hydraulic-cooler")
    assert info.registered_model_version == 1
    client = mlflow.MlflowClient()
    client.set_registered_model_alias("hydraulic-cooler", "champion", "1")
    uris = ["models:/hydraulic-cooler/1", "models:/hydraulic-cooler@champion", info.model_uri]
    uris += [f"runs:/{run.info.run_id}/model", f"models:/{info.model_id}"]
    digests = set()
    for number, uri in enumerate(uris):
        (tmp_path / str(number)).mkdir()
        again = flavor.load_model(uri, dst_path=str(tmp_path / str(number)))
        assert np.array_equal(again.predict_proba(ROWS), small_model.predict_proba(ROWS))
        assert np.array_equal(mlflow.pyfunc.load_model(uri).predict(ROWS), small_model.predict(ROWS))
        (tmp_path / f"copy{number}").mkdir()
        digests.add(
            digest_folder(Path(mlflow.artifacts.download_artifacts(uri, dst_path=str(tmp_path / f"copy{number}"))))
        )
    assert len(digests) == 1


def test_logging_the_same_model_again_gives_the_same_digest(
    small_model: HydraulicModel, small_saved: Path, registry: Registry
) -> None:
    digests = set()
    for _ in range(2):
        with mlflow.start_run():
            info = flavor.log_model(small_model, name="model")
        digests.add(digest_folder(Path(mlflow.artifacts.download_artifacts(info.model_uri))))
    assert digests == {digest_folder(small_saved)}


def test_log_model_outside_a_run_and_with_details(small_model: HydraulicModel, registry: Registry) -> None:
    info = flavor.log_model(
        small_model, name="cooler", params={"trees": 10}, tags={"site": "north"}, metadata={"a": 1}, model_type="forest"
    )
    logged = mlflow.get_logged_model(info.model_id)
    assert (logged.params, logged.model_type, info.metadata) == ({"trees": "10"}, "forest", {"a": 1})
    assert logged.tags["site"] == "north"


# MLflow's evaluator calls pandas and matplotlib in ways that their next versions drop.
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::PendingDeprecationWarning")
def test_evaluate(small_model: HydraulicModel, registry: Registry) -> None:
    data = ROWS.assign(cool_cond_y=make_labels(ROWS))
    with mlflow.start_run():
        info = flavor.log_model(small_model, name="model")
        result = mlflow.models.evaluate(
            info.model_uri, data, targets="cool_cond_y", model_type="classifier", evaluators=["default"]
        )
    accuracy = float(np.mean(small_model.predict(ROWS) == data["cool_cond_y"]))
    assert result.metrics["accuracy_score"] == pytest.approx(accuracy)
    assert "confusion_matrix" in result.artifacts


def test_models_predict_takes_the_serving_example(
    small_saved: Path, small_model: HydraulicModel, tmp_path: Path
) -> None:
    mlflow.models.predict(
        str(small_saved),
        input_path=str(small_saved / "serving_input_example.json"),
        env_manager="local",
        output_path=str(tmp_path / "answer.json"),
    )
    expected = small_model.predict(small_model.usual(1)).tolist()
    assert json.loads((tmp_path / "answer.json").read_text()) == {"predictions": expected}


@contextmanager
def served(model_uri: str, port: int, log: Path, tracking_uri: str) -> Iterator[str]:
    """`mlflow models serve` as a process of its own; its base URL, once it answers."""
    environ = os.environ | {"MLFLOW_TRACKING_URI": tracking_uri}
    environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{environ['PATH']}"  # it looks for uvicorn there
    command = [sys.executable, "-m", "mlflow", "models", "serve", "--env-manager", "local", "--workers", "1"]
    command += ["-m", model_uri, "--port", str(port)]
    with log.open("wb") as stream:
        process = subprocess.Popen(command, stdout=stream, stderr=stream, env=environ, start_new_session=True)
    base = f"http://127.0.0.1:{port}"
    try:
        wait_until_ready(base, process, log)
        yield base
    finally:
        os.killpg(process.pid, 15)
        process.wait(30)


def wait_until_ready(base: str, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and process.poll() is None:
        try:
            if requests.get(f"{base}/ping", timeout=2).ok:
                return
        except requests.ConnectionError:
            time.sleep(0.1)  # the poll's interval; the deadline above decides
    raise AssertionError(f"mlflow models serve did not become ready:\n{log.read_text()}")


@pytest.mark.slow
def test_mlflow_models_serve(small_model: HydraulicModel, registry: Registry, free_port: int, tmp_path: Path) -> None:
    with mlflow.start_run():
        flavor.log_model(small_model, name="model", registered_model_name="hydraulic-cooler")
    rows = ROWS.head(3)
    records = {"dataframe_records": rows.to_dict(orient="records")}
    with served("models:/hydraulic-cooler/1", free_port, tmp_path / "serve.log", registry.uri) as base:
        labels = requests.post(f"{base}/invocations", json=records, timeout=60)
        assert (labels.status_code, labels.json()) == (200, {"predictions": small_model.predict(rows).tolist()})
        proba = requests.post(f"{base}/invocations", json=records | {"params": PROBA}, timeout=60)
        expected = [dict(zip(OUTPUTS, row, strict=True)) for row in small_model.predict_proba(rows).tolist()]
        assert (proba.status_code, proba.json()) == (200, {"predictions": expected})
        wrong = requests.post(f"{base}/invocations", json=records | {"params": {"predict_method": "x"}}, timeout=60)
        assert wrong.status_code == 400
        assert "predict_method='x': must be" in wrong.text
