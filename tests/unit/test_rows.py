"""The reader of rows: what it accepts, what it refuses, and that its quick and its careful way agree to the bit."""

from __future__ import annotations

import math
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlflow_hydraulic.schema import Field, FieldType, Schema
from mlflow_hydraulic.scoring.rows import RowReader
from mlflow_hydraulic.scoring.values import RequestProblem

NAMES = ["psa_bar", "tsa_temp", "vs_vib"]
READER = RowReader(Schema(inputs=tuple(Field(name=name) for name in NAMES), target="y", labels=(0, 1)))
finite = st.floats(allow_nan=False, allow_infinity=False)
tables = st.lists(st.lists(finite, min_size=3, max_size=3), min_size=1, max_size=5)


def one(type_: FieldType, *, required: bool = True) -> RowReader:
    return RowReader(Schema(inputs=(Field(name="x", type=type_, required=required),), target="y"))


def problem_of(call: Any) -> RequestProblem:
    with pytest.raises(RequestProblem) as caught:
        call()
    return caught.value


@given(rows=tables, order=st.permutations(NAMES))
def test_quick_and_careful_ways_agree_to_the_bit(rows: list[list[float]], order: list[str]) -> None:
    careful = READER.rows(rows, order)
    quick = READER.double_rows(rows, order)
    assert quick is not None and quick.tobytes() == careful.tobytes()
    written = [[repr(value) for value in row] for row in rows]
    text = READER.text_rows(written, order)
    assert READER.rows(written, order, text=True).tobytes() == careful.tobytes()
    # the quick way may give up where a sum overflows; it must never give other numbers
    assert text is None or text.tobytes() == careful.tobytes()


@given(rows=tables)
def test_records_and_columns_give_the_same_cells(rows: list[list[float]]) -> None:
    expected = READER.rows(rows).tobytes()
    records = [dict(zip(reversed(NAMES), reversed(row), strict=True)) for row in rows]
    columns = {name: [row[index] for row in rows] for index, name in enumerate(NAMES)}
    assert READER.records(records).tobytes() == expected
    assert READER.columns(columns).tobytes() == expected


@given(rows=tables)
def test_json_round_trip_keeps_every_bit(rows: list[list[float]]) -> None:
    decoded = msgspec.json.decode(msgspec.json.encode(rows), type=list[list[float]])
    quick = READER.double_rows(decoded)
    assert quick is not None and (quick == np.array(rows)).all()


@pytest.mark.parametrize(
    "written", ["NaN", "nan", "Infinity", "-inf", "1e999", "1_0", "\u0661", "0x1", "", " ", "warm", "1,5"]
)
def test_text_that_is_no_finite_number_is_refused_by_both_ways(written: str) -> None:
    rows = [["1", "2", "3"], ["1", written, "3"]]
    assert READER.text_rows(rows, NAMES) is None
    problem = problem_of(lambda: READER.rows(rows, NAMES, text=True))
    assert (problem.status, problem.row, problem.field) == (400, 1, "tsa_temp")


@pytest.mark.parametrize("value", [math.nan, math.inf, None, True, "1", [1], {}, 10**400])
def test_a_wrong_cell_names_row_and_field(value: object) -> None:
    problem = problem_of(lambda: READER.rows([[1, 2, 3], [1, value, 3]]))
    assert (problem.status, problem.row, problem.field) == (400, 1, "tsa_temp")


def test_superset_in_any_order_only_where_it_is_allowed() -> None:
    names = ["vs_vib", "note", "psa_bar", "tsa_temp"]
    rows = [["3", "anything", "1", "2"]]
    quick = READER.text_rows(rows, names)
    assert quick is not None and quick.tolist() == [[1.0, 2.0, 3.0]]
    assert READER.rows(rows, names, text=True, superset=True).tolist() == [[1.0, 2.0, 3.0]]
    assert '"note"' in str(problem_of(lambda: READER.rows(rows, names, text=True)))


def test_missing_doubled_and_unnamed_columns_are_named() -> None:
    assert '"vs_vib"' in str(problem_of(lambda: READER.rows([[1, 2]], NAMES[:2])))
    assert '"psa_bar"' in str(problem_of(lambda: READER.rows([[1, 2, 3, 4]], ["psa_bar", *NAMES])))
    assert "column name 1" in str(problem_of(lambda: READER.rows([[1, 2, 3]], ["psa_bar", 7, "vs_vib"])))


def test_ragged_rows_are_left_to_the_careful_way_which_names_the_row() -> None:
    rows = [[1.0, 2.0, 3.0], [1.0, 2.0]]
    assert READER.double_rows(rows) is None
    assert problem_of(lambda: READER.rows(rows)).row == 1


def test_whole_numbers_keep_their_bounds() -> None:
    assert one("long").rows([[2**53 - 1], [-1.0]]).tolist() == [[2.0**53 - 1], [-1.0]]
    for kind, value in (("long", 2**53), ("integer", 2**31), ("long", 0.5), ("float", 1e39)):
        problem = problem_of(lambda kind=kind, value=value: one(kind).rows([[value]]))
        assert (problem.row, problem.field) == (0, "x")


def test_an_optional_cell_may_be_missing_and_a_required_one_may_not() -> None:
    assert math.isnan(one("double", required=False).records([{}])[0, 0])
    assert one("string", required=False).rows([[None]])[0, 0] is None
    assert problem_of(lambda: one("string").rows([[None]])).field == "x"
    assert problem_of(lambda: one("double").records([{}])).row == 0
