"""`engine.ingest.forms`: which of what a camera sends is its message, however it breaks the rules.

Shapes, not data, from https://github.com/maciej-or/hikvision_next/issues/117 (pictures beside the
message), https://github.com/Http-Multipart-Data-Parser/HttpMultipartParser/issues/117 (a boundary
at the end of a picture's last line), https://github.com/toxuin/alarmserver/pull/51 (a boundary
twice), and https://guides.platerecognizer.com/docs/stream/webhooks (the field `json`).
"""

from __future__ import annotations

import random
from urllib.parse import quote_plus

import pytest

from engine import limits
from engine.ingest.forms import FormError, Multipart, boundary_of, looks_multipart, unwrapped

_XML = b'<?xml version="1.0"?>\n<Event><plate>XY 12</plate></Event>'
_JSON = b'{"plate": "XY12", "note": "a&json=b"}'
_PICTURE = b"\xff\xd8\xff\xe0" + bytes(range(256)) * 8 + b"\n--\r\n--MIME\xff\xd9"


def part(name: str, body: bytes, kind: str = "", *, file: str = "", line: bytes = b"\r\n") -> bytes:
    about = f'Content-Disposition: form-data; name="{name}"'
    head = [about + (f'; filename="{file}"' if file else "")]
    head += [f"Content-Type: {kind}"] if kind else []
    return line.join([b"--MIME_boundary", *(each.encode() for each in head), b"", body, b""])


def form(*parts: bytes, end: bytes = b"--MIME_boundary--\r\n") -> bytes:
    return b"".join(parts) + end


def messages(body: bytes, *, step: int = 0) -> list[bytes]:
    found = Multipart("MIME_boundary")
    for start in range(0, len(body), step or len(body)):
        found.feed(body[start : start + (step or len(body))])
    found.end()
    return found.messages


_PICTURES = (
    part("licensePlatePicture.jpg", _PICTURE, "image/jpeg"),
    part("detectionPicture", _PICTURE, "image/jpeg", file="detectionPicture.jpg"),
)

_FORMS: dict[str, tuple[bytes, list[bytes]]] = {
    "by its type": (form(part("event", _XML, "application/xml"), *_PICTURES), [_XML]),
    "with a charset": (form(part("e", _XML, 'text/xml; charset="UTF-8"')), [_XML]),
    "a kind of JSON": (form(part("e", _JSON, "application/vnd.a+json")), [_JSON]),
    "by its name": (form(*_PICTURES, part("anpr.xml", _XML)), [_XML]),
    "by its file's name": (
        form(part("file1", _XML, "application/octet-stream", file="anpr.XML"), *_PICTURES),
        [_XML],
    ),
    "by how it begins": (form(part("AccessEvent", b"\xef\xbb\xbf " + _JSON)), [b" " + _JSON]),
    "text that is none": (form(part("note", b"front gate"), part("e", _JSON)), [_JSON]),
    "the part `json` alone": (form(part("meta.xml", _XML), part("json", _JSON)), [_JSON]),
    "two events": (
        form(part("MoveDetection.xml", _XML, "application/xml"), part("anpr.xml", _XML)),
        [_XML, _XML],
    ),
    "line feeds alone": (form(part("anpr.xml", _XML, "text/xml", line=b"\n")), [_XML]),
    "no line break before the boundary": (
        form(part("anpr.xml", _XML)[:-2], _PICTURES[0][:-2], part("b.xml", _XML)),
        [_XML, _XML],
    ),
    "a boundary twice": (form(b"--MIME_boundary\r\n", part("anpr.xml", _XML)), [_XML]),
    "a line break too many": (
        form(part("anpr.xml", _XML, "text/xml").replace(b"boundary\r\n", b"boundary\n\r\n")),
        [_XML],
    ),
    "no last boundary": (form(_PICTURES[0], part("anpr.xml", _XML), end=b""), [_XML]),
    "a preamble and an epilogue": (b"a\r\n" + form(part("a.xml", _XML)) + b"--x", [_XML]),
    "a longer boundary within": (
        form(part("e", b'{"a": "--MIME_boundaryless"}')),
        [b'{"a": "--MIME_boundaryless"}'],
    ),
    "no headers": (form(b"--MIME_boundary\r\n\r\n" + _JSON + b"\r\n"), [_JSON]),
    "pictures alone": (form(*_PICTURES), []),
    "empty": (form(), []),
}


@pytest.mark.parametrize("name", _FORMS)
def test_the_messages_of_a_form(name: str) -> None:
    body, wanted = _FORMS[name]
    for step in (0, 1, 7, 64, 1000):
        assert messages(body, step=step) == wanted, step


