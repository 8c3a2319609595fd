"""Seldon's v1 messages for gRPC, as protobuf classes made when this is imported: no generated file to keep in step.

Names and field numbers are those of Seldon Core 1.17.1's `proto/prediction.proto` (Copyright Seldon Technologies,
Apache License 2.0, https://github.com/SeldonIO/seldon-core/blob/v1.17.1/proto/prediction.proto), so that the bytes are
the same; the text is ours. Only what a MODEL node sends and gets is here. `tftensor` stands as bytes: it is refused,
and needs no TensorFlow for that. The classes live in a pool of their own, beside Seldon's stubs in the same process.
"""

from __future__ import annotations

from typing import Any

from google.protobuf import any_pb2, descriptor_pb2, descriptor_pool, empty_pb2, message_factory, struct_pb2

PACKAGE = "seldon.protos"
# message: its fields as "number name type"; `map` and `repeated` as in a .proto file, A|B an enum
# from 0, `?NAME` a member of that oneof.
MESSAGES: dict[str, tuple[str, ...]] = {
    "SeldonMessage": (
        "1 status Status",
        "2 meta Meta",
        "3 data DefaultData ?data_oneof",
        "4 binData bytes ?data_oneof",
        "5 strData string ?data_oneof",
        "6 jsonData google.protobuf.Value ?data_oneof",
        "7 customData google.protobuf.Any ?data_oneof",
    ),
    "DefaultData": (
        "1 names repeated string",
        "2 tensor Tensor ?data_oneof",
        "3 ndarray google.protobuf.ListValue ?data_oneof",
        "4 tftensor bytes ?data_oneof",
    ),
    "Tensor": ("1 shape repeated int32", "2 values repeated double"),
    "Meta": (
        "1 puid string",
        "2 tags map google.protobuf.Value",
        "3 routing map int32",
        "4 requestPath map string",
        "5 metrics repeated Metric",
    ),
    "Metric": ("1 key string", "2 type COUNTER|GAUGE|TIMER", "3 value float", "4 tags map string"),
    "Status": ("1 code int32", "2 info string", "3 reason string", "4 status SUCCESS|FAILURE"),
    "Feedback": ("1 request SeldonMessage", "2 response SeldonMessage", "3 reward float", "4 truth SeldonMessage"),
    "SeldonModelMetadataRequest": ("1 name string",),
    "SeldonMessageMetadata": (
        "1 messagetype string",
        "2 schema google.protobuf.Value",
        "3 name string",
        "4 datatype string",
        "5 shape repeated int64",
    ),
    "SeldonModelMetadata": (
        "1 name string",
        "2 versions repeated string",
        "3 platform string",
        "4 inputs repeated SeldonMessageMetadata",
        "5 outputs repeated SeldonMessageMetadata",
        "6 custom map string",
    ),
}

_Field = descriptor_pb2.FieldDescriptorProto
_SCALARS = {
    "double": _Field.TYPE_DOUBLE,
    "float": _Field.TYPE_FLOAT,
    "int32": _Field.TYPE_INT32,
    "int64": _Field.TYPE_INT64,
    "string": _Field.TYPE_STRING,
    "bytes": _Field.TYPE_BYTES,
}


def _add_message(file: Any, name: str, fields: tuple[str, ...]) -> None:  # Any: protobuf's classes are untyped here
    message = file.message_type.add(name=name)
    for text in fields:
        number, field_name, *words = text.split()
        oneof = words.pop().removeprefix("?") if words[-1].startswith("?") else None
        field = message.field.add(name=field_name, number=int(number), label=_Field.LABEL_OPTIONAL)
        if words[0] in ("repeated", "map"):
            field.label = _Field.LABEL_REPEATED
        if words[0] == "map":
            entry = f"{field_name[0].upper()}{field_name[1:]}Entry"
            made = message.nested_type.add(name=entry)
            made.options.map_entry = True
            made.field.add(name="key", number=1, label=_Field.LABEL_OPTIONAL, type=_Field.TYPE_STRING)
            _set_type(made.field.add(name="value", number=2, label=_Field.LABEL_OPTIONAL), words[1])
            _set_type(field, f"{PACKAGE}.{name}.{entry}")
        elif "|" in words[-1]:
            made = message.enum_type.add(name=f"{field_name[0].upper()}{field_name[1:]}Kind")
            for value, member in enumerate(words[-1].split("|")):
                made.value.add(name=member, number=value)
            field.type, field.type_name = _Field.TYPE_ENUM, f".{PACKAGE}.{name}.{made.name}"
        else:
            _set_type(field, words[-1])
        if oneof is not None:
            if not message.oneof_decl:
                message.oneof_decl.add(name=oneof)
            field.oneof_index = 0


def _set_type(field: Any, kind: str) -> None:
    if kind in _SCALARS:
        field.type = _SCALARS[kind]
    else:
        field.type = _Field.TYPE_MESSAGE
        field.type_name = f".{kind}" if "." in kind else f".{PACKAGE}.{kind}"


def _classes() -> dict[str, Any]:
    pool = descriptor_pool.DescriptorPool()
    known = (any_pb2, struct_pb2, empty_pb2)
    for module in known:
        pool.AddSerializedFile(module.DESCRIPTOR.serialized_pb)
    file = descriptor_pb2.FileDescriptorProto(name="hydraulic/seldon.proto", package=PACKAGE, syntax="proto3")
    file.dependency.extend(module.DESCRIPTOR.name for module in known)
    for name, fields in MESSAGES.items():
        _add_message(file, name, fields)
    pool.AddSerializedFile(file.SerializeToString())
    names = [f"{PACKAGE}.{name}" for name in MESSAGES] + ["google.protobuf.Empty"]
    made = {name: message_factory.GetMessageClass(pool.FindMessageTypeByName(name)) for name in names}
    return {name.rsplit(".", 1)[-1]: one for name, one in made.items()}


CLASSES = _classes()
SeldonMessage = CLASSES["SeldonMessage"]
Feedback = CLASSES["Feedback"]
ModelMetadataRequest = CLASSES["SeldonModelMetadataRequest"]
ModelMetadata = CLASSES["SeldonModelMetadata"]
Empty = CLASSES["Empty"]
