"""Hostile requests to every scoring path: each gets a 4xx in its dialect's shape that names the cause, never a 500.

After each of them the scorer still gives the same answer to a good request.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.scorers import NAMES, TONGUES, V2_MATRIX, Client, Json, Reply, Tongue, forest_scorer, good_rows

EVERY_TONGUE = (*TONGUES, V2_MATRIX)
PATHS = sorted({tongue.path for tongue in EVERY_TONGUE})
PLACES = ("/invocations", "/api/v1.0/predictions", "/v2/models/rig/infer", "/model/score")
POSTS = [*PATHS, "/api/v1.0/feedback", "/send-feedback", "/model/contribution"]
BY_PATH = {tongue.path: tongue for tongue in EVERY_TONGUE}
MARK = "@@"


@pytest.fixture(scope="module")
def scorer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    client = forest_scorer(tmp_path_factory.mktemp("forest"), "onnxruntime")
    yield client
    client.close()


@pytest.fixture(scope="module")
def before(scorer: Client) -> dict[str, Json]:
    """What each path says of good rows before anything hostile came."""
    return {tongue.name: _good(scorer, tongue) for tongue in EVERY_TONGUE}


@pytest.fixture(autouse=True)
def unharmed(request: pytest.FixtureRequest, scorer: Client, before: dict[str, Json]) -> Iterator[None]:
    yield
    tongue = getattr(request.node, "callspec", None) and request.node.callspec.params.get("tongue")
    for one in [tongue] if tongue else EVERY_TONGUE:
        assert _good(scorer, one) == before[one.name]


def _good(scorer: Client, tongue: Tongue) -> Json:
    reply = scorer.post(tongue.path, tongue.asks(NAMES, good_rows()))
    assert reply.status == 200, reply.body
    return tongue.reads(reply.json())


def _refused(reply: Reply, tongue: Tongue, status: int = 400) -> str:
    """The message of a refusal; the test fails on any other answer or shape."""
    assert reply.status == status, (reply.status, reply.body[:300])
    assert reply.headers["content-type"] == "application/json"
    message = tongue.problem(reply.json())
    assert message
    return message


def _raw(tongue: Tongue, token: bytes, row: int = 1, column: int = 2) -> bytes:
    """A good body but for one cell, which is written as `token`."""
    rows: list[list[Json]] = [list(r) for r in good_rows()]
    rows[row][column] = MARK
    body = json.dumps(tongue.asks(NAMES, rows)).encode()
    assert body.count(b'"@@"') == 1
    return body.replace(b'"@@"', token)


tongues = pytest.mark.parametrize("tongue", EVERY_TONGUE, ids=str)

CELLS = {
    "boolean": b"true",
    "list": b"[1.0]",
    "object": b'{"a": 1}',
    "null": b"null",
    "text": b'"warm"',
    "empty text": b'""',
    "blank": b'" "',
    "text NaN": b'"NaN"',
    "text infinity": b'"-Infinity"',
    "text underscore": b'"1_000"',
    "arabic digits": '"٣"'.encode(),
    "text too large": b'"1e400"',
    "integer of 400 digits": b"1" * 400,
    "line break": b'"1\\r\\n2"',
    "NUL": b'"1\\u0000"',
}


@tongues
@pytest.mark.parametrize("cell", CELLS, ids=str)
def test_a_wrong_cell_is_named_by_row_and_field(scorer: Client, tongue: Tongue, cell: str) -> None:
    reply = scorer.ask("POST", tongue.path, _raw(tongue, CELLS[cell]))
    message = _refused(reply, tongue)
    if cell != "integer of 400 digits":  # JSON decoding itself may refuse it, and then knows no row
        assert "row 1" in message and "EPS1" in message, message


@tongues
@pytest.mark.parametrize("token", [b"NaN", b"Infinity", b"-Infinity", b"1e400", b"-1e999", b"01", b"1.", b"+1", b"0x1"])
def test_tokens_that_are_no_json_numbers_are_refused(scorer: Client, tongue: Tongue, token: bytes) -> None:
    assert "JSON" in _refused(scorer.ask("POST", tongue.path, _raw(tongue, token)), tongue) or token[-3:].isdigit()


@tongues
@pytest.mark.parametrize(
    "token", [b"9007199254740993", b"1e308", b"-0.0", b"5e-324", b"123456789012345678901234567890"]
)
def test_numbers_that_a_double_holds_are_scored(scorer: Client, tongue: Tongue, token: bytes) -> None:
    written = b'"' + token + b'"' if tongue.text else token
    assert scorer.ask("POST", tongue.path, _raw(tongue, written)).status == 200


BODIES = {
    "empty": b"",
    "blank": b" \n",
    "null": b"null",
    "list": b"[]",
    "number": b"1",
    "string": b'"rows"',
    "true": b"true",
    "empty object": b"{}",
    "unknown key": b'{"rowz": []}',
    "not utf-8": b'{"data": "\xff\xfe"}',
    "utf-16": '{"data": 1}'.encode("utf-16"),
    "two values": b"{} {}",
    "brackets": b"[" * 10_000,
    "brackets closed": b"[" * 10_000 + b"]" * 10_000,
    "objects": b'{"a":' * 10_000,
    "key bomb": json.dumps({f"key{index}": index for index in range(20_000)}).encode(),
    "long key": json.dumps({"k" * 500_000: 1}).encode(),
    "NUL bytes": b"\0" * 100,
    "html": b"<html>",
    "python": b"{'data': None}",
    "lone surrogate": b'{"\\ud800": 1}',
}


@pytest.mark.parametrize("path", POSTS)
@pytest.mark.parametrize("body", BODIES, ids=str)
def test_a_body_that_is_no_request_is_refused(scorer: Client, path: str, body: str) -> None:
    reply = scorer.ask("POST", path, BODIES[body])
    assert reply.status == 400, (reply.status, reply.body[:300])
    assert len(_message(reply, path)) < 1000


def _message(reply: Reply, path: str) -> str:
    near = BY_PATH.get(path) or next(
        t for t in EVERY_TONGUE if t.name == ("tutorial" if "model" in path else "seldon-json")
    )
    return near.problem(reply.json())


@tongues
def test_a_body_cut_off_anywhere_is_refused(scorer: Client, tongue: Tongue) -> None:
    body = json.dumps(tongue.asks(NAMES, good_rows(2))).encode()
    for length in range(0, len(body) - 1, 3):
        assert "JSON" in _refused(scorer.ask("POST", tongue.path, body[:length]), tongue)


@tongues
def test_lists_within_lists_are_refused_at_every_depth(scorer: Client, tongue: Tongue) -> None:
    """Near the interpreter's limit decoding still succeeds, and what comes after it must bear the depth too."""
    for depth in (*range(1, 20), *range(800, 1000, 7), *range(930, 1001)):
        _refused(scorer.ask("POST", tongue.path, _raw(tongue, b"[" * depth + b"]" * depth)), tongue)


