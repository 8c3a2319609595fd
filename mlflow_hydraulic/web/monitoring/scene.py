"""One deployment as the monitoring page sees it: its record, true values, who answered, what training knew.

Opened for one request by the routes of `api.monitoring`. What this server cannot read is said, never an error: record
and true values are files of the machine where deployments record.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from mlflow_hydraulic.accuracy.store import FILE as ACTUALS
from mlflow_hydraulic.accuracy.store import ActualStore
from mlflow_hydraulic.deployment import ModelVersion
from mlflow_hydraulic.errors import BadInput, HydraulicError, NotFound, Unavailable
from mlflow_hydraulic.evidence import sight
from mlflow_hydraulic.monitor.findings import Subject
from mlflow_hydraulic.monitor.series.sample import Answerer, answerers
from mlflow_hydraulic.monitor.versions import Training, Versions
from mlflow_hydraulic.record.recorder import record_folder
from mlflow_hydraulic.record.store import FILE as RECORD
from mlflow_hydraulic.record.store import Store
from mlflow_hydraulic.rig.measures import MEASURES, Interval
from mlflow_hydraulic.web.ask import Ask
from mlflow_hydraulic.web.house import Files, House

log = logging.getLogger("hydraulic.web")
MEASURED = "unseen_runs"  # of training's back-tests: runs that the model had not seen
Opened = TypeVar("Opened", Store, ActualStore)


@dataclass(frozen=True, kw_only=True)
class Scene:
    """record, actuals: None where they cannot be read here; unread says why. parts: what runs, by the last look.

    answered: predictors and versions in the record, those that run first, the champion before all.
    """

    house: House
    subject: Subject
    target: str
    namespace: str
    parts: tuple[sight.Part, ...]
    record: Store | None
    actuals: ActualStore | None
    answered: tuple[Answerer, ...]
    unread: str

    def choose(self, id: str = "") -> Answerer:  # noqa: A002 - as the query names it
        """The answerer of this id, or the first; `NotFound` says what there is."""
        if not self.answered:
            raise NotFound(self.unread)
        found = self.answered[0] if not id else next((one for one in self.answered if one.id == id), None)
        if found is None:
            names = ", ".join(repr(one.id) for one in self.answered)
            raise NotFound(f"predictor {id!r}: nothing of it is recorded; recorded are {names}")
        return found

    def role(self, one: Answerer) -> str:
        """What it does now: champion, arm, challenger; "" where it does not run any more."""
        return next((part.role for part in self.parts if _is(part, one)), "")

    def training(self, one: Answerer) -> tuple[Training | None, str]:
        """What its version knew of its training, or None and why nobody knows."""
        try:
            return _versions(self.house.settings.home, self.house.files).training(_version(one)), ""
        except HydraulicError as error:
            return None, f"There is no baseline to compare with: {error}"

    def trained(self, one: Answerer) -> Mapping[str, Interval]:
        """What training measured on runs that it had not seen; empty where nobody knows."""
        catalogue, served = self.house.catalogue, one.served
        if catalogue is None or not served.version.isdigit():
            return {}
        try:
            run = catalogue.version(served.model, int(served.version)).run
        except HydraulicError:  # it was deleted since: what it answered is still shown
            return {}
        logged = {metric.key: metric.value for metric in (run.metrics if run else ())}
        found = {}
        for name in MEASURES:
            values = [logged.get(f"{MEASURED}/{name}{end}") for end in ("", "_low", "_high")]
            known = [value for value in values if value is not None]
            if len(known) == len(values):
                found[name] = Interval(*known)
        return found


@contextmanager
def scene(ask: Ask, environment: str, deployment: str) -> Iterator[Scene]:
    """Everything that there is about one deployment; `NotFound` where its environment is not configured any more."""
    house = ask.house
    try:
        place = house.configuration.environment(environment)
    except BadInput as error:
        raise NotFound(str(error)) from error
    with house.engine.connect() as connection:
        row = sight.find(connection, house.workspace, environment, deployment)
    said = sight.read_said(row["said"]) if row else sight.Said()
    target, namespace = (said.target or place.target).partition(":")[0], said.namespace or place.namespace
    subject = Subject(
        environment=environment,
        deployment=deployment,
        workspace=house.workspace,
        model=str(row["model"]) if row else "",
    )
    with ExitStack() as stack:
        record, unread = _record(stack, house)
        answered, unread = _answered(record, namespace, deployment, target, unread)
        yield Scene(
            house=house,
            subject=subject,
            target=target,
            namespace=namespace,
            parts=said.predictors,
            record=record,
            actuals=_actuals(stack, house),
            answered=tuple(sorted(answered, key=lambda one: _rank(said.predictors, one))),
            unread=unread,
        )


def _record(stack: ExitStack, house: House) -> tuple[Store | None, str]:
    folder = record_folder(house.settings)
    try:
        record = Store(folder / RECORD, make=False)
    except NotFound:
        return None, (
            f"This server finds no prediction record in {folder}, so rows and charts of them are not shown; levels, "
            "findings and the service's counts come from the evidence database. Where deployments record on another "
            "machine, share that folder and name it in HYDRAULIC_RECORD_FOLDER; else see that HYDRAULIC_RECORD is on."
        )
    except HydraulicError as error:
        log.warning("%s", error)
        return None, f"The prediction record cannot be read on this server: {error}"
    stack.callback(record.close)
    return record, ""


def _actuals(stack: ExitStack, house: House) -> ActualStore | None:
    try:
        actuals = ActualStore(record_folder(house.settings) / ACTUALS, make=False)
    except NotFound:
        return None
    except HydraulicError as error:
        log.warning("%s", error)
        return None
    stack.callback(actuals.close)
    return actuals


def _answered(
    record: Store | None, namespace: str, deployment: str, target: str, unread: str
) -> tuple[list[Answerer], str]:
    if record is None:
        return [], unread
    try:
        found = answerers(record, namespace, deployment, target)
    except NotFound:
        found = []
    except Unavailable as error:
        return [], f"The prediction record cannot be read now: {error}"
    if any(one.last for one in found):
        return [one for one in found if one.last], ""
    if found:
        return [], (
            "Only aggregates of this deployment are recorded (HYDRAULIC_RECORD=aggregates): there are no rows to show. "
            "The service's counts and the findings stand below; Grafana shows the aggregates where it is set up."
        )
    return [], (
        "Nothing that was asked of this deployment is recorded yet. Ask it something, for example with the sample "
        "request on its page; where nothing comes then, HYDRAULIC_RECORD is off."
    )


ROLES = ("champion", "arm", "challenger")


def _rank(parts: tuple[sight.Part, ...], one: Answerer) -> tuple[int, float]:
    roles = [ROLES.index(part.role) for part in parts if _is(part, one) and part.role in ROLES]
    return min(roles, default=len(ROLES)), -one.last


def _is(part: sight.Part, one: Answerer) -> bool:
    return (part.name, part.version) == (one.served.predictor, one.served.version)


def _version(one: Answerer) -> ModelVersion:
    served = one.served
    uri = f"models:/{served.model}/{served.version}"
    return ModelVersion(uri=uri, name=served.model, version=served.version, digest=served.digest)


@functools.lru_cache(maxsize=8)
def _versions(home: Path, files: Files | None) -> Versions:
    """Of one process: baselines take a moment to read."""

    def folder(model: ModelVersion) -> Path:
        here = home / "models" / model.digest
        if model.digest and here.is_dir():
            return here
        if files is None:
            raise NotFound(f"the files of {model.uri} are not on this machine")
        return files.folder(model)

    return Versions(folder=folder, measured=lambda _: {})
