"""Settings: read once at the entry point, from `HYDRAULIC_*` variables and a TOML file; the variables win.

The file is `hydraulic.toml` in the current folder, or the one that `HYDRAULIC_CONFIG` names.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from mlflow_hydraulic.errors import BadInput

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

PREFIX = "HYDRAULIC_"
NUMBERS = (
    *("max_body_mb", "max_rows", "threads", "start_timeout_s", "drain_timeout_s", "interval_s", "lease_s"),
    *("record_days", "record_mb"),
)
WORDS = {"record": ("auto", "off", "on", "aggregates"), "record_on_full": ("answer", "refuse")}
TABLES = ("bindings", "environments", "policy", "roles", "monitor", "oidc")  # read by rooms of their own


def _setting(default: Any, doc: str, unit: str = "") -> Any:  # Any: dataclasses.field is typed by its default
    if isinstance(default, Path):
        return field(default_factory=lambda: default, metadata={"doc": doc, "unit": unit})
    return field(default=default, metadata={"doc": doc, "unit": unit})


@dataclass(frozen=True, kw_only=True)
class Settings:
    """All settings, each with its default, unit and meaning; README's table is checked against this class."""

    home: Path = _setting(
        Path("~/.hydraulic"), "where downloads, caches, local deployments and their logs live", "folder"
    )
    data: str = _setting(
        "",
        "the rig's data: folder, zip, parquet or CSV; empty: ../shared/data, the download, else simulated",
        "path",
    )
    database: str = _setting(
        "",
        "the registry's own database, where ledger and lease are kept; needed where the registry's URI names a server",
        "URI",
    )
    interval_s: float = _setting(30.0, "how often the controller looks by itself; a change wakes it at once", "s")
    lease_s: float = _setting(15.0, "how long a dead controller's lease keeps others waiting", "s")
    host: str = _setting("127.0.0.1", "address that scorers and local deployments listen on", "address")
    max_body_mb: float = _setting(32.0, "largest request body that a scorer reads", "MB")
    max_rows: int = _setting(100_000, "most rows in one request", "rows")
    threads: int = _setting(1, "threads that one scorer process may compute with", "threads")
    start_timeout_s: float = _setting(120.0, "how long a scorer may take to become ready", "s")
    drain_timeout_s: float = _setting(20.0, "how long a stopping scorer may take to answer what it has accepted", "s")

    record: str = _setting(
        "auto",
        "prediction record: off, on (each whole request and answer), aggregates (no row leaves the scorer), auto: on "
        "for deployments on this machine and for pods with an intake, off for a bare `hydraulic serve`",
        "word",
    )
    record_share: float = _setting(1.0, "share of the answers that are recorded, chosen by prediction id", "0 to 1")
    record_days: float = _setting(30.0, "how long predictions are kept", "days")
    record_mb: float = _setting(1000.0, "how much is kept at most, and as much again that is not shipped yet", "MB")
    record_folder: str = _setting("", "where journals and store are; empty: `record` in HYDRAULIC_HOME", "folder")
    record_on_full: str = _setting(
        "answer",
        "when an answer cannot be recorded: answer and count it, or refuse it with 503",
        "word",
    )
    record_intake: str = _setting(
        "", "URL of a `hydraulic record intake` that a pod's scorer sends its record to; empty: it keeps none", "URL"
    )
    intake_auth_file: str = _setting(
        "", "file with the token that `hydraulic record intake` asks for and shippers send", "path"
    )
    influx_url: str = _setting("", "InfluxDB that recorded rows are sent on to; empty: none", "URL")
    influx_database: str = _setting("hydraulic", "its database (1.x), or its bucket (2.x)", "name")
    influx_org: str = _setting("", "its organisation: names the 2.x API; empty: 1.x line protocol", "name")
    influx_auth_file: str = _setting("", "file with its token (2.x), or with user:password (1.x)", "path")

    def __post_init__(self) -> None:
        object.__setattr__(self, "home", self.home.expanduser())
        for name, known in WORDS.items():
            if getattr(self, name) not in known:
                raise BadInput(f"{PREFIX}{name.upper()}={getattr(self, name)}: must be one of {', '.join(known)}")
        if not 0 <= self.record_share <= 1:
            raise BadInput(f"{PREFIX}RECORD_SHARE={self.record_share}: a share is 0 to 1")
        for name in NUMBERS:
            if getattr(self, name) <= 0:
                raise BadInput(f"{PREFIX}{name.upper()}={getattr(self, name)}: must be more than 0")


def read_settings(environ: Mapping[str, str] | None = None) -> Settings:
    """Settings from the environment and the TOML file; `BadInput` names an unknown key or a value of the wrong type."""
    environ = os.environ if environ is None else environ
    known = {f.name: f for f in fields(Settings)}
    given: dict[str, Any] = {}
    for source, values in (_from_file(environ), _from_environ(environ, known)):
        for key, value in values.items():
            if key in TABLES:
                continue
            if key not in known:
                raise BadInput(f"{source}: {key!r} is no setting; known are {', '.join(known)}")
            given[key] = _typed(source, key, value)
    return Settings(**given)


def config_file(environ: Mapping[str, str] | None = None) -> Path:
    """The TOML file that is read where it is there."""
    environ = os.environ if environ is None else environ
    return Path(environ.get(PREFIX + "CONFIG") or "hydraulic.toml").expanduser()


def _from_file(environ: Mapping[str, str]) -> tuple[str, dict[str, Any]]:
    named = environ.get(PREFIX + "CONFIG")
    path = config_file(environ)
    if not path.exists():
        if named:
            raise BadInput(f"{PREFIX}CONFIG={named}: there is no such file")
        return str(path), {}
    try:
        return str(path), tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise BadInput(f"{path}: not a readable TOML file: {error}") from error


def read_tables(environ: Mapping[str, str] | None = None) -> dict[str, Any]:  # Any: parsed TOML
    """The file's tables, which rooms of their own read: environments, bindings, policy, roles, monitor."""
    values = _from_file(os.environ if environ is None else environ)[1]
    return {key: value for key, value in values.items() if key in TABLES}


def _from_environ(environ: Mapping[str, str], known: Mapping[str, object]) -> tuple[str, dict[str, Any]]:
    return "environment", {name: environ[PREFIX + name.upper()] for name in known if PREFIX + name.upper() in environ}


def _typed(source: str, key: str, value: Any) -> object:
    default = getattr(Settings(), key)
    kind = type(default)
    try:
        return Path(value) if isinstance(default, Path) else kind(value)
    except (TypeError, ValueError) as error:
        raise BadInput(f"{source}: {key}={value!r}: must be of type {kind.__name__}") from error
