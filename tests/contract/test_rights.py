"""The controller's role is enough for all that the target does, and for nothing else.

On the fake, and the reviews with TEST_KUBECONFIG on a real cluster too, whose own RBAC then answers.
"""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from kubernetes import client, config

from mlflow_hydraulic.deploy_targets.kubernetes import pod, rights
from mlflow_hydraulic.deploy_targets.kubernetes.client import open_cluster
from mlflow_hydraulic.deploy_targets.kubernetes.leader import LEASE, ApiLease, Elector
from mlflow_hydraulic.deploy_targets.kubernetes.options import KubernetesOptions
from mlflow_hydraulic.deploy_targets.kubernetes.refusals import Forbidden
from mlflow_hydraulic.deploy_targets.kubernetes.resources import EVENT, KSERVE, POD, SELDON, Resource
from mlflow_hydraulic.deploy_targets.kubernetes.rights import Right, deployment_rights, leader_rights, watching_rights
from mlflow_hydraulic.deploy_targets.kubernetes.service_level import service_level
from mlflow_hydraulic.deploy_targets.kubernetes.target import KubernetesTarget
from mlflow_hydraulic.deployment import Deployment, Predictor
from mlflow_hydraulic.errors import Failed
from tests.contract.kube_suite import KUBECONFIG, wait_until
from tests.contract.subjects import pinned
from tests.fakekube.cluster import SeldonCluster, seldon_cluster
from tests.fakekube.request import asked, read_url
from tests.fakekube.troubles import Trouble
from tests.support.helm import INSTALL

Json = dict[str, Any]
BAD, SICK = "bad", "sick"
HOME, DEV, ELSEWHERE = "mlflow", "hydraulic-dev", "elsewhere"
ACCOUNT = "hydraulic-controller"
# What a stolen token of the controller must not do: (verb, group, resource), in a namespace where it deploys.
DENIED = [
    *[(verb, "", "secrets") for verb in ("get", "list", "create", "delete")],
    *[("create", "", f"pods/{sub}") for sub in ("exec", "attach", "portforward", "eviction")],
    *[(verb, "", "pods") for verb in ("create", "delete", "patch")],
    *[(verb, "", "configmaps") for verb in ("get", "create")],
    *[(verb, "", "serviceaccounts") for verb in ("get", "create", "impersonate")],
    ("create", "", "serviceaccounts/token"),
    *[(verb, "", "namespaces") for verb in ("create", "delete", "patch")],
    *[(verb, "rbac.authorization.k8s.io", "roles") for verb in ("create", "bind", "escalate")],
    ("create", "rbac.authorization.k8s.io", "rolebindings"),
    ("patch", "apps", "deployments"),
    ("deletecollection", "machinelearning.seldon.io", "seldondeployments"),
    ("patch", "machinelearning.seldon.io", "seldondeployments/status"),
    ("create", "admissionregistration.k8s.io", "validatingwebhookconfigurations"),
    ("get", "", "nodes"),
]


def _befalls(deployment: Json) -> Trouble | None:
    """The trouble of the models with these names."""
    containers = deployment["spec"]["template"]["spec"]["containers"]
    told = {one["name"]: one.get("value") for one in containers[0].get("env", [])}
    troubles: dict[str, Trouble] = {BAD: "CrashLoopBackOff", SICK: "NotReady"}
    return troubles.get(told.get(pod.MODEL_NAME, ""))


@dataclass(frozen=True)
class Roles:
    """A cluster with the chart's accounts and roles in it, as the controller has it."""

    kubeconfig: Path
    reviews: Any
    fake: SeldonCluster | None
    home: str
    dev: str
    elsewhere: str

    def may(self, namespace: str, verb: str, group: str, resource: str, name: str = "") -> bool:
        """What the API server says of the controller's token."""
        plural, _, sub = resource.partition("/")
        what = {"namespace": namespace, "verb": verb, "group": group, "resource": plural, "subresource": sub}
        body = {"spec": {"resourceAttributes": {**what, "name": name}}}
        return bool(self.reviews.create_self_subject_access_review(body).status.allowed)


@pytest.fixture(scope="module")
def roles(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Roles]:
    folder = tmp_path_factory.mktemp("rights")
    with contextlib.ExitStack() as stack:
        fake, kubeconfig, names = None, Path(KUBECONFIG), (HOME, DEV, ELSEWHERE)
        if KUBECONFIG:
            mark = uuid.uuid4().hex[:8]
            names = tuple(f"rights-{mark}-{at}" for at in range(3))  # type: ignore[assignment]  # three of them
        else:
            fake = stack.enter_context(seldon_cluster(befalls=_befalls))
            kubeconfig = fake.kube.kubeconfig(folder / "admin")
        admin = config.new_client_from_config(str(kubeconfig))
        stack.callback(admin.close)
        _install(admin, dict(zip((HOME, DEV, ELSEWHERE), names, strict=True)), stack)
        core = client.CoreV1Api(admin)
        token = core.create_namespaced_service_account_token(ACCOUNT, names[0], {"spec": {}}).status.token
        path = _as(kubeconfig, token, names[1], folder / "controller")
        own = config.new_client_from_config(str(path))
        stack.callback(own.close)
        found = Roles(path, client.AuthorizationV1Api(own), fake, *names)
        wait_until(lambda: found.may(names[1], "list", "", "pods"))  # a real server needs a moment
        yield found


