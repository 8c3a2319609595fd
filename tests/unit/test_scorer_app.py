"""The scorer as an ASGI application: ids, limits, counting, shared calls, failures, draining, the tutorial's extras."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mlflow_hydraulic.schema import Field, Schema
from mlflow_hydraulic.scoring.asgi import ScorerApp
from mlflow_hydraulic.scoring.ids import new_id, new_uuid
from mlflow_hydraulic.scoring.metrics import Metrics
from mlflow_hydraulic.scoring.sharing import SharedCalls
from mlflow_hydraulic.scoring.values import Cells, ModelCard, Scores
from mlflow_hydraulic.settings import Settings
from tests.scorers import NAMES, Client, dialects_of, forest_scorer, good_rows

SPLIT = {"dataframe_split": {"columns": list(NAMES), "data": good_rows()}}
TEXTS = [[repr(value) for value in row] for row in good_rows()]
UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")
CARD = ModelCard(
    name="sum",
    version="1",
    digest="d",
    engine="python",
    schema=Schema(inputs=(Field(name="x"), Field(name="z")), target="y"),
)


@pytest.fixture(scope="module")
def scorer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    client = forest_scorer(tmp_path_factory.mktemp("forest"), "onnxruntime")
    yield client
    client.close()


@dataclass
class Adder:
    """Adds up a row; -1 in it makes the model fail. Notes how many rows each call had."""

    loop_rows: int = 100
    shares_calls: bool = True
    calls: list[int] = field(default_factory=list)

    def score(self, cells: Cells) -> Scores:
        self.calls.append(len(cells))
        if (cells == -1).any():
            raise ZeroDivisionError("secret of the model")
        return Scores(cells.sum(axis=1), None)


def adder(engine: Adder | None = None, **settings: Any) -> Client:
    return Client(ScorerApp(CARD, engine or Adder(), dialects_of(CARD), Settings(**settings)), CARD)


def test_ids_are_unguessable_unique_and_made_anew_in_a_forked_process() -> None:
    ids = {new_id() for _ in range(5000)}
    assert len(ids) == 5000 and all(re.fullmatch("[0-9a-f]{32}", one) for one in ids)
    assert all(UUID.fullmatch(new_uuid()) for _ in range(100))
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(writing, new_id().encode())
        os._exit(0)
    os.waitpid(child, 0)
    assert os.read(reading, 32).decode() != new_id()
    os.close(reading)
    os.close(writing)


def test_every_answer_has_a_prediction_id_and_a_sane_one_of_the_caller_is_kept(scorer: Client) -> None:
    first, second = scorer.post("/invocations", SPLIT), scorer.post("/invocations", SPLIT)
    assert first.headers["x-prediction-id"] != second.headers["x-prediction-id"]
    kept = scorer.post("/invocations", SPLIT, headers=[(b"x-prediction-id", b"run:7_a.b-c")])
    assert kept.headers["x-prediction-id"] == "run:7_a.b-c"
    for bad in (b"", b"a b", b"x" * 129, "ä".encode()):
        made = scorer.post("/invocations", SPLIT, headers=[(b"x-prediction-id", bad)])
        assert re.fullmatch("[0-9a-f]{32}", made.headers["x-prediction-id"])
    assert "x-prediction-id" in scorer.ask("GET", "/nowhere").headers


def test_invocations_answers_as_mlflow_does(scorer: Client) -> None:
    labels = scorer.post("/invocations", SPLIT).json()
    assert set(labels) == {"predictions"} and set(labels["predictions"]) <= {3, 20, 100}
    text = ",".join(NAMES) + "\n" + "\n".join(",".join(row) for row in TEXTS)
    answer = scorer.ask("POST", "/invocations", text.encode(), content_type="text/csv; charset=utf-8")
    assert answer.json() == labels
    for form in ({"inputs": good_rows()}, {"instances": good_rows()}):
        assert scorer.post("/invocations", form).json() == labels
    columns = {name: [row[index] for row in good_rows()] for index, name in enumerate(NAMES)}
    assert scorer.post("/invocations", {"inputs": columns}).json() == labels
    records = scorer.post("/invocations", {**SPLIT, "params": {"predict_method": "predict_proba"}}).json()
    assert list(records["predictions"][0]) == ["cool_cond_y.3", "cool_cond_y.20", "cool_cond_y.100"]


def test_health_has_mlflows_bodies_and_head_has_none(scorer: Client) -> None:
    for path in ("/ping", "/health"):
        assert scorer.ask("GET", path)[::2] == (200, b"\n")
        assert scorer.ask("HEAD", path).body == b""
    assert scorer.ask("GET", "/version").status == 200


def test_405_names_what_is_allowed_and_files_of_the_server_are_never_read(scorer: Client, tmp_path: Path) -> None:
    secret = tmp_path / "secret.csv"
    secret.write_text("very secret", encoding="utf-8")
    for path in ("/model/score", f"/model/score?file={secret}", "/invocations"):
        reply = scorer.ask("GET", path)
        assert (reply.status, reply.headers["allow"]) == (405, "POST")
        assert b"very secret" not in reply.body
    assert scorer.ask("DELETE", "/ping").headers["allow"] == "GET, HEAD"


def test_sizes_beyond_the_limits_are_413_with_the_limit(scorer: Client) -> None:
    reply = scorer.ask("POST", "/invocations", b"x" * 1_000_001)
    assert reply.status == 413 and "1 MB" in reply.json()["message"] and reply.headers["connection"] == "close"
    many = scorer.post("/invocations", {"inputs": [[1.0] * len(NAMES)] * 1001})
    assert many.status == 413 and "1001 rows" in many.json()["message"]
    packed = scorer.ask("POST", "/invocations", b"x", headers=[(b"content-encoding", b"gzip")])
    assert packed.status == 415 and "gzip" in packed.json()["message"]


def test_a_missing_content_type_is_read_as_json(scorer: Client) -> None:
    body = json.dumps(SPLIT).encode()
    assert scorer.ask("POST", "/invocations", body, content_type=None).status == 200
    assert scorer.ask("POST", "/invocations", body, content_type="application/xml").status == 415


def test_a_slow_body_is_408_and_a_caller_who_left_gets_nothing() -> None:
    app = ScorerApp(CARD, Adder(), dialects_of(CARD), Settings(), body_timeout_s=0.05)
    scope = {"type": "http", "method": "POST", "path": "/invocations", "headers": [(b"content-length", b"9")]}

    async def ask(receive: Any) -> list[Any]:
        sent: list[Any] = []

        async def send(message: Any) -> None:
            sent.append(message)

        await asyncio.wait_for(app(dict(scope), receive, send), 30)
        return sent

    async def never() -> Any:
        await asyncio.Event().wait()

    async def gone() -> Any:
        return {"type": "http.disconnect"}

    async def both() -> tuple[list[Any], list[Any]]:
        watcher = asyncio.create_task(app.reader.watch())
        answers = await ask(never), await ask(gone)
        watcher.cancel()
        return answers

    slow, nothing = asyncio.run(both())
    assert slow[0]["status"] == 408 and b"0.05 s" in slow[1]["body"]
    assert nothing == []
    assert app.metrics.in_progress == 0


def test_concurrent_requests_share_a_call_and_each_gets_its_own_rows() -> None:
    engine = Adder()

    async def ask() -> list[Scores]:
        calls = SharedCalls(engine, Metrics(CARD))
        found = await asyncio.gather(*(calls.score(np.array([[n, 1.0]] * n)) for n in (1.0, 2, 3) for n in (int(n),)))
        calls.close()
        return found

    found = asyncio.run(ask())
    assert [scores.labels.tolist() for scores in found] == [[2.0], [3.0, 3.0], [4.0, 4.0, 4.0]]
    assert engine.calls == [6]


def test_only_the_request_that_makes_the_model_fail_fails() -> None:
    async def ask() -> list[Any]:
        calls = SharedCalls(Adder(), Metrics(CARD))
        cells = [np.array([[value, 1.0]]) for value in (1.0, -1.0, 3.0)]
        found = await asyncio.gather(*(calls.score(one) for one in cells), return_exceptions=True)
        calls.close()
        return found

    good, bad, also_good = asyncio.run(ask())
    assert (good.labels.tolist(), also_good.labels.tolist()) == ([2.0], [4.0])
    assert isinstance(bad, ZeroDivisionError)


def test_calls_are_not_shared_where_the_engine_forbids_it_and_large_ones_leave_the_loop() -> None:
    engine = Adder(shares_calls=False, loop_rows=2)

    async def ask() -> None:
        calls = SharedCalls(engine, Metrics(CARD))
        await asyncio.gather(*(calls.score(np.ones((rows, 2))) for rows in (1, 2, 5)))
        calls.close()

    asyncio.run(ask())
    assert sorted(engine.calls) == [1, 2, 5]


def test_a_failing_model_is_a_500_in_shape_without_its_secrets(caplog: pytest.LogCaptureFixture) -> None:
    client = adder()
    with caplog.at_level(logging.ERROR):
        reply = client.post("/invocations", {"inputs": [[-1, 2]]})
    assert reply.status == 500 and reply.json()["error_code"] == "INTERNAL_ERROR"
    assert reply.headers["x-prediction-id"] in reply.json()["message"] and b"secret" not in reply.body
    assert "secret of the model" in caplog.text and reply.headers["x-prediction-id"] in caplog.text
    assert client.post("/invocations", {"inputs": [[1, 2]]}).json() == {"predictions": [3.0]}
    assert "hydraulic_model_failures_total 1" in client.ask("GET", "/metrics").body.decode()
    client.close()


def test_metrics_count_requests_rows_and_durations() -> None:
    client = adder()
    for _ in range(3):
        client.post("/invocations", {"inputs": [[1, 2], [3, 4]]})
    client.ask("GET", "/no/such/path")
    page = client.ask("GET", "/metrics").body.decode()
    series = 'method="POST",path="/invocations",status="200"'
    assert f"http_requests_total{{{series}}} 3\n" in page
    assert f'http_request_duration_seconds_bucket{{{series},le="+Inf"}} 3\n' in page
    assert "hydraulic_rows_total 6\n" in page
    assert 'path="other",status="404"} 1\n' in page and "no/such" not in page
    assert 'hydraulic_model_info{name="sum",version="1",digest="d",engine="python"} 1\n' in page
    client.close()


def test_a_draining_scorer_is_not_ready_yet_answers_and_closes() -> None:
    client = adder()
    client.app.draining = True
    for path in ("/ping", "/readyz", "/v2/health/ready", "/v2/models/sum/ready", "/health/status"):
        assert client.ask("GET", path).status == 503, path
    assert client.ask("GET", "/v2/health/live").status == 200
    reply = client.post("/invocations", {"inputs": [[1, 2]]})
    assert (reply.status, reply.headers["connection"]) == (200, "close")
    client.close()


def test_the_tutorials_request_repeats_columns_and_makes_row_ids(scorer: Client) -> None:
    fields = [*NAMES[::-1], "note"]
    rows = [[*row[::-1], "n"] for row in TEXTS]
    plain = scorer.post("/model/score", {"fields": fields, "rows": rows}).json()
    assert plain["fields"] == ["cool_cond_y.3", "cool_cond_y.20", "cool_cond_y.100"]
    asked = {"includeFieldsInOutput": ["row_id", "note", "VS1"], "idField": "row_id"}
    answer = scorer.post("/model/score", {"fields": fields, "rows": rows, **asked}).json()
    assert answer["fields"] == ["VS1", "note", "row_id", *plain["fields"]]
    for copied, row, scores in zip(answer["score"], rows, plain["score"], strict=True):
        assert copied[:2] == [row[0], "n"] and UUID.fullmatch(copied[2]) and copied[3:] == scores
    assert len({row[2] for row in answer["score"]}) == len(rows)
    assert (
        "fields"
        not in scorer.post("/model/score", {"fields": fields, "rows": rows, "noFieldNamesInOutput": True}).json()
    )
    unknown = scorer.post("/model/score", {"fields": fields, "rows": rows, "includeFieldsInOutput": ["nope"]})
    assert unknown.status == 400 and "nope" in unknown.json()["detail"]


def test_the_tutorials_contributions_add_up_to_the_score(scorer: Client) -> None:
    body = {"fields": list(NAMES), "rows": TEXTS, "requestShapleyValueType": "ORIGINAL"}
    answer = scorer.post("/model/score", body).json()
    found = answer["featureShapleyContributions"]
    assert found["features"] == [*(f"contrib.{name}" for name in NAMES), "contrib.bias"]
    assert [group["outputGroup"] for group in found["contributionGroups"]] == ["3", "20", "100"]
    for output, group in enumerate(found["contributionGroups"]):
        for row, scores in zip(group["contributions"], answer["score"], strict=True):
            assert sum(map(float, row)) == pytest.approx(float(scores[output]), abs=1e-12)
    assert scorer.post("/model/contribution", body).json() == found
    assert scorer.post("/model/contribution", {"fields": list(NAMES), "rows": TEXTS}).status == 400


def test_the_tutorials_sample_request_scores(scorer: Client) -> None:
    sample = scorer.ask("GET", "/model/sample_request")
    assert scorer.ask("POST", "/model/score", sample.body).status == 200
    assert "CONTRIBUTION_ORIGINAL" in scorer.ask("GET", "/model/capabilities").json()
    schema = scorer.ask("GET", "/model/schema").json()
    assert [one["name"] for one in schema["schema"]["inputFields"]] == list(NAMES)
    assert schema["id"] == scorer.ask("GET", "/model/id").body.decode()
