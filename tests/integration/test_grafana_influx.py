"""Every query of the dashboard "Deployment" is asked of a real InfluxDB, of what our own code sent there."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from mlflow_hydraulic.monitor.grafana.deployment import deployment_dashboard
from mlflow_hydraulic.monitor.points import Points
from mlflow_hydraulic.record.aggregates import Aggregator, edges_of
from mlflow_hydraulic.record.lines import PREDICTION
from mlflow_hydraulic.record.sinks import Influx, Sink
from mlflow_hydraulic.record.store import FILE, Chunk, Store
from mlflow_hydraulic.record.values import Prediction, Served
from tests.influx import Database, influxdb
from tests.support.grafana import filled, queries
from tests.support.recorded import head
from tests.support.watching import NAMES, SCHEMA, World, normal

DATABASE = "hydraulic"
ONE = {
    "namespace": "prod",
    "deployment": "cooler",
    "predictor": "v3",
    "column": "psa_bar",
    "against": "tsa_temp",
    "timeFilter": "time > now() - 5d",
    "__interval": "10m",
}
ALL = {**ONE, "namespace": ".*", "deployment": "(cooler|pump)", "predictor": ".*"}
ASKED = list(queries(deployment_dashboard()))
SERVED = Served(
    target="seldon-local",
    namespace="prod",
    deployment="cooler",
    predictor="v3",
    model="cooler",
    version="3",
    digest="d",
)


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    """InfluxDB with an afternoon of two deployments: one drifts, some is refused, one minute without rows."""
    folder = tmp_path_factory.mktemp("grafana")
    with influxdb(folder / "influx") as started:
        world, influx = World(folder), Influx(started.url, DATABASE)
        points = Points(influx)
        watch = world.watch(points=points)
        for look in range(4):
            world.tell(world.ask("cooler", normal(200, look, shift=1.5 * (look > 1))), 20)
            world.ask("pump", normal(50, 50 + look))
            watch.look()
            world.forward(hours=1)
        with Store(folder / FILE) as store:
            _refused(store, world)
            _minute(store, world)
            sent = Sink(store, influx).push()
            assert (sent.dropped, sent.waiting) == (0, 0)
        yield started
        points.close()


def _refused(store: Store, world: World) -> None:
    nothing = np.empty((0, len(NAMES)))
    at = world.now.timestamp()
    refused = Prediction(
        served=SERVED, id="r", at=at, path="/", status=400, latency_s=0.001, inputs=nothing, labels=np.empty(0)
    )
    store.append([refused], SCHEMA)


def _minute(store: Store, world: World) -> None:
    """As a scorer that keeps no rows counts."""
    counted = Aggregator(SCHEMA, edges_of(SCHEMA, normal(100, 1)))
    ns = int(world.now.timestamp()) * 10**9
    counted.add(ns, failed=False, latency_s=0.001, cells=normal(100, 2), labels=np.full(100, 20))
    minute = counted.take()
    store.take(Chunk(segment="m", start=0, end=1, head=head("m", served=SERVED, schema=SCHEMA), minutes=[minute]))


@pytest.mark.parametrize("values", [ONE, ALL], ids=["one", "all"])
@pytest.mark.parametrize(("where", "text"), [(where, text) for where, _, text in ASKED], ids=[one[0] for one in ASKED])
def test_every_query_gives_data(database: Database, where: str, text: str, values: dict[str, str]) -> None:
    series = database.query(DATABASE, filled(text, values))
    cells = [cell for one in series for row in one["values"] for cell in row[1:] if cell is not None]
    assert cells, f"{where}: {filled(text, values)}"


def answer(database: Database, where: str, values: dict[str, str] = ONE) -> list[dict[str, object]]:
    """What a panel's query gives, as one dictionary for each row, tags among it."""
    (text,) = [text for name, _, text in ASKED if name == where]
    series = database.query(DATABASE, filled(text, values))
    return [
        {**one.get("tags", {}), **dict(zip(one["columns"], row, strict=True))}
        for one in series
        for row in one["values"]
    ]


def test_panels_say_what_happened(database: Database) -> None:
    assert answer(database, "Samples collected A")[0]["count"] == 800
    levels = {row["level"]: row["max"] for row in answer(database, "Levels A")}
    assert levels["drift"] == 3 and levels["accuracy"] is not None
    pump = {row["level"]: row["max"] for row in answer(database, "Levels A", {**ONE, "deployment": "pump"})}
    assert pump["drift"] != 3
    assert float(str(answer(database, "Open alerts A")[0]["sum"])) >= 1
    alerts = answer(database, "Alerts A")
    assert {"open"} == {row["state"] for row in alerts} and any("tsa_temp" in str(row["cause"]) for row in alerts)
    types = {row["column"]: row for row in answer(database, "Column types A")}
    assert list(types) == sorted(NAMES) and types["psa_bar"]["type"] == "double" and types["flow_lpm"]["position"] == 3
    by_class = [row for row in answer(database, "Predictions by class A") if row["count"]]
    assert {row["class"] for row in by_class} == {"20"}
    assert sum(float(str(row["count"])) for row in answer(database, "Refused and failed requests A")) == 1


def test_variables_offer_what_there_is(database: Database) -> None:
    assert [row["value"] for row in answer(database, "$deployment")] == ["cooler", "pump"]
    assert [row["value"] for row in answer(database, "$column")] == sorted(NAMES)
    assert answer(database, "$column", {**ONE, "deployment": "unknown"}) == []


def test_a_query_for_something_else_gives_nothing(database: Database) -> None:
    """So the tests above can fail."""
    assert not answer(database, "Samples collected A", {**ONE, "deployment": "other"})
    assert database.query(DATABASE, f'SELECT "in_none" FROM "{PREDICTION}"') == []
