"""The chart's values: what is refused, what hydraulic.toml becomes of them, and that the commands that run are ours."""

from __future__ import annotations

import json
import re
from dataclasses import fields
from pathlib import Path
from typing import Any

import click
import pytest
import yaml

pytest.importorskip("helm_python", reason="Helm's library is not installed: pip install mlflow-hydraulic[chart]")

from mlflow_hydraulic.cli import COMMANDS, main
from mlflow_hydraulic.configuration import Configuration, read_configuration
from mlflow_hydraulic.deploy_targets.environment import KUBERNETES
from mlflow_hydraulic.deploy_targets.kubernetes.option_codec import options_from_table
from mlflow_hydraulic.deploy_targets.kubernetes.options import KubernetesOptions
from mlflow_hydraulic.deploy_targets.kubernetes.pod import GRPC_PORT, HTTP_PORT
from mlflow_hydraulic.settings import read_tables
from mlflow_hydraulic.version import VERSION
from tests.support.helm import CHART, INSTALL, ChartError, objects, rendered

Json = dict[str, Any]
BUILT_LATER = {"monitor"}  # commands that another part of the project adds


def configured(values: Json, folder: Path) -> Configuration:
    """What the controller reads of the ConfigMap."""
    (texts,) = rendered(values)
    (config,) = [one for one in objects(texts) if one["kind"] == "ConfigMap"]
    path = folder / "hydraulic.toml"
    path.write_text(config["data"]["hydraulic.toml"], encoding="utf-8")
    return read_configuration(read_tables({"HYDRAULIC_CONFIG": str(path)}))


def options(configuration: Configuration, name: str) -> KubernetesOptions:
    return options_from_table(name, configuration.environment(name).kubernetes)


@pytest.mark.parametrize(
    ("values", "field"),
    [
        ({"image": {"tag": "latest"}}, "tag"),
        ({"image": {"repository": "a:1"}}, "repository"),
        ({"image": {"digest": "sha256:1"}}, "digest"),
        ({"databse": {}}, "databse"),
        ({"database": {"secretName": "postgresql://u:p@db/mlflow"}}, "secretName"),
        ({"controller": {"dryRun": "yes"}}, "dryRun"),
        ({"controller": {"replicas": 0}}, "replicas"),
        ({"server": {"artifactsDestination": "s3://key:word@bucket/a"}}, "artifactsDestination"),
        ({"server": {"resources": {"requests": {"cpu": "much"}}}}, "cpu"),
        ({"environments": {"Prod": {"namespace": "prod"}}}, "Prod"),
        ({"environments": {"prod": {"namespace": "no spaces"}}}, "namespace"),
        ({"environments": {"prod": {"namespace": "p", "target": "seldon://elsewhere"}}}, "target"),
        ({"environments": {"prod": {"namespace": "p", "options": {"gatewayUrl": "http://a"}}}}, "gatewayUrl"),
        ({"environments": {"prod": {"namespace": "p", "options": {"env": {"DB_PASSWORD": "x"}}}}}, "DB_PASSWORD"),
        ({"toml": 'password = "x"'}, "toml"),
        ({"bindings": "tags"}, "bindings"),
        ({"networkPolicy": {"database": [{}]}}, "database"),
        ({"server": {"replicas": 2}}, "artifactsDestination"),
        ({"networkPolicy": {"enabled": False}}, "tokenSecretName"),
    ],
)
def test_bad_values_are_refused_by_their_name(values: Json, field: str) -> None:
    with pytest.raises(ChartError, match=re.escape(field)):
        rendered(values)


def test_the_schema_knows_every_value_and_the_chart_every_option() -> None:
    schema = json.loads((CHART / "values.schema.json").read_text(encoding="utf-8"))
    values = yaml.safe_load((CHART / "values.yaml").read_text(encoding="utf-8"))

    def unknown(value: Json, rule: Json, path: str = "") -> list[str]:
        return [
            found
            for key, one in value.items()
            for found in (
                [f"{path}.{key}"]
                if key not in rule.get("properties", {})
                else unknown(one, rule["properties"][key], f"{path}.{key}")
                if isinstance(one, dict) and "properties" in rule["properties"][key]
                else []
            )
        ]

    assert not unknown(values, schema)
    environment = schema["properties"]["environments"]["additionalProperties"]
    assert environment["properties"]["options"]["propertyNames"]["enum"] == [f.name for f in fields(KubernetesOptions)]
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text(encoding="utf-8"))
    assert chart["appVersion"] == VERSION


