"""The messages of a request: its body, read within bounds and in whatever form it comes.

aiohttp has many errors for what a client sends. Here each is BrokenBodyError with the result that
counts it and the rule that the body breaks, TimeoutError, or one of aiohttp's own with a status.
"""

from __future__ import annotations

import asyncio

from aiohttp import web
from aiohttp.http_exceptions import ContentEncodingError

from engine import limits
from engine.ingest.forms import FormError, Multipart, boundary_of, looks_multipart, unwrapped

#: Results that share the status 400 with "bad": the body's encoding, its form, the rest.
_BROKEN_ENCODING = "broken_encoding"
_BROKEN_FORM = "broken_form"
_BROKEN_BODY = "broken_body"


class BrokenBodyError(Exception):
    """A body cannot be read; it holds the result that counts it and the rule that it broke."""

    def __init__(self, result: str, rule: str) -> None:
        super().__init__(rule)
        self.result = result


async def fields_of(request: web.Request) -> bytes:
    """Return the fields of a request's query and of its body, without the token.

    Raises BrokenBodyError if the body cannot be read or is no form of fields, and TimeoutError.
    """
    if request.content_type.startswith("multipart/"):
        raise BrokenBodyError(_BROKEN_FORM, "is multipart, and only urlencoded forms have fields")
    try:
        async with asyncio.timeout(limits.INGEST_RECEIVE_S):
            body = await request.read()
    except Exception as error:
        if isinstance(error, web.HTTPException | TimeoutError):
            raise
        raise _broken(error, is_form=False) from None
    query = request.raw_path.partition("?")[2].encode("utf-8", "surrogateescape")
    fields = [each for each in query.split(b"&") if each.partition(b"=")[0] != b"token"]
    return b"&".join(filter(None, [*fields, body.strip()]))


async def messages_of(request: web.Request) -> tuple[list[bytes], bool]:
    """Return the messages of a request, and whether its body came whole.

    Raises BrokenBodyError if there are none, whatever the client sends, and TimeoutError.
    """
    is_form = request.content_type.startswith("multipart/")
    form: Multipart | None = None
    try:
        async with asyncio.timeout(limits.INGEST_RECEIVE_S):
            if is_form:
                form = Multipart(boundary_of(request.headers.get("Content-Type", "")))
                await _passed_through(request, form)
            else:
                body = await request.read()
                if not looks_multipart(body):
                    return [unwrapped(body)], True
                is_form, form = True, Multipart(None)
                form.feed(body)
                form.end()
    except Exception as error:
        if form is not None and form.messages:
            return form.messages, False  # cameras cut the last picture
        if isinstance(error, web.HTTPException | TimeoutError):
            raise
        raise _broken(error, is_form=is_form) from None
    if not form.messages:
        raise BrokenBodyError(_BROKEN_FORM, "is a form without a message in JSON or XML")
    return form.messages, True


async def _passed_through(request: web.Request, form: Multipart) -> None:
    room_bytes = limits.INGEST_MESSAGE_BYTES
    async for chunk in request.content.iter_any():
        form.feed(chunk[:room_bytes])
        room_bytes -= len(chunk)
        if room_bytes < 0:
            raise web.HTTPRequestEntityTooLarge(
                max_size=limits.INGEST_MESSAGE_BYTES,
                actual_size=limits.INGEST_MESSAGE_BYTES - room_bytes,
            )
    form.end()


def _broken(error: Exception, *, is_form: bool) -> BrokenBodyError:
    """Say what is wrong with a body; aiohttp has many errors for what a client sends."""
    if _is_encoding(error):
        return BrokenBodyError(_BROKEN_ENCODING, "is not what its Content-Encoding says")
    if isinstance(error, FormError):
        return BrokenBodyError(_BROKEN_FORM, str(error))
    if is_form:
        return BrokenBodyError(_BROKEN_FORM, "is not a form as its Content-Type says")
    return BrokenBodyError(_BROKEN_BODY, "is not as long as it says")


def _is_encoding(error: BaseException | None) -> bool:
    """Return whether a content encoding is the cause of an error."""
    while error is not None:
        if isinstance(error, ContentEncodingError):
            return True
        error = error.__cause__ or error.__context__
    return False
