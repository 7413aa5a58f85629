"""The messages in the body of a request, whatever form its sender has chosen.

Cameras and services send a message as the body, as a field of a form that is encoded in a URL's way
(`json=...`), or as a part of a multipart body beside pictures. Which part is the message:

1. The part named `json`, if there is one; then the others are not looked at.
2. Otherwise each part that says it is JSON or XML: by its type, or by the end of its name or of its
   file's name (`anpr.xml`).
3. A part that says nothing is one if it begins like JSON or XML.

Pictures are passed over as they come and never held. Cameras break the rules of multipart bodies:
they end lines with a line feed alone, leave out the line break before a boundary, write a boundary
twice, leave it out of the Content-Type or name another type there, or cut the connection within a
picture. A part that is whole counts, whatever follows it.

Pure: bytes in, messages out.
"""

from __future__ import annotations

import codecs
import re
from typing import Final, Literal
from urllib.parse import unquote_to_bytes

from engine import limits

_MESSAGE_TYPE: Final = re.compile(rb"^(?:application|text)/(?:[\w.+-]+\+)?(?:json|xml)\b")
_PASSED_TYPE: Final = re.compile(rb"^(?:image|video|audio)/")
_MESSAGE_NAME: Final = re.compile(rb"\.(?:json|xml)$")
_HEADERS_END: Final = re.compile(rb"\r?\n\r?\n")
_SPACE: Final = re.compile(rb"[ \t\r\n]*")
#: `name=` and `filename=`, quoted or not.
_NAMES: Final = re.compile(rb'\b(?:file)?name\s*=\s*(?:"([^"\r\n]*)"|([^\s;"]+))')
_BOUNDARY: Final = re.compile(r'\bboundary\s*=\s*(?:"([^"]+)"|([^\s;",]+))', re.IGNORECASE)
#: RFC 2046 allows 70.
_BOUNDARY_CHARACTERS: Final = 200
#: A boundary as the first line, before the headers of a part.
_FIRST_LINE: Final = re.compile(
    rb"[ \t\r\n]*--([^\s]{1,%d})[ \t]*\r?\n\s*content-" % _BOUNDARY_CHARACTERS, re.IGNORECASE
)
#: How JSON and XML begin, after white space and the mark of the order of bytes.
_BEGINS: Final = (b"{", b"[", b"<")
#: The bytes in which it shows.
_SNIFFED: Final = 64

_NO_BOUNDARY: Final = "is a form whose Content-Type has no boundary"

_Kind = Literal["json", "message", "unknown", "passed"]


class FormError(Exception):
    """A body is not the form that its type says, or has no message."""


def boundary_of(content_type: str) -> str | None:
    """Return the boundary of a multipart body; None if its type does not say it.

    Raises FormError if it is too long.
    """
    found = _BOUNDARY.search(content_type)
    if found is None:
        return None
    boundary = found[1] or found[2]
    if len(boundary) > _BOUNDARY_CHARACTERS:
        raise FormError("is a form whose Content-Type has too long a boundary")
    return boundary


def looks_multipart(body: bytes) -> bool:
    """Return whether a body begins like a multipart one, whatever its type says."""
    return _FIRST_LINE.match(body) is not None


def unwrapped(body: bytes) -> bytes:
    """Return a message without the mark of the order of bytes, out of its field of a form.

    The field is `json`, or else the first one whose value begins like JSON or XML. A body that is
    no such form comes back as it is.
    """
    body = body.removeprefix(codecs.BOM_UTF8)
    if _begins(body):
        return body
    found = None
    start = 0
    for field in body.split(b"&", limits.INGEST_FORM_FIELDS)[: limits.INGEST_FORM_FIELDS]:
        name, _, value = field.partition(b"=")
        # A value that is not encoded may hold an ampersand: it is all that is left.
        value = body[start + len(name) + 1 :] if _begins(value) else _unescaped(value)
        if name.strip().lower() == b"json":
            return value.removeprefix(codecs.BOM_UTF8)
        if found is None and _begins(value):
            found = value.removeprefix(codecs.BOM_UTF8)
        start += len(field) + 1
    return body if found is None else found


def _unescaped(value: bytes) -> bytes:
    return unquote_to_bytes(value.replace(b"+", b" "))


def _begins(value: bytes | bytearray) -> bool:
    """Return whether this is how JSON or XML begins."""
    return bytes(value[:_SNIFFED]).removeprefix(codecs.BOM_UTF8).lstrip()[:1] in _BEGINS


