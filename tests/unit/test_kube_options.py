"""Options on Kubernetes: from -C and TOML, checked, written down and read again; nothing secret among them."""

from __future__ import annotations

import json
from dataclasses import fields
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlflow_hydraulic.configuration import read_configuration
from mlflow_hydraulic.deploy_targets.kubernetes import option_codec, pod
from mlflow_hydraulic.deploy_targets.kubernetes.option_codec import (
    option_help,
    options_from_config,
    options_from_table,
    options_to_json,
    options_to_table,
)
from mlflow_hydraulic.deploy_targets.kubernetes.option_kinds import Toleration
from mlflow_hydraulic.deploy_targets.kubernetes.options import KubernetesOptions
from mlflow_hydraulic.errors import BadInput
from tests.support import kube_values as values

DEFAULTS = KubernetesOptions()


def test_config_and_table_say_the_same() -> None:
    by_config = options_from_config(
        {
            "cpu_request": "0.5",
            "autoscale_max": "4",
            "orchestrator": "FALSE",
            "image_pull_secrets": "a, b",
            "env.LEVEL": "INFO",
            "secret_env.KEY": "s3/key",
            "tolerations": "gpu=yes:NoSchedule,spot",
            "annotations.example.com/team": "rig",
        }
    )
    by_table = options_from_table(
        "environments.prod.kubernetes",
        {
            "cpu_request": 0.5,
            "autoscale_max": 4,
            "orchestrator": False,
            "image_pull_secrets": ["a", "b"],
            "env": {"LEVEL": "INFO"},
            "secret_env": {"KEY": "s3/key"},
            "tolerations": ["gpu=yes:NoSchedule", "spot"],
            "annotations": {"example.com/team": "rig"},
        },
    )
    assert by_config == by_table
    assert by_table.tolerations == (Toleration("gpu", "yes", "NoSchedule"), Toleration("spot"))


def test_an_update_keeps_what_it_does_not_name() -> None:
    before = options_from_config({"env.A": "1", "env.B": "2", "memory_limit": "2Gi"})
    after = options_from_config({"env.B": "", "env.C": "3", "cpu_limit": "1"}, before)
    assert (dict(after.env), after.memory_limit, after.cpu_limit) == ({"A": "1", "C": "3"}, "2Gi", "1")
    assert options_from_config({"env": "none", "memory_limit": ""}, after).env == {}


@given(values.options)
def test_options_are_written_down_and_read_again(options: KubernetesOptions) -> None:
    assert options_from_table("x", json.loads(options_to_json(options))) == options
    assert options_from_config({}, options) == options


def test_defaults_are_not_written_down() -> None:
    assert options_to_table(DEFAULTS) == {}


@given(st.dictionaries(st.sampled_from([*option_codec.FIELDS, "env.A", "labels.b", "x"]), st.text(max_size=30)))
def test_any_config_is_read_or_refused_in_words(config: dict[str, str]) -> None:
    try:
        options_from_config(config)
    except BadInput as error:
        assert str(error).startswith("-C ")


junk = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


