"""The truth of a Seldon feedback in every shape, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlflow_hydraulic.errors import BadInput
from mlflow_hydraulic.record.truths import puid_of, read_truth
from mlflow_hydraulic.schema import Field, Schema

CLASSES = Schema(inputs=(Field(name="x"),), target="cool", labels=(3, 20, 100))
NUMBER = Schema(inputs=(Field(name="x"),), target="wear")
NAMES = ["cool.3", "cool.20", "cool.100"]


def data(**parts: Any) -> dict[str, Any]:
    return {"data": parts}


@pytest.mark.parametrize(
    ("truth", "values"),
    [
        (data(ndarray=[[3], [20]]), [3, 20]),
        (data(ndarray=[3, 20]), [3, 20]),
        (data(ndarray=[["3"], [None]]), ["3", None]),
        (data(ndarray=[[0, 1, 0], [1, 0, 0]]), [20, 3]),
        (data(ndarray=[[1, 0, 0]], names=NAMES[::-1]), [100]),
        (data(ndarray=[0, 0, 1], names=NAMES), [100]),
        (data(ndarray=[[0.0, 1.0, 0.0]], names=["3", "20", "100"]), [20]),
        (data(ndarray=[[None, None, None]]), [None]),
        (data(ndarray=[[7, 20, "x"]], names=["machine", "cool", "note"]), [20]),
        (data(ndarray=[[20]], names=["truth"]), [20]),
        (data(tensor={"shape": [2], "values": [3, 100]}), [3, 100]),
        (data(tensor={"shape": [2, 1], "values": [3, 100]}), [3, 100]),
        (data(tensor={"shape": [2, 3], "values": [0, 0, 1, 1, 0, 0]}), [100, 3]),
        ({"jsonData": 3}, [3]),
        ({"jsonData": [3, "20", None]}, [3, "20", None]),
        ({"jsonData": [[3], [20]]}, [3, 20]),
        ({"jsonData": {"cool": 20}}, [20]),
        ({"jsonData": [{"cool.3": 0, "cool.20": 1, "cool.100": 0}, {"cool": 3}]}, [20, 3]),
        (data(ndarray=[[77]]), [77]),
        ({"meta": {}}, []),
        ({}, []),
    ],
)
def test_each_shape_gives_a_value_a_row(truth: dict[str, Any], values: list[object]) -> None:
    assert read_truth(truth, CLASSES) == values


@pytest.mark.parametrize(
    ("truth", "says"),
    [
        (data(ndarray=[[0, 1]]), "one-hot over the 3 labels"),
        (data(ndarray=[[1, 1, 0]]), "a single 1"),
        (data(ndarray=[[0.2, 0.7, 0.1]]), "a single 1"),
        (data(ndarray=[[3], [{}]]), "row 1"),
        (data(ndarray=[[[3]]]), "row 0"),
        (data(ndarray=[[1, 0]], names=NAMES), "3 names"),
        (data(ndarray=[[1, 0]], names=["cool.3", "cool.9"]), "'cool'"),
        (data(ndarray=[[1, 0]], names=["cool.3", "cool.3"]), "must be"),
        (data(ndarray=[[3]], names="cool"), "list"),
        (data(ndarray=3), "list of rows"),
        (data(names=["cool"]), "neither"),
        (data(tensor={"shape": [3], "values": [1]}), "does not hold"),
        (data(tensor={"shape": [1, 1, 1], "values": [1]}), "shape of"),
        (data(tensor={"shape": [2, 0], "values": []}), "no column"),
        ({"strData": "3"}, "strData"),
        ({"jsonData": "x" * 300}, "256"),
        ({"jsonData": 10**30}, "kept"),
        ({"jsonData": ""}, "1 to 256"),
    ],
)
def test_what_is_no_truth_is_refused_with_its_row(truth: dict[str, Any], says: str) -> None:
    with pytest.raises(BadInput, match=says):
        read_truth(truth, CLASSES)


def test_a_regressions_truth_is_a_number() -> None:
    assert read_truth(data(ndarray=[["1.5"], [2]]), NUMBER) == [1.5, 2.0]
    for wrong in ("much", "nan", "inf"):
        with pytest.raises(BadInput, match=r"row 0.*wear"):
            read_truth(data(ndarray=[[wrong]]), NUMBER)


def test_without_the_model_names_say_the_label() -> None:
    assert read_truth(data(ndarray=[[0, 1]], names=["cool.3", "cool.20"]), None) == ["20"]
    assert read_truth(data(ndarray=[[20]]), None) == [20]
    with pytest.raises(BadInput, match="names"):
        read_truth(data(ndarray=[[0, 1]]), None)


def test_the_response_names_the_prediction_before_the_request() -> None:
    asked, answered = {"meta": {"puid": "asked"}}, {"meta": {"puid": "answered"}}
    assert puid_of({"request": asked, "response": answered}) == "answered"
    assert puid_of({"request": asked, "response": {}}) == "asked"
    assert puid_of({"response": {"meta": {"puid": 7}}}) == puid_of({"response": None}) == ""


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from([*NAMES, "cool", "x"]), inner),
    max_leaves=12,
)


@given(
    truth=st.fixed_dictionaries(
        {},
        optional={
            "jsonData": json_values,
            "data": st.fixed_dictionaries(
                {},
                optional={
                    "ndarray": json_values,
                    "names": json_values,
                    "tensor": st.fixed_dictionaries({"shape": json_values, "values": json_values}),
                },
            ),
        },
    ),
    schema=st.sampled_from([CLASSES, NUMBER, None]),
)
def test_anything_is_read_or_refused(truth: dict[str, Any], schema: Schema | None) -> None:
    try:
        values = read_truth(truth, schema)
    except BadInput:
        return
    assert all(value is None or isinstance(value, (int, float, str)) for value in values)
