"""Sends what is stored on to InfluxDB: 1.x line protocol (VictoriaMetrics takes it too) or the 2.x API.

The store is the buffer: a sink knows up to which prediction it has sent, so that a database that is away costs nothing
until retention prunes what it has not got; that, and what it refuses, is counted. Run by the shipper.
"""

from __future__ import annotations

import logging
import re
import sqlite3
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import requests

from mlflow_hydraulic.errors import BadInput, Unavailable
from mlflow_hydraulic.record.entries import decode_minute
from mlflow_hydraulic.record.lines import column_lines, minute_line, prediction_lines
from mlflow_hydraulic.record.selecting import source_numbered
from mlflow_hydraulic.record.store import Store
from mlflow_hydraulic.record.windows import Source, prediction_of
from mlflow_hydraulic.settings import Settings

AT_ONCE = 1000  # predictions of one request
LINES_AT_ONCE = 5000  # what InfluxDB recommends at most
TIMEOUT_S = 15.0
DAY_NS = 86_400 * 10**9
WAIT_S, LONGEST_WAIT_S = 1.0, 60.0
PARTLY = re.compile(r"dropped=(\d+)")
RETRIED = (401, 403, 408, 413, 429)  # a wrong token is put right some day; nothing is dropped for it

log = logging.getLogger(__name__)


class Influx:
    """One InfluxDB. org: names the 2.x API; auth: its token, or 1.x' "user:password"; "" without."""

    def __init__(self, url: str, database: str, *, org: str = "", auth: str = "") -> None:
        if "@" in url.partition("://")[2].partition("/")[0]:
            raise BadInput("HYDRAULIC_INFLUX_URL holds a user: put user:password into HYDRAULIC_INFLUX_AUTH_FILE")
        self._url, self._database, self._org = url.rstrip("/"), database, org
        self._session = requests.Session()
        self._session.trust_env = False  # no proxy, no .netrc: the address is the one that was set
        if org and auth:
            self._session.headers["Authorization"] = f"Token {auth}"
        elif auth:
            user, _, password = auth.partition(":")
            self._session.auth = (user, password)

    @property
    def name(self) -> str:
        """What its cursor is kept under: another database gets everything anew."""
        return f"{self._url}|{self._org}|{self._database}"

    def write(self, lines: list[str]) -> int:
        """Write lines; returns how many of them it refused for good. `Unavailable` where it takes nothing now."""
        if not lines:
            return 0
        answer = self._post(lines)
        if answer.status_code < 300:
            return 0
        text = answer.text[:500].strip()
        if answer.status_code == 404 and not self._org and "database not found" in text:
            self._make_database()
            return self.write(lines)
        if answer.status_code >= 500 or answer.status_code in (*RETRIED, 404):
            raise Unavailable(f"InfluxDB at {self._url} answers {answer.status_code}: {text}")
        partly = PARTLY.search(text)
        if partly:  # the others are written
            refused = int(partly[1]) + answer.text.count("unable to parse")  # those it does not count itself
            log.error("InfluxDB refused %d of %d points: %s", refused, len(lines), text)
            return refused
        if len(lines) == 1:
            log.error("InfluxDB refused a point: %s: %s", text, lines[0][:200])
            return 1
        middle = len(lines) // 2  # one bad line makes it refuse all: find it
        return self.write(lines[:middle]) + self.write(lines[middle:])

    def close(self) -> None:
        self._session.close()

    def _post(self, lines: list[str]) -> requests.Response:
        if self._org:
            path, where = "/api/v2/write", {"org": self._org, "bucket": self._database}
        else:
            path, where = "/write", {"db": self._database}
        body = "\n".join(lines).encode()
        return self._ask(path, {**where, "precision": "ns"}, body)

    def _make_database(self) -> None:
        quoted = self._database.replace("\\", "\\\\").replace('"', '\\"')
        answer = self._ask("/query", {"q": f'CREATE DATABASE "{quoted}"'}, b"")
        if answer.status_code != 200:
            raise Unavailable(f"InfluxDB at {self._url} has no database {self._database}: {answer.text[:200]}")

    def _ask(self, path: str, parameters: dict[str, str], body: bytes) -> requests.Response:
        try:
            return self._session.post(self._url + path, params=parameters, data=body, timeout=TIMEOUT_S)
        except requests.RequestException as error:
            raise Unavailable(f"InfluxDB at {self._url} is away: {error}") from error


