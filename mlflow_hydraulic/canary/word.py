"""A person's word about a canary: promote, abort or retry, as the tag on the new champion that says it. Pure.

Called by `hydraulic canary` and the pages; gate, ledger and controller do the rest.
"""

from __future__ import annotations

from datetime import datetime

from mlflow_hydraulic.canary.memory import Memory, Word
from mlflow_hydraulic.errors import Conflict, NotFound
from mlflow_hydraulic.moves import Move
from mlflow_hydraulic.registry import CANARY_TAG, RegisteredModel

WORDS: tuple[Word, ...] = ("promote", "abort", "retry")
FITS: dict[str, tuple[str, ...]] = {
    "promote": ("begin", "step", "mark", "halt"),
    "abort": ("begin", "step", "mark", "halt"),
    "retry": ("back", "halt"),
}
BECOMES = {
    "promote": "v{new} gets all callers",
    "abort": "v{old} gets all callers again",
    "retry": "v{new} is tried again",
}
STATES = {"done": "is through", "back": "was rolled back", "over": "was given up for what the registry asked next"}


def fits(word: Word, memory: Memory | None) -> bool:
    """Whether there is a canary to which `word` can be said now."""
    return memory is not None and memory.phase in FITS[word]


def say(word: Word, memory: Memory | None, model: RegisteredModel, environment: str, now: datetime) -> Move:
    """The move that says it; `Conflict` where there is nothing to say it to, `NotFound` where the version is gone."""
    if memory is None or not fits(word, memory):
        how = f"that of v{memory.new} {STATES.get(memory.phase, 'is under way')}" if memory else "there was none"
        back = memory is not None and memory.phase == "back"
        way = '"retry" tries it again' if back else '"hydraulic plan" shows what is to be done'
        raise Conflict(f"no canary of {model.name!r} in {environment} to {word}: {how}; {way}")
    version = model.version(memory.new)
    if version is None:
        raise NotFound(f"the registry has no version {memory.new} of {model.name!r} any more")
    text = f"{word} in {environment} ({now:%Y-%m-%d %H:%M:%S.%f})"  # never the same twice: each is a word
    return Move(kind="tag", version=version.number, name=CANARY_TAG, before=version.tags.get(CANARY_TAG), after=text)


def becomes(word: Word, memory: Memory) -> str:
    """What comes of it, in words."""
    return BECOMES[word].format(old=memory.old, new=memory.new)
