"""Single rows unlike the training data, and what a scorer says of them."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from numpy.typing import NDArray

from mlflow_hydraulic.drift.reference import make_reference
from mlflow_hydraulic.drift.rows import RowCheck
from mlflow_hydraulic.schema import Field, Schema
from mlflow_hydraulic.scoring.asgi import ScorerApp
from mlflow_hydraulic.scoring.dialects.mlflow import MlflowDialect
from mlflow_hydraulic.scoring.flagging import FlaggingEngine
from mlflow_hydraulic.scoring.values import Cells, ModelCard, Scores
from mlflow_hydraulic.settings import Settings
from tests.scorers import Client

K = 5
NAMES = tuple(f"f{column}" for column in range(K))
CARD = ModelCard(
    name="m",
    version="1",
    digest="d",
    engine="test",
    schema=Schema(inputs=tuple(Field(name=name) for name in NAMES), target="y"),
)


def training(n: int = 1000) -> NDArray[np.float64]:
    """Two kinds of rows; within each, input 1 follows input 0."""
    random = np.random.default_rng(0)
    rows = random.normal(size=(n, K)) + np.where(np.arange(n) < n // 2, 0, 20)[:, None]
    rows[:, 1] = rows[:, 0] + 0.05 * random.normal(size=n)
    return rows


CHECK = RowCheck(make_reference(training(), NAMES))


def test_rows_like_the_training_rows_pass_and_their_rate_is_told() -> None:
    again = training(1000) + 0.01
    assert CHECK.flags(again).mean() <= 0.01
    assert CHECK.rate <= 0.005


@pytest.mark.parametrize(
    ("row", "why"),
    [
        ([0, 0, 0, 0, 40], "out of range"),
        ([0, 8.0, 0, 0, 0], "each cell is in range, but input 1 does not follow input 0"),
        ([10, 10, 10, 10, 10], "in range, between the two kinds"),
        ([np.nan, 0, 0, 0, 0], "missing, which training never was"),
        ([np.inf, 0, 0, 0, 0], "infinite"),
        ([1e308, -1e308, 0, 0, 0], "huge"),
    ],
)
def test_odd_rows_are_flagged(row: list[float], why: str) -> None:
    cells = np.array([[0.0] * K, row, [20.0] * K])
    assert CHECK.flags(cells).tolist() == [False, True, False], why


def test_no_rows_and_one_row_have_their_shape() -> None:
    assert CHECK.flags(np.empty((0, K))).shape == (0,)
    assert CHECK.flags(np.zeros((1, K))).tolist() == [False]


def test_a_cell_that_training_lacked_too_may_be_missing() -> None:
    rows = training()
    rows[::7, 2] = np.nan
    check = RowCheck(make_reference(rows, NAMES))
    found = check.flags(np.array([[0, 0, np.nan, 0, 0], [np.nan, 0, 0, 0, 0], [0, 0, np.nan, 0, 40]]))
    assert found.tolist() == [False, True, True]


def test_a_value_that_was_never_seen_is_flagged_in_an_input_of_few_whole_numbers() -> None:
    rows = training()
    rows[:, 4] = np.repeat([3, 20, 100, 3], 250)
    check = RowCheck(make_reference(rows, NAMES))
    found = check.flags(np.array([[0, 0, 0, 0, 3], [0, 0, 0, 0, 20], [0, 0, 0, 0, 50]], dtype=np.float64))
    assert found.tolist() == [False, False, True]


@pytest.mark.parametrize("k", [1, 2])
def test_one_input_and_a_constant_one(k: int) -> None:
    rows = np.full((40, k), 7.0)
    rows[:, 0] = np.arange(40)
    check = RowCheck(make_reference(rows, NAMES[:k]))
    assert not check.flags(rows).any()
    assert check.flags(rows + 60.0).all()


class Adder:
    loop_rows = 1000
    shares_calls = True

    def score(self, cells: Cells) -> Scores:
        return Scores(cells.sum(axis=1), None)


@pytest.fixture
def client() -> Iterator[Client]:
    made = Client(ScorerApp(CARD, FlaggingEngine(Adder(), CHECK), [MlflowDialect(CARD)], Settings()), CARD)
    yield made
    made.close()


def body(*rows: list[float]) -> dict[str, object]:
    return {"dataframe_split": {"columns": NAMES, "data": rows}}


def test_an_answer_names_its_anomalous_rows_and_the_metrics_count_them(client: Client) -> None:
    normal, odd = [0.0] * K, [0.0, 0.0, 0.0, 0.0, 40.0]
    answer = client.post("/invocations", body(normal, odd, normal, odd))
    assert (answer.status, answer.headers["x-hydraulic-anomalous"]) == (200, "1, 3")
    assert "x-hydraulic-anomalous" not in client.post("/invocations", body(normal)).headers
    assert b"hydraulic_anomalous_rows_total 2\n" in client.ask("GET", "/metrics").body


def test_requests_that_share_a_call_get_their_own_flags(client: Client) -> None:
    normal, odd = [0.0] * K, [0.0, 0.0, 0.0, 0.0, 40.0]
    asked = [body(normal), body(normal, odd), body(odd), body(normal)]
    answers = client.post_at_once([("/invocations", each) for each in asked])
    assert [answer.headers.get("x-hydraulic-anomalous") for answer in answers] == [None, "1", "0", None]


def test_the_header_names_the_first_rows_of_many(client: Client) -> None:
    said = client.post("/invocations", body(*[[0.0, 0.0, 0.0, 0.0, 40.0]] * 150)).headers["x-hydraulic-anomalous"]
    assert said.endswith("98, 99, ...")
