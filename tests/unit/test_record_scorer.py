"""The scorer and its record: what is recorded when, what happens when it cannot be, and in which order."""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from mlflow_hydraulic.errors import BadInput
from mlflow_hydraulic.record.beginnings import SAMPLES
from mlflow_hydraulic.record.recorder import SERVED, Place, Recorder, open_recorder, read_place
from mlflow_hydraulic.record.store import Store
from mlflow_hydraulic.record.values import Prediction
from mlflow_hydraulic.scoring.asgi import ScorerApp
from mlflow_hydraulic.scoring.dialects.mlflow import MlflowDialect
from mlflow_hydraulic.scoring.dialects.seldon import SeldonDialect
from mlflow_hydraulic.scoring.values import ModelCard
from mlflow_hydraulic.scoring.wire import HeldTransport
from mlflow_hydraulic.settings import Settings
from tests.scorers import FOREST_SCHEMA, Client, ForestEngine, forest
from tests.support.recorded import ids, ship

ROW = [160.0, 100.0, 2000.0, 6.0, 40.0, 0.5]
ASKED = {"inputs": [ROW, ROW]}
Make = Callable[..., Client]


@pytest.fixture
def scorer(tmp_path: Path) -> Iterator[Make]:
    """Makes scorers that record under `tmp_path`."""
    made: list[Client] = []
    model = forest()

    def make(place: Place | None = None, **settings: Any) -> Client:
        card = ModelCard(name="cooler", version="7", digest="d" * 64, engine="pyfunc", schema=FOREST_SCHEMA)
        recorder = open_recorder(
            Settings(home=tmp_path, **{"record": "on", **settings}),
            model=card.name,
            version=card.version,
            digest=card.digest,
            schema=card.schema,
            background=card.background,
            environ={SERVED: place.written()} if place else {},
        )
        dialects = (MlflowDialect(card), SeldonDialect(card))
        client = Client(ScorerApp(card, ForestEngine(model), dialects, Settings(), recorder=recorder), card)
        made.append(client)
        return client

    yield make
    for client in made:
        client.close()
        if client.app.recorder is not None:
            client.app.recorder.close()


def recorded(home: Path, prediction_id: str) -> Prediction | None:
    with Store(home / "record" / "record.db") as store:
        ship(home / "record" / "journal", store)
        found = store.find(prediction_id)
    assert len(found) <= 1
    return found[0] if found else None


def test_an_answer_is_recorded_whole(scorer: Make, tmp_path: Path) -> None:
    headers = [(b"x-hydraulic-caller", "Änna \x07<a@b>".encode()), (b"x-prediction-id", b"my-id")]
    reply = scorer().post("/invocations", ASKED, headers=headers)
    found = recorded(tmp_path, "my-id")
    assert found is not None
    assert (found.status, found.path, found.caller) == (200, "/invocations", "Änna <a@b>")
    assert found.answer == reply.body and b"160.0" in found.request
    assert found.inputs.tolist() == [ROW, ROW]
    assert found.labels.tolist() == reply.json()["predictions"]
    assert found.probabilities is not None and found.probabilities.shape == (2, 3)
    assert (found.served.model, found.served.version, found.served.digest) == ("cooler", "7", "d" * 64)
    assert found.latency_s > 0


def test_an_id_in_the_body_is_the_id(scorer: Make, tmp_path: Path) -> None:
    scorer().post("/api/v1.0/predictions", {"data": {"ndarray": [ROW]}, "meta": {"puid": "from-body"}})
    assert recorded(tmp_path, "from-body") is not None


def test_a_refusal_is_recorded_without_rows(scorer: Make, tmp_path: Path) -> None:
    reply = scorer().post("/invocations", {"inputs": [[1.0]]}, headers=[(b"x-prediction-id", b"bad")])
    found = recorded(tmp_path, "bad")
    assert found is not None
    assert (found.status, found.answer, len(found.inputs)) == (400, reply.body, 0)


def test_what_is_no_prediction_is_not_recorded(scorer: Make, tmp_path: Path) -> None:
    client = scorer()
    for method, path in (("GET", "/ping"), ("GET", "/metrics"), ("GET", "/invocations"), ("POST", "/nowhere")):
        client.ask(method, path, headers=[(b"x-prediction-id", b"none")])
    assert recorded(tmp_path, "none") is None


def test_a_share_is_chosen_by_id(scorer: Make, tmp_path: Path) -> None:
    def kept(share: float) -> set[str]:
        client = scorer(record_share=share, record_folder=str(tmp_path / f"{share}"))
        for number in range(100):
            client.post("/invocations", ASKED, headers=[(b"x-prediction-id", b"n%d" % number)])
        assert client.app.recorder is not None and client.app.recorder.journal.dropped == 0, "left out, not lost"
        with Store(tmp_path / f"{share}.db") as store:
            ship(tmp_path / f"{share}" / "journal", store)
            return set(ids(store))

    few, many = kept(0.3), kept(0.6)
    assert 15 < len(few) < 45 < len(many) < 75
    assert few < many


def test_auto_records_what_was_deployed(scorer: Make) -> None:
    assert scorer(record="auto").app.recorder is None
    assert scorer(Place(target="seldon-local", namespace="n", deployment="d"), record="auto").app.recorder is not None
    pod = Place(target="seldon", namespace="n", deployment="d")
    assert scorer(pod, record="auto").app.recorder is None, "nobody would ship it"
    assert scorer(pod, record="auto", record_intake="http://record:8090").app.recorder is not None
    assert scorer(Place(target="seldon", namespace="n", deployment="d"), record="off").app.recorder is None


