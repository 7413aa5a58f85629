"""XML messages as the same nodes as JSON ones.

An element is an object of its children, or a text if it has none; a child that is repeated is an
array. Namespaces are left out: vendors change them with their versions. An element that is empty
is absent. Attributes are left out too, or, if asked for, are fields of their element named `@name`;
the element's own text is then the field `#text`.

Document types, and with them entities, are not accepted.

Pure: no clock, no I/O, no state.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final
from xml.etree.ElementTree import Element, ParseError

from defusedxml import DefusedXmlException
from defusedxml.ElementTree import fromstring

from engine.ingest.adapters.message import AdapterError, Node, check_size

#: Elements within elements. Python's stack would not hold what a hostile message may nest.
_DEPTH: Final = 64


def parse_xml(message: bytes, *, attributes: bool = False) -> tuple[str, Node]:
    """Return the name of a document's root element, and the root as a node.

    Raises AdapterError if this is no XML document, is too long, or has a document type.
    """
    check_size(message)
    try:
        root: Element = fromstring(message.strip(), forbid_dtd=True)
    except DefusedXmlException:
        rule = "must not have a document type or entities"
        raise AdapterError("$", rule, "not_xml") from None
    except (ParseError, ValueError, LookupError):
        raise AdapterError("$", "must be an XML document", "not_xml") from None
    return _local(root.tag), Node(_value(root, attributes, _DEPTH))


def looks_like_xml(message: bytes) -> bool:
    """Return whether a message begins as an XML document does, in any encoding."""
    return message[:8].replace(b"\x00", b"").lstrip(b"\xef\xbb\xbf\xff\xfe \t\r\n").startswith(b"<")


def items(node: Node) -> Iterator[Node]:
    """Yield the items of a child that may be repeated, absent, or there once."""
    if isinstance(node.value, list):
        yield from node
    elif node.value is not None:
        yield node


def _value(element: Element, attributes: bool, depth: int) -> Any:
    if depth == 0:
        raise AdapterError("$", f"must nest at most {_DEPTH} elements", "not_xml")
    fields: dict[str, Any] = {}
    if attributes:
        fields |= {f"@{_local(name)}": value for name, value in element.attrib.items()}
    for child in element:
        name, value = _local(child.tag), _value(child, attributes, depth - 1)
        if name not in fields:
            fields[name] = value
        elif isinstance(fields[name], list):
            fields[name].append(value)
        else:
            fields[name] = [fields[name], value]
    text = (element.text or "").strip() or None
    if not fields:
        return text
    if attributes and text is not None:
        fields["#text"] = text
    return fields


def _local(name: str) -> str:
    return name.rpartition("}")[2]
