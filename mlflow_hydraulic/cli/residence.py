"""The folder of `hydraulic up`: database, artifacts, deployments, logs, secrets, and what other shells need to know.

FOLDER/
    mlflow.db, artifacts/    MLflow's, with the ledger beside MLflow's tables
    home/                    HYDRAULIC_HOME: models and local deployments
    logs/                    of the server, the controller and a detached `up`
    env.sh                   `. FOLDER/env.sh` brings another shell here
    hydraulic.toml           yours: environments, bindings, policy
    auth.ini, auth.json      with --auth: MLflow's configuration and the secrets, for their owner's eyes only; auth.json
                             also remembers --no-auth and --demo-users
    up.lock, up.json         who runs here, and where
"""

from __future__ import annotations

import json
import os
import secrets
import shlex
import sys
from collections.abc import Mapping
from pathlib import Path

from mlflow_hydraulic.cli.accounts import ADMIN, CONTROLLER, DEMO, MONITOR, Account
from mlflow_hydraulic.deploy_targets.local.folder import write_atomically
from mlflow_hydraulic.errors import BadInput, Failed

PRIVATE = 0o600
PRIVATE_FOLDER = 0o700
SECRETS = {"admin_password": 18, "flask_secret_key": 32, "controller_password": 18, "monitor_password": 18}  # bytes
# Variables of the person's shell that would lead server or controller elsewhere, or change how they are reached.
FOREIGN = (
    "MLFLOW_TRACKING_URI",
    "MLFLOW_REGISTRY_URI",
    "MLFLOW_TRACKING_USERNAME",
    "MLFLOW_TRACKING_PASSWORD",
    "MLFLOW_TRACKING_TOKEN",
    "MLFLOW_BACKEND_STORE_URI",
    "MLFLOW_READ_REPLICA_BACKEND_STORE_URI",
    "MLFLOW_REGISTRY_STORE_URI",
    "MLFLOW_WORKSPACE_STORE_URI",
    "MLFLOW_DEFAULT_ARTIFACT_ROOT",
    "MLFLOW_ARTIFACTS_DESTINATION",
    "MLFLOW_ARTIFACTS_ONLY",
    "MLFLOW_SERVE_ARTIFACTS",
    "MLFLOW_HOST",
    "MLFLOW_PORT",
    "MLFLOW_WORKERS",
    "MLFLOW_STATIC_PREFIX",
    "MLFLOW_GUNICORN_OPTS",
    "MLFLOW_UVICORN_OPTS",
    "MLFLOW_AUTH_CONFIG_PATH",
    "MLFLOW_AUTH_ADMIN_USERNAME",
    "MLFLOW_AUTH_ADMIN_PASSWORD",
    "MLFLOW_FLASK_SERVER_SECRET_KEY",
)


