"""Deployments survive the way to JSON and back, and nothing else is taken for one."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlflow_hydraulic.deploy_targets.codec import deployment_to_dict, from_json, to_json
from mlflow_hydraulic.deployment import Deployment, ModelVersion, Predictor
from mlflow_hydraulic.errors import BadInput

names = st.from_regex(r"[a-z0-9]([-a-z0-9]{0,10}[a-z0-9])?", fullmatch=True)
text = st.text(max_size=20)
models = st.builds(ModelVersion, uri=text, name=text, version=text, digest=text)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | text,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(text, inner, max_size=3),
    max_leaves=8,
)


@st.composite
def deployments(draw: st.DrawFn) -> Deployment:
    chosen = draw(st.lists(names, min_size=1, max_size=4, unique=True))
    cuts = sorted(draw(st.lists(st.integers(0, 100), min_size=len(chosen) - 1, max_size=len(chosen) - 1)))
    shares = [b - a for a, b in zip([0, *cuts], [*cuts, 100], strict=True)]
    predictors = tuple(
        Predictor(name=name, model=draw(models), traffic=share, replicas=draw(st.integers(1, 9)))
        for name, share in zip(chosen, shares, strict=True)
    )
    shadow = Predictor(name="sh-adow-0", model=draw(models), traffic=draw(st.integers(0, 100)))
    return Deployment(
        name=draw(names),
        namespace=draw(names),
        predictors=predictors,
        shadow=shadow if draw(st.booleans()) and "sh-adow-0" not in chosen else None,
        labels=draw(st.dictionaries(text, text, max_size=3)),
    )


@given(deployments())
def test_there_and_back(deployment: Deployment) -> None:
    assert from_json(to_json(deployment)) == deployment


@given(json_values)
def test_any_other_json_is_bad_input(value: Any) -> None:
    with pytest.raises(BadInput):
        from_json(json.dumps(value))


@given(st.binary(max_size=50))
def test_any_bytes_are_bad_input(value: bytes) -> None:
    with pytest.raises(BadInput):
        from_json(value)


@given(deployments(), st.data())
def test_a_damaged_deployment_names_the_key(deployment: Deployment, data: st.DataObject) -> None:
    value = deployment_to_dict(deployment)
    key = data.draw(st.sampled_from([k for k in value if k not in ("shadow", "labels", "format")]))
    if data.draw(st.booleans()):
        del value[key]
    else:
        value[key] = None
    with pytest.raises(BadInput, match=key):
        from_json(json.dumps(value))


def test_unknown_keys_formats_and_depths_are_refused() -> None:
    model = ModelVersion(uri="models:/m/1", name="m", version="1", digest="d")
    value = deployment_to_dict(Deployment(name="a", namespace="b", predictors=(Predictor(name="p", model=model),)))
    with pytest.raises(BadInput, match="extra"):
        from_json(json.dumps({**value, "extra": 1}))
    with pytest.raises(BadInput, match="format 2"):
        from_json(json.dumps({**value, "format": 2}))
    with pytest.raises(BadInput, match="predictor"):
        from_json(json.dumps({**value, "predictors": [{**value["predictors"][0], "replicas": True}]}))
    with pytest.raises(BadInput):
        from_json("[" * 100_000)
