"""What a pod itself says of its trouble: the last lines of its log, and its warnings. Called by the target.

Read only to explain a failure; where the right to read them is missing, the cause stands without them.
"""

from __future__ import annotations

from dataclasses import replace

from mlflow_hydraulic.deploy_targets.kubernetes.causes import Trouble
from mlflow_hydraulic.deploy_targets.kubernetes.cluster import Cluster
from mlflow_hydraulic.deploy_targets.kubernetes.judge import Verdict
from mlflow_hydraulic.deploy_targets.kubernetes.resources import EVENT, POD
from mlflow_hydraulic.deployment import Observed
from mlflow_hydraulic.errors import BadInput, HydraulicError, NotFound

BYTES = 65_536
RANK_OF_WAITING = 4  # and below: the pod's state alone does not say why


def last_lines(cluster: Cluster, trouble: Trouble, lines: int = 20) -> tuple[str, ...]:
    """The end of the log of the container in trouble, that of before its restart where it was restarted."""
    if not trouble.container:
        return ()
    return container_log(cluster, (trouble.namespace, trouble.pod, trouble.container), lines, previous=trouble.previous)


def container_log(
    cluster: Cluster, place: tuple[str, str, str], lines: int, *, previous: bool = False
) -> tuple[str, ...]:
    """The last lines of the container `place[2]` of the pod `place[1]`; none without a log, or the right to read it."""
    namespace, pod, container = place
    query: dict[str, str | int] = {"container": container, "tailLines": lines, "limitBytes": BYTES}
    for one in ({**query, "previous": "true"}, query) if previous else (query,):
        try:
            text = cluster.text(POD.path(namespace, pod, "log"), one)
        except (BadInput, NotFound):
            continue  # it did not start, or was never restarted
        except HydraulicError:
            return ()
        if text.strip():
            return tuple(text.splitlines()[-lines:])
    return ()


def warning(cluster: Cluster, trouble: Trouble) -> str:
    """The last warning about the pod, such as a probe's answer; "" where its state says enough."""
    if trouble.rank > RANK_OF_WAITING or not trouble.pod:
        return ""
    try:
        page = cluster.list(EVENT, trouble.namespace, fields=f"involvedObject.name={trouble.pod},type=Warning")
    except HydraulicError:
        return ""
    newest = max(page.items, key=lambda one: one.get("lastTimestamp") or one.get("eventTime") or "", default=None)
    return f"{newest.get('reason')}: {newest.get('message')}" if newest else ""


def explained(cluster: Cluster, verdict: Verdict) -> Observed:
    """The verdict with what its pod says: the warning in the cause, and the log."""
    if verdict.trouble is None:
        return verdict.observed
    more = warning(cluster, verdict.trouble)
    cause = "; ".join(filter(None, (verdict.observed.cause, more)))
    lines = last_lines(cluster, verdict.trouble)
    return replace(verdict.observed, cause=cause, log=lines or verdict.observed.log)
