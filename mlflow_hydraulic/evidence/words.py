"""A ledger row as a sentence: who did what to which version, or what then ran. Pure; for `hydraulic history`.

What comes from outside is not cleaned here: whoever prints it does that.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping

from mlflow_hydraulic.errors import Untrusted
from mlflow_hydraulic.evidence.compositions import read_composition
from mlflow_hydraulic.evidence.ledger import Row
from mlflow_hydraulic.evidence.recorded import version_of


def sentence(row: Row) -> str:
    """`row` in words, without its reason: "ds1 moved version 3 from Staging to Production"."""
    try:
        before, after = json.loads(row.before), json.loads(row.after)
        return SENTENCES.get(row.verb, _other)(row, before, after)
    except (
        ValueError,
        TypeError,
        KeyError,
        RecursionError,
        Untrusted,
    ):  # tampered with: it is shown, and verify names it
        return f"{row.actor}: {row.verb} {row.subject}: {row.before} -> {row.after}"


def told(row: Row) -> str:
    """The sentence with its reason: "ds1 moved version 3 from Staging to Production: beats 2"."""
    return f"{sentence(row)}: {row.reason}" if row.reason else sentence(row)


def _stage(row: Row, before: object, after: object) -> str:
    if after is None:
        return f"{row.actor} found version {version_of(row.subject)} gone (it was in stage {before})"
    return f"{row.actor} moved version {version_of(row.subject)} from {before} to {after}"


def _alias(row: Row, before: object, after: object) -> str:
    alias = row.subject.rpartition("@")[2]
    if after is None:
        return f"{row.actor} removed alias {alias} (was version {before})"
    return f"{row.actor} set alias {alias} to version {after}" + _was_version(before)


def _tag(row: Row, before: object, after: object) -> str:
    key = row.subject.rpartition("#")[2]
    if after is None:
        return f"{row.actor} removed {key} of version {version_of(row.subject)} (was {before})"
    return f"{row.actor} set {key} of version {version_of(row.subject)} to {after}{_was(before)}"


def _delete_version(row: Row, before: object, _after: object) -> str:
    return f"{row.actor} deleted version {version_of(row.subject)} (was in stage {before})"


def _delete_model(row: Row, _before: object, _after: object) -> str:
    return f"{row.actor} deleted the registered model {row.model}"


def _rename_model(row: Row, before: object, after: object) -> str:
    return f"{row.actor} renamed the registered model from {before} to {after}"


def _runs(row: Row, before: object, after: object) -> str:
    ran, runs = read_composition(before), read_composition(after)
    environment = row.subject.partition("/")[0]
    if runs is None:
        return f"{environment} no longer runs it{_was(ran)}"
    if ran and ran.wanted == runs.wanted:
        return f"{environment} runs {runs} with another artefact"
    return f"{environment} now runs {runs}{_was(ran)}"


def _failed(row: Row, before: object, after: object) -> str:
    environment = row.subject.partition("/")[0]
    what = f"to run {after}" if after else "to end it"
    return f"{environment} failed {what}" + (f"; {before} goes on" if before else "")


def _canary(row: Row, _before: object, after: object) -> str:
    if not isinstance(after, Mapping):
        raise TypeError("a canary's row says what it does")
    environment, old, new, share = row.environment, after["from"], after["to"], after["share"]
    return {
        "begin": f"{environment} began the canary of v{new} beside v{old}",
        "step": f"{environment} gives v{new} its next {share} %",
        "mark": f"{environment} counts v{new} at {share} %",
        "done": f"{environment} ended the canary of v{new}, which gets all callers",
        "back": f"{environment} rolled the canary of v{new} back to v{old}",
        "halt": f"{environment} halted the canary of v{new} at {share} %",
        "over": f"{environment} gave up the canary of v{new} at {share} %",
    }[str(after["phase"])]


def _alert(row: Row, _before: object, after: object) -> str:
    if not isinstance(after, Mapping):
        raise TypeError("an alert's row says how it stands")
    what, colour = after["what"], after["colour"]
    if what == "closed":
        return f"{row.actor} closed the alert {row.subject}"
    if what == "acknowledged":
        return f"{row.actor} acknowledged the {colour} alert {row.subject}"
    if what == "reminded":
        return f"people were told of the {colour} alert {row.subject}: {after['cause']}"
    return f"alert {row.subject} {what}, {colour}: {after['cause']}"


def _mute(row: Row, _before: object, after: object) -> str:
    pattern = row.subject.partition(" ")[2]
    if not isinstance(after, Mapping):
        return f"{row.actor} ended the mute of {pattern}"
    return f"{row.actor} muted alerts of {pattern} until {str(after['until'])[:16]}"


def _undelivered(_row: Row, _before: object, after: object) -> str:
    if not isinstance(after, Mapping):
        raise TypeError("it says which notification was given up")
    return f"notification {after['notification']} was given up by channel {after['channel']}"


def _deployment_tag(row: Row, before: object, after: object) -> str:
    place, _, key = row.subject.partition("#")
    if after is None:
        return f"{row.actor} removed tag {key} of deployment {place} (was {before})"
    return f"{row.actor} set tag {key} of deployment {place} to {after}{_was(before)}"


def _ended(row: Row, before: object, _after: object) -> str:
    return f"{row.actor} ended deployment {row.subject}, which was made by hand{_was(before)}"


def _pinned(row: Row, _before: object, after: object) -> str:
    return f"version {version_of(row.subject)} was pinned to digest {str(after)[:12]}"


def _comment(row: Row, _before: object, after: object) -> str:
    return f"{row.actor} commented on version {version_of(row.subject)}: {after}"


def _project(row: Row, _before: object, after: object) -> str:
    if not isinstance(after, Mapping):
        raise TypeError("a project's row says what became of it")
    project, what = row.subject.partition("/")[2], after["what"]
    told = {
        "created": f"made project {project}",
        "described": f"described project {project} anew",
        "removed": f"removed project {project}",
        "joined": f"brought model {row.model} into project {project}",
        "left": f"took model {row.model} out of project {project}",
    }
    return f"{row.actor} {told[str(what)]}"


def _member(row: Row, before: object, after: object) -> str:
    project = row.subject.partition("/")[2]
    if isinstance(after, Mapping) and isinstance(before, Mapping):
        return f"{row.actor} made {after['user']} {after['role']} of project {project} (was {before['role']})"
    if isinstance(after, Mapping):
        return f"{row.actor} shared project {project} with {after['user']} as {after['role']}"
    if not isinstance(before, Mapping):
        raise TypeError("a member's row names the member")
    if before["user"] == row.actor:
        return f"{row.actor} left project {project} (was {before['role']})"
    return f"{row.actor} ended {before['user']}'s membership of project {project} (was {before['role']})"


def _verdict(row: Row, before: object, after: object) -> str:
    return f"{row.actor} {after} version {version_of(row.subject)}" + (f" (was {before})" if before else "")


def _tagged(row: Row, before: object, after: object) -> str:
    key, version = row.subject.partition("#")[2], version_of(row.subject)
    if after is None:
        return f"{row.actor} removed the tag {key} of version {version}{_was(before)}"
    return f"{row.actor} tagged version {version} with {key}: {after}{_was(before)}"


def _described(row: Row, _before: object, after: object) -> str:
    return f"{row.actor} described version {version_of(row.subject)}: {after or 'nothing'}"


def _refused(row: Row, before: object, after: object) -> str:
    if not isinstance(after, Mapping):
        raise TypeError("a refusal says what was asked")
    wish = _wish(row, str(after["verb"]), before, after["asked"])
    reasons = "; ".join(str(reason) for reason in after["refused"])
    return f"refused: {row.actor} asked {wish}, but {reasons}"


def _wish(row: Row, verb: str, before: object, asked: object) -> str:
    if verb == "alias":
        return f"to {_alias_wish(row.subject, before, asked)}"
    if verb == "project":
        place = "out of its project" if asked is None else f"into project {asked}"
        return f"to bring model {row.model} {place}{_was(before)}"
    if verb not in ("stage", "tag", "delete version", "register") or "/" not in row.subject.removeprefix("models:/"):
        return {"describe": f"to describe {row.subject}", "delete model": f"to delete model {row.model}"}.get(
            verb, f"{verb} of {row.subject}"
        )
    version = version_of(row.subject)
    return {
        "stage": f"to move version {version} from {before} to {asked}",
        "tag": f"to set {row.subject.rpartition('#')[2]} of version {version} to {asked}{_was(before)}",
        "delete version": f"to delete version {version}, which is in stage {before}",
        "register": f"to register version {version}",
    }[verb]


def _other(row: Row, before: object, after: object) -> str:
    change = "" if before is None and after is None else f" from {json.dumps(before)} to {json.dumps(after)}"
    return f"{row.actor}: {row.verb} {row.subject}{change}"


def _alias_wish(subject: str, before: object, asked: object) -> str:
    alias = subject.rpartition("@")[2]
    wish = f"remove alias {alias}" if asked is None else f"set alias {alias} to version {asked}"
    return wish + _was_version(before)


def _was_version(before: object) -> str:
    return "" if before is None else f" (was version {before})"


def _was(before: object) -> str:
    return "" if before is None else f" (was {before})"


SENTENCES: Mapping[str, Callable[[Row, object, object], str]] = {
    "stage": _stage,
    "alias": _alias,
    "tag": _tag,
    "delete version": _delete_version,
    "delete model": _delete_model,
    "rename model": _rename_model,
    "runs": _runs,
    "failed": _failed,
    "pinned": _pinned,
    "deployment tag": _deployment_tag,
    "ended": _ended,
    "alert": _alert,
    "mute": _mute,
    "undelivered": _undelivered,
    "canary": _canary,
    "comment": _comment,
    "tagged": _tagged,
    "described": _described,
    "project": _project,
    "member": _member,
    "verdict": _verdict,
    "refused": _refused,
}
