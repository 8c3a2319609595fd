"""Rows on their way to a real InfluxDB 1.x and a VictoriaMetrics: away, back, refusing, pruned, killed in between.

InfluxDB 2.x is in no Debian: its API is held against what its documentation says of it, by a server that records.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import numpy as np
import pytest
import requests

from mlflow_hydraulic.errors import BadInput
from mlflow_hydraulic.record.retention import prune
from mlflow_hydraulic.record.sinks import Influx, Sink, open_influx
from mlflow_hydraulic.record.store import Chunk, Store
from mlflow_hydraulic.settings import Settings
from tests.influx import Database, influxdb, victoria_metrics
from tests.services import free_port
from tests.support.local import until
from tests.support.recorded import START_NS, entry, head

COUNT = "select count(in_PS1) from hydraulic_prediction"


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    with influxdb(tmp_path_factory.mktemp("influx")) as started:
        yield started


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store(tmp_path / "record.db") as opened:
        yield opened


def take(store: Store, numbers: range, *, replica: str = "s1", rows: int = 1) -> None:
    entries = [entry(number, rows=rows) for number in numbers]
    store.take(Chunk(segment=f"{replica}{numbers}", start=0, end=1, head=head(replica), entries=entries))


def count(database: Database, name: str, query: str = COUNT) -> int:
    series = database.query(name, query)
    return int(series[0]["values"][0][1]) if series else 0


def test_every_row_is_a_point(database: Database, store: Store) -> None:
    take(store, range(50), rows=3)
    take(store, range(50), replica="s2", rows=3)  # two processes answer at the same nanoseconds
    sink = Sink(store, Influx(database.url, "every"))
    sent = sink.push()
    assert (sent.seq, sent.dropped, sent.waiting) == (100, 0, 0)
    assert count(database, "every") == 300
    (series,) = database.query("every", "select * from hydraulic_prediction where replica = 's2' limit 1")
    point = dict(zip(series["columns"], series["values"][0], strict=True))
    assert point["time"] == START_NS and point["id_text"] == "id-0" and point["in_PS1"] == 0.0
    assert (point["label"], point["p_20"], point["deployment"], point["version"]) == (20, 0.7, "cooler", "7")


def test_sending_again_changes_nothing(database: Database, store: Store) -> None:
    """A shipper killed after the database took the points and before that was remembered sends them again."""
    take(store, range(10))
    Sink(store, Influx(database.url, "again")).push()
    with store.writing() as sql:
        sql.execute("delete from sinks")
    Sink(store, Influx(database.url, "again")).push()
    assert count(database, "again") == 10


def test_a_database_that_is_away_gets_all_when_it_is_back(store: Store, tmp_path: Path) -> None:
    port = free_port()
    sink = Sink(store, Influx(f"http://127.0.0.1:{port}", "away"))
    take(store, range(10))
    assert sink.push(now=0.0).waiting == 10
    assert sink.push(now=0.5).waiting == 10, "it waits before it tries again"
    take(store, range(10, 20))
    with influxdb(tmp_path / "influx", port=port) as database:
        assert sink.push(now=1.5).waiting == 0
        assert count(database, "away") == 20


def test_what_was_pruned_before_it_was_sent_is_counted(database: Database, store: Store) -> None:
    take(store, range(10))
    sink = Sink(store, Influx(database.url, "pruned"))
    sink.push()
    take(store, range(10, 20))
    prune(store, days=4 / 86_400, max_bytes=10**9, now=START_NS / 1e9 + 19)
    assert sink.push().dropped == 5
    assert count(database, "pruned") == 15


def test_a_conflict_of_types_costs_its_own_points_and_is_counted(database: Database, store: Store) -> None:
    influx = Influx(database.url, "conflict")
    assert influx.write([f'hydraulic_prediction,model=other in_PS1="text" {START_NS}']) == 0
    take(store, range(10))
    sent = Sink(store, influx).push()
    assert (sent.dropped, sent.waiting) == (10, 0)
    assert influx.write(["no line at all", f"hydraulic_prediction,model=good label=1 {START_NS + 1}"]) == 1
    assert count(database, "conflict", "select count(label) from hydraulic_prediction where model = 'good'") == 1


def test_names_and_texts_of_any_kind_arrive(database: Database) -> None:
    from mlflow_hydraulic.record.lines import prediction_lines
    from mlflow_hydraulic.record.windows import Source
    from mlflow_hydraulic.schema import Field, Schema
    from tests.support.recorded import SERVED
    from tests.unit.test_record_lines import prediction

    odd = 'a, b="c"\\ d\n Ä'
    schema = Schema(inputs=(Field(name=odd), Field(name="t", type="string")), target="y")
    source = Source(source=1, served=SERVED, replica=odd, schema=schema, dictionary=b"", bins=())
    one = prediction([[1.5, odd]], caller=odd, labels=np.array([odd], dtype=object))
    assert Influx(database.url, "odd").write(list(prediction_lines(source, START_NS, one))) == 0
    (series,) = database.query("odd", "select * from hydraulic_prediction")
    point = dict(zip(series["columns"], series["values"][0], strict=True))
    assert point["caller_text"] == 'a, b="c"\\ d  Ä'
    assert 1.5 in point.values()


def test_a_log_in_is_read_from_its_file(tmp_path: Path, store: Store) -> None:
    with influxdb(tmp_path / "influx", auth=True) as database:
        user = "CREATE USER admin WITH PASSWORD 'secret' WITH ALL PRIVILEGES"
        requests.post(f"{database.url}/query", params={"q": user}, timeout=30).raise_for_status()
        take(store, range(3))
        (tmp_path / "auth").write_text("admin:wrong\n")
        settings = Settings(influx_url=database.url, influx_auth_file=str(tmp_path / "auth"))
        influx = open_influx(settings)
        assert influx is not None
        assert Sink(store, influx).push().waiting == 3, "nothing is dropped for a wrong password"
        (tmp_path / "auth").write_text("admin:secret\n")
        influx = open_influx(settings)
        assert influx is not None and Sink(store, influx).push().waiting == 0
        assert database.query("hydraulic", COUNT, u="admin", p="secret")[0]["values"][0][1] == 3


def test_victoria_metrics_takes_the_same(tmp_path: Path, store: Store) -> None:
    with victoria_metrics(tmp_path / "vm") as database:
        take(store, range(10))
        assert Sink(store, Influx(database.url, "")).push().dropped == 0

        def arrived() -> bool:
            asked = {"match[]": "hydraulic_prediction_in_PS1", "start": "0"}
            requests.get(f"{database.url}/internal/force_flush", timeout=10)
            found = requests.get(f"{database.url}/api/v1/export", params=asked, timeout=10)
            return '"deployment":"cooler"' in found.text

        # VictoriaMetrics keeps a month: samples of a time long past are dropped, so only recent ones are looked for.
        recent(store)
        Sink(store, Influx(database.url, "")).push()
        until(arrived, "the samples", 30)


def recent(store: Store) -> None:
    """Entries of just now."""
    import time

    now = time.time_ns()
    entries = [entry(100 + number, ns=now + number) for number in range(10)]
    store.take(Chunk(segment="now", start=0, end=1, head=head(), entries=entries))


class Recording(BaseHTTPRequestHandler):
    """Records requests and answers as InfluxDB 2.x documents it: 204, or a JSON error."""

    seen: list[tuple[str, dict[str, list[str]], str | None, bytes]]
    answers: list[tuple[int, bytes]]

    def do_POST(self) -> None:
        url = urlsplit(self.path)
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.seen.append((url.path, parse_qs(url.query), self.headers["Authorization"], body))
        status, text = self.answers.pop(0) if self.answers else (204, b"")
        self.send_response(status)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *_: object) -> None: ...


@pytest.fixture
def recording() -> Iterator[tuple[str, type[Recording]]]:
    handler = type("Handler", (Recording,), {"seen": [], "answers": []})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}", handler
    server.shutdown()
    thread.join()
    server.server_close()


def test_the_2x_api_is_asked_as_documented(
    recording: tuple[str, type[Recording]], store: Store, tmp_path: Path
) -> None:
    """https://docs.influxdata.com/influxdb/v2/api/ POST /api/v2/write"""
    url, handler = recording
    (tmp_path / "auth").write_text("a-token\n")
    settings = Settings(
        influx_url=url, influx_org="plant", influx_database="rig", influx_auth_file=str(tmp_path / "auth")
    )
    influx = open_influx(settings)
    assert influx is not None
    take(store, range(3))
    unauthorized = b'{"code":"unauthorized","message":"unauthorized access"}'
    too_many = b'{"code":"too many requests"}'
    handler.answers += [(401, unauthorized), (429, too_many), (503, b"{}")]
    sink = Sink(store, influx)
    for now in (0.0, 10.0, 20.0):
        assert sink.push(now=now).waiting == 3
    assert sink.push(now=100.0).waiting == 0
    path, parameters, auth, body = handler.seen[-1]
    assert path == "/api/v2/write"
    assert parameters == {"org": ["plant"], "bucket": ["rig"], "precision": ["ns"]}
    assert auth == "Token a-token"
    assert len(body.decode().splitlines()) == 3
    take(store, range(3, 6))
    handler.answers += [(422, b'{"code":"unprocessable entity"}')] * 2  # all three; then the first of them alone
    assert sink.push(now=200.0).dropped == 1


def test_a_user_in_the_url_is_refused() -> None:
    with pytest.raises(BadInput, match="INFLUX_AUTH_FILE"):
        Influx("http://admin:secret@127.0.0.1:8086", "x")
