"""Waits until a change stands, or has failed, or a deployment is gone. Called by the target."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

from mlflow_hydraulic.deploy_targets.kubernetes.cluster import Cluster, Json
from mlflow_hydraulic.deploy_targets.kubernetes.evidence import explained
from mlflow_hydraulic.deploy_targets.kubernetes.judge import Sight, Verdict, behind, judge
from mlflow_hydraulic.deploy_targets.kubernetes.memory import change_of
from mlflow_hydraulic.deploy_targets.kubernetes.settle import Before, noticed, stirred, without_old_pods
from mlflow_hydraulic.deploy_targets.kubernetes.shape import Shape
from mlflow_hydraulic.deploy_targets.kubernetes.sights import Sights
from mlflow_hydraulic.deploy_targets.kubernetes.watch import changes
from mlflow_hydraulic.deployment import Observed
from mlflow_hydraulic.errors import Conflict, Failed, Unavailable

STEP_S = 0.1


class RolloutFailed(Failed):
    """A change that will not get ready by itself; with its cause and the last lines of the log that tells it."""

    def __init__(self, name: str, seen: Observed) -> None:
        lines = "".join(f"\n  {line}" for line in seen.log)
        logged = f"\nthe container's log ends with:{lines}" if lines else ""
        super().__init__(f"deployment {name!r} failed: {seen.cause}{logged}")
        self.cause, self.log = seen.cause, seen.log


class Waiting:
    """Waiting for what the cluster makes of a change.

    look_s: how often to look where no event comes, and how often at pods. fatal_s: how long fatal trouble must last
    until it is believed.
    """

    def __init__(self, cluster: Cluster, sights: Sights, *, look_s: float, fatal_s: float) -> None:
        self._cluster = cluster
        self._sights = sights
        self._look_s = look_s
        self._fatal_s = fatal_s

    def until_settled(self, shape: Shape, main: Json, old: Before, end: float, timeout_s: float) -> None:
        """Returns when the change that wrote `main` stands and answers.

        Raises `RolloutFailed`, `Conflict` where somebody else changed or deleted it meanwhile, and `Unavailable` at
        the time `end` of the cluster's clock.
        """
        mark, name = change_of(main), main["metadata"]["name"]
        moved, ill_since, pods_at = False, None, 0.0
        verdict: Verdict | None = None
        for sight in self._looks(shape, main, end):
            _check_still_ours(sight, main, mark)
            moved = moved or stirred(sight, old)
            believed = moved or noticed(sight, old)
            verdict = judge(sight)
            if verdict.observed.state == "healthy" and believed and self._still_healthy(sight):
                return
            if verdict.observed.state == "healthy":
                verdict = None  # of what was there before
                continue
            gave_up = verdict.observed.state == "failed"  # the operator, for no pod was looked at yet
            if self._cluster.now() < pods_at and not (gave_up and believed):
                continue  # events come in bursts, and pods may be many
            pods_at = self._cluster.now() + self._look_s
            verdict = judge(without_old_pods(self._sights.with_pods(sight), old))
            ill = verdict.trouble is not None and verdict.trouble.fatal
            ill_since = (self._cluster.now() if ill_since is None else ill_since) if ill else None
            lasted = ill_since is not None and self._cluster.now() - ill_since >= self._fatal_s
            if lasted or (gave_up and believed):
                raise RolloutFailed(name, explained(self._cluster, verdict))
        raise Unavailable(_late(name, verdict, timeout_s))

    def until_gone(self, sight: Sight, end: float, timeout_s: float) -> None:
        """Returns when the object and the Deployments behind it are gone; another of its name is not waited for."""
        metadata = sight.main["metadata"]
        namespace, name, uid = metadata["namespace"], metadata["name"], metadata["uid"]
        looks = changes(self._cluster, sight.shape.main, namespace, name, until=end, look_s=self._look_s)
        with closing(looks):
            gone = any(main is None or main["metadata"]["uid"] != uid for main in looks)
        while gone and behind(self._sights.around(sight.shape, sight.main)) and sight.shape.name == "seldon":
            if self._cluster.now() >= end:
                gone = False
            self._cluster.sleep(STEP_S)
        if not gone:
            raise Unavailable(
                f"deployment {name!r} is not gone after {timeout_s:g} s and goes on ending; "
                "allow more with -C timeout_s=SECONDS"
            )

    def _still_healthy(self, sight: Sight) -> bool:
        """Looks once more: the object was read before its Deployments, and may have told of before their change."""
        metadata = sight.main["metadata"]
        now = self._sights.main(sight.shape, metadata["namespace"], metadata["name"])
        return now is not None and judge(self._sights.around(sight.shape, now)).observed.state == "healthy"

    def _looks(self, shape: Shape, main: Json, end: float) -> Iterator[Sight]:
        metadata = main["metadata"]
        found = changes(
            self._cluster, shape.main, metadata["namespace"], metadata["name"], until=end, look_s=self._look_s
        )
        with closing(found):
            for one in found:
                if one is None:
                    raise Conflict(
                        f"deployment {metadata['name']!r} was deleted by somebody else while it was being changed"
                    )
                yield self._sights.around(shape, one)


def _check_still_ours(sight: Sight, main: Json, mark: str) -> None:
    name = main["metadata"]["name"]
    if sight.main["metadata"]["uid"] != main["metadata"]["uid"] or change_of(sight.main) != mark:
        raise Conflict(f"deployment {name!r} was changed by somebody else meanwhile: their change goes on")


def _late(name: str, verdict: Verdict | None, timeout_s: float) -> str:
    seen = "Seldon's operator has not noticed the change yet: does it run?"
    if verdict is not None:
        observed = verdict.observed
        seen = f"it is {observed.state}" + (f": {observed.cause}" if observed.cause else "")
    return (
        f"deployment {name!r} is not ready after {timeout_s:g} s and goes on trying; {seen}; "
        "allow more with -C timeout_s=SECONDS"
    )
