"""Writes deploy/guides/reference.md from the code: `python -m tests.repository.reference`.

Commands and their flags come from the command line itself, settings from `engine.config`, topics
from `engine.kafka.topics`, documents from `schemas/`, metrics from
`engine.observability.metric_families`. With `--check` it writes nothing, and ends with status 1 if
the file is out of date.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from engine.cli import main as commands
from engine.cli.audit.verify_metrics import VerifyMetrics
from engine.cli.entries.sync_metrics import SyncMetrics
from engine.config import DEFAULTS, SETTINGS
from engine.ingest.metrics import IngestMetrics
from engine.kafka.topics import DECLARED, Topics
from engine.observability.metrics import Metrics

_ROOT = Path(__file__).parents[2]
FILE = _ROOT / "deploy" / "guides" / "reference.md"
_SCHEMAS = ("detection", "entry", "policy", "match", "reject", "audit")


def reference() -> str:
    """The whole file."""
    return "\n".join([*_head(), *_commands(), *_settings(), *_topics(), *_documents(), *_metrics()])


def _head() -> Iterator[str]:
    yield "# Reference"
    yield ""
    yield (
        "`python -m tests.repository.reference` generates this page from the code, and a test "
        "checks that it is current. [Commands](commands.md) says what each command is for."
    )
    yield ""


def _commands() -> Iterator[str]:
    yield "## Commands"
    yield ""
    yield (
        "Exit status: 0 on success; 1 with one line on standard error if the command failed or "
        "found a problem; 2 if the command line or a setting is wrong; 130 after an interrupt. "
        "[Settings](#settings) lists the settings that several commands share."
    )
    yield ""
    yield from _command(commands, "hotlist")


def _command(command: click.Command, path: str) -> Iterator[str]:
    if isinstance(command, click.Group):
        for name in command.list_commands(click.Context(command)):
            child = command.get_command(click.Context(command), name)
            assert child is not None
            yield from _command(child, f"{path} {name}")
        return
    context = click.Context(command, info_name=path)
    arguments = " ".join(
        piece
        for parameter in command.params
        if isinstance(parameter, click.Argument)
        for piece in parameter.get_usage_pieces(context)
    )
    yield f"### `{path}{' ' + arguments if arguments else ''}`"
    yield ""
    for paragraph in (command.help or "").strip().split("\n\n"):
        yield " ".join(paragraph.split())
        yield ""
    options = [each for each in command.params if isinstance(each, click.Option)]
    flags = {setting.flag for setting in SETTINGS.values()}
    own = [each for each in options if each.opts[0] not in flags and each.name != "config"]
    taken = [f"`{each.opts[0]}`" for each in options if each.opts[0] in flags]
    if own:
        yield "| flag | |"
        yield "|---|---|"
        for each in own:
            record = each.get_help_record(context)
            assert record is not None
            yield f"| `{_cell(record[0])}` | {_cell(record[1])} |"
        yield ""
    if taken:
        yield f"Settings: {', '.join(taken)}."
        yield ""


def _settings() -> Iterator[str]:
    yield "## Settings"
    yield ""
    yield (
        "Each setting is a flag of the commands that use it, a variable, and a line `name = value` "
        "in `hotlist.toml` (in the working directory, or where `--config` points), in that order "
        "of precedence. Passwords come only from `HOTLIST_SASL_PASSWORD` and "
        "`HOTLIST_SSL_KEY_PASSWORD` or from files."
    )
    yield ""
    yield "| flag | variable | default | |"
    yield "|---|---|---|---|"
    for setting in SETTINGS.values():
        default = DEFAULTS[setting.name]
        shown = "" if default is None else f"`{default}`"
        yield f"| `{setting.flag}` | `{setting.variable}` | {shown} | {_cell(setting.help)} |"
    yield ""


def _topics() -> Iterator[str]:
    yield "## Topics"
    yield ""
    yield (
        "As `hotlist topics create` creates them. Settings that a promise depends on are in bold."
    )
    yield ""
    yield "| topic | partitions | settings |"
    yield "|---|---|---|"
    for declared in DECLARED:
        partitions = declared.partitions or "`--partitions`"
        settings = ", ".join(
            f"**{name}={value}**" if name in declared.required else f"{name}={value}"
            for name, value in declared.settings.items()
        )
        yield f"| `{Topics('lpr.').name(declared.name)}` | {partitions} | {settings} |"
    yield ""


def _documents() -> Iterator[str]:
    yield "## Documents"
    yield ""
    yield "From [schemas/](../../schemas), which are complete. Required fields are in bold."
    yield ""
    for name in _SCHEMAS:
        schema = json.loads((_ROOT / "schemas" / f"{name}.v1.json").read_text("utf-8"))
        yield f"### {schema['title']}"
        yield ""
        yield schema["description"]
        yield ""
        yield from _fields(schema, schema)
        for part, definition in schema.get("$defs", {}).items():
            if "properties" in definition:
                yield f"`{part}`: {definition.get('description', '')}".rstrip(": ")
                yield ""
                yield from _fields(definition, schema)


def _fields(part: dict[str, Any], schema: dict[str, Any]) -> Iterator[str]:
    required = set(part.get("required", ()))
    yield "| field | form | |"
    yield "|---|---|---|"
    for name, field in part["properties"].items():
        shown = f"**{name}**" if name in required else name
        yield f"| {shown} | {_cell(_form(field, schema))} | {_cell(field.get('description', ''))} |"
    yield ""


def _form(field: dict[str, Any], schema: dict[str, Any]) -> str:
    """A field's form in a few words."""
    if "$ref" in field:
        name: str = field["$ref"].rpartition("/")[2]
        definition = schema["$defs"].get(name)
        if definition is None or "properties" in definition:
            return name
        return _form(definition, schema)
    if "const" in field:
        return json.dumps(field["const"])
    if "enum" in field:
        return ", ".join(json.dumps(value) for value in field["enum"] if value is not None)
    for several in ("anyOf", "oneOf"):
        if several in field:
            return " or ".join(
                _form(each, schema) for each in field[several] if each.get("type") != "null"
            )
    kinds = field.get("type", "")
    kind = " or ".join(
        each for each in ([kinds] if isinstance(kinds, str) else kinds) if each != "null"
    )
    if kind == "array":
        return f"list of {_form(field['items'], schema)}" + _range(field, "Items", "")
    return kind + _range(field, "Length", " characters") + _bounds(field)


