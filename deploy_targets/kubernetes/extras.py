"""The objects beside a plain Deployment: its Service, autoscaler and disruption budget. Called by the target.

They belong to the Deployment, so the cluster removes them with it.
"""

from __future__ import annotations

from collections.abc import Sequence

from mlflow_hydraulic.deploy_targets.kubernetes import apply as writing
from mlflow_hydraulic.deploy_targets.kubernetes.cluster import Cluster, Json
from mlflow_hydraulic.deploy_targets.kubernetes.identity import is_ours
from mlflow_hydraulic.deploy_targets.kubernetes.resources import AUTOSCALER, BUDGET, resource_of
from mlflow_hydraulic.errors import BadInput


def check_extras(cluster: Cluster, manifests: Sequence[Json]) -> None:
    """Dry run of each; `BadInput` where one would overwrite what is not ours."""
    for one in manifests:
        resource, metadata = resource_of(one), one["metadata"]
        there = cluster.find(resource, metadata["namespace"], metadata["name"])
        if there is not None and not is_ours(there):
            raise BadInput(
                f"{resource.kind} {metadata['name']!r} in namespace {metadata['namespace']!r} is not ours: "
                "choose another name for the deployment"
            )
        writing.lay(cluster, resource, one, dry=True)


def lay_extras(cluster: Cluster, main: Json, manifests: Sequence[Json]) -> None:
    """Makes them as they should be, and removes autoscaler and budget where they are not asked for any more."""
    owner = {
        "apiVersion": main["apiVersion"],
        "kind": main["kind"],
        "name": main["metadata"]["name"],
        "uid": main["metadata"]["uid"],
    }
    for one in manifests:
        writing.lay(cluster, resource_of(one), {**one, "metadata": {**one["metadata"], "ownerReferences": [owner]}})
    wanted = {one["kind"] for one in manifests}
    namespace, name = main["metadata"]["namespace"], main["metadata"]["name"]
    for resource in (one for one in (AUTOSCALER, BUDGET) if one.kind not in wanted):
        there = cluster.find(resource, namespace, name)
        if there is not None and is_ours(there):
            cluster.delete(resource, namespace, name, uid=there["metadata"]["uid"])