@pytest.mark.parametrize("name", ["by its type", "two events", "line feeds alone", "empty"])
def test_the_first_line_is_the_boundary_if_the_type_has_none(name: str) -> None:
    body, wanted = _FORMS[name]
    assert looks_multipart(body) == (name != "empty")
    for step in (1, 7, 10_000):
        found = Multipart(None)
        for start in range(0, len(body), step):
            found.feed(body[start : start + step])
        if wanted:
            found.end()
            assert found.messages == wanted
        else:
            with pytest.raises(FormError, match="Content-Type has no boundary"):
                found.end()


@pytest.mark.parametrize("body", [_XML, _JSON, b"", b"--", b"-- \r\n", b"--a\r\nb", b"a=--b"])
def test_what_does_not_look_like_a_form(body: bytes) -> None:
    assert not looks_multipart(body)
    found = Multipart(None)
    with pytest.raises(FormError, match="Content-Type has no boundary"):
        found.feed(body + b" " * 1000)


def test_what_is_whole_counts_if_the_rest_is_cut() -> None:
    body = form(part("anpr.xml", _XML), *_PICTURES)
    cut = Multipart("MIME_boundary")
    cut.feed(body[: len(body) // 2])
    assert cut.messages == [_XML]
    short = Multipart("MIME_boundary")
    short.feed(part("anpr.xml", _XML)[:-10])
    assert short.messages == []


def test_pictures_are_not_held() -> None:
    found = Multipart("MIME_boundary")
    found.feed(part("picture", b"", "image/jpeg"))
    for _ in range(1000):
        found.feed(_PICTURE)
        assert len(found._buffer) < 2 * len(_PICTURE)


@pytest.mark.parametrize(
    ("body", "rule"),
    [
        (b"", "has no boundary"),
        (_JSON, "has no boundary"),
        (b"--MIME_boundary\r\nContent-Disposition: form", "ends in the headers of a part"),
        (b"--MIME_boundary\r\nContent-Type: " + b"a" * 100_000, "headers are too long"),
        (form(part("a", b"", "multipart/mixed; boundary=b")), "has a form within a form"),
        (form(*(65 * [part("a.xml", _XML)])), "has more than 64 messages"),
    ],
)
def test_what_is_no_form(body: bytes, rule: str) -> None:
    with pytest.raises(FormError, match=rule):
        messages(body or b"\r\n")


def test_noise_is_no_bug() -> None:
    """Pieces of forms in any order, cut anywhere: messages or FormError, and bounded."""
    pieces = [
        b"--MIME_boundary",
        b"--",
        b"\r\n",
        b"\n",
        b"Content-Type: text/xml",
        _XML,
        b" ",
        b"{",
    ]
    chance = random.Random(7)
    for _ in range(500):
        body = b"".join(chance.choices(pieces, k=chance.randrange(1, 30)))
        found = Multipart("MIME_boundary")
        try:
            for start in range(0, len(body), 5):
                found.feed(body[start : start + 5])
            found.end()
        except FormError:
            pass
        assert sum(map(len, found.messages)) <= len(body)


@pytest.mark.parametrize(
    ("text", "boundary"),
    [
        ("multipart/form-data; boundary=MIME_boundary", "MIME_boundary"),
        ('multipart/mixed; charset=x; BOUNDARY = "a b"', "a b"),
        ("multipart/form-data;boundary=----7daf;x=y", "----7daf"),
        ("multipart/form-data", None),
        ('multipart/form-data; boundary=""', None),
        ("multipart/form-data; boundary=MIME_boundary_a/b+c==", "MIME_boundary_a/b+c=="),
    ],
)
def test_the_boundary(text: str, boundary: str | None) -> None:
    assert boundary_of(text) == boundary


def test_a_boundary_that_is_too_long() -> None:
    with pytest.raises(FormError, match="too long a boundary"):
        boundary_of("multipart/form-data; boundary=" + "a" * 201)


@pytest.mark.parametrize(
    ("body", "wanted"),
    [
        (_JSON, _JSON),
        (b"\xef\xbb\xbf" + _JSON, _JSON),
        (b"json=" + _JSON, _JSON),
        (b"JSON=" + quote_plus(_JSON).encode(), _JSON),
        (b"hook=1&json=" + quote_plus(_JSON).encode() + b"&upload=2", _JSON),
        (b"json=" + quote_plus(b"\xef\xbb\xbf\n" + _JSON).encode(), b"\n" + _JSON),
        (b"myjson=1&payload=" + quote_plus(_XML).encode(), _XML),
        (b"a={1}&json=%7B%7D", b"{}"),
        (b"a={1}&b=2", b"{1}&b=2"),
        (b"plate=XY12", b"plate=XY12"),
        (b"&=&json", b""),
        (b"", b""),
    ],
)
def test_a_message_as_a_field(body: bytes, wanted: bytes) -> None:
    assert unwrapped(body) == wanted


def test_a_form_of_very_many_fields() -> None:
    body = b"a&" * limits.INGEST_FORM_FIELDS + b"json={}"
    assert unwrapped(body) == body
