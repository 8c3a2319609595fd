"""`-C key=value`: what is taken, what is refused, and the deployment that comes of it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlflow_hydraulic.deploy_targets.local.folder import Options
from mlflow_hydraulic.deployment import Deployment, ModelVersion
from mlflow_hydraulic.errors import BadInput
from mlflow_hydraulic.plugin.config import KEYS, deployment_of, read_config
from mlflow_hydraulic.plugin.seldon_local import OWN, _options, namespace_of


def fetch(uri: str) -> ModelVersion:
    return ModelVersion(uri=uri, name="m", version=uri.rsplit("/", 1)[-1], digest="d")


def deploy(uri: str | None, before: Deployment | None = None, **config: str) -> Deployment:
    given_config = read_config({key.replace("__", "."): value for key, value in config.items()}, OWN)
    _options(Options(), given_config)
    return deployment_of("cooler", "default", model_uri=uri, config=given_config, before=before, fetch=fetch)


def shares(deployment: Deployment) -> dict[str, tuple[str, int, int]]:
    return {p.name: (p.model.uri, p.traffic, p.replicas) for p in deployment.all}


def test_one_predictor() -> None:
    assert shares(deploy("models:/m/1", replicas="3")) == {"default": ("models:/m/1", 100, 3)}


def test_arms_and_shadow_and_what_is_not_named_stays() -> None:
    made = deploy("models:/m/1", arm__b="models:/m/2:20", shadow="models:/m/3:50")
    assert shares(made) == {
        "default": ("models:/m/1", 80, 1),
        "b": ("models:/m/2", 20, 1),
        "shadow": ("models:/m/3", 50, 1),
    }
    changed = deploy("models:/m@best", made, arm__b__replicas="2")
    assert shares(changed)["default"] == ("models:/m@best", 80, 1)
    assert shares(changed)["b"] == ("models:/m/2", 20, 2)
    assert shares(deploy(None, changed, arm__b="models:/m/4"))["b"] == ("models:/m/4", 20, 2)
    assert shares(deploy(None, changed, arm__b__traffic="50"))["default"][1] == 50
    assert shares(deploy("models:/m/2", changed, arm__b="none", shadow="none")) == {"default": ("models:/m/2", 100, 1)}


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"replica": "2"}, "known are replicas, traffic, arm.NAME"),
        ({"replicas": "0"}, "mlflow deployments delete"),
        ({"replicas": "two"}, "replicas=two: must be a whole number"),
        ({"replicas": "٣"}, "whole number"),
        ({"traffic": "101"}, "0 to 100"),
        ({"port": "70000"}, "0 to 65535"),
        ({"wait": "maybe"}, "true or false"),
        ({"timeout_s": "nan"}, "more than 0"),
        ({"timeout_s": "soon"}, "number of seconds"),
        ({"namespace": "Dev"}, "small letters"),
        ({"namespace": "a", "environment": "b"}, "same thing"),
        ({"arm.default": "models:/m/1:5"}, "is taken"),
        ({"arm.B": "models:/m/1:5"}, "small letters"),
        ({"arm.b": ":5"}, "MODEL_URI:SHARE"),
        ({"arm.b": "models:/m/1:200"}, "0 to 100"),
        ({"arm.b": "models:/m/1"}, "say its share"),
        ({"arm.b.traffic": "5"}, "no such predictor"),
        ({"arm.b": "models:/m/1:60", "arm.c": "models:/m/1:60"}, "add up to 100"),
        ({"arm.b": "models:/m/1:20", "traffic": "70"}, "default=70, b=20"),
        ({"shadow.traffic": "5"}, "no shadow yet"),
        ({"arm.b.color": "red"}, "no such key"),
    ],
)
def test_what_is_refused_names_the_rule(config: dict[str, str], words: str) -> None:
    with pytest.raises(BadInput, match=words.replace(".", r"\.")):
        deploy("models:/m/1", None, **{key.replace(".", "__"): value for key, value in config.items()})


@given(st.dictionaries(st.sampled_from([*KEYS, "arm.b", "arm.b.replicas", "x"]), st.text(max_size=12), max_size=4))
def test_any_text_is_a_config_or_bad_input(config: dict[str, str]) -> None:
    try:
        made = deployment_of(
            "cooler", "default", model_uri="models:/m/1", config=read_config(config, OWN), before=None, fetch=fetch
        )
    except BadInput:
        return
    assert sum(p.traffic for p in made.predictors) == 100


@pytest.mark.parametrize("uri", ["seldon-local:/Big", "seldon-local://a/b", "seldon-local:/a?b=c"])
def test_a_target_uri_that_is_none_is_refused(uri: str) -> None:
    with pytest.raises(BadInput):
        namespace_of(uri)
