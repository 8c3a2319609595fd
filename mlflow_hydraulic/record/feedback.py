"""Feedback in the store: what callers said of predictions, from scorers' journals and from Seldon's request logger.

Kept beside the predictions, in order of arrival; `accuracy` takes true values from here, each once. Rewards stay here.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import msgspec

from mlflow_hydraulic.errors import BadInput
from mlflow_hydraulic.record.cloudevents import Event
from mlflow_hydraulic.record.entries import Feedback
from mlflow_hydraulic.record.inserting import insert_feedback
from mlflow_hydraulic.record.store import Store
from mlflow_hydraulic.record.truths import Value, puid_of, read_truth

SHORTEST_ID, LONGEST_ID = 1, 256
_unpack = msgspec.msgpack.Decoder().decode


@dataclass(frozen=True, slots=True, kw_only=True)
class Heard:
    """One feedback as it is stored. seq: in order of arrival. at: when it was given, seconds since 1970, UTC.

    truth: a value for each row of the prediction `id`, None where it is not known; empty where only a reward came.
    """

    seq: int
    id: str
    at: float
    truth: tuple[Value, ...]
    reward: float | None


def heard(sql: sqlite3.Connection, after: int, most: int) -> list[Heard]:
    """Feedback that came after number `after`, at most so many."""
    rows = sql.execute(
        "select seq, id, ns, truth, reward from feedback where seq > ? order by seq limit ?", (after, most)
    ).fetchall()
    return [
        Heard(seq=seq, id=prediction_id, at=ns / 1e9, truth=tuple(_unpack(truth)), reward=reward)
        for seq, prediction_id, ns, truth, reward in rows
    ]


def accept_feedback(store: Store, event: Event) -> Literal["stored", "repeated", "nothing in it"]:
    """Take the feedback of a CloudEvent, once however often it comes. `BadInput` says what is wrong with it.

    The prediction is the one that its response names, else its request, else the event's own `requestid`.
    """
    try:
        body = msgspec.json.decode(event.body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BadInput(f"the feedback is no valid JSON: {error}") from error
    if not isinstance(body, dict):
        raise BadInput("the feedback must be a JSON object")
    prediction_id = puid_of(body) or event.request_id
    if not SHORTEST_ID <= len(prediction_id) <= LONGEST_ID:
        raise BadInput(f"the feedback's puid: a prediction id has {SHORTEST_ID} to {LONGEST_ID} characters")
    reward = body.get("reward")
    if reward is not None and (isinstance(reward, bool) or not isinstance(reward, (int, float))):
        raise BadInput("reward must be a number")
    truth = body.get("truth") or {}
    if not isinstance(truth, Mapping):
        raise BadInput("truth must be a SeldonMessage object")
    scored = next(iter(store.scored([prediction_id])), None)
    values = read_truth(truth, scored.schema if scored else None)
    if not values and reward is None:
        return "nothing in it"
    one = Feedback(event.at_ns, prediction_id, values, None if reward is None else float(reward))
    with store.writing() as sql:
        if sql.execute("select 1 from events where event = ?", (event.id,)).fetchone():
            return "repeated"
        sql.execute("insert into events values (?, ?)", (event.id, time.time_ns()))
        insert_feedback(sql, [one])
    return "stored"
