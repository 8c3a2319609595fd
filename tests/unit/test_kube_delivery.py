"""What pods can reach: MLflow's address for them, and models that no pod could fetch."""

from __future__ import annotations

from dataclasses import replace

import pytest

from mlflow_hydraulic.deploy_targets.kubernetes.delivery import reachable, storage_of
from mlflow_hydraulic.deploy_targets.kubernetes.option_codec import options_from_config
from mlflow_hydraulic.deployment import Deployment
from mlflow_hydraulic.errors import BadInput
from tests.support.kube_values import deployment, model, predictor

CLUSTER = "http://mlflow.mlflow.svc:5000"


def of(uri: str) -> Deployment:
    return deployment(replace(predictor(), model=replace(model(), uri=uri)))


@pytest.mark.parametrize("uri", ["models:/cooler/1", "runs:/abc/model", "mlflow-artifacts:/1/models/m-1"])
def test_pods_ask_the_mlflow_of_this_process_unless_told_another(uri: str) -> None:
    assert reachable(of(uri), options_from_config({}), CLUSTER).tracking_uri == CLUSTER
    told = options_from_config({"tracking_uri": "https://mlflow.example"})
    assert reachable(of(uri), told, CLUSTER) == told


@pytest.mark.parametrize(
    "tracking_uri",
    [
        "http://localhost:5000",
        "http://127.0.0.1:5000",
        "http://[::1]:5000",
        "sqlite:///mlflow.db",
        "./mlruns",
        "databricks",
    ],
)
def test_an_mlflow_of_this_machine_is_refused_without_its_passwords(tracking_uri: str) -> None:
    with pytest.raises(BadInput, match=r"only this machine reaches.*tracking_uri=http"):
        reachable(of("models:/cooler/1"), options_from_config({}), tracking_uri)
    with pytest.raises(BadInput) as raised:
        reachable(of("models:/cooler/1"), options_from_config({}), "postgresql://me:secret@localhost/mlflow")
    assert "secret" not in str(raised.value)


@pytest.mark.parametrize("uri", ["/models/cooler", "./cooler", "file:///models/cooler"])
def test_a_folder_of_this_machine_is_refused(uri: str) -> None:
    with pytest.raises(BadInput, match="no pod reads: register it"):
        reachable(of(uri), options_from_config({}), CLUSTER)


@pytest.mark.parametrize(
    "config",
    [
        {"env_from_secrets": "mlflow"},  # the address may be in there
        {"delivery": "initializer"},
        {"server": "image", "image": "own:1"},
        {"server": "prepackaged-mlflow"},
    ],
)
def test_nobody_is_asked_about_mlflow_who_does_not_need_it(config: dict[str, str]) -> None:
    options = options_from_config(config)
    assert reachable(of("models:/cooler/1"), options, "sqlite:///mlflow.db") == options
    assert reachable(of("s3://bucket/m"), options_from_config({}), "sqlite:///mlflow.db").tracking_uri == ""


def test_storage_is_looked_up_only_for_init_containers() -> None:
    def find(one: object) -> str:
        return f"s3://{one}"

    assert storage_of(deployment(), options_from_config({}), find) == {}
    assert storage_of(deployment(), options_from_config({"server": "image", "image": "own:1"}), find) == {}
    for config in ({"delivery": "initializer"}, {"server": "mlserver", "protocol": "v2"}):
        assert set(storage_of(deployment(), options_from_config(config), find)) == {"models:/cooler/1"}
