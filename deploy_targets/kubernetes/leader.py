"""Leader election by a Kubernetes Lease: of several controllers in a cluster, the one that is awake.

Called by `cli.controller --elect`. `kubectl get lease` shows the leader. The lease in the database stays the fence of
what is written; this one only says who tries. As in client-go, nobody's clock is compared with another's: a candidate
waits until the Lease has not changed for its whole length by the candidate's own clock, and a leader that could not
renew gives up earlier than that.
"""

from __future__ import annotations

import logging
import random
import re
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from mlflow_hydraulic.clock import utc_now
from mlflow_hydraulic.deploy_targets.kubernetes.backoff import Patience
from mlflow_hydraulic.deploy_targets.kubernetes.client import open_cluster
from mlflow_hydraulic.deploy_targets.kubernetes.cluster import Cluster
from mlflow_hydraulic.deploy_targets.kubernetes.identity import MANAGED_BY, MANAGER, Json
from mlflow_hydraulic.deploy_targets.kubernetes.resources import Resource
from mlflow_hydraulic.errors import BadInput, HydraulicError

log = logging.getLogger("hydraulic.leader")
LEASE = Resource("coordination.k8s.io/v1", "leases", "Lease")
NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
JITTER = 0.2  # so that candidates do not ask in step


class Leases(Protocol):
    """The one Lease, in the API."""

    def read(self) -> Json | None:
        """None where it is not there."""
        ...

    def create(self, body: Json) -> Json:
        """`Conflict` where somebody was quicker."""
        ...

    def replace(self, body: Json) -> Json:
        """`Conflict` where it has changed since `body`'s resourceVersion."""
        ...