def _range(field: dict[str, Any], what: str, unit: str) -> str:
    least, most = field.get(f"min{what}"), field.get(f"max{what}")
    if most is None:
        return "" if least in (None, 0) else f", at least {least}{unit}"
    return f", {least}-{most}{unit}" if least else f", at most {most}{unit}"


def _bounds(field: dict[str, Any]) -> str:
    least, most = field.get("minimum"), field.get("maximum")
    above = field.get("exclusiveMinimum")
    if above is not None:
        return (
            f", more than {above}, at most {most}" if most is not None else f", more than {above}"
        )
    if most is not None and most >= 2**31 - 1:
        return f", at least {least}" if least is not None and least >= 0 else ""
    return f", {least} to {most}" if least is not None and most is not None else ""


def _metrics() -> Iterator[str]:
    yield "## Metrics"
    yield ""
    yield "A worker serves them at `/metrics`, each value per process."
    yield ""
    yield from _table_of(Metrics().registry)
    yield "`hotlist ingest` with `--listen` serves these:"
    yield ""
    ingest = IngestMetrics("axis")
    ingest.watch_mqtt(lambda: True)
    ingest.show_certificate(0)
    yield from _table_of(ingest.registry)
    yield "`hotlist audit verify` with `--metrics-file` writes these:"
    yield ""
    yield from _table_of(VerifyMetrics().registry)
    yield "`hotlist entries sync` with `--metrics-file` writes these:"
    yield ""
    yield from _table_of(SyncMetrics().registry)


def _table_of(registry: Any) -> Iterator[str]:
    yield "| metric | type | labels | |"
    yield "|---|---|---|---|"
    for collector in list(registry._collector_to_names):
        name = getattr(collector, "_name", None)
        if name is None:
            continue
        kind = getattr(collector, "_type", "")
        shown = f"{name}_total" if kind == "counter" else name
        labels = ", ".join(getattr(collector, "_labelnames", ()))
        meaning = _cell(getattr(collector, "_documentation", ""))
        yield f"| `{shown}` | {kind} | {labels} | {meaning} |"
    yield ""


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def main(arguments: list[str]) -> int:
    """Write the file, or with `--check` say whether it is current."""
    wanted = reference()
    if arguments == ["--check"]:
        if not FILE.is_file() or FILE.read_text("utf-8") != wanted:
            command = "python -m tests.repository.reference"
            print(f"{FILE.relative_to(_ROOT)} is not current; run: {command}")
            return 1
        return 0
    FILE.write_text(wanted, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
