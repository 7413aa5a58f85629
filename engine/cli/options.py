"""The settings as flags and variables of the commands.

`takes_settings` gives a command the flags that it names, and `--config`; the command receives
one `Settings`. `bootstrap` stands for all settings of the connection to the brokers. click
itself applies the order flag, variable, file, default: the file becomes the command's
`default_map` before click parses its other flags. A command has no flag for a setting that it
does not use.
"""

from __future__ import annotations

import functools
import os
import shlex
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

import click

from engine import resources
from engine.cli.groups import CONNECTION_HEADING, SETTINGS_HEADING, Option
from engine.cli.output import remark
from engine.config import (
    CONNECTION,
    DEFAULTS,
    FILE_NAME,
    SETTINGS,
    Setting,
    Settings,
    read_file,
)
from engine.errors import ConfigError

Command = Callable[..., Any]

#: Where the context has the settings file of the command line.
_CONFIG: Final = "hotlist.config"


def with_options(command: Command, options: Sequence[Callable[[Command], Command]]) -> Command:
    """Give a command these options, which `--help` shows in their order."""
    return functools.reduce(lambda made, option: option(made), reversed(options), command)


class _SettingType(click.ParamType):
    """A type that checks a value by its setting's rule and reports where a bad value came from."""

    def __init__(self, setting: Setting) -> None:
        self.setting = setting
        self.name = setting.metavar

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        where = self.setting.flag
        if ctx is not None and param is not None and param.name is not None:
            source = ctx.get_parameter_source(param.name)
            if source is click.core.ParameterSource.ENVIRONMENT:
                where = self.setting.variable
        return self.setting.checked(value, where)


def takes_settings(*names: str) -> Callable[[Command], Command]:
    """Give a command these settings as flags, and a `Settings` as its first parameter.

    `bootstrap` includes all settings of the connection.
    """
    if "bootstrap" in names:
        names = (*names, *(name for name in CONNECTION if name not in names))

    def decorate(command: Command) -> Command:
        @functools.wraps(command)
        def with_settings(**values: Any) -> Any:
            settings = Settings(**{name: values.pop(name) for name in names})
            if "bootstrap" in names and not _warns_itself(names, values):
                warn_if_password_in_clear(settings)
            return command(settings, **values)

        settings_of = [_option(SETTINGS[name]) for name in names]
        return with_options(config_option(with_settings), settings_of)

    return decorate


def connection_flags() -> str:
    """Return the flags of this command line that say where the topics are, with a space before
    each: a command that is proposed to people needs them too.

    What comes from a variable or a file is not among them.
    """
    context = click.get_current_context()
    given = [
        (SETTINGS[name].flag, context.params[name])
        for name in (*CONNECTION, "prefix")
        if context.get_parameter_source(name) is click.core.ParameterSource.COMMANDLINE
    ]
    if (file := context.meta.get(_CONFIG)) is not None:
        given.append(("--config", file))
    return "".join(f" {flag} {shlex.quote(str(value))}" for flag, value in given)


def _warns_itself(names: tuple[str, ...], values: dict[str, Any]) -> bool:
    """Return whether a command has a log for its warnings, or a flag that turns them off."""
    return "log_format" in names or "insecure" in values


def warn_if_password_in_clear(settings: Settings) -> None:
    """Warn on one line if the password for the brokers crosses a network in clear."""
    if settings.security_protocol == "SASL_PLAINTEXT":
        from engine.kafka.security import password_in_clear

        in_clear = password_in_clear(settings)
        if in_clear is not None:
            remark(f"warning: {in_clear}")


def _option(setting: Setting) -> Callable[[Command], Command]:
    default = DEFAULTS[setting.name]
    apart = setting.name in CONNECTION and setting.name != "bootstrap"
    return click.option(
        setting.flag,
        setting.name,
        cls=Option,
        heading=CONNECTION_HEADING if apart else SETTINGS_HEADING,
        type=_SettingType(setting),
        default=default,
        envvar=setting.variable,
        show_envvar=True,
        show_default=default is not None,
        help=setting.help,
    )


def _load(context: click.Context, _: click.Parameter, path: Path | None) -> None:
    if context.resilient_parsing:
        return
    path = path or context.find_root().obj
    context.meta[_CONFIG] = path
    if path is None and os.path.lexists(FILE_NAME):
        path = Path(FILE_NAME)
    context.default_map = read_file(path) if path is not None else {}


#: Eager, so that the file is read before any other flag looks up its default.
config_option = click.option(
    "--config",
    cls=Option,
    heading=SETTINGS_HEADING,
    type=click.Path(path_type=Path),
    metavar="FILE",
    is_eager=True,
    expose_value=False,
    callback=_load,
    help=f"Settings file; default: {FILE_NAME} in the working directory, if it exists.",
)

#: For every command that prints a table.
json_option = click.option(
    "--json", "as_json", is_flag=True, help="Print JSON, one document a line."
)


def file_argument(name: str = "file") -> Callable[[Command], Command]:
    """Give a command a file to read as its argument."""
    return click.argument(
        name, metavar="FILE", type=click.Path(exists=True, dir_okay=False, path_type=Path)
    )


def secret_of(variable: str, file: Path | None) -> str | None:
    """Return a file's text without white space around it, else the variable's; None if neither is.

    Raises ConfigError if the file cannot be read.
    """
    if file is None:
        return os.environ.get(variable)
    data, where = resources.read(str(file), file)
    try:
        return data.decode().strip()
    except UnicodeDecodeError:
        raise ConfigError("is not text in UTF-8", where=where) from None


def operator_name(settings: Settings) -> str:
    """Return who makes this change: the named operator, else the login.

    Raises ConfigError if there is neither.
    """
    from engine.kafka.security import principal

    operator = settings.operator or principal(settings)
    if operator is None:
        raise ConfigError(
            "this command changes a list or a policy and must know who does it",
            hint="set --operator (HOTLIST_OPERATOR)",
        )
    return operator


def operator_header(operator: str) -> list[tuple[str, bytes]]:
    """Return the headers of a change; a tombstone can carry the operator's name only there."""
    from engine.documents.fields import OPERATOR_HEADER

    return [(OPERATOR_HEADER, operator.encode(errors="replace"))]
