"""Records to be written in batches: of any kind that a producer sends."""

from __future__ import annotations

from hypothesis import strategies as st

from engine.wire.record_encoder import written_header, written_length
from tests.fakes.record_batches import Sent

#: Around where a length takes another byte, and beyond the lengths that are kept.
_LONG = [63, 64, 4095, 4096, 8191, 8192, 70_000]
_SOME = st.binary(max_size=40) | st.sampled_from(_LONG).map(bytes)
RECORDS = st.builds(
    lambda key, value, headers: Sent(key, value, headers),
    _SOME,
    st.none() | _SOME,
    st.lists(st.tuples(st.text(max_size=9), _SOME), max_size=3).map(tuple),
)


class Written:
    """A record with its headers written."""

    def __init__(self, sent: Sent) -> None:
        assert sent.key is not None
        self.key = sent.key
        self.value = sent.value
        headers = [written_header(name, value or b"") for name, value in sent.headers]
        self.headers = written_length(len(headers)) + b"".join(headers)
