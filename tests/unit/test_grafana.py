"""The Grafana files by themselves: ids, places, sources, variables, links; what the command writes; points."""

from __future__ import annotations

import json
from collections.abc import Sequence
from itertools import combinations
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from mlflow_hydraulic.cli import main
from mlflow_hydraulic.clock import utc_now
from mlflow_hydraulic.errors import BadInput, Unavailable
from mlflow_hydraulic.monitor.findings import Finding, Subject
from mlflow_hydraulic.monitor.grafana.files import Places, tree
from mlflow_hydraulic.monitor.points import Points, finding_line
from mlflow_hydraulic.record.sinks import Influx
from tests.support.grafana import OWN, Json, every_panel, names, queries

ROOT = Path(__file__).resolve().parents[2]
TREE = tree(Places())
DASHBOARDS = {Path(name).stem: json.loads(text) for name, text in TREE.items() if name.endswith(".json")}
SEED = (  # what the tutorial's Grafana shows
    *("Alerts", "Column types", "Drift: deviation", "Scoring latency", "$column over time", "$column: how often"),
    *("$column: how often, over time", "Samples collected"),
)
each = pytest.mark.parametrize("name", sorted(DASHBOARDS))


def levels(dashboard: Json) -> list[list[Json]]:
    """Panels that share a grid: the dashboard's, and those of each row that is collapsed."""
    return [dashboard["panels"], *(one["panels"] for one in dashboard["panels"] if one.get("panels"))]


@each
def test_ids_are_unique_and_panels_do_not_overlap(name: str) -> None:
    ids = [one["id"] for one in every_panel(DASHBOARDS[name])]
    assert len(ids) == len(set(ids)) and len(ids) > 15
    for panels in levels(DASHBOARDS[name]):
        places = [one["gridPos"] for one in panels]
        assert all(place["x"] >= 0 and place["x"] + place["w"] <= 24 for place in places)
        assert not [pair for pair in combinations(places, 2) if overlap(*pair)]


def overlap(one: Json, other: Json) -> bool:
    return all(one[at] < other[at] + other[size] and other[at] < one[at] + one[size] for at, size in ("xw", "yh"))


@each
def test_every_panel_says_what_it_shows_and_asks_a_known_source(name: str) -> None:
    sources = yaml.safe_load(TREE["provisioning/datasources/hydraulic.yml"])["datasources"]
    known = [{"type": one["type"], "uid": one["uid"]} for one in sources]
    titles = []
    for panel in every_panel(DASHBOARDS[name]):
        if panel["type"] == "row":
            continue
        titles.append(panel["title"])
        assert panel["description"].endswith(".") and panel["title"]
        assert panel["targets"] and all(one["datasource"] in known for one in [panel, *panel["targets"]])
    assert len(titles) == len(set(titles))


@each
def test_every_variable_is_defined_and_used(name: str) -> None:
    dashboard = DASHBOARDS[name]
    defined = [one["name"] for one in dashboard["templating"]["list"]]
    used = set().union(*(names(text) for _, _, text in queries(dashboard)))
    assert used - OWN == set(defined)
    for number, variable in enumerate(dashboard["templating"]["list"]):
        query = variable["query"]
        text = query if isinstance(query, str) else query["query"]
        assert names(text) <= set(defined[:number]), "each is asked for with those before it"


def test_links_lead_to_the_other_dashboard_and_to_reports() -> None:
    reports = tree(Places(report_url="https://reports/${deployment}.html"))
    linked = json.loads(reports["dashboards/hydraulic-service.json"])["links"]
    assert [one["title"] for one in linked] == ["Deployment", "Report"]
    uids = {one["uid"] for one in DASHBOARDS.values()}
    for dashboard in DASHBOARDS.values():
        assert [one["url"].split("/")[2].partition("?")[0] in uids for one in dashboard["links"]] == [True]
        assert dashboard["refresh"] == "30s" and "style" not in dashboard


def test_the_panels_of_the_tutorial_are_there() -> None:
    titles = [one["title"] for one in every_panel(DASHBOARDS["hydraulic-deployment"])]
    assert [seed for seed in SEED if not any(title.startswith(seed) for title in titles)] == []
    kinds = {one["type"] for one in every_panel(DASHBOARDS["hydraulic-deployment"])}
    assert {"histogram", "heatmap", "xychart", "table", "state-timeline"} <= kinds


