"""The Protobuf schema of an event, made of its pydantic model: as a descriptor for programs, as a .proto file for people.

A field's number is its place in the model, so a new field must be the last one of its model.
"""

from google.protobuf import timestamp_pb2
from google.protobuf.descriptor_pb2 import DescriptorProto, FieldDescriptorProto, FileDescriptorProto
from pydantic import BaseModel

from schemas.avro_schema import describe
from schemas.events import SCHEMA_VERSION
from schemas.shapes import ADDITIONAL, Kind, Shape, has_additional, records_of, shapes_of

PACKAGE = f"occustream.v{SCHEMA_VERSION}"
ADDITIONAL_NUMBER = 1000
"""The number of the field for what a model does not know: far behind all others, so that they may grow."""

_TIMESTAMP = "google.protobuf.Timestamp"
_TYPES: dict[Kind, tuple[int, str]] = {
    "text": (FieldDescriptorProto.TYPE_STRING, "string"),
    "integer": (FieldDescriptorProto.TYPE_INT64, "int64"),
    "number": (FieldDescriptorProto.TYPE_DOUBLE, "double"),
    "flag": (FieldDescriptorProto.TYPE_BOOL, "bool"),
    "time": (FieldDescriptorProto.TYPE_MESSAGE, _TIMESTAMP),
    "json": (FieldDescriptorProto.TYPE_STRING, "string"),
}


def make_proto_text(model: type[BaseModel]) -> str:
    """Return the text of a .proto file that holds the model first, and all that it holds."""
    lines = ['syntax = "proto3";', "", f"package {PACKAGE};", "", 'import "google/protobuf/timestamp.proto";']
    for record in reversed(records_of(model)):
        lines += ["", *_comment(record.__doc__, ""), f"message {record.__name__} {{"]
        for number, shape in enumerate(shapes_of(record), 1):
            lines += [*_comment(describe(shape), "  "), f"  {_label(shape)}{_type_name(shape)} {shape.name} = {number};"]
        if has_additional(record):
            lines += ["  // Fields that occustream does not know, each as JSON text."]
            lines += [f"  map<string, string> {ADDITIONAL} = {ADDITIONAL_NUMBER};"]
        lines.append("}")
    return "\n".join(lines) + "\n"


def make_proto_file(model: type[BaseModel]) -> FileDescriptorProto:
    """Return the descriptor of the same file. Its first message is the model."""
    file = FileDescriptorProto(name=f"{PACKAGE.replace('.', '/')}/{model.__name__}.proto", package=PACKAGE, syntax="proto3")
    file.dependency.append(timestamp_pb2.DESCRIPTOR.name)
    for record in reversed(records_of(model)):
        message = file.message_type.add(name=record.__name__)
        for number, shape in enumerate(shapes_of(record), 1):
            _add_field(message, shape, number)
        if has_additional(record):
            _add_additional(message)
        _order_synthetic_oneofs(message)
    return file


def _add_field(message: DescriptorProto, shape: Shape, number: int) -> None:
    label = FieldDescriptorProto.LABEL_REPEATED if shape.is_list else FieldDescriptorProto.LABEL_OPTIONAL
    field = message.field.add(name=shape.name, number=number, label=label)
    if shape.record is not None:
        field.type, field.type_name = FieldDescriptorProto.TYPE_MESSAGE, f".{PACKAGE}.{shape.record.__name__}"
    else:
        field.type, type_name = _TYPES[shape.kind]
        if shape.kind == "time":
            field.type_name = f".{type_name}"
    if _label(shape) == "optional ":
        field.proto3_optional = True


def _order_synthetic_oneofs(message: DescriptorProto) -> None:
    """Give each optional field the oneof of its own that Protobuf wants."""
    for field in message.field:
        if field.proto3_optional:
            field.oneof_index = len(message.oneof_decl)
            message.oneof_decl.add(name=f"_{field.name}")


def _add_additional(message: DescriptorProto) -> None:
    entry = message.nested_type.add(name=f"{ADDITIONAL.capitalize()}Entry")
    entry.options.map_entry = True
    for number, name in enumerate(("key", "value"), 1):
        entry.field.add(
            name=name, number=number, type=FieldDescriptorProto.TYPE_STRING, label=FieldDescriptorProto.LABEL_OPTIONAL
        )
    message.field.add(
        name=ADDITIONAL,
        number=ADDITIONAL_NUMBER,
        type=FieldDescriptorProto.TYPE_MESSAGE,
        label=FieldDescriptorProto.LABEL_REPEATED,
        type_name=f".{PACKAGE}.{message.name}.{entry.name}",
    )


def _type_name(shape: Shape) -> str:
    return shape.record.__name__ if shape.record is not None else _TYPES[shape.kind][1]


def _label(shape: Shape) -> str:
    """Return `optional` where a missing value must be told from an empty one; a message is missing by itself."""
    if shape.is_list:
        return "repeated "
    return "optional " if shape.is_optional and shape.record is None else ""


def _comment(text: str | None, indent: str) -> list[str]:
    return [f"{indent}// {line.strip()}" for line in (text or "").strip().splitlines() if line.strip()]
