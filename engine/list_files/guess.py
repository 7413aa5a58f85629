"""A profile proposed for a file: delimiter, header, columns, dates.

The names of the columns decide first (`column_names`), then what their values look like. A profile
that we ship is the base if it has most of the columns. What the file leaves open stays open in the
proposal: whether 03/04/2026 is in March or April, and which purpose a category is. Only the
beginning of a file is looked at.

Pure.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO, Final, NamedTuple

from engine.list_files import guess_values
from engine.list_files.column_names import probable_field, profile_line, toml_text
from engine.list_files.entry_fields import TIMES, quoted
from engine.list_files.guess_sample import is_header_row, sample_of
from engine.list_files.guess_values import SHARE
from engine.list_files.profile import DELIMITERS, OTHERS
from engine.list_files.profile_files import caseless, merged, shipped
from engine.list_files.text import Encoding, EntryFileError

_SHOWN_VALUES: Final = 20


class Guess(NamedTuple):
    """A proposed profile as TOML, and what to say about it.

    It is `whole` if it can be used as it is; otherwise the text says what to choose.
    """

    text: str
    remarks: tuple[str, ...]
    whole: bool


def guess_profile(file: BinaryIO, path: Path, encoding: Encoding) -> Guess:
    """Propose a profile for an open file. Raises EntryFileError if there is nothing to go by."""
    ending = path.suffix.lower()
    sample = sample_of(file, path, encoding)
    width = Counter(map(len, sample.rows)).most_common(1)[0][0] if sample.rows else 0
    if not width:
        raise EntryFileError("has no rows to go by", where=str(path))
    proposal = _Proposal(ending, sample.delimiter)
    if encoding.name != "UTF-8":
        proposal.remarks.append(f"the text is {encoding.name}; set --encoding windows-1252")
    names = sample.names
    rows = sample.rows
    if names is None:
        # A title above the table has one cell with text; it may have as many cells as the others.
        title = next(
            at
            for at, row in enumerate([*rows, ["x"] * width])
            if len(row) == width and 2 * sum(map(bool, map(str.strip, row))) >= width
        )
        title = 0 if title == len(rows) else title
        proposal.skip(sample.lines[title - 1] if title else 0)
        rows = rows[title:]
        if is_header_row(rows):
            names, rows = rows[0], rows[1:]
    rows = [row for row in rows if len(row) == width]
    columns = [[row[at].strip() for row in rows if row[at].strip()] for at in range(width)]
    proposal.columns(names, columns)
    return proposal.guess()


class _Proposal:
    """The lines of a profile, as they come to light."""

    def __init__(self, ending: str, delimiter: str | None) -> None:
        self.remarks: list[str] = []
        self._ending = ending
        self._delimiter = delimiter
        self._head: list[str] = []
        self._tables: dict[str, list[str]] = {}
        self._whole = True

    def skip(self, lines: int) -> None:
        """Skip lines above the header."""
        if lines:
            self._head.append(f"skip_lines = {lines}")
            self.remarks.append(f"{lines} line{'s' if lines > 1 else ''} above the rows, skipped")

    def columns(self, names: Sequence[str] | None, columns: Sequence[Sequence[str]]) -> None:
        """Assign fields to the columns, by their names or by their values."""
        fields = self._fields(names, columns)
        shown = names if names is not None else [f"column{at}" for at in range(1, len(columns) + 1)]
        known = {field: columns[at] for at, field in enumerate(fields) if field is not None}
        base = _base(names) if names is not None else None
        if base is None:
            base = self._base_of_values(known)
            self._head += ["normalize = true"]
            if names is None:
                self._head.append("header = false")
                self.remarks.append("no header row: the columns are known by their values")
        else:
            self.remarks.append(f"the columns are those of profile {base}")
        own = _columns_of(base)
        self._tables["columns"] = [
            profile_line(name.strip() or f"column{at}", field)
            for at, (name, field) in enumerate(zip(shown, fields, strict=True), start=1)
            if name.strip() and caseless(name) not in own
        ]
        if base is not None:
            self._head.insert(0, f"base = {toml_text(base)}")
        self._name_ending(base)
        self._name_delimiter(base)
        for name, field in zip(shown, fields, strict=True):
            if field is None and caseless(name) not in own and name.strip():
                self.remarks.append(f"column {quoted(name)} is skipped: no field is known for it")
        if "plate" not in fields:
            self._whole = False
            self.remarks.append('no column looks like plates: set one of them to "plate"')
        self._values(base, known)
        self._dates(base, [value for field in TIMES for value in known.get(field, ())])

    def _fields(
        self, names: Sequence[str] | None, columns: Sequence[Sequence[str]]
    ) -> list[str | None]:
        fields: list[str | None] = [None] * len(columns)
        if names is not None:
            base = _base(names)
            own = {} if base is None else _columns_of(base)
            for at, name in enumerate(names[: len(fields)]):
                fields[at] = own.get(caseless(name)) or probable_field(name)
        if "plate" not in fields:
            free = [at for at, field in enumerate(fields) if field is None]
            best = max(free, key=lambda at: guess_values.plates(columns[at]), default=None)
            if best is not None and guess_values.plates(columns[best]) >= SHARE / 2:
                fields[best] = "plate"
        if names is None:
            times = iter(("starts_at", "expires_at"))
            for at, values in enumerate(columns):
                if fields[at] is None and values:
                    fields[at] = _field_of(values)
                    if fields[at] is None and guess_values.are_dates(values):
                        fields[at] = next(times, None)
        return fields

    def _name_ending(self, base: str | None) -> None:
        table = {} if base is None else merged(base)[1]
        if self._ending not in (*table.get("endings", (".csv", ".jsonl")), ".xlsx"):
            self._head.append(f'endings = [".csv", {toml_text(self._ending)}]')

    def _name_delimiter(self, base: str | None) -> None:
        table = {} if base is None else merged(base)[1]
        delimiter = self._delimiter
        names = {value: name for name, value in DELIMITERS.items()}
        if delimiter is not None and table.get("delimiter") != names[delimiter]:
            self._head.append(f"delimiter = {toml_text(names[delimiter])}")

    def _base_of_values(self, known: dict[str, Sequence[str]]) -> str | None:
        """Return the shipped profile whose tables fit the values."""
        if guess_values.share_in(known.get("purpose", ()), "categories", "purpose") >= SHARE / 2:
            return "categories"
        states = known.get("region", ())
        return (
            "north_america"
            if guess_values.share_in(states, "north_america", "region") >= SHARE
            else None
        )

    def _values(self, base: str | None, known: dict[str, Sequence[str]]) -> None:
        table = {} if base is None else merged(base)[1]
        values = table.get("values", {})
        purposes = known.get("purpose")
        if purposes:
            missing = (
                guess_values.unlisted(purposes, base, "purpose")
                if base is not None and "purpose" in values
                else list(dict.fromkeys(purposes))
            )
            leaves_out = "unlisted" in table and table["unlisted"].get("purpose") == "leave_out"
            if missing and not leaves_out:
                self._tables["values.purpose"] = [
                    f'# {toml_text(value)} = "stolen_vehicle"' for value in missing[:_SHOWN_VALUES]
                ]
                self.remarks.append(
                    "categories without a purpose: "
                    f"{', '.join(map(quoted, missing[:_SHOWN_VALUES]))}; give each one under "
                    "[values.purpose]"
                )
        states = known.get("region", ())
        if states and "region" not in values and guess_values.regions(states) < 1:
            self._tables["unlisted"] = ['region = "drop"']
            self.remarks.append(
                "regions are not in ISO 3166: list them under [values.region]; others stay empty"
            )

    def _dates(self, base: str | None, values: Sequence[str]) -> None:
        if not values:
            return
        own = {} if base is None else merged(base)[1].get("dates", {})
        found = guess_values.dates(values)
        if found.unread:
            self._whole = False
            self.remarks.append(
                f"dates that no form reads: {', '.join(map(quoted, found.unread))}; set dates.forms"
            )
        if not found.unread and set(found.forms) <= set(own.get("forms", ())):
            return
        lines = [] if "time_zone" in own else ['time_zone = "UTC"']
        if not any("H" in form or "I" in form for form in found.forms) and not own.get("through"):
            lines.append('through = ["expires_at"]')
        if found.others:
            self._whole = False
            lines += [
                "# Choose one: the file does not say whether day or month comes first.",
                f"# forms = {_texts(found.forms)}",
                f"# forms = {_texts(found.others)}",
                "forms = []",
            ]
            self.remarks.append(
                f"dates such as {quoted(values[0])} may have the day or the month first: choose in "
                "dates.forms"
            )
        else:
            lines.append(f"forms = {_texts(found.forms)}")
        self._tables["dates"] = lines

    def guess(self) -> Guess:
        """Return the proposal."""
        lines = ['title = "Proposed; read it before you use it"', *self._head]
        for name, content in self._tables.items():
            if content:
                lines += ["", f"[{name}]", *content]
        return Guess("\n".join(lines) + "\n", tuple(self.remarks), self._whole)


def _base(names: Sequence[str]) -> str | None:
    """Return the shipped profile that knows most of these columns, a plate among them."""
    wanted = {caseless(name) for name in names if name.strip()}
    best, known = None, 0
    for name in shipped():
        columns = _columns_of(name)
        found = wanted & columns.keys()
        if any(columns[each] == "plate" for each in found) and len(found) > known:
            whole = wanted == found
            if whole or (name != "hotlist" and len(found) >= 2 and 2 * len(found) > len(wanted)):
                best, known = name, len(found)
    return best


def _columns_of(name: str | None) -> dict[str, str | None]:
    """Return a shipped profile's columns; those that are skipped have no field."""
    if name is None:
        return {}
    columns = merged(name)[1].get("columns", {})
    return {
        caseless(each): field if isinstance(field, str) else None
        for each, field in columns.items()
        if each != OTHERS
    }


def _field_of(values: Sequence[str]) -> str | None:
    if guess_values.share_in(values, "categories", "purpose") >= SHARE:
        return "purpose"
    if guess_values.share_in(values, "north_america", "region") >= SHARE:
        return "region"
    return "region" if guess_values.regions(values) >= SHARE else None


def _texts(texts: Sequence[str]) -> str:
    return f"[{', '.join(map(toml_text, texts))}]"
