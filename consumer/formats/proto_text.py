"""Reads the text of a .proto file into a descriptor: some registries hand out only text, and no compiler is needed for it.

Messages, enums, oneofs, maps, groups of options and reserved ranges of proto2, proto3 and editions are understood; services,
extensions and options are skipped. Names of types stay as written: the descriptor pool resolves them by Protobuf's own rules.
"""

import re
from collections.abc import Iterator

from google.protobuf.descriptor_pb2 import DescriptorProto, EnumDescriptorProto, FieldDescriptorProto, FileDescriptorProto

_TOKEN = re.compile(
    r"""\s+|//[^\n]*|/\*.*?\*/|(?P<token>"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*'|[A-Za-z_.][\w.]*|[-+]?[\d.][\w.+-]*|.)""", re.DOTALL
)
_SCALARS = {
    name.removeprefix("TYPE_").lower(): number
    for name, number in FieldDescriptorProto.Type.items()
    if name not in ("TYPE_MESSAGE", "TYPE_ENUM", "TYPE_GROUP")
}
_LABELS = {"repeated": FieldDescriptorProto.LABEL_REPEATED, "required": FieldDescriptorProto.LABEL_REQUIRED}
_CLOSING = {"{": "}", "[": "]", "(": ")", "<": ">"}


def parse_proto(text: str, *, name: str) -> FileDescriptorProto:
    """Return the descriptor of a file. Raises ValueError where the text is no .proto file or needs what is not understood."""
    tokens = _Tokens(text)
    file = FileDescriptorProto(name=name, syntax="proto2")
    while (word := tokens.next_or_none()) is not None:
        _parse_statement(tokens, word, file)
    if file.syntax == "proto2":
        file.ClearField("syntax")
    return file


def _parse_statement(tokens: "_Tokens", word: str, file: FileDescriptorProto) -> None:
    if word == "syntax":
        tokens.expect("=")
        file.syntax = tokens.text()
    elif word == "edition":
        raise ValueError('editions are not understood; register the schema as a descriptor, or with syntax = "proto3"')
    elif word == "package":
        file.package = tokens.next()
    elif word == "import":
        path = tokens.next()
        file.dependency.append(_unquote(tokens.next() if path in ("public", "weak") else path))
    else:
        _parse_definition(tokens, word, file)
        return
    tokens.expect(";")


def _parse_definition(tokens: "_Tokens", word: str, file: FileDescriptorProto) -> None:
    if word == "message":
        _parse_message(tokens, file.message_type.add(name=tokens.next()), proto3=file.syntax == "proto3")
    elif word == "enum":
        _parse_enum(tokens, file.enum_type.add(name=tokens.next()))
    elif word != ";":
        tokens.skip_statement(word)


def _parse_message(tokens: "_Tokens", message: DescriptorProto, *, proto3: bool) -> None:
    tokens.expect("{")
    while (word := tokens.next()) != "}":
        if word == "message":
            _parse_message(tokens, message.nested_type.add(name=tokens.next()), proto3=proto3)
        elif word == "enum":
            _parse_enum(tokens, message.enum_type.add(name=tokens.next()))
        elif word == "oneof":
            _parse_oneof(tokens, message)
        elif word in ("option", "reserved", "extensions", "extend", ";"):
            if word != ";":
                tokens.skip_statement(word)
        else:
            _parse_labelled(tokens, word, message, proto3=proto3)
    _add_synthetic_oneofs(message)


def _parse_oneof(tokens: "_Tokens", message: DescriptorProto) -> None:
    index = len(message.oneof_decl)
    message.oneof_decl.add(name=tokens.next())
    tokens.expect("{")
    while (word := tokens.next()) != "}":
        if word == "option":
            tokens.skip_statement(word)
        elif word != ";":
            _parse_field(tokens, word, message).oneof_index = index


def _parse_labelled(tokens: "_Tokens", word: str, message: DescriptorProto, *, proto3: bool) -> None:
    label = word if word in ("optional", "repeated", "required") else None
    kind = tokens.next() if label else word
    if kind == "map" and tokens.peek() == "<":
        _parse_map(tokens, message)
        return
    field = _parse_field(tokens, kind, message)
    field.label = _LABELS.get(label or "", FieldDescriptorProto.LABEL_OPTIONAL)
    if label == "optional" and proto3:
        field.proto3_optional = True


