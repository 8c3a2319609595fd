"""The component for Seldon's own wrapper, without the wrapper; with it in contract/test_seldon_compared."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from google.protobuf.json_format import MessageToDict, ParseDict

from mlflow_hydraulic.bundle.build import build_bundle
from mlflow_hydraulic.errors import NotFound, Untrusted
from mlflow_hydraulic.scoring import seldon_proto as proto
from mlflow_hydraulic.seldon_component import SeldonComponent
from tests.scorers import NAMES, Client, forest, forest_scorer, good_rows

ROWS = good_rows(3)
MESSAGE = {"data": {"ndarray": ROWS}, "meta": {"puid": "p"}}


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    made = forest_scorer(tmp_path_factory.mktemp("forest"), "onnxruntime")
    yield made
    made.close()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("saved")
    build_bundle(forest(), made / "bundle")
    return made


@pytest.fixture
def component(folder: Path) -> SeldonComponent:
    return SeldonComponent(model_uri=str(folder), name="rig", version="7")


def test_a_whole_message_is_answered_as_the_scorer_does(component: SeldonComponent, client: Client) -> None:
    component.load()
    wanted = client.post("/predict", MESSAGE).json()["data"]
    counted = [{"type": "COUNTER", "key": "hydraulic_rows_total", "value": len(ROWS)}]
    answer = component.predict_raw(MESSAGE)
    assert answer["data"] == wanted
    assert answer["meta"]["puid"] == "p" and answer["meta"]["metrics"] == counted
    message = MessageToDict(component.predict_raw(ParseDict(MESSAGE, proto.SeldonMessage())))
    assert message["data"] == wanted and message["meta"]["puid"] == "p"


def test_rows_that_the_wrapper_has_read_get_the_same_numbers(component: SeldonComponent, client: Client) -> None:
    wanted = client.post("/predict", MESSAGE).json()["data"]
    assert component.class_names() == wanted["names"]
    turned = np.array([row[::-1] for row in ROWS])
    records = [dict(zip(NAMES, row, strict=True)) for row in ROWS]
    asked = [(np.array(ROWS), []), (np.array(ROWS), NAMES), (turned, NAMES[::-1]), (records, []), (ROWS, [])]
    for given, names in asked:
        assert component.predict(given, names).tolist() == wanted["ndarray"]
        assert component.metrics()[0]["value"] == len(ROWS)
        assert component.metrics() == []
    assert component.predict(np.array(ROWS[0]), []).tolist() == wanted["ndarray"][:1]
    assert component.predict(records[0], []).tolist() == wanted["ndarray"][:1]


def test_what_the_wrapper_asks_for_besides(component: SeldonComponent, client: Client) -> None:
    assert component.health_status() == "healthy" and component.metrics() == []
    assert set(component.tags()) == {"model_name", "model_version", "model_digest"}
    described = client.ask("GET", "/metadata").json()
    own = ("custom",)  # digest of the folder here, of the bundle there
    found = component.init_metadata()
    assert {k: v for k, v in found.items() if k not in own} == {k: v for k, v in described.items() if k not in own}


def test_another_model_and_a_model_that_is_not_there_are_refused(folder: Path) -> None:
    with pytest.raises(Untrusted, match="another model"):
        SeldonComponent(model_uri=str(folder), digest="0" * 64)
    with pytest.raises(NotFound, match="init container"):
        SeldonComponent(model_uri="s3://bucket/model")
