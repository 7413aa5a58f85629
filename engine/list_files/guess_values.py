"""What the values of an unknown column look like: plates, regions, categories, dates.

Pure.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence
from datetime import UTC
from typing import Final, NamedTuple

from engine.documents.fields import REGION_PATTERN
from engine.list_files.date_formats import DateForms
from engine.list_files.profile_files import caseless, merged

#: The share of values that must look like what a column is taken for.
SHARE: Final = 0.8

_PLATE: Final = re.compile(r"(?=.*[0-9])[^\W_](?:[^\W_]|[ .·-](?=[^\W_])){3,11}")
_REGION: Final = re.compile(REGION_PATTERN)
_YEAR_FIRST: Final = ("%Y-%m-%d", "%Y/%m/%d", "%Y-%-m-%-d", "%Y/%-m/%-d", "%Y%m%d", "%Y.%-m.%-d")
_MONTH_FIRST: Final = ("%-m/%-d/%Y", "%-m-%-d-%Y", "%-m/%-d/%y", "%-m.%-d.%Y", "%m%d%Y")
_DAY_FIRST: Final = ("%-d/%-m/%Y", "%-d-%-m-%Y", "%-d/%-m/%y", "%-d.%-m.%Y", "%d%m%Y")
_NAMED: Final = ("%-d-%b-%Y", "%-d-%b-%y", "%-d %b %Y", "%b %-d, %Y", "%b %-d %Y")
_CLOCKS: Final = (
    "", " %-H:%M", " %-H:%M:%S", " %-I:%M %p", " %-I:%M:%S %p", "T%H:%M:%S", "T%H:%M:%SZ",
    "T%H:%M:%S.%fZ", "T%H:%M:%S.%f", "T%H:%M",
)  # fmt: skip
_SHOWN: Final = 5


class Dates(NamedTuple):
    """The formats that read all values of the date columns.

    `others` has those with day and month the other way, if they read all of them too; `unread` has
    values that no format reads.
    """

    forms: tuple[str, ...]
    others: tuple[str, ...] = ()
    unread: tuple[str, ...] = ()


def plates(values: Sequence[str]) -> float:
    """Return the share of values that look like plates; repeated values look less so."""
    if not values:
        return 0.0
    like = sum(_PLATE.fullmatch(value) is not None for value in values) / len(values)
    return like * (0.5 + 0.5 * len(set(values)) / len(values))


def share_in(values: Sequence[str], profile: str, field: str) -> float:
    """Return the share of values that a shipped profile lists for a field."""
    table = merged(profile)[1]["values"][field]
    known = {caseless(value) for value in table}
    return _share([caseless(value) in known for value in values])


def unlisted(values: Sequence[str], profile: str, field: str) -> list[str]:
    """Return the values that a shipped profile does not list for a field, each once."""
    known = {caseless(value) for value in merged(profile)[1]["values"][field]}
    return [value for value in dict.fromkeys(values) if caseless(value) not in known]


def regions(values: Sequence[str]) -> float:
    """Return the share of values that are codes of ISO 3166 as an entry has them."""
    return _share([_REGION.fullmatch(value) is not None for value in values])


def dates(values: Sequence[str]) -> Dates:
    """Return the formats that read these values."""
    wanted = list(dict.fromkeys(values))
    orders = [
        _covering(wanted, (*_YEAR_FIRST, *_NAMED, *order)) for order in (_MONTH_FIRST, _DAY_FIRST)
    ]
    best, other = sorted(orders, key=lambda found: len(found.unread))
    if best.unread or other.unread or best.forms == other.forms:
        return best
    return Dates(best.forms, other.forms)


def are_dates(values: Sequence[str]) -> bool:
    """Return whether all values are dates in some format."""
    return bool(values) and not dates(values).unread


def _covering(values: Sequence[str], days: Sequence[str]) -> Dates:
    left, forms = list(values), []
    for form in itertools.starmap("{}{}".format, itertools.product(days, _CLOCKS)):
        if not left:
            break
        rest = [value for value in left if not _reads(form, value)]
        if len(rest) < len(left):
            forms.append(form)
            left = rest
    return Dates(tuple(forms), (), tuple(left[:_SHOWN]))


_known: dict[str, DateForms] = {}


def _reads(form: str, value: str) -> bool:
    forms = _known.get(form)
    if forms is None:
        forms = _known[form] = DateForms([form], UTC)
    try:
        forms.read(value, False)
    except ValueError:
        return False
    return True


def _share(found: Sequence[bool]) -> float:
    return sum(found) / len(found) if found else 0.0