@tongues
def test_any_value_at_any_place_gets_an_answer(scorer: Client, tongue: Tongue) -> None:
    """Each part of a good body in turn is replaced by each kind of value, deep nesting among them."""
    deep: Json = []
    for _ in range(900):
        deep = [deep]
    body = tongue.asks(NAMES, good_rows(2))
    for place in _places(body):
        values: tuple[Json, ...] = (
            None,
            True,
            -1,
            10**30,
            0.5,
            "",
            "x\r\ny",
            [],
            [[]],
            {},
            {"": {}},
            [None],
            deep,
            {"a": deep},
        )
        for value in values:
            reply = scorer.post(tongue.path, _replaced(body, place, value))
            assert reply.status < 500, (place, value if value is not deep else "deep", reply.body)
            if reply.status != 200:
                assert reply.status in (400, 413)
                assert tongue.problem(reply.json())


def _places(value: Json, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    yield at
    if isinstance(value, dict):
        for key in value:
            yield from _places(value[key], (*at, key))
    elif isinstance(value, list):
        for index in range(min(len(value), 2)):
            yield from _places(value[index], (*at, index))


def _replaced(body: Json, place: tuple[Any, ...], value: Json) -> Json:
    if not place:
        return value
    changed = copy.deepcopy(body)
    inner = changed
    for step in place[:-1]:
        inner = inner[step]
    inner[place[-1]] = value
    return changed


named = pytest.mark.parametrize("tongue", TONGUES, ids=str)


@named
def test_a_missing_column_is_named(scorer: Client, tongue: Tongue) -> None:
    names = [*NAMES[:2], *NAMES[3:]]
    rows = [[*row[:2], *row[3:]] for row in good_rows()]
    assert "EPS1" in _refused(scorer.post(tongue.path, tongue.asks(names, rows)), tongue)


@named
def test_a_renamed_column_is_named(scorer: Client, tongue: Tongue) -> None:
    names = [*NAMES[:2], "eps1", *NAMES[3:]]
    assert "EPS1" in _refused(scorer.post(tongue.path, tongue.asks(names, good_rows())), tongue)


@named
def test_an_extra_column_is_named_or_ignored(scorer: Client, tongue: Tongue) -> None:
    reply = scorer.post(tongue.path, tongue.asks([*NAMES, "XX9"], [[*row, 1.0] for row in good_rows()]))
    if tongue.superset:
        assert tongue.reads(reply.json()) == _good(scorer, tongue)
    else:
        assert "XX9" in _refused(reply, tongue)


@pytest.mark.parametrize("tongue", [t for t in TONGUES if t.name not in ("mlflow-records", "seldon-json")], ids=str)
def test_a_doubled_column_is_named(scorer: Client, tongue: Tongue) -> None:
    """Not so for records: they are JSON objects, in which the last of two equal keys wins."""
    reply = scorer.post(tongue.path, tongue.asks([*NAMES, "EPS1"], [[*row, 1.0] for row in good_rows()]))
    assert "EPS1" in _refused(reply, tongue)


@named
def test_columns_in_another_order_are_matched_by_name(scorer: Client, tongue: Tongue) -> None:
    reply = scorer.post(tongue.path, tongue.asks(NAMES[::-1], [row[::-1] for row in good_rows()]))
    assert tongue.reads(reply.json()) == _good(scorer, tongue)


@tongues
def test_no_rows_are_refused(scorer: Client, tongue: Tongue) -> None:
    _refused(scorer.post(tongue.path, tongue.asks(NAMES, [])), tongue)


@tongues
def test_ragged_rows_are_refused(scorer: Client, tongue: Tongue) -> None:
    rows = good_rows()
    rows[1] = rows[1][:-1]
    _refused(scorer.post(tongue.path, tongue.asks(NAMES, rows)), tongue)


@tongues
def test_too_many_rows_are_refused(scorer: Client, tongue: Tongue) -> None:
    rows = [[float(index % 7)] * len(NAMES) for index in range(1001)]
    message = _refused(scorer.post(tongue.path, tongue.asks(NAMES, rows)), tongue, 413)
    assert "1001" in message and "1000" in message


@pytest.mark.parametrize("path", POSTS)
def test_a_body_over_the_limit_is_refused(scorer: Client, path: str) -> None:
    reply = scorer.ask("POST", path, b" " * 1_000_001)
    assert reply.status == 413, reply.body
    assert _message(reply, path)


@tongues
@pytest.mark.parametrize(
    "content_type",
    [
        "text/plain",
        "application/xml",
        "application/octet-stream",
        "image/png",
        "",
        ";",
        "application/json; charset=utf-16",
    ],
)
def test_another_content_type_is_refused(scorer: Client, tongue: Tongue, content_type: str) -> None:
    body = json.dumps(tongue.asks(NAMES, good_rows())).encode()
    _refused(scorer.ask("POST", tongue.path, body, content_type=content_type), tongue, 415)


@tongues
@pytest.mark.parametrize("content_type", ["application/json; charset=utf-8", "Application/JSON", None])
def test_json_is_known_by_all_its_names(scorer: Client, tongue: Tongue, content_type: str | None) -> None:
    body = json.dumps(tongue.asks(NAMES, good_rows())).encode()
    assert scorer.ask("POST", tongue.path, body, content_type=content_type).status == 200


@tongues
@pytest.mark.parametrize("coding", [b"gzip", b"br", b"deflate"])
def test_a_compressed_body_is_refused(scorer: Client, tongue: Tongue, coding: bytes) -> None:
    reply = scorer.ask("POST", tongue.path, b"\x1f\x8b\x08", headers=[(b"content-encoding", coding)])
    _refused(reply, tongue, 415)


@tongues
@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "BREW"])
def test_another_method_is_refused(scorer: Client, tongue: Tongue, method: str) -> None:
    reply = scorer.ask(method, tongue.path, b"{}")
    assert reply.status == 405
    assert "POST" in reply.headers["allow"]
    if method != "HEAD":
        assert method in tongue.problem(reply.json())


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize(
    "tail",
    [
        "/",
        "/x",
        "/../../etc/passwd",
        "/%2e%2e/%2e%2e/etc/passwd",
        "%00",
        "/%ff%fe",
        "//",
        "/" + "a" * 5000,
        "%0d%0aX-A:b",
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_an_unknown_path_is_refused(scorer: Client, place: str, tail: str, method: str) -> None:
    reply = scorer.ask(method, place + tail, b"{}")
    assert reply.status == 404
    assert reply.headers["content-type"] == "application/json"
    assert "root:" not in reply.body.decode()
    assert len(reply.body) < 1000


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/v2/models/other/infer", "v2-columns"),
        ("/v2/models/rig/versions/8/infer", "v2-columns"),
        ("/v2/models/other", "v2-columns"),
        ("/v2/models/other/ready", "v2-columns"),
        ("/api/v1.0/nothing", "seldon-json"),
        ("/model/nothing", "tutorial"),
        ("/nothing", "mlflow-split"),
        ("/invocations/..", "mlflow-split"),
    ],
)
def test_an_unknown_path_gets_the_shape_of_its_dialect(scorer: Client, path: str, name: str) -> None:
    tongue = next(t for t in TONGUES if t.name == name)
    for method in ("GET", "POST"):
        _refused(scorer.ask(method, path), tongue, 404)


