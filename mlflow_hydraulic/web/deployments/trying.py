"""Asks a deployment for one prediction, for somebody who tries it on its page.

The server asks, at the address that the controller saw: the browser names none. No redirect is followed, the answer
is bounded in size and time. What is sent is recorded like every other request.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import numpy as np
import requests
from msgspec import Meta, Struct
from urllib3.exceptions import ReadTimeoutError

from mlflow_hydraulic.errors import BadInput, Failed, Unavailable
from mlflow_hydraulic.schema import Field, Schema
from mlflow_hydraulic.scoring.values import ModelCard
from mlflow_hydraulic.web.deployments.model_card import Known
from mlflow_hydraulic.web.deployments.samples import body_of
from mlflow_hydraulic.web.deployments.ways import Way

CONNECT_S, READ_S, WHOLE_S = 3.0, 10.0, 15.0
MOST_BYTES = 1_000_000
MOST_SHOWN = 20_000  # characters of the plain answer
MOST_INPUTS = 5000
ODD = "X-Hydraulic-Anomalous"
TRUE, FALSE = ("true", "1", "yes"), ("false", "0", "no")

Cell = float | int | bool | str | None


class Try(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One row: value by input; texts are read as the input's type, "" and null are missing values."""

    values: Annotated[dict[Annotated[str, Meta(max_length=1000)], Cell], Meta(max_length=MOST_INPUTS)]


class Share(Struct, frozen=True, kw_only=True):
    """One class with its probability, 0 to 1."""

    name: str
    probability: float


class Tried(Struct, frozen=True, kw_only=True):
    """What was answered. label: the class, or the value of a regression. shares: by class, the likeliest first; empty
    where there are none. odd: whether the row was flagged as unlike the training data;
    None where the model was saved without it. answered_by: the version.
    latency_ms: of the whole request, as this server saw it. dialect: what it was asked in. answer: as it came."""

    label: str
    shares: list[Share]
    prediction_id: str
    odd: bool | None
    answered_by: str
    latency_ms: float
    dialect: str
    answer: str


def tried(way: Way, known: Known, values: Mapping[str, Cell]) -> Tried:
    """Ask with one row. `BadInput` for values that do not fit, and for what the scorer refuses; `Unavailable` where
    it does not answer; `Failed` for an answer that is none."""
    card = known.card
    body = body_of(with_row(card, values), way.dialect)
    started = time.monotonic()
    answer, text = _asked(way, body)
    latency_ms = 1000 * (time.monotonic() - started)
    value = _parsed(way, answer.status_code, text)
    names, numbers, told_id = _read(way.dialect, card, value)
    shares = _shares(names, numbers)
    return Tried(
        label=shares[0].name if shares else _text(numbers[0]),
        shares=shares,
        prediction_id=answer.headers.get("Seldon-Puid") or told_id or answer.headers.get("X-Prediction-Id", ""),
        odd=bool(answer.headers.get(ODD)) if known.flags else None,
        answered_by=answer.headers.get("X-Hydraulic-Version", ""),
        latency_ms=round(latency_ms, 1),
        dialect=way.dialect,
        answer=json.dumps(value, indent=2)[:MOST_SHOWN],
    )


def with_row(card: ModelCard, values: Mapping[str, Cell]) -> ModelCard:
    """The card with `values` as its only sample."""
    from dataclasses import replace

    schema = card.schema
    unknown = sorted(values.keys() - set(schema.names))
    if unknown:
        raise BadInput(f"values: {unknown[0]!r} is no input of this model, which takes {', '.join(schema.names)}")
    row = [_cell(field, values.get(field.name)) for field in schema.inputs]
    return replace(card, sample=_cells(schema, row))


def _cells(schema: Schema, row: Sequence[Cell]) -> Any:  # Any: an array of one row
    if schema.numeric:
        return np.array([[np.nan if cell is None else float(cell) for cell in row]], dtype=np.float64)
    return np.array([row], dtype=object)


def _cell(field: Field, given: Cell) -> Cell:
    if given is None or given == "":
        if field.required and field.type != "string":
            raise BadInput(f"values: {field.name!r} is missing, and the model needs it")
        return "" if field.required else None
    if field.type == "string":
        return given if isinstance(given, str) else json.dumps(given)
    if field.type == "boolean":
        return _boolean(field, given)
    try:
        number = float(given)
    except (ValueError, OverflowError) as error:
        raise BadInput(f"values: {field.name!r}={str(given)[:40]!r}: must be a number") from error
    whole = field.type in ("long", "integer")
    if not np.isfinite(number) or (whole and (not number.is_integer() or abs(number) > 2**53)):
        raise BadInput(f"values: {field.name!r}={str(given)[:40]!r}: must be a {'whole' if whole else 'finite'} number")
    return int(number) if whole else number


