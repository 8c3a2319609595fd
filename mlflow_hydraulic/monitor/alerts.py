"""Findings become alerts: rows of the ledger, and notifications in the outbox, in one transaction.

`judge` is called by the monitor's loop after each look, with or without findings.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from sqlalchemy import Connection, Engine

from mlflow_hydraulic.evidence.asof import stamp
from mlflow_hydraulic.monitor import decide, looks, mutes, outbox
from mlflow_hydraulic.monitor.alert import MONITOR_ACTOR, Alert, Key
from mlflow_hydraulic.monitor.decide import Look
from mlflow_hydraulic.monitor.findings import Finding, Subject
from mlflow_hydraulic.monitor.mutes import Mute
from mlflow_hydraulic.monitor.rules import Rules
from mlflow_hydraulic.monitor.standing import Change, alone, current, write

log = logging.getLogger("hydraulic.monitor")
Present = Mapping[str, Mapping[str, Collection[str]]]
GONE = "there is no such deployment any more"
MOST_AT_ONCE = 2000  # findings in one transaction
PREDICTOR_GONE = "there is no such predictor any more"


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """What came of a look.

    changes: of alerts, as the ledger has them. ignored: findings that could not be used, and why. queued: notifications
    that wait in the outbox since.
    """

    changes: tuple[Change, ...] = ()
    ignored: tuple[tuple[Finding, str], ...] = ()
    queued: int = 0


def judge(
    engine: Engine,
    found: Sequence[Finding],
    rules: Rules,
    now: datetime,
    *,
    workspace: str = "default",
    present: Present | None = None,
) -> Judged:
    """Take findings in, write down what becomes of the alerts and who is to be told: of a deployment all or nothing.

    Of several monitors that judge at once the others wait, and then find it done. Call it without findings as well:
    mutes end and reminders fall due. present: the predictors of each deployment by environment, of the environments
    that were seen; alerts of what is not among them are closed. None where nobody looked.
    """
    ignored = [(one, why) for one in found if (why := _flaw(one, workspace, now))]
    for one, why in ignored:
        log.warning("a finding on %.64s, level %.16s, was ignored: %s", one.subject.deployment, one.level, why)
    wrong = {id(one) for one, _ in ignored}
    turns = _turns([one for one in found if id(one) not in wrong])
    changes: list[Change] = []
    queued = 0
    for number, turn in enumerate(turns, start=1):
        with alone(engine, workspace) as connection:
            last = present if number == len(turns) else None
            made, put = _turn(connection, turn, rules, now, workspace=workspace, present=last)
        changes += made
        queued += put
    return Judged(changes=tuple(changes), ignored=tuple(ignored), queued=queued)


def _turns(found: Sequence[Finding]) -> list[list[Finding]]:
    """Findings in parts of some thousand, those of one deployment together; at least one part, which may be empty.

    Whoever else writes to the database waits for one part, not for all.
    """
    by_place: dict[tuple[str, str], list[Finding]] = {}
    for one in found:
        by_place.setdefault((one.subject.environment, one.subject.deployment), []).append(one)
    turns: list[list[Finding]] = [[]]
    for part in by_place.values():
        if len(turns[-1]) + len(part) > MOST_AT_ONCE and turns[-1]:
            turns.append([])
        turns[-1] += part
    return turns


def _turn(
    connection: Connection,
    found: Sequence[Finding],
    rules: Rules,
    now: datetime,
    *,
    workspace: str,
    present: Present | None,
) -> tuple[list[Change], int]:
    """The changes that one part makes, in the order of the ledger, and how many notifications wait since."""
    standing = current(connection, workspace)
    known = looks.add(connection, found, now)
    moved = _looked(connection, standing, found, known, rules=rules, now=now)
    if present is not None:
        _close_gone(connection, standing, moved, workspace, present)
    _join_incidents(standing, moved, now)
    telling = _tell(standing, moved, rules, mutes.active(connection, workspace, now), now)
    changes = write(connection, standing, moved, now)
    every = [one for chain in changes.values() for one in chain]
    for change in every:
        if change.alert.what in ("opened", "worsened", "eased"):
            looks.keep(connection, change.alert.key, change.alert.until)
    looks.prune(connection, known, rules)
    queued = outbox.put(connection, [changes[digest][-1] for digest in telling], rules, now)
    return sorted(every, key=lambda change: change.alert.seq), queued


def _flaw(finding: Finding, workspace: str, now: datetime) -> str:
    if finding.subject.workspace != workspace:
        return f"it is of workspace {finding.subject.workspace[:64]!r}, and this monitor looks after {workspace!r}"
    return looks.flaw(finding, now)


def _looked(
    connection: Connection,
    standing: Mapping[str, Alert],
    found: Sequence[Finding],
    known: Mapping[Key, Sequence[Look]],
    *,
    rules: Rules,
    now: datetime,
) -> dict[str, list[Alert]]:
    """The steps that these findings make, by digest; known: all looks at their keys, themselves among them."""
    fresh = {(looks.key_of(one).digest, looks.until_us(one)): one for one in found}
    new: dict[str, set[int]] = {}
    for digest, until in fresh:
        new.setdefault(digest, set()).add(until)
    moved: dict[str, list[Alert]] = {}
    for key, seen in known.items():

        def fetch(look: Look, key: Key = key) -> Finding:
            return fresh.get((key.digest, look.until_us)) or looks.fetch(connection, key, look)

        case = decide.Case(key=key, rule=rules.of(key), now=now, fetch=fetch)
        chain = decide.steps(standing.get(key.digest), seen, new[key.digest], case)
        if chain:
            moved[key.digest] = chain
    return moved


def _close_gone(
    connection: Connection,
    standing: Mapping[str, Alert],
    moved: dict[str, list[Alert]],
    workspace: str,
    present: Present,
) -> None:
    """Close what stands of deployments and predictors that are gone, and forget what was seen of them."""
    for digest in standing.keys() | moved.keys():
        last = moved[digest][-1] if digest in moved else standing[digest]
        why = _absent(last.key.subject, present)
        if why and last.is_open:
            mark = round(last.until * 1e6)
            moved.setdefault(digest, []).append(decide.closed(last, mark, why))
    looks.forget(connection, [one for one in looks.subjects(connection, workspace) if _absent(one, present)])


def _absent(subject: Subject, present: Present) -> str:
    deployments = present.get(subject.environment)
    if deployments is None:
        return ""
    if subject.deployment not in deployments:
        return GONE
    return PREDICTOR_GONE if subject.predictor and subject.predictor not in deployments[subject.deployment] else ""


def _join_incidents(standing: Mapping[str, Alert], moved: dict[str, list[Alert]], now: datetime) -> None:
    """An alert that opens joins the incident that its deployment is in, or begins one."""
    incidents: dict[tuple[str, str], str] = {}
    for alert in standing.values():
        if alert.is_open:
            incidents.setdefault(_place(alert), alert.incident)
    for chain in moved.values():
        for index, alert in enumerate(chain):
            if alert.incident == "":
                incident = incidents.setdefault(_place(alert), stamp(now))
                chain[index] = replace(alert, incident=incident)


def _place(alert: Alert) -> tuple[str, str]:
    return alert.key.subject.environment, alert.key.subject.deployment


def _tell(
    standing: Mapping[str, Alert],
    moved: dict[str, list[Alert]],
    rules: Rules,
    muting: Sequence[Mute],
    now: datetime,
) -> list[str]:
    """The digests of alerts that people are told of now; notes in their last step that they were."""
    telling = []
    for digest in [*moved, *(digest for digest, alert in standing.items() if alert.is_open and digest not in moved)]:
        last = moved[digest][-1] if digest in moved else standing[digest]
        rule, muted = rules.of(last.key), bool(mutes.that_fit(muting, last))
        if not last.is_open:
            if last.told and not muted:
                telling.append(digest)
        elif decide.tell(last, rule, now, muted=muted):
            noted = decide.told(last, now)
            if digest in moved:
                moved[digest][-1] = noted
            else:
                moved[digest] = [replace(noted, what="reminded", by=MONITOR_ACTOR, reason="")]
            telling.append(digest)
    return telling
