"""Whether what is seen is of the change or of before it: values as the operator and the controllers write them."""

from __future__ import annotations

import copy
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from mlflow_hydraulic.deploy_targets.kubernetes.apply import owned_part
from mlflow_hydraulic.deploy_targets.kubernetes.judge import Sight, judge
from mlflow_hydraulic.deploy_targets.kubernetes.options import KubernetesOptions
from mlflow_hydraulic.deploy_targets.kubernetes.seldon_manifest import seldon_manifest
from mlflow_hydraulic.deploy_targets.kubernetes.settle import Before, before, noticed, stirred
from mlflow_hydraulic.deploy_targets.kubernetes.shape import SHAPES
from mlflow_hydraulic.deploy_targets.kubernetes.workload import covers, told
from mlflow_hydraulic.deployment import Deployment
from tests.support.kube_values import deployment, predictor

Json = dict[str, Any]  # Any: JSON
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=12,
)


def main(wanted: Deployment, generation: int, state: str, **options: Any) -> Json:
    made = seldon_manifest(wanted, KubernetesOptions(**options))
    made["metadata"] |= {"uid": "u", "generation": generation, "resourceVersion": str(generation)}
    return {**made, "status": {"state": state}}


def rolled(of: Json, number: int = 0) -> Json:
    """The Deployment that the operator makes of a predictor, rolled out."""
    one = of["spec"]["predictors"][number]
    spec = copy.deepcopy(one["componentSpecs"][0]["spec"])
    spec["containers"].append({"name": "seldon-container-engine"})
    counts = {"replicas": 1, "updatedReplicas": 1, "availableReplicas": 1, "readyReplicas": 1}
    return {
        "metadata": {"name": f"cooler-{one['name']}-0-model", "uid": f"d-{one['name']}", "generation": 1}
        | {"ownerReferences": [{"uid": "u"}]},
        "spec": {"replicas": 1, "template": {"metadata": {"annotations": one["annotations"]}, "spec": spec}},
        "status": {"observedGeneration": 1, **counts},
    }


def sight(of: Json, *deployments: Json) -> Sight:
    return Sight(shape=SHAPES["seldon"], main=of, deployments=deployments)


OLD = main(deployment(), 1, "Available")
BEFORE = before(sight(OLD, rolled(OLD)))


def test_an_update_that_nobody_noticed_looks_settled_and_is_not_believed() -> None:
    new = main(deployment(), 2, "Available", memory_limit="2Gi")
    unnoticed = sight(new, rolled(OLD))
    assert judge(unnoticed).observed.state == "healthy", "the trap: only options changed"
    assert not noticed(unnoticed, BEFORE)
    assert noticed(sight(new, rolled(new)), BEFORE)
    assert judge(sight(main(deployment(predictor("2")), 2, "Available"), rolled(OLD))).observed.state == "launching"


def test_shares_move_no_template_and_are_believed() -> None:
    ab = deployment(predictor(traffic=90), predictor("2", "b", 10))
    old, new = main(ab, 1, "Available"), deployment(predictor(traffic=50), predictor("2", "b", 50))
    held = (rolled(old), rolled(old, 1))
    assert noticed(sight(main(new, 2, "Available"), *held), before(sight(old, *held)))


def test_a_creation_and_a_change_of_nothing_are_believed() -> None:
    assert noticed(sight(OLD, rolled(OLD)), Before())
    assert noticed(sight(OLD, rolled(OLD)), BEFORE)


def test_only_a_state_at_rest_that_is_left_tells_of_a_new_beginning() -> None:
    assert stirred(sight(main(deployment(), 2, "Creating")), BEFORE)
    creating = before(sight(main(deployment(), 1, "Creating")))
    assert not stirred(sight(main(deployment(), 2, "Available")), creating), "of the change before"
    assert not stirred(sight(main(deployment(), 2, "Available")), BEFORE)


def test_what_the_api_server_writes_in_its_own_way_is_the_same() -> None:
    asked = {"resources": {"limits": {"cpu": "0.5", "memory": "1024Mi"}}, "env": [{"name": "A", "value": "1"}]}
    written = {
        "resources": {"limits": {"cpu": "500m", "memory": "1Gi"}, "requests": {"cpu": "1"}},
        "env": [{"name": "PREDICTIVE_UNIT_ID", "value": "m"}, {"name": "A", "value": "1"}],
        "volumes": [],
    }
    assert covers(written, asked)
    assert not covers(written, {"env": [{"name": "A", "value": "2"}]})
    assert not covers(written, {"resources": {"limits": {"memory": "2Gi"}}})


@given(json_values)
def test_everything_covers_itself(value: object) -> None:
    assert covers(copy.deepcopy(value), value)


def test_a_pod_tells_its_model_by_its_variables_before_annotations() -> None:
    template = rolled(main(deployment(predictor("2")), 1, ""))["spec"]["template"]
    template["metadata"]["annotations"]["hydraulic.model-version"] = "1"
    found = told(template)
    assert found is not None
    assert (found.predictor, found.model.version) == ("default", "2")
    assert told({"metadata": {}, "spec": {"containers": []}}) is None


def test_what_we_applied_is_read_back_by_its_managed_fields_and_nothing_else() -> None:
    fields = {
        "f:metadata": {"f:labels": {"f:ours": {}}, "f:finalizers": {'v:"a"': {}}},
        "f:spec": {"f:ports": {'k:{"port":80}': {".": {}, "f:name": {}}}, "f:args": {}, "f:none": {}},
    }
    live = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {
            "name": "n",
            "namespace": "p",
            "labels": {"ours": "1", "theirs": "2"},
            "finalizers": ["a", "b"],
            "managedFields": [{"manager": "mlflow-hydraulic", "operation": "Apply", "fieldsV1": fields}],
        },
        "spec": {
            "ports": [{"port": 80, "name": "http", "nodePort": 3}, {"port": 81, "name": "x"}],
            "args": ["a", "b"],
            "clusterIP": "10.0.0.1",
        },
    }
    assert owned_part(live) == {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "n", "namespace": "p", "labels": {"ours": "1"}, "finalizers": ["a"]},
        "spec": {"ports": [{"port": 80, "name": "http"}], "args": ["a", "b"]},
    }
