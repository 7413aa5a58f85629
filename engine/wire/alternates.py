"""The alternates of a read: which of them its header requests, and in which order they are tried.

The header `alternates` holds their normal forms, in UTF-8, joined by commas. The header requests
them, so that no value is decoded needlessly; the value confirms them. So an alternate counts if the
header names its normal form and the value has one with that form. A malformed header is no error:
all alternates of the value are then tried. An empty header requests none.

Pure.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from engine import limits
from engine.documents.fields import ALTERNATES_HEADER
from engine.documents.model import Alternate, Detection
from engine.plates.normal_form import PlateError, is_normal, normalize

#: The normal forms that a header requests; None means all that the value has.
Asked = frozenset[str] | None

NONE_ASKED: Asked = frozenset()


def asked_by(headers: Iterable[tuple[str, bytes | None]]) -> Asked:
    """Return the alternates that a read's headers request; None if the header is malformed."""
    return asked_for([value for name, value in headers if name == ALTERNATES_HEADER])


def asked_for(values: Sequence[bytes | None]) -> Asked:
    """Return the same as `asked_by`, from the values of all headers with that name."""
    if len(values) > 1:
        return None
    if not values or not values[0]:
        return NONE_ASKED
    # Checked before it is split, because a header may be as large as a batch.
    if len(values[0]) > limits.ALTERNATES * (limits.PLATE_BYTES + 1):
        return None
    try:
        parts = values[0].decode().split(",")
    except UnicodeDecodeError:
        return None
    if len(parts) > limits.ALTERNATES or not all(map(is_normal, parts)):
        return None
    return frozenset(parts)


def to_try(read: Detection, plate: str, asked: Asked) -> list[tuple[str, Alternate]]:
    """Return the alternates that count, each with its normal form, in the order to try them.

    The most confident comes first, and those without a confidence come last; otherwise the value's
    order counts. `plate` is the read's own plate in normal form, which is no alternate. If several
    have the same normal form, only the most confident counts.
    """
    if not read.alternates or asked == NONE_ASKED:
        return []
    found: dict[str, Alternate] = {}
    for alternate in sorted(read.alternates, key=_confidence, reverse=True):
        try:
            normal = normalize(alternate.plate)
        except PlateError:
            continue
        if normal != plate and (asked is None or normal in asked):
            found.setdefault(normal, alternate)
    return list(found.items())


def _confidence(alternate: Alternate) -> float:
    return -1.0 if alternate.confidence is None else alternate.confidence