@given(st.dictionaries(st.sampled_from([*option_codec.FIELDS, "x"]), junk))
def test_any_table_is_read_or_refused_in_words(table: dict[str, Any]) -> None:  # Any: parsed TOML
    try:
        options_from_table("environments.prod.kubernetes", table)
    except BadInput as error:
        assert str(error).startswith("environments.prod.kubernetes")


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"cpus": "1"}, r"-C cpus=1: there is no such key; known are shape, server, image, "),
        ({"shape": "helm"}, r"-C shape='helm': must be one of seldon, kserve, plain"),
        ({"cpu_request": "lots"}, r"-C cpu_request='lots': must be a Kubernetes quantity such as"),
        ({"memory_limit": "1GB"}, "must be a Kubernetes quantity"),
        ({"autoscale_max": "-1"}, "must be a whole number from 0 to 1000"),
        ({"autoscale_max": "٣"}, "must be a whole number from 0 to 1000"),
        ({"autoscale_max": "2", "autoscale_min": "3"}, r"autoscale_max=2: must be autoscale_min=3 or more, or 0"),
        ({"autoscale_max": "2", "cpu_request": ""}, "needs cpu_request, of which autoscale_cpu is a share"),
        ({"orchestrator": "maybe"}, "must be true or false"),
        ({"orchestrator": "false", "logger_url": "http://b"}, "leave orchestrator=true"),
        ({"max_unavailable": "0"}, "no node could ever be drained"),
        ({"max_unavailable": "200%"}, 'pods as "1" or a share as "25%"'),
        ({"image": "My Image"}, "must be an image such as"),
        ({"image": ""}, "must be an image such as"),
        ({"server": "image"}, "say which image"),
        ({"server": "mlserver"}, "MLServer speaks v2: give protocol=v2"),
        ({"server": "prepackaged-mlflow", "protocol": "v2"}, "with v2 Seldon runs MLServer: server=mlserver"),
        ({"args": "run"}, "only server=image takes arguments"),
        ({"env": "A=1"}, r"write -C env.KEY=VALUE for each, or env=none for none"),
        ({"env.1A": "x"}, "the key must be the name of a variable"),
        ({"env.HYDRAULIC_MODEL_URI": "x"}, "is set by the deployment itself"),
        ({"env.A": "x", "secret_env.A": "s/k"}, "is in secret_env too: give it once"),
        ({"secret_env.A": "no-key"}, "must be SECRET/KEY"),
        ({"labels.version": "2"}, "is set by the deployment itself; use another key"),
        ({"labels.app.kubernetes.io/name": "2"}, "is set by the deployment itself"),
        ({"annotations.seldon.io/no-engine": "true"}, "is set by the deployment itself"),
        ({"labels.team": "a b"}, "at most 63 letters"),
        ({"tolerations": "gpu:Never"}, "must be one of NoSchedule, PreferNoSchedule, NoExecute"),
        ({"tolerations": "=x"}, "write KEY:EFFECT or KEY=VALUE:EFFECT"),
        ({"logger_url": "ftp://b"}, "must begin with http:// or https://"),
        ({"service_account": "Runner"}, "small letters, digits, hyphens and dots"),
        ({"ready_path": "up"}, "an absolute path"),
        ({"timeout_ms": "9" * 30}, "must be a whole number"),
        ({"env.A": "two\nlines"}, "must be one line of text"),
    ],
)
def test_what_breaks_a_rule_is_refused_with_the_way_out(config: dict[str, str], words: str) -> None:
    with pytest.raises(BadInput, match=words):
        options_from_config(config)


@pytest.mark.parametrize(
    "config",
    [
        {"env.MLFLOW_TRACKING_PASSWORD": "hunter2"},
        {"env.AWS_SECRET_ACCESS_KEY": "hunter2"},
        {"env.token": "hunter2"},
        {"env.BROKER": "amqp://user:hunter2@host"},
        {"env.PROXY": "http://hunter2@host"},
        {"tracking_uri": "https://user:hunter2@mlflow"},
        {"logger_url": "http://user:hunter2@broker"},
        {"artifact_root": "s3://id:hunter2@bucket"},
    ],
)
def test_secrets_are_named_never_given(config: dict[str, str]) -> None:
    with pytest.raises(BadInput, match="secret") as error:
        options_from_config(config)
    assert "hunter2" not in str(error.value)


def test_what_a_refused_option_says_is_short() -> None:
    with pytest.raises(BadInput) as error:
        options_from_config({"cpu_request": "9" * 100_000})
    assert len(str(error.value)) < 400


def test_help_tells_every_option_and_its_default() -> None:
    told = option_help()
    assert len(told) == len(fields(KubernetesOptions))
    assert told["orchestrator"].endswith("(true)")
    assert told["cpu_request"].endswith("(250m)")
    assert "env.KEY" in told
    assert all(option_codec.takes(key.replace("KEY", "x")) for key in told)
    assert not option_codec.takes("replicas")


def test_what_a_pod_is_told_is_reserved() -> None:
    told = {
        value
        for name, value in vars(pod).items()
        if name.isupper() and str(value).startswith(("HYDRAULIC_", "MLFLOW_"))
    }
    assert told == pod.RESERVED


def test_an_environments_table_reaches_the_options() -> None:
    tables = {"environments": {"prod": {"target": "seldon", "kubernetes": {"cpu_limit": 2, "env": {"LEVEL": "INFO"}}}}}
    prod = read_configuration(tables).environment("prod")
    options = options_from_table("environments.prod.kubernetes", prod.kubernetes)
    assert (options.cpu_limit, dict(options.env)) == ("2", {"LEVEL": "INFO"})
    assert read_configuration({}).environment("dev").kubernetes == {}
    assert hash(prod)
    with pytest.raises(BadInput, match=r"environments\.prod\.kubernetes='x': must be a table"):
        read_configuration({"environments": {"prod": {"kubernetes": "x"}}})