def _parse_field(tokens: "_Tokens", kind: str, message: DescriptorProto) -> FieldDescriptorProto:
    if kind == "group":
        raise ValueError("groups are not understood")
    field = message.field.add(name=tokens.next(), label=FieldDescriptorProto.LABEL_OPTIONAL)
    _set_type(field, kind)
    _parse_number(tokens, field)
    return field


def _parse_map(tokens: "_Tokens", message: DescriptorProto) -> None:
    tokens.expect("<")
    kinds = [tokens.next()]
    tokens.expect(",")
    kinds.append(tokens.next())
    tokens.expect(">")
    name = tokens.next()
    entry = message.nested_type.add(name="".join(part[:1].upper() + part[1:] for part in name.split("_")) + "Entry")
    entry.options.map_entry = True
    for number, (part, kind) in enumerate(zip(("key", "value"), kinds, strict=True), 1):
        _set_type(entry.field.add(name=part, number=number, label=FieldDescriptorProto.LABEL_OPTIONAL), kind)
    field = message.field.add(name=name, label=FieldDescriptorProto.LABEL_REPEATED, type_name=entry.name)
    field.type = FieldDescriptorProto.TYPE_MESSAGE
    _parse_number(tokens, field)


def _set_type(field: FieldDescriptorProto, kind: str) -> None:
    if kind in _SCALARS:
        field.type = _SCALARS[kind]
    else:
        field.type_name = kind  # a message or an enum: the pool finds out


def _parse_number(tokens: "_Tokens", field: FieldDescriptorProto) -> None:
    tokens.expect("=")
    field.number = int(tokens.next(), 0)
    if tokens.peek() == "[":
        options = tokens.skip_group()
        if "packed=false" in options:
            field.options.packed = False
    tokens.expect(";")


def _parse_enum(tokens: "_Tokens", enum: EnumDescriptorProto) -> None:
    tokens.expect("{")
    while (word := tokens.next()) != "}":
        if word == "option" and tokens.peek() != "=":
            if "allow_alias=true" in tokens.skip_statement(word):
                enum.options.allow_alias = True
        elif word == "reserved" and tokens.peek() != "=":
            tokens.skip_statement(word)
        elif word != ";":
            tokens.expect("=")
            enum.value.add(name=word, number=int(tokens.next(), 0))
            if tokens.peek() == "[":
                tokens.skip_group()
            tokens.expect(";")


def _add_synthetic_oneofs(message: DescriptorProto) -> None:
    """Give each optional field of proto3 the oneof of its own that Protobuf wants, behind all others."""
    for field in message.field:
        if field.proto3_optional:
            field.oneof_index = len(message.oneof_decl)
            message.oneof_decl.add(name=f"_{field.name}")


class _Tokens:
    """The words of a file, without comments."""

    def __init__(self, text: str) -> None:
        self._tokens = list(_split(text))
        self._place = 0

    def next_or_none(self) -> str | None:
        return self.next() if self._place < len(self._tokens) else None

    def next(self) -> str:
        token = self.peek()
        if token is None:
            raise ValueError("the .proto file ends too early")
        self._place += 1
        return token

    def peek(self) -> str | None:
        return self._tokens[self._place] if self._place < len(self._tokens) else None

    def expect(self, wanted: str) -> None:
        found = self.next()
        if found != wanted:
            raise ValueError(f"the .proto file has {found!r} where {wanted!r} is expected")

    def text(self) -> str:
        return _unquote(self.next())

    def skip_group(self) -> str:
        """Skip what is within brackets, and return it without spaces."""
        opening = self.next()
        skipped, closing = [opening], [_CLOSING[opening]]
        while closing:
            word = self.next()
            skipped.append(word)
            if word == closing[-1]:
                closing.pop()
            elif word in "{[":
                closing.append(_CLOSING[word])
        return "".join(skipped)

    def skip_statement(self, word: str) -> str:
        """Skip to the end of a statement or to the end of its block, and return it without spaces."""
        skipped = [word]
        while (following := self.peek()) != ";":
            if following == "{":
                skipped.append(self.skip_group())
                if word == "option":
                    continue
                return "".join(skipped)
            skipped.append(self.next())
        self.next()
        return "".join(skipped)


def _split(text: str) -> Iterator[str]:
    for found in _TOKEN.finditer(text):
        if found["token"]:
            yield found["token"]


def _unquote(token: str) -> str:
    return token[1:-1]
