"""The monitoring API on a real record: what it shows of each level, bounded in number, and what it refuses."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mlflow_hydraulic.accuracy.store import ActualStore
from mlflow_hydraulic.evidence import sight
from mlflow_hydraulic.monitor.configured import read_monitoring
from mlflow_hydraulic.monitor.findings import Subject
from mlflow_hydraulic.monitor.series.chart import MOST_POINTS
from mlflow_hydraulic.monitor.series.sample import MOMENTS, MOST_READ
from mlflow_hydraulic.monitor.service_history import record_counters
from mlflow_hydraulic.record.store import FILE, Store
from mlflow_hydraulic.record.values import Prediction, Served
from mlflow_hydraulic.service_level import Counters, Process
from tests.support.monitored import Monitored, make_monitored, see
from tests.support.watching import SCHEMA, normal

DAY_S = 86_400


@pytest.fixture
def monitored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Monitored:
    return make_monitored(tmp_path, monkeypatch)


def test_each_part_shows_what_the_record_holds(monitored: Monitored) -> None:
    world = monitored.world
    world.tell(monitored.ids[:120], 20)
    world.watch().look()
    now = monitored.get("")
    assert {one["level"]: one["colour"] for one in now["levels"]}["drift"] == "red" and now["unread"] == ""
    assert [(one["id"], one["role"]) for one in now["answering"]] == [("v3 3", "champion")]
    shift = monitored.chart("/drift", "shift")
    assert shift["rows"][0] == "tsa_temp", "the worst input comes first"
    assert 1.0 < max(cell for cell in shift["cells"][0] if cell is not None) < 2.0
    assert monitored.table("/drift", "inputs")["rows"][0][0] == "tsa_temp"
    findings = monitored.table("/drift", "findings")["rows"]
    assert findings[0][0] == "red" and "tsa_temp" in findings[0][3]
    notes = " ".join(monitored.get("/drift")["notes"])
    assert "at most 1 false red" in notes and "300 of 500 rows are collected" in notes
    assert "120 rows" in monitored.table("/accuracy", "measures")["says"]
    assert monitored.table("/accuracy", "coverage")["rows"][1] == ["20", "300", "120", "40.0%"]
    assert "an estimate, no measurement" in monitored.get("/accuracy")["notes"][0]
    odd = monitored.chart("/anomalies", "odd")
    flagged = monitored.table("/anomalies", "flagged")
    assert int(odd["says"].split()[0]) >= len(flagged["rows"]) > 0 and "sd)" in flagged["rows"][0][4]


def test_a_column_is_shown_against_training(monitored: Monitored) -> None:
    course = monitored.chart("/column", "course", name="tsa_temp")
    values = [y for one in course["series"] for y in one["y"] if y is not None]
    assert len(course["x"]) == len(values) == 300 and course["band"]["high"] == pytest.approx(1.64, abs=0.2)
    for name in ("tsa_temp", "cool", "probability of 20"):
        spread = monitored.chart("/column", "spread", name=name)
        assert sum(spread["series"][-1]["y"]) == pytest.approx(1.0)
        heat = monitored.chart("/column", "heat", name=name)
        assert len(heat["cells"]) == len(heat["rows"]) and {len(row) for row in heat["cells"]} == {len(heat["x"])}
    assert monitored.chart("/column", "heat", name="tsa_temp")["x"][0] == "training"
    assert "psa_bar" in monitored.get("/column", 404, name="nobody")["message"]


def test_a_long_range_is_sampled_over_all_of_its_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monitored = make_monitored(tmp_path, monkeypatch, rows=0)
    served = Served(
        target="seldon-local",
        namespace="prod",
        deployment="cooler",
        predictor="v3",
        model="cooler",
        version="3",
        digest="d",
    )
    rows, end = normal(MOST_READ + 2000, 1), monitored.world.now.timestamp()
    at = end - np.linspace(29 * DAY_S, 0, len(rows))
    with Store(tmp_path / FILE) as store:
        store.append(
            (
                Prediction(
                    served=served,
                    id=f"n{number}",
                    at=float(moment),
                    path="/invocations",
                    status=200,
                    latency_s=0.001,
                    inputs=rows[number : number + 1],
                    labels=np.array([20]),
                    anomalous=np.array([number % 100 == 0]),
                )
                for number, moment in enumerate(at)
            ),
            SCHEMA,
        )
    course = monitored.chart("/column", "course", last="30d")
    assert len(course["x"]) <= MOST_POINTS and "evenly spread" in course["says"]
    days = {moment[:10] for moment in course["x"]}
    assert len(days) >= 29, "no day is left out"
    odd = monitored.chart("/anomalies", "odd", last="30d")
    known = [y for y in odd["series"][0]["y"] if y is not None]
    assert len(known) >= 57 and 0.2 < float(np.mean(known)) < 3
    assert f"of {MOMENTS:,} predictions" in odd["says"]
    assert len(monitored.table("/anomalies", "flagged", last="30d")["rows"]) == 25


def test_champion_and_challenger_meet_on_the_same_requests(monitored: Monitored) -> None:
    world, ids = monitored.world, monitored.ids
    assert "deploy a challenger" in monitored.get("/comparison")["notes"][0]
    world.sent = 0  # the challenger gets a copy of the first 200 requests, under the same ids
    world.ask("cooler", normal(200, 5, shift=1.5), version=4, right=0.6)
    parts = [
        sight.Part(role=r, name=n, model="cooler", version=v)
        for r, n, v in (("challenger", "v4", "4"), ("champion", "v3", "3"))
    ]
    see(monitored.house, sight.Said(predictors=tuple(parts), target="seldon-local", namespace="prod"))
    world.tell(ids[:50], 20)
    with ActualStore(world.folder / "actuals.db") as actuals, Store(world.folder / FILE) as record:
        actuals.join(record)
    assert [one["role"] for one in monitored.get("")["answering"]] == ["champion", "challenger"]
    agreement = monitored.chart("/comparison", "agreement")
    assert agreement["says"].startswith("100.00% of 200 rows")
    difference = monitored.chart("/comparison", "difference")
    place = next(at for at, share in enumerate(difference["series"][0]["y"]) if share)
    assert difference["x"][place] == pytest.approx(0.6 - 0.99, abs=0.05)
    assert monitored.chart("/comparison", "crossed")["cells"][1] == [0.0, 1.0, 0.0]
    measured = monitored.table("/comparison", "measured")
    assert "50 rows" in measured["says"] and "no difference is sure" in measured["says"]
    swapped = monitored.get("/comparison", predictor="v4 4", other="v3 3")
    assert swapped["notes"][0].startswith("First: v4")


def test_how_it_served_comes_from_the_database_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    promised = read_monitoring({"monitor": {"sla": [{"availability": 0.99}]}})
    monitored = make_monitored(tmp_path, monkeypatch, rows=0, monitoring=promised)
    assert "prediction record" in monitored.get("")["unread"]
    assert "Nobody counted" in monitored.chart("/service", "requests")["missing"]
    subject, end = Subject(environment="prod", deployment="cooler", model="cooler"), monitored.world.now.timestamp()
    for minute in range(10):
        process = Process(started=1.0, requests=120 * minute, errors=6 * minute, buckets=(120 * minute, 0))
        counters = Counters(processes={"a": process}, bounds_s=(0.1,), ready=1, wanted=1)
        with monitored.house.engine.begin() as connection:
            record_counters(connection, subject, {"v3": counters}, end - 60 * (9 - minute))
    requests = monitored.chart("/service", "requests", last="1h")
    assert "1,080 requests, 54 of them failed" in requests["says"]
    assert max(y for y in requests["series"][0]["y"] if y is not None) == pytest.approx(2.0)
    assert monitored.chart("/service", "errors", last="1h")["series"][0]["y"].count(5.0) >= 8
    assert monitored.table("/service", "sla")["rows"][0][2] == "54 of 1,080"
    for part in ("drift", "accuracy", "anomalies", "column", "comparison"):
        assert any("HYDRAULIC_RECORD_FOLDER" in note for note in monitored.get(f"/{part}")["notes"]), part


def test_what_cannot_be_meant_is_refused_with_the_way_out(monitored: Monitored) -> None:
    asked: list[tuple[dict[str, object], int, str]] = [
        ({"since": "yesterday"}, 400, "write a time"),
        ({"since": "\0"}, 400, "NUL"),
        ({"since": "\ud800".encode("utf-8", "surrogatepass")}, 400, "write a time"),
        ({"since": "0001-01-01"}, 400, "before 1970"),
        ({"since": "1970-01-02"}, 400, "366 days"),
        ({"since": "9999-12-31T23:59:59-14:00"}, 400, "not before"),
        ({"since": "0001-01-01T00:00+14:00"}, 400, "before 1970"),
        ({"until": "0001-01-01T00:00+14:00"}, 400, "before 1970"),
        ({"since": "2026-01-02", "until": "2026-01-01"}, 400, "not before"),
        ({"last": "forever"}, 400, "query"),
        ({"size": "9"}, 400, "unknown field"),
        ({"since": "x" * 41}, 400, "length"),
        ({"predictor": "v9 9"}, 404, "v3 3"),
    ]
    for query, status, says in asked:
        assert says in monitored.get("/drift", status, **query)["message"], query
