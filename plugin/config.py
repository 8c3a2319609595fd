"""`-C key=value` of the deployments clients: read, typed, checked, and put together to a deployment.

Called by `plugin/deployments.py`. The keys of every target stand in `KEYS`; each target adds its own.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from mlflow_hydraulic.deployment import Deployment, ModelVersion, Predictor, check_name
from mlflow_hydraulic.errors import BadInput

Fetch = Callable[[str], ModelVersion]
MAIN = "default"
SHADOW = "shadow"
NONE = "none"

KEYS = {
    "replicas": "scorers of the main predictor, 1 or more (1)",
    "traffic": "share of the main predictor in percent (100 less the arms' shares)",
    "arm.NAME": "one more predictor, MODEL_URI:SHARE as models:/m/2:20; MODEL_URI keeps its share; none removes it",
    "arm.NAME.traffic": "share of that predictor in percent",
    "arm.NAME.replicas": "scorers of that predictor",
    "shadow": "gets copies and never answers: MODEL_URI or MODEL_URI:SHARE (100); none removes it",
    "shadow.traffic": "share of the requests that the shadow gets, in percent",
    "shadow.replicas": "scorers of the shadow",
    "namespace": "where the deployment lives (that of the target URI)",
    "environment": "the same as namespace",
    "wait": "true or false: return when it answers, or at once (true)",
    "timeout_s": "how long to wait, in seconds (as long as starting and stopping may take)",
}
ARM = re.compile(r"arm\.(?P<name>[^.]+)(?:\.(?P<what>traffic|replicas))?")


@dataclass(slots=True, kw_only=True)
class Change:
    """What is asked of one predictor; None leaves it as it is. `uri` "none" removes it."""

    uri: str | None = None
    traffic: int | None = None
    replicas: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """All `-C` values of one call, typed; None where not given. own: those that only the target knows, as texts."""

    main: Change = field(default_factory=Change)
    arms: Mapping[str, Change] = field(default_factory=dict)
    shadow: Change = field(default_factory=Change)
    namespace: str | None = None
    wait: bool = True
    timeout_s: float | None = None
    own: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Own:
    """The keys that only one target has, with their meaning; `takes` knows those too that hold a name, as env.NAME."""

    keys: Mapping[str, str]
    takes: Callable[[str], bool]


def read_config(given: Mapping[str, object] | None, own: Own) -> Config:
    """The config of one call; `BadInput` names the key, its value, the rule and, for an unknown key, the known ones."""
    main, shadow, arms = Change(), Change(), dict[str, Change]()
    plain: dict[str, object] = {}
    others: dict[str, str] = {}
    for key, raw in (given or {}).items():
        value = str(raw).strip()
        if key == "traffic":
            main.traffic = whole(key, value, 0, 100)
        elif key == "replicas":
            main.replicas = _replicas(key, value)
        elif key in ("shadow", "shadow.traffic", "shadow.replicas"):
            _one(shadow, key, key.partition(".")[2], value)
        elif match := ARM.fullmatch(key):
            check_name("predictor", match["name"])
            if match["name"] in (MAIN, SHADOW):
                raise BadInput(f"-C {key}={value}: {match['name']!r} is taken: give the arm another name")
            _one(arms.setdefault(match["name"], Change()), key, match["what"] or "", value)
        elif key not in KEYS and own.takes(key):
            others[key] = value
        elif key not in KEYS:
            raise BadInput(f"-C {key}={value}: there is no such key; known are {', '.join((*KEYS, *own.keys))}")
        else:
            name = "namespace" if key == "environment" else key
            if name in plain:
                raise BadInput(f"-C {key}={value}: namespace and environment are the same thing: give one of them")
            plain[name] = _plain(key, value)
    return Config(main=main, arms=arms, shadow=shadow, own=others, **plain)  # type: ignore[arg-type]  # typed by `_plain`


def deployment_of(
    name: str, namespace: str, *, model_uri: str | None, config: Config, before: Deployment | None, fetch: Fetch
) -> Deployment:
    """The deployment that is asked for; what is not named stays as in `before`. `fetch` pins a model.

    Shares are checked before any model is fetched. Raises `BadInput` for shares that do not add up to 100.
    """
    old = {p.name: p for p in before.predictors} if before else {}
    arms = {n: p.traffic for n, p in old.items() if n != MAIN}
    for arm, change in config.arms.items():
        if change.uri == NONE:
            arms.pop(arm, None)
            continue
        if arm not in old and change.uri is None:
            raise BadInput(f"arm.{arm}: there is no such predictor yet: name its model, -C arm.{arm}=MODEL_URI:SHARE")
        if change.traffic is None and arm not in arms:
            raise BadInput(f"-C arm.{arm}={change.uri}: say its share in percent: -C arm.{arm}={change.uri}:20")
        arms[arm] = arms.get(arm, 0) if change.traffic is None else change.traffic
    share = 100 - sum(arms.values()) if config.main.traffic is None else config.main.traffic
    if share < 0 or share + sum(arms.values()) != 100:
        shares = ", ".join(f"{n}={s}" for n, s in {MAIN: share, **arms}.items())
        raise BadInput(f"the shares are {shares}: they must be 0 or more and add up to 100")
    main = _predictor(MAIN, replace(config.main, uri=model_uri, traffic=share), old.get(MAIN), fetch)
    others = [
        _predictor(n, replace(config.arms.get(n, Change()), traffic=traffic), old.get(n), fetch)
        for n, traffic in arms.items()
    ]
    return Deployment(
        name=name,
        namespace=namespace,
        predictors=(main, *others),
        shadow=_shadow(config.shadow, before.shadow if before else None, fetch),
        labels=dict(before.labels) if before else {},
    )


def _shadow(change: Change, old: Predictor | None, fetch: Fetch) -> Predictor | None:
    if change.uri == NONE:
        return None
    if old is None and change.uri is None:
        if change.traffic is not None or change.replicas is not None:
            raise BadInput("there is no shadow yet: name its model, -C shadow=MODEL_URI")
        return None
    return _predictor(SHADOW, change, old, fetch)


def _predictor(name: str, change: Change, old: Predictor | None, fetch: Fetch) -> Predictor:
    if change.uri is None and old is None:
        raise BadInput(f"predictor {name!r} has no model: name one")
    model = old.model if change.uri is None and old is not None else fetch(str(change.uri))
    traffic = change.traffic if change.traffic is not None else old.traffic if old else 100
    replicas = change.replicas if change.replicas is not None else old.replicas if old else 1
    return Predictor(name=name, model=model, traffic=traffic, replicas=replicas)


def _one(change: Change, key: str, what: str, value: str) -> None:
    if what == "replicas":
        change.replicas = _replicas(key, value)
    elif what == "traffic":
        change.traffic = whole(key, value, 0, 100)
    else:
        uri, colon, share = value.rpartition(":")
        if not (colon and share.isascii() and share.isdigit()):
            uri, share = value, ""
        if not uri:
            raise BadInput(f'-C {key}={value}: write MODEL_URI:SHARE, as models:/cooler/2:20, or "none" to remove it')
        change.uri = NONE if uri.lower() == NONE else uri
        if share:
            change.traffic = whole(key, share, 0, 100)


def _plain(key: str, value: str) -> object:
    if key in ("namespace", "environment"):
        check_name("namespace", value)
        return value
    return flag(key, value) if key == "wait" else _seconds(key, value)


def flag(key: str, value: str) -> bool:
    """The truth value of `-C key=value`."""
    if value.lower() not in ("true", "false"):
        raise BadInput(f"-C {key}={value}: must be true or false")
    return value.lower() == "true"


def _replicas(key: str, value: str) -> int:
    if value == "0":
        raise BadInput(f'-C {key}=0: must be 1 or more; to stop serving use "mlflow deployments delete"')
    return whole(key, value, 1, 64)


def whole(key: str, value: str, least: int, most: int) -> int:
    """The number of `-C key=value`."""
    if not (value.isascii() and value.isdigit()) or not least <= int(value) <= most:
        raise BadInput(f"-C {key}={value}: must be a whole number from {least} to {most}")
    return int(value)


def _seconds(key: str, value: str) -> float:
    try:
        seconds = float(value)
    except ValueError as error:
        raise BadInput(f"-C {key}={value}: must be a number of seconds") from error
    if not 0 < seconds <= 86_400:
        raise BadInput(f"-C {key}={value}: must be more than 0 and at most 86400 seconds")
    return seconds