def _install(admin: Any, names: dict[str, str], stack: contextlib.ExitStack) -> None:
    """The service account, roles and bindings of the kustomize base, in namespaces of these names."""
    core, rbac = client.CoreV1Api(admin), client.RbacAuthorizationV1Api(admin)
    for name in names.values():
        core.create_namespace({"metadata": {"name": name}})
        stack.callback(core.delete_namespace, name)
    documents = [
        one
        for file in ("controller.yaml", "rights.yaml")
        for one in yaml.safe_load_all((INSTALL / "base" / file).read_text(encoding="utf-8"))
    ]
    for one in documents:
        place = names.get(one["metadata"]["namespace"])
        if place is None or one["kind"] not in ("ServiceAccount", "Role", "RoleBinding"):
            continue
        one["metadata"]["namespace"] = place
        for subject in one.get("subjects", []):
            subject["namespace"] = names[subject["namespace"]]
        if one["kind"] == "ServiceAccount":
            core.create_namespaced_service_account(place, one)
        elif one["kind"] == "Role":
            rbac.create_namespaced_role(place, one)
        else:
            rbac.create_namespaced_role_binding(place, one)


def _as(kubeconfig: Path, token: str, namespace: str, path: Path) -> Path:
    """The same cluster, as the bearer of a token."""
    said = yaml.safe_load(kubeconfig.read_text(encoding="utf-8"))
    for user in said["users"]:
        user["user"] = {"token": token}
    for context in said["contexts"]:
        context["context"]["namespace"] = namespace
    path.write_text(yaml.safe_dump(said), encoding="utf-8")
    return path


@pytest.mark.parametrize("right", deployment_rights("seldon"), ids=lambda right: right.kind)
def test_what_is_listed_is_granted_where_it_is_needed_and_nowhere_else(roles: Roles, right: Right) -> None:
    for verb in right.verbs:
        assert roles.may(roles.dev, verb, right.group, right.resource)
        assert not roles.may(roles.elsewhere, verb, right.group, right.resource)
        assert not roles.may(roles.home, verb, right.group, right.resource)
        assert not roles.may("", verb, right.group, right.resource), "the whole cluster"


@pytest.mark.parametrize(("verb", "group", "resource"), DENIED)
def test_what_is_not_listed_is_denied(roles: Roles, verb: str, group: str, resource: str) -> None:
    for namespace in (roles.dev, roles.home, roles.elsewhere, ""):
        assert not roles.may(namespace, verb, group, resource)


def test_of_leases_only_its_own(roles: Roles) -> None:
    group, plural = "coordination.k8s.io", "leases"
    assert roles.may(roles.home, "patch", group, plural, ACCOUNT)
    assert not roles.may(roles.home, "patch", group, plural, "another")
    assert not roles.may(roles.home, "delete", group, plural, ACCOUNT)
    assert not roles.may(roles.dev, "create", group, plural)


def test_it_can_be_elected(roles: Roles) -> None:
    with open_cluster(kubeconfig=str(roles.kubeconfig)) as cluster:
        place = (roles.home, ACCOUNT)
        elector = Elector(ApiLease(cluster, *place), place=place, holder="one")
        elector.step()
        elector.step()
        assert elector.is_leader()
        elector.stop()
        found = cluster.find(LEASE, *place)
        assert found is not None
        assert found["spec"]["holderIdentity"] == ""


def test_what_it_may_not_is_refused_in_deed(roles: Roles) -> None:
    secrets, namespaces = Resource("v1", "secrets", "Secret"), Resource("v1", "namespaces", "Namespace")
    with open_cluster(kubeconfig=str(roles.kubeconfig)) as cluster:
        for resource, namespace in ((secrets, roles.dev), (POD, roles.elsewhere), (EVENT, None), (POD, None)):
            with pytest.raises(Forbidden):
                cluster.list(resource, namespace)
        with pytest.raises(Forbidden):
            cluster.delete(namespaces, "", roles.dev, uid="any")


# What the target really does, request by request, is what is listed: no less, and no more.


def _used(fake: SeldonCluster, since: int) -> set[tuple[str, str, str]]:
    kube, found = fake.kube, set()
    for method, path, _ in kube.requests[since:]:
        url = read_url(path)
        resource = kube.resource(url.group_version, url.plural)
        if resource is not None:
            one = asked(url, resource, method)
            found.add((one.verb, one.group, one.resource))
            if one.verb == "patch":
                found.add(("create", one.group, one.resource))  # the first apply of an object: the fake asks for both
    return found


def _granted(given: tuple[Right, ...]) -> set[tuple[str, str, str]]:
    return {(verb, right.group, right.resource) for right in given for verb in right.verbs}


