"""A deployment's levels, who answered, and where else to look: the head of the monitoring page. For page and API."""

from __future__ import annotations

from urllib.parse import urlencode

from msgspec import Struct

from mlflow_hydraulic.monitor.grafana.deployment import UID as DEPLOYMENT
from mlflow_hydraulic.monitor.grafana.service import UID as SERVICE
from mlflow_hydraulic.monitor.series import told
from mlflow_hydraulic.monitor.series.chart import iso
from mlflow_hydraulic.monitor.series.sample import Answerer
from mlflow_hydraulic.monitor.series.span import Span
from mlflow_hydraulic.monitor.series.values import probability
from mlflow_hydraulic.web.ask import Ask
from mlflow_hydraulic.web.monitoring.scene import Scene


class LevelNow(Struct, frozen=True, kw_only=True):
    """One level as the monitor last saw it. colour: green, orange, red, or grey. looked: ISO, "" never."""

    level: str
    colour: str
    why: str
    looked: str


class Answering(Struct, frozen=True, kw_only=True):
    """A predictor with one version in the record. role: champion, arm, challenger, or "" where it runs no more.

    first, last: when it answered, ISO. inputs, outputs: the columns that can be looked at.
    """

    id: str
    name: str
    role: str
    model: str
    version: str
    first: str
    last: str
    inputs: list[str]
    outputs: list[str]


class Monitored(Struct, frozen=True, kw_only=True):
    """unread: why rows cannot be shown, "" where they can. grafana: links by what they lead to; none where not set."""

    environment: str
    deployment: str
    model: str
    levels: list[LevelNow]
    answering: list[Answering]
    unread: str
    grafana: dict[str, str]


def monitored(ask: Ask, scene: Scene, span: Span) -> Monitored:
    subject = scene.subject
    with ask.house.engine.connect() as connection:
        seen = told.last_said(connection, subject)
    behind = {part.name for part in scene.parts if part.role == "challenger"}
    levels = told.levels(seen, subject, ask.now, ask.house.monitoring.rules.stale_s, behind)
    return Monitored(
        environment=subject.environment,
        deployment=subject.deployment,
        model=subject.model,
        levels=[LevelNow(level=one.level, colour=one.colour, why=one.why, looked=one.looked) for one in levels],
        answering=[_answering(scene, one) for one in scene.answered],
        unread=scene.unread,
        grafana=grafana_links(ask.house.monitoring.grafana, scene, span),
    )


def _answering(scene: Scene, one: Answerer) -> Answering:
    schema = one.schema
    return Answering(
        id=one.id,
        name=one.name,
        role=scene.role(one),
        model=one.served.model,
        version=one.served.version,
        first=iso(one.first),
        last=iso(one.last),
        inputs=list(schema.names),
        outputs=[schema.target, *map(probability, schema.labels)],
    )


def grafana_links(base: str, scene: Scene, span: Span) -> dict[str, str]:
    """Of the dashboards that `hydraulic monitor grafana` writes, at this deployment and time range."""
    if not base:
        return {}
    ends = {"from": str(round(span.since * 1e3)), "to": str(round(span.until * 1e3))}
    names = {"var-namespace": scene.namespace, "var-deployment": scene.subject.deployment}
    query = urlencode({**names, **ends})
    return {name: f"{base}/d/{uid}?{query}" for name, uid in (("rows", DEPLOYMENT), ("service", SERVICE))}
