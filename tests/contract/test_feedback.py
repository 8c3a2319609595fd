"""Seldon's feedback from the scorer to the true values: each way in, kept before it is answered, taken once."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mlflow_hydraulic.accuracy.store import ActualStore
from mlflow_hydraulic.accuracy.values import Labelled
from mlflow_hydraulic.record.feedback import heard
from mlflow_hydraulic.record.recorder import SERVED, Place, open_recorder
from mlflow_hydraulic.record.store import Store
from mlflow_hydraulic.scoring.asgi import ScorerApp
from mlflow_hydraulic.scoring.dialects.mlflow import MlflowDialect
from mlflow_hydraulic.scoring.dialects.seldon import SeldonDialect
from mlflow_hydraulic.scoring.dialects.seldon_paths import FEEDBACK_PATHS, GRPC_PATHS
from mlflow_hydraulic.scoring.values import ModelCard
from mlflow_hydraulic.settings import Settings
from tests.scorers import FOREST_SCHEMA, Client, ForestEngine, forest, good_rows
from tests.support.recorded import ship

PLACE = Place(target="seldon", namespace="prod", deployment="cooler", predictor="default", replica="p1")
GRPC_PATH = "/seldon.protos.Model/SendFeedback"
TRUTHS: list[dict[str, Any]] = [
    {"data": {"ndarray": [[3], [20]]}},
    {"data": {"ndarray": [["3"], ["20"]], "names": ["cool_cond_y"]}},
    {"data": {"tensor": {"shape": [2, 1], "values": [3.0, 20.0]}}},
    {"data": {"tensor": {"shape": [2, 3], "values": [1, 0, 0, 0, 1, 0]}}},
    {"data": {"ndarray": [[0, 1], [1, 0]], "names": ["cool_cond_y.20", "cool_cond_y.3"]}},
    {"jsonData": [{"cool_cond_y": 3}, {"cool_cond_y": 20}]},
]


class World:
    """A scorer that records, its store and its true values."""

    def __init__(self, home: Path, **settings: Any) -> None:
        card = ModelCard(name="cooler", version="7", digest="d" * 64, engine="pyfunc", schema=FOREST_SCHEMA)
        self.recorder = open_recorder(
            Settings(home=home, **{"record": "on", **settings}),
            model=card.name,
            version=card.version,
            digest=card.digest,
            schema=card.schema,
            background=card.background,
            environ={SERVED: PLACE.written()},
        )
        dialects = (MlflowDialect(card), SeldonDialect(card))
        app = ScorerApp(card, ForestEngine(forest()), dialects, Settings(), recorder=self.recorder, aliases=GRPC_PATHS)
        self.client = Client(app, card)
        self.journal = home / "record" / "journal"
        self.store, self.actuals = Store(home / "record.db"), ActualStore(home / "actuals.db")

    def predict(self, puid: str) -> None:
        body = {"data": {"ndarray": good_rows(2)}, "meta": {"puid": puid}}
        assert self.client.post("/predict", body).status == 200

    def labelled(self) -> Labelled | None:
        ship(self.journal, self.store)
        self.actuals.join(self.store)
        found = self.actuals.labelled(namespace="prod", deployment="cooler")
        return found[0] if found else None

    def close(self) -> None:
        self.client.close()
        if self.recorder is not None:
            self.recorder.close()
        self.store.close()
        self.actuals.close()


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path)
    yield made
    made.close()


@pytest.mark.parametrize("path", [*FEEDBACK_PATHS, GRPC_PATH])
@pytest.mark.parametrize("truth", TRUTHS)
def test_each_shape_on_each_path_labels_the_prediction(world: World, path: str, truth: dict[str, Any]) -> None:
    world.predict("p1")
    reply = world.client.post(path, {"response": {"meta": {"puid": "p1"}}, "truth": truth, "reward": 0.5})
    assert reply.status == 200 and reply.json()["meta"]["puid"] == "p1"
    rows = world.labelled()
    assert rows is not None and rows.truth.tolist() == [0.0, 1.0]
    with world.store.reading() as sql:
        (one,) = heard(sql, 0, 10)
    assert one.reward == 0.5


@pytest.mark.parametrize("where", ["response", "request", "seldon-puid", "x-prediction-id"])
def test_the_prediction_is_named_in_the_body_or_by_a_header(world: World, where: str) -> None:
    world.predict("p1")
    feedback: dict[str, Any] = {"truth": {"jsonData": [3]}}
    headers = []
    if where in ("response", "request"):
        feedback[where] = {"meta": {"puid": "p1"}}
        headers = [(b"seldon-puid", b"made-by-the-orchestrator")]
    else:
        headers = [(where.encode(), b"p1")]
    assert world.client.post("/send-feedback", feedback, headers=headers).status == 200
    rows = world.labelled()
    assert rows is not None and len(rows) == 1, "of the second row nothing is known"


def test_repeated_corrected_and_shipped_twice_it_counts_once(world: World) -> None:
    world.predict("p1")
    for label in (3, 3, 20):  # two replicas got the first; then somebody looked again
        feedback = {"response": {"meta": {"puid": "p1"}}, "truth": {"jsonData": [label]}}
        assert world.client.post("/send-feedback", feedback).status == 200
    for _ in range(3):
        rows = world.labelled()
        assert rows is not None and rows.truth.tolist() == [1.0]
    assert [one.value for one, _ in world.actuals.history("p1")] == [3, 20]
    with world.store.reading() as sql:
        assert len(heard(sql, 0, 10)) == 3


def test_another_predictor_may_hear_it_and_before_the_prediction_is_known(world: World, tmp_path: Path) -> None:
    other = World(tmp_path / "other")
    try:
        feedback = {"response": {"meta": {"puid": "p1"}}, "truth": {"jsonData": [3, 20]}}
        assert other.client.post("/send-feedback", feedback).status == 200
        ship(other.journal, world.store)
        assert world.actuals.join(world.store).waiting == 2
        world.predict("p1")
        rows = world.labelled()
        assert rows is not None and len(rows) == 2
    finally:
        other.close()


@pytest.mark.parametrize(
    ("truth", "says"),
    [
        ({"data": {"ndarray": [[0.2, 0.8, 0.0]]}}, "single 1"),
        ({"data": {"ndarray": [[1, 2]]}}, "3 labels"),
        ({"strData": "3"}, "strData"),
        ({"data": {"ndarray": [[{}]]}}, "row 0"),
    ],
)
def test_wrong_truths_are_refused_in_seldons_shape(world: World, truth: dict[str, Any], says: str) -> None:
    reply = world.client.post("/send-feedback", {"response": {"meta": {"puid": "p"}}, "truth": truth})
    status = reply.json()["status"]
    assert (reply.status, status["code"], status["status"]) == (400, 400, 1) and says in status["info"]
    assert world.labelled() is None


def test_without_an_id_it_is_answered_and_counted(world: World) -> None:
    assert world.client.post("/send-feedback", {"truth": {"jsonData": 3}}).status == 200
    assert world.client.post("/send-feedback", {"response": {"meta": {"puid": "p"}}, "reward": 1}).status == 200
    page = world.client.ask("GET", "/metrics").body.decode()
    assert 'hydraulic_feedback_total{outcome="without id"} 1' in page
    assert 'hydraulic_feedback_total{outcome="kept"} 1' in page
    ship(world.journal, world.store)
    with world.store.reading() as sql:
        assert [(one.id, one.truth, one.reward) for one in heard(sql, 0, 10)] == [("p", (), 1.0)]


def test_where_it_cannot_be_kept_it_is_not_acknowledged(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_file: int, _data: bytes) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    feedback = {"response": {"meta": {"puid": "p1"}}, "truth": {"jsonData": 3}}
    with monkeypatch.context() as patched:
        patched.setattr("mlflow_hydraulic.record.journal.os.write", full)
        reply = world.client.post("/send-feedback", feedback)
        assert reply.status == 503 and "again" in reply.json()["status"]["info"]
    assert world.client.post("/send-feedback", feedback).status == 200
    ship(world.journal, world.store)
    with world.store.reading() as sql:
        assert len(heard(sql, 0, 10)) == 1
    assert world.store.missing() == []


@pytest.mark.parametrize("settings", [{"record": "aggregates"}, {"record": "off"}, {"record_share": 1e-9}])
def test_where_predictions_are_not_kept_neither_is_feedback(tmp_path: Path, settings: dict[str, Any]) -> None:
    world = World(tmp_path, **settings)
    feedback = {"response": {"meta": {"puid": "p1"}}, "truth": {"jsonData": 3}}
    assert world.client.post("/send-feedback", feedback).status == 200
    assert b'outcome="not recorded"} 1' in world.client.ask("GET", "/metrics").body
    assert world.labelled() is None
    world.close()