@pytest.mark.parametrize("query", ["file=/etc/passwd", "file=../../secret", "file=%2Fetc%2Fpasswd"])
def test_no_file_of_the_server_is_read(scorer: Client, query: str) -> None:
    reply = scorer.ask("GET", f"/model/score?{query}")
    assert reply.status == 405
    assert b"root:" not in reply.body


IDS = ["a\r\nSet-Cookie: x=1", "a\nb", "\0", "ü", "x" * 129, "a b", 1, [], {}, True]


@pytest.mark.parametrize("identity", IDS, ids=repr)
def test_a_forged_id_in_the_body_is_refused(scorer: Client, identity: Json) -> None:
    """The client refuses to read an answer whose header holds a line break."""
    for tongue in EVERY_TONGUE:
        body = tongue.asks(NAMES, good_rows())
        if tongue.name.startswith("seldon"):
            body["meta"] = {"puid": identity}
            assert "puid" in _refused(scorer.post(tongue.path, body), tongue)
        elif tongue.name.startswith("v2"):
            body["id"] = identity
            assert "id" in _refused(scorer.post(tongue.path, body), tongue)


@tongues
@pytest.mark.parametrize("header", [b"x-prediction-id", b"seldon-puid"])
@pytest.mark.parametrize("identity", [b"a\r\nb", b"a b", b"\xff", b"x" * 5000, b"", b"\0"])
def test_a_forged_id_in_a_header_is_not_sent_back(
    scorer: Client, tongue: Tongue, header: bytes, identity: bytes
) -> None:
    reply = scorer.post(tongue.path, tongue.asks(NAMES, good_rows()), headers=[(header, identity)])
    assert reply.status == 200
    assert len(reply.headers["x-prediction-id"]) == 32


