"""Ends a deployment that somebody made by hand, as `mlflow deployments delete` does: the target's own delete.

Called by the route that deletes deployments. What a controller made is ended by withdrawing its intent instead.
"""

from __future__ import annotations

from sqlalchemy import delete

from mlflow_hydraulic.deploy_targets.environment import Mlflow, open_environment
from mlflow_hydraulic.errors import BadInput, Conflict, HydraulicError, NotFound, Refused, Unavailable
from mlflow_hydraulic.evidence.ledger import Event, append
from mlflow_hydraulic.evidence.tables import sight
from mlflow_hydraulic.plan import Running
from mlflow_hydraulic.web.ask import Ask

ENDED = "ended"


def end(ask: Ask, environment: str, deployment: str, reason: str) -> None:
    """End it, with the reason in the ledger; it first answers what it has accepted.

    `Refused` for one that a controller made, `NotFound` where there is none, `Unavailable` where this server does not
    reach its target: the message names the command that does.
    """
    if not reason.strip():
        raise BadInput("say why, it goes into the ledger (as reason, or as the header X-Hydraulic-Reason)")
    named = next((one for one in ask.house.configuration.environments if one.name == environment), None)
    if named is None:
        raise NotFound(f"environment {environment!r} is not configured here: nobody knows its target")
    way = f'"mlflow deployments delete -t {named.target}:/{named.namespace} --name {deployment}" where it runs'
    try:
        target = open_environment(named, ask.house.settings, Mlflow(tracking_uri="", storage=lambda model: model.uri))
        seen = next((one for one in target.observe() if one.deployment.name == deployment), None)
    except HydraulicError as error:
        raise Unavailable(f"this server does not reach {named.target}: {error}; use {way}") from error
    if seen is None:
        raise Unavailable(f"{deployment!r} does not run where this server can reach it: use {way}")
    if seen.managed:
        raise Refused(f"{deployment!r} was made by the controller: it ends when its version is no longer asked for")
    _tell(ask, environment, seen, reason.strip())
    try:
        target.delete(deployment, seen)
    except Unavailable as error:
        raise Conflict(f"it was not ended: {error}") from error
    with ask.house.engine.begin() as connection:  # the controller's next look puts it back if it is there after all
        here = (sight.c.environment == environment, sight.c.deployment == deployment)
        connection.execute(delete(sight).where(sight.c.workspace == ask.house.workspace, *here))


def _tell(ask: Ask, environment: str, seen: Running, reason: str) -> None:
    """Who ended it and why; what then runs no more is the controller's row."""
    event = Event(
        verb=ENDED,
        subject=f"{environment}/{seen.deployment.name}",
        actor=ask.who.actor,
        model=seen.model,
        environment=environment,
        before=str(seen.wanted),
        reason=reason,
        workspace=ask.house.workspace,
    )
    with ask.house.engine.begin() as connection:
        append(connection, [event], ask.now)
