"""What holds for every adapter, whatever it is sent."""

from __future__ import annotations

from engine.documents.codec import decode_detection, encode
from engine.ingest.adapters import Adapter, AdapterError, Site
from engine.plates.normal_form import normalize


def reads_or_errors(adapter: Adapter, sent: bytes, secret: str) -> None:
    """There are good reads, each with a key, or clear errors that do not have the secret."""
    try:
        adapted = adapter(sent, Site("city-north", "US"))
    except AdapterError as error:
        problems = [error]
    else:
        problems = list(adapted.problems)
        for read in adapted.reads:
            assert decode_detection(encode(read)) == read
            assert normalize(read.plate)
            assert read.source == "city-north"
            assert all(normalize(other.plate) for other in read.alternates or ())
    for problem in problems:
        assert "\n" not in str(problem)
        assert secret not in str(problem)
