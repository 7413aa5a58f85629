"""Settings: what they may be, and the file that holds them."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.config import DEFAULTS, SETTINGS, Settings, read_file
from engine.errors import ConfigError


def written(directory: Path, content: str | bytes) -> Path:
    path = directory / "hotlist.toml"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def test_defaults_are_those_of_the_contract() -> None:
    assert {
        "bootstrap": "localhost:9092",
        "prefix": "lpr.",
        "group": "hotlist-engine",
        "group_instance_id": None,
        "session_timeout": None,
        "client_rack": None,
        "rebalance": "cooperative",
        "http_host": "127.0.0.1",
        "http_port": 9108,
        "delivery": "at_least_once",
        "verify_keys": 1024,
        "value_format": "json",
        "schema_registry_url": None,
        "schema_registry_username": None,
        "schema_registry_password_file": None,
        "schema_registry_cafile": None,
        "log_format": "console",
        "log_level": "info",
        "otlp_endpoint": None,
        "purposes": None,
        "misreads": None,
        "checkpoint_key": None,
        "checkpoint_dir": Path("checkpoints"),
        "require_entries": 0,
        "operator": None,
        "partitions": 4,
        "replication": 1,
        "security_protocol": "PLAINTEXT",
        "sasl_mechanism": None,
        "sasl_username": None,
        "sasl_password_file": None,
        "sasl_oauthbearer_token_endpoint_url": None,
        "sasl_oauthbearer_client_id": None,
        "sasl_oauthbearer_client_secret_file": None,
        "sasl_oauthbearer_scope": None,
        "sasl_oauthbearer_extensions": None,
        "sasl_oauthbearer_cafile": None,
        "ssl_cafile": None,
        "ssl_certfile": None,
        "ssl_keyfile": None,
        "ssl_key_password_file": None,
    } == DEFAULTS
    assert set(SETTINGS) == set(DEFAULTS)


def test_names_of_flag_and_variable() -> None:
    assert SETTINGS["http_port"].flag == "--http-port"
    assert SETTINGS["http_port"].variable == "HOTLIST_HTTP_PORT"


@pytest.mark.parametrize(
    ("name", "value", "parsed"),
    [
        ("bootstrap", "kafka:9092", "kafka:9092"),
        ("bootstrap", "a:1, b:65535", "a:1,b:65535"),
        ("bootstrap", "[::1]:9092", "[::1]:9092"),
        ("prefix", "", ""),
        ("prefix", "a-B_9.", "a-B_9."),
        ("http_port", "0", 0),
        ("http_port", 65535, 65535),
        ("verify_keys", "0", 0),
        ("partitions", "1", 1),
        ("replication", "3", 3),
        ("delivery", "at_least_once", "at_least_once"),
        ("delivery", " Exactly_once", "exactly_once"),
        ("purposes", "a/b.json", Path("a/b.json")),
        ("misreads", "a/b.toml", Path("a/b.toml")),
        ("operator", "jo", "jo"),
        ("security_protocol", " sasl_ssl ", "SASL_SSL"),
        ("sasl_mechanism", "scram-sha-256", "SCRAM-SHA-256"),
        ("sasl_username", "jo", "jo"),
        ("log_format", " JSON ", "json"),
        ("log_level", "Debug", "debug"),
        ("ssl_cafile", "~nobody/ca.pem", Path("~nobody/ca.pem").expanduser()),
    ],
)
def test_good_values(name: str, value: object, parsed: object) -> None:
    assert SETTINGS[name].checked(value, "here") == parsed


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("bootstrap", ""),
        ("bootstrap", "kafka"),
        ("bootstrap", ":9092"),
        ("bootstrap", "kafka:"),
        ("bootstrap", "kafka:0"),
        ("bootstrap", "kafka:65536"),
        ("bootstrap", "kafka:٩"),
        ("bootstrap", "a:1,,b:2"),
        ("bootstrap", "a b:1"),
        ("bootstrap", "::1:9092"),
        ("bootstrap", "http://kafka:9092"),
        ("bootstrap", 9092),
        ("prefix", "a b"),
        ("prefix", "é."),
        ("prefix", "a" * 201),
        ("group", " "),
        ("http_port", "-1"),
        ("http_port", "65536"),
        ("http_port", "9108.0"),
        ("http_port", 9108.0),
        ("http_port", True),
        ("verify_keys", "-1"),
        ("verify_keys", "all"),
        ("partitions", "0"),
        ("replication", 0),
        ("delivery", "at_most_once"),
        ("delivery", True),
        ("purposes", ""),
        ("misreads", " "),
        ("operator", ""),
        ("security_protocol", "TLS"),
        ("security_protocol", 1),
        ("sasl_mechanism", "GSSAPI"),
        ("sasl_username", " "),
        ("log_format", "xml"),
        ("log_level", "trace"),
        ("log_level", 10),
        ("sasl_password_file", ""),
    ],
)
def test_bad_values_are_named_with_where_they_stand(name: str, value: object) -> None:
    with pytest.raises(ConfigError) as caught:
        SETTINGS[name].checked(value, "HERE")
    assert str(caught.value).startswith(f"HERE: {str(value)!r} is not possible: ")


@pytest.mark.parametrize(
    ("url", "found"),
    [
        ("http://localhost:4318", "http://localhost:4318"),
        (" https://collector.example/ ", "https://collector.example"),
        ("https://[::1]:65535/otlp/v1/traces", "https://[::1]:65535/otlp/v1/traces"),
    ],
)
def test_a_collector_is_a_url(url: str, found: str) -> None:
    assert Settings(otlp_endpoint=url).otlp_endpoint == found


@pytest.mark.parametrize(
    "url",
    [
        "localhost:4318",
        "grpc://localhost:4317",
        "http://",
        "http:///v1/traces",
        "http://a:0",
        "http://a:65536",
        "http://a:b",
        "http://a b",
        "http://a?token=1",
        "http://a/#part",
    ],
)
def test_a_collector_that_is_none(url: str) -> None:
    wanted = "must be http://HOST:PORT or https://HOST:PORT"
    with pytest.raises(ConfigError) as caught:
        Settings(otlp_endpoint=url)
    assert str(caught.value) == f"otlp_endpoint: {url!r} is not possible: {wanted}"


def test_a_password_in_a_collectors_url_is_not_shown() -> None:
    with pytest.raises(ConfigError) as caught:
        SETTINGS["otlp_endpoint"].checked("https://me:hidden@collector:4318", "HERE")
    assert str(caught.value) == (
        "HERE: a URL with a user or a password in it is not possible: a token for the collector "
        "goes into OTEL_EXPORTER_OTLP_HEADERS"
    )


def test_settings_check_themselves() -> None:
    assert Settings(bootstrap="a:1, b:2").bootstrap == "a:1,b:2"
    with pytest.raises(ConfigError, match="http_port: '70000' is not possible"):
        Settings(http_port=70000)
    with pytest.raises(ConfigError, match="group: must not be None"):
        Settings(group=None)  # type: ignore[arg-type]


def test_file_gives_checked_values(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        'bootstrap = "kafka:9092"\nhttp-port = 1\nverify_keys = 0\npurposes = "mine.json"\n'
        'misreads = "mine.toml"\n',
    )
    assert read_file(path) == {
        "bootstrap": "kafka:9092",
        "http_port": 1,
        "verify_keys": 0,
        # Where the file lies, not where the command happens to run.
        "purposes": tmp_path / "mine.json",
        "misreads": tmp_path / "mine.toml",
    }


def test_file_with_byte_order_mark(tmp_path: Path) -> None:
    assert read_file(written(tmp_path, b'\xef\xbb\xbfgroup = "g"\n')) == {"group": "g"}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("group = \n", "not valid TOML: Invalid value (at line 1, column 9)"),
        (b"# ok\n# \xff\n", "line 2: not UTF-8 text"),
        ('colour = 1\ngroup = "g"\n', "colour: unknown key; known keys: bootstrap, prefix,"),
        (
            'sasl_password = "s3cret"\n',
            "sasl_password: unknown key; did you mean sasl_password_file? known keys: boot",
        ),
        ("htp_port = 1\n", "htp_port: unknown key; did you mean http_port? known keys: boot"),
        ("http_port = 1\nhttp-port = 1\n", "http-port: the same key twice, with - and with _"),
        ("http_port = 70000\n", "http_port: '70000' is not possible: must be a whole number"),
        ("group = 5\n", "group: '5' is not possible: must be a text that is not empty"),
        ("[group]\na = 1\n", "group: \"{'a': 1}\" is not possible: must be a text"),
        (
            'delivery = "twice"\n',
            "delivery: 'twice' is not possible: must be at_least_once or exactly_once",
        ),
    ],
)
def test_bad_file_is_one_line_with_file_and_place(
    tmp_path: Path, content: str | bytes, message: str
) -> None:
    path = written(tmp_path, content)
    with pytest.raises(ConfigError) as caught:
        read_file(path)
    line = str(caught.value)
    assert line.startswith(f"{path}: {message}")
    assert "\n" not in line


def test_unreadable_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no-such: cannot be read: No such file or directory"):
        read_file(tmp_path / "no-such")
    with pytest.raises(ConfigError, match="cannot be read: Is a directory"):
        read_file(tmp_path)


@given(
    value=st.one_of(
        st.text(),
        st.integers(),
        st.floats(),
        st.booleans(),
        st.none(),
        st.lists(st.integers()),
    )
)
def test_every_value_is_taken_or_refused_with_a_line(value: object) -> None:
    for setting in SETTINGS.values():
        try:
            parsed = setting.checked(value, "here")
        except ConfigError as error:
            line = str(error)
        else:
            line = ""
            assert setting.checked(parsed, "here") == parsed
        assert "\n" not in line
