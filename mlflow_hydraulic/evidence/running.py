"""What runs, as the ledger's rows of verb "runs" tell it. Pure; called by `reconcile`, read back by `compositions`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace

from mlflow_hydraulic.deployment import Predictor
from mlflow_hydraulic.evidence.attempts import Attempt
from mlflow_hydraulic.evidence.ledger import CONTROLLER_ACTOR, UNKNOWN_ACTOR, Event
from mlflow_hydraulic.evidence.recorded import RUNS
from mlflow_hydraulic.plan import Running

FOUND = "found by the controller: changed behind its back, or by a controller that ended before it wrote it down"


def late_reasons(running: Sequence[Running], failures: Mapping[tuple[str, str], Attempt]) -> dict[tuple[str, str], str]:
    """Reasons, by environment and name, of what runs as a try began it that was over before it was healthy.

    failures: the memory of them by environment and model. What failed for good began nothing.
    """
    reasons = {}
    for one in running:
        attempt = failures.get((one.environment, one.model))
        if attempt and not attempt.permanent and one.managed and _aimed_at(attempt, one):
            reasons[one.environment, one.deployment.name] = f"begun by an earlier try: {attempt.cause}"
    return reasons


def _aimed_at(attempt: Attempt, one: Running) -> bool:
    """Its `wanted` is "update v1 @7"; it names replicas only where somebody said how many."""
    wanted = attempt.wanted.partition(" ")[2].rpartition(" @")[0]
    return wanted in (str(one.wanted), str(replace(one.wanted, replicas=())))


def running_events(
    running: Sequence[Running],
    last: Mapping[str, object],
    because: Mapping[tuple[str, str], str],
    workspace: str = "default",
) -> list[Event]:
    """Events for every deployment that runs otherwise than `last` (by "environment/name") tells.

    because: the reasons of what controllers did, by environment and name; whoever did the rest is unknown. Only what
    was seen healthy counts as having run: as-of tells of it, and a rollback goes back to it.
    """
    now = {f"{one.environment}/{one.deployment.name}": one for one in running}
    events = []
    for subject in sorted(now.keys() | last.keys()):
        one, before = now.get(subject), last.get(subject)
        after = composition(one) if one else None
        if before == after or (one and one.state != "healthy"):
            continue
        environment, _, name = subject.partition("/")
        reason = because.get((environment, name))
        events.append(
            Event(
                verb=RUNS,
                subject=subject,
                actor=CONTROLLER_ACTOR if reason else UNKNOWN_ACTOR,
                model=one.model if one else str(before["model"]) if isinstance(before, dict) else "",
                environment=environment,
                before=before,
                after=after,
                reason=reason or FOUND,
                workspace=workspace,
            )
        )
    return events


def composition(one: Running) -> dict[str, object]:
    """What answers there, as JSON: model, predictors with version, digest, traffic, replicas, and the shadow."""
    deployment = one.deployment
    return {
        "model": one.model,
        "predictors": [_predictor(p) for p in deployment.predictors],
        "shadow": _predictor(deployment.shadow) if deployment.shadow else None,
    }


def _predictor(predictor: Predictor) -> dict[str, object]:
    said = asdict(predictor.model)
    return {**said, "traffic": predictor.traffic, "replicas": predictor.replicas}