def test_echoed_maps_of_seldon_take_no_endless_values(scorer: Client) -> None:
    tongue = BY_PATH["/api/v1.0/predictions"]
    for key in ("tags", "requestPath"):
        for depth in range(900, 1000, 3):
            body = tongue.asks(NAMES, good_rows()) | {"meta": {key: {"a": MARK}}}
            raw = json.dumps(body).encode().replace(b'"@@"', b"[" * depth + b"]" * depth)
            _refused(scorer.ask("POST", tongue.path, raw), tongue)


@pytest.mark.parametrize("path", PATHS)
def test_names_without_end_are_refused_in_time(scorer: Client, path: str) -> None:
    """Twenty thousand equal names, which fit a body that is read on the event loop."""
    tongue = BY_PATH[path]
    names = ["a"] * (5_000 if tongue.name == "v2-columns" else 20_000)
    _refused(scorer.post(path, tongue.asks(names, [[1.0] * len(names)])), tongue)


FORMS = {
    "no boundary": ("multipart/form-data", b"x"),
    "cut off": ("multipart/form-data; boundary=b", b'--b\r\nContent-Disposition: form-data; name="data"\r\n\r\n{'),
    "no name": ("multipart/form-data; boundary=b", b"--b\r\n\r\n{}\r\n--b--\r\n"),
    "bad json": (
        "multipart/form-data; boundary=b",
        b'--b\r\nContent-Disposition: form-data; name="data"\r\n\r\n{\r\n--b--\r\n',
    ),
    "empty": ("multipart/form-data; boundary=b", b""),
    "form without json": ("application/x-www-form-urlencoded", b"data=1"),
    "form not ascii": ("application/x-www-form-urlencoded", b"json=\xff"),
    "form of many fields": ("application/x-www-form-urlencoded", b"a=1&" * 100),
    "form bad json": ("application/x-www-form-urlencoded", b"json=%7B"),
    "form not utf-8": ("application/x-www-form-urlencoded", b"json=%ff%fe"),
}


