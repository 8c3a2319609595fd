"""Predictions as InfluxDB's line protocol. Called by `sinks`; `line` also by `monitor.points`.

A point is a scored row: measurement, tags (who answered), fields, time in ns. InfluxDB overwrites a point by one of the
same tags and time without a word; here no two rows have both, for the record gives each row of a process a nanosecond
of its own, and the process is a tag. A field's type follows from its name, so that no version of a model conflicts with
another: numbers are floats, text ends in `_text`. NaN and infinity, which InfluxDB refuses, are left out.
A classifier's answer is a tag as well, `class`: InfluxQL groups by tags only, and classes are few.
https://docs.influxdata.com/influxdb/v1/write_protocols/line_protocol_reference/
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from typing import Any

from mlflow_hydraulic.record.entries import Minute
from mlflow_hydraulic.record.values import Prediction
from mlflow_hydraulic.record.windows import Source

PREDICTION, MINUTE, COLUMN = "hydraulic_prediction", "hydraulic_minute", "hydraulic_column"
TAGS = ("target", "namespace", "deployment", "predictor", "model", "version")
LONGEST_TEXT = 32_000  # bytes; InfluxDB refuses strings of 64 kB
CONTROL = re.compile(r"[\x00-\x1f\x7f]")
Fields = dict[str, "float | str | bool"]


def prediction_lines(source: Source, ns: int, prediction: Prediction) -> Iterator[str]:
    """One line a scored row; one without inputs where the request was refused."""
    schema = source.schema
    tags = _tags(source)
    classes = {str(label) for label in schema.labels}
    whole: Fields = {"status": float(prediction.status), "latency_s": prediction.latency_s, "id_text": prediction.id}
    if prediction.caller:
        whole["caller_text"] = prediction.caller
    if not len(prediction.inputs):
        yield line(PREDICTION, tags, whole, ns)
    labels = prediction.labels.tolist()
    for row, cells in enumerate(prediction.inputs.tolist()):
        fields: Fields = {**whole, "row": float(row)}
        for field, cell in zip(schema.inputs, cells, strict=True):
            if field.numeric:
                fields[f"in_{field.name}"] = math.nan if cell is None else float(cell)
            elif cell is not None:
                fields[f"in_{field.name}_text"] = str(cell)
        fields["label_text"] = str(labels[row])
        if isinstance(labels[row], (int, float)):
            fields["label"] = float(labels[row])
        if prediction.probabilities is not None:
            for label, share in zip(schema.labels, prediction.probabilities[row].tolist(), strict=True):
                fields[f"p_{label}"] = share
        if prediction.anomalous is not None:
            fields["anomalous"] = float(prediction.anomalous[row])
        label = str(labels[row])
        yield line(PREDICTION, {**tags, "class": label} if label in classes else tags, fields, ns + row)


def minute_line(source: Source, minute: Minute) -> str:
    """One line for the aggregates of a minute: counts, and mean and standard deviation of each numeric input."""
    fields: Fields = {name: float(getattr(minute, name)) for name in ("answers", "failures", "rows", "anomalous")}
    for field, count, mean, m2, missing in zip(
        source.schema.inputs, minute.count, minute.mean, minute.m2, minute.missing, strict=True
    ):
        if count:
            fields[f"mean_{field.name}"] = mean
            fields[f"sd_{field.name}"] = math.sqrt(m2 / count)
        fields[f"missing_{field.name}"] = float(missing)
    for label, count in minute.labels:
        fields[f"label_{label}"] = float(count)
    return line(MINUTE, _tags(source), fields, minute.until_ns)


def column_lines(source: Source, ns: int) -> Iterator[str]:
    """One line an input column: its type and unit, its position from 1 on. kind: "number" or "text"."""
    tags = _tags(source)
    for position, field in enumerate(source.schema.inputs, start=1):
        named = {**tags, "column": field.name, "kind": "number" if field.numeric else "text"}
        fields: Fields = {"type_text": field.type, "unit_text": field.unit or "", "position": float(position)}
        yield line(COLUMN, named, fields, ns)


def line(measurement: str, tags: Mapping[str, str], fields: Mapping[str, float | str | bool], ns: int) -> str:
    """One point; tags that are empty are left out, as InfluxDB wants it."""
    series = ",".join([measurement, *(f"{name}={_key(value)}" for name, value in tags.items() if value)])
    return f"{series} {_fields(fields)} {ns}"


def _tags(source: Source) -> dict[str, str]:
    return {**{name: getattr(source.served, name) for name in TAGS}, "replica": source.replica}


def _fields(fields: Mapping[str, float | str | bool]) -> str:
    return ",".join(f"{_key(name)}={_value(value)}" for name, value in fields.items() if _writable(value))


def _writable(value: float | str | bool) -> bool:
    return not isinstance(value, float) or math.isfinite(value)


def _value(value: Any) -> str:
    if isinstance(value, str):
        text = value.encode("utf-8", "replace")[:LONGEST_TEXT].decode("utf-8", "ignore")
        text = CONTROL.sub(" ", text)
        return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
    return repr(value)


def _key(text: str) -> str:
    """A tag's value or a field's name; a backslash at its end could be written in no way."""
    plain = CONTROL.sub(" ", text).replace("\\", "/")
    return plain.replace(",", "\\,").replace("=", "\\=").replace(" ", "\\ ")
