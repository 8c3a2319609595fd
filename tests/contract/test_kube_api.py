"""The Kubernetes API as the target needs it: the same checks on the fake and, with TEST_KUBECONFIG, on a real cluster.

A check that fails on a real cluster is wrong here; one that fails on the fake alone is a defect of the fake.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from kubernetes import client, watch
from kubernetes.client.exceptions import ApiException

from tests.contract.kube_suite import KUBECONFIG, Cluster, open_cluster, status_of, wait_until

only_fake = pytest.mark.skipif(bool(KUBECONFIG), reason="only the fake can be told to do this")


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with open_cluster(tmp_path_factory.mktemp("kube")) as opened:
        yield opened


def refused(code: int, call: Any, *args: Any, **named: Any) -> dict[str, Any]:
    with pytest.raises(ApiException) as caught:
        call(*args, **named)
    assert caught.value.status == code, caught.value.body
    return status_of(caught.value)


# Objects and versions


def test_create_read_delete(cluster: Cluster) -> None:
    made = cluster.pumps.create(body=cluster.pump("crd", size=1), namespace=cluster.namespace)
    assert made.metadata.uid
    assert made.metadata.generation == 1
    assert made.spec.note == "none", "the schema's default"
    assert cluster.read("crd").metadata.resourceVersion == made.metadata.resourceVersion
    cluster.pumps.delete(name="crd", namespace=cluster.namespace)
    assert refused(404, cluster.read, "crd")["reason"] == "NotFound"
    assert refused(404, cluster.pumps.delete, name="crd", namespace=cluster.namespace)["reason"] == "NotFound"


def test_create_twice_is_refused(cluster: Cluster) -> None:
    cluster.pumps.create(body=cluster.pump("twice"), namespace=cluster.namespace)
    told = refused(409, cluster.pumps.create, body=cluster.pump("twice"), namespace=cluster.namespace)
    assert told["reason"] == "AlreadyExists"


def test_namespace_that_is_not_there(cluster: Cluster) -> None:
    body = {"metadata": {"name": "x"}}
    told = refused(404, cluster.core.create_namespaced_config_map, "no-such-namespace", body)
    assert told["message"] == 'namespaces "no-such-namespace" not found'


def test_generate_name(cluster: Cluster) -> None:
    body = {"metadata": {"generateName": "made-"}}
    made = cluster.core.create_namespaced_config_map(cluster.namespace, body)
    assert made.metadata.name.startswith("made-")
    assert len(made.metadata.name) > len("made-")


@pytest.mark.parametrize("name", ["Upper", "under_score", "-start", "end-", "a" * 254])
def test_bad_names(cluster: Cluster, name: str) -> None:
    told = refused(422, cluster.core.create_namespaced_config_map, cluster.namespace, {"metadata": {"name": name}})
    assert told["reason"] == "Invalid"


@pytest.mark.parametrize("labels", [{"a": "x" * 64}, {"a": "models:/m/1"}, {"a b": "c"}, {"a": "-c"}])
def test_bad_labels(cluster: Cluster, labels: dict[str, str]) -> None:
    body = {"metadata": {"name": "labels", "labels": labels}}
    told = refused(422, cluster.core.create_namespaced_config_map, cluster.namespace, body)
    assert told["details"]["causes"][0]["field"] == "metadata.labels"


def test_body_must_belong_to_its_url(cluster: Cluster) -> None:
    body = cluster.pump("one")
    refused(400, cluster.raw, "post", "pumps", {**body, "kind": "Other"})
    elsewhere = {**body, "metadata": {"name": "one", "namespace": "default"}}
    refused(400, cluster.raw, "post", "pumps", elsewhere)
    cluster.apply("one")
    refused(400, cluster.raw, "put", "pumps/one", cluster.pump("two"))


def test_old_version_is_a_conflict(cluster: Cluster) -> None:
    old = cluster.apply("stale", size=1).to_dict()
    cluster.apply("stale", size=2)
    told = refused(409, cluster.pumps.replace, body=old, namespace=cluster.namespace)
    assert told["reason"] == "Conflict"
    assert "the object has been modified" in told["message"]
    assert cluster.read("stale").spec.size == 2


def test_update_without_version_is_refused(cluster: Cluster) -> None:
    cluster.apply("versionless", size=1)
    told = refused(422, cluster.raw, "put", "pumps/versionless", cluster.pump("versionless", size=2))
    assert "must be specified for an update" in told["message"]


def test_generation_counts_changes_of_the_spec_alone(cluster: Cluster) -> None:
    first = cluster.apply("generation", size=1)
    same = cluster.apply("generation", size=1)
    assert same.metadata.resourceVersion == first.metadata.resourceVersion
    patch = {"metadata": {"labels": {"a": "b"}}}
    labelled = cluster.raw("patch", "pumps/generation", patch, "application/merge-patch+json")
    assert labelled.metadata.generation == 1
    assert labelled.metadata.resourceVersion != first.metadata.resourceVersion
    assert cluster.apply("generation", size=2).metadata.generation == 2


def test_status_is_an_endpoint_of_its_own(cluster: Cluster) -> None:
    body = {**cluster.pump("status", size=1), "status": {"state": "made up"}}
    assert "status" not in cluster.pumps.create(body=body, namespace=cluster.namespace).to_dict()
    patch = {"status": {"state": "Available"}, "spec": {"size": 9}}
    cluster.raw("patch", "pumps/status/status", patch, "application/merge-patch+json")
    now = cluster.read("status")
    assert (now.status.state, now.spec.size, now.metadata.generation) == ("Available", 1, 1)
    cluster.raw("patch", "pumps/status", {"status": {"state": "lost"}}, "application/merge-patch+json")
    assert cluster.read("status").status.state == "Available"


def test_dry_run_changes_nothing(cluster: Cluster) -> None:
    made = cluster.raw("post", "pumps", cluster.pump("dry", size=1), dryRun="All")
    assert made.metadata.uid
    refused(404, cluster.read, "dry")
    before = cluster.apply("dry2", size=1)
    body = cluster.pump("dry2", size=2)
    query = {"dryRun": "All", "fieldManager": "ours"}
    seen = cluster.raw("patch", "pumps/dry2", body, "application/apply-patch+yaml", **query)
    assert (seen.spec.size, seen.metadata.generation) == (2, 2)
    assert cluster.read("dry2").metadata.resourceVersion == before.metadata.resourceVersion
    cluster.raw("delete", "pumps/dry2", dryRun="All")
    assert cluster.read("dry2").spec.size == 1


# Schema


@pytest.mark.parametrize(
    ("spec", "field"),
    [
        ({"size": "three"}, "spec.size"),
        ({"size": -1}, "spec.size"),
        ({"mode": "sideways"}, "spec.mode"),
        ({"parts": [{"count": 1}]}, "spec.parts[0].name"),
        ({"steps": [1]}, "spec.steps[0]"),
    ],
)
def test_schema_is_enforced(cluster: Cluster, spec: dict[str, Any], field: str) -> None:
    told = refused(422, cluster.raw, "post", "pumps", cluster.pump("schema", **spec))
    assert field in {cause["field"] for cause in told["details"]["causes"]}


def test_unknown_fields_are_pruned_or_refused(cluster: Cluster) -> None:
    body = cluster.pump("unknown", sise=1, free={"any": 1}, port="http")
    told = refused(400, cluster.raw, "post", "pumps", body, fieldValidation="Strict")
    assert 'unknown field "spec.sise"' in told["message"]
    made = cluster.raw("post", "pumps", body).to_dict()
    assert made["spec"] == {"free": {"any": 1}, "note": "none", "port": "http"}


def test_unknown_fields_of_built_in_kinds(cluster: Cluster) -> None:
    template = {
        "metadata": {"labels": {"a": "b"}},
        "spec": {"containers": [{"name": "a", "image": "b", "imagee": "c"}]},
    }
    spec = {"selector": {"matchLabels": {"a": "b"}}, "replicas": 0, "template": template}
    body = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "typo"}, "spec": spec}
    # Not by the typed client: from 37 on it refuses such a body itself.
    path = f"/apis/apps/v1/namespaces/{cluster.namespace}/deployments"
    query = [("fieldValidation", "Strict"), ("dryRun", "All")]
    told = refused(400, cluster.dynamic.request, "post", path, body=body, query_params=query)
    assert 'unknown field "spec.template.spec.containers[0].imagee"' in told["message"]
    del spec["selector"]
    told = refused(422, cluster.dynamic.request, "post", path, body=body)
    assert "spec.selector" in {cause["field"] for cause in told["details"]["causes"]}


# Apply


def test_apply_creates_and_owns(cluster: Cluster) -> None:
    made = cluster.apply("own", size=1, mode="on")
    (entry,) = made.metadata.managedFields
    assert (entry.manager, entry.operation) == ("ours", "Apply")
    assert set(entry.to_dict()["fieldsV1"]["f:spec"]) == {"f:size", "f:mode"}


def test_conflict_names_the_owner(cluster: Cluster) -> None:
    cluster.apply("conflict", manager="hand", size=1)
    told = refused(409, cluster.apply, "conflict", size=2)
    assert told["reason"] == "Conflict"
    (cause,) = told["details"]["causes"]
    assert cause["reason"] == "FieldManagerConflict"
    assert 'conflict with "hand"' in cause["message"]
    assert cause["field"] == ".spec.size"
    assert 'conflict with "hand": .spec.size' in told["message"]
    forced = cluster.apply("conflict", force=True, size=2)
    assert forced.spec.size == 2
    assert [entry.manager for entry in forced.metadata.managedFields] == ["ours"]


def test_conflict_with_what_an_update_wrote(cluster: Cluster) -> None:
    cluster.apply("updated", size=1)
    patch = {"spec": {"size": 5}}
    cluster.raw("patch", "pumps/updated", patch, "application/merge-patch+json", fieldManager="kubectl-edit")
    told = refused(409, cluster.apply, "updated", size=1)
    assert '"kubectl-edit" using' in told["details"]["causes"][0]["message"]


def test_equal_values_are_shared(cluster: Cluster) -> None:
    cluster.apply("shared", manager="hand", size=1)
    both = cluster.apply("shared", size=1)
    assert {entry.manager for entry in both.metadata.managedFields} == {"hand", "ours"}
    left = cluster.apply("shared")
    assert left.spec.size == 1, "the other owner still wants it"


def test_what_is_no_longer_applied_goes(cluster: Cluster) -> None:
    cluster.apply("less", size=1, mode="on", parts=[{"name": "a", "count": 1}, {"name": "b"}])
    now = cluster.apply("less", mode="on", parts=[{"name": "b"}]).to_dict()["spec"]
    assert now == {"mode": "on", "note": "none", "parts": [{"name": "b"}]}


def test_keyed_lists_have_owners_item_by_item(cluster: Cluster) -> None:
    cluster.apply("keyed", manager="hand", parts=[{"name": "theirs", "count": 1}])
    both = cluster.apply("keyed", parts=[{"name": "mine", "count": 2}]).to_dict()["spec"]["parts"]
    assert {part["name"] for part in both} == {"theirs", "mine"}
    told = refused(409, cluster.apply, "keyed", parts=[{"name": "mine"}, {"name": "theirs", "count": 9}])
    assert told["details"]["causes"][0]["field"] == '.spec.parts[name="theirs"].count'


def test_apply_needs_a_manager(cluster: Cluster) -> None:
    body = cluster.pump("anonymous")
    told = refused(422, cluster.raw, "patch", "pumps/anonymous", body, "application/apply-patch+yaml")
    assert "fieldManager" in told["message"]


def test_patches(cluster: Cluster) -> None:
    cluster.apply("patch", size=1, steps=["a"])
    operations = [
        {"op": "test", "path": "/spec/size", "value": 1},
        {"op": "add", "path": "/spec/steps/-", "value": "b"},
    ]
    done = cluster.raw("patch", "pumps/patch", operations, "application/json-patch+json")
    assert done.to_dict()["spec"]["steps"] == ["a", "b"]
    failed = [{"op": "test", "path": "/spec/size", "value": 7}]
    refused(422, cluster.raw, "patch", "pumps/patch", failed, "application/json-patch+json")
    gone = cluster.raw("patch", "pumps/patch", {"spec": {"steps": None}}, "application/merge-patch+json")
    assert "steps" not in gone.to_dict()["spec"]
    refused(415, cluster.raw, "patch", "pumps/patch", {}, "application/strategic-merge-patch+json")


# Lists and watches


def config_maps(cluster: Cluster, mark: str, count: int) -> None:
    for at in range(count):
        body = {"metadata": {"name": f"{mark}-{at}", "labels": {"mark": mark, "at": str(at)}}}
        cluster.core.create_namespaced_config_map(cluster.namespace, body)


@pytest.mark.parametrize(
    ("selector", "wanted"),
    [
        ("mark=sel", "012"),
        ("mark=sel,at!=1", "02"),
        ("mark=sel,at in (0,2)", "02"),
        ("mark=sel,at notin (0,2)", "1"),
        ("mark==sel,at", "012"),
        ("mark=sel,!at", ""),
    ],
)
def test_label_selectors(cluster: Cluster, selector: str, wanted: str) -> None:
    if "sel-0" not in {one.metadata.name for one in cluster.core.list_namespaced_config_map(cluster.namespace).items}:
        config_maps(cluster, "sel", 3)
    found = cluster.core.list_namespaced_config_map(cluster.namespace, label_selector=selector).items
    assert "".join(one.metadata.labels["at"] for one in found) == wanted


def test_field_selectors(cluster: Cluster) -> None:
    config_maps(cluster, "field", 2)
    listed = cluster.core.list_namespaced_config_map
    assert len(listed(cluster.namespace, field_selector="metadata.name=field-1").items) == 1
    refused(400, listed, cluster.namespace, field_selector="data.x=1")
    refused(400, listed, cluster.namespace, label_selector="a=b=c")


def test_pages_show_one_moment(cluster: Cluster) -> None:
    config_maps(cluster, "page", 5)
    listed = cluster.core.list_namespaced_config_map
    first = listed(cluster.namespace, label_selector="mark=page", limit=2)
    cluster.core.delete_namespaced_config_map("page-3", cluster.namespace)
    body = {"metadata": {"name": "page-9", "labels": {"mark": "page"}}}
    cluster.core.create_namespaced_config_map(cluster.namespace, body)
    names = [one.metadata.name for one in first.items]
    token = first.metadata._continue
    while token:
        page = listed(cluster.namespace, label_selector="mark=page", limit=2, _continue=token)
        assert page.metadata.resource_version == first.metadata.resource_version
        names += [one.metadata.name for one in page.items]
        token = page.metadata._continue
    assert names == [f"page-{at}" for at in range(5)]


@only_fake
def test_page_of_a_forgotten_moment(cluster: Cluster) -> None:
    config_maps(cluster, "forgot", 3)
    assert cluster.fake is not None
    first = cluster.core.list_namespaced_config_map(cluster.namespace, limit=1)
    cluster.fake.expire_watches()
    config_maps(cluster, "forgot-more", 1)
    cluster.fake.expire_watches()
    token = first.metadata._continue
    told = refused(410, cluster.core.list_namespaced_config_map, cluster.namespace, limit=1, _continue=token)
    assert told["reason"] == "Expired"


def test_watch_from_a_version(cluster: Cluster) -> None:
    core, namespace = cluster.core, cluster.namespace
    start = core.list_namespaced_config_map(namespace).metadata.resource_version
    config_maps(cluster, "watch", 1)
    core.patch_namespaced_config_map("watch-0", namespace, {"data": {"a": "b"}})
    core.patch_namespaced_config_map("watch-0", namespace, {"metadata": {"labels": {"mark": "other"}}})
    seen = watch.Watch().stream(
        core.list_namespaced_config_map,
        namespace,
        label_selector="mark=watch",
        resource_version=start,
        timeout_seconds=2,
    )
    assert [event["type"] for event in seen] == ["ADDED", "MODIFIED", "DELETED"], "what leaves the selection is deleted"


def test_watch_from_nothing_shows_what_is(cluster: Cluster) -> None:
    config_maps(cluster, "initial", 2)
    seen = watch.Watch().stream(
        cluster.core.list_namespaced_config_map, cluster.namespace, label_selector="mark=initial", timeout_seconds=1
    )
    assert [(event["type"], event["object"].metadata.name) for event in seen] == [
        ("ADDED", "initial-0"),
        ("ADDED", "initial-1"),
    ]


@only_fake
def test_watch_of_a_forgotten_version_is_told_410(cluster: Cluster) -> None:
    assert cluster.fake is not None
    start = cluster.core.list_namespaced_config_map(cluster.namespace).metadata.resource_version
    config_maps(cluster, "compacted", 1)
    cluster.fake.expire_watches()
    stream = watch.Watch().stream(
        cluster.core.list_namespaced_config_map, cluster.namespace, resource_version=start, timeout_seconds=2
    )
    with pytest.raises(ApiException) as caught:
        list(stream)
    assert caught.value.status == 410


# Deletes


def test_uid_precondition(cluster: Cluster) -> None:
    made = cluster.apply("uid", size=1)
    wrong = {"preconditions": {"uid": "00000000-0000-0000-0000-000000000000"}}
    told = refused(409, cluster.raw, "delete", "pumps/uid", wrong)
    assert told["reason"] == "Conflict"
    assert cluster.read("uid").spec.size == 1
    cluster.raw("delete", "pumps/uid", {"preconditions": {"uid": made.metadata.uid}})
    refused(404, cluster.read, "uid")


def test_finalizers_hold_an_object(cluster: Cluster) -> None:
    body = cluster.pump("held", size=1)
    body["metadata"]["finalizers"] = ["hydraulic.test/hold"]
    cluster.pumps.create(body=body, namespace=cluster.namespace)
    cluster.raw("delete", "pumps/held")
    held = cluster.read("held")
    assert held.metadata.deletionTimestamp
    cluster.raw("patch", "pumps/held", {"metadata": {"finalizers": None}}, "application/merge-patch+json")
    refused(404, cluster.read, "held")


@only_fake
@pytest.mark.parametrize("policy", ["Background", "Foreground"])
def test_what_is_owned_goes_with_its_owner(cluster: Cluster, policy: str) -> None:
    name = f"owner-{policy.lower()}"
    owner = cluster.apply(name)
    reference = {"apiVersion": owner.apiVersion, "kind": owner.kind, "name": name, "uid": owner.metadata.uid}
    body = {"metadata": {"name": name, "ownerReferences": [{**reference, "blockOwnerDeletion": True}]}}
    cluster.core.create_namespaced_config_map(cluster.namespace, body)
    cluster.raw("delete", f"pumps/{name}", {"propagationPolicy": policy})
    listed = cluster.core.list_namespaced_config_map
    wait_until(lambda: not listed(cluster.namespace, field_selector=f"metadata.name={name}").items)
    wait_until(lambda: _is_gone(cluster, name))


def _is_gone(cluster: Cluster, name: str) -> bool:
    try:
        cluster.read(name)
    except ApiException as error:
        return bool(error.status == 404)
    return False


# Who may


def test_no_token_no_answer(cluster: Cluster) -> None:
    told = refused(401, cluster.with_token("wrong").list_namespaced_config_map, cluster.namespace)
    assert told["reason"] == "Unauthorized"


def test_roles_count_by_namespace(cluster: Cluster) -> None:
    core, namespace = cluster.core, cluster.namespace
    core.create_namespaced_service_account(namespace, {"metadata": {"name": "reader"}})
    rules = [{"apiGroups": [""], "resources": ["configmaps"], "verbs": ["get", "list"]}]
    rbac = client.RbacAuthorizationV1Api(cluster.api)
    rbac.create_namespaced_role(namespace, {"metadata": {"name": "read"}, "rules": rules})
    binding = {
        "metadata": {"name": "read"},
        "subjects": [{"kind": "ServiceAccount", "name": "reader", "namespace": namespace}],
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "read"},
    }
    rbac.create_namespaced_role_binding(namespace, binding)
    token = core.create_namespaced_service_account_token("reader", namespace, {"spec": {}}).status.token
    reader = cluster.with_token(token)
    wait_until(lambda: _may_list(reader, namespace))
    told = refused(403, reader.create_namespaced_config_map, namespace, {"metadata": {"name": "no"}})
    assert told["reason"] == "Forbidden"
    user = f"system:serviceaccount:{namespace}:reader"
    assert f'User "{user}" cannot create resource "configmaps" in API group ""' in told["message"]
    assert f'in the namespace "{namespace}"' in told["message"]
    assert refused(403, reader.list_namespaced_config_map, "default")["reason"] == "Forbidden"
    told = refused(403, reader.list_config_map_for_all_namespaces)
    assert "at the cluster scope" in told["message"]
    assert _review(reader, namespace, "list")
    assert not _review(reader, namespace, "delete")


def _may_list(reader: Any, namespace: str) -> bool:
    try:
        reader.list_namespaced_config_map(namespace)
    except ApiException:
        return False
    return True


def _review(core: Any, namespace: str, verb: str) -> bool:
    asked = {"namespace": namespace, "verb": verb, "group": "", "resource": "configmaps"}
    body = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SelfSubjectAccessReview",
        "spec": {"resourceAttributes": asked},
    }
    answer = client.AuthorizationV1Api(core.api_client).create_self_subject_access_review(body)
    return bool(answer.status.allowed)


# Discovery and what a leader needs


@pytest.mark.parametrize(
    ("api_version", "kind"),
    [
        ("v1", "Pod"),
        ("v1", "Event"),
        ("apps/v1", "Deployment"),
        ("coordination.k8s.io/v1", "Lease"),
        ("autoscaling/v2", "HorizontalPodAutoscaler"),
        ("policy/v1", "PodDisruptionBudget"),
        ("rbac.authorization.k8s.io/v1", "Role"),
        ("networking.k8s.io/v1", "NetworkPolicy"),
    ],
)
def test_discovery(cluster: Cluster, api_version: str, kind: str) -> None:
    assert cluster.dynamic.resources.get(api_version=api_version, kind=kind).namespaced


def test_a_lease_has_one_holder(cluster: Cluster) -> None:
    leases = client.CoordinationV1Api(cluster.api)
    body = {"metadata": {"name": "leader"}, "spec": {"holderIdentity": "a", "leaseDurationSeconds": 15}}
    lease = leases.create_namespaced_lease(cluster.namespace, body)
    for holder in ("b", "c"):
        lease.spec.holder_identity = holder
        if holder == "b":
            leases.replace_namespaced_lease("leader", cluster.namespace, lease)
        else:
            refused(409, leases.replace_namespaced_lease, "leader", cluster.namespace, lease)
    assert leases.read_namespaced_lease("leader", cluster.namespace).spec.holder_identity == "b"
