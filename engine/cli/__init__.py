"""The command line: `hotlist`, and `python -m engine`.

`main` is the command. Its subcommands are in the modules beside this one. Their errors end here,
and only here: one line on standard error and a status that is not zero (2 if the command line or
a setting is wrong, 130 after an interrupt, 1 otherwise). Commands import heavy modules when they
run, so that `--help` stays fast.

The modules: the commands, from the demo to the checks afterwards, and the parts that they share.

    worker          `worker`, and `demo`
    topics          `topics`: create the topics, show each role's rights
    entries         `entries`: a package, with modules that only it uses
    policies        `policies`: set, remove, show, explain
    policy_files    the files that they take
    policy_changes  what `policies set` is about to change
    ingest          `ingest`: vendors' messages
    site            its cameras' site, and what messages lack
    mapping         the adapter that an operator's file describes
    webhook         its `--listen`: address, token, certificate
    mqtt            its `--mqtt`: address, login
    reads           `replay` and `check`: files of reads
    traffic         `traffic`: reads of a simulated city
    tail            `tail`: follows the matches
    silence         why no match comes
    audit           `audit`: a package, with modules that only it uses
    doctor          `doctor`: a package, with modules that only it uses
    groups          how commands show their help, and propose a name that there is
    value_types     words and numbers, with answers when they are wrong
    options         options that several commands have
    read_options    options that describe a read
    metrics_file    the metrics of a command that ends, in a file
    output          the output of commands, for people and for programs
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import io
import os
import sys
from pathlib import Path
from typing import Any, NoReturn

import click
from click.shell_completion import get_completion_class

from engine.cli import (
    audit,
    doctor,
    entries,
    ingest,
    policies,
    reads,
    tail,
    topics,
    traffic,
    worker,
)
from engine.cli.groups import Command, Commands, proposal
from engine.cli.output import plain
from engine.cli.value_types import OneOf
from engine.config import SETTINGS
from engine.errors import ConfigError, HotlistError
from engine.versions import DISTRIBUTION

__all__ = ["main"]

#: The completion script sets it; click then prints completions and does not run the command.
_COMPLETION_VARIABLE = "_HOTLIST_COMPLETE"


class _InterruptedError(HotlistError):
    """The user stopped the command."""


class _OutputClosedError(HotlistError):
    """The reader of our standard output has closed it."""


class Application(Commands):
    """The group of all commands, and the one place that prints errors as lines."""

    def main(self, *args: Any, **options: Any) -> NoReturn:
        """Run a command line and exit with its status; accepts the arguments of click's `main`."""
        options["prog_name"] = options.get("prog_name") or "hotlist"
        options["standalone_mode"] = False  # so that errors are raised here
        if isinstance(sys.stdout, io.TextIOWrapper):
            # A plate in any script must not stop a command if the terminal cannot show it.
            sys.stdout.reconfigure(errors="backslashreplace")
        try:
            status = super().main(*args, **options)
        except click.exceptions.NoArgsIsHelpError as error:
            error.show()
            status = error.exit_code
        except click.ClickException as error:
            status = _report(_one_line(error), error.exit_code)
        except _InterruptedError as error:
            status = _report(str(error), 130)
        except HotlistError as error:
            status = _report(str(error), 2 if isinstance(error, ConfigError) else 1)
        except OSError as error:
            name = f"{error.filename}: " if error.filename else ""
            status = _report(f"{name}{error.strerror or error}", 1)
        sys.exit(status or 0)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Take `help COMMAND` for `COMMAND --help`."""
        if args[:1] == ["help"]:
            args = [*args[1:], "--help"]
        return super().parse_args(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; click would end the process itself on these two errors."""
        try:
            result = super().invoke(ctx)
            sys.stdout.flush()
        except KeyboardInterrupt:
            raise _InterruptedError("interrupted") from None
        except BrokenPipeError:
            _discard_output()
            raise _OutputClosedError("the output was closed before its end") from None
        return result


def _report(line: str, status: int) -> int:
    with contextlib.suppress(BrokenPipeError):
        click.echo(f"hotlist: {plain(' '.join(line.split()))}", err=True)
    return status


def _one_line(error: click.ClickException) -> str:
    line = error.format_message().rstrip(".")
    if not isinstance(error, click.UsageError):
        return line
    if isinstance(error, click.NoSuchOption) and error.ctx is not None:
        flags = (flag for param in error.ctx.command.get_params(error.ctx) for flag in param.opts)
        near = proposal(error.option_name, (flag for flag in flags if flag.startswith("--")))
        line = f"No such option: {error.option_name}{near}"
    path = error.ctx.command_path if error.ctx is not None else "hotlist"
    if isinstance(error, click.NoSuchOption) and error.option_name in _FLAGS and path == "hotlist":
        return f"{line}; settings are given after the command"
    return f"{line}{'' if line.endswith('?') else ';'} see {path} --help"


_FLAGS = frozenset(setting.flag for setting in SETTINGS.values())


def _discard_output() -> None:
    """Discard buffered output, or Python would report an error for it at exit."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _show_version(context: click.Context, _: click.Parameter, asked: bool) -> None:
    if not asked or context.resilient_parsing:
        return
    try:
        version = importlib.metadata.version(DISTRIBUTION)
    except importlib.metadata.PackageNotFoundError:
        version = "unknown (not installed)"
    click.echo(f"hotlist {version}")
    context.exit()


@click.group("hotlist", cls=Application, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--config",
    type=click.Path(path_type=Path),
    envvar="HOTLIST_CONFIG",
    show_envvar=True,
    metavar="FILE",
    help="Settings file; default: hotlist.toml in the working directory, if it exists.",
)
@click.option(
    "-V",
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_show_version,
    help="Show the version and exit.",
)
@click.pass_context
def main(context: click.Context, config: Path | None) -> None:
    """Match licence plate reads against hot lists, on Kafka.

    Each setting is a flag of the commands that use it, a variable HOTLIST_<NAME> or a line in
    hotlist.toml, in that order of precedence.
    """
    context.obj = config


@click.command(cls=Command)
@click.argument(
    "shell",
    metavar="SHELL",
    type=OneOf("shell that can be completed in", ["bash", "zsh", "fish"]),
)
@click.pass_context
def completion(context: click.Context, shell: str) -> None:
    """Print the script that completes this command in SHELL.

    bash: eval "$(hotlist completion bash)" in ~/.bashrc (bash 4.4 or newer); for zsh the same
    in ~/.zshrc. fish: hotlist completion fish > ~/.config/fish/completions/hotlist.fish
    """
    chosen = get_completion_class(shell)
    assert chosen is not None, "click knows these three"
    # Only the template: click's other method runs the shell to get its version.
    script = chosen(context.find_root().command, {}, "hotlist", _COMPLETION_VARIABLE)
    click.echo(script.source_template % script.source_vars())


for _command in (*worker.COMMANDS, topics.group, entries.group, policies.group, audit.group):
    main.add_command(_command)
for _module in (reads, ingest, tail, traffic, doctor):
    for _command in _module.COMMANDS:
        main.add_command(_command)
main.add_command(completion)