@pytest.mark.parametrize("form", FORMS, ids=str)
@pytest.mark.parametrize("path", ["/predict", "/api/v1.0/feedback"])
def test_a_damaged_form_is_refused(scorer: Client, path: str, form: str) -> None:
    content_type, body = FORMS[form]
    reply = scorer.ask("POST", path, body, content_type=content_type)
    _refused(reply, BY_PATH["/predict"])


def test_binary_tensors_are_refused(scorer: Client) -> None:
    tongue = BY_PATH["/v2/models/rig/infer"]
    body = tongue.asks(NAMES, good_rows())
    reply = scorer.post(tongue.path, body, headers=[(b"inference-header-content-length", b"100")])
    assert "binary" in _refused(reply, tongue, 415)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(["data", "names", "ndarray", "shape", "rows", "fields", "inputs"]), inner)
    ),
    max_leaves=20,
)
fuzzed = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.mark.parametrize("path", POSTS)
@fuzzed
@given(value=json_values)
def test_no_json_value_breaks_a_path(scorer: Client, path: str, value: Json) -> None:
    assert scorer.ask("POST", path, json.dumps(value).encode()).status < 500


@tongues
@fuzzed
@given(data=st.data())
def test_no_change_of_a_good_body_breaks_a_path(scorer: Client, tongue: Tongue, data: st.DataObject) -> None:
    body = tongue.asks(NAMES, good_rows(2))
    place = data.draw(st.sampled_from(sorted(_places(body), key=repr)))
    reply = scorer.ask("POST", tongue.path, json.dumps(_replaced(body, place, data.draw(json_values))).encode())
    assert reply.status in (200, 400, 413)


@tongues
@fuzzed
@given(noise=st.binary(max_size=200), at=st.integers(0, 400))
def test_no_bytes_break_a_path(scorer: Client, tongue: Tongue, noise: bytes, at: int) -> None:
    body = json.dumps(tongue.asks(NAMES, good_rows(2))).encode()
    reply = scorer.ask("POST", tongue.path, body[:at] + noise + body[at + len(noise) :])
    assert reply.status in (200, 400)
