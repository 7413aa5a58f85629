"""The settings: their names, their defaults, and the file that holds them.

`Settings` is what the rest of the engine sees. `SETTINGS` describes every setting once: its
rule, which `engine.setting_rules` defines, and its help; `DEFAULTS` holds the defaults. The
commands turn the settings into flags (`--http-port`) and variables (`HOTLIST_HTTP_PORT`);
`read_file` checks `hotlist.toml` against them. The order is flag, variable, file, default; the
command line library applies it.

A value that breaks its rule is a ConfigError that names the value's origin. This module does not
read the environment, print, or know the command line.

Long because every setting is described here.
"""

from __future__ import annotations

import tomllib
from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Final

from engine.errors import ConfigError, did_you_mean, toml_fault
from engine.setting_rules import (
    SecretError,
    broker_addresses,
    collector_url,
    file_path,
    instance_id,
    nonempty_text,
    one_of,
    registry_url,
    sasl_extensions,
    token_endpoint_url,
    topic_prefix,
    whole_number,
)

#: The file that is read if it is in the working directory.
FILE_NAME: Final = "hotlist.toml"


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting.

    `parse` takes the written value (text, or a value of the file) and returns the value for
    `Settings`; it raises ValueError with the rule. `metavar` stands for the value in the help.
    """

    name: str
    parse: Callable[[Any], Any]
    metavar: str
    help: str

    @property
    def flag(self) -> str:
        """The flag, such as `--http-port`."""
        return "--" + self.name.replace("_", "-")

    @property
    def variable(self) -> str:
        """The variable, such as `HOTLIST_HTTP_PORT`."""
        return "HOTLIST_" + self.name.upper()

    def checked(self, value: object, where: str) -> Any:
        """Return the parsed value; a ConfigError about a broken rule starts with `where`."""
        try:
            return self.parse(value)
        except SecretError as error:
            raise ConfigError(str(error), where=where) from None
        except ValueError as error:
            raise ConfigError(f"{str(value)!r} is not possible: {error}", where=where) from None


_COUNT_MAX: Final = 2**31 - 1

_ALL: Final = (
    Setting("bootstrap", broker_addresses, "HOST:PORT", "Kafka bootstrap brokers."),
    Setting("prefix", topic_prefix, "TEXT", "Prefix of the topics' names."),
    Setting("group", nonempty_text, "NAME", "Consumer group of the workers."),
    Setting(
        "group_instance_id",
        instance_id,
        "ID",
        "This worker's own id in the group, which makes it a static member: its partitions wait "
        "for it while it restarts.",
    ),
    Setting(
        "session_timeout",
        whole_number(6, 1800),
        "SECONDS",
        "How long the group keeps the partitions of a silent worker for it; default: 15, with an "
        "instance id 60.",
    ),
    Setting(
        "client_rack",
        nonempty_text,
        "RACK",
        "Rack or zone of this worker, as in the brokers' broker.rack: reads are fetched from a "
        "replica there, if the brokers choose replicas by rack.",
    ),
    Setting(
        "rebalance",
        one_of("cooperative", "eager"),
        "MODE",
        "What a rebalance stops: cooperative only the partitions that move, eager all of them. "
        "Workers of version 0.1 can join a group only while all others are eager.",
    ),
    Setting("http_host", nonempty_text, "HOST", "Address that serves metrics and health."),
    Setting(
        "http_port", whole_number(0, 65535), "PORT", "Port that serves them; 0 takes a free one."
    ),
    Setting(
        "delivery",
        one_of("at_least_once", "exactly_once"),
        "MODE",
        "How matches are delivered: at_least_once or exactly_once.",
    ),
    Setting(
        "verify_keys",
        whole_number(0, _COUNT_MAX),
        "N",
        "Compare key and plate of one in N reads that match nothing; 0 compares none.",
    ),
    Setting(
        "value_format",
        one_of("json", "json-schema-registry", "schema-registry"),
        "FORMAT",
        "Format of the reads: json; json-schema-registry for JSON that a schema registry's "
        "serializer may have framed; schema-registry for Avro, Protobuf and JSON by the "
        "registry's schemas.",
    ),
    Setting(
        "schema_registry_url",
        registry_url,
        "URL",
        "With schema-registry: the registry, with the path of its Confluent API.",
    ),
    Setting(
        "schema_registry_username",
        nonempty_text,
        "NAME",
        "The user at the schema registry, if it asks for one.",
    ),
    Setting(
        "schema_registry_password_file",
        file_path,
        "FILE",
        "File with that user's password, unless HOTLIST_SCHEMA_REGISTRY_PASSWORD is set.",
    ),
    Setting(
        "schema_registry_cafile",
        file_path,
        "FILE",
        "Authorities to trust for the schema registry (PEM); default: those of the system.",
    ),
    Setting(
        "log_format",
        one_of("console", "json"),
        "FORM",
        "Format of the log on standard error: console or json.",
    ),
    Setting(
        "log_level",
        one_of("error", "warning", "info", "debug"),
        "LEVEL",
        "Lowest level to log: error, warning, info or debug. SIGUSR1 and SIGUSR2 change it.",
    ),
    Setting(
        "otlp_endpoint",
        collector_url,
        "URL",
        "OpenTelemetry collector that receives a span for each match in a sampled trace, by OTLP "
        "over HTTP; needs the extra tracing.",
    ),
    Setting("purposes", file_path, "FILE", "The purposes file; default: the shipped one."),
    Setting("misreads", file_path, "FILE", "The table of misreads; default: the shipped one."),
    Setting(
        "checkpoint_key",
        file_path,
        "FILE",
        "Private key (PEM) that signs checkpoints of the worker's audit; see hotlist audit keygen.",
    ),
    Setting(
        "checkpoint_dir",
        file_path,
        "DIRECTORY",
        "With a checkpoint key: where the worker writes its checkpoints.",
    ),
    Setting(
        "require_entries",
        whole_number(0, _COUNT_MAX),
        "N",
        "Take no reads after the start until N entries are listed; 0 does not wait.",
    ),
    Setting("operator", nonempty_text, "NAME", "Who changes a list or a policy."),
    Setting(
        "partitions", whole_number(1, 100_000), "N", "Partitions of each topic that is created."
    ),
    Setting(
        "replication", whole_number(1, 32767), "N", "Replicas of each partition that is created."
    ),
    Setting(
        "security_protocol",
        one_of("PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"),
        "NAME",
        "Protocol of the brokers: PLAINTEXT, SSL, SASL_PLAINTEXT or SASL_SSL.",
    ),
    Setting(
        "sasl_mechanism",
        one_of("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "OAUTHBEARER", "AWS_MSK_IAM"),
        "NAME",
        "With SASL: the mechanism, PLAIN, SCRAM-SHA-256, SCRAM-SHA-512, OAUTHBEARER or "
        "AWS_MSK_IAM, which needs the extra msk and AWS_REGION.",
    ),
    Setting(
        "sasl_username",
        nonempty_text,
        "NAME",
        "With PLAIN and SCRAM: the user; also the operator, if none is named.",
    ),
    Setting(
        "sasl_password_file",
        file_path,
        "FILE",
        "With PLAIN and SCRAM: file with the password, unless HOTLIST_SASL_PASSWORD is set.",
    ),
    Setting(
        "sasl_oauthbearer_token_endpoint_url",
        token_endpoint_url,
        "URL",
        "With OAUTHBEARER: the endpoint that gives a client its tokens.",
    ),
    Setting(
        "sasl_oauthbearer_client_id",
        nonempty_text,
        "NAME",
        "With OAUTHBEARER: the client; also the operator, if none is named.",
    ),
    Setting(
        "sasl_oauthbearer_client_secret_file",
        file_path,
        "FILE",
        "With OAUTHBEARER: file with the client's secret, unless "
        "HOTLIST_SASL_OAUTHBEARER_CLIENT_SECRET is set.",
    ),
    Setting(
        "sasl_oauthbearer_scope",
        nonempty_text,
        "TEXT",
        "With OAUTHBEARER: the scope to ask for, if the endpoint needs one.",
    ),
    Setting(
        "sasl_oauthbearer_extensions",
        sasl_extensions,
        "NAME=VALUE,...",
        "With OAUTHBEARER: SASL extensions, if the brokers need some.",
    ),
    Setting(
        "sasl_oauthbearer_cafile",
        file_path,
        "FILE",
        "With OAUTHBEARER: authorities to trust for the endpoint (PEM); default: those of the "
        "system.",
    ),
    Setting(
        "ssl_cafile",
        file_path,
        "FILE",
        "With SSL: authorities to trust (PEM); default: those of the system.",
    ),
    Setting("ssl_certfile", file_path, "FILE", "With SSL: the client's certificate (PEM)."),
    Setting(
        "ssl_keyfile",
        file_path,
        "FILE",
        "With SSL: the certificate's key (PEM), unless the certificate's file has it.",
    ),
    Setting(
        "ssl_key_password_file",
        file_path,
        "FILE",
        "With SSL: file with the key's password, unless HOTLIST_SSL_KEY_PASSWORD is set.",
    ),
)

#: The connection to the brokers: every command that connects has all of these.
CONNECTION: Final = (
    "bootstrap",
    "security_protocol",
    "sasl_mechanism",
    "sasl_username",
    "sasl_password_file",
    "sasl_oauthbearer_token_endpoint_url",
    "sasl_oauthbearer_client_id",
    "sasl_oauthbearer_client_secret_file",
    "sasl_oauthbearer_scope",
    "sasl_oauthbearer_extensions",
    "sasl_oauthbearer_cafile",
    "ssl_cafile",
    "ssl_certfile",
    "ssl_keyfile",
    "ssl_key_password_file",
)

#: Where schemas come from: every command that opens reads of a topic has all of these.
REGISTRY: Final = (
    "value_format",
    "schema_registry_url",
    "schema_registry_username",
    "schema_registry_password_file",
    "schema_registry_cafile",
)

#: Every setting by its name, in the order in which they are shown.
SETTINGS: Final[dict[str, Setting]] = {setting.name: setting for setting in _ALL}


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The settings in force. Raises ConfigError if a value breaks its rule.

    They hold no secret; `engine.kafka.security` reads the secrets, and also checks that the
    settings of a connection are consistent.
    """

    bootstrap: str = "localhost:9092"
    prefix: str = "lpr."
    group: str = "hotlist-engine"
    group_instance_id: str | None = None
    session_timeout: int | None = None
    client_rack: str | None = None
    rebalance: str = "cooperative"
    http_host: str = "127.0.0.1"
    http_port: int = 9108
    delivery: str = "at_least_once"
    verify_keys: int = 1024
    value_format: str = "json"
    schema_registry_url: str | None = None
    schema_registry_username: str | None = None
    schema_registry_password_file: Path | None = None
    schema_registry_cafile: Path | None = None
    log_format: str = "console"
    log_level: str = "info"
    otlp_endpoint: str | None = None
    purposes: Path | None = None
    misreads: Path | None = None
    checkpoint_key: Path | None = None
    checkpoint_dir: Path = Path("checkpoints")
    require_entries: int = 0
    operator: str | None = None
    partitions: int = 4
    replication: int = 1
    security_protocol: str = "PLAINTEXT"
    sasl_mechanism: str | None = None
    sasl_username: str | None = None
    sasl_password_file: Path | None = None
    sasl_oauthbearer_token_endpoint_url: str | None = None
    sasl_oauthbearer_client_id: str | None = None
    sasl_oauthbearer_client_secret_file: Path | None = None
    sasl_oauthbearer_scope: str | None = None
    sasl_oauthbearer_extensions: str | None = None
    sasl_oauthbearer_cafile: Path | None = None
    ssl_cafile: Path | None = None
    ssl_certfile: Path | None = None
    ssl_keyfile: Path | None = None
    ssl_key_password_file: Path | None = None

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if value is not None:
                checked = SETTINGS[field.name].checked(value, field.name)
                object.__setattr__(self, field.name, checked)
            elif field.default is not None:
                raise ConfigError("must not be None", where=field.name)


