"""The target URI of deployments on Kubernetes: which context of the kubeconfig, which namespace. Pure.

Called by the deployments client (`-t seldon://CONTEXT/NAMESPACE`) and by `environment` (`target = "seldon://CONTEXT"`).
"""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import unquote, urlsplit

from mlflow_hydraulic.deployment import check_name
from mlflow_hydraulic.errors import BadInput

SCHEME = "seldon"


@dataclass(frozen=True, slots=True)
class Place:
    """context "": the kubeconfig's current one, or the cluster around this process. namespace "": the context's."""

    context: str = ""
    namespace: str = ""


def parse_target(uri: str) -> Place:
    """The place that `uri` names; `BadInput` for what is no target URI of ours.

    A slash in the name of a context is written %2F.

    >>> parse_target("seldon"), parse_target("seldon:/prod")
    (Place(context='', namespace=''), Place(context='', namespace='prod'))
    >>> parse_target("seldon://user@eu.cluster/prod"), parse_target("seldon://kind-kind")
    (Place(context='user@eu.cluster', namespace='prod'), Place(context='kind-kind', namespace=''))
    >>> parse_target("seldon://arn:aws:eks:eu-1:123:cluster%2Fmain/prod").context
    'arn:aws:eks:eu-1:123:cluster/main'
    """
    if uri == SCHEME:
        return Place()
    try:
        parts = urlsplit(uri)
    except ValueError as error:
        raise BadInput(f"target {uri!r}: {error}; {_RULE}") from error
    context, namespace = unquote(parts.netloc), parts.path.strip("/")
    if parts.scheme != SCHEME or parts.query or parts.fragment or "/" in namespace or not context.isprintable():
        raise BadInput(f"target {uri!r}: {_RULE}")
    if namespace:
        check_name("namespace", namespace)
    return Place(context, namespace)


_RULE = "write seldon, seldon:/NAMESPACE, seldon://CONTEXT or seldon://CONTEXT/NAMESPACE, with %2F for a slash"
