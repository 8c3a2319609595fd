"""Files of true values, their command, and how far labels reach."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from mlflow_hydraulic.accuracy.coverage import coverage
from mlflow_hydraulic.accuracy.reading import BATCH, Columns, parse_time, read_actuals
from mlflow_hydraulic.accuracy.store import ActualStore
from mlflow_hydraulic.accuracy.values import Actual
from mlflow_hydraulic.cli import main
from mlflow_hydraulic.errors import BadData, BadInput
from mlflow_hydraulic.record.store import Store
from tests.unit.test_actual_store import SCHEMA, SHADOW, prediction

NOW = 1000.0


def read(path: Path, columns: Columns | None = None) -> list[Actual]:
    return [one for batch in read_actuals(path, columns or Columns(), NOW) for one in batch]


@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet"])
def test_three_kinds_say_the_same(tmp_path: Path, kind: str) -> None:
    frame = pd.DataFrame(
        {"id": ["a", "a", "ü,\n"], "row": [0, 1, 0], "actual": [3, 20, 100], "at": ["2026-11-23T10:00:00Z"] * 3}
    )
    path = tmp_path / f"true.{kind}"
    if kind == "csv":
        frame.to_csv(path, index=False)
    elif kind == "jsonl":
        frame.to_json(path, orient="records", lines=True)
    else:
        frame.to_parquet(path)
    found = read(path)
    assert [(one.id, one.row, str(one.value), one.at) for one in found] == [
        ("a", 0, "3", 1795428000.0),
        ("a", 1, "20", 1795428000.0),
        ("ü,\n", 0, "100", 1795428000.0),
    ]


def test_what_is_not_said_is_row_0_and_now(tmp_path: Path) -> None:
    path = tmp_path / "true.csv"
    path.write_text("request,cooler\nx,3\n")
    (one,) = read(path, Columns(id="request", actual="cooler"))
    assert (one.row, one.at, one.source) == (0, NOW, "file true.csv")


@pytest.mark.parametrize(
    ("text", "place", "named"),
    [
        ("id,actual\n,3\n", "row 2, column id", "no prediction id"),
        ("id,actual\nx,\n", "row 2, column actual", "leave the line out"),
        ("id,actual,row\nx,3,first\n", "row 2, column row", "'first'"),
        ("id,actual,row\nx,3,-1\n", "row 2", "count from 0"),
        ("id,actual,at\nx,3,soon\n", "row 2, column at", "'soon'"),
        ("id,actual,at\nx,3,0001-01-01T00:00:00+14:00\n", "row 2", "no time"),
        ("id,actual\nx,3,4\n", "row 2", "2 cells are expected"),
        ("id,actual\nx\n", "row 2", "2 cells are expected"),
    ],
)
def test_a_bad_cell_is_named(tmp_path: Path, text: str, place: str, named: str) -> None:
    path = tmp_path / "true.csv"
    path.write_text(text)
    with pytest.raises(BadData) as caught:
        read(path)
    assert place in str(caught.value) and named in str(caught.value)


def test_another_file_is_refused_with_a_way_out(tmp_path: Path) -> None:
    (tmp_path / "true.xlsx").write_bytes(b"PK")
    with pytest.raises(BadInput, match=r"end in \.csv"):
        read(tmp_path / "true.xlsx")
    (tmp_path / "true.csv").write_text("name,truth\nx,3\n")
    with pytest.raises(BadInput, match=r"columns are name, truth.*--id-column"):
        read(tmp_path / "true.csv")
    (tmp_path / "true.parquet").write_bytes(b"no parquet at all")
    with pytest.raises(BadData):
        read(tmp_path / "true.parquet")
    (tmp_path / "true.jsonl").write_text('{"id": "x", "actual": 3}\n{"id": "x", "act')
    with pytest.raises(BadData, match="row 2"):
        read(tmp_path / "true.jsonl")


@given(st.binary(max_size=300))
@settings(max_examples=60, deadline=None)
def test_any_bytes_are_values_or_an_error_of_ours(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    for suffix in ("csv", "jsonl", "parquet"):
        path = tmp_path_factory.mktemp("any") / f"true.{suffix}"
        path.write_bytes(b"id,actual\n" + content if suffix == "csv" else content)
        with contextlib.suppress(BadData, BadInput):
            read(path)


def test_a_large_file_comes_in_pieces(tmp_path: Path) -> None:
    path = tmp_path / "true.csv"
    path.write_text("id,actual\n" + "x,3\n" * (BATCH + 1))
    assert [len(batch) for batch in read_actuals(path, Columns(), NOW)] == [BATCH, 1]


def test_times() -> None:
    assert parse_time("1.5") == parse_time("1970-01-01T00:00:01.5Z") == parse_time("1970-01-01 02:00:01.5+02:00") == 1.5
    assert parse_time("1970-01-02") == 86400


def test_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HYDRAULIC_HOME", str(tmp_path))
    path = tmp_path / "true.csv"
    path.write_text("id,actual\na,3\nb,20\n")

    def call(*arguments: str) -> tuple[int, str]:
        done = CliRunner().invoke(main, ["actuals", *arguments])
        return done.exit_code, done.output

    assert call("status")[0] == 4
    code, told = call("load", str(path))
    assert code == 0 and "2 true values: 2 new" in told and "2 wait for a prediction" in told
    with Store(tmp_path / "record" / "record.db") as record:
        record.append([prediction("a", [3], 10.0)], SCHEMA)
    assert json.loads(call("load", str(path), "--json")[1])["repeated"] == 2
    code, told = call("status")
    assert code == 0 and "1 joined" in told and "1 wait" in told
    code, told = call("show", "a")
    assert code == 0 and "file true.csv" in told
    assert call("show", "zzz")[0] == 4


def test_coverage_counts_what_has_a_truth(tmp_path: Path) -> None:
    with Store(tmp_path / "record.db") as record, ActualStore(tmp_path / "actuals.db") as actuals:
        record.append([prediction(f"p{n}", [3, 20], float(n)) for n in range(10)], SCHEMA)
        record.append([prediction("s", [3], 5.0, SHADOW)], SCHEMA)
        record.append([prediction("late", [100], 50.0)], SCHEMA)
        actuals.take([Actual(id=f"p{n}", value=3, at=1.0) for n in range(5)], now=100.0)
        actuals.join(record)
        (rows,) = actuals.labelled(namespace="prod", deployment="cooler", since=0, until=10)
        found = coverage(record, rows, since=0, until=10)
    assert (found.predicted, found.labelled, found.share) == (20, 5, 0.25)
    assert found.by_label == {"3": (10, 5), "20": (10, 0), "100": (0, 0)}
    assert found.delay_s == pytest.approx((98.0, 99.8))
    assert np.isclose(found.share, 0.25)
