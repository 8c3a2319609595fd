"""The routing table: which scorers answer for which predictor. Made by the supervisor, swapped whole in the router."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mlflow_hydraulic.deploy_targets.local.upstream import Upstream
from mlflow_hydraulic.deploy_targets.local.weights import Wheel
from mlflow_hydraulic.deployment import Deployment
from mlflow_hydraulic.record.recorder import PREDICTOR_HEADER


@dataclass(slots=True, eq=False)
class Replica:
    """One scorer as the router sees it. `ready` is set and cleared by its keeper."""

    id: str
    version: str
    upstream: Upstream
    ready: bool = False


class Lane:
    """The replicas of one predictor, in turn."""

    def __init__(self, predictor: str, version: str, replicas: Sequence[Replica]) -> None:
        self.predictor, self.version = predictor, version
        self.replicas = tuple(replicas)
        self._turn = 0
        self._line = b"\r\n" + PREDICTOR_HEADER + b": " + predictor.encode() + b"\r\n"

    def pick(self, avoid: Replica | None = None) -> Replica | None:
        """The next ready replica, another one than `avoid` where there is one; None when none is ready."""
        ready = [r for r in self.replicas if r.ready]
        if not ready:
            return None
        others = [r for r in ready if r is not avoid] or ready
        self._turn += 1
        return others[self._turn % len(others)]

    def named(self, request: bytes) -> bytes:
        """A request with one header more: for which predictor it is answered, for the prediction record."""
        return request.replace(b"\r\n", self._line, 1)


class Table:
    """Predictors with their shares, and the shadow with the share that it is sent."""

    def __init__(self, deployment: Deployment, replicas: dict[str, list[Replica]]) -> None:
        self.lanes = {p.name: Lane(p.name, p.model.version, replicas.get(p.name, [])) for p in deployment.all}
        self._wheel = Wheel({p.name: p.traffic for p in deployment.predictors})
        self.shadow = self.lanes[deployment.shadow.name] if deployment.shadow else None
        self.shadow_percent = deployment.shadow.traffic if deployment.shadow else 0

    def deal(self) -> Lane:
        """The lane of the predictor whose turn it is."""
        return self.lanes[self._wheel.next()]