@pytest.mark.skipif(bool(KUBECONFIG), reason="only the fake tells what it was asked, and has an operator")
def test_the_whole_target_works_with_the_role_and_uses_all_of_it(roles: Roles) -> None:
    assert roles.fake is not None
    since = len(roles.fake.kube.requests)
    with open_cluster(kubeconfig=str(roles.kubeconfig)) as cluster:
        target = KubernetesTarget(cluster, look_s=0.05, fatal_s=0.1)
        _exercise(target, roles.dev, KubernetesOptions(autoscale_max=2, max_unavailable="1"))
        answer = cluster.proxy("GET", (roles.dev, "cooler", 8000), "health/ping")
        assert answer.status == 404, "let through; the deployment is gone"
        cluster.proxy("POST", (roles.dev, "cooler", 8000), "api/v1.0/predictions", body={})
        used = _used(roles.fake, since)
        assert {one for one in used if one[1] != KSERVE.group} == _granted(deployment_rights("seldon"))
        with pytest.raises(Forbidden):
            target.apply(_deployment(roles.elsewhere, "1"))
        assert cluster.find(SELDON, roles.dev, "cooler") is None


@pytest.mark.skipif(bool(KUBECONFIG), reason="only the fake tells what it was asked")
def test_the_plain_shape_works_with_its_own_role(roles: Roles) -> None:
    assert roles.fake is not None
    kube, given = roles.fake.kube, deployment_rights("plain", proxy=False)
    token = kube.access.token("plain")
    for right in given:
        kube.access.grant("plain", right.verbs, right.group, right.resource, namespace=roles.dev)
    path = kube.kubeconfig(roles.kubeconfig.with_name("plain"), token=token, namespace=roles.dev)
    since = len(kube.requests)
    with open_cluster(kubeconfig=str(path)) as cluster:
        target = KubernetesTarget(cluster, shape="plain", look_s=0.05, fatal_s=0.1)
        _exercise(target, roles.dev, KubernetesOptions(shape="plain", autoscale_max=2, max_unavailable="1"))
    used = _used(roles.fake, since)
    assert {one for one in used if one[1] not in (KSERVE.group, SELDON.group)} == _granted(given)


@pytest.mark.skipif(bool(KUBECONFIG), reason="only the fake tells what it was asked, and has an operator")
def test_the_monitor_sees_with_its_role_and_changes_nothing(roles: Roles) -> None:
    assert roles.fake is not None
    kube = roles.fake.kube
    with open_cluster(kubeconfig=str(roles.kubeconfig)) as cluster:
        KubernetesTarget(cluster, look_s=0.05, fatal_s=0.1).apply(_deployment(roles.dev, "1"))
        path = kube.kubeconfig(
            roles.kubeconfig.with_name("monitor"), token=kube.access.account_token(roles.home, "hydraulic-monitor")
        )
        since = len(kube.requests)
        with open_cluster(kubeconfig=str(path)) as watching:
            target = KubernetesTarget(watching)
            assert [one.state for one in target.observe(roles.dev)] == ["healthy"]
            service_level(watching, roles.dev, "cooler")
            used = _used(roles.fake, since)
            # It looks at the kinds of the other shapes too, where a role lets it; this one does not.
            others = {("list", KSERVE.group, KSERVE.plural)}
            assert used - others == _granted(watching_rights("seldon"))
            for change in (
                lambda: target.delete(roles.dev, "cooler"),
                lambda: target.apply(_deployment(roles.dev, "2")),
            ):
                with pytest.raises(Forbidden):
                    change()
        KubernetesTarget(cluster, look_s=0.05).delete(roles.dev, "cooler")


def _deployment(namespace: str, version: str, name: str = "m") -> Deployment:
    main = Predictor(name="default", model=pinned(version, name))
    return Deployment(name="cooler", namespace=namespace, predictors=(main,))


def _exercise(target: KubernetesTarget, namespace: str, options: KubernetesOptions) -> None:
    """Create, update, fail in two ways, log, see, delete."""
    target.preflight(namespace, options)
    assert target.apply(_deployment(namespace, "1"), options=options).state == "healthy"
    fewer = replace(options, autoscale_max=0, max_unavailable="")
    assert target.apply(_deployment(namespace, "2"), options=fewer).state == "healthy"
    assert target.logs(namespace, "cooler")
    if options.shape == "seldon":
        service_level(target.cluster, namespace, "cooler")  # the fake has no pods/proxy: it is asked
    with pytest.raises(Failed, match="crashed"):
        target.apply(_deployment(namespace, "3", BAD), timeout_s=30)
    target.apply(_deployment(namespace, "4", SICK), wait=False)
    wait_until(lambda: "probe failed" in target.get(namespace, "cooler").cause)
    assert [one.name for one in target.observe(namespace)] == ["cooler"]
    target.delete(namespace, "cooler")
    assert target.get(namespace, "cooler").state == "not found"


def test_the_table_of_rights_names_only_shapes() -> None:
    assert set(rights.SHAPES) == {"seldon", "kserve", "plain"}
    assert leader_rights("x")[1].names == ("x",)
