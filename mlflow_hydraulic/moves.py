"""Moves: single changes of intent in the registry, their way back, and what a model looks like after them. Pure.

Made by `rollback`, carried out by `plugin.moves`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from mlflow_hydraulic.registry import RegisteredModel, Version

ARCHIVED = "Archived"


@dataclass(frozen=True, slots=True, kw_only=True)
class Move:
    """One call of MLflow's API: a version's stage, an alias, a version's tag. None is "not there".

    version: whose stage or tag; 0 for an alias, whose `before` and `after` are version numbers.
    archives: versions that leave the stage in the same transaction.
    """

    kind: Literal["stage", "alias", "tag"]
    before: str | None
    after: str | None
    version: int = 0
    name: str = ""
    archives: tuple[int, ...] = ()

    def inverse(self) -> tuple[Move, ...]:
        """The moves that undo it, first those that bring back what it took out."""
        returned = (Move(kind="stage", version=n, before=ARCHIVED, after=self.after) for n in self.archives)
        return (*returned, replace(self, before=self.after, after=self.before, archives=()))

    def __str__(self) -> str:
        if self.kind == "alias":
            before, after = (f"version {number}" if number else "nothing" for number in (self.before, self.after))
            return f"alias {self.name}: {before} -> {after}"
        what = "stage" if self.kind == "stage" else f"tag {self.name}"
        also = f" (archives version {', '.join(map(str, self.archives))})" if self.archives else ""
        return f"version {self.version}: {what} {self.before or 'not set'} -> {self.after or 'not set'}{also}"


class Moving:
    """Collects moves, and skips those that would change nothing; `model` is what they come to so far."""

    def __init__(self, model: RegisteredModel) -> None:
        self.model = model
        self.moves: list[Move] = []

    def stage(self, version: int, stage: str, *, archive: bool = False) -> None:
        """Put a version into a stage; `archive`: whatever else is in it leaves in the same transaction."""
        before = _version(self.model, version).stage
        others = tuple(v.number for v in self.model.versions if v.stage == stage and v.number != version)
        if before != stage:
            archives = others if archive else ()
            self._do(Move(kind="stage", version=version, before=before, after=stage, archives=archives))

    def archive(self, versions: Iterable[Version]) -> None:
        for version in list(versions):
            self.stage(version.number, ARCHIVED)

    def alias(self, alias: str, version: int | None) -> None:
        """Set an alias; None removes it."""
        before = self.model.aliases.get(alias)
        if before != version:
            self._do(Move(kind="alias", name=alias, before=_text(before), after=_text(version)))

    def tag(self, version: int, key: str, value: str | None) -> None:
        """Set a version's tag; None removes it."""
        before = _version(self.model, version).tags.get(key)
        if before != value:
            self._do(Move(kind="tag", version=version, name=key, before=before, after=value))

    def _do(self, move: Move) -> None:
        self.moves.append(move)
        self.model = after_one(self.model, move)


def after_all(model: RegisteredModel, moves: Sequence[Move]) -> RegisteredModel:
    """The model as MLflow has it after `moves`."""
    for move in moves:
        model = after_one(model, move)
    return model


def after_one(model: RegisteredModel, move: Move) -> RegisteredModel:
    if move.kind == "alias":
        aliases = {alias: number for alias, number in model.aliases.items() if alias != move.name}
        if move.after is not None:
            aliases[move.name] = int(move.after)
        return replace(model, aliases=aliases)
    return replace(model, versions=tuple(_after(version, move) for version in model.versions))


def _after(version: Version, move: Move) -> Version:
    if move.kind == "stage" and version.number in move.archives:
        return replace(version, stage=ARCHIVED)
    if version.number != move.version:
        return version
    if move.kind == "stage":
        return replace(version, stage=move.after or "None")
    tags = {key: value for key, value in version.tags.items() if key != move.name}
    return replace(version, tags=tags if move.after is None else {**tags, move.name: move.after})


def _version(model: RegisteredModel, number: int) -> Version:
    found = model.version(number)
    if found is None:
        raise KeyError(f"models:/{model.name}/{number}")  # `rollback.decide` has looked: a mistake of ours
    return found


def _text(number: int | None) -> str | None:
    return None if number is None else str(number)
