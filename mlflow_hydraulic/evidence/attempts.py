"""The controller's memory of failures: back off from what may heal, and wait for a change where it will not."""

from __future__ import annotations

import hashlib
import random
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from sqlalchemy import Connection, delete, insert, select

from mlflow_hydraulic.evidence.tables import attempts

FIRST_WAIT_S = 2.0
LONGEST_WAIT_S = 300.0
LONGEST_WANTED = 512
LONGEST_CAUSE = 4000  # characters; a scorer's log can be long


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """What went wrong the last time that `wanted` was tried for one model in one environment."""

    environment: str
    model: str
    wanted: str
    failures: int
    permanent: bool
    not_before: datetime
    cause: str

    @property
    def due(self) -> datetime | None:
        """When it may be tried again; None when it waits for a change."""
        return None if self.permanent else self.not_before

    def bars(self, wanted: str, now: datetime) -> bool:
        """Whether to leave it alone for now; anything else that is wanted is tried at once."""
        return self.wanted == wanted and (self.permanent or now < self.not_before)


def known(connection: Connection, workspace: str = "default") -> dict[tuple[str, str], Attempt]:
    """Every remembered failure in `workspace` by (environment, model)."""
    found = connection.execute(select(attempts)).mappings()
    every = [
        Attempt(
            environment=row["environment"],
            model=row["model"],
            wanted=row["wanted"],
            failures=row["failures"],
            permanent=bool(row["permanent"]),
            not_before=datetime.fromisoformat(row["not_before"]),
            cause=row["cause"],
        )
        for row in found
    ]
    bare = [(one, one.model.rpartition("/")[2]) for one in every]
    here = [replace(one, model=name) for one, name in bare if one.model == _stored(workspace, name)]
    return {(one.environment, one.model): one for one in here}


def fitting(wanted: str) -> str:
    """`wanted` as the table's column takes it: a long one ends in its hash."""
    if len(wanted) <= LONGEST_WANTED:
        return wanted
    return f"{wanted[: LONGEST_WANTED - 65]}#{hashlib.sha256(wanted.encode()).hexdigest()}"


def failed(before: Attempt | None, *, key: tuple[str, str], wanted: str, error: Exception, now: datetime) -> Attempt:
    """The next memory after a failure; pure but for the jitter that keeps controllers apart."""
    failures = before.failures + 1 if before and before.wanted == wanted else 1
    wait_s = min(LONGEST_WAIT_S, FIRST_WAIT_S * 2 ** min(failures - 1, 30)) * random.uniform(0.8, 1.2)  # noqa: S311 - jitter
    return Attempt(
        environment=key[0],
        model=key[1],
        wanted=wanted,
        failures=failures,
        permanent=not getattr(error, "retryable", False),
        not_before=now + timedelta(seconds=wait_s),
        cause=(str(error) or type(error).__name__)[:LONGEST_CAUSE],
    )


def remember(connection: Connection, workspace: str, attempt: Attempt) -> None:
    """Store it in place of what was remembered for the same model and environment."""
    forget(connection, workspace, attempt.environment, attempt.model)
    connection.execute(
        insert(attempts).values(
            environment=attempt.environment,
            model=_stored(workspace, attempt.model),
            wanted=attempt.wanted,
            failures=attempt.failures,
            permanent=int(attempt.permanent),
            not_before=attempt.not_before.isoformat(timespec="microseconds"),
            cause=attempt.cause,
        )
    )


def forget(connection: Connection, workspace: str, environment: str, model: str) -> None:
    stored = _stored(workspace, model)
    connection.execute(delete(attempts).where(attempts.c.environment == environment, attempts.c.model == stored))


def _stored(workspace: str, model: str) -> str:
    """MLflow allows no slash in a model's name, so this is exact."""
    return model if workspace == "default" else f"{workspace}/{model}"