class ApiLease:
    """One Lease of a cluster. Its calls are tried once: the elector itself tries again, and keeps time."""

    def __init__(self, cluster: Cluster, namespace: str, name: str) -> None:
        self._cluster, self._namespace, self._name = cluster, namespace, name

    def read(self) -> Json | None:
        return self._cluster.find(LEASE, self._namespace, self._name)

    def create(self, body: Json) -> Json:
        return self._cluster.create(LEASE.path(self._namespace), body)

    def replace(self, body: Json) -> Json:
        """By apply, which the resourceVersion in it makes a replacement of exactly what was read."""
        return self._cluster.apply(LEASE, body, manager=MANAGER, force=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """Seconds. lease_s: unchanged for so long, it is free. renew_s: a leader gives up who could not renew for so long.
    retry_s: between two tries."""

    lease_s: float = 15.0
    renew_s: float = 10.0
    retry_s: float = 2.0

    def __post_init__(self) -> None:
        if not 0 < self.retry_s * (1 + JITTER) < self.renew_s < self.lease_s:
            raise ValueError(f"{self}: retry_s must be less than renew_s, and renew_s less than lease_s")


@dataclass(frozen=True, slots=True)
class Moment:
    """Now, by two clocks: a machine that slept stops the monotonic one, and a wall clock may be set."""

    monotonic: float
    wall: datetime

    def since(self, other: Moment) -> float:
        """Seconds from `other`, by the clock that went further."""
        return max(self.monotonic - other.monotonic, (self.wall - other.wall).total_seconds())


def moment() -> Moment:
    return Moment(time.monotonic(), utc_now())


class Elector:
    """One candidate. `start` runs it in a thread; `stop` gives the Lease back.

    place: namespace and name of the Lease. holder: our name in it, never used twice.
    """

    def __init__(
        self,
        leases: Leases,
        *,
        place: tuple[str, str],
        holder: str,
        terms: Terms | None = None,
        now: Callable[[], Moment] = moment,
    ) -> None:
        self.namespace, self.name = place
        self.holder = holder
        self._leases, self._terms, self._now = leases, terms or Terms(), now
        self._renewed: Moment | None = None  # when the renewal was asked for that succeeded last
        self._seen: tuple[Any, float] = (None, 0.0)  # the Lease's spec, and since when it has been so
        self._told = ""
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None

    def is_leader(self) -> bool:
        """Whether we lead now; false by itself when we could not renew in time, whatever our thread is held up by."""
        renewed = self._renewed
        return renewed is not None and self._now().since(renewed) < self._terms.renew_s

    def start(self) -> None:
        """Try in a thread of its own until `stop`."""
        self._thread = threading.Thread(target=self._run, name="leader", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Lead no more, and give the Lease back so that the next need not wait. What we do must have ended before."""
        self._ended.set()
        if self._thread is not None:
            self._thread.join()
        if self._renewed is None:
            return
        self._renewed = None
        try:
            current = self._leases.read()
            if current is not None and _holder(current) == self.holder:
                self._leases.replace(self._written(current, holder="", length_s=1))
        except HydraulicError as error:
            log.warning("Lease %s could not be given back and will run out: %s", self.name, error)

    def _run(self) -> None:
        while not self._ended.is_set():
            self.step()
            self._ended.wait(self._terms.retry_s * random.uniform(1, 1 + JITTER))  # noqa: S311 - no secret

    def step(self) -> None:
        """One try to take or renew the Lease. An API server that is away, or refuses, is told once and tried again."""
        led = self._renewed is not None
        asked = self._now()
        try:
            if self._try(asked):
                self._renewed = asked
                self._tell("%s leads, by Lease %s", self.holder, self.name)
            else:
                self._renewed = None
                self._tell("Lease %s is held by %s: waiting", self.name, _holder({"spec": self._seen[0]}))
        except HydraulicError as error:
            self._tell("Lease %s: %s", self.name, error)
        if led and not self.is_leader():
            self._renewed = None
            log.warning("%s leads no more", self.holder)

    def _try(self, asked: Moment) -> bool:
        """Whether the Lease is ours now; raises where nobody can tell."""
        current = self._leases.read()
        if current is None:
            self._note(self._leases.create(self._written({}, holder=self.holder)))
            return True
        self._note(current)
        if not (_holder(current) in ("", self.holder) or self._is_over(asked)):
            return False
        # A `Conflict` from here says that it was written between our two requests: nothing is known until the next try.
        self._note(self._leases.replace(self._written(current, holder=self.holder)))
        return True

    def _note(self, lease: Json) -> None:
        """Remember what the Lease says, and since when by our own clock it has said so."""
        spec = lease.get("spec") or {}
        if spec != self._seen[0]:
            self._seen = (spec, self._now().monotonic)

    def _is_over(self, asked: Moment) -> bool:
        """Whether the holder let its time run out: unchanged for as long as the holder itself said."""
        spec, since = self._seen
        said = spec.get("leaseDurationSeconds")
        length = said if isinstance(said, int) and said > 0 else self._terms.lease_s
        return asked.monotonic - since >= length

    def _written(self, current: Mapping[str, Any], *, holder: str, length_s: float | None = None) -> Json:  # Any: JSON
        before, now = dict(current.get("spec") or {}), utc_now().strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        new = holder != before.get("holderIdentity")
        there = current.get("metadata") or {}
        metadata = {key: there[key] for key in ("uid", "resourceVersion") if key in there}
        metadata |= {"name": self.name, "namespace": self.namespace, "labels": {MANAGED_BY: MANAGER}}
        spec = {
            **before,
            "holderIdentity": holder,
            "leaseDurationSeconds": round(length_s or self._terms.lease_s) or 1,
            "renewTime": now,
            "acquireTime": now if new else before.get("acquireTime", now),
            "leaseTransitions": int(before.get("leaseTransitions") or 0) + bool(new and holder and current),
        }
        return {"apiVersion": LEASE.api_version, "kind": LEASE.kind, "metadata": metadata, "spec": spec}

    def _tell(self, text: str, *args: object) -> None:
        said = text % args
        if said != self._told:
            log.info("%s", said)
            self._told = said


def _holder(lease: Mapping[str, Any]) -> str:  # Any: JSON
    return str((lease.get("spec") or {}).get("holderIdentity") or "")


def open_elector(lease: str, holder: str, terms: Terms | None = None) -> Elector:
    """A candidate for "[NAMESPACE/]NAME" in the cluster of the kubeconfig, or in the one that this process runs in."""
    terms = terms or Terms()
    cluster = open_cluster(patience=Patience(total_s=0.0, call_s=terms.renew_s / 2))
    namespace, _, name = lease.rpartition("/")
    place = (namespace or cluster.namespace, name)
    if not all(map(NAME.fullmatch, place)):
        raise BadInput(f"lease {lease!r}: write NAME or NAMESPACE/NAME, in small letters, digits and hyphens")
    return Elector(ApiLease(cluster, *place), place=place, holder=holder, terms=terms)
