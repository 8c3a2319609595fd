"""One suite for the four dialects: the same rows give the same numbers to the bit, in any words and by any engine."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from urllib.parse import urlencode

import msgspec
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from openapi_spec_validator import validate

from mlflow_hydraulic.scoring.dialects.seldon_paths import FEEDBACK_PATHS
from mlflow_hydraulic.scoring.values import Call, ModelCard
from tests.scorers import (
    FOREST_SCHEMA,
    LABELS,
    MIXED_ROWS,
    NAMES,
    TONGUES,
    V2_MATRIX,
    Client,
    Json,
    Tongue,
    dialects_of,
    forest,
    forest_scorer,
    good_rows,
    mixed_scorer,
)

EVERY_TONGUE = (*TONGUES, V2_MATRIX)
ENGINES = ("onnxruntime", "python")
tongues = pytest.mark.parametrize("tongue", EVERY_TONGUE, ids=str)


@pytest.fixture(scope="module")
def scorers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Client]]:
    clients = {engine: forest_scorer(tmp_path_factory.mktemp(engine), engine) for engine in ENGINES}
    yield clients
    for client in clients.values():
        client.close()


@pytest.fixture(params=ENGINES)
def scorer(scorers: dict[str, Client], request: pytest.FixtureRequest) -> Client:
    return scorers[request.param]


@pytest.fixture(scope="module")
def mixed() -> Iterator[Client]:
    client = mixed_scorer()
    yield client
    client.close()


def _asked(scorer: Client, tongue: Tongue, rows: list[list[float]]) -> list[list[float]]:
    reply = scorer.post(tongue.path, tongue.asks(NAMES, rows))
    assert reply.status == 200, reply.body
    return tongue.reads(reply.json())


def test_every_dialect_and_engine_gives_the_model_s_own_numbers(scorers: dict[str, Client]) -> None:
    rows = good_rows(200)
    wanted = forest().estimator.predict_proba(pd.DataFrame(rows, columns=list(NAMES))).tolist()
    for engine, scorer in scorers.items():
        for tongue in EVERY_TONGUE:
            assert _asked(scorer, tongue, rows) == wanted, (engine, tongue.name)


@tongues
def test_a_row_alone_gives_what_it_gives_among_others(scorer: Client, tongue: Tongue) -> None:
    rows = good_rows(20)
    assert [_asked(scorer, tongue, [row])[0] for row in rows] == _asked(scorer, tongue, rows)


def test_requests_at_once_in_all_dialects_keep_their_own_answers(scorer: Client) -> None:
    """They may share model calls, so an answer could reach the wrong one."""
    rows = good_rows(64)
    wanted = _asked(scorer, TONGUES[0], rows)
    asked = [(tongue, index) for index in range(len(rows)) for tongue in EVERY_TONGUE]
    replies = scorer.post_at_once([(tongue.path, tongue.asks(NAMES, [rows[index]])) for tongue, index in asked])
    for (tongue, index), reply in zip(asked, replies, strict=True):
        assert tongue.reads(reply.json()) == [wanted[index]]
    assert len({reply.headers["x-prediction-id"] for reply in replies}) == len(replies)


finite = st.floats(allow_nan=False, allow_infinity=False, width=64)


@settings(max_examples=100, deadline=None)
@given(rows=st.lists(st.lists(finite, min_size=len(NAMES), max_size=len(NAMES)), min_size=1, max_size=4))
def test_every_dialect_reads_the_same_cells(rows: list[list[float]]) -> None:
    """Any finite doubles, to the bit (so -0.0 and 0.0 are two)."""
    card = ModelCard(name="rig", version="7", digest="d", engine="none", schema=FOREST_SCHEMA)
    by_path = {path: dialect for dialect in dialects_of(card) for path in dialect.score_paths}
    for tongue in EVERY_TONGUE:
        body = json.dumps(tongue.asks(NAMES, rows)).encode()
        call = Call(method="POST", path=tongue.path, body=body, content_type="application/json", headers={})
        cells = by_path[tongue.path].parse(call).cells
        assert cells.tobytes() == np.array(rows, dtype=np.float64).tobytes(), tongue.name


@pytest.mark.parametrize("spacing", [(", ", ": "), (",", ":")])
@pytest.mark.parametrize("content_type", ["application/json", "application/json; charset=utf-8", None])
def test_how_json_is_written_changes_nothing(
    scorer: Client, spacing: tuple[str, str], content_type: str | None
) -> None:
    """The quick and the careful way through each dialect agree."""
    rows = [[100, 80.5, 1e2, 120, 90, 70.25]]
    answers = []
    for tongue in EVERY_TONGUE:
        value = tongue.asks(NAMES, rows)
        for body in (value, {**value, **_unneeded(tongue)}):
            raw = json.dumps(body, separators=spacing).encode()
            reply = scorer.ask("POST", tongue.path, raw, content_type=content_type)
            assert reply.status == 200, reply.body
            answers.append(tongue.reads(reply.json()))
    assert all(answer == answers[0] for answer in answers)


def _unneeded(tongue: Tongue) -> Json:
    """A part that says nothing new and yet keeps the quick way from being taken."""
    kind = tongue.name.partition("-")[0]
    more: Json = {"seldon": {"meta": {"tags": {"a": 1}}}, "v2": {"parameters": {}}, "tutorial": {"idField": None}}
    return more.get(kind, {})


MIXED_NAMES = ("double", "float", "long", "integer", "boolean", "string", "maybe")
MIXED_TYPES = ("FP64", "FP32", "INT64", "INT32", "BOOL", "BYTES", "FP64")


def test_columns_of_every_type_give_the_same_in_every_dialect(mixed: Client) -> None:
    records = [dict(zip(MIXED_NAMES, row, strict=True)) for row in MIXED_ROWS]
    columns = zip(MIXED_NAMES, MIXED_TYPES, zip(*MIXED_ROWS, strict=True), strict=True)
    tensors = [{"name": n, "datatype": t, "shape": [2, 1], "data": [[v] for v in values]} for n, t, values in columns]
    text = [[_written(cell) for cell in row] for row in MIXED_ROWS]
    asked: list[tuple[str, Json]] = [
        ("/invocations", {"dataframe_split": {"columns": MIXED_NAMES, "data": MIXED_ROWS}}),
        ("/invocations", {"dataframe_records": records}),
        ("/predict", {"data": {"names": MIXED_NAMES, "ndarray": MIXED_ROWS}}),
        ("/predict", {"jsonData": records}),
        ("/v2/models/rig/infer", {"inputs": tensors}),
        ("/model/score", {"fields": MIXED_NAMES, "rows": text}),
    ]
    answers = [mixed.post(path, body) for path, body in asked]
    assert [reply.status for reply in answers] == [200] * len(asked), [reply.body for reply in answers]
    wanted = [2.0**40 + 0.75 + 7 + 1 + 3, 1.5 + 2.0 - 3 + 2.5]
    split, recs, array, jsons, v2, tutorial = [reply.json() for reply in answers]
    assert split["predictions"] == recs["predictions"] == wanted
    assert array["data"] == {"names": ["worth"], "ndarray": [[value] for value in wanted]}
    assert jsons["data"] == {"names": ["worth"], "tensor": {"shape": [2, 1], "values": wanted}}
    assert v2["outputs"] == [{"name": "predict", "shape": [2], "datatype": "FP64", "data": wanted}]
    assert [[float(cell) for cell in row] for row in tutorial["score"]] == [[value] for value in wanted]


def _written(cell: object) -> str:
    if isinstance(cell, bool):
        return str(cell).lower()
    return "" if cell is None else str(cell)


@pytest.mark.parametrize(
    ("column", "cell"),
    [
        ("boolean", 1),
        ("boolean", "yes"),
        ("string", 1),
        ("string", None),
        ("string", True),
        ("long", 1.5),
        ("long", 2**53 + 1),
        ("integer", 2**31),
        ("integer", -(2**31) - 1),
        ("float", 1e39),
        ("double", None),
        ("double", "1"),
        ("maybe", "x"),
        ("maybe", True),
    ],
)
def test_a_cell_of_another_type_is_refused_by_row_and_field(mixed: Client, column: str, cell: Json) -> None:
    rows = [list(row) for row in MIXED_ROWS]
    rows[1][MIXED_NAMES.index(column)] = cell
    records = [dict(zip(MIXED_NAMES, row, strict=True)) for row in rows]
    for path, body in (
        ("/invocations", {"dataframe_records": records}),
        ("/predict", {"data": {"names": MIXED_NAMES, "ndarray": rows}}),
        ("/predict", {"jsonData": records}),
    ):
        reply = mixed.post(path, body)
        assert reply.status == 400
        assert "row 1" in reply.body.decode() and column in reply.body.decode()


def test_the_prediction_id_is_kept_or_made(scorer: Client) -> None:
    for tongue in EVERY_TONGUE:
        body = tongue.asks(NAMES, good_rows())
        made = [scorer.post(tongue.path, body).headers["x-prediction-id"] for _ in range(3)]
        assert len(set(made)) == 3 and all(re.fullmatch("[0-9a-f]{32}", one) for one in made)
        kept = scorer.post(tongue.path, body, headers=[(b"x-prediction-id", b"my-own.1")])
        assert kept.headers["x-prediction-id"] == "my-own.1"


class TestDocument:
    def test_is_valid(self, scorer: Client, mixed: Client) -> None:
        for one in (scorer, mixed):
            validate(one.ask("GET", "/openapi.json").json())

    def test_every_example_is_scored(self, scorer: Client, mixed: Client) -> None:
        """The examples hold a real row, so whoever copies one gets an answer."""
        for one in (scorer, mixed):
            for path, method, operation in _operations(one):
                for media, content in operation.get("requestBody", {}).get("content", {}).items():
                    if "example" not in content:
                        continue
                    example, kind = content["example"], media
                    if media == "multipart/form-data":
                        kind, body = _multipart(example)
                    elif media.endswith("urlencoded"):
                        body = urlencode(example).encode()
                    else:
                        body = msgspec.json.encode(example)
                    reply = one.ask(method, path, body, content_type=kind)
                    if not (path == "/model/contribution" and reply.status == 422):  # without background rows
                        assert reply.status == 200, (path, media, reply.body)

    def test_examples_fit_their_schemas(self, scorer: Client, mixed: Client) -> None:
        for one in (scorer, mixed):
            for _, _, operation in _operations(one):
                for content in operation.get("requestBody", {}).get("content", {}).values():
                    if "example" in content:
                        Draft202012Validator(content["schema"]).validate(content["example"])

    def test_every_documented_path_answers(self, scorer: Client) -> None:
        for path, method, _ in _operations(scorer):
            reply = scorer.ask(method, path, b"{}" if method == "POST" else b"")
            assert reply.status == (400 if method == "POST" else 200), (method, path, reply.body)

    def test_every_served_path_is_documented(self, scorer: Client) -> None:
        served = {(path, "GET") for path in ("/metrics", "/openapi.json")}
        for dialect in dialects_of(scorer.card):
            served |= {(path, "POST") for path in dialect.score_paths}
            served |= {(path, method) for method, path in dialect.routes}
        assert served == {(path, method) for path, method, _ in _operations(scorer)}

    def test_answers_fit_their_schemas(self, scorer: Client) -> None:
        for path, method, operation in _operations(scorer):
            content = operation.get("requestBody", {}).get("content", {}).get("application/json", {})
            good = scorer.ask(method, path, msgspec.json.encode(content["example"]) if content else b"")
            bad = scorer.ask(method, path, b"{}") if content else None
            for reply in (good, bad):
                answer = operation["responses"].get(str(reply.status), {}).get("content", {}) if reply else {}
                if "application/json" in answer and reply and reply.body.strip():
                    Draft202012Validator(answer["application/json"]["schema"]).validate(reply.json())

    def test_names_columns_with_units_and_labels(self, scorer: Client) -> None:
        written = scorer.ask("GET", "/openapi.json").body.decode()
        for word in (*NAMES, "l/min", *(f"cool_cond_y.{label}" for label in LABELS)):
            assert word in written


def _operations(scorer: Client) -> list[tuple[str, str, Json]]:
    paths = scorer.ask("GET", "/openapi.json").json()["paths"]
    return [(path, method.upper(), operation) for path, item in paths.items() for method, operation in item.items()]


def _multipart(fields: dict[str, str]) -> tuple[str, bytes]:
    parts = [f'--b\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{text}\r\n' for name, text in fields.items()]
    return "multipart/form-data; boundary=b", "".join([*parts, "--b--\r\n"]).encode()


class TestSeldon:
    def test_kind_names_and_meta_are_as_the_microservice_has_them(self, scorer: Client) -> None:
        rows = good_rows(2)
        meta = {"puid": "p1", "tags": {"mine": 1}, "requestPath": {"before": "image:1"}}
        reply = scorer.post("/predict", {"data": {"ndarray": rows}, "meta": meta})
        answer = reply.json()
        assert answer["data"]["names"] == [f"cool_cond_y.{label}" for label in LABELS]
        assert set(answer["data"]) == {"names", "ndarray"}
        assert answer["meta"]["puid"] == reply.headers["seldon-puid"] == reply.headers["x-prediction-id"] == "p1"
        assert answer["meta"]["tags"]["mine"] == 1 and answer["meta"]["tags"]["model_version"] == "7"
        assert answer["meta"]["requestPath"] == {"before": "image:1", "rig": "rig:7"}

    def test_a_tag_chooses_labels_instead_of_probabilities(self, scorer: Client) -> None:
        rows = good_rows(3)
        data = scorer.post("/predict", {"data": {"ndarray": rows}, "meta": {"tags": {"predict_method": "predict"}}})
        labels = scorer.post("/invocations", {"inputs": rows}).json()["predictions"]
        assert data.json()["data"] == {"names": ["cool_cond_y"], "ndarray": [[label] for label in labels]}
        wrong = scorer.post("/predict", {"data": {"ndarray": rows}, "meta": {"tags": {"predict_method": "guess"}}})
        assert wrong.status == 400
        assert "predict_proba" in wrong.json()["status"]["info"]

    def test_the_orchestrator_s_header_is_the_id(self, scorer: Client) -> None:
        body = {"data": {"ndarray": good_rows(1)}}
        reply = scorer.post("/predict", body, headers=[(b"seldon-puid", b"from-engine")])
        assert reply.json()["meta"]["puid"] == reply.headers["seldon-puid"] == "from-engine"

    def test_without_names_columns_are_positional(self, scorer: Client) -> None:
        rows = good_rows(2)
        for body in ({"data": {"ndarray": rows}}, {"data": {"names": [], "ndarray": rows}}, {"jsonData": rows}):
            data = scorer.post("/predict", body).json()["data"]
            flat = [cell for row in _asked(scorer, TONGUES[0], rows) for cell in row]
            assert (
                data["tensor"]["values"] if "tensor" in data else [c for row in data["ndarray"] for c in row]
            ) == flat

    def test_forms_are_read(self, scorer: Client) -> None:
        message = {"data": {"ndarray": good_rows(1)}, "meta": {"puid": "p"}}
        wanted = scorer.post("/predict", message).json()
        parts = {name: json.dumps(value) for name, value in message.items()}
        for fields in ({"json": json.dumps(message)}, parts):
            content_type, body = _multipart(fields)
            assert scorer.ask("POST", "/predict", body, content_type=content_type).json() == wanted

    @pytest.mark.parametrize("key", ["strData", "binData", "customData"])
    def test_payloads_without_rows_are_refused(self, scorer: Client, key: str) -> None:
        reply = scorer.post("/predict", {key: "x"})
        assert reply.status == 400 and key in reply.json()["status"]["info"]

    @pytest.mark.parametrize("path", FEEDBACK_PATHS)
    def test_feedback_is_checked_and_answered(self, scorer: Client, path: str) -> None:
        row, label = good_rows(1), [[LABELS[0]]]
        asked = {"data": {"ndarray": row}}
        answered = scorer.post("/predict", asked).json()
        feedback = {"request": asked, "response": answered, "reward": 1, "truth": {"data": {"ndarray": label}}}
        answer = scorer.post(path, feedback).json()
        assert answer["data"] == {"names": [], "ndarray": []}
        assert answer["meta"]["puid"] == answered["meta"]["puid"]

    @pytest.mark.parametrize(
        ("feedback", "word"),
        [
            ({"reward": "much"}, "reward"),
            ({"reward": True}, "reward"),
            ({"truth": [1]}, "truth"),
            ({"truth": {"data": {"tensor": {"shape": [2], "values": [1]}}}}, "shape"),
            ({"response": {"meta": {"puid": "a\nb"}}}, "puid"),
            ({"response": {"answer": 1}}, "answer"),
            ({"verdict": 1}, "verdict"),
        ],
    )
    def test_wrong_feedback_is_refused(self, scorer: Client, feedback: Json, word: str) -> None:
        reply = scorer.post("/send-feedback", feedback)
        assert reply.status == 400 and word in reply.json()["status"]["info"]

    def test_metadata_says_what_goes_in_and_out(self, scorer: Client) -> None:
        for path in ("/metadata", "/api/v1.0/metadata"):
            metadata = scorer.ask("GET", path).json()
            assert metadata["inputs"] == [{"messagetype": "tensor", "schema": {"names": list(NAMES), "shape": [6]}}]
            assert metadata["versions"] == ["7"]
            assert all(isinstance(value, str) for value in metadata["custom"].values())


class TestV2:
    def test_metadata_is_enough_to_ask(self, scorer: Client) -> None:
        metadata = scorer.ask("GET", "/v2/models/rig").json()
        row = good_rows(1)[0]
        inputs = [
            {"name": i["name"], "datatype": i["datatype"], "shape": [1], "data": [cell]}
            for i, cell in zip(metadata["inputs"], row, strict=True)
        ]
        answer = scorer.post("/v2/models/rig/infer", {"inputs": inputs}).json()
        for output, described in zip(answer["outputs"], metadata["outputs"], strict=True):
            assert output["name"] == described["name"] and output["datatype"] == described["datatype"]
            assert len(output["shape"]) == len(described["shape"])

    def test_labels_are_those_of_the_largest_probability(self, scorer: Client) -> None:
        answer = scorer.post("/v2/models/rig/infer", V2_MATRIX.asks(NAMES, good_rows(50))).json()
        labels, probabilities = answer["outputs"]
        assert labels["datatype"] == "INT64" and probabilities["shape"] == [50, 3]
        table = np.array(probabilities["data"]).reshape(50, 3)
        assert labels["data"] == [LABELS[index] for index in table.argmax(axis=1)]

    @pytest.mark.parametrize("asked", [["predict"], ["predict_proba"], ["predict_proba", "predict"]])
    def test_outputs_are_selected_and_ordered(self, scorer: Client, asked: list[str]) -> None:
        body = {**V2_MATRIX.asks(NAMES, good_rows()), "outputs": [{"name": name} for name in asked], "id": "mine"}
        answer = scorer.post("/v2/models/rig/infer", body).json()
        assert [output["name"] for output in answer["outputs"]] == asked
        assert answer["id"] == "mine"

    def test_nested_data_is_row_major(self, scorer: Client) -> None:
        rows = good_rows()
        body = V2_MATRIX.asks(NAMES, rows)
        flat = scorer.post("/v2/models/rig/infer", body).json()["outputs"]
        body["inputs"][0]["data"] = rows
        assert scorer.post("/v2/models/rig/infer", body).json()["outputs"] == flat

    @pytest.mark.parametrize(
        ("datatype", "value", "word"),
        [
            ("INT8", 128, "INT8"),
            ("UINT8", -1, "UINT8"),
            ("INT64", 1.5, "INT64"),
            ("FP16", 70000.0, "FP16"),
            ("FP32", 1e39, "FP32"),
            ("BOOL", 1.0, "BOOL"),
            ("BYTES", 1.0, "BYTES"),
            ("FP128", 1.0, "FP128"),
            (None, 1.0, "datatype"),
        ],
    )
    def test_values_must_fit_their_datatype(self, scorer: Client, datatype: Json, value: Json, word: str) -> None:
        body = TONGUES[5].asks(NAMES, good_rows())
        body["inputs"][2] |= {"datatype": datatype, "data": [1, value, 1]}
        reply = scorer.post("/v2/models/rig/infer", body)
        assert reply.status == 400 and word in reply.json()["error"] and "EPS1" in reply.json()["error"]

    def test_short_floats_are_rounded_as_their_type_has_them(self, scorer: Client) -> None:
        card = scorer.card
        dialect = next(d for d in dialects_of(card) if d.name == "v2")
        body = V2_MATRIX.asks(NAMES, [[0.1] * 6])
        body["inputs"][0]["datatype"] = "FP32"
        raw = json.dumps(body).encode()
        call = Call(method="POST", path=V2_MATRIX.path, body=raw, content_type="application/json", headers={})
        assert dialect.parse(call).cells.tolist() == [[float(np.float32(0.1))] * 6]

    def test_readiness_is_503_while_the_scorer_drains(self, scorer: Client) -> None:
        paths = (
            "/v2/health/ready",
            "/v2/models/rig/ready",
            "/v2/models/rig/versions/7/ready",
            "/ready",
            "/health/status",
        )
        assert [scorer.ask("GET", path).status for path in paths] == [200] * 5
        scorer.app.draining = True
        try:
            assert [scorer.ask("GET", path).status for path in paths] == [503] * 5
            assert scorer.ask("GET", "/v2/health/live").status == scorer.ask("GET", "/live").status == 200
            assert scorer.post(V2_MATRIX.path, V2_MATRIX.asks(NAMES, good_rows())).status == 200
        finally:
            scorer.app.draining = False
