"""Models of other projects by MLflow's pyfunc: what their signatures say, what they give, what is refused."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import mlflow.pyfunc
import mlflow.sklearn
import numpy as np
import pandas as pd
import pytest
from mlflow.models import ModelSignature, infer_signature
from mlflow.types import ColSpec, Schema, TensorSpec
from sklearn.compose import make_column_transformer
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder

from mlflow_hydraulic.errors import Failed
from mlflow_hydraulic.plugin.pyfunc_engine import PyfuncEngine, load_pyfunc
from mlflow_hydraulic.scoring.rows import RowReader
from mlflow_hydraulic.scoring.values import ModelCard, RequestProblem

load = partial(load_pyfunc, name="m", version="1", digest="d")
FRAME = pd.DataFrame(
    {"kind": ["gear", "vane"] * 20, "bar": np.linspace(90.0, 160.0, 40), "hot": [True, False, False, True] * 10}
)
WORN = np.where(FRAME["bar"] > 120, "worn", "new")

pytestmark = pytest.mark.filterwarnings(
    "ignore:Saving scikit-learn models in the pickle:UserWarning",  # the models here are made here
    "ignore:Hint. Inferred schema contains integer column:UserWarning",  # MLflow's advice; these columns are whole
    "ignore:(?s).*Add type hints to the `predict` method:UserWarning",  # the model under test has none on purpose
    "ignore:(?s).*An input example was not provided:UserWarning",
)


def saved(estimator: Any, folder: Path, **more: Any) -> tuple[ModelCard, PyfuncEngine]:
    mlflow.sklearn.save_model(estimator, folder, serialization_format="cloudpickle", **more)
    return load(folder)


def test_a_pipeline_over_text_numbers_and_truths_gives_its_own_probabilities(tmp_path: Path) -> None:
    steps = make_column_transformer((OneHotEncoder(), ["kind"]), remainder="passthrough")
    pipeline = make_pipeline(steps, LogisticRegression()).fit(FRAME, WORN)
    card, engine = saved(pipeline, tmp_path / "model", signature=infer_signature(FRAME, WORN), input_example=FRAME[:2])
    assert [field.type for field in card.schema.inputs] == ["string", "double", "boolean"]
    assert card.schema.labels == ("new", "worn") and card.schema.output_names == ("prediction.new", "prediction.worn")
    assert len(card.sample) == 2
    scores = engine.score(RowReader(card.schema).records(FRAME[:3].to_dict(orient="records")))
    assert scores.labels.tolist() == pipeline.predict(FRAME[:3]).tolist()
    assert scores.probabilities is not None
    assert scores.probabilities.tobytes() == pipeline.predict_proba(FRAME[:3]).tobytes()


def test_a_tensor_signature_takes_rows_of_that_width(tmp_path: Path) -> None:
    X = np.arange(12.0).reshape(6, 2)
    model = LinearRegression().fit(X, X.sum(axis=1))
    card, engine = saved(model, tmp_path / "model", signature=infer_signature(X, X[:, 0]))
    assert card.schema.names == ("0", "1") and card.schema.labels == ()
    scores = engine.score(RowReader(card.schema).rows([[1.0, 2.0]]))
    assert scores.probabilities is None and scores.labels.tolist() == pytest.approx([3.0])


def test_without_a_signature_the_columns_that_it_was_fitted_on_stand_in(tmp_path: Path) -> None:
    model = LinearRegression().fit(FRAME[["bar"]], FRAME["bar"] * 2)
    card, engine = saved(model, tmp_path / "model")
    assert card.schema.names == ("bar",)
    assert engine.score(np.array([[50.0]])).labels.tolist() == pytest.approx([100.0])


class Nameless(mlflow.pyfunc.PythonModel):  # type: ignore[misc]  # MLflow ships no types
    def predict(self, context, model_input, params=None):  # type: ignore[no-untyped-def]  # MLflow reads hints as schema
        return pd.DataFrame(model_input).notna().sum(axis=1)


def test_without_any_knowledge_of_its_columns_a_model_is_refused_with_a_way_out(tmp_path: Path) -> None:
    mlflow.pyfunc.save_model(tmp_path / "model", python_model=Nameless())
    with pytest.raises(Failed, match="infer_signature"):
        load(tmp_path / "model")


def test_optional_columns_may_be_absent_and_whole_numbers_may_not_be_null_here_and_there(tmp_path: Path) -> None:
    columns = [
        ColSpec("double", "bar"),
        ColSpec("long", "count", required=False),
        ColSpec("string", "note", required=False),
    ]
    signature = ModelSignature(inputs=Schema(columns))
    mlflow.pyfunc.save_model(tmp_path / "model", python_model=Nameless(), signature=signature)
    card, engine = load(tmp_path / "model")
    reader = RowReader(card.schema)
    assert engine.score(reader.records([{"bar": 1.0}])).labels.tolist() == [1]
    mixed = reader.records([{"bar": 1.0, "count": 2, "note": "a"}, {"bar": 1.0, "count": 3}])
    assert engine.score(mixed).labels.tolist() == [3, 2]
    with pytest.raises(RequestProblem, match="row 1, field 'count': is missing"):
        engine.score(reader.records([{"bar": 1.0, "count": 2}, {"bar": 1.0, "count": None}]))


def test_a_signature_that_no_row_can_spell_is_refused(tmp_path: Path) -> None:
    images = ModelSignature(inputs=Schema([TensorSpec(np.dtype("float32"), (-1, 28, 28, 1))]))
    mlflow.pyfunc.save_model(tmp_path / "model", python_model=Nameless(), signature=images)
    with pytest.raises(Failed, match="28, 28"):
        load(tmp_path / "model")
