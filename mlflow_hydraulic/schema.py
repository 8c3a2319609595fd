"""What goes into a model and what comes out: names, types, units, class labels.

Made at training, written into the bundle, read by the scorer and its dialects.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from mlflow_hydraulic.errors import BadInput

FieldType = Literal["double", "float", "long", "integer", "boolean", "string"]
Label = int | float | str
NUMERIC: tuple[FieldType, ...] = ("double", "float", "long", "integer", "boolean")


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """One input column.

    `type` is MLflow's column type. `unit` is the physical unit as people write it ("bar"), or None.
    """

    name: str
    type: FieldType = "double"
    unit: str | None = None
    required: bool = True

    @property
    def numeric(self) -> bool:
        return self.type in NUMERIC


@dataclass(frozen=True, slots=True, kw_only=True)
class Schema:
    """The inputs of a model in their order, its target, and its class labels.

    `labels` are in the order of the probability columns; empty for a regression.
    """

    inputs: tuple[Field, ...]
    target: str
    labels: tuple[Label, ...] = ()

    def __post_init__(self) -> None:
        names = [field.name for field in self.inputs]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise BadInput(f"input columns {twice} occur twice: every column needs a name of its own")

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(field.name for field in self.inputs)

    @property
    def numeric(self) -> bool:
        """Whether every input is a number, so that rows fit a float64 matrix."""
        return all(field.numeric for field in self.inputs)

    @property
    def output_names(self) -> tuple[str, ...]:
        """`cool_cond_y.3`, `cool_cond_y.20`, ... for a classifier, the target's name for a regression."""
        return tuple(f"{self.target}.{label}" for label in self.labels) or (self.target,)

    def to_dict(self) -> dict[str, Any]:  # Any: the value is JSON
        return {
            "inputs": [{"name": f.name, "type": f.type, "unit": f.unit, "required": f.required} for f in self.inputs],
            "target": self.target,
            "labels": list(self.labels),
        }

    @classmethod
    def from_dict(cls, value: dict[str, Any]) -> Schema:  # Any: the value is JSON
        return cls(
            inputs=tuple(Field(**field) for field in value["inputs"]),
            target=value["target"],
            labels=tuple(value["labels"]),
        )
