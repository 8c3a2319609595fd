"""Verdicts on versions, for the pages and their REST API: `verdicts_of` is what a version's page shows of them."""

from __future__ import annotations

from msgspec import Struct

from mlflow_hydraulic.errors import NotFound
from mlflow_hydraulic.evidence import verdicts
from mlflow_hydraulic.evidence.ledger import Row
from mlflow_hydraulic.evidence.verdicts import Word
from mlflow_hydraulic.web.acts.acting import registrar
from mlflow_hydraulic.web.ask import Ask


class Given(Struct, frozen=True, kw_only=True):
    """One verdict. at: ISO 8601 in UTC. by_trainer: the version's run is theirs, so that the gate does not count it."""

    verdict: str
    by: str
    at: str
    reason: str
    by_trainer: bool = False


def verdicts_of(ask: Ask, model: str, version: str) -> list[Given]:
    """All verdicts on a version, newest first; `NotFound` where there is no such version."""
    number, trainer = _version(ask, model, version)
    with ask.house.engine.connect() as connection:
        found = verdicts.verdicts(connection, ask.house.workspace, model, number)
    return [_given(row, trainer) for row in found]


def judge(ask: Ask, model: str, version: str, word: Word, reason: str) -> Given:
    """Write a verdict of the caller's into the ledger."""
    number, trainer = _version(ask, model, version)
    with ask.house.engine.begin() as connection:
        row = verdicts.give(
            connection,
            ask.house.workspace,
            model,
            number,
            word=word,
            actor=ask.who.actor,
            reason=reason,
            now=ask.now,
        )
    return _given(row, trainer)


def _version(ask: Ask, model: str, version: str) -> tuple[int, str]:
    """Number and trainer."""
    number = int(version) if version.isascii() and version.isdigit() and len(version) < 10 else 0
    found = registrar(ask).model(model).version(number)
    if found is None:
        raise NotFound(f"{model!r} has no version {version!r}")
    return number, found.trainer


def _given(row: Row, trainer: str) -> Given:
    return Given(
        verdict=verdicts.word_of(row),
        by=row.actor,
        at=row.at,
        reason=row.reason,
        by_trainer=bool(trainer) and row.actor == trainer,
    )
