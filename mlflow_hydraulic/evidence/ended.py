"""Log-ins that somebody ended: a session's cookie is signed and kept by the browser, so a log-out is remembered here.

A row is kept for as long as the session could have lived. Asked by `web.login` at every request with a session.
"""

from __future__ import annotations

from sqlalchemy import Connection, Engine, delete, insert, select
from sqlalchemy.exc import IntegrityError

from mlflow_hydraulic.evidence.tables import ended_sessions as table


def end(engine: Engine, session: str, *, until_s: int, now_s: int) -> None:
    """Remember that `session` has ended, until it would have by itself; twice is as good as once. Times: Unix."""
    with engine.begin() as connection:
        connection.execute(delete(table).where(table.c.until_s < now_s))
    try:
        with engine.begin() as connection:
            connection.execute(insert(table).values(id=session, until_s=until_s))
    except IntegrityError:
        return  # ended before


def is_ended(connection: Connection, session: str) -> bool:
    """Whether somebody logged out of `session`."""
    return connection.execute(select(table.c.id).where(table.c.id == session)).first() is not None