class Multipart:
    """The messages of one multipart body, found as its bytes come; see the module."""

    def __init__(self, boundary: str | None) -> None:
        """`boundary` is that of the body's type; None takes the body's first line for it."""
        self._delimiter = b""
        if boundary is not None:
            self._delimiter = b"--" + boundary.encode("utf-8", "surrogateescape")
        self._buffer = bytearray()
        self._scanned = 0
        #: None before the first boundary and in a part's headers.
        self._kind: _Kind | None = None
        self._is_begun = False
        self._is_ended = False
        self._messages: list[bytes] = []
        self._named_json: bytes | None = None

    def feed(self, chunk: bytes) -> None:
        """Take the next bytes. Raises FormError if they cannot be a form."""
        if self._is_ended:
            return
        self._buffer += chunk
        if not self._delimiter and not self._is_delimited():
            return
        while self._step():
            pass

    def end(self) -> None:
        """Take note that the body is whole: what is left is its last part.

        Raises FormError if that cannot be.
        """
        if not self._delimiter:
            raise FormError(_NO_BOUNDARY)
        if not self._is_begun:
            raise FormError("has no boundary")
        if self._is_ended:
            return
        if self._kind is None and not self._headers(is_whole=True):
            if self._buffer.strip():
                raise FormError("ends in the headers of a part")
            return
        while self._step():
            pass
        if self._kind is not None and not self._is_ended:
            self._part(bytes(self._buffer))
        self._is_ended = True

    @property
    def messages(self) -> list[bytes]:
        """The messages that are whole."""
        return self._messages if self._named_json is None else [self._named_json]

    def _is_delimited(self) -> bool:
        """Take the boundary out of the first line; return False if that is not there yet."""
        found = _FIRST_LINE.match(self._buffer)
        if found is not None:
            self._delimiter = b"--" + found[1]
        elif len(self._buffer) > 2 * _BOUNDARY_CHARACTERS:
            raise FormError(_NO_BOUNDARY)
        return found is not None

    def _step(self) -> bool:
        """Take one piece out of the buffer; return False if it is not there yet."""
        if self._is_begun and self._kind is None:
            return self._headers()
        if self._kind == "unknown" and len(self._buffer) >= _SNIFFED:
            self._kind = "message" if _begins(self._buffer) else "passed"
        found = self._boundary()
        if found is None:
            if self._kind in (None, "passed"):  # nothing of it is needed
                del self._buffer[: max(0, len(self._buffer) - len(self._delimiter) - 2)]
                self._scanned = 0
            return False
        start, after = found
        if self._kind is not None:
            self._part(bytes(self._buffer[:start]))
        self._is_ended = self._buffer[after : after + 2] == b"--"
        self._is_begun, self._kind, self._scanned = True, None, 0
        del self._buffer[:after]
        if self._is_ended:
            self._buffer.clear()
        return not self._is_ended

    def _boundary(self) -> tuple[int, int] | None:
        """Return where the next boundary begins and ends; None if it is not there yet."""
        while (start := self._buffer.find(self._delimiter, self._scanned)) >= 0:
            after = start + len(self._delimiter)
            if after + 2 > len(self._buffer):
                self._scanned = start
                return None
            if self._buffer[after : after + 2] == b"--" or self._buffer[after] in b" \t\r\n":
                return start, after
            self._scanned = start + 1
        self._scanned = max(0, len(self._buffer) - len(self._delimiter))
        return None

    def _headers(self, *, is_whole: bool = False) -> bool:
        """Take a part's headers; return False if they are not there yet."""
        space = _SPACE.match(self._buffer)
        first = space.end() if space else 0
        if len(self._buffer) - first < len(self._delimiter) and not is_whole:
            return False
        if self._buffer.startswith(self._delimiter, first):  # a boundary that is written twice
            del self._buffer[: first + len(self._delimiter)]
            return True
        if self._buffer[first : first + 8].lower() == b"content-":  # after too many line breaks
            del self._buffer[:first]
        found = _HEADERS_END.search(self._buffer)
        if found is None:
            if len(self._buffer) > limits.HTTP_LINE_BYTES:
                raise FormError("has a part whose headers are too long")
            return False
        self._kind = _kind(bytes(self._buffer[: found.start()]))
        del self._buffer[: found.end()]
        return True

    def _part(self, body: bytes) -> None:
        """Take the part whose headers were read, without the line break before the boundary."""
        kind, body = self._kind, body.removesuffix(b"\n").removesuffix(b"\r")
        if kind == "json":
            if self._named_json is None:
                self._named_json = unwrapped(body)
        elif kind == "message" or (kind == "unknown" and _begins(body)):
            if len(self._messages) >= limits.INGEST_FORM_MESSAGES:
                raise FormError(f"has more than {limits.INGEST_FORM_MESSAGES} messages")
            self._messages.append(unwrapped(body))


def _kind(headers: bytes) -> _Kind:
    """Say what a part is, by its headers. Raises FormError for a form within a form."""
    fields = {
        name.strip().lower(): value.strip().lower()
        for name, _, value in (line.partition(b":") for line in headers.splitlines())
    }
    kind = fields.get(b"content-type", b"")
    if kind.startswith(b"multipart/"):
        raise FormError("has a form within a form")
    names = [
        (quoted or bare).strip()
        for quoted, bare in _NAMES.findall(fields.get(b"content-disposition", b""))
    ]
    if b"json" in names:
        return "json"
    if _MESSAGE_TYPE.match(kind) or any(_MESSAGE_NAME.search(name) for name in names):
        return "message"
    is_picture = _PASSED_TYPE.match(kind) or any(
        name.endswith((b".jpg", b".jpeg", b".png", b".bmp", b".webp")) for name in names
    )
    return "passed" if is_picture else "unknown"
