"""What the ledger remembers of a canary: values, and the JSON of its rows. Pure; read by `evidence.canaries`.

A row is one word of the controller's: it begins a step (before the target is changed), marks from where the step is
counted (once it runs), or ends the canary. What people said since stands in rows of their own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Literal

from mlflow_hydraulic.errors import BadInput
from mlflow_hydraulic.service_level import Counters

Arms = tuple[tuple[int, int], ...]  # (version, share in percent)
Phase = Literal["begin", "step", "mark", "done", "back", "halt", "over"]
UNDER_WAY: tuple[Phase, ...] = ("begin", "step", "mark", "halt")
SAYABLE = ("promote", "abort", "retry")
Word = Literal["", "promote", "abort", "retry"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Note:
    """A row that is to be written: `share` is what the new champion gets from now on; `reason` has the numbers.

    marks: the counters from which the step is counted, by predictor. archived: whether the old champion was archived
    when the canary began, which is no word to end it then.
    """

    phase: Phase
    old: int
    new: int
    share: int
    before: int
    reason: str
    marks: Mapping[str, Counters] = field(default_factory=dict)
    archived: bool = False

    def to_json(self) -> dict[str, object]:
        value: dict[str, object] = {"phase": self.phase, "from": self.old, "to": self.new, "share": self.share}
        if self.phase == "begin":
            value["archived"] = self.archived
        if self.marks:
            value["marks"] = {name: counters.to_json() for name, counters in self.marks.items()}
        return value


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """The last canary of a model in an environment.

    since: when its last row was written. reason: of that row.
    word: what people last asked of it (`hydraulic canary`) since that row; who, and why, in `word_of`.
    spoken: the versions that people moved into or out of the champion's place since it began: those are asked for anew.
    """

    phase: Phase
    old: int
    new: int
    share: int
    since: datetime
    reason: str = ""
    marks: Mapping[str, Counters] = field(default_factory=dict)
    archived: bool = False
    word: Word = ""
    word_of: str = ""
    spoken: frozenset[int] = frozenset()

    @property
    def arms(self) -> Arms:
        """What it gives the callers now."""
        shares = ((self.old, 100 - self.share), (self.new, self.share))
        return tuple((version, share) for version, share in shares if share)

    @property
    def under_way(self) -> bool:
        return self.phase in UNDER_WAY

    def after(self, row: object, at: datetime, reason: str) -> Memory:
        """The memory after one more row of the same canary."""
        next_ = read_row(row, at, reason)
        return replace(next_, archived=self.archived, spoken=self.spoken)


def read_row(value: object, at: datetime, reason: str) -> Memory:
    """The memory that a ledger row begins with; `BadInput` where it is no row of a canary."""
    try:
        if not isinstance(value, Mapping):
            raise TypeError(f"it is {type(value).__name__}")
        phase = value["phase"]
        if phase not in ("begin", "step", "mark", "done", "back", "halt", "over"):
            raise ValueError(f"phase {phase!r}")
        return Memory(
            phase=phase,
            old=int(value["from"]),
            new=int(value["to"]),
            share=int(value["share"]),
            since=at,
            reason=reason,
            marks={str(name): Counters.from_json(one) for name, one in value.get("marks", {}).items()},
            archived=bool(value.get("archived", False)),
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise BadInput(f"this is no row of a canary: {error}") from error


def read_word(text: str, environment: str) -> Word:
    """What a value of the tag `hydraulic.canary` asks in `environment`: "abort", or "abort in prod (...)".

    >>> [read_word(text, "prod") for text in ("abort in prod (2026-11-23 04:12:07)", "abort in qa", "no")]
    ['abort', '', '']
    """
    words = text.split()
    if not words or words[0] not in SAYABLE:
        return ""
    if len(words) > 2 and words[1] == "in" and words[2] != environment:
        return ""
    return words[0]  # type: ignore[return-value]  # one of SAYABLE
