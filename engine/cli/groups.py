"""How a group of commands lists them, and what it says about one that it does not have.

The list has whole sentences, wrapped at words in the width of the terminal. click would cut them
off after 45 characters.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Final

import click

#: Lines longer than this are hard to read, however wide the terminal is.
_WIDTH: Final = 100
#: How alike, from 0 to 1, a name must be to be proposed.
_ALIKE: Final = 0.6


class Commands(click.Group):
    """A group of commands; see the module."""

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
            ctx.fail(f"No such command {name!r}{proposal(name, self.list_commands(ctx))}")
        return super().resolve_command(ctx, args)


def proposal(given: str, names: Iterable[str]) -> str:
    """Return `; did you mean ...?` with the name that is most like the given one, else nothing.

    The dashes of flags do not count, because all of them have these.
    """
    by_word = {name.lstrip("-"): name for name in names}
    found = difflib.get_close_matches(given.lstrip("-"), by_word, n=1, cutoff=_ALIKE)
    return f"; did you mean {by_word[found[0]]}?" if found else ""
