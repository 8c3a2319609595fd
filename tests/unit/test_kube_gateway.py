"""Where a deployment on Kubernetes is asked: gateway or service proxy, which Service, which dialect."""

from __future__ import annotations

from typing import Any

import pytest

from mlflow_hydraulic.deploy_targets.kubernetes.gateway import (
    Address,
    endpoint,
    explain_address,
    predict_address,
)
from mlflow_hydraulic.deploy_targets.kubernetes.option_codec import options_from_config
from mlflow_hydraulic.errors import BadInput
from tests.support.kube_values import deployment, predictor

GATEWAY = "http://gateway.example"
ONE = predictor()
TOLD = "http://cooler.prod.knative.example"


def address(path: str, dialect: str = "seldon", **more: object) -> Address:
    return Address(dialect=dialect, namespace="prod", path=path, **more)  # type: ignore[arg-type]


SERVICE: dict[str, Any] = {"service": "cooler-default", "port": 8000}
MODEL: dict[str, Any] = {"service": "cooler-default-model", "port": 9000}
KSERVE: dict[str, Any] = {"service": "cooler-predictor", "port": 80}
PLAIN: dict[str, Any] = {"service": "cooler", "port": 9000}
PREDICT, EXPLAIN, ROWS, INFER = (
    "/api/v1.0/predictions",
    "/model/contribution",
    "/invocations",
    "/v2/models/model/infer",
)


@pytest.mark.parametrize(
    ("config", "shown", "predict", "explain"),
    [
        ({}, "http://cooler-default.prod.svc:8000", address(PREDICT, **SERVICE), address(EXPLAIN, "mlflow", **MODEL)),
        (
            {"gateway_url": f"{GATEWAY}/"},
            f"{GATEWAY}/seldon/prod/cooler",
            address(PREDICT, url=f"{GATEWAY}/seldon/prod/cooler{PREDICT}"),
            address(EXPLAIN, "mlflow", **MODEL),
        ),
        (
            {"protocol": "v2"},
            "http://cooler-default.prod.svc:8000",
            address(INFER, "v2", **SERVICE),
            address(EXPLAIN, "mlflow", **MODEL),
        ),
        (
            {"orchestrator": "false"},
            "http://cooler-default.prod.svc:8000",
            address(ROWS, "mlflow", **SERVICE),
            address(EXPLAIN, "mlflow", **SERVICE),
        ),
        (
            {"orchestrator": "false", "gateway_url": GATEWAY},
            f"{GATEWAY}/seldon/prod/cooler",
            address(ROWS, "mlflow", url=f"{GATEWAY}/seldon/prod/cooler{ROWS}"),
            address(EXPLAIN, "mlflow", url=f"{GATEWAY}/seldon/prod/cooler{EXPLAIN}"),
        ),
        (
            {"shape": "plain"},
            "http://cooler.prod.svc:9000",
            address(ROWS, "mlflow", **PLAIN),
            address(EXPLAIN, "mlflow", **PLAIN),
        ),
        ({"shape": "kserve"}, TOLD, address(ROWS, "mlflow", **KSERVE), address(EXPLAIN, "mlflow", **KSERVE)),
        (
            {"shape": "kserve", "gateway_url": GATEWAY},
            TOLD,
            address(ROWS, "mlflow", url=GATEWAY + ROWS, host="cooler.prod.knative.example"),
            address(EXPLAIN, "mlflow", url=GATEWAY + EXPLAIN, host="cooler.prod.knative.example"),
        ),
    ],
)
def test_where_it_is_asked(config: dict[str, str], shown: str, predict: Address, explain: Address) -> None:
    options, told = options_from_config(config), TOLD if config.get("shape") == "kserve" else ""
    assert endpoint(deployment(), options, told=told) == shown
    assert predict_address(deployment(), ONE, options, told=told) == predict
    assert explain_address(deployment(), ONE, options, told=told) == explain


@pytest.mark.parametrize(
    ("config", "path", "dialect"),
    [
        ({"server": "prepackaged-mlflow", "orchestrator": "false"}, PREDICT, "seldon"),
        ({"server": "mlserver", "protocol": "v2"}, INFER, "v2"),
        ({"server": "mlserver", "protocol": "v2", "shape": "kserve"}, "/v2/models/cooler/infer", "v2"),
        ({"server": "image", "image": "own:1"}, PREDICT, "seldon"),
    ],
)
def test_other_servers_are_asked_in_their_dialect_and_explain_nothing(
    config: dict[str, str], path: str, dialect: str
) -> None:
    options = options_from_config(config)
    found = predict_address(deployment(), ONE, options)
    assert (found.path, found.dialect) == (path, dialect)
    with pytest.raises(BadInput, match="server=scorer"):
        explain_address(deployment(), ONE, options)


def test_each_predictor_has_a_service_of_its_own() -> None:
    shared = deployment(predictor(traffic=60), predictor("2", "b", 40))
    options = options_from_config({})
    assert [predict_address(shared, one, options).service for one in shared.all] == ["cooler-default", "cooler-b"]


def test_kserve_before_its_status_tells_an_address_shows_the_service() -> None:
    assert endpoint(deployment(), options_from_config({"shape": "kserve"})) == "http://cooler-predictor.prod.svc"
