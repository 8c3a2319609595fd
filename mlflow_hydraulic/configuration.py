"""Environments, bindings and policy from the TOML file's tables; what the file does not say has a default.

bindings = "stages"                     # or aliases, both, model-per-environment
[environments.prod]                     # changes the preset's prod, or adds an environment
champion = ["alias:champion", "stage:Production"]
target = "seldon-local"
[environments.prod.kubernetes]          # options of the target on Kubernetes, docs/kubernetes.md
cpu_limit = "2"
[environments.prod.canary]              # a new champion gets its share step by step, docs/canary.md
steps = [5, 25, 50]
[policy.prod]
allow = ["ds1", "role:operator"]
reason_required = true
validated = true                        # only versions that somebody else than their trainer approved
validators = ["ds9"]                    # and one of these
closed = [{ days = ["sat", "sun"] }]
[policy]
protected_aliases = ["champion"]
protected_by = ["role:operator"]
project_roles = false                   # whether operators of the model's project are operators here
[roles]
operator = ["ds1"]
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import time
from typing import Any

from mlflow_hydraulic import typed
from mlflow_hydraulic.bindings import Environment, Selector, preset
from mlflow_hydraulic.canary.rules import read_rules
from mlflow_hydraulic.deployment import check_name
from mlflow_hydraulic.errors import BadInput
from mlflow_hydraulic.policy import Policy, Rule, Window
from mlflow_hydraulic.promotion import successors

ENVIRONMENT_KEYS = ("target", "namespace", "champion", "challenger", "models", "promotes_from", "kubernetes", "canary")
RULE_KEYS = ("allow", "reason_required", "not_the_trainer", "validated", "validators", "closed")


@dataclass(frozen=True, kw_only=True)
class Configuration:
    """The environments in their order of promotion, and the policy over them."""

    environments: tuple[Environment, ...] = field(default_factory=lambda: preset("stages"))
    policy: Policy = field(default_factory=Policy)

    def environment(self, name: str) -> Environment:
        found = next((env for env in self.environments if env.name == name), None)
        if found is None:
            known = ", ".join(env.name for env in self.environments)
            raise BadInput(f"environment {name!r}: there is none of that name; known are {known}")
        return found


def read_configuration(tables: Mapping[str, Any]) -> Configuration:  # Any: parsed TOML
    """The configuration from parsed TOML; `BadInput` names the key that is wrong and the known ones."""
    environments = {env.name: env for env in preset(typed.text("bindings", tables.get("bindings", "stages")))}
    for name, table in typed.table("environments", tables.get("environments", {})).items():
        check_name("environment", name)
        environments[name] = _environment(name, table, environments.get(name))
    known = set(environments)
    for env in environments.values():
        if env.promotes_from and env.promotes_from not in known:
            raise BadInput(f"environments.{env.name}.promotes_from={env.promotes_from!r}: no such environment")
        if env in successors(env, tuple(environments.values())):
            raise BadInput(
                f"environments.{env.name}.promotes_from={env.promotes_from!r}: it leads back to {env.name}; "
                f"promotion goes one way"
            )
    _refuse_shared(environments.values())
    return Configuration(environments=tuple(environments.values()), policy=_policy(tables, known))


def _refuse_shared(environments: Iterable[Environment]) -> None:
    """Two environments in one place would each end what the other deployed."""
    owners: dict[tuple[str, str], str] = {}
    for env in environments:
        owner = owners.setdefault((env.target, env.namespace), env.name)
        if owner != env.name:
            raise BadInput(
                f"environments.{env.name}.namespace={env.namespace!r}: {owner} has that namespace on {env.target}: "
                f"give each environment one of its own"
            )


def _environment(name: str, table: Any, base: Environment | None) -> Environment:
    where = f"environments.{name}"
    given = typed.known(where, typed.table(where, table), ENVIRONMENT_KEYS)
    values: dict[str, Any] = {
        key: tuple(Selector.parse(text) for text in typed.texts(f"{where}.{key}", value))
        if key in ("champion", "challenger")
        else typed.table(f"{where}.{key}", value)
        if key == "kubernetes"
        else read_rules(f"{where}.{key}", value)
        if key == "canary"
        else typed.text(f"{where}.{key}", value)
        for key, value in given.items()
    }
    environment = replace(base or Environment(name=name, namespace=name), **values)
    check_name("namespace", environment.namespace)
    if not environment.champion:
        raise BadInput(f'{where}: says no champion; give selectors such as ["alias:champion", "stage:Production"]')
    return environment


def _policy(tables: Mapping[str, Any], environments: set[str]) -> Policy:
    table = typed.table("policy", tables.get("policy", {}))
    lists = ("protected_aliases", "protected_by")
    given = typed.known("policy", table, (*sorted(environments), *lists, "project_roles"))
    rules = dict(Policy().rules)
    for name in environments & set(given):
        rules[name] = _rule(f"policy.{name}", given[name], rules.get(name, Rule()))
    roles: dict[str, tuple[str, ...]] = {}
    for role, users in typed.table("roles", tables.get("roles", {})).items():
        for user in typed.texts(f"roles.{role}", users):
            roles[user] = (*roles.get(user, ()), role)
    aliases = {key: typed.texts(f"policy.{key}", given[key]) for key in lists if key in given}
    counted = typed.truth("policy.project_roles", given.get("project_roles", False))
    return Policy(rules=rules, roles=roles, project_roles=counted, **aliases)


def _rule(where: str, table: Any, base: Rule) -> Rule:
    given = typed.known(where, typed.table(where, table), RULE_KEYS)
    values: dict[str, Any] = {}
    for key, value in given.items():
        if key in ("allow", "validators"):
            values[key] = typed.texts(f"{where}.{key}", value)
        elif key == "closed":
            values[key] = tuple(_window(f"{where}.closed", window) for window in typed.items(f"{where}.closed", value))
        else:
            values[key] = typed.truth(f"{where}.{key}", value)
    rule = replace(base, **values)
    if "validators" in given and not rule.validated:
        raise BadInput(f"{where}.validators: nobody asks them: write validated = true beside it")
    return rule


def _window(where: str, table: Any) -> Window:
    given = typed.known(where, typed.table(where, table), ("days", "start", "end"))
    times = {key: _time(f"{where}.{key}", given[key]) for key in ("start", "end") if key in given}
    return Window(days=typed.texts(f"{where}.days", given.get("days", [])), **times)


def _time(where: str, value: Any) -> time:
    if isinstance(value, time):
        return value
    try:
        return time.fromisoformat(typed.text(where, value))
    except ValueError as error:
        raise BadInput(f'{where}={value!r}: write a time of day in UTC such as "18:00"') from error
