"""The output of `entries import` and `entries sync`: bad rows, the difference, the result.

Bad rows go to standard error, one line each, with the file's name and line. With `--json`
standard output is JSON: one document for the result, or, in a dry run, one a line for each entry
to be added, changed or removed, or invalid.
"""

from __future__ import annotations

from pathlib import Path

import click

from engine.cli.output import counted, json_line, plain, remark
from engine.list_files.difference import Difference
from engine.list_files.list_state import ListState
from engine.list_files.notes import Notes
from engine.list_files.parsed_file import FileEntries
from engine.list_files.text import EntryFileError


class Report:
    """The output of one command."""

    def __init__(self, path: Path, topic: str, *, as_json: bool) -> None:
        self.topic = topic
        self.notes = Notes()
        self._path = path
        self._as_json = as_json
        self._bad: list[tuple[int, str]] = []

    def bad_row(self, line: int, problem: str) -> None:
        """Report what is wrong with a row."""
        remark(f"{self._path}: line {line}: {problem}")
        if self._as_json:
            self._bad.append((line, problem))

    def noted(self) -> None:
        """Report the rows that were left out and the values that were left empty."""
        for line in self.notes.lines():
            remark(f"{self._path}: {line}")

    def problems(self, file: FileEntries, found: Difference) -> None:
        """Report the rows that conflict with the entries on the topic."""
        lines, known = file.lines, file.repeats()
        for place, problem in sorted(found.problems.items()):
            if place not in known:
                self.bad_row(int(lines[place]), problem)

    def judge(self, file: FileEntries, found: Difference | None, *, skip_invalid: bool) -> None:
        """Raise EntryFileError if there are bad rows that may not be skipped."""
        bad = _bad_count(file, found)
        if bad and not skip_invalid:
            rows = file.bad + len(file)
            all_rows = "1 row is" if rows == 1 else f"{rows} rows are"
            raise EntryFileError(
                f"{bad} of {all_rows} bad, nothing was sent",
                where=str(self._path),
                hint="--skip-invalid sends the others",
            )

    def not_removed(self, file: FileEntries, found: Difference, list_id: str) -> None:
        """Report that bad rows keep the sync from removing entries."""
        if found.not_removed:
            bad = file.bad_unknown(list_id)
            remark(
                f"{self._path}: nothing was removed, because {bad} bad "
                f"{'row does' if bad == 1 else 'rows do'} not say for which entry; without "
                f"{'it' if bad == 1 else 'them'} {found.not_removed} would be removed"
            )

    def left_alone(self, found: Difference, list_id: str) -> None:
        """Report the entries of agencies that a sync does not name."""
        if found.left_alone:
            count = sum(found.left_alone.values())
            agencies = sorted(found.left_alone)
            named = ", ".join(map(plain, agencies[:_SHOWN_AGENCIES]))
            more = len(agencies) - _SHOWN_AGENCIES
            remark(
                f"list {list_id} also holds {count} {'entry' if count == 1 else 'entries'} of "
                f"{named}{f' and {more} more agencies' if more > 0 else ''}, not named by the file "
                "or --agency; left as they are, --take-over makes the sync theirs too"
            )

    def dry_run(self, file: FileEntries, found: Difference, state: ListState) -> None:
        """Print the difference."""
        counts = counts_of(file, found)
        if not self._as_json:
            shown = ", ".join(f"{count} {what}" for what, count in counts.items())
            click.echo(f"dry run, nothing was sent: {shown}")
            return
        for what, key, _ in found.records(file):
            json_line({"change": what, "entry_id": key.decode()})
        for place in found.removed.tolist():
            entry_id = state.entry_id(place).decode(errors="replace")
            json_line({"change": "removed", "entry_id": entry_id})
        for line, problem in sorted(self._bad):
            json_line({"change": "invalid", "line": line, "problem": problem})
        remark(", ".join(f"{count} {what}" for what, count in counts.items()))

    def imported(self, file: FileEntries, found: Difference | None) -> None:
        """Report the result of an import."""
        counts = counts_of(file, found)
        counts.pop("removed")
        if self._as_json:
            counts["left_out"] = self.notes.left_out
            json_line(counts)
            return
        sent = counts["added"] + counts["changed"]
        of_these = ""
        if counts["changed"] or counts["unchanged"]:
            of_these = f" ({counts['added']} added, {counts['changed']} changed)"
            of_these += f", {counts['unchanged']} unchanged" if counts["unchanged"] else ""
        click.echo(
            f"sent {counted(sent, 'entry', 'entries')} to {self.topic}{of_these}"
            f"{_skipped(counts['invalid'])}"
        )
        self._say_expired(found)

    def synced(
        self, file: FileEntries, found: Difference, list_id: str, revision: int | None
    ) -> None:
        """Report the result of a sync; `revision` is None if nothing was sent."""
        counts = counts_of(file, found)
        if self._as_json:
            counts["not_removed"] = found.not_removed
            counts["left_out"] = self.notes.left_out
            counts["left_alone"] = sum(found.left_alone.values())
            json_line({"list_id": list_id, **counts, "list_revision": revision})
        elif revision is None:
            click.echo(
                f"list {plain(list_id)} is as the file says, nothing was sent: "
                f"{counts['unchanged']} unchanged{_skipped(counts['invalid'])}"
            )
        else:
            shown = ", ".join(f"{counts[what]} {what}" for what in _DONE)
            click.echo(
                f"list {plain(list_id)}: {shown}{_skipped(counts['invalid'])}; "
                f"list revision {revision}"
            )
        self._say_expired(found)

    def _say_expired(self, found: Difference | None) -> None:
        if found is not None and found.expired:
            remark(
                f"entries that stand but have expired: {found.expired}; new dates in the file, or "
                "a sync with --renew and --expires-in, let them match again"
            )


_SHOWN_AGENCIES = 5
_DONE = ("added", "changed", "removed", "unchanged")


def _bad_count(file: FileEntries, found: Difference | None) -> int:
    return file.bad + len(file.repeats() if found is None else found.problems)


def counts_of(file: FileEntries, found: Difference | None) -> dict[str, int]:
    """Return how many entries are added, changed, removed and unchanged, and the invalid rows."""
    return {
        "added": found.added_count if found else 0,
        "changed": found.changed_count if found else 0,
        "removed": len(found.removed) if found else 0,
        "unchanged": found.unchanged if found else 0,
        "invalid": _bad_count(file, found),
    }


def _skipped(count: int) -> str:
    return f", skipped {count} bad {'row' if count == 1 else 'rows'}" if count else ""
