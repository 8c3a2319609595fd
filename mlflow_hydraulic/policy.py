"""The gate: who may move a version into or out of an environment, when, and with what reason. Pure.

The registry store asks it before a change, the page before it offers one, `hydraulic policy explain` for a person.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, time
from typing import Literal

from mlflow_hydraulic.bindings import Environment
from mlflow_hydraulic.errors import BadInput
from mlflow_hydraulic.registry import INTENT_TAGS

MoveKind = Literal["stage", "alias", "tag", "delete version", "delete model", "rename model"]
DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
ANYBODY = "*"
NOBODY = ("", "anonymous", "unknown")  # the ledger's actors who are nobody in particular


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """A weekly span of UTC time in which changes are closed: days as "mon".."sun", from `start` up to `end`."""

    days: tuple[str, ...]
    start: time = time(0, 0)
    end: time = time(23, 59, 59, 999999)

    def __post_init__(self) -> None:
        wrong = [day for day in self.days if day not in DAYS]
        if wrong or not self.days:
            raise BadInput(f"closed days {list(self.days)}: name at least one of {', '.join(DAYS)}")
        if self.start >= self.end:
            raise BadInput(f"closed from {self.start} to {self.end}: the end must be later on the same day")

    def holds(self, now: datetime) -> bool:
        return DAYS[now.weekday()] in self.days and self.start <= now.time() <= self.end

    def __str__(self) -> str:
        return f"{'/'.join(self.days)} {self.start:%H:%M}-{self.end:%H:%M} UTC"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """What one environment asks of a change.

    allow: users, and roles written "role:operator"; "*" is anybody, with or without a log-in.
    not_the_trainer: who trained a version does not bring it in; taking out is free. Only as good as the user of the
    version's run, which MLflow takes from the client that logs it: a rule among colleagues, not against a forger.
    validated: only a version enters whose last verdict is "approved", by somebody who is known and did not train it.
    validators: whose verdict counts, written as `allow`; roles in projects are given by whoever makes the project.
    """

    allow: tuple[str, ...] = (ANYBODY,)
    reason_required: bool = False
    not_the_trainer: bool = False
    validated: bool = False
    validators: tuple[str, ...] = (ANYBODY,)
    closed: tuple[Window, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """Rules by environment, roles by user, and aliases that only `protected_by` may move, bound or not.

    project_roles: whether a role in the model's project counts as one of `roles`. Whoever makes a project gives its
    roles, so it is no by default: then only the configuration says who is an operator.
    """

    rules: Mapping[str, Rule] = field(default_factory=lambda: {"prod": Rule(reason_required=True)})
    roles: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    protected_aliases: tuple[str, ...] = ()
    protected_by: tuple[str, ...] = ()
    project_roles: bool = False

    @property
    def asks_for_verdicts(self) -> bool:
        """Whether any rule looks at verdicts."""
        return any(rule.validated for rule in self.rules.values())


@dataclass(frozen=True, slots=True, kw_only=True)
class Move:
    """One change that somebody asks for.

    kind and before/after: a stage's names; an alias with the version it leaves and gets ("" for none); a tag's values.
    subject: the alias or tag that changes; "" for a stage. stage, aliases: of the version that a tag, a deletion or a
    rename concerns.
    actor: the user, "" where nobody is logged in. trainer: the user of the run that made the version.
    verdict, validator: the last one on the version, and who gave it; "" where there is none, or no rule asks for it.
    """

    kind: MoveKind
    model: str
    version: int
    actor: str
    reason: str
    now: datetime
    subject: str = ""
    before: str = ""
    after: str = ""
    stage: str = "None"
    aliases: tuple[str, ...] = ()
    trainer: str = ""
    verdict: str = ""
    validator: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """The answer, for every environment that the move touches; `reasons` say why not."""

    environments: tuple[str, ...]
    reasons: tuple[str, ...] = ()

    @property
    def allowed(self) -> bool:
        return not self.reasons


def judge(move: Move, environments: Sequence[Environment], policy: Policy) -> Verdict:
    """Whether `move` is allowed: every rule of every environment that it touches must agree."""
    touched = [env for env in environments if env.looks_at(move.model) and touches(move, env)]
    reasons = [
        reason for env in touched for reason in _objections(move, env, policy.rules.get(env.name, Rule()), policy)
    ]
    if move.kind == "alias" and move.subject in policy.protected_aliases:
        reasons += _not_listed(move.actor, policy.protected_by, policy, f"move the protected alias {move.subject!r}")
    return Verdict(environments=tuple(env.name for env in touched), reasons=tuple(dict.fromkeys(reasons)))


def judge_all(moves: Iterable[Move], environments: Sequence[Environment], policy: Policy) -> Verdict:
    """One verdict for moves that are made together."""
    verdicts = [judge(move, environments, policy) for move in moves]
    touched = dict.fromkeys(name for verdict in verdicts for name in verdict.environments)
    reasons = dict.fromkeys(reason for verdict in verdicts for reason in verdict.reasons)
    return Verdict(environments=tuple(touched), reasons=tuple(reasons))


def touches(move: Move, environment: Environment) -> bool:
    """Whether the move can change what `environment` runs: into it, out of it, or within it."""
    stages, aliases = _bound(environment, "stage"), _bound(environment, "alias")
    if move.kind == "stage":
        return move.before != move.after and bool({move.before, move.after} & stages)
    if move.kind == "alias":
        return move.subject in aliases
    concerns = move.stage in stages or bool(set(move.aliases) & aliases)
    return concerns and (move.kind != "tag" or move.subject in INTENT_TAGS)


def enters(move: Move, environment: Environment) -> bool:
    """Whether a move that touches `environment` brings the version in, or into another role there."""
    if move.kind == "stage":
        return move.after in _bound(environment, "stage")
    if move.kind == "alias":
        return move.after != ""
    return move.kind == "rename model" and move.model == move.after


def _bound(environment: Environment, kind: str) -> set[str]:
    selectors = (*environment.champion, *environment.challenger)
    return {selector.value for selector in selectors if selector.kind == kind}


def _objections(move: Move, environment: Environment, rule: Rule, policy: Policy) -> list[str]:
    where = environment.name.upper()
    reasons = _not_listed(move.actor, rule.allow, policy, f"change {where}")
    if rule.reason_required and not move.reason.strip():
        reasons.append(f"{where} asks for a reason: give it as the comment (REST: as the header X-Hydraulic-Reason)")
    if rule.not_the_trainer and enters(move, environment):
        reasons += _not_a_second_person(move, where)
    if rule.validated and enters(move, environment):
        reasons += _not_validated(move, where) or _no_validator(move, where, rule, policy)
    reasons += [f"{where} is closed for changes {window}" for window in rule.closed if window.holds(move.now)]
    return reasons


def _not_a_second_person(move: Move, where: str) -> list[str]:
    reasons = []
    if not move.actor:
        reasons.append(f"{where} asks for a second person, and nobody is logged in")
    if not move.trainer:
        reasons.append(
            f"{where} asks for a second person, and who trained version {move.version} is not known: register it from "
            f"a run of this server's"
        )
    elif move.actor == move.trainer:
        reasons.append(f"{where} asks for a second person: {move.actor!r} trained version {move.version}")
    return reasons


def _not_validated(move: Move, where: str) -> list[str]:
    asks = f"{where} asks for an approved version"
    if not move.verdict:
        return [f"{asks}, and nobody gave a verdict on version {move.version}: a validator does, on its page"]
    if move.verdict != "approved":
        return [f"{asks}, and version {move.version} was {move.verdict} by {move.validator!r}"]
    if move.validator in NOBODY:
        return [f"{asks}, and who approved version {move.version} is not known: nobody was logged in"]
    if not move.trainer:
        return [f"{asks}, by somebody who did not train it, and who trained version {move.version} is not known"]
    if move.validator == move.trainer:
        return [f"{asks}, by somebody who did not train it: {move.validator!r} trained version {move.version}"]
    return []


def _no_validator(move: Move, where: str, rule: Rule, policy: Policy) -> list[str]:
    return _not_listed(move.validator, rule.validators, policy, f"approve versions for {where}")


def _not_listed(actor: str, allow: Sequence[str], policy: Policy, what: str) -> list[str]:
    if ANYBODY in allow:
        return []
    mine = {actor, *(f"role:{role}" for role in policy.roles.get(actor, ()))} if actor else set()
    if mine & set(allow):
        return []
    listed = [f"the role {name.removeprefix('role:')}" if name.startswith("role:") else name for name in allow]
    if not listed:
        return [f"nobody may {what}"]
    return [f"only {' or '.join(listed)} may {what}, {f'not {actor!r}' if actor else 'and nobody is logged in'}"]
