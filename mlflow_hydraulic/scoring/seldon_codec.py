"""Between Seldon's protobuf messages and the JSON of its REST protocol, which the dialect `seldon` reads and writes.

Called by the gRPC server and by the component for Seldon's own wrapper. Rows go quickly, the rest by protobuf's own
JSON. Works with any classes of these messages, ours or Seldon's stubs. The values are JSON, hence the `Any`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

from google.protobuf.json_format import MessageToDict, ParseDict, SerializeToJsonError

from mlflow_hydraulic.scoring.values import RequestProblem

Json = dict[str, Any]


def message_to_json(message: Any) -> Json:
    """A SeldonMessage as its JSON; `RequestProblem` (400) for a number that JSON does not have."""
    found: Json = {}
    kind = message.WhichOneof("data_oneof")
    if kind == "data":
        found["data"] = _data_to_json(message.data)
    elif kind in ("strData", "binData", "customData"):
        found[kind] = ""  # refused whatever it holds
    elif kind == "jsonData":
        found["jsonData"] = _value(message.jsonData)
    for name in ("meta", "status"):
        if message.HasField(name):
            found[name] = _by_protobuf(getattr(message, name))
    return found


def feedback_to_json(message: Any) -> Json:
    """A Feedback as its JSON. proto3 does not tell a reward of 0 from none, so there always is one."""
    parts = {
        name: message_to_json(getattr(message, name))
        for name in ("request", "response", "truth")
        if message.HasField(name)
    }
    if not math.isfinite(message.reward):
        raise RequestProblem(400, f"reward must be a finite number, not {message.reward}")
    return {**parts, "reward": message.reward}


def json_to_message(value: Mapping[str, Any], message: Any) -> Any:
    """`message`, an empty SeldonMessage, filled with the JSON of an answer."""
    rest = dict(value)
    data = rest.pop("data", None)
    ParseDict(rest, message)
    if data is not None:
        message.data.names.extend(data["names"])
        if "tensor" in data:
            message.data.tensor.shape.extend(data["tensor"]["shape"])
            message.data.tensor.values.extend(data["tensor"]["values"])
        else:
            message.data.ndarray.SetInParent()
            _fill(message.data.ndarray, data["ndarray"])
    return message


def _data_to_json(data: Any) -> Json:
    found: Json = {}
    if data.names:
        found["names"] = list(data.names)
    kind = data.WhichOneof("data_oneof")
    if kind == "tensor":
        values = list(data.tensor.values)
        _check_finite(values)
        found["tensor"] = {"shape": list(data.tensor.shape), "values": values}
    elif kind == "ndarray":
        found["ndarray"] = [_value(one) for one in data.ndarray.values]
    elif kind is not None:
        found[kind] = ""  # tftensor, refused
    return found


def _value(value: Any) -> Any:
    """A google.protobuf.Value as JSON."""
    kind = value.WhichOneof("kind")
    if kind == "number_value":
        if not math.isfinite(value.number_value):
            _check_finite([value.number_value])
        return value.number_value
    if kind == "list_value":
        return [_value(one) for one in value.list_value.values]
    if kind == "struct_value":
        return {name: _value(one) for name, one in value.struct_value.fields.items()}
    return None if kind in (None, "null_value") else getattr(value, kind)


def _fill(target: Any, values: Iterable[Any]) -> None:
    """A google.protobuf.ListValue with rows of numbers and texts."""
    for value in values:
        cell = target.values.add()
        if isinstance(value, (list, tuple)):
            cell.list_value.SetInParent()
            _fill(cell.list_value, value)
        elif isinstance(value, str):
            cell.string_value = value
        elif isinstance(value, bool):
            cell.bool_value = value
        elif value is None:
            cell.null_value = 0
        else:
            cell.number_value = value


def _check_finite(values: list[float]) -> None:
    for position, value in enumerate(values):
        if not math.isfinite(value):
            raise RequestProblem(400, f"value {position} is {value}: must be a finite number")


def _by_protobuf(message: Any) -> Json:
    try:
        found: Json = MessageToDict(message)
    except (SerializeToJsonError, ValueError) as error:  # NaN in a tag
        raise RequestProblem(400, f"meta holds what JSON does not have: {error}") from error
    return found
