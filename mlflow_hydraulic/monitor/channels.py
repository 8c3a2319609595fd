"""Where notifications go: the channels in hydraulic.toml. Their secrets are never in it: a variable or a file is named.

[monitor.channels.team]
kind = "webhook"                   # a body that Slack and Mattermost show, signed
url_env = "TEAM_WEBHOOK"           # or url_file, or url where the address is no secret
secret_env = "TEAM_SECRET"         # or secret_file: the key of the signature
[monitor.channels.on-call]
kind = "smtp"
host = "mail.example.com"
tls = "starttls"                   # starttls, tls or none; port 587, 465 or 25
user = "hydraulic"
password_file = "/run/secrets/mail"
from = "hydraulic@example.com"
to = ["rig@example.com"]
[monitor.channels.alertmanager]
kind = "alertmanager"
url = "http://alertmanager:9093"
[monitor.channels.console]
kind = "stdout"                    # one JSON object a line; "log" writes to the log
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

from mlflow_hydraulic import typed
from mlflow_hydraulic.deployment import check_name
from mlflow_hydraulic.errors import BadInput, Unavailable

LONGEST_SECRET = 65_536
VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}")
ADDRESS = re.compile(r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]+@[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?")
Tls = Literal["starttls", "tls", "none"]
PORTS: Mapping[Tls, int] = {"starttls": 587, "tls": 465, "none": 25}
LOCAL = ("localhost", "127.0.0.1", "::1")


@dataclass(frozen=True, slots=True, kw_only=True)
class Secret:
    """A secret that is read when it is needed, so that it can be changed without a restart; never shown.

    From the variable `env`, the file `file` (its last line break does not count), or, for addresses, `plain`.
    """

    env: str = ""
    file: str = ""
    plain: str = ""

    def __bool__(self) -> bool:
        return bool(self.env or self.file or self.plain)

    def __repr__(self) -> str:
        return f"Secret({self.where})" if self else "Secret()"

    @property
    def where(self) -> str:
        """Where it is kept, without it."""
        return f"variable {self.env}" if self.env else f"file {self.file}" if self.file else "hydraulic.toml"

    def read(self) -> str:
        """`Unavailable` names the variable or file that is not there: it may come."""
        try:
            text = os.environ[self.env] if self.env else self._from_file() if self.file else self.plain
        except (KeyError, OSError, UnicodeDecodeError) as error:
            cause = error.strerror if isinstance(error, OSError) else "it is not set" if self.env else "it is no text"
            raise Unavailable(f"the {self.where} cannot be read: {cause}") from error
        text = text.rstrip("\r\n")
        if not text or not text.isprintable():
            raise Unavailable(f"the {self.where} holds nothing that can be used: one line of text is needed")
        return text

    def _from_file(self) -> str:
        with Path(self.file).expanduser().open(encoding="utf-8") as file:
            return file.read(LONGEST_SECRET)


NONE = Secret()


@dataclass(frozen=True, slots=True, kw_only=True)
class Webhook:
    name: str
    url: Secret
    secret: Secret = NONE
    token: Secret = NONE
    ca_file: str = ""
    timeout_s: float = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Alertmanager:
    """hold_s: how long it believes an open alert without hearing of it again."""

    name: str
    url: Secret
    token: Secret = NONE
    ca_file: str = ""
    timeout_s: float = 10.0
    hold_s: float = 300.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Mail:
    name: str
    host: str
    port: int
    tls: Tls
    sender: str
    to: tuple[str, ...]
    user: str = ""
    password: Secret = NONE
    ca_file: str = ""
    timeout_s: float = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Lines:
    """kind: "log" or "stdout"."""

    name: str
    kind: str = "log"


Channel = Webhook | Alertmanager | Mail | Lines
COMMON = ("kind", "timeout")
HTTP_KEYS = ("url", "url_env", "url_file", "token_env", "token_file", "ca_file")
KEYS = {
    "webhook": (*COMMON, *HTTP_KEYS, "secret_env", "secret_file"),
    "alertmanager": (*COMMON, *HTTP_KEYS, "hold"),
    "smtp": (*COMMON, "host", "port", "tls", "user", "password_env", "password_file", "from", "to", "ca_file"),
    "log": ("kind",),
    "stdout": ("kind",),
}


def read_channels(table: Mapping[str, Any]) -> dict[str, Channel]:
    """The channels in the table [monitor], and "log", which is always there; `BadInput` names what is wrong."""
    channels: dict[str, Channel] = {"log": Lines(name="log")}
    for name, given in typed.table("monitor.channels", table.get("channels", {})).items():
        check_name("channel", name)
        channels[name] = _channel(name, typed.table(f"monitor.channels.{name}", given))
    return channels


def _channel(name: str, table: Mapping[str, Any]) -> Channel:
    where = f"monitor.channels.{name}"
    kind = typed.text(f"{where}.kind", table.get("kind", ""))
    if kind not in KEYS:
        raise BadInput(f"{where}.kind={kind!r}: choose one of {', '.join(KEYS)}")
    given = typed.known(where, table, KEYS[kind])
    if kind in ("log", "stdout"):
        return Lines(name=name, kind=kind)
    timeout_s = typed.seconds(f"{where}.timeout", given.get("timeout", 10.0))
    if not 0.1 <= timeout_s <= 30:
        raise BadInput(f"{where}.timeout={given['timeout']!r}: must be from 0.1 to 30 seconds")
    ca_file = typed.text(f"{where}.ca_file", given.get("ca_file", ""))
    if kind == "smtp":
        return _mail(name, where, given, timeout_s, ca_file)
    url, token = _url(where, given), _secret(where, given, "token")
    if kind == "webhook":
        secret = _secret(where, given, "secret")
        return Webhook(name=name, url=url, token=token, ca_file=ca_file, timeout_s=timeout_s, secret=secret)
    hold_s = typed.seconds(f"{where}.hold", given.get("hold", 300.0))
    if hold_s < 60:
        raise BadInput(f"{where}.hold={given['hold']!r}: must be a minute or more, or alerts end between two looks")
    return Alertmanager(name=name, url=url, token=token, ca_file=ca_file, timeout_s=timeout_s, hold_s=hold_s)


def _mail(name: str, where: str, given: Mapping[str, Any], timeout_s: float, ca_file: str) -> Mail:
    tls = given.get("tls", "starttls")
    if tls not in PORTS:
        raise BadInput(f"{where}.tls={tls!r}: choose one of {', '.join(PORTS)}")
    host = typed.text(f"{where}.host", given.get("host", ""))
    if not host or not host.isprintable() or " " in host:
        raise BadInput(f"{where}.host={host!r}: name the mail server")
    user, password = typed.text(f"{where}.user", given.get("user", "")), _secret(where, given, "password")
    if bool(user) != bool(password):
        raise BadInput(f"{where}: user and password_env (or password_file) go together")
    if user and tls == "none" and host not in LOCAL:
        raise BadInput(f'{where}.tls="none": the password would cross the network for all to read; use starttls or tls')
    return Mail(
        name=name,
        host=host,
        port=typed.whole(f"{where}.port", given.get("port", PORTS[tls]), 1, 65_535),
        tls=tls,
        sender=_address(f"{where}.from", given.get("from", "")),
        to=tuple(_address(f"{where}.to", one) for one in typed.items(f"{where}.to", given.get("to", []) or [""])),
        user=user,
        password=password,
        ca_file=ca_file,
        timeout_s=timeout_s,
    )


def _address(where: str, value: Any) -> str:
    if not ADDRESS.fullmatch(typed.text(where, value)):
        raise BadInput(f"{where}={value!r}: write an address such as rig@example.com, without a name")
    return str(value)


def _secret(where: str, given: Mapping[str, Any], what: str) -> Secret:
    env, file = (typed.text(f"{where}.{what}_{way}", given.get(f"{what}_{way}", "")) for way in ("env", "file"))
    if env and not VARIABLE.fullmatch(env):  # not shown: somebody may have put the secret itself there
        raise BadInput(f"{where}.{what}_env: must be the name of a variable, such as TEAM_SECRET, never its value")
    if env and file:
        raise BadInput(f"{where}: give {what}_env or {what}_file, not both")
    return Secret(env=env, file=file)


def _url(where: str, given: Mapping[str, Any]) -> Secret:
    kept, plain = _secret(where, given, "url"), typed.text(f"{where}.url", given.get("url", ""))
    if bool(kept) == bool(plain):
        raise BadInput(f"{where}: give one of url, url_env and url_file")
    if plain:
        try:
            check_url(plain)
        except ValueError as error:
            raise BadInput(f"{where}.url: {error}") from error
    return kept or Secret(plain=plain)


def check_url(url: str) -> None:
    """`ValueError` says why nothing is sent there, without the address itself: it may be a secret."""
    parts = urlsplit(url)  # ValueError for a broken IPv6 address
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("the address must begin with http:// or https:// and name a host")
    if parts.username is not None or parts.password is not None:
        raise ValueError("the address names a user: give a token by token_env or token_file instead")
    _ = parts.port  # ValueError where it is none
