"""Line protocol: whatever names and values hold, a line is one point, and no two rows are the same point."""

from __future__ import annotations

import math
import re
from dataclasses import replace

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from mlflow_hydraulic.record.entries import Minute
from mlflow_hydraulic.record.lines import minute_line, prediction_lines
from mlflow_hydraulic.record.values import Prediction
from mlflow_hydraulic.record.windows import Source
from mlflow_hydraulic.schema import Field, Schema
from tests.scorers import MIXED, MIXED_ROWS
from tests.support.recorded import SCHEMA, SERVED, START_NS

KEY = r"(?:\\[,= ]|[^,= \\])+"
VALUE = r'(?:"(?:\\["\\]|[^"\\])*"|-?[0-9.e+-]+|True|False)'
LINE = re.compile(rf"{KEY}(?:,{KEY}={KEY})* {KEY}={VALUE}(?:,{KEY}={VALUE})* \d+", re.DOTALL)


def source(schema: Schema = SCHEMA, replica: str = "s1", **served: str) -> Source:
    return Source(source=1, served=replace(SERVED, **served), replica=replica, schema=schema, dictionary=b"", bins=())


def prediction(cells: list[list[object]], **more: object) -> Prediction:
    values = {
        "served": SERVED,
        "id": "p",
        "at": 0.0,
        "path": "/",
        "status": 200,
        "latency_s": 0.5,
        "inputs": np.array(cells, dtype=object),
        "labels": np.full(len(cells), 20),
        **more,
    }
    return Prediction(**values)  # type: ignore[arg-type]


def lines(one: Prediction, **of: object) -> list[str]:
    return list(prediction_lines(source(**of), START_NS, one))  # type: ignore[arg-type]


@given(st.text(max_size=20), st.text(max_size=20), st.text(max_size=20), st.floats(), st.text(max_size=20))
def test_any_text_and_number_make_one_line(name: str, version: str, replica: str, number: float, text: str) -> None:
    schema = Schema(inputs=(Field(name=name or "x"), Field(name="t", type="string")), target="y")
    one = prediction([[number, text]], caller=text, labels=np.array([number]))
    (line,) = prediction_lines(source(schema, replica, version=version), START_NS, one)
    assert LINE.fullmatch(line), line


def test_rows_are_points_of_their_own() -> None:
    written = lines(prediction([[1.0, 2.0]] * 3))
    assert [line.rsplit(" ", 1)[1] for line in written] == [str(START_NS + row) for row in range(3)]
    tags = {line.split(" ", 1)[0] for line in written}
    assert tags == {
        "hydraulic_prediction,target=seldon-local,namespace=prod,deployment=cooler,predictor=default,"
        "model=hydraulic-cooler,version=7,replica=s1,class=20"
    }
    assert lines(prediction([[1.0, 2.0]]), replica="s2")[0].split(" ")[0] not in tags


def test_what_influxdb_refuses_is_left_out() -> None:
    (line,) = lines(prediction([[math.nan, math.inf]]))
    assert "in_" not in line
    assert "label=20.0" in line and 'label_text="20"' in line


def test_a_fields_type_follows_from_its_name() -> None:
    (line, _) = lines(prediction(MIXED_ROWS), schema=MIXED)
    assert 'in_string_text="abc"' in line and "in_string=" not in line
    assert "in_boolean=1.0" in line and "in_long=1099511627776.0" in line and "in_maybe" not in line


def test_a_refused_request_is_a_point_too() -> None:
    (line,) = lines(prediction([], status=400, inputs=np.empty((0, 2)), labels=np.empty(0)))
    assert "status=400.0" in line and "label" not in line


def test_a_minute_has_means_and_deviations() -> None:
    minute = Minute(
        since_ns=START_NS,
        until_ns=START_NS + 5,
        answers=3,
        failures=1,
        rows=4,
        count=[4, 0],
        mean=[100.0, 0.0],
        m2=[16.0, 0.0],
        bins=[],
        missing=[0, 4],
        labels=[(20, 4)],
        latency=[],
    )
    line = minute_line(source(), minute)
    assert "mean_PS1=100.0,sd_PS1=2.0" in line and "mean_TS1" not in line and "label_20=4.0" in line
    assert line.endswith(str(START_NS + 5))
