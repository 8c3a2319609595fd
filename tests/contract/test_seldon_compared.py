"""The same Seldon v1 request to our scorer and to the real `seldon-core-microservice` 1.17.1, answer by answer.

Where the two differ the difference stands in OTHERWISE, in words, and is checked: docs/pod.md lists it.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlencode

import grpc
import numpy as np
import pandas as pd
import pytest
from google.protobuf.json_format import MessageToDict, ParseDict

from mlflow_hydraulic.scoring import seldon_proto as proto
from tests.scorers import NAMES, forest, good_rows
from tests.support.pods import call
from tests.support.seldon_env import ENVIRON, NotMade, seldon_python
from tests.support.seldon_peers import Peer, peers

Json = Any
HTTP = ("pod", "seldon-local", "microservice", "microservice-raw")
GRPC = ("pod", "microservice", "microservice-raw")
ROWS = good_rows(40)
META = {"puid": "p1", "tags": {"mine": 1}, "requestPath": {"before": "image:1"}}
FLAT = [cell for row in ROWS for cell in row]
RECORDS = [dict(zip(NAMES, row, strict=True)) for row in ROWS]
GOOD: dict[str, Json] = {
    "rows": {"data": {"ndarray": ROWS}, "meta": {"puid": "p1"}},
    "one row": {"data": {"ndarray": ROWS[:1]}, "meta": {"puid": "p1"}},
    "named rows and meta": {"data": {"names": list(NAMES), "ndarray": ROWS}, "meta": META},
    "columns in another order": {"data": {"names": NAMES[::-1], "ndarray": [row[::-1] for row in ROWS]}},
    "tensor": {"data": {"tensor": {"shape": [len(ROWS), len(NAMES)], "values": FLAT}}, "meta": META},
    "one row as a flat tensor": {"data": {"tensor": {"shape": [len(NAMES)], "values": ROWS[0]}}},
    "records": {"jsonData": RECORDS, "meta": {"puid": "p1"}},
    "one record": {"jsonData": RECORDS[0]},
    "rows as jsonData": {"jsonData": ROWS},
    "no meta": {"data": {"ndarray": ROWS}},
}
ROW = ROWS[0]
BAD: dict[str, bytes | Json] = {
    "too few cells": {"data": {"ndarray": [ROW[:5]]}},
    "a column is missing": {"data": {"names": NAMES[:5], "ndarray": [ROW[:5]]}},
    "an unknown column": {"data": {"names": [*NAMES[:5], "X"], "ndarray": [ROW]}},
    "a column twice": {"data": {"names": [*NAMES[:5], NAMES[0]], "ndarray": [ROW]}},
    "a text": {"data": {"ndarray": [["1", *ROW[1:]]]}},
    "null": {"data": {"ndarray": [[None, *ROW[1:]]]}},
    "NaN": b'{"data": {"ndarray": [[NaN, 1, 2, 3, 4, 5]]}}',
    "true": {"data": {"ndarray": [[True, *ROW[1:]]]}},
    "ragged rows": {"data": {"ndarray": [ROW, ROW[:3]]}},
    "no row": {"data": {"ndarray": []}},
    "a row that is no list of rows": {"data": {"ndarray": ROW}},
    "a tensor of another shape": {"data": {"tensor": {"shape": [2, 6], "values": ROW}}},
    "three dimensions": {"data": {"tensor": {"shape": [1, 1, 6], "values": ROW}}},
    "strData": {"strData": "x"},
    "binData": {"binData": "eA=="},
    "no payload": {"meta": {}},
    "two payloads": {"data": {"ndarray": [ROW]}, "strData": "x"},
    "an unknown key": {"data": {"ndarray": [ROW]}, "x": 1},
    "a record with more columns": {"jsonData": [{**RECORDS[0], "x": 1}]},
    "tags that are a list": {"data": {"ndarray": [ROW]}, "meta": {"tags": [1]}},
    "no JSON": b"{",
    "nothing": b"",
    "JSON that is no object": b"[1]",
}
# What the microservice makes of a request that ours refuses with a 4xx: its outcome, and why.
OTHERWISE = {
    "true": (2, "numpy turns true into 1.0 when the wrapper makes one array of the rows"),
    "a row that is no list of rows": (2, "an array of one dimension looks the same as a flat tensor"),
    "two payloads": (2, "it takes data and drops the rest"),
    "an unknown key": (2, "it drops what it does not know"),
    "ragged rows": (5, "numpy's error is any exception to it"),
    "a tensor of another shape": (5, "numpy's error is any exception to it"),
    "tags that are a list": (5, "Python's error is any exception to it"),
}


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Peer]]:
    try:
        with peers(tmp_path_factory.mktemp("peers")) as found:
            yield found
    except NotMade as error:
        pytest.skip(f"the real seldon-core-microservice cannot be installed here: {error}")


def _post(peer: Peer, body: bytes | Json, path: str = "/predict") -> tuple[int, Json]:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    status, content = peer.ask("POST", path, raw)
    return status, json.loads(content)


def _table(answer: Json) -> np.ndarray[Any, Any]:
    data = answer["data"]
    flat = data["tensor"]["values"] if "tensor" in data else data["ndarray"]
    return np.array(flat, dtype=np.float64).reshape(-1, len(data["names"]))


def _same(ours: Json, theirs: Json, *, given: Json) -> None:
    """Numbers to 1e-12, names, kind of payload and meta; ours has a prediction id where none was given."""
    assert set(ours) == set(theirs) == {"data", "meta"}
    assert set(ours["data"]) == set(theirs["data"])
    assert ours["data"]["names"] == theirs["data"]["names"]
    np.testing.assert_allclose(_table(ours), _table(theirs), rtol=0, atol=1e-12)
    shapes = [answer["data"].get("tensor", {}).get("shape") for answer in (ours, theirs)]
    assert shapes[0] == shapes[1]
    metas = [dict(answer["meta"]) for answer in (ours, theirs)]
    if "puid" not in given.get("meta", {}):
        assert metas[0].pop("puid")
        metas[1].pop("puid", None)
    assert metas[0] == metas[1]


@pytest.mark.parametrize("name", GOOD)
def test_a_request_gets_the_same_answer_from_all_over_http(asked: dict[str, Peer], name: str) -> None:
    answers = {peer: _post(asked[peer], GOOD[name]) for peer in HTTP}
    assert {status for status, _ in answers.values()} == {200}, answers
    for peer in HTTP[1:]:
        _same(answers["pod"][1], answers[peer][1], given=GOOD[name])


def test_the_answer_is_the_model_s_own(asked: dict[str, Peer]) -> None:
    """All four could be wrong alike."""
    wanted = forest().estimator.predict_proba(pd.DataFrame(ROWS, columns=list(NAMES)))
    np.testing.assert_allclose(_table(_post(asked["microservice"], GOOD["rows"])[1]), wanted, rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", GOOD)
def test_a_message_gets_the_same_answer_from_all_over_grpc(asked: dict[str, Peer], name: str) -> None:
    message = ParseDict(GOOD[name], proto.SeldonMessage())
    for path in ("/seldon.protos.Model/Predict", "/seldon.protos.Seldon/Predict"):
        answers = [MessageToDict(call(asked[peer].grpc, path, message, proto.SeldonMessage)) for peer in GRPC]
        for theirs in answers[1:]:
            _same(answers[0], theirs, given=GOOD[name])
        over_http = _post(asked["pod"], GOOD[name])[1]
        assert (_table(answers[0]) == _table(over_http)).all()
        assert answers[0]["data"]["names"] == over_http["data"]["names"]


@pytest.mark.parametrize("name", BAD)
def test_a_bad_request_is_the_caller_s_fault_everywhere(asked: dict[str, Peer], name: str) -> None:
    outcomes = {peer: _post(asked[peer], BAD[name]) for peer in HTTP}
    classes = {peer: status // 100 for peer, (status, _) in outcomes.items()}
    theirs, why = OTHERWISE.get(name, (4, ""))
    assert classes == {"pod": 4, "seldon-local": 4, "microservice": theirs, "microservice-raw": 4}, (outcomes, why)
    fields = {"status", "info", "code", "reason"}
    for peer, (status, answer) in outcomes.items():
        if status >= 400:
            assert set(answer["status"]) == fields, (peer, answer)
            assert answer["status"]["status"] == 1 and answer["status"]["info"]


# What JSON can say and a protobuf message cannot.
JSON_ONLY = ("two payloads", "an unknown key", "tags that are a list")


@pytest.mark.parametrize("name", [n for n, body in BAD.items() if not isinstance(body, bytes) and n not in JSON_ONLY])
def test_a_bad_message_is_refused_over_grpc(asked: dict[str, Peer], name: str) -> None:
    """Ours say whose fault it is; all errors of the microservice are UNKNOWN."""
    message = ParseDict(BAD[name], proto.SeldonMessage())
    codes = {}
    for peer in GRPC:
        try:
            call(asked[peer].grpc, "/seldon.protos.Model/Predict", message, proto.SeldonMessage)
            codes[peer] = grpc.StatusCode.OK
        except grpc.RpcError as error:
            codes[peer] = error.code()
    refused = {grpc.StatusCode.UNKNOWN}
    wanted = refused | ({grpc.StatusCode.OK} if name in OTHERWISE else set())
    assert codes["pod"] == grpc.StatusCode.INVALID_ARGUMENT
    assert codes["microservice-raw"] in refused and codes["microservice"] in wanted


def test_an_unknown_path_and_a_wrong_method_are_4xx_here_and_500_there(asked: dict[str, Peer]) -> None:
    for method, path in (("GET", "/nowhere"), ("DELETE", "/predict")):
        outcomes = {peer: asked[peer].ask(method, path)[0] // 100 for peer in HTTP}
        assert outcomes == {"pod": 4, "seldon-local": 4, "microservice": 5, "microservice-raw": 5}


@pytest.mark.parametrize("path", ["/predict", "/api/v1.0/predictions"])
def test_forms_are_read_as_the_orchestrator_may_send_them(asked: dict[str, Peer], path: str) -> None:
    message = GOOD["named rows and meta"]
    forms = {
        "application/x-www-form-urlencoded": urlencode({"json": json.dumps(message)}).encode(),
        "multipart/form-data; boundary=b": b"".join(
            b'--b\r\nContent-Disposition: form-data; name="%s"\r\n\r\n%s\r\n'
            % (key.encode(), json.dumps(value).encode())
            for key, value in message.items()
        )
        + b"--b--\r\n",
    }
    for kind, body in forms.items():
        answers = [asked[peer].ask("POST", path, body, content_type=kind) for peer in HTTP]
        assert {status for status, _ in answers} == {200}, (kind, answers)
        for _, content in answers[1:]:
            _same(json.loads(answers[0][1]), json.loads(content), given=message)


@pytest.mark.parametrize("path", ["/send-feedback", "/api/v1.0/feedback"])
def test_feedback_is_answered_alike(asked: dict[str, Peer], path: str) -> None:
    request = {"data": {"ndarray": ROWS[:1]}}
    feedback = {"request": request, "reward": 1, "truth": {"data": {"ndarray": [[3]]}}}
    answers = {peer: _post(asked[peer], feedback, path) for peer in HTTP}
    assert {status for status, _ in answers.values()} == {200}
    ours = answers["pod"][1]
    for peer in HTTP[1:]:
        theirs = answers[peer][1]
        assert theirs["data"]["ndarray"] == ours["data"]["ndarray"] == []
        assert theirs["meta"] == ours["meta"]
    message = ParseDict(feedback, proto.Feedback())
    for peer in GRPC:
        answer = call(asked[peer].grpc, "/seldon.protos.Model/SendFeedback", message, proto.SeldonMessage)
        assert MessageToDict(answer.meta)["requestPath"] == {"rig": "rig:7"}


def test_health_and_metadata_are_the_same(asked: dict[str, Peer]) -> None:
    for path in ("/health/status", "/metadata", "/api/v1.0/metadata"):
        answers = [json.loads(asked[peer].ask("GET", path)[1]) for peer in HTTP]
        assert all(answer == answers[0] for answer in answers), (path, answers)
    assert {asked[peer].ask("GET", "/health/ping") for peer in HTTP} == {(200, b"pong")}
    paths = {"/seldon.protos.Model/Metadata": proto.Empty(), "/seldon.protos.Seldon/ModelMetadata": proto.Empty()}
    for path, message in paths.items():
        described = [call(asked[peer].grpc, path, message, proto.ModelMetadata) for peer in GRPC]
        assert all(one == described[0] for one in described)


def test_seldon_s_own_stubs_talk_with_our_server(asked: dict[str, Peer]) -> None:
    """The other way round: bytes that Seldon's generated code writes and reads."""
    program = (
        "import sys, json, grpc\nfrom google.protobuf.json_format import MessageToDict, ParseDict\n"
        "from seldon_core.proto import prediction_pb2 as p, prediction_pb2_grpc as g\n"
        "stub = g.SeldonStub(grpc.insecure_channel(sys.argv[1]))\n"
        "message = ParseDict(json.load(sys.stdin), p.SeldonMessage())\n"
        "print(json.dumps(MessageToDict(stub.Predict(message, timeout=30))))"
    )
    command = [str(seldon_python()), "-c", program, f"127.0.0.1:{asked['pod'].grpc}"]
    given = GOOD["named rows and meta"]
    done = subprocess.run(
        command, input=json.dumps(given), capture_output=True, text=True, env=ENVIRON, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    _same(json.loads(done.stdout), _post(asked["microservice"], given)[1], given=given)
