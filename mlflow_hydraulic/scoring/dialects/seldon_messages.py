"""Reads and checks Seldon's messages (SeldonMessage, Feedback) from JSON, forms and multipart. Called by `seldon`."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from email.parser import BytesParser
from email.policy import HTTP
from typing import Any
from urllib.parse import parse_qs

import msgspec

from mlflow_hydraulic.scoring.body import read_id, read_json, read_object, require_media
from mlflow_hydraulic.scoring.ids import sane_id
from mlflow_hydraulic.scoring.rows import kind_of, shown
from mlflow_hydraulic.scoring.values import Call, RequestProblem

JSON, FORM, MULTIPART = "application/json", "application/x-www-form-urlencoded", "multipart/form-data"
MEDIA_TYPES = (JSON, FORM, MULTIPART)
MESSAGE_KEYS = ("data", "jsonData", "strData", "binData", "customData", "meta", "status")
PAYLOADS = ("data", "jsonData", "strData", "binData", "customData")
DATA_KEYS = ("names", "ndarray", "tensor", "tftensor")
FEEDBACK_KEYS = ("request", "response", "reward", "truth")
METHOD = "predict_method"  # as MLflow's parameter
PREDICT, PREDICT_PROBA = "predict", "predict_proba"
SCALARS = (str, int, float, bool, type(None))


class QuickData(msgspec.Struct):
    """`data.ndarray` of numbers: what most requests are."""

    ndarray: list[list[float]]
    names: list[str] | None = None
    tensor: msgspec.UnsetType = msgspec.UNSET
    tftensor: msgspec.UnsetType = msgspec.UNSET


class QuickMeta(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    puid: str = ""


class QuickMessage(msgspec.Struct, forbid_unknown_fields=True):
    """A SeldonMessage that the quick way takes; any other goes the careful way."""

    data: QuickData
    meta: QuickMeta = QuickMeta()


QUICK = msgspec.json.Decoder(QuickMessage)


def read_predict(call: Call) -> dict[str, Any]:  # Any: the value is JSON
    """The checked SeldonMessage of a prediction; it holds `data` (ndarray or tensor) or `jsonData`."""
    message = _read_fields(call)
    _check_message(message, "the body")
    for key in ("strData", "binData", "customData"):
        if key in message:
            raise RequestProblem(400, f"{key} holds no rows: send data.ndarray, data.tensor or jsonData")
    if "data" not in message and "jsonData" not in message:
        raise RequestProblem(
            400, 'the body has neither "data" nor "jsonData": send data.ndarray, data.tensor or jsonData'
        )
    data = message.get("data")
    if data is not None and "ndarray" not in data and "tensor" not in data:
        raise RequestProblem(400, 'data has neither "ndarray" nor "tensor": send one of them')
    return message


def read_method(meta: Mapping[str, Any]) -> str:  # Any: the value is JSON
    """What the tag `predict_method` asks for; "" where there is none."""
    method = (meta.get("tags") or {}).get(METHOD, "")
    if method not in ("", PREDICT, PREDICT_PROBA):
        raise RequestProblem(400, f'meta.tags.{METHOD}: {shown(method)}: must be "{PREDICT}" or "{PREDICT_PROBA}"')
    return str(method)


def read_feedback(call: Call) -> dict[str, Any]:  # Any: the value is JSON
    """The checked Feedback: `request`, `response` and `truth` are SeldonMessages, `reward` a finite number."""
    feedback = _read_fields(call)
    _refuse_unknown(feedback, FEEDBACK_KEYS, "feedback")
    if not feedback:
        raise RequestProblem(400, f"feedback is empty: send at least one of {', '.join(FEEDBACK_KEYS)}")
    for key in ("request", "response", "truth"):
        if feedback.get(key) is not None:
            if not isinstance(feedback[key], dict):
                raise RequestProblem(400, f"{key} must be a SeldonMessage object, not {kind_of(feedback[key])}")
            _check_message(feedback[key], key)
    reward = feedback.get("reward")
    if reward is not None and not _finite(reward):
        raise RequestProblem(400, f"reward must be a finite number, not {kind_of(reward)}")
    return feedback


def read_puid(meta: Mapping[str, Any], headers: Mapping[bytes, bytes]) -> str | None:
    """The caller's prediction id: `meta.puid`, else the header `Seldon-Puid` that the orchestrator sends, when sane."""
    return read_id(meta.get("puid"), "meta.puid") or sane_id(headers.get(b"seldon-puid"))


def tensor_rows(tensor: Mapping[str, Any]) -> list[list[Any]]:
    """The rows of a checked tensor of two dimensions; one dimension is one row."""
    shape, values = tensor["shape"], tensor["values"]
    if len(shape) not in (1, 2):
        raise RequestProblem(400, f"data.tensor.shape is {shape}: it must be [rows, columns]")
    width = shape[-1]
    if width == 0:
        raise RequestProblem(400, f"data.tensor.shape is {shape}: it holds no cell")
    return [values[start : start + width] for start in range(0, len(values), width)]


