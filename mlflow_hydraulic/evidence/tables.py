"""The tables of the evidence database, beside MLflow's own and never in its metadata.

`migrations/` makes them; a test proves that both agree, on SQLite and on PostgreSQL. Times are text, ISO 8601 in UTC
with microseconds, because they are hashed: a database may not round them. Lengths hold MLflow's longest names (256
characters, 63 of a workspace) joined as we join them, within the 3072 bytes, 4 for a character, of MySQL's indexes.
"""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Double, Index, Integer, MetaData, String, Table, Text
from sqlalchemy.dialects.mysql import LONGTEXT

LONG_TEXT = Text().with_variant(LONGTEXT(), "mysql")  # MySQL's TEXT ends at 64 kB

metadata = MetaData(
    naming_convention={"pk": "pk_%(table_name)s", "ix": "ix_%(table_name)s_%(column_0_name)s"},
)

ledger = Table(
    "hydraulic_ledger",
    metadata,
    Column("seq", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=False),
    Column("at", String(32), nullable=False),
    Column("workspace", String(63), nullable=False),
    Column("actor", String(256), nullable=False),
    Column("verb", String(32), nullable=False),
    Column("model", String(256), nullable=False),
    Column("subject", String(640), nullable=False),
    Column("environment", Text, nullable=False),
    Column("before", Text, nullable=False),
    Column("after", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("prev", String(64), nullable=False),
    Column("hash", String(64), nullable=False),
    Index("ix_hydraulic_ledger_model", "model", "seq"),
    Index("ix_hydraulic_ledger_verb", "verb", "workspace", "subject", "seq"),
)

ledger_head = Table(
    "hydraulic_ledger_head",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("seq", BigInteger, nullable=False),
    Column("hash", String(64), nullable=False),
)

lease = Table(
    "hydraulic_lease",
    metadata,
    Column("name", String(128), primary_key=True),
    Column("holder", String(256), nullable=False),
    Column("until", String(32), nullable=False),
    Column("term", BigInteger, nullable=False),
)

attempts = Table(
    "hydraulic_attempts",
    metadata,
    Column("environment", String(64), primary_key=True),
    Column("model", String(320), primary_key=True),
    Column("wanted", String(512), nullable=False),
    Column("failures", Integer, nullable=False),
    Column("permanent", Integer, nullable=False),
    Column("not_before", String(32), nullable=False),
    Column("cause", Text, nullable=False),
)

findings = Table(
    "hydraulic_findings",
    metadata,
    Column("key", String(64), primary_key=True),
    Column("until_us", BigInteger, primary_key=True, autoincrement=False),
    Column("since_us", BigInteger, nullable=False),
    Column("looked", String(32), nullable=False),
    Column("workspace", String(63), nullable=False),
    Column("environment", String(64), nullable=False),
    Column("deployment", String(64), nullable=False),
    Column("predictor", String(64), nullable=False),
    Column("model", String(256), nullable=False),
    Column("level", String(16), nullable=False),
    Column("rule", String(200), nullable=False),
    Column("colour", String(8), nullable=False),
    Column("said", Text, nullable=False),
    Column("plot", LONG_TEXT, nullable=False),
    Column("kept", Integer, nullable=False),
    Index("ix_hydraulic_findings_place", "workspace", "environment", "deployment"),
)

outbox = Table(
    "hydraulic_outbox",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("seq", BigInteger, nullable=False),
    Column("workspace", String(63), nullable=False),
    Column("channel", String(64), nullable=False),
    Column("state", String(8), nullable=False),
    Column("made", String(32), nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("not_before", String(32), nullable=False),
    Column("done", String(32), nullable=False),
    Column("answer", Text, nullable=False),
    Column("body", LONG_TEXT, nullable=False),
    Index("ix_hydraulic_outbox_state", "state", "workspace", "channel", "seq"),
)

service = Table(
    "hydraulic_service",
    metadata,
    Column("key", String(64), primary_key=True),
    Column("predictor", String(64), primary_key=True),
    Column("start", BigInteger, primary_key=True, autoincrement=False),
    Column("length", Integer, nullable=False),
    Column("counted_s", Double, nullable=False),
    Column("seen_s", Double, nullable=False),
    Column("up_s", Double, nullable=False),
    Column("requests", BigInteger, nullable=False),
    Column("errors", BigInteger, nullable=False),
    Column("durations", Text, nullable=False),
    Column("restarts", Integer, nullable=False),
    Column("cpu_s", Double, nullable=False),
    Column("memory_bytes", BigInteger, nullable=False),
)

service_marks = Table(
    "hydraulic_service_marks",
    metadata,
    Column("key", String(64), primary_key=True),
    Column("workspace", String(63), nullable=False),
    Column("environment", String(64), nullable=False),
    Column("deployment", String(64), nullable=False),
    Column("model", String(256), nullable=False),
    Column("at_us", BigInteger, nullable=False),
    Column("rolled", BigInteger, nullable=False),
    Column("said", LONG_TEXT, nullable=False),
)

projects = Table(
    "hydraulic_projects",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("workspace", String(63), nullable=False),
    Column("name", String(64), nullable=False),
    Column("description", Text, nullable=False),
    Column("created", String(32), nullable=False),
    Column("created_by", String(256), nullable=False),
    Index("ix_hydraulic_projects_name", "workspace", "name", unique=True),
)

members = Table(
    "hydraulic_members",
    metadata,
    Column("project", String(32), primary_key=True),
    Column("user", String(256), primary_key=True),
    Column("role", String(16), nullable=False),
    Column("since", String(32), nullable=False),
    Column("by", String(256), nullable=False),
    Index("ix_hydraulic_members_user", "user"),
)

sight = Table(
    "hydraulic_sight",
    metadata,
    Column("workspace", String(63), primary_key=True),
    Column("environment", String(64), primary_key=True),
    Column("deployment", String(64), primary_key=True),
    Column("model", String(256), nullable=False),
    Column("managed", Integer, nullable=False),
    Column("state", String(16), nullable=False),
    Column("since", String(32), nullable=False),
    Column("endpoint", Text, nullable=False),
    Column("cause", Text, nullable=False),
    Column("said", LONG_TEXT, nullable=False),
    Index("ix_hydraulic_sight_model", "workspace", "model"),
)

sight_looks = Table(
    "hydraulic_sight_looks",
    metadata,
    Column("workspace", String(63), primary_key=True),
    Column("environment", String(64), primary_key=True),
    Column("at", String(32), nullable=False),
    Column("blind", Text, nullable=False),
)

ended_sessions = Table(
    "hydraulic_ended_sessions",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("until_s", BigInteger, nullable=False),
)
