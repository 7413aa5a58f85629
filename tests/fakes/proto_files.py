"""A .proto file as its descriptor, and messages of it, by google.protobuf and without protoc.

Reads the little of the language that the file we ship uses: messages that are not nested, enums.
"""

from __future__ import annotations

import base64
import re
from pathlib import Path
from typing import Any, Final

from google.protobuf import (
    descriptor_pb2,
    descriptor_pool,
    message_factory,
    timestamp_pb2,
    wrappers_pb2,
)

DETECTION_PROTO: Final = (Path(__file__).parents[2] / "schemas/detection.v1.proto").read_text()
_BLOCK: Final = re.compile(r"^(message|enum) (\w+) {\n(.*?)^}", re.MULTILINE | re.DOTALL)
_FIELD: Final = re.compile(r"^  (?:(optional|repeated) )?([\w.]+) (\w+) = (\d+);$", re.MULTILINE)
_VALUE: Final = re.compile(r"^  (\w+) = (\d+);$", re.MULTILINE)

_Field = descriptor_pb2.FieldDescriptorProto
_SCALARS: Final = {
    name: getattr(_Field, f"TYPE_{name.upper()}")
    for name in (
        *("double", "float", "int64", "uint64", "int32", "fixed64", "fixed32", "bool", "string"),
        *("bytes", "uint32", "sfixed32", "sfixed64", "sint32", "sint64"),
    )
}


def descriptor_of(text: str) -> Any:
    """The FileDescriptorProto of a file."""
    file = descriptor_pb2.FileDescriptorProto(name="it.proto", syntax="proto3")
    package = re.search(r"^package ([\w.]+);$", text, re.MULTILINE)
    file.package = package[1] if package else ""
    file.dependency.extend(re.findall(r'^import "(.*)";$', text, re.MULTILINE))
    enums = {name for kind, name, _ in _BLOCK.findall(text) if kind == "enum"}
    for kind, name, body in _BLOCK.findall(text):
        if kind == "enum":
            enum = file.enum_type.add(name=name)
            for symbol, number in _VALUE.findall(body):
                enum.value.add(name=symbol, number=int(number))
            continue
        message = file.message_type.add(name=name)
        for label, type_name, field_name, number in _FIELD.findall(body):
            field = message.field.add(name=field_name, number=int(number))
            field.label = _Field.LABEL_REPEATED if label == "repeated" else _Field.LABEL_OPTIONAL
            if type_name in _SCALARS:
                field.type = _SCALARS[type_name]
            else:
                field.type = _Field.TYPE_ENUM if type_name in enums else _Field.TYPE_MESSAGE
                local = f"{file.package}.{type_name}" if file.package else type_name
                field.type_name = "." + (type_name if "." in type_name else local)
            if label == "optional":
                field.proto3_optional = True
                field.oneof_index = len(message.oneof_decl)
                message.oneof_decl.add(name=f"_{field_name}")
    return file


def in_base64(file: Any) -> str:
    """A descriptor as a registry gives it with `format=serialized`."""
    return base64.b64encode(file.SerializeToString()).decode()


def message_class(file: Any, name: str) -> Any:
    """The class of a file's message."""
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(timestamp_pb2.DESCRIPTOR.serialized_pb)
    pool.AddSerializedFile(wrappers_pb2.DESCRIPTOR.serialized_pb)
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(name))
