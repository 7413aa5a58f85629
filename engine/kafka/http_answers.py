"""The bodies of answers to our HTTP requests, of a bounded size.

aiohttp's own `read(n)` returns what has arrived so far, not what is to come.
"""

from __future__ import annotations

import aiohttp


async def body_of(answer: aiohttp.ClientResponse, most_bytes: int) -> bytes | None:
    """Return the body of an answer; None if it is larger than `most_bytes`."""
    body = bytearray()
    async for chunk in answer.content.iter_any():
        body += chunk
        if len(body) > most_bytes:
            return None
    return bytes(body)