def test_behind_a_router_only_what_it_passes_on_is_recorded(scorer: Make, tmp_path: Path) -> None:
    client = scorer(Place(target="seldon-local", namespace="n", deployment="d", predictor="old", replica="s1"))
    client.post("/invocations", ASKED, headers=[(b"x-prediction-id", b"warm-up")])
    named = [(b"x-prediction-id", b"real"), (b"x-hydraulic-predictor", b"new")]
    client.post("/invocations", ASKED, headers=named)
    found = recorded(tmp_path, "real")
    assert recorded(tmp_path, "warm-up") is None
    assert found is not None and (found.served.deployment, found.served.predictor) == ("d", "new")


def break_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_file: int, _data: bytes) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("mlflow_hydraulic.record.journal.os.write", full)


def test_on_a_full_disk_it_answers_and_says_so(scorer: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    client = scorer()
    with monkeypatch.context() as patched:
        break_disk(patched)
        assert client.post("/invocations", ASKED, headers=[(b"x-prediction-id", b"gone")]).status == 200
        ready = client.ask("GET", "/health")
        assert ready.status == 200
        assert "dropped 1" in ready.headers["x-hydraulic-record"] and "No space" in ready.headers["x-hydraulic-record"]
        assert b"hydraulic_record_dropped_total 1" in client.ask("GET", "/metrics").body
    assert "x-hydraulic-record" not in client.ask("GET", "/health").headers
    assert recorded(tmp_path, "gone") is None
    with Store(tmp_path / "record" / "record.db") as store:
        assert [gap.answers for gap in store.missing()] == [1]


def test_on_a_full_disk_it_refuses_where_that_is_wanted(
    scorer: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = scorer(record_on_full="refuse")
    with monkeypatch.context() as patched:
        break_disk(patched)
        refused = client.post("/invocations", ASKED)
        assert refused.status == 503 and "cannot be recorded" in refused.json()["message"]
        assert client.post("/api/v1.0/predictions", {"data": {"ndarray": [ROW]}}).json()["status"]["code"] == 503
        assert client.ask("GET", "/health").status == 503
    assert client.ask("GET", "/health").status == 200
    assert client.post("/invocations", ASKED, headers=[(b"x-prediction-id", b"again")]).status == 200
    assert recorded(tmp_path, "again") is not None


class Wire:
    """What a caller would have got, and whether the journal had it by then."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.sent: list[tuple[bytes, int]] = []
        self.get_extra_info = self.pause_reading = self.resume_reading = self.set_protocol = lambda *_: None

    def write(self, data: bytes) -> None:
        self.sent.append((data, sum(path.stat().st_size for path in self._folder.glob("*.seg"))))

    def is_closing(self) -> bool:
        return False

    def close(self) -> None: ...


@pytest.mark.parametrize(("size", "closes"), [(10, False), (100_000, False), (10, True)])
def test_no_byte_of_an_answer_goes_out_before_it_is_written(
    tmp_path: Path, scorer: Make, size: int, closes: bool
) -> None:
    """Answers are held for a turn of the loop, but for large ones and those that close their connection."""
    recorder = scorer().app.recorder
    assert recorder is not None
    wire = Wire(tmp_path / "record" / "journal")

    async def answer() -> None:
        held = HeldTransport(wire, asyncio.get_running_loop())  # type: ignore[arg-type]  # all that is used of it
        _answered(recorder, held)
        assert not list((tmp_path / "record" / "journal").glob("*.seg")), "it is held, not written yet"
        held.write(b"x" * size)
        if closes:
            held.close()
        await asyncio.sleep(0)

    asyncio.run(answer())
    ((_, written),) = wire.sent
    assert written > 0


def _answered(recorder: Recorder, held: HeldTransport) -> None:
    recorder.answered(
        prediction_id="a",
        path="/invocations",
        status=200,
        latency_s=0.1,
        headers={},
        bodies=(b"request", b"answer"),
        cells=None,
        scores=None,
        held=held,
    )


def test_a_place_that_cannot_be_read_is_refused() -> None:
    assert read_place("seldon/ns/dep/pred/").replica == ""
    with pytest.raises(BadInput, match="target/namespace/deployment/predictor/replica"):
        read_place("only/three/parts")


@pytest.mark.parametrize(
    ("setting", "value", "says"), [("record", "yes", "off, on"), ("record_share", 2.0, "0 to 1"), ("record_mb", 0, "0")]
)
def test_settings_that_mean_nothing_are_refused(setting: str, value: object, says: str) -> None:
    with pytest.raises(BadInput, match=says):
        Settings(**{setting: value})  # type: ignore[arg-type]


def test_request_bodies_are_whole_although_the_journal_leaves_their_beginning_out(scorer: Make, tmp_path: Path) -> None:
    client = scorer()
    names = list(FOREST_SCHEMA.names)
    asked = {}
    for number in range(3 * SAMPLES):
        split = {"columns": names, "data": [[float(number), *ROW[1:]]]}
        body = {"inputs": [ROW]} if number % 10 == 9 else {"dataframe_split": split}
        asked[f"n{number}"] = msgspec.json.encode(body)
        if number < SAMPLES:
            body = {"dataframe_split": split}
            asked[f"n{number}"] = msgspec.json.encode(body)
        client.post("/invocations", body, headers=[(b"x-prediction-id", b"n%d" % number)])
    written = b"".join(path.read_bytes() for path in (tmp_path / "record" / "journal").glob("*.seg"))
    assert written.count(b'"columns"') == SAMPLES + 1, "whole until it was learned, and once in the new head"
    with Store(tmp_path / "record.db") as store:
        ship(tmp_path / "record" / "journal", store)
        assert {one: store.find(one)[0].request for one in asked} == asked