def _boolean(field: Field, given: Cell) -> bool:
    text = str(given).strip().lower()
    if text not in (*TRUE, *FALSE):
        raise BadInput(f"values: {field.name!r}={str(given)[:40]!r}: must be true or false")
    return text in TRUE


def _asked(way: Way, body: Any) -> tuple[requests.Response, bytes]:  # Any: JSON
    """The answer with its whole body."""
    end = time.monotonic() + WHOLE_S
    session = requests.Session()
    session.trust_env = False  # no proxy and no password of this server's environment
    headers = {"Host": way.host} if way.host else {}
    try:
        with session.post(
            way.url, json=body, headers=headers, timeout=(CONNECT_S, READ_S), allow_redirects=False, stream=True
        ) as answer:
            parts, size = [], 0
            for part in answer.iter_content(65_536):
                parts.append(part)
                size += len(part)
                if size > MOST_BYTES:
                    raise Failed(f"the answer has over {MOST_BYTES} bytes: ask by the sample request instead")
                if time.monotonic() > end:
                    raise Unavailable(f"it did not answer whole within {WHOLE_S:g} s: see its log")
            return answer, b"".join(parts)
    except requests.Timeout as error:
        raise Unavailable(f"it did not answer within {READ_S:g} s: see its log, or ask again") from error
    except (requests.RequestException, UnicodeError) as error:  # an address that is none is a UnicodeError
        if error.args and isinstance(error.args[0], ReadTimeoutError):  # while the body came
            raise Unavailable(f"it did not answer whole within {READ_S:g} s: see its log, or ask again") from error
        inside = "; its address is one inside the cluster" if way.inside else ""
        raise Unavailable(
            f"this server does not reach it ({type(error).__name__}){inside}: see its state, or use the sample request"
        ) from error
    finally:
        session.close()


def _parsed(way: Way, status: int, text: bytes) -> Mapping[str, Any]:  # Any: JSON
    try:
        value = json.loads(text)
    except ValueError:
        value = None
    if 300 <= status < 400:
        raise Failed(f"it answered with a redirect ({status}), which is not followed: is its address the gateway's?")
    if status != 200:
        why = _why(value) or text[:300].decode("utf-8", "replace") or f"status {status}"
        kind = BadInput if status < 500 else Unavailable if status in (502, 503, 504) else Failed
        raise kind(f"the scorer answered {status}: {why}")
    if not isinstance(value, dict):
        raise Failed(f"its answer is no JSON object: is this its address? {way.url}")
    return value


def _why(value: object) -> str:
    """What an error says: Seldon's `status.info`, V2's `error`, the router's and MLflow's `message`."""
    if not isinstance(value, dict):
        return ""
    status = value.get("status")
    info = status.get("info") if isinstance(status, dict) else None
    return str(info or value.get("error") or value.get("message") or value.get("detail") or "")[:2000]


def _read(dialect: str, card: ModelCard, value: Mapping[str, Any]) -> tuple[list[str], list[Any], str]:
    """Names of the outputs, their values for the one row, and the prediction id. `Failed` for another shape."""
    try:
        if dialect == "v2":
            outputs = {one["name"]: one["data"] for one in value["outputs"]}
            numbers = outputs.get("predict_proba") or next(iter(outputs.values()))
            names = list(card.schema.output_names)
            fits = len(names) == len(numbers)
            return names if fits else [str(i) for i in range(len(numbers))], list(numbers), str(value.get("id", ""))
        data, meta = value["data"], value.get("meta") or {}
        numbers = data["ndarray"][0] if "ndarray" in data else data["tensor"]["values"]
        numbers = list(numbers) if isinstance(numbers, list) else [numbers]
        names = [str(name) for name in data.get("names") or range(len(numbers))]
        if not numbers or len(names) < len(numbers) or any(isinstance(one, (dict, list)) for one in numbers):
            raise TypeError("no numbers, or no names for them")
        return [_bare(name, card) for name in names], numbers, str(meta.get("puid", ""))
    except (KeyError, IndexError, TypeError, AttributeError, StopIteration) as error:
        raise Failed(f"its answer is none of {dialect}'s: {json.dumps(value)[:300]}") from error


def _bare(name: str, card: ModelCard) -> str:
    """The class: `cool_cond_y.100` is "100"."""
    return name.removeprefix(f"{card.schema.target}.")


def _shares(names: Sequence[str], numbers: Sequence[Any]) -> list[Share]:
    """Probabilities, the likeliest first, where these are some: several numbers that add up to 1."""
    if len(numbers) < 2 or not all(isinstance(n, (int, float)) and not isinstance(n, bool) for n in numbers):
        return []
    if not 0.99 < sum(numbers) < 1.01 or min(numbers) < 0:
        return []
    found = [Share(name=name, probability=float(n)) for name, n in zip(names, numbers, strict=False)]
    return sorted(found, key=lambda share: -share.probability)


def _text(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value)
