"""The registry of MLflow's server as the pages read and move it: the server's own watched store, no HTTP between.

A part of `web.house`, made by `site`. What it changes passes gate and ledger, all of it in one transaction.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mlflow.entities.model_registry.model_version_stages import STAGE_DELETED_INTERNAL
from mlflow.store.model_registry.dbmodels.models import (
    SqlModelVersion,
    SqlModelVersionTag,
    SqlRegisteredModel,
    SqlRegisteredModelAlias,
    SqlRegisteredModelTag,
)
from mlflow.store.tracking.dbmodels.models import SqlRun
from sqlalchemy import Connection, select

from mlflow_hydraulic.configuration import Configuration
from mlflow_hydraulic.errors import Conflict, NotFound
from mlflow_hydraulic.moves import Move
from mlflow_hydraulic.plugin.caller import why
from mlflow_hydraulic.plugin.client import OwnRegistry, own_registry
from mlflow_hydraulic.plugin.errors import from_mlflow, translated
from mlflow_hydraulic.plugin.foreseen import verdict_on
from mlflow_hydraulic.plugin.moves import carry_out_within, place
from mlflow_hydraulic.plugin.registry import is_prompt
from mlflow_hydraulic.policy import Verdict
from mlflow_hydraulic.registry import RegisteredModel, Registry, Version, intent_digest

if TYPE_CHECKING:
    from mlflow_hydraulic.people.rights import Who


@dataclass(frozen=True, kw_only=True)
class ServersRegistrar:
    """The registry of one workspace, as this server has it open. client: gives the store's own; asked at every call."""

    configuration: Configuration
    workspace: str = "default"
    client: Callable[[], OwnRegistry] = own_registry

    def registry(self, names: Sequence[str] | None = None) -> Registry:
        """All registered models, or those of `names` that there are; without prompts. Five queries."""
        with from_mlflow("the registry cannot be read"), self.client().store.engine.connect() as connection:
            return Registry(tuple(read_models(connection, self.workspace, names)), (self.workspace,))

    def model(self, name: str) -> RegisteredModel:
        """One registered model with its versions; `NotFound` where there is none of that name."""
        return _only(self.registry((name,)), name)

    def judge(self, model: RegisteredModel, moves: Sequence[Move], who: Who, reason: str) -> Verdict:
        """What the gate would say of `moves` of `model`, made now and together by `who`."""
        with self.client().store.engine.connect() as connection:
            return verdict_on(connection, model, moves, self.configuration, who=who, reason=reason)

    def carry_out(self, name: str, moves: Sequence[Move], reason: str, digest: str = "") -> None:
        """Make all of `moves`, or none: the gate judges them as a whole, and all their ledger rows are of one moment.

        digest: of the intent of the model that they were thought of for (`intent_digest`); `Conflict` where somebody
        moved it meanwhile, `Refused` with every reason where the gate says no, which is then on record.
        """
        client = self.client()
        with why(reason), from_mlflow(f"models:/{name}"), client.store.together() as connection, translated():
            model = _only(Registry(tuple(read_models(connection, self.workspace, (name,)))), name)
            if digest and intent_digest([model]) != digest:
                raise Conflict("somebody moved it meanwhile: nothing was done; look again what it would change")
            carry_out_within(client, name, moves, reason)

    def place(self, model: str, project: str, reason: str) -> None:
        """Bring a model into `project`, or out of the one it is in for "": its tag, through the gate."""
        with why(reason):
            place(self.client(), model, project)


def _only(registry: Registry, name: str) -> RegisteredModel:
    found = registry.model(name)
    if found is None:
        raise NotFound(f"the registry has no model {name!r}")
    return found


def read_models(connection: Connection, workspace: str, names: Sequence[str] | None) -> Iterable[RegisteredModel]:
    """The models as values, by name; tags of versions and models whole, the user of each version's run as trainer."""
    tags: dict[str, dict[str, str]] = defaultdict(dict)
    for name, key, value in _rows(connection, SqlRegisteredModelTag, ("name", "key", "value"), workspace, names):
        tags[name][key] = value
    aliases: dict[str, dict[str, int]] = defaultdict(dict)
    for name, alias, number in _rows(
        connection, SqlRegisteredModelAlias, ("name", "alias", "version"), workspace, names
    ):
        aliases[name][alias] = number
    marks: dict[tuple[str, int], dict[str, str]] = defaultdict(dict)
    for name, number, key, value in _rows(
        connection, SqlModelVersionTag, ("name", "version", "key", "value"), workspace, names
    ):
        marks[name, number][key] = value
    versions: dict[str, list[Version]] = defaultdict(list)
    for row in connection.execute(_versions(workspace, names)):
        mine = sorted(alias for alias, number in aliases[row.name].items() if number == row.version)
        versions[row.name].append(
            Version(
                model=row.name,
                number=row.version,
                stage=row.current_stage,
                aliases=tuple(mine),
                tags=marks[row.name, row.version],
                source=row.source or "",
                run_id=row.run_id or "",
                trainer=row.user_id or "",
            )
        )
    for (name,) in _rows(connection, SqlRegisteredModel, ("name",), workspace, names):
        if not is_prompt(tags[name]):
            yield RegisteredModel(
                name=name,
                versions=tuple(sorted(versions[name], key=lambda version: version.number)),
                aliases=aliases[name],
                tags=tags[name],
                workspace=workspace,
            )


def _versions(workspace: str, names: Sequence[str] | None) -> Any:  # Any: SQLAlchemy's select over untyped tables
    table = SqlModelVersion
    columns = (table.name, table.version, table.current_stage, table.source, table.run_id, SqlRun.user_id)
    query = select(*columns).outerjoin(SqlRun, SqlRun.run_uuid == table.run_id)
    query = query.where(table.workspace == workspace, table.current_stage != STAGE_DELETED_INTERNAL)
    return query if names is None else query.where(table.name.in_(names))


def _rows(
    connection: Connection, table: Any, columns: Sequence[str], workspace: str, names: Sequence[str] | None
) -> Any:  # Any: rows of untyped tables
    query = select(*(getattr(table, column) for column in columns)).where(table.workspace == workspace)
    query = query if names is None else query.where(table.name.in_(names))
    return connection.execute(query.order_by(table.name))
