"""What the tutorial's dialect writes: score rows as strings, copied input columns, Shapley contributions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from mlflow_hydraulic.schema import Schema
from mlflow_hydraulic.scoring.ids import new_uuid
from mlflow_hydraulic.scoring.rows import shown
from mlflow_hydraulic.scoring.values import RequestProblem, Scored


class InputColumns:
    """The input columns that an answer repeats, in the order of the request; then the row id, when it is made here."""

    def __init__(
        self, fields: Sequence[str], rows: Sequence[Sequence[Any]], included: list[str] | None, id_field: str | None
    ) -> None:
        wanted = set(included or ())
        unknown = sorted(wanted - set(fields) - {id_field})
        if unknown:
            raise RequestProblem(
                400, f'"includeFieldsInOutput": {shown(unknown[0])} is not in "fields" and is not the "idField"'
            )
        self._rows = rows
        self._positions = [position for position, name in enumerate(fields) if name in wanted]
        self._made_id = id_field is not None and id_field in wanted and id_field not in fields
        self.names = [fields[position] for position in self._positions]
        if self._made_id and id_field is not None:
            self.names.append(id_field)

    def row(self, index: int) -> list[str]:
        """The cells copied from row `index`, as strings."""
        row = self._rows[index]
        copied = [written(row[position]) for position in self._positions]
        return [*copied, new_uuid()] if self._made_id else copied


def score_rows(scored: Scored) -> list[list[str]]:
    """The scores as strings; numbers in the shortest form that reads back as the same float64."""
    probabilities = scored.scores.probabilities
    if probabilities is not None:
        return [list(map(repr, row)) for row in probabilities.tolist()]
    return [[written(label)] for label in scored.scores.labels.tolist()]


def contributions(schema: Schema, scored: Scored) -> dict[str, object]:
    """H2O's ContributionResponse: one group an output, in it a row of contributions and the bias for each row."""
    values = np.empty((0, 0, 0)) if scored.shapley is None else scored.shapley
    groups: list[dict[str, object]] = []
    for output in range(values.shape[1]):
        rows = [list(map(repr, row)) for row in values[:, output, :].tolist()]
        named = {"outputGroup": str(schema.labels[output])} if schema.labels else {}
        groups.append({**named, "contributions": rows})
    features = [f"contrib.{name}" for name in (*schema.names, "bias")]
    return {"features": features, "contributionGroups": groups}


def written(value: object) -> str:
    """One cell as a string: text as it is, null as nothing, true and false as JSON has them."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    return value if isinstance(value, str) else repr(value)
