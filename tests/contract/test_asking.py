"""`predict` gives the same predictions whatever dialect is spoken on the way: the client's words, our scorer."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pandas as pd
import pytest

from mlflow_hydraulic.errors import BadInput
from mlflow_hydraulic.plugin import scoring_client
from tests.scorers import MIXED, MIXED_ROWS, NAMES, Client, forest_scorer, good_rows, mixed_scorer

Json = dict[str, Any]  # Any: the value is JSON
ROWS = good_rows(5)
FRAME = pd.DataFrame(ROWS, columns=list(NAMES))
PATHS = {"mlflow": "/invocations", "seldon": "/predict", "v2": "/v2/models/{name}/infer"}


@pytest.fixture(scope="module")
def scorer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    client = forest_scorer(tmp_path_factory.mktemp("scorer"), "onnxruntime")
    yield client
    client.close()


@pytest.fixture(scope="module")
def mixed() -> Iterator[Client]:
    client = mixed_scorer()
    yield client
    client.close()


def ask(scorer: Client, dialect: str, inputs: object) -> Any:  # Any: JSON
    def post(path: str, body: Json) -> Json:
        reply = scorer.post(path.format(name=scorer.card.name), body)
        return scoring_client.answered(path, reply.status, reply.body.decode())

    return scoring_client.predict(post, inputs, path=PATHS[dialect], dialect=dialect)["predictions"]


@pytest.mark.parametrize("dialect", ["seldon", "v2"])
@pytest.mark.parametrize(
    "inputs",
    [
        FRAME,
        FRAME[list(reversed(NAMES))],
        FRAME.to_numpy(),
        FRAME.to_dict("records"),
        FRAME.to_dict("list"),
        {"dataframe_split": json.loads(FRAME.to_json(orient="split")), "params": {"predict_method": "predict_proba"}},
    ],
    ids=["frame", "other order", "array", "records", "columns", "body"],
)
def test_predictions_are_those_of_mlflow_s_dialect(scorer: Client, dialect: str, inputs: object) -> None:
    expected = ask(scorer, "mlflow", inputs)
    found = ask(scorer, dialect, inputs)
    if dialect == "v2" and isinstance(expected[0], dict):  # V2 names outputs, not their columns
        expected = [list(row.values()) for row in expected]
    assert found == expected


@pytest.mark.parametrize("dialect", ["seldon", "v2"])
def test_columns_of_every_type_arrive(mixed: Client, dialect: str) -> None:
    frame = pd.DataFrame(MIXED_ROWS, columns=list(MIXED.names))
    assert ask(mixed, dialect, frame) == ask(mixed, "mlflow", frame)


@pytest.mark.parametrize("dialect", PATHS)
def test_a_refusal_keeps_the_scorer_s_own_words(scorer: Client, dialect: str) -> None:
    with pytest.raises(BadInput, match="PS1"):
        ask(scorer, dialect, FRAME.drop(columns="PS1"))
