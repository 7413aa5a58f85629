"""Holds the typed documents, the schemas and the AsyncAPI document together.

`python -m tests.repository.schema_drift` compares, field by field, the Structs of
`engine.documents.model` with `schemas/*.json`: names, which are required, types, patterns, lengths,
bounds, listed values, defaults, and whether unknown fields are allowed; and the AsyncAPI document
with the topics' declarations, the schemas, the headers of a match and those that a read may have.
It prints one line for each difference and ends with status 1 where there is one. A keyword that it
does not know is a difference too, so that nothing in a schema goes uncompared.

Both sides are brought to the same shape first: a mapping from JSON type to the constraints on
it, such as `{"string": {"maxLength": 64}, "null": {}}`.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec
import yaml
from msgspec import inspect

from engine.delivery.records import match_record
from engine.documents import codec, model
from engine.documents.fields import ALTERNATES_HEADER
from engine.kafka.topics import DECLARED, Topics
from engine.matching.match import found_match
from engine.matching.outcome import FoundMatch
from engine.wire.headers import headers_at
from engine.wire.trace_context import PARENT_HEADER, STATE_HEADER, TraceContext

SCHEMAS = Path(__file__).parents[2] / "schemas"

#: Schema file, document, and whether the file allows unknown fields.
DOCUMENTS: dict[str, tuple[type[msgspec.Struct], bool]] = {
    "detection.v1.json": (model.Detection, True),
    "entry.v1.json": (model.Entry, True),
    "policy.v1.json": (model.Policy, True),
    "match.v1.json": (model.Match, False),
    "reject.v1.json": (model.Reject, False),
    "audit.v1.json": (model.AuditRecord, False),
    "suppression.v1.json": (model.SuppressionState, True),
}

#: Which schema each topic's values keep to.
TOPICS = {
    "detections": "detection.v1.json",
    "hotlist": "entry.v1.json",
    "policies": "policy.v1.json",
    "matches": "match.v1.json",
    "rejects": "reject.v1.json",
    "audit": "audit.v1.json",
    "suppression": "suppression.v1.json",
}

Json = dict[str, Any]
Shape = dict[str, Json]

_PROSE = {"title", "description", "examples", "$schema", "$id", "$defs"}
_CONSTRAINTS = {
    "string": {"minLength", "maxLength", "pattern"},
    "integer": {"minimum", "maximum", "exclusiveMinimum"},
    "number": {"minimum", "maximum", "exclusiveMinimum"},
    "boolean": set[str](),
    "null": set[str](),
    "array": {"minItems", "maxItems", "items"},
    "object": {
        "required",
        "properties",
        "maxProperties",
        "propertyNames",
        "additionalProperties",
        "unevaluatedProperties",
    },
}
_JSON_TYPES = {bool: "boolean", str: "string", int: "integer"}


def read_schemas() -> dict[str, Json]:
    """All schema files, by name."""
    return {path.name: json.loads(path.read_bytes()) for path in sorted(SCHEMAS.glob("*.json"))}


def read_asyncapi() -> Json:
    """The AsyncAPI document."""
    asyncapi: Json = yaml.safe_load((SCHEMAS / "asyncapi.yaml").read_text("utf-8"))
    return asyncapi


def differences(schemas: Mapping[str, Json], asyncapi: Json) -> list[str]:
    """One line for each difference between what the schemas and what the code say."""
    lines = [f"{name}: belongs to no document" for name in schemas.keys() - DOCUMENTS.keys()]
    for name, (struct, open_) in DOCUMENTS.items():
        if name not in schemas:
            lines.append(f"{name}: is missing")
            continue
        try:
            written = _shape_of_schema(_expand(schemas[name], name, schemas))
        except ValueError as error:
            lines.append(f"{name}: {error}")
            continue
        coded = _shape_of_type(inspect.type_info(struct), open_)
        lines += [f"{name}: {line}" for line in _compare(written, coded, "$")]
    return lines + [f"asyncapi.yaml: {line}" for line in _asyncapi_differences(schemas, asyncapi)]


# ---- schemas


def _expand(node: Json, file: str, schemas: Mapping[str, Json]) -> Json:
    """The schema with every reference replaced by what it refers to."""
    plain = {key: value for key, value in node.items() if key not in {"$ref", *_PROSE}}
    for key, value in plain.items():
        if key == "properties":
            plain[key] = {name: _expand(field, file, schemas) for name, field in value.items()}
        elif key in {"items", "propertyNames", "additionalProperties"}:
            plain[key] = _expand(value, file, schemas)
        elif key == "anyOf":
            plain[key] = [_expand(branch, file, schemas) for branch in value]
    if "$ref" not in node:
        return plain
    target_file, _, pointer = node["$ref"].partition("#")
    target_file = target_file or file
    target: Any = schemas.get(target_file)
    for step in filter(None, pointer.split("/")):
        target = target.get(step) if isinstance(target, dict) else None
    if target is None:
        raise ValueError(f"refers to {node['$ref']}, which does not exist")
    return _overlay(_expand(target, target_file, schemas), plain)


def _overlay(base: Json, over: Json) -> Json:
    """What a reference says together with what stands beside it, which may only close it."""
    both = dict(base)
    for key, value in over.items():
        if key in {"properties", "items"} and key in base:
            if key == "items":
                both[key] = _overlay(base[key], value)
            else:
                both[key] = base[key] | {
                    name: _overlay(base[key].get(name, {}), field) for name, field in value.items()
                }
        elif base.get(key, value) != value:
            raise ValueError(f"says {value!r} of {key} beside a reference that says {base[key]!r}")
        else:
            both[key] = value
    return both


def _shape_of_schema(node: Json) -> Shape:
    known = {"type", "enum", "const", "anyOf", "default"}
    if "anyOf" in node:
        shape: Shape = {}
        for branch in node["anyOf"]:
            shape |= _shape_of_schema(branch)
        types: list[str] = []
    elif "enum" in node or "const" in node:
        every = node.get("enum", [node.get("const")])
        values = [value for value in every if value is not None]
        shape = {_JSON_TYPES[type(values[0])]: {"values": sorted(values)}}
        if len(values) < len(every):
            shape["null"] = {}
        types = []
    else:
        types = [node["type"]] if isinstance(node.get("type"), str) else node.get("type", [])
        shape = {name: {} for name in types}
    for name in types:
        known |= _CONSTRAINTS[name]
        shape[name] = {key: node[key] for key in _CONSTRAINTS[name] & node.keys()}
        if name == "array":
            shape[name]["items"] = _shape_of_schema(node.get("items", {}))
        elif name == "object":
            shape[name] = _shape_of_object(node)
    for key in node.keys() - known:
        raise ValueError(f"has the keyword {key}, which is not compared here")
    return shape


def _shape_of_object(node: Json) -> Json:
    if "additionalProperties" in node:
        return {
            "keys": _shape_of_schema({"type": "string", **node.get("propertyNames", {})}),
            "values": _shape_of_schema(node["additionalProperties"]),
            "maxProperties": node.get("maxProperties"),
        }
    if "propertyNames" in node or "maxProperties" in node:
        raise ValueError("bounds the names of an object whose fields are listed")
    fields = node.get("properties", {})
    return {
        "required": sorted(node.get("required", [])),
        "open": node.get("unevaluatedProperties", True),
        "fields": {name: _shape_of_schema(field) for name, field in fields.items()},
        "defaults": {
            name: field["default"] for name, field in fields.items() if "default" in field
        },
    }


# ---- Structs


def _shape_of_type(info: inspect.Type, open_: bool) -> Shape:
    match info:
        case inspect.UnionType(types=types):
            shape: Shape = {}
            for branch in types:
                shape |= _shape_of_type(branch, open_)
            return shape
        case inspect.StrType():
            pattern = info.pattern and info.pattern.replace(r"\Z", "$")
            return _leaf(
                "string", minLength=info.min_length, maxLength=info.max_length, pattern=pattern
            )
        case inspect.IntType() | inspect.FloatType():
            name = "integer" if isinstance(info, inspect.IntType) else "number"
            return _leaf(name, minimum=info.ge, maximum=info.le, exclusiveMinimum=info.gt)
        case inspect.BoolType():
            return {"boolean": {}}
        case inspect.NoneType():
            return {"null": {}}
        case inspect.LiteralType(values=values):
            return {_JSON_TYPES[type(values[0])]: {"values": sorted(values)}}
        case inspect.VarTupleType():
            shape = _leaf("array", minItems=info.min_length, maxItems=info.max_length)
            shape["array"]["items"] = _shape_of_type(info.item_type, open_)
            return shape
        case inspect.DictType():
            return {
                "object": {
                    "keys": _shape_of_type(info.key_type, open_),
                    "values": _shape_of_type(info.value_type, open_),
                    "maxProperties": info.max_length,
                }
            }
        case inspect.StructType():
            return {"object": _shape_of_struct(info, open_)}
    raise TypeError(f"no comparison for {info}")


def _shape_of_struct(info: inspect.StructType, open_: bool) -> Json:
    # In an output document an optional field is left out and never null; but the entry and the
    # read that it holds keep to their own schemas in this.
    outgoing = not open_ and info.cls.__name__ in _OUTGOING
    fields = {}
    for field in info.fields:
        shape = _shape_of_type(field.type, open_)
        if outgoing and not field.required:
            del shape["null"]
        fields[field.encode_name] = shape
    return {
        "required": sorted(field.encode_name for field in info.fields if field.required),
        "open": open_,
        "fields": fields,
        "defaults": getattr(info.cls, "DEFAULTS", {}),
    }


_OUTGOING = {"Match", "Verification", "Check", "Misreading", "PolicyRef", "Reject", "AuditRecord"}


def _leaf(name: str, **constraints: object) -> Shape:
    return {name: {key: value for key, value in constraints.items() if value is not None}}


# ---- comparison


def _compare(written: Any, coded: Any, path: str) -> Iterator[str]:
    if isinstance(written, dict) and isinstance(coded, dict):
        for key in sorted(written.keys() | coded.keys()):
            place = f"{path}.{key}"
            if key not in coded:
                yield f"{place}: the schema has it ({_short(written[key])}), the code has not"
            elif key not in written:
                yield f"{place}: the code has it ({_short(coded[key])}), the schema has not"
            else:
                yield from _compare(written[key], coded[key], place)
    elif written != coded or isinstance(written, bool) != isinstance(coded, bool):
        yield f"{path}: the schema says {_short(written)}, the code {_short(coded)}"


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 100 else f"{text[:97]}..."


# ---- AsyncAPI


def _asyncapi_differences(schemas: Mapping[str, Json], asyncapi: Json) -> Iterator[str]:
    topics, channels = Topics("lpr."), asyncapi["channels"]
    operated = {use["channel"]["$ref"] for use in asyncapi["operations"].values()}
    messages = asyncapi["components"]["messages"]
    for name in channels.keys() - {declared.name for declared in DECLARED}:
        yield f"channels.{name}: there is no such topic"
    for declared in DECLARED:
        path = f"channels.{declared.name}"
        channel = channels.get(declared.name)
        if channel is None:
            yield f"{path}: is missing"
            continue
        address = topics.name(declared.name)
        binding = channel["bindings"]["kafka"]
        yield from _compare(channel["address"], address, f"{path}.address")
        yield from _compare(binding["topic"], address, f"{path}.bindings.kafka.topic")
        yield from _compare(binding.get("partitions"), declared.partitions, f"{path}.partitions")
        settings = {
            key: ",".join(value) if isinstance(value, list) else str(value)
            for key, value in binding["topicConfiguration"].items()
        }
        yield from _compare(settings, dict(declared.settings), f"{path}.topicConfiguration")
        if f"#/channels/{declared.name}" not in operated:
            yield f"{path}: no operation uses it"
        carried = [messages.get(use["$ref"].rpartition("/")[2]) for use in _uses(channel)]
        payloads = {_payload_file(message) for message in carried if message is not None}
        wanted = TOPICS[declared.name]
        if None in carried or payloads - {None} != {wanted} or wanted not in schemas:
            yield f"{path}.messages: must refer to ./{wanted}, and to messages that exist"
    read_headers = messages["detection"].get("headers", {}).get("properties", {})
    path = "components.messages.detection.headers.properties"
    known = [ALTERNATES_HEADER, PARENT_HEADER, STATE_HEADER]
    yield from _compare(sorted(read_headers), known, path)
    if "match.v1.json" in schemas:
        yield from _header_differences(schemas["match.v1.json"], messages)


def _uses(channel: Json) -> list[Json]:
    return list(channel["messages"].values())


def _payload_file(message: Json) -> str | None:
    """The schema file of a message, None for a tombstone, which has no value."""
    if message["payload"] == {"type": "null"}:
        return None
    return str(message["payload"]["schema"]["$ref"]).removeprefix("./")


def _header_differences(match_schema: Json, messages: Json) -> Iterator[str]:
    """Compare the headers with those that the sink puts on the example of a match: always, and
    where its read belongs to a trace."""
    path = "components.messages.match.headers"
    headers = messages["match"]["headers"]
    example = json.dumps(match_schema["examples"][0])
    match = codec.decode_match(example)
    always = _sent_headers(found_match(match, 0)).keys()
    trace = TraceContext("4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7", 1, "congo=t61")
    sent = _sent_headers(found_match(match, 0, trace))
    yield from _compare(sorted(headers["required"]), sorted(always), f"{path}.required")
    yield from _compare(sorted(headers["properties"]), sorted(sent), f"{path}.properties")
    for name, value in sent.items():
        header = headers["properties"].get(name, {})
        if header.get("const", value) != value or not re.search(header.get("pattern", ""), value):
            yield f"{path}.{name}: the code sends {value!r}"


def _sent_headers(found: FoundMatch) -> dict[str, str]:
    headers = headers_at(memoryview(match_record(Topics("lpr.").matches, found).headers)) or ()
    return {name: bytes(value or b"").decode() for name, value in headers}


def main() -> int:
    """Print the differences; the exit status."""
    lines = differences(read_schemas(), read_asyncapi())
    for line in lines:
        print(line)
    return 1 if lines else 0


if __name__ == "__main__":
    sys.exit(main())
