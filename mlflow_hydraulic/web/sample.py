"""A small value that fits a type: bodies in the OpenAPI document and on its page; tests send them to every route.

A field's own examples (`Meta(examples=[...])`) come first; a text with a pattern that no common word fits needs one.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from typing import Any

import msgspec
from msgspec import inspect

WORDS = ("rig", "hydraulic-cooler", "1", "dev", "ds2", "reader", "a" * 32, "0" * 64, "2026-11-23T07:35:32+00:00")


def sample(kind: Any, *, whole: bool = False) -> Any:  # Any: a type, and a value of JSON
    """The smallest value of `kind`; with every field where `whole`. `TypeError` for a type that shows no way."""
    return _made(inspect.type_info(kind), whole)


def _made(kind: inspect.Type, whole: bool, examples: tuple[Any, ...] = ()) -> Any:
    if isinstance(kind, inspect.Metadata):
        known = (kind.extra_json_schema or {}).get("examples") or examples
        return _made(kind.type, whole, tuple(known))
    if examples:
        return examples[0]
    for kinds, make in MAKERS:
        if isinstance(kind, kinds):
            return make(kind, whole)
    raise TypeError(f"{kind}: no value can be made up for it; give its field Meta(examples=[...])")


def _struct(kind: inspect.StructType, whole: bool) -> dict[str, Any]:
    fields = (field for field in kind.fields if field.required or whole)
    made = {field.encode_name: _made(field.type, whole) for field in fields}
    if kind.tag_field is not None:
        made[kind.tag_field] = kind.tag
    return made


def _union(kind: inspect.UnionType, whole: bool) -> Any:
    real = [one for one in kind.types if not isinstance(one, inspect.NoneType)]
    return _made(real[0], whole) if real else None


def _list(kind: Any, whole: bool) -> list[Any]:
    return [_made(kind.item_type, whole) for _ in range(max(kind.min_length or 0, int(whole)))]


def _dict(kind: inspect.DictType, whole: bool) -> dict[Any, Any]:
    return {_made(kind.key_type, whole): _made(kind.value_type, whole)} if whole or kind.min_length else {}


def _text(kind: inspect.StrType, whole: bool) -> str:
    del whole
    for word in (*WORDS, "a" * (kind.min_length or 0)):
        fits = (kind.min_length or 0) <= len(word) <= (kind.max_length if kind.max_length is not None else len(word))
        if fits and (kind.pattern is None or re.search(kind.pattern, word)):
            return word
    raise TypeError(f"no text is known that fits {kind.pattern!r}: give the field Meta(examples=[...])")


def _number(kind: inspect.IntType | inspect.FloatType, whole: bool) -> float:
    del whole
    step = 1 if isinstance(kind, inspect.IntType) else 1e-3
    least = kind.ge if kind.ge is not None else 0 if kind.gt is None else kind.gt + step
    most = kind.le if kind.le is not None else math.inf if kind.lt is None else kind.lt - step
    value = min(max(1, least), most)
    return value if isinstance(kind, inspect.IntType) else float(value)


MAKERS: Sequence[tuple[Any, Callable[[Any, bool], Any]]] = (
    (inspect.StructType, _struct),
    (inspect.UnionType, _union),
    (inspect.EnumType, lambda kind, _: next(iter(kind.cls)).value),
    (inspect.LiteralType, lambda kind, _: kind.values[0]),
    (inspect.StrType, _text),
    ((inspect.IntType, inspect.FloatType), _number),
    (inspect.BoolType, lambda _kind, _: False),
    ((inspect.ListType, inspect.VarTupleType, inspect.SetType), _list),
    (inspect.DictType, _dict),
    (inspect.DateTimeType, lambda _kind, _: WORDS[-1]),
    ((inspect.NoneType, inspect.AnyType), lambda _kind, _: None),
)


def encoded(kind: Any, *, whole: bool = False) -> str:
    """The sample as JSON that a person reads."""
    return msgspec.json.format(msgspec.json.encode(sample(kind, whole=whole)), indent=2).decode()
