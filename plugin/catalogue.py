"""The pages' `Catalogue` over MLflow's tables, its watched registry store and its artifacts. Wired by `site`."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from mlflow.entities.model_registry import ModelVersionTag
from mlflow.store.model_registry.dbmodels.models import SqlRegisteredModel
from sqlalchemy import Connection, Engine, select

from mlflow_hydraulic.errors import BadInput, NotFound
from mlflow_hydraulic.evidence.ledger import Event, append
from mlflow_hydraulic.evidence.recorded import stage_subject, tag_subject
from mlflow_hydraulic.people.members import project_of
from mlflow_hydraulic.people.rights import Who
from mlflow_hydraulic.people.visible import Readable
from mlflow_hydraulic.plugin import catalogue_run as runs
from mlflow_hydraulic.plugin.artifacts import Artifacts
from mlflow_hydraulic.plugin.caller import caller
from mlflow_hydraulic.plugin.catalogue_files import read_card, read_figures, read_image
from mlflow_hydraulic.plugin.catalogue_rows import MODEL_TAGS, VERSION_TAGS, VERSIONS, Rows, is_own, iso
from mlflow_hydraulic.plugin.errors import from_mlflow, translated
from mlflow_hydraulic.plugin.models import LOGGED
from mlflow_hydraulic.registry import INTENT_TAGS, TAG_PREFIX
from mlflow_hydraulic.web.catalogue import Card, Figure, Filter, History, Listing, Model, Sibling, Tag, Version

MODELS: Any = SqlRegisteredModel.__table__  # Any: MLflow's tables are untyped
OF_RUN = re.compile(r"runs:/+(?P<run>[0-9a-f]{32})/(?P<path>.+)")


@dataclass(frozen=True, slots=True, kw_only=True)
class MlflowCatalogue:
    """engine: of the registry. tracking: gives the one of the runs, mostly of the same database. store: gives the
    watched registry store, which changes pass."""

    engine: Engine
    tracking: Callable[[], Engine]
    store: Callable[[], Any]  # Any: MLflow's stores are untyped
    workspace: str = "default"

    def page(self, asked: Filter, who: Who, readable: Readable) -> Listing:
        with self.engine.connect() as connection:
            return self._rows.page(connection, asked, who, readable)

    def model(self, model: str) -> Model:
        where = (MODELS.c.workspace == self.workspace, MODELS.c.name == model)
        tags = select(MODEL_TAGS.c.key, MODEL_TAGS.c.value).where(
            MODEL_TAGS.c.workspace == self.workspace, MODEL_TAGS.c.name == model
        )
        with self.engine.connect() as connection:
            found = connection.execute(select(MODELS).where(*where)).first()
            if found is None:
                raise NotFound(f"model {model!r}: there is no such registered model")
            return Model(
                name=found.name,
                project=project_of(connection, self.workspace, model) or "",
                description=found.description or "",
                created=iso(found.creation_time),
                updated=iso(found.last_updated_time),
                tags=[Tag(key=key, value=value or "") for key, value in connection.execute(tags)],
            )

    def version(self, model: str, number: int) -> Version:
        with self.engine.connect() as connection:
            line = self._rows.line(connection, model, number)
            if line is None:
                raise _absent(model, number)
            row = self._row(connection, model, number)
            tags = self._tags(connection, model, number)
        run_id, model_id = row.run_id or "", _logged(row.source)
        with self.tracking().connect() as connection:
            return Version(
                line=line,
                description=row.description or "",
                updated=iso(row.last_updated_time),
                status=row.status or "",
                source=row.source or "",
                run_id=run_id,
                model_id=model_id,
                facts=[tag for tag in tags if not is_own(tag.key)],
                logged_params=list(runs.logged_params(connection, model_id)) if model_id else [],
                run=runs.read_run(connection, run_id) if run_id else None,
            )

    def siblings(self, model: str, number: int, who: Who, readable: Readable) -> list[Sibling]:
        with self.engine.connect() as connection:
            run_id = self._row(connection, model, number).run_id
        if not run_id:
            return []
        with self.tracking().connect() as connection:
            of = {**runs.same_data(connection, run_id), run_id: "run"}
        with self.engine.connect() as connection:
            found = self._rows.of_runs(connection, list(of), who, readable)
        return [
            Sibling(model=name, version=version, of=of[run])
            for name, version, run in found
            if (name, version) != (model, number)
        ]

    def card(self, model: str, number: int) -> Card:
        return read_card(self._files(model, number))

    def figures(self, model: str, number: int) -> list[Figure]:
        place = self._run_place(model, number)
        return read_figures(Artifacts(place)) if place else []

    def image(self, model: str, number: int, path: str) -> bytes:
        place = self._run_place(model, number)
        if not place:
            raise NotFound(f"version {number} of {model!r} has no run with artifacts")
        return read_image(Artifacts(place), path)

    def histories(self, model: str, number: int, key: str = "") -> list[History]:
        with self.engine.connect() as connection:
            run_id = self._row(connection, model, number).run_id
        if not run_id:
            return []
        with self.tracking().connect() as connection:
            return runs.read_histories(connection, run_id, key)

    def tag(self, model: str, number: int, key: str, value: str) -> None:
        with self._changed(model, number, key, value):
            self.store().set_model_version_tag(model, str(number), ModelVersionTag(key, value))

    def untag(self, model: str, number: int, key: str) -> None:
        with self._changed(model, number, key, None):
            self.store().delete_model_version_tag(model, str(number), key)

    def describe(self, model: str, number: int, text: str) -> None:
        what = f"the description of version {number} of {model!r} cannot be changed"
        with from_mlflow(what), self.store().together() as connection, translated():
            before = self._row(connection, model, number).description or ""
            self.store().update_model_version(model, str(number), text)
            if text != before:
                append(connection, [self._event("described", stage_subject(model, number), model, before, text)])

    @contextmanager
    def _changed(self, model: str, number: int, key: str, after: str | None) -> Iterator[None]:
        """Change a tag within: in one transaction with the ledger's row, which for tags of intent the gate writes."""
        if key.startswith(TAG_PREFIX) and key not in INTENT_TAGS:
            raise BadInput(
                f"tag {key!r}: tags that begin with {TAG_PREFIX!r} are facts that controllers write; of them only "
                f"{', '.join(INTENT_TAGS)} may be changed"
            )
        what = f"tag {key!r} of version {number} of {model!r} cannot be changed"
        with from_mlflow(what), self.store().together() as connection, translated():
            before = {tag.key: tag.value for tag in self._tags(connection, model, number)}.get(key)
            if after is None and before is None:
                raise NotFound(f"version {number} of {model!r} has no tag {key!r} (any more)")
            yield
            if key not in INTENT_TAGS and before != after:
                append(connection, [self._event("tagged", tag_subject(model, number, key), model, before, after)])

    def _event(self, verb: str, subject: str, model: str, before: str | None, after: str | None) -> Event:
        who = caller()
        return Event(
            verb=verb,
            subject=subject,
            actor=who.name,
            model=model,
            before=before,
            after=after,
            reason=who.reason,
            workspace=self.workspace,
        )

    @property
    def _rows(self) -> Rows:
        return Rows(self.workspace)

    def _row(self, connection: Connection, model: str, number: int) -> Any:
        where = (VERSIONS.c.workspace == self.workspace, VERSIONS.c.name == model, VERSIONS.c.version == number)
        row = connection.execute(select(VERSIONS).where(*where)).first()
        if row is None:
            raise _absent(model, number)
        return row

    def _tags(self, connection: Connection, model: str, number: int) -> list[Tag]:
        query = select(VERSION_TAGS.c.key, VERSION_TAGS.c.value).where(
            VERSION_TAGS.c.workspace == self.workspace, VERSION_TAGS.c.name == model, VERSION_TAGS.c.version == number
        )
        return [
            Tag(key=key, value=value or "") for key, value in connection.execute(query.order_by(VERSION_TAGS.c.key))
        ]

    def _files(self, model: str, number: int) -> Artifacts:
        """The folder of the model's files."""
        with self.engine.connect() as connection:
            row = self._row(connection, model, number)
        place = row.storage_location or row.source or ""
        with self.tracking().connect() as connection:
            if model_id := _logged(place):
                place = runs.logged_place(connection, model_id)
            elif of_run := OF_RUN.fullmatch(place):
                root = runs.run_place(connection, of_run["run"])
                place = f"{root.rstrip('/')}/{of_run['path']}" if root else ""
        if not place:
            raise NotFound(
                f"the files of version {number} of {model!r} are not there (any more): {row.source!r} is gone"
            )
        return Artifacts(place)

    def _run_place(self, model: str, number: int) -> str:
        with self.engine.connect() as connection:
            run_id = self._row(connection, model, number).run_id
        if not run_id:
            return ""
        with self.tracking().connect() as connection:
            return runs.run_place(connection, run_id)


def of_server(engine: Engine) -> MlflowCatalogue:
    """The catalogue of MLflow's server, in whose process this is."""
    from mlflow.server import handlers

    def tracking() -> Engine:
        return getattr(handlers._get_tracking_store(), "engine", engine)

    return MlflowCatalogue(engine=engine, tracking=tracking, store=handlers._get_model_registry_store)


def _logged(source: str | None) -> str:
    """The id of the logged model that a version's source names; "" for other sources."""
    match = LOGGED.fullmatch(source or "")
    return match["name"] if match else ""


def _absent(model: str, number: int) -> NotFound:
    return NotFound(f"version {number} of {model!r}: there is no such version (any more)")