#: The value of each setting if no flag, variable or file gives it; None is "not set".
DEFAULTS: Final[dict[str, Any]] = {
    **{field.name: field.default for field in fields(Settings)},
}


def read_file(path: Path) -> dict[str, Any]:
    """Return the checked settings of a `hotlist.toml`, by name, without those it leaves out.

    Keys are the settings' names, with `-` or `_` between words. A relative path in the file
    starts at the file's directory. Raises ConfigError naming the file and the line or the key.
    """
    found: dict[str, Any] = {}
    for key, value in _parse(path).items():
        name = key.replace("-", "_")
        where = f"{path}: {key}"
        setting = SETTINGS.get(name)
        if setting is None:
            raise ConfigError("unknown key", where=where, hint=_known_keys(name))
        if name in found:
            raise ConfigError("the same key twice, with - and with _", where=where)
        found[name] = setting.checked(value, where)
        if isinstance(found[name], Path):
            found[name] = path.parent / found[name]
    return found


def _parse(path: Path) -> dict[str, Any]:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ConfigError(f"cannot be read: {error.strerror}", where=str(path)) from error
    try:
        return tomllib.loads(data.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise ConfigError("not UTF-8 text", where=f"{path}: line {line}") from error
    except (ValueError, RecursionError) as error:  # also for a number with thousands of digits
        # The parser's own message ends in "(at line 3, column 5)".
        raise ConfigError(f"not valid TOML: {toml_fault(error)}", where=str(path)) from error


def _known_keys(name: str) -> str:
    return f"{did_you_mean(name, SETTINGS)} known keys: {', '.join(SETTINGS)}".lstrip()
