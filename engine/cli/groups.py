"""How the commands show their help, and what they answer to a name that there is not.

A group lists its commands with whole sentences, wrapped at words in the width of the terminal.
click would cut them off after 45 characters. A command lists its own flags before the settings, and
the connection to the brokers last: it is the same for every command, and longer than all the rest.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final

import click

from engine.errors import did_you_mean

#: Lines longer than this are hard to read, however wide the terminal is.
_WIDTH: Final = 100
#: Stands for a hyphen while lines are wrapped; no help has this one.
_UNBROKEN: Final = "\N{NON-BREAKING HYPHEN}"

#: Where a flag stands in the help, unless it is an `Option` with a heading of its own.
_OWN: Final = "Options"
SETTINGS_HEADING: Final = "Settings"
CONNECTION_HEADING: Final = "Connection to the brokers"
_HEADINGS: Final = (_OWN, SETTINGS_HEADING, CONNECTION_HEADING)


class _Formatter(click.HelpFormatter):
    """Wraps lines at spaces alone; click breaks `SCRAM-SHA-256` and flags at their hyphens too."""

    def write_text(self, text: str) -> None:
        """Write paragraphs."""
        super().write_text(text.replace("-", _UNBROKEN))

    def write_dl(self, rows: Sequence[tuple[str, str]], *args: Any, **options: Any) -> None:
        """Write terms and what they mean."""
        whole = [(term, text.replace("-", _UNBROKEN)) for term, text in rows]
        super().write_dl(whole, *args, **options)

    def getvalue(self) -> str:
        """Return what was written."""
        return super().getvalue().replace(_UNBROKEN, "-")


class _Context(click.Context):
    formatter_class = _Formatter


class Option(click.Option):
    """A flag that stands under a heading in the help."""

    def __init__(self, *args: Any, heading: str, **attributes: Any) -> None:
        super().__init__(*args, **attributes)
        self.heading = heading


class Command(click.Command):
    """A command; see the module."""

    context_class = _Context

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse its flags; click does not say everywhere for which command they are wrong."""
        try:
            return super().parse_args(ctx, args)
        except click.UsageError as error:
            error.ctx = error.ctx or ctx
            raise

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the words that an argument may be, and the flags under their headings."""
        words = [
            (param.make_metavar(ctx), f"{', '.join(map(str, param.type.choices))}.")
            for param in self.get_params(ctx)
            if isinstance(param, click.Argument) and isinstance(param.type, click.Choice)
        ]
        if words:
            with formatter.section("Arguments"):
                formatter.write_dl(words)
        rows: dict[str, list[tuple[str, str]]] = {heading: [] for heading in _HEADINGS}
        for param in self.get_params(ctx):
            record = param.get_help_record(ctx)
            if record is not None:
                rows[param.heading if isinstance(param, Option) else _OWN].append(record)
        for heading, records in rows.items():
            if records:
                with formatter.section(heading):
                    formatter.write_dl(records)


class Commands(click.Group):
    """A group of commands; see the module."""

    command_class = Command
    context_class = _Context

    def make_context(
        self,
        info_name: str | None,
        args: list[str],
        parent: click.Context | None = None,
        **extra: object,
    ) -> click.Context:
        """Let the help of this group and of its commands use the width of the terminal."""
        extra.setdefault("max_content_width", _WIDTH)
        return super().make_context(info_name, args, parent, **extra)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write each command with the first sentence of its help."""
        rows = [
            (name, command.get_short_help_str(limit=10_000))
            for name in self.list_commands(ctx)
            if (command := self.get_command(ctx, name)) is not None and not command.hidden
        ]
        with formatter.section("Commands"):
            formatter.write_dl(rows)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command; propose one that is written alike if there is none."""
        name = args[0]
        if self.get_command(ctx, name) is None and not name.startswith("-"):
            meant = " or ".join(self._under_groups(ctx, name))
            near = f"; did you mean {meant}?" if meant else proposal(name, self.list_commands(ctx))
            ctx.fail(f"No such command {name!r}{near}")
        return super().resolve_command(ctx, args)

    def _under_groups(self, ctx: click.Context, name: str) -> list[str]:
        """Return the commands of this name that groups of this group have."""
        return [
            f"{group} {name}"
            for group in self.list_commands(ctx)
            if isinstance(found := self.get_command(ctx, group), click.Group)
            and found.get_command(ctx, name) is not None
        ]


def proposal(given: str, names: Iterable[str]) -> str:
    """Return `; did you mean ...?` with the name that was probably meant, else nothing."""
    meant = did_you_mean(given, names)
    return f"; {meant}" if meant else ""


def no_such(what: str, given: str, names: Sequence[str]) -> str:
    """Return that a name is none of these, with the one that is most like it, and with all."""
    near = proposal(given, names) or ";"
    return f"{given!r} is no {what}{near} there are {', '.join(names[:-1])} and {names[-1]}"