def open_influx(settings: Settings) -> Influx | None:
    """The InfluxDB that the settings name, or None."""
    if not settings.influx_url:
        return None
    auth = ""
    if settings.influx_auth_file:
        try:
            auth = Path(settings.influx_auth_file).expanduser().read_text(encoding="utf-8").strip()
        except OSError as error:
            raise BadInput(f"HYDRAULIC_INFLUX_AUTH_FILE={settings.influx_auth_file}: {error}") from error
    return Influx(settings.influx_url, settings.influx_database, org=settings.influx_org, auth=auth)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """How a sink stands: the last prediction sent, what it never got (refused, or pruned before), what waits."""

    seq: int
    dropped: int
    waiting: int


class Sink:
    """Sends a store's predictions to one database, in order, each at least once: a repeat overwrites itself."""

    def __init__(self, store: Store, influx: Influx) -> None:
        self._store, self._influx = store, influx
        self._wait_s, self._next_try = WAIT_S, 0.0
        self._sources: dict[int, Source] = {}
        self._described: dict[int, int] = {}  # the day for which a source's columns were sent last

    def push(self, now: float | None = None) -> Sent:
        """Send what waits. After a failure the next tries wait longer and longer, and until then do nothing."""
        now = time.monotonic() if now is None else now
        if now < self._next_try:
            return self.state()
        try:
            while self._push_some():
                pass
        except Unavailable as error:
            log.warning("%s; next try in %g s; the store keeps what waits", error, self._wait_s)
            self._next_try = now + self._wait_s
            self._wait_s = min(2 * self._wait_s, LONGEST_WAIT_S)
        else:
            self._wait_s = WAIT_S
        return self.state()

    def state(self) -> Sent:
        """How far it is."""
        with self._store.reading() as sql:
            seq, minute, dropped = self._cursor(sql)
            last, last_minute = (
                sql.execute(f"select ifnull(max(seq), 0) from {table}").fetchone()[0]  # noqa: S608 - our own names
                for table in ("predictions", "minutes")
            )
        waiting = max(0, last - seq) + max(0, last_minute - minute)
        return Sent(seq=seq, dropped=dropped, waiting=waiting)

    def _push_some(self) -> bool:
        """Send the next predictions and minutes, and remember that; False where there are none."""
        with self._store.reading() as sql:
            seq, minute, dropped = self._cursor(sql)
            rows = sql.execute(
                "select * from predictions left join bodies using (seq) where seq > ? order by seq limit ?",
                (seq, AT_ONCE),
            ).fetchall()
            minutes = sql.execute(
                "select * from minutes where seq > ? order by seq limit ?", (minute, AT_ONCE)
            ).fetchall()
        if not rows and not minutes:
            return False
        self._describe({row["source"]: row["ns"] for row in rows} | {row["source"]: row["since_ns"] for row in minutes})
        lines = [line for row in rows for line in self._lines(row)]
        lines += [minute_line(self._source(row["source"]), decode_minute(row["minute"])) for row in minutes]
        if rows:
            dropped += rows[0]["seq"] - seq - 1  # pruned meanwhile: numbers have no holes else
        for start in range(0, len(lines), LINES_AT_ONCE):
            dropped += self._influx.write(lines[start : start + LINES_AT_ONCE])
        at = (rows[-1]["seq"] if rows else seq, minutes[-1]["seq"] if minutes else minute)
        with self._store.writing() as sql:
            sql.execute("insert or replace into sinks values (?, ?, ?, ?)", (self._influx.name, *at, dropped))
        return True

    def _describe(self, newest: Mapping[int, int]) -> None:
        """Send the columns of sources, by number and newest time in ns: once a day, again where that is not known."""
        days = {number: ns - ns % DAY_NS for number, ns in newest.items()}
        new = {number: day for number, day in days.items() if self._described.get(number) != day}
        lines = [line for number, day in new.items() for line in column_lines(self._source(number), day)]
        for start in range(0, len(lines), LINES_AT_ONCE):
            self._influx.write(lines[start : start + LINES_AT_ONCE])
        self._described |= new

    def _cursor(self, sql: sqlite3.Connection) -> tuple[int, int, int]:
        row = sql.execute("select seq, minute, dropped from sinks where name = ?", (self._influx.name,)).fetchone()
        return (int(row[0]), int(row[1]), int(row[2])) if row else (0, 0, 0)

    def _lines(self, row: sqlite3.Row) -> list[str]:
        source = self._source(row["source"])
        return list(prediction_lines(source, row["ns"], prediction_of(source, row)))

    def _source(self, number: int) -> Source:
        if number not in self._sources:
            with self._store.reading() as sql:
                self._sources[number] = source_numbered(sql, number)
        return self._sources[number]
