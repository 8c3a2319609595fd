"""Kinds of option values: each reads what `-C` (text) or TOML (typed) gives, and what is read already, to one value.

Called by `options`. Every reader names the option, its value, the rule and the way out in a `BadInput`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from mlflow_hydraulic.errors import BadInput

Read = Callable[[str, object], object]

NAME = re.compile(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?")  # RFC 1123 subdomain: names of secrets, accounts
QUANTITY = re.compile(r"([0-9]+(\.[0-9]+)?)(m|k|M|G|T|P|E|Ki|Mi|Gi|Ti|Pi|Ei)?")
IMAGE = re.compile(r"[a-z0-9][\w.:/@-]*", re.ASCII)
KEY = re.compile(r"([a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?")
LABEL = re.compile(r"([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?")
VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
SECRET_KEY = re.compile(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?/[-._a-zA-Z0-9]+")
TOLERATION = re.compile(r"(?P<key>[^=:]+)(=(?P<value>[^=:]*))?(:(?P<effect>\w+))?")
EFFECTS = ("NoSchedule", "PreferNoSchedule", "NoExecute")
LONGEST = 2048


@dataclass(frozen=True, slots=True)
class Toleration:
    """One taint that pods bear. `value` None: whatever the taint's value is. `effect` "": every effect."""

    key: str
    value: str | None = None
    effect: str = ""


def text(where: str, value: object) -> str:
    if not isinstance(value, str) or len(value) > LONGEST or not value.isprintable():
        raise BadInput(f"{where}={_short(value)}: must be one line of text, at most {LONGEST} characters")
    return value


def choice(*allowed: str) -> Read:
    def read(where: str, value: object) -> str:
        if value not in allowed:
            raise BadInput(f"{where}={_short(value)}: must be one of {', '.join(allowed)}")
        return str(value)

    return read


def flag(where: str, value: object) -> bool:
    if isinstance(value, str) and value.lower() in ("true", "false"):
        return value.lower() == "true"
    if not isinstance(value, bool):
        raise BadInput(f"{where}={_short(value)}: must be true or false")
    return value


def whole(least: int, most: int) -> Read:
    def read(where: str, value: object) -> int:
        if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 12:
            value = int(value)
        if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
            raise BadInput(f"{where}={_short(value)}: must be a whole number from {least} to {most}")
        return value

    return read


def matching(rule: re.Pattern[str], words: str, *, empty: bool = True) -> Read:
    """Text of the form `rule`, which `words` says to people; empty text too, unless told otherwise."""

    def read(where: str, value: object) -> str:
        found = str(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else value
        if (
            not isinstance(found, str)
            or (not found and not empty)
            or (found and (len(found) > LONGEST or not rule.fullmatch(found)))
        ):
            raise BadInput(f"{where}={_short(value)}: must be {words}")
        return found

    return read


name = matching(NAME, "a Kubernetes name: small letters, digits, hyphens and dots")
quantity = matching(QUANTITY, 'a Kubernetes quantity such as "500m", "2" or "1Gi"; empty leaves it out')
image = matching(IMAGE, "an image such as registry.example/team/scorer:1.2 or ...@sha256:...", empty=False)
budget = matching(re.compile(r"[0-9]{1,5}|[1-9][0-9]?%|100%"), 'pods as "1" or a share as "25%"; empty sets none')
path = matching(re.compile(r"/[\w./:~-]*", re.ASCII), "an absolute path of the container", empty=False)


def names(where: str, value: object) -> tuple[str, ...]:
    return tuple(str(name(where, item)) for item in _items(where, value))


def words(where: str, value: object) -> tuple[str, ...]:
    """A list of texts; as one text it is split at blanks."""
    found = value.split() if isinstance(value, str) else value
    if not isinstance(found, (list, tuple)):
        raise BadInput(f"{where}={_short(value)}: must be a list of texts")
    return tuple(text(where, item) for item in found)


def url(*schemes: str) -> Read:
    """A URI without a user or password in it: manifests are read by many."""

    def read(where: str, value: object) -> str:
        found = text(where, value)
        if not found:
            return found
        try:
            parts = urlsplit(found)
        except ValueError as error:
            raise BadInput(f"{where}: not a URI: {error}") from error
        # In abfss://CONTAINER@ACCOUNT what stands before the @ is no user.
        if parts.password is not None or (parts.username is not None and parts.scheme in ("", "http", "https")):
            raise BadInput(f"{where}: holds a user or a password: name a secret, secret_env.VARIABLE=SECRET/KEY")
        if schemes and parts.scheme not in schemes:
            raise BadInput(f"{where}={_short(found)}: must begin with {' or '.join(f'{s}://' for s in schemes)}")
        return found

    return read


def pairs(key: re.Pattern[str], value_of: Read, words_of_key: str) -> Read:
    """A mapping of texts; equal mappings come in equal order."""

    def read(where: str, value: object) -> dict[str, str]:
        if not isinstance(value, Mapping):
            raise BadInput(f"{where}={_short(value)}: must be a table; with -C write {where}.KEY=VALUE")
        for one in value:
            if not isinstance(one, str) or not key.fullmatch(one):
                raise BadInput(f"{where}.{one}: the key must be {words_of_key}")
        return {one: str(value_of(f"{where}.{one}", value[one])) for one in sorted(value)}

    return read


def tolerations(where: str, value: object) -> tuple[Toleration, ...]:
    return tuple(_toleration(where, item) for item in _items(where, value))


def _toleration(where: str, value: object) -> Toleration:
    if isinstance(value, Toleration):
        found = value
    elif isinstance(value, str) and (match := TOLERATION.fullmatch(value)):
        found = Toleration(match["key"], match["value"], match["effect"] or "")
    else:
        raise BadInput(f'{where}={_short(value)}: write KEY:EFFECT or KEY=VALUE:EFFECT, as "gpu=yes:NoSchedule"')
    if not KEY.fullmatch(found.key) or not LABEL.fullmatch(found.value or ""):
        raise BadInput(f"{where}={_short(value)}: key and value follow the rules of Kubernetes labels")
    if found.effect and found.effect not in EFFECTS:
        raise BadInput(f"{where}={_short(value)}: the effect must be one of {', '.join(EFFECTS)}")
    return found


def written(value: object) -> object:
    """An option's value as JSON and TOML take it; its reader gives it back."""
    if isinstance(value, Toleration):
        middle = "" if value.value is None else f"={value.value}"
        return f"{value.key}{middle}" + (f":{value.effect}" if value.effect else "")
    return [written(item) for item in value] if isinstance(value, tuple) else value


def _items(where: str, value: object) -> list[object]:
    if isinstance(value, str):
        return [item.strip() for item in value.split(",") if item.strip()]
    if not isinstance(value, (list, tuple)):
        raise BadInput(f"{where}={_short(value)}: must be a list; with -C separate by commas")
    return list(value)


def _short(value: object) -> str:
    shown = repr(value)
    return shown if len(shown) <= 120 else f"{shown[:117]}..."
