"""Every rule of the schema and of the operator's webhook, broken once each, is caught before anything is sent."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest

from mlflow_hydraulic.deploy_targets.kubernetes.options import KubernetesOptions
from mlflow_hydraulic.deploy_targets.kubernetes.rules import check_seldon, violations
from mlflow_hydraulic.deploy_targets.kubernetes.seldon_manifest import seldon_manifest
from mlflow_hydraulic.errors import BadInput
from tests.support.kube_values import deployment, predictor

Json = dict[str, Any]  # Any: JSON
Breaking = Callable[[Json], object]


def manifest(*, arms: int = 1, shadow: bool = False) -> Json:
    shares = {1: [100], 2: [80, 20]}[arms]
    parts = [predictor(str(i + 1), f"p{i}", share) for i, share in enumerate(shares)]
    one = deployment(*parts, shadow=predictor("3", "shadow", 50) if shadow else None)
    return copy.deepcopy(seldon_manifest(one, KubernetesOptions()))


def first(made: Json) -> Json:
    found: Json = made["spec"]["predictors"][0]
    return found


def server(made: Json, name: str, *, keep_image: bool = False, **graph: str) -> Json:
    first(made)["graph"] |= {"implementation": name, **graph}
    if not keep_image:
        first(made)["componentSpecs"][0]["spec"]["containers"][0].pop("image")
    return made


WEBHOOK: list[tuple[Json, Breaking, str]] = [
    (manifest(), lambda m: server(m, "MLFLOW_SERVER"), "modelUri required when using standalone servers"),
    (manifest(), lambda m: server(m, "ONNX_SERVER", modelUri="s3://b"), "No entry in predictors map for ONNX_SERVER"),
    (
        manifest(),
        lambda m: (server(m, "MLFLOW_SERVER", modelUri="s3://b"), m["spec"].update(protocol="tensorflow")),
        "Prepackaged server does not handle tensorflow protocol MLFLOW_SERVER",
    ),
    (manifest(), lambda m: first(m)["graph"].update(name="other"), "Can't find container for Predictive Unit"),
    (manifest(), lambda m: first(m).pop("componentSpecs"), "Can't find container for Predictive Unit"),
    (
        manifest(),
        lambda m: first(m)["graph"].update(children=[{"name": "child"}]),
        "graph.children[0]: Can't find container for Predictive Unit",
    ),
    (
        manifest(),
        lambda m: first(m)["graph"].update(type="UNKNOWN_TYPE"),
        "Predictive Unit has no implementation methods defined",
    ),
    (manifest(), lambda m: first(m)["graph"].update(logger={"url": "http://b"}), "No logger mode specified"),
    (manifest(arms=2), lambda m: first(m).update(traffic=70), "Traffic must sum to 100 for multiple predictors"),
    (manifest(), lambda m: first(m).update(traffic=70), "Traffic must sum be 100 for a single predictor when set"),
    (manifest(arms=2), lambda m: first(m).update(name="p1"), "Duplicate predictor name"),
    (
        manifest(shadow=True),
        lambda m: m["spec"]["predictors"].append({**m["spec"]["predictors"][1], "name": "second"}),
        "Multiple shadows are not allowed",
    ),
    (
        manifest(shadow=True),
        lambda m: m["spec"]["predictors"][1].update(traffic=101),
        "shadow traffic is illegal, the traffic number should be between [0, 100]",
    ),
    (manifest(), lambda m: first(m).update(shadow=True), "Shadow can not exist as only predictor"),
    (manifest(), lambda m: m["spec"].update(protocol="mlflow"), "Invalid protocol"),
    (manifest(), lambda m: m["spec"].update(transport="soap"), "Invalid transport"),
    (manifest(), lambda m: m["spec"].update(serverType="mq"), "Invalid serverType"),
    (manifest(), lambda m: m["spec"]["predictors"].clear(), "Graph contains no predictors"),
    (
        manifest(),
        lambda m: (
            first(m)["annotations"].update({"seldon.io/no-engine": "true"}),
            first(m)["graph"].update(children=[{"name": "model"}]),
        ),
        "Running without engine only valid for single element graphs",
    ),
    (
        manifest(arms=2),
        lambda m: [p["annotations"].update({"seldon.io/svc-name": "s"}) for p in m["spec"]["predictors"]],
        "Found duplicate service name in seldon.io/svc-name with value s",
    ),
]


@pytest.mark.parametrize(("made", "breaking", "words"), WEBHOOK, ids=[words for _, _, words in WEBHOOK])
def test_each_rule_of_the_webhook(made: Json, breaking: Breaking, words: str) -> None:
    made = copy.deepcopy(made)
    assert violations(made) == []
    breaking(made)
    (found,) = violations(made)
    assert words in str(found)
    assert found.way_out
    with pytest.raises(BadInput, match="SeldonDeployment 'cooler' would be refused: spec"):
        check_seldon(made)


def _container(made: Json) -> Json:
    found: Json = first(made)["componentSpecs"][0]["spec"]["containers"][0]
    return found


SCHEMA: list[tuple[Breaking, str]] = [
    (lambda m: m.update(apiVersion="machinelearning.seldon.io/v1alpha2"), "apiVersion: "),
    (lambda m: m.pop("spec"), "'spec' is a required property"),
    (lambda m: m["spec"].pop("predictors"), "'predictors' is a required property"),
    (lambda m: m.update(sepc={}), "'sepc' was unexpected"),
    (lambda m: m["spec"].update(predictor=[]), "'predictor' was unexpected"),
    (lambda m: first(m).update(protocol="v2"), "'protocol' was unexpected"),
    (lambda m: first(m)["graph"].update(modelURI="s3://b"), "'modelURI' was unexpected"),
    (lambda m: first(m)["graph"].update(children=[{"name": "c", "modelURI": "s3://b"}]), "'modelURI' was unexpected"),
    (lambda m: first(m)["componentSpecs"][0].update(hpa={}), "'hpa' was unexpected"),
    (lambda m: first(m)["componentSpecs"][0].update(hpaSpec={}), "'maxReplicas' is a required property"),
    (lambda m: _container(m).update(imagePullPolice="Always"), "'imagePullPolice' was unexpected"),
    (lambda m: _container(m)["readinessProbe"]["httpGet"].pop("port"), "'port' is a required property"),
    (lambda m: _container(m)["resources"]["requests"].update(cpu="lots"), "does not match"),
    (lambda m: _container(m)["env"].append({"value": "x"}), "'name' is a required property"),
    (lambda m: first(m).update(replicas="2"), "is not of type 'integer'"),
    (lambda m: first(m).update(replicas=2**31), "maximum of 2147483647"),
    (lambda m: first(m).update(traffic=99.5), "is not of type 'integer'"),
    (lambda m: first(m)["annotations"].update(n=1), "is not of type 'string'"),
    (lambda m: m["metadata"].update(name="Cooler"), "metadata.name: "),
    (lambda m: m["metadata"]["labels"].update(x="a b"), "metadata.labels.x: "),
    (lambda m: m["metadata"].pop("namespace"), "'namespace' is a required property"),
]


@pytest.mark.parametrize(("breaking", "words"), SCHEMA, ids=[words for _, words in SCHEMA])
def test_the_schema_with_unknown_fields_refused(breaking: Breaking, words: str) -> None:
    made = manifest()
    breaking(made)
    assert words in "; ".join(map(str, violations(made)))


def test_servers_that_the_operator_was_given_are_known() -> None:
    made = manifest()
    server(made, "ONNX_SERVER", modelUri="s3://b")
    assert violations(made, servers=frozenset({"ONNX_SERVER"})) == []


def test_an_image_of_our_own_needs_no_entry_in_the_operators_map() -> None:
    made = manifest()
    server(made, "ONNX_SERVER", keep_image=True, modelUri="s3://b")
    assert violations(made) == []


def test_all_that_is_wrong_is_said_at_once() -> None:
    made = manifest(arms=2)
    made["spec"]["protocol"] = "mlflow"
    first(made)["traffic"] = 70
    with pytest.raises(BadInput, match=r"Invalid protocol.*; spec: Traffic must sum to 100.*it is 90: p0=70, p1=20"):
        check_seldon(made)