def test_the_configuration_is_one_that_the_controller_reads(tmp_path: Path) -> None:
    configuration = configured({}, tmp_path)
    assert [(env.name, env.namespace, env.target) for env in configuration.environments] == [
        ("dev", "hydraulic-dev", KUBERNETES),
        ("prod", "hydraulic-prod", KUBERNETES),
    ]
    found = options(configuration, "prod")
    assert found.logger_url == "http://hydraulic-intake.mlflow.svc:8090/events"
    assert found.tracking_uri == "http://hydraulic-server.mlflow.svc:5000"
    assert found.secret_env["MLFLOW_TRACKING_PASSWORD"] == "hydraulic-model/password"


def test_options_of_every_kind_arrive(tmp_path: Path) -> None:
    given = {
        "shape": "seldon",
        "gateway_url": "http://istio.example.com",
        "autoscale_max": 5,
        "orchestrator": True,
        "env": {"A": 'say "so" <&>', "B": "ünïcode"},
        "secret_env": {"C": "storage/key"},
        "tolerations": ["gpu=yes:NoSchedule"],
        "labels": {"team.example.com/name": "rig"},
    }
    policy = '[policy.prod]\nallow = ["role:operator"]\n[roles]\noperator = ["ds1"]'
    values = {"environments": {"dev": None, "prod": {"namespace": "p", "options": given}}, "toml": policy}
    configuration = configured({**values, "bindings": "aliases"}, tmp_path)
    assert configuration.policy.rules["prod"].allow == ("role:operator",)
    found = options(configuration, "prod")
    assert (found.autoscale_max, found.orchestrator, found.gateway_url) == (5, True, "http://istio.example.com")
    assert dict(found.env) == given["env"]
    assert found.secret_env["C"] == "storage/key"
    assert dict(found.labels) == given["labels"]


def test_with_a_token_loggers_are_not_pointed_at_the_intake(tmp_path: Path) -> None:
    assert options(configured({"intake": {"tokenSecretName": "intake"}}, tmp_path), "prod").logger_url == ""


@pytest.mark.parametrize("values", [{}, {"controller": {"dryRun": False}}, {"intake": {"tokenSecretName": "intake"}}])
def test_the_commands_are_ours_and_know_their_options(values: Json) -> None:
    from mlflow.cli import cli as mlflow

    (texts,) = rendered(values)
    containers = [
        container
        for one in objects(texts)
        if one["kind"] == "Deployment"
        for container in one["spec"]["template"]["spec"]["containers"]
    ]
    assert [one["name"] for one in containers] == ["controller", "monitor", "intake", "server"]
    for one in containers:
        if one["args"][0] in BUILT_LATER - COMMANDS.keys():
            continue
        _parse({"hydraulic": main, "mlflow": mlflow}[one["command"][0]], one["args"])


def _parse(command: click.Command, args: list[str]) -> None:
    """click.UsageError where the command, or one below it, does not know an argument."""
    context = click.Context(command)
    while isinstance(command, click.Group) and not args[0].startswith("-"):
        found = command.get_command(context, args[0])
        assert found is not None, args
        command, args = found, args[1:]
        context = click.Context(command, parent=context)
    _, rest, _ = command.make_parser(context).parse_args(list(args))
    assert not rest


def test_the_image_is_the_chart_s() -> None:
    said = (INSTALL / "Containerfile").read_text(encoding="utf-8")
    values = yaml.safe_load((CHART / "values.yaml").read_text(encoding="utf-8"))
    assert f"-t {values['image']['repository']}:{VERSION} " in said
    assert "USER 8888:8888" in said
    assert "runAsUser: 8888" in (CHART / "templates" / "_helpers.tpl").read_text(encoding="utf-8")


@pytest.mark.parametrize("gateway", ["", "http://istio.example.com"])
def test_models_may_be_reached_by_whom_they_must(gateway: str) -> None:
    """The gateway or, through the API server, callers; for a canary's metrics the API server in any case."""
    api, istio = {"ipBlock": {"cidr": "10.0.0.1/32"}}, {"namespaceSelector": {"matchLabels": {"name": "istio"}}}
    given = {"dev": None, "prod": {"namespace": "p", "options": {"gateway_url": gateway}}}
    (texts,) = rendered({"environments": given, "networkPolicy": {"apiServer": [api], "gateways": [istio]}})
    (policy,) = [one for one in objects(texts) if one["metadata"]["name"] == "hydraulic-models"]
    asked, watched = policy["spec"]["ingress"]
    assert asked["from"] == ([istio] if gateway else [istio, api])
    assert {HTTP_PORT, GRPC_PORT} <= {port["port"] for port in asked["ports"]}
    assert api in watched["from"]
    assert HTTP_PORT in {port["port"] for port in watched["ports"]}