def test_the_copy_for_those_who_have_no_command_is_the_same() -> None:
    folder = ROOT / "examples" / "grafana"
    found = {str(path.relative_to(folder)): path.read_text(encoding="utf-8") for path in folder.rglob("*.*")}
    assert found == TREE, "hydraulic monitor grafana -o examples/grafana --folder /var/lib/grafana/dashboards/hydraulic"


def test_docs_name_every_panel() -> None:
    text = (ROOT / "docs" / "grafana.md").read_text(encoding="utf-8")
    titles = [one["title"] for dashboard in DASHBOARDS.values() for one in every_panel(dashboard)]
    assert [title for title in titles if title not in text] == []


def written(tmp_path: Path, *options: str, **environ: str) -> dict[str, str]:
    done = CliRunner().invoke(main, ["monitor", "grafana", "-o", str(tmp_path), *options], env=environ)
    assert done.exit_code == 0, done.output
    return {str(path.relative_to(tmp_path)): path.read_text(encoding="utf-8") for path in tmp_path.rglob("*.*")}


def test_the_command_writes_what_grafana_reads_and_no_secret(tmp_path: Path) -> None:
    (tmp_path / "auth").mkdir()
    (tmp_path / "auth" / "file").write_text("a secret")
    environ = {
        "HYDRAULIC_INFLUX_URL": "http://influx:8086",
        "HYDRAULIC_INFLUX_DATABASE": "rig: 1",
        "HYDRAULIC_INFLUX_AUTH_FILE": str(tmp_path / "auth" / "file"),
    }
    found = written(tmp_path / "one", "--influx-user", "reader", **environ)
    assert set(found) == set(TREE) and "a secret" not in "".join(found.values())
    influx, prometheus = yaml.safe_load(found["provisioning/datasources/hydraulic.yml"])["datasources"]
    assert (influx["url"], influx["jsonData"]["dbName"], influx["user"]) == ("http://influx:8086", "rig: 1", "reader")
    assert influx["secureJsonData"] == {"password": "$HYDRAULIC_INFLUX_PASSWORD"}
    assert prometheus["url"] == "http://localhost:9090"
    (provider,) = yaml.safe_load(found["provisioning/dashboards/hydraulic.yml"])["providers"]
    assert Path(provider["options"]["path"]) == tmp_path / "one" / "dashboards"
    found = written(tmp_path / "two", HYDRAULIC_INFLUX_ORG="plant")
    (influx, _) = yaml.safe_load(found["provisioning/datasources/hydraulic.yml"])["datasources"]
    assert influx["secureJsonData"] == {"httpHeaderValue1": "Token $HYDRAULIC_INFLUX_TOKEN"}


def test_what_cannot_be_written_or_reached_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    done = CliRunner().invoke(main, ["monitor", "grafana", "-o", str(tmp_path / "file" / "sub")])
    assert done.exit_code == 1 and "cannot be written" in done.output
    with pytest.raises(BadInput, match="influx_url=localhost:8086: must begin with http"):
        Places(influx_url="localhost:8086")


class Away(Influx):
    """InfluxDB that takes nothing, and counts how often it was asked."""

    def __init__(self) -> None:
        super().__init__("http://127.0.0.1:9", "x")
        self.asked = 0

    def write(self, lines: Sequence[str]) -> int:
        assert lines
        self.asked += 1
        raise Unavailable("away")


FINDING = Finding(
    subject=Subject(environment="prod", deployment="cooler", predictor="v3", model="cooler"),
    level="drift",
    rule="one, two=3",
    colour="red",
    cause='a "cause"\n',
    since=1.0,
    until=2.0,
    numbers={"effect": 0.5, "odd": float("nan")},
    features=("a", "b"),
)


def test_a_pass_asks_an_influxdb_that_is_away_once_and_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    away = Away()
    points = Points(away)
    for _ in range(5):
        assert not points.send([FINDING], [], [], {}, utc_now())
    assert away.asked == 1
    assert len([one for one in caplog.records if "only Grafana will miss" in one.message]) == 1


def test_a_finding_is_one_line_without_what_influxdb_refuses() -> None:
    line = finding_line(FINDING, {("prod", "cooler"): "ns"}, 7)
    assert "\n" not in line and "n_odd" not in line and line.endswith(" 7")
    assert ",namespace=ns," in line and "rule=one\\,\\ two\\=3" in line
    assert "colour=3.0" in line and 'features_text="a, b"' in line and 'cause_text="a \\"cause\\" "' in line
