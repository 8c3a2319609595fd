"""Which versions were seen to run, and where: what `sight` holds, by version. Called by the models' pages."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, select

from mlflow_hydraulic.evidence.sight import read_said
from mlflow_hydraulic.evidence.tables import sight

Versions = dict[tuple[str, int], list["Observed"]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Observed:
    """One version in one deployment. role: champion, arm or challenger. state: of the deployment."""

    environment: str
    deployment: str
    role: str
    state: str


def versions_seen(
    connection: Connection, workspace: str, *, models: Sequence[str] | None = None, environment: str = ""
) -> Versions:
    """By model and version, in the order of environments' and deployments' names; all where nothing is asked for."""
    columns = (sight.c.environment, sight.c.deployment, sight.c.model, sight.c.state, sight.c.said)
    query = select(*columns).where(sight.c.workspace == workspace)
    if models is not None:
        query = query.where(sight.c.model.in_(models))
    if environment:
        query = query.where(sight.c.environment == environment)
    found: Versions = defaultdict(list)
    for row in connection.execute(query.order_by(sight.c.environment, sight.c.deployment)):
        for part in read_said(row.said).predictors:
            if part.model == row.model and part.version.isascii() and part.version.isdecimal():
                one = Observed(environment=row.environment, deployment=row.deployment, role=part.role, state=row.state)
                found[row.model, int(part.version)].append(one)
    return found
