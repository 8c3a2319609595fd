"""What a canary's decision looks at, and the decision itself, as values. Pure; for `decide`, `rollout` and `plan`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from mlflow_hydraulic.canary.memory import Arms, Memory, Note
from mlflow_hydraulic.canary.rules import Rules
from mlflow_hydraulic.service_level import Counters, Level, since


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """All that a decision looks at.

    asked: the one version that the registry wants alone; None where it wants none there any more, or a `split`.
    runs, state: what the target shows. known, archived: the versions that the registry has, and has archived.
    counters: of each predictor that runs; None where the target does not tell. rollback: whether the last change of
    intent was one. failure: why the last try to make the step that is under way failed, "" where none did.
    """

    rules: Rules
    asked: int | None
    runs: Arms
    state: str
    memory: Memory | None
    counters: Mapping[str, Counters] | None
    now: datetime
    known: frozenset[int]
    archived: frozenset[int] = frozenset()
    split: bool = False
    rollback: bool = False
    failure: str = ""

    def level(self, version: int) -> Level | None:
        """What `version` did since the step was marked; None where nobody can tell."""
        name = predictor_of(version)
        if self.memory is None or self.counters is None:
            return None
        mark, counters = self.memory.marks.get(name), self.counters.get(name)
        return since(mark, counters) if mark is not None and counters is not None else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """arms: who is to answer, None for whoever the registry asks for. note: a row to be written before anything else.

    kind: of the plan's line where nothing has to be changed. version, fact: whom it is about, and what its page shows.
    """

    arms: Arms | None = None
    why: str = ""
    kind: Literal["wait", "hold"] = "wait"
    note: Note | None = None
    version: int = 0
    fact: str = ""


def predictor_of(version: int) -> str:
    """The name under which a version runs in a deployment that the controller made."""
    return f"v{version}"
