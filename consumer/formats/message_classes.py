"""Makes the class of a Protobuf message from the schema that a registry holds, as a descriptor in base64 or as .proto text."""

import base64
import binascii
from collections.abc import Iterable, Sequence
from typing import Any

from google.protobuf import (
    any_pb2,
    api_pb2,
    duration_pb2,
    empty_pb2,
    field_mask_pb2,
    source_context_pb2,
    struct_pb2,
    timestamp_pb2,
    type_pb2,
    wrappers_pb2,
)
from google.protobuf.descriptor_pb2 import DescriptorProto, FileDescriptorProto
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message import DecodeError
from google.protobuf.message_factory import GetMessageClass

from consumer.formats.proto_text import parse_proto

SERIALIZED = "serialized"
"""The format in which a registry is asked for a schema: a descriptor. A registry without it answers with text."""
_BUILT_IN = (
    any_pb2,
    source_context_pb2,
    type_pb2,
    api_pb2,
    duration_pb2,
    empty_pb2,
    field_mask_pb2,
    struct_pb2,
    timestamp_pb2,
    wrappers_pb2,
)
_FILE = "schema.proto"


def make_message_class(schema: str, references: Iterable[tuple[str, str]], indexes: Sequence[int]) -> Any:  # noqa: ANN401
    """Return the class of the message at `indexes`: the place in the file, then in the message around it.

    `references` are the names and schemas of all files that are imported, each after those that it imports itself. Raises
    ValueError, TypeError or IndexError where the schema cannot be used.
    """
    pool = DescriptorPool()
    for module in _BUILT_IN:
        pool.AddSerializedFile(module.DESCRIPTOR.serialized_pb)
    known: set[str] = set()
    for name, text in references:
        if name not in known and not name.startswith("google/protobuf/"):
            known.add(name)
            pool.AddSerializedFile(_read(text, name).SerializeToString())
    file = _read(schema, _FILE)
    pool.AddSerializedFile(file.SerializeToString())
    return GetMessageClass(pool.FindMessageTypeByName(_full_name(file, indexes)))


def _read(schema: str, name: str) -> FileDescriptorProto:
    try:
        file = FileDescriptorProto.FromString(base64.b64decode(schema, validate=True))
    except (binascii.Error, ValueError, DecodeError):
        return parse_proto(schema, name=name)
    file.name = name
    return file


def _full_name(file: FileDescriptorProto, indexes: Sequence[int]) -> str:
    names = [file.package] if file.package else []
    messages: Sequence[DescriptorProto] = file.message_type
    for index in indexes:
        if index < 0:
            raise IndexError(f"no message is at {list(indexes)}")
        names.append(messages[index].name)
        messages = messages[index].nested_type
    return ".".join(names)
