"""Projects and their members: made, shared, restricted, left, removed. Each is one transaction with its ledger row.

Called by the pages and by `hydraulic projects`, which ask for the right first. Whoever writes waits for the ledger's
head, so that of two who write at once the second sees what the first did.
"""

from __future__ import annotations

import uuid
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ColumnElement, Connection, Engine, and_, delete, func, insert, select, update

from mlflow_hydraulic.errors import BadInput, Conflict, NotFound, Refused
from mlflow_hydraulic.evidence.asof import stamp
from mlflow_hydraulic.evidence.ledger import Event, append
from mlflow_hydraulic.evidence.recorded import hold_head
from mlflow_hydraulic.evidence.tables import members, projects
from mlflow_hydraulic.people.members import MODEL_TAGS, PROJECT_TAG
from mlflow_hydraulic.people.rights import Role
from mlflow_hydraulic.people.takes import JOINS

LONGEST_NAME, LONGEST_TEXT, LONGEST_USER = 60, 1000, 256  # characters
MEMBER = "member"


@dataclass(frozen=True, kw_only=True)
class Office:
    """One workspace's projects, for one person. by: the ledger's actor; reason: why, "" where they did not say.

    everywhere: nobody, or an administrator, whom no role limits.
    """

    engine: Engine
    workspace: str
    by: str
    now: datetime
    reason: str = ""
    everywhere: bool = True

    def create(self, name: str, description: str = "", owner: str = "") -> str:
        """Make a project and return its name, trimmed; its owner is who makes it, or `owner`.

        `BadInput` for a name against the rule, `Conflict` for one that is taken. Models that bear its tag already
        would be taken along with their secrets: only who may see them all may do that (`Refused`).
        """
        name, owner = checked(name), owner or self.by
        if len(description) > LONGEST_TEXT:
            raise BadInput(f"description of {len(description)} characters: {LONGEST_TEXT} is the most")
        with self._alone() as connection:
            self._refuse_taken(connection, name)
            waiting = tagged(connection, self.workspace, name)
            if waiting and not self.everywhere:
                raise Refused(
                    f"{len(waiting)} models bear the tag {PROJECT_TAG}={name!r} already: take another name, "
                    f"or ask an administrator to make this project"
                )
            key = uuid.uuid4().hex
            row = {"id": key, "workspace": self.workspace, "name": name, "description": description}
            connection.execute(insert(projects).values(**row, created=stamp(self.now), created_by=self.by))
            self._put(connection, key, owner, Role.OWNER)
            self._write(connection, name, {"what": "created", "owner": owner, "description": description})
            for model in waiting:
                self._write(connection, name, {"what": "joined"}, model=model)
        return name

    def describe(self, name: str, description: str) -> None:
        """Give it other words."""
        if len(description) > LONGEST_TEXT:
            raise BadInput(f"description of {len(description)} characters: {LONGEST_TEXT} is the most")
        with self._alone() as connection:
            key = self._key(connection, name)
            connection.execute(update(projects).where(projects.c.id == key).values(description=description))
            self._write(connection, name, {"what": "described", "description": description})

    def delete(self, name: str) -> list[str]:
        """Remove it and its members; its models stay, in no project, and are returned."""
        with self._alone() as connection:
            key = self._key(connection, name)
            models = tagged(connection, self.workspace, name)
            for model in models:
                self._write(connection, name, {"what": "left"}, model=model)
            connection.execute(delete(MODEL_TAGS).where(_tags(self.workspace, name)))
            connection.execute(delete(members).where(members.c.project == key))
            connection.execute(delete(projects).where(projects.c.id == key))
            self._write(connection, name, {"what": "removed", "models": models})
        return models

    def share(self, name: str, user: str, role: Role, known: Collection[str] | None = None) -> None:
        """Make `user` a member. known: MLflow's users; None where there is no log-in, and any name will do."""
        user = user.strip()
        if not 0 < len(user) <= LONGEST_USER or not user.isprintable():
            raise BadInput(f"user {user!r}: 1 to {LONGEST_USER} printable characters")
        if known is not None and user not in known:
            raise NotFound(f"MLflow has no user {user!r}: ask an administrator to create one, or look at the spelling")
        with self._alone() as connection:
            key = self._key(connection, name)
            held = _role(connection, key, user)
            if held is not None:
                raise Conflict(f"{user!r} is {held.value} of project {name!r} already: change the role instead")
            self._put(connection, key, user, role)
            self._say(connection, name, user, None, role)

    def restrict(self, name: str, user: str, role: Role) -> None:
        """Give a member another role, in force with their next request; `Conflict` for the last owner."""
        with self._alone() as connection:
            key = self._key(connection, name)
            held = self._held(connection, key, name, user)
            if held is role:
                return
            if held is Role.OWNER:
                self._refuse_last(connection, key, name, user)
            connection.execute(delete(members).where(_member(key, user)))
            self._put(connection, key, user, role)
            self._say(connection, name, user, held, role)

    def remove(self, name: str, user: str) -> None:
        """End a membership: somebody else's, or one's own; `Conflict` for the last owner."""
        with self._alone() as connection:
            key = self._key(connection, name)
            held = self._held(connection, key, name, user)
            if held is Role.OWNER:
                self._refuse_last(connection, key, name, user)
            connection.execute(delete(members).where(_member(key, user)))
            self._say(connection, name, user, held, None)

    def forget(self, user: str) -> list[str]:
        """End all memberships of a user who is deleted, and return the projects: who gets the name later is another.

        A project that loses its only owner so is the administrators' to give away.
        """
        joined = select(projects.c.id, projects.c.name, members.c.role).join(
            members, members.c.project == projects.c.id
        )
        with self._alone() as connection:
            mine = joined.where(projects.c.workspace == self.workspace, members.c.user == user)
            found = connection.execute(mine.order_by(projects.c.name)).all()
            for key, name, role in found:
                connection.execute(delete(members).where(_member(key, user)))
                self._say(connection, name, user, Role(role), None)
        return [name for _, name, _ in found]

    @contextmanager
    def _alone(self) -> Iterator[Connection]:
        with self.engine.begin() as connection:
            hold_head(connection)
            yield connection

    def _key(self, connection: Connection, name: str) -> str:
        query = select(projects.c.id).where(projects.c.workspace == self.workspace, projects.c.name == name)
        found = connection.execute(query).scalar()
        if found is None:
            raise NotFound(f"there is no project {name!r}: somebody removed it, or the name is written another way")
        return str(found)

    def _refuse_taken(self, connection: Connection, name: str) -> None:
        query = select(projects.c.name).where(projects.c.workspace == self.workspace)
        if any(taken.casefold() == name.casefold() for (taken,) in connection.execute(query)):
            raise Conflict(f"project {name!r}: the name is taken (upper and lower case are one); take another")

    def _held(self, connection: Connection, key: str, name: str, user: str) -> Role:
        held = _role(connection, key, user)
        if held is None:
            raise NotFound(f"{user!r} is no member of project {name!r}: somebody was quicker, or add them first")
        return held

    def _refuse_last(self, connection: Connection, key: str, name: str, user: str) -> None:
        others = select(func.count()).where(members.c.project == key, members.c.role == Role.OWNER.value)
        if not connection.execute(others.where(members.c.user != user)).scalar():
            raise Conflict(
                f"{user!r} is the only owner of project {name!r}: make somebody else owner first, or delete the project"
            )

    def _put(self, connection: Connection, key: str, user: str, role: Role) -> None:
        row = {"project": key, "user": user, "role": role.value, "since": stamp(self.now), "by": self.by}
        connection.execute(insert(members).values(**row))

    def _write(self, connection: Connection, name: str, after: dict[str, object], model: str = "") -> None:
        append(connection, [self._event(JOINS, name, None, after, model)], self.now)

    def _say(self, connection: Connection, name: str, user: str, before: Role | None, after: Role | None) -> None:
        was, now = (None if role is None else {"user": user, "role": role.value} for role in (before, after))
        append(connection, [self._event(MEMBER, name, was, now)], self.now)

    def _event(self, verb: str, name: str, before: object, after: object, model: str = "") -> Event:
        return Event(
            verb=verb,
            subject=f"projects:/{name}",
            actor=self.by,
            model=model,
            before=before,
            after=after,
            reason=self.reason,
            workspace=self.workspace,
        )