class Residence:
    """One such folder; every path in it is absolute."""

    def __init__(self, folder: Path) -> None:
        self.path = Path(os.path.abspath(folder.expanduser()))  # noqa: PTH100 - a link in the path stays as it was typed
        if set(str(self.path)) & set("?#%"):
            raise BadInput(
                f'--folder {folder}: its path must not hold "?", "#" or "%", which mean more in a database URI'
            )
        self.home, self.logs, self.artifacts = (self.path / name for name in ("home", "logs", "artifacts"))
        self.lock, self.status, self.resting = (self.path / name for name in ("up.lock", "up.json", "resting.json"))
        self.database = f"sqlite:///{self.path / 'mlflow.db'}"
        self.config, self.env_sh = self.path / "hydraulic.toml", self.path / "env.sh"
        self.auth_ini, self.auth_json = self.path / "auth.ini", self.path / "auth.json"

    def make(self) -> None:
        """The folder, its owner's alone where it is made here; one that was there keeps its mode."""
        try:
            self.path.mkdir(PRIVATE_FOLDER, parents=True, exist_ok=True)
            for folder in (self.home, self.logs, self.artifacts):
                folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise BadInput(f"--folder {self.path}: cannot be made: {error}") from error

    def read_status(self) -> dict[str, object]:
        """{"pid", "url", "ready"} of who runs here; empty where nobody wrote one."""
        return read_json(self.status)

    def write_status(self, url: str, *, ready: bool) -> None:
        write_atomically(self.status, {"pid": os.getpid(), "url": url, "ready": ready})

    def environ(self, base: Mapping[str, str], url: str, *, user: str = "") -> dict[str, str]:
        """The environment of every process that works in this folder, the person's own shells included."""
        kept = {name: value for name, value in base.items() if name not in FOREIGN}
        return {**kept, **self.exports(base, url, user=user)}

    def exports(self, base: Mapping[str, str], url: str, *, user: str = "") -> dict[str, str]:
        """What differs from the person's environment. user: whose log-in it has; "" for none."""
        values = {
            "MLFLOW_TRACKING_URI": url,
            "MLFLOW_DISABLE_TELEMETRY": "true",
            "HYDRAULIC_HOME": str(self.home),
            "HYDRAULIC_DATABASE": self.database,
        }
        config = self.find_config(base)
        if config:
            values["HYDRAULIC_CONFIG"] = str(config)
        if user:
            password = self.account(user).password
            values |= {"MLFLOW_TRACKING_USERNAME": user, "MLFLOW_TRACKING_PASSWORD": password}
        return values

    def account(self, user: str) -> Account:
        """One of the accounts that `up` knows the password of."""
        if user in DEMO:
            return Account(name=user, password=DEMO[user])
        return Account(name=user, password=self.secret(f"{user.removeprefix('hydraulic-')}_password"), admin=True)

    def accounts(self, *, demo: bool) -> list[Account]:
        """Those that `up` makes."""
        return [self.account(user) for user in (CONTROLLER, MONITOR, *(DEMO if demo else ()))]

    def find_config(self, base: Mapping[str, str]) -> Path | None:
        """HYDRAULIC_CONFIG, else hydraulic.toml in this folder, else the one in the current folder."""
        named = base.get("HYDRAULIC_CONFIG")
        candidates = [Path(named).expanduser()] if named else [self.config, Path("hydraulic.toml")]
        found = next((path for path in candidates if named or path.exists()), None)
        return found.absolute() if found else None

    def write_env_sh(self, exports: Mapping[str, str]) -> None:
        """A file to source; only its owner may read it, for it may hold a password."""
        lines = [f"export {name}={shlex.quote(value)}" for name, value in exports.items()]
        lines.append(f'export PATH={shlex.quote(str(Path(sys.executable).parent))}:"$PATH"')
        _write_private(self.env_sh, "\n".join(lines) + "\n")

    def choose_auth(self, wish: bool | None) -> bool:
        """Whether the log-in is on: as wished, which is remembered; without a wish as it last was, at first off."""
        said = read_json(self.auth_json)
        if wish is None:
            return self.auth_json.exists() and said.get("on") is not False
        if said and (said.get("on") is not False) != wish:
            _write_private(self.auth_json, json.dumps({**said, "on": wish}, indent=1) + "\n")
        return wish

    def choose_demo(self, *, wish: bool) -> bool:
        """Whether ds1 and ds2 are users here: from the first such wish on."""
        self._make_secrets()
        said = read_json(self.auth_json)
        if wish and not said.get("demo"):
            _write_private(self.auth_json, json.dumps({**said, "demo": True}, indent=1) + "\n")
        return wish or bool(said.get("demo"))

    def server_secrets(self) -> dict[str, str]:
        """What MLflow's basic-auth needs; made at the first call and kept."""
        self._make_secrets()
        if not self.auth_ini.exists():
            lines = ["[mlflow]", "default_permission = READ", f"database_uri = sqlite:///{self.path / 'auth.db'}"]
            lines += [f"admin_username = {ADMIN}"]
            lines += ["authorization_function = mlflow.server.auth:authenticate_request_basic_auth"]
            lines += ["auth_cache_ttl_seconds = 60"]  # else each request of controller and monitor costs a slow hash
            _write_private(self.auth_ini, "\n".join(lines) + "\n")
        _make_private(self.path / "auth.db")
        return {
            "HYDRAULIC_AUTH": "on",
            "MLFLOW_AUTH_CONFIG_PATH": str(self.auth_ini),
            "MLFLOW_AUTH_ADMIN_PASSWORD": self.secret("admin_password"),
            "MLFLOW_FLASK_SERVER_SECRET_KEY": self.secret("flask_secret_key"),
        }

    def _make_secrets(self) -> None:
        """Those that are not there yet: an older folder lacks some."""
        said = read_json(self.auth_json)
        if self.auth_json.exists() and not said:
            return  # damaged: `secret` says so
        missing = {name: secrets.token_urlsafe(size) for name, size in SECRETS.items() if name not in said}
        if missing:
            _write_private(self.auth_json, json.dumps({**said, **missing}, indent=1) + "\n")

    def secret(self, name: str) -> str:
        value = read_json(self.auth_json).get(name)
        if not isinstance(value, str):
            raise Failed(f"{self.auth_json}: holds no {name}; remove it, auth.ini and auth.db to begin anew")
        return value


def read_json(path: Path) -> dict[str, object]:
    """The JSON object in a file of ours; empty where there is none, or where it is damaged."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}


def _write_private(path: Path, text: str) -> None:
    part = path.with_name(f".{path.name}.part")
    try:
        part.unlink(missing_ok=True)
        descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, PRIVATE)
        with open(descriptor, "w", encoding="utf-8") as stream:  # noqa: PTH123 - a descriptor is no Path
            stream.write(text)
        part.replace(path)
    except OSError as error:
        raise Failed(f"{path}: cannot be written: {error}") from error


def _make_private(path: Path) -> None:
    """An empty file for its owner alone, which SQLite takes for a new database; one that is there stays as it is."""
    try:
        path.touch(PRIVATE, exist_ok=True)
    except OSError as error:
        raise Failed(f"{path}: cannot be written: {error}") from error
