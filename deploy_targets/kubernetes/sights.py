"""Reads what is in the cluster, for one deployment or for all of a namespace. Called by the target and its waiting.

A look at a whole namespace makes list calls only, whatever the number of deployments; pods are listed, once for all,
only where something is not well or where nothing else tells how many answer.
"""

from __future__ import annotations

from dataclasses import replace

from mlflow_hydraulic.deploy_targets.kubernetes import identity, preflight
from mlflow_hydraulic.deploy_targets.kubernetes.cluster import Cluster, Json
from mlflow_hydraulic.deploy_targets.kubernetes.identity import is_ours
from mlflow_hydraulic.deploy_targets.kubernetes.judge import Sight, judge
from mlflow_hydraulic.deploy_targets.kubernetes.refusals import Forbidden, NotServed
from mlflow_hydraulic.deploy_targets.kubernetes.resources import DEPLOYMENT, POD
from mlflow_hydraulic.deploy_targets.kubernetes.rights import Right
from mlflow_hydraulic.deploy_targets.kubernetes.shape import SHAPES, Shape

SELDON_ID = "seldon-deployment-id"  # the operator's label on all that it makes; its value is the name
PODS = f"{identity.NAME}=model,{identity.INSTANCE}"
Place = tuple[str, str]  # namespace, name


class Sights:
    """What was read of deployments, whole enough to be judged.

    shape: the one that must be readable; "" for whichever our role is made for.
    """

    def __init__(self, cluster: Cluster, shape: str) -> None:
        self._cluster = cluster
        self._shape = shape

    def one(self, namespace: str, name: str) -> Sight | None:
        """What stands for a deployment, without pods: ours, or a SeldonDeployment of somebody else's."""
        foreign: Sight | None = None
        for shape in SHAPES.values():
            main = self.main(shape, namespace, name)
            if main is not None and is_ours(main):
                return self.around(shape, main)
            if main is not None and shape.name == "seldon":
                foreign = Sight(shape=shape, main=main)
        return foreign

    def main(self, shape: Shape, namespace: str, name: str) -> Json | None:
        """The object of one shape under a name, whoever made it."""
        try:
            return self._cluster.find(shape.main, namespace, name)
        except Forbidden:
            if self._must_read(shape, namespace):
                raise
            return None

    def around(self, shape: Shape, main: Json) -> Sight:
        """The object with the Deployments behind it."""
        if shape.name != "seldon":
            return Sight(shape=shape, main=main)
        metadata = main["metadata"]
        held = self._cluster.list(DEPLOYMENT, metadata["namespace"], labels=f"{SELDON_ID}={metadata['name']}")
        return Sight(shape=shape, main=main, deployments=held.items)

    def with_pods(self, sight: Sight) -> Sight:
        """The sight with its pods."""
        metadata = sight.main["metadata"]
        labels = f"{identity.NAME}=model,{identity.INSTANCE}={metadata['name']}"
        return replace(sight, pods=self._cluster.list(POD, metadata["namespace"], labels=labels).items)

    def clear(self, sight: Sight) -> Sight:
        """The sight with its pods where they tell more than is known."""
        return sight if _is_clear(sight) else self.with_pods(sight)

    def all(self, namespace: str | None) -> list[Sight]:
        """All that is ours in a namespace, or (None) wherever we may look."""
        found: list[Sight] = []
        for shape in SHAPES.values():
            mains = self._listed(shape, namespace)
            held: dict[Place, list[Json]] = {}
            if mains and shape.name == "seldon":
                held = _by(SELDON_ID, self._cluster.list(DEPLOYMENT, namespace, labels=SELDON_ID).items)
            found += [Sight(shape=shape, main=one, deployments=held.get(_place(one), ())) for one in mains]
        if all(_is_clear(one) for one in found):
            return found
        pods = _by(identity.INSTANCE, self._cluster.list(POD, namespace, labels=PODS).items)
        return [one if _is_clear(one) else replace(one, pods=pods.get(_place(one.main), ())) for one in found]

    def _listed(self, shape: Shape, namespace: str | None) -> list[Json]:
        try:
            return self._cluster.list(shape.main, namespace, labels=identity.SELECTOR).items
        except NotServed:
            return []
        except Forbidden:
            if self._must_read(shape, namespace):
                raise
            return []

    def _must_read(self, shape: Shape, namespace: str | None) -> bool:
        """Whether a kind that we may not read could hold something of ours: a role names the shape in use only."""
        if self._shape:
            return shape.name == self._shape and self._cluster.serves(shape.main)
        others = (one for one in SHAPES.values() if one != shape)
        return not any(self._may_make(one, namespace) for one in others) and self._cluster.serves(shape.main)

    def _may_make(self, shape: Shape, namespace: str | None) -> bool:
        """Whether our role is for this shape: it may make what stands for a deployment there, and read it."""
        main = shape.main
        right = Right(group=main.group, resource=main.plural, verbs=("create", "list"), why="")
        return not preflight.missing(self._cluster, namespace or "", [right])


def _is_clear(sight: Sight) -> bool:
    """Whether all is known without a look at pods."""
    return sight.shape.name != "kserve" and judge(sight).observed.state in ("healthy", "terminating")


def _place(value: Json) -> Place:
    return value["metadata"]["namespace"], value["metadata"]["name"]


def _by(label: str, values: list[Json]) -> dict[Place, list[Json]]:
    found: dict[Place, list[Json]] = {}
    for one in values:
        name = (one["metadata"].get("labels") or {}).get(label, "")
        found.setdefault((one["metadata"]["namespace"], name), []).append(one)
    return found