def checked(name: str) -> str:
    """A project's name, trimmed; `BadInput` names the rule that it breaks."""
    name = name.strip()
    rule = ""
    if not 1 <= len(name) <= LONGEST_NAME:
        rule = f"it has {len(name)} characters, and 1 to {LONGEST_NAME} are right"
    elif not name.isprintable() or "/" in name or "\\" in name:
        rule = "it holds a slash, or a character that cannot be printed"
    elif name in (".", ".."):
        rule = "a browser takes it for a folder"
    if rule:
        raise BadInput(f"project name {name[:80]!r}: {rule}")
    return name


def tagged(connection: Connection, workspace: str, name: str) -> list[str]:
    """The registered models that bear the tag of this project, sorted."""
    return sorted(model for (model,) in connection.execute(select(MODEL_TAGS.c.name).where(_tags(workspace, name))))


def _tags(workspace: str, name: str) -> ColumnElement[bool]:
    return and_(MODEL_TAGS.c.workspace == workspace, MODEL_TAGS.c.key == PROJECT_TAG, MODEL_TAGS.c.value == name)


def _member(key: str, user: str) -> ColumnElement[bool]:
    return and_(members.c.project == key, members.c.user == user)


def _role(connection: Connection, key: str, user: str) -> Role | None:
    found = connection.execute(select(members.c.role).where(_member(key, user))).scalar()
    return None if found is None else Role(found)
