"""`hotlist completion`: what makes a shell complete commands and flags."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

#: Set by the script, and then click answers in place of the command.
_VARIABLE = "_HOTLIST_COMPLETE"


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(context: click.Context, shell: str) -> None:
    """Print the script that makes SHELL complete this command.

    bash: eval "$(hotlist completion bash)" in ~/.bashrc (bash 4.4 or newer), and likewise for
    zsh in ~/.zshrc. fish: hotlist completion fish > ~/.config/fish/completions/hotlist.fish
    """
    chosen = get_completion_class(shell)
    assert chosen is not None, "click knows these three"
    # Only the template: to ask the shell for its version is for those who have it.
    script = chosen(context.find_root().command, {}, "hotlist", _VARIABLE)
    click.echo(script.source_template % script.source_vars())


COMMANDS = (completion,)
