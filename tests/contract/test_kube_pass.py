"""What a pass over many deployments asks of the API server: lists, in pages, and nothing by deployment."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from mlflow_hydraulic.deploy_targets.kubernetes import cluster as calls
from mlflow_hydraulic.deployment import Deployment
from tests.fakekube.kube import FakeKube
from tests.support.kube_target import Rig, rig
from tests.support.kube_values import deployment
from tests.support.local import until

MANY = 1000


@pytest.fixture
def seldon(tmp_path: Path) -> Iterator[Rig]:
    with rig(tmp_path) as made:
        yield made


def copies(kube: FakeKube, many: int) -> None:
    """As many settled deployments as that, as copies of one that the operator made, put straight into the store."""
    for plural in ("seldondeployments", "deployments"):
        (key,) = [key for key in kube.store.objects if key.plural == plural]
        uid = kube["seldondeployments", "prod", "cooler"]["metadata"]["uid"]
        text = json.dumps(kube.store.objects[key])
        for number in range(1, many):
            name = f"cooler{number}"
            made = json.loads(text.replace("cooler", name).replace(uid, f"uid-{number}"))
            kube.store.write(replace(key, name=made["metadata"]["name"]), made, "ADDED")


def test_a_pass_over_a_thousand_with_nothing_to_do_is_a_few_pages_of_lists(seldon: Rig) -> None:
    seldon.target.apply(deployment())
    seldon.fake.operator.stop()
    seldon.fake.workloads.stop()
    copies(seldon.fake.kube, MANY)
    seldon.fake.kube.requests.clear()
    found = seldon.target.observe("prod")
    assert len(found) == MANY
    assert {(one.state, one.cause) for one in found} == {("healthy", "")}
    asked = [(method, urlsplit(path)) for method, path, _ in seldon.fake.kube.requests]
    assert {method for method, _ in asked} == {"GET"}
    pages = -(-MANY // calls.PAGE)
    assert len(asked) == 2 * pages + 2, "SeldonDeployments and their Deployments in pages, then KServe's and plain ones"
    for _, path in asked:
        assert path.path.rpartition("/")[2] in ("seldondeployments", "inferenceservices", "deployments")
        assert int(parse_qs(path.query)["limit"][0]) <= 500


def test_a_list_that_expires_between_its_pages_begins_again(seldon: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calls, "PAGE", 1)
    for name in ("a", "b", "c"):
        seldon.target.apply(deployment_called(name))
    whole = seldon.target.observe("prod")
    kube = seldon.fake.kube
    expired: list[str] = []
    answer = seldon.cluster.call

    def call(method: str, path: str, **more: object) -> object:
        if "continue" in str(more.get("query_params")) and not expired:
            expired.append(path)
            kube.namespace("elsewhere")  # the first page's moment has passed
            kube.expire_watches()
        return answer(method, path, **more)

    seldon.cluster.call = call
    assert seldon.target.observe("prod") == whole
    assert expired
    assert [one.name for one in whole] == ["a", "b", "c"]


def deployment_called(name: str) -> Deployment:
    return replace(deployment(), name=name)


def test_pods_are_listed_once_for_all_where_something_is_not_well(tmp_path: Path) -> None:
    with rig(tmp_path) as made:
        for name in ("a", "b", "c"):
            made.target.apply(deployment_called(name))
        made.fake.workloads.befalls = lambda one: (
            None if one["metadata"]["name"].startswith("a-") else "CrashLoopBackOff"
        )
        made.fake.workloads.look_again()
        until(lambda: [o.state for o in made.target.observe("prod")] == ["healthy", "unhealthy", "unhealthy"], "ill")
        made.fake.kube.requests.clear()
        found = made.target.observe("prod")
        assert ["crashed" in one.cause for one in found] == [False, True, True]
        assert len(made.fake.kube.requests) == 5
