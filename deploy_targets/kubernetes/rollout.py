"""Makes one change: writes it, waits for it, and takes it back where it fails. Called by the target."""

from __future__ import annotations

import contextlib
import logging
from dataclasses import dataclass

from mlflow_hydraulic.deploy_targets.kubernetes import apply as writing
from mlflow_hydraulic.deploy_targets.kubernetes.cluster import Cluster, Json
from mlflow_hydraulic.deploy_targets.kubernetes.extras import check_extras, lay_extras
from mlflow_hydraulic.deploy_targets.kubernetes.identity import read_options
from mlflow_hydraulic.deploy_targets.kubernetes.judge import Sight
from mlflow_hydraulic.deploy_targets.kubernetes.memory import Refusal, change_of, remembering
from mlflow_hydraulic.deploy_targets.kubernetes.options import KubernetesOptions
from mlflow_hydraulic.deploy_targets.kubernetes.settle import before
from mlflow_hydraulic.deploy_targets.kubernetes.shape import Shape
from mlflow_hydraulic.deploy_targets.kubernetes.sights import Sights
from mlflow_hydraulic.deploy_targets.kubernetes.waiting import RolloutFailed, Waiting
from mlflow_hydraulic.deployment import Deployment, Observed
from mlflow_hydraulic.errors import BadInput, Conflict, Failed, HydraulicError, Refused, Unavailable

RESTORE_TIMEOUT_S = 60.0  # for what was there before to be told again; its pods never went
log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One change. seen, was: what is there, and how it was judged; None for a creation.

    manifests: the object that stands for it first; with KServe all are of that object, in their order.
    mark: by which the change is known again in the cluster. force: take fields of other managers over.
    """

    deployment: Deployment
    options: KubernetesOptions
    shape: Shape
    manifests: tuple[Json, ...]
    seen: Sight | None
    was: Observed | None
    mark: str
    force: bool

    @property
    def steps(self) -> tuple[Json, ...]:
        """What the main object is to be, one after the other; KServe's first is left out where it serves already."""
        if self.shape.name != "kserve":
            return self.manifests[:1]
        serves = self.was.serving.predictors[0] if self.was and self.was.serving else None
        first = self.deployment.predictors[0]
        same = serves is not None and (serves.name, serves.model) == (first.name, first.model)
        return self.manifests[-1:] if same else self.manifests

    @property
    def extras(self) -> tuple[Json, ...]:
        return self.manifests[1:] if self.shape.name == "plain" else ()


class Rollout:
    """Changes of one cluster."""

    def __init__(self, cluster: Cluster, sights: Sights, waiting: Waiting) -> None:
        self._cluster = cluster
        self._sights = sights
        self._waiting = waiting

    def make(self, change: Change, *, wait: bool, timeout_s: float | None) -> None:
        """Makes it, until it stands; `Stale` where the object was changed since it was seen, and then nothing is done.

        Raises as `KubernetesTarget.apply` does.
        """
        if timeout_s is None:
            timeout_s = float(change.options.start_timeout_s + change.options.grace_s)
        end = self._cluster.now() + timeout_s
        seen = change.seen.main if change.seen else None
        for number, manifest in enumerate(change.steps):
            self._write(self._marked(change, manifest, number), change, seen, dry=True)
        check_extras(self._cluster, change.extras)
        old = before(change.seen)
        for number, manifest in enumerate(change.steps):
            main = self._write(self._marked(change, manifest, number), change, seen, dry=False)
            try:
                if change.shape.name == "plain":
                    lay_extras(self._cluster, main, change.extras)
                if wait or number + 1 < len(change.steps):
                    self._waiting.until_settled(change.shape, main, old, end, timeout_s)
            except (Failed, BadInput, Refused) as error:
                raise self._taken_back(change, main, error) from error
            except KeyboardInterrupt:
                if change.seen is None:
                    self._remove(change, main)
                raise
            sight = self._sights.around(change.shape, main)
            seen, old = main, before(sight)

    def _marked(self, change: Change, manifest: Json, step: int) -> Json:
        serving = change.was.serving if change.was else None
        previous = None if serving == change.deployment else serving
        return remembering(manifest, f"{change.mark}-{step}", previous=previous)

    def _write(self, manifest: Json, change: Change, seen: Json | None, *, dry: bool) -> Json:
        if seen is None:
            return writing.create(self._cluster, change.shape.main, manifest, dry=dry)
        return writing.update(self._cluster, change.shape.main, manifest, seen, force=change.force, dry=dry)

    def _taken_back(self, change: Change, main: Json, error: HydraulicError) -> HydraulicError:
        """The error to raise, after what was there before is there again; or, after a creation, nothing."""
        if change.seen is None:
            self._remove(change, main)
            return error
        try:
            self._restore(change, change.seen, error)
        except HydraulicError as trouble:
            log.warning("%s could not be set back: %s", change.deployment.name, trouble)
            return Failed(f"{error}\nwhat was there before could not be set back ({trouble}): apply it again")
        serving = change.was.serving if change.was else None
        if serving is None:
            return error
        versions = ", ".join(one.model.version for one in serving.predictors)
        return Failed(f"{error}\nversion {versions} goes on serving")

    def _remove(self, change: Change, main: Json) -> None:
        metadata = main["metadata"]
        namespace, name = metadata["namespace"], metadata["name"]
        self._cluster.delete(change.shape.main, namespace, name, uid=metadata["uid"])
        end = self._cluster.now() + RESTORE_TIMEOUT_S
        self._waiting.until_gone(self._sights.around(change.shape, main), end, RESTORE_TIMEOUT_S)

    def _restore(self, change: Change, seen: Sight, error: HydraulicError) -> None:
        """Writes what we had applied before once more, so that nothing of the failed change goes on trying."""
        now = self._sights.main(change.shape, change.deployment.namespace, change.deployment.name)
        if now is None or change_of(now).partition("-")[0] != change.mark:
            return  # somebody else has taken it over
        cause, lines = (error.cause, error.log) if isinstance(error, RolloutFailed) else (str(error), ())
        refused = Refusal(deployment=change.deployment, cause=cause, log=lines)
        manifest = remembering(writing.owned_part(seen.main), f"{change.mark}-back", refused=refused)
        old = before(self._sights.with_pods(self._sights.around(change.shape, now)))
        restored = writing.update(self._cluster, change.shape.main, manifest, now, force=True)
        if change.shape.name == "plain":
            was, options = change.shape.read(seen.main), read_options(seen.main)
            lay_extras(self._cluster, restored, change.shape.make(was, options, {})[1:])
        end = self._cluster.now() + RESTORE_TIMEOUT_S
        with contextlib.suppress(Unavailable, Failed, Conflict):  # it was not well before either, or it goes on
            self._waiting.until_settled(change.shape, restored, old, end, RESTORE_TIMEOUT_S)
