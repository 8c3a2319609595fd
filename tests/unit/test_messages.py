"""Rows for Seldon's and KServe's dialects, and predictions out of whatever their servers answer."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlflow_hydraulic.errors import BadInput, Failed
from mlflow_hydraulic.plugin.messages import Table, from_seldon, from_v2, table_of, to_seldon, to_v2

Json = Any  # JSON
ROWS = [[1.5, "a"], [2.5, "b"]]


@pytest.mark.parametrize(
    ("body", "columns"),
    [
        ({"dataframe_split": {"columns": ["x", "y"], "data": ROWS}}, ("x", "y")),
        ({"dataframe_split": {"data": ROWS}}, None),
        ({"dataframe_records": [{"x": 1.5, "y": "a"}, {"y": "b", "x": 2.5}]}, ("x", "y")),
        ({"inputs": {"x": [1.5, 2.5], "y": ["a", "b"]}}, ("x", "y")),
        ({"instances": [{"x": 1.5, "y": "a"}, {"x": 2.5, "y": "b"}]}, ("x", "y")),
        ({"inputs": ROWS}, None),
    ],
)
def test_every_form_of_mlflow_s_body_is_the_same_table(body: Json, columns: tuple[str, ...] | None) -> None:
    assert table_of(body) == Table(columns=columns, rows=ROWS)
    assert table_of({**body, "params": {"predict_method": "predict_proba"}}).method == "predict_proba"


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"inputs": [1, 2]}, "takes a table"),
        ({"inputs": {"x": [1], "y": [1, 2]}}, "one for each row"),
        ({"inputs": [[1, 2], [1]]}, "row 2 has 1 cells and not 2"),
        ({"dataframe_split": {"columns": ["x"], "data": [[1, 2]]}}, "row 1 has 2 cells and not 1"),
        ({"inputs": [[[1]]]}, "list or an object for a cell"),
    ],
)
def test_what_is_no_table_is_refused(body: Json, words: str) -> None:
    with pytest.raises(BadInput, match=words):
        table_of(body)


@pytest.mark.parametrize(
    ("answer", "predictions"),
    [
        ({"data": {"names": ["y"], "ndarray": [[20], [3]]}}, [20, 3]),
        ({"data": {"names": [], "ndarray": [0.5, 0.25]}}, [0.5, 0.25]),
        ({"data": {"names": ["y.3", "y.20"], "ndarray": [[0.5, 0.5]]}}, [{"y.3": 0.5, "y.20": 0.5}]),
        ({"data": {"names": ["t:0"], "ndarray": [[1, 2], [3, 4]]}}, [[1, 2], [3, 4]]),
        ({"data": {"tensor": {"shape": [2, 1], "values": [1.0, 2.0]}}}, [1.0, 2.0]),
        ({"data": {"tensor": {"shape": [2], "values": [1.0, 2.0]}}}, [1.0, 2.0]),
        ({"jsonData": {"predictions": [1]}}, [1]),
        ({"jsonData": 7}, [7]),
    ],
)
def test_a_seldon_answer_becomes_predictions(answer: Json, predictions: Json) -> None:
    assert from_seldon(answer) == predictions


@pytest.mark.parametrize(
    ("outputs", "predictions"),
    [
        ([{"name": "predict", "shape": [2], "data": [20, 3]}], [20, 3]),
        (
            [{"name": "other", "shape": [2], "data": [0, 0]}, {"name": "predict", "shape": [2, 1], "data": [1, 2]}],
            [1, 2],
        ),
        ([{"name": "output-1", "shape": [2, 2], "data": [1, 2, 3, 4]}], [[1, 2], [3, 4]]),
        ([{"name": "output-1", "shape": [2, 2], "data": [[1, 2], [3, 4]]}], [[1, 2], [3, 4]]),
        ([{"name": "output-1", "shape": [2, 0], "data": []}], []),
    ],
)
def test_a_v2_answer_becomes_predictions(outputs: Json, predictions: Json) -> None:
    assert from_v2({"outputs": outputs}) == predictions


def test_an_answer_without_any_is_told_with_what_it_has() -> None:
    with pytest.raises(Failed, match="strData"):
        from_seldon({"strData": "hello"})
    with pytest.raises(Failed, match="error"):
        from_v2({"error": "x"})


def test_v2_columns_have_the_type_of_their_cells() -> None:
    table = Table(columns=("a", "b", "c", "d"), rows=[[1, 1.5, True, "x"], [2, None, False, None]])
    tensors = to_v2(table)["inputs"]
    assert [(one["name"], one["datatype"], one["shape"]) for one in tensors] == [
        ("a", "INT64", [2]),
        ("b", "FP64", [2]),
        ("c", "BOOL", [2]),
        ("d", "BYTES", [2]),
    ]


@given(st.lists(st.lists(st.floats(allow_nan=False), min_size=2, max_size=2), min_size=1, max_size=5))
def test_rows_go_out_as_they_came_in(rows: list[list[float]]) -> None:
    table = table_of({"inputs": rows})
    assert to_seldon(table)["data"]["ndarray"] == rows
    [tensor] = to_v2(table)["inputs"]
    assert tensor["shape"] == [len(rows), 2]
    assert from_v2({"outputs": [tensor]}) == rows
