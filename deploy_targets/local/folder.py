"""The folder of one deployment: what is wanted, what is, locks and logs. Called by the target and the supervisor.

HYDRAULIC_HOME/local/<namespace>/<name>/    only its owner may read it
    spec.json         what is wanted; written by the target alone
    state.json        what is; written by the supervisor alone
    supervisor.lock   held by the supervisor as long as it lives
    supervisor.log    and logs/<scorer>.log
HYDRAULIC_HOME/local/<namespace>/.<name>.lock   held while somebody changes the deployment
"""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from mlflow_hydraulic.deploy_targets.codec import (
    Json,
    checked,
    deployment_from_dict,
    deployment_to_dict,
    parse_json,
)
from mlflow_hydraulic.deployment import Deployment, State, check_name
from mlflow_hydraulic.errors import BadInput, Failed

FORMAT = 1
TAIL_BYTES = 16_384
ENGINES = ("auto", "onnx", "pyfunc")
Running = Literal["yes", "stopped", "deleted"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What only the local target knows. `port` 0 takes a free one once and keeps it."""

    host: str = "127.0.0.1"
    port: int = 0
    engine: str = "auto"

    def __post_init__(self) -> None:
        if not 0 <= self.port <= 65535:
            raise BadInput(f"port={self.port}: must be 1 to 65535, or 0 for a free one")
        if self.engine not in ENGINES:
            raise BadInput(f"engine={self.engine!r}: must be one of {', '.join(ENGINES)}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """spec.json."""

    generation: int
    deployment: Deployment
    options: Options = field(default_factory=Options)
    running: Running = "yes"


@dataclass(frozen=True, slots=True, kw_only=True)
class Scorer:
    """One scorer process in state.json."""

    id: str
    predictor: str
    version: str
    pid: int
    port: int
    ready: bool
    crashes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """state.json. `generation` is the last change that was carried out or given up; `refused` the last one given up."""

    generation: int = 0
    state: State = "preparing"
    cause: str = ""
    log: tuple[str, ...] = ()
    host: str = ""
    port: int = 0
    serving: Deployment | None = None
    refused: int = 0
    refused_cause: str = ""
    refused_log: tuple[str, ...] = ()
    scorers: tuple[Scorer, ...] = ()


@dataclass(frozen=True, slots=True)
class Folder:
    """The folder of the deployment `namespace`/`name` under `home`."""

    home: Path
    namespace: str
    name: str

    def __post_init__(self) -> None:
        check_name("namespace", self.namespace)
        check_name("deployment", self.name)

    @property
    def path(self) -> Path:
        return self.home / "local" / self.namespace / self.name

    @property
    def change_lock(self) -> Path:
        return self.path.parent / f".{self.name}.lock"

    @property
    def supervisor_lock(self) -> Path:
        return self.path / "supervisor.lock"

    @property
    def supervisor_log(self) -> Path:
        return self.path / "supervisor.log"

    @property
    def logs(self) -> Path:
        return self.path / "logs"

    def make(self) -> None:
        """Makes the folder and those above it, readable by nobody else."""
        try:
            for folder in (self.home / "local", self.path.parent, self.path, self.logs):
                folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise Failed(f"{self.path}: cannot be made: {error}; check the disk and HYDRAULIC_HOME") from error

    def read_wanted(self) -> Wanted | None:
        value = self._read("spec.json")
        if value is None:
            return None
        keys = {"format": int, "generation": int, "deployment": dict, "options": dict, "running": str}
        given = checked(str(self.path / "spec.json"), value, keys)
        options = checked("options", given["options"], {"host": str, "port": int, "engine": str})
        return Wanted(
            generation=given["generation"],
            deployment=deployment_from_dict(given["deployment"]),
            options=Options(**options),
            running=given["running"],
        )

    def write_wanted(self, wanted: Wanted) -> None:
        value = {"format": FORMAT, **_shallow(wanted), "options": asdict(wanted.options)}
        write_atomically(self.path / "spec.json", {**value, "deployment": deployment_to_dict(wanted.deployment)})

    def read_seen(self) -> Seen | None:
        """What the supervisor wrote last; None when there is nothing, or nothing that can be read."""
        with contextlib.suppress(BadInput, TypeError, KeyError):
            value = self._read("state.json")
            if isinstance(value, dict) and value.pop("format") == FORMAT:
                serving = value.pop("serving")
                value["log"], value["refused_log"] = tuple(value["log"]), tuple(value["refused_log"])
                value["scorers"] = tuple(Scorer(**scorer) for scorer in value["scorers"])
                return Seen(serving=None if serving is None else deployment_from_dict(serving), **value)
        return None

    def write_seen(self, seen: Seen) -> None:
        value = {"format": FORMAT, **_shallow(seen), "scorers": [asdict(s) for s in seen.scorers]}
        serving = None if seen.serving is None else deployment_to_dict(seen.serving)
        write_atomically(self.path / "state.json", {**value, "serving": serving})

    def _read(self, name: str) -> object:
        try:
            return parse_json(str(self.path / name), (self.path / name).read_bytes())
        except (FileNotFoundError, NotADirectoryError):
            return None


def model_folder(home: Path, digest: str) -> Path:
    """Where the model with this digest lies once it was fetched."""
    return home / "models" / digest


def _shallow(value: Any) -> Json:  # Any: one of the dataclasses above
    return {name: getattr(value, name) for name in value.__dataclass_fields__}


def write_atomically(path: Path, value: Json | list[Json]) -> None:
    """Writes JSON so that a reader sees the old file or the new one, also after a crash; `Failed` keeps the old one."""
    temporary = ""
    try:
        descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        with open(descriptor, "w", encoding="utf-8") as stream:  # noqa: PTH123 - a descriptor is no Path
            json.dump(value, stream, indent=1, sort_keys=True)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(temporary, path)  # noqa: PTH105 - both are plain names here
    except OSError as error:
        if temporary:
            Path(temporary).unlink(missing_ok=True)
        raise Failed(f"{path}: cannot be written: {error}; what was there is kept: make room and try again") from error


def tail(path: Path, lines: int = 15) -> tuple[str, ...]:
    """The last lines of a log, with text that is no UTF-8 shown as it can be; empty for a file that is not there."""
    try:
        with path.open("rb") as stream:
            stream.seek(0, os.SEEK_END)
            stream.seek(max(0, stream.tell() - TAIL_BYTES))
            return tuple(stream.read().decode("utf-8", "replace").splitlines()[-lines:])
    except OSError:
        return ()