def _read_fields(call: Call) -> dict[str, Any]:
    media = require_media(call, MEDIA_TYPES)
    if media == JSON:
        return read_object(call.body)
    fields = dict(_form(call) if media == FORM else _multipart(call))
    if "json" in fields:
        return read_object(fields["json"], "field json")
    if media == FORM:
        raise RequestProblem(400, "the form has no field json: put the message there, or send application/json")
    return {
        name: text.decode("utf-8", "replace") if name == "strData" else read_json(text, f"field {name}")
        for name, text in fields.items()
    }


def _form(call: Call) -> Iterator[tuple[str, bytes]]:
    try:
        fields = parse_qs(call.body.decode("ascii"), max_num_fields=20)
    except ValueError as error:
        raise RequestProblem(400, f"the form cannot be read: {error}") from error
    for name, values in fields.items():
        yield name, values[-1].encode("utf-8", "surrogateescape")


def _multipart(call: Call) -> Iterator[tuple[str, bytes]]:
    header = b"Content-Type: " + call.content_type.encode("latin-1", "replace").replace(b"\r", b"").replace(b"\n", b"")
    form = BytesParser(policy=HTTP).parsebytes(header + b"\r\n\r\n" + call.body)
    if not form.is_multipart() or form.defects:
        raise RequestProblem(400, "the multipart form is damaged: its boundary is missing or its end is cut off")
    for part in form.iter_parts():
        name = part.get_param("name", header="content-disposition")
        content = part.get_payload(decode=True)
        if not isinstance(name, str) or not isinstance(content, bytes):
            raise RequestProblem(400, "a part of the multipart form has no name: give data, meta, jsonData or json")
        yield name, content


def _check_message(message: Mapping[str, Any], where: str) -> None:
    _refuse_unknown(message, MESSAGE_KEYS, where)
    given = [key for key in PAYLOADS if key in message]
    if len(given) > 1:
        raise RequestProblem(400, f"{where} has {' and '.join(given)}: send one of them")
    if "data" in message:
        _check_data(message["data"])
    _check_meta(message.get("meta"))


def _check_data(data: object) -> None:
    if not isinstance(data, dict):
        raise RequestProblem(400, f"data must be an object with ndarray or tensor, not {kind_of(data)}")
    _refuse_unknown(data, DATA_KEYS, "data")
    if "tftensor" in data:
        raise RequestProblem(400, "data.tftensor is not supported: send data.ndarray or data.tensor")
    if "ndarray" in data and "tensor" in data:
        raise RequestProblem(400, "data has ndarray and tensor: send one of them")
    if "ndarray" in data and not isinstance(data["ndarray"], list):
        raise RequestProblem(400, f"data.ndarray must be a list of rows, not {kind_of(data['ndarray'])}")
    if "tensor" in data:
        _check_tensor(data["tensor"])


def _check_tensor(tensor: object) -> None:
    if not isinstance(tensor, dict):
        raise RequestProblem(400, f"data.tensor must be an object with shape and values, not {kind_of(tensor)}")
    _refuse_unknown(tensor, ("shape", "values"), "data.tensor")
    shape, values = tensor.get("shape"), tensor.get("values")
    if not isinstance(shape, list) or not all(type(size) is int and size >= 0 for size in shape):
        raise RequestProblem(400, "data.tensor.shape must be a list of sizes, such as [rows, columns]")
    if not isinstance(values, list):
        raise RequestProblem(400, f"data.tensor.values must be a list of numbers, not {kind_of(values)}")
    if len(shape) > 8 or math.prod(shape) != len(values):
        raise RequestProblem(400, f"data.tensor has {len(values)} values, which shape {_short(shape)} does not hold")


def _check_meta(meta: object) -> None:
    if meta is None:
        return
    if not isinstance(meta, dict):
        raise RequestProblem(400, f"meta must be an object, not {kind_of(meta)}")
    for key in ("tags", "requestPath", "routing"):
        values = meta.get(key)
        if values is not None and not (
            isinstance(values, dict) and all(isinstance(v, SCALARS) for v in values.values())
        ):
            raise RequestProblem(400, f"meta.{key} must be an object of strings, numbers or booleans")
    read_id(meta.get("puid"), "meta.puid")


def _refuse_unknown(value: Mapping[str, Any], known: tuple[str, ...], where: str) -> None:
    unknown = [key for key in value if key not in known]
    if unknown:
        raise RequestProblem(400, f"{where} has the unknown key {_short(unknown[0])}: known are {', '.join(known)}")


def _finite(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < math.inf


def _short(value: object) -> str:
    text = str(value)
    return text if len(text) <= 60 else text[:57] + "..."
