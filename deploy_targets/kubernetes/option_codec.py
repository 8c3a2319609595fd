"""Options of a deployment on Kubernetes from `-C` texts and TOML tables, to JSON and back; and what they mean.

Called by the deployments client (`-C KEY=VALUE`), the configuration (`[environments.prod.kubernetes]`) and the
manifests, which write down what was asked for, so that an update keeps what it does not name.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import MISSING, fields, replace
from typing import Any

from mlflow_hydraulic.deploy_targets.kubernetes import option_kinds as kinds
from mlflow_hydraulic.deploy_targets.kubernetes.options import KubernetesOptions
from mlflow_hydraulic.errors import BadInput

FIELDS = {one.name: one for one in fields(KubernetesOptions)}
TABLES = tuple(name for name, one in FIELDS.items() if one.default_factory is not MISSING)
DEFAULTS = KubernetesOptions()


def option_help() -> dict[str, str]:
    """Key and meaning with the default, in the order of the fields; tables as `env.KEY`."""
    return {
        f"{name}.KEY" if name in TABLES else name: f"{one.metadata['doc']}{_default(name)}"
        for name, one in FIELDS.items()
    }


def takes(key: str) -> bool:
    """Whether `-C key=...` is one of these options."""
    return key in FIELDS or key.partition(".")[0] in TABLES


def options_from_config(given: Mapping[str, object], base: KubernetesOptions = DEFAULTS) -> KubernetesOptions:
    """`base` with the `-C` values; `env.KEY=` with an empty value takes one away, `env=none` all of them."""
    changed: dict[str, Any] = {}
    for key, raw in given.items():
        value = str(raw).strip()
        table, dot, inner = key.partition(".")
        if table in TABLES and dot:
            now = dict(changed.get(table, getattr(base, table)))
            now[inner] = value
            changed[table] = {k: v for k, v in now.items() if v or k != inner}
        elif key in TABLES and value.lower() == "none":
            changed[key] = {}
        elif key in TABLES:
            raise BadInput(f"-C {key}={value}: write -C {key}.KEY=VALUE for each, or {key}=none for none")
        elif key in FIELDS:
            changed[key] = _read(f"-C {key}", key, value)
        else:
            raise BadInput(f"-C {key}={value}: there is no such key; known are {', '.join(option_help())}")
    return _replaced(base, "-C", changed)


def options_from_table(where: str, table: object, base: KubernetesOptions = DEFAULTS) -> KubernetesOptions:
    """`base` with what parsed TOML or JSON says; a table such as env is taken as a whole."""
    if not isinstance(table, Mapping):
        raise BadInput(f"{where}: must be a table, not {type(table).__name__}")
    for key in table:
        if key not in FIELDS:
            raise BadInput(f"{where}.{key}: no such option; known are {', '.join(FIELDS)}")
    return _replaced(base, where, {key: _read(f"{where}.{key}", key, value) for key, value in table.items()})


def options_to_table(options: KubernetesOptions) -> dict[str, object]:
    """What differs from the defaults, as JSON and TOML take it; `options_from_table` gives it back, equal."""
    return {
        name: kinds.written(getattr(options, name))
        for name in FIELDS
        if getattr(options, name) != getattr(DEFAULTS, name)
    }


def options_to_json(options: KubernetesOptions) -> str:
    return json.dumps(options_to_table(options), sort_keys=True)


def _read(where: str, name: str, value: object) -> object:
    found: object = FIELDS[name].metadata["kind"](where, value)
    return found


def _replaced(base: KubernetesOptions, where: str, changed: Mapping[str, Any]) -> KubernetesOptions:
    try:
        return replace(base, **changed)
    except BadInput as error:
        raise BadInput(f"{where} {error}") from error


def _default(name: str) -> str:
    value = getattr(DEFAULTS, name)
    if value in ("", (), {}):
        return ""
    return f" ({str(value).lower() if isinstance(value, bool) else value})"
