"""How the settings of a connection go together, where secrets come from and who sees them."""

from __future__ import annotations

import ast
import contextlib
import copy
import logging
import ssl
import traceback
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.config import CONNECTION, SETTINGS, Settings
from engine.errors import ConfigError
from engine.kafka.secret_files import Secret
from engine.kafka.security import (
    PLAINTEXT,
    SASL_VARIABLE,
    SSL_KEY_VARIABLE,
    arguments,
    principal,
    security,
)
from tests.fakes.certificates import Authority

_ENGINE = Path(__file__).parents[2] / "engine"
_SASL: dict[str, Any] = {"sasl_mechanism": "PLAIN", "sasl_username": "jo"}


@pytest.fixture(autouse=True)
def _no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(SASL_VARIABLE, raising=False)
    monkeypatch.delenv(SSL_KEY_VARIABLE, raising=False)


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


def error_of(**settings: Any) -> str:
    with pytest.raises(ConfigError) as caught:
        security(Settings(**settings))
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_without_a_word_it_is_plain() -> None:
    assert security(Settings()) == PLAINTEXT
    assert arguments("a:1") == {"bootstrap_servers": "a:1", "security_protocol": "PLAINTEXT"}
    assert principal(Settings()) is None


@pytest.mark.parametrize("protocol", ["SASL_PLAINTEXT", "SASL_SSL"])
def test_a_user_and_the_password_of_the_variable(
    protocol: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(SASL_VARIABLE, "s3cret")
    settings = Settings(security_protocol=protocol, **_SASL)
    found = dict(security(settings))
    context = found.pop("ssl_context", None)
    assert isinstance(context, ssl.SSLContext) is (protocol == "SASL_SSL")
    assert found.pop("sasl_plain_password").encode() == b"s3cret"
    assert found == {
        "security_protocol": protocol,
        "sasl_mechanism": "PLAIN",
        "sasl_plain_username": "jo",
    }
    assert principal(settings) == "jo"


@pytest.mark.parametrize("end", ["", "\n", "\r\n"])
def test_the_password_of_a_file(end: str, tmp_path: Path) -> None:
    file = tmp_path / "password"
    file.write_bytes(f" pass word {end}".encode())
    settings = Settings(security_protocol="SASL_PLAINTEXT", sasl_password_file=file, **_SASL)
    assert security(settings)["sasl_plain_password"].encode() == b" pass word "


def test_a_password_from_both_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(SASL_VARIABLE, "one")
    file = tmp_path / "password"
    file.write_text("other")
    assert error_of(security_protocol="SASL_SSL", sasl_password_file=file, **_SASL) == (
        "HOTLIST_SASL_PASSWORD: and sasl_password_file are both set; unset one of them"
    )


@pytest.mark.parametrize(
    "content", [b"", b"\n", b"two\nlines\n", b"\xff\xfe", b"x" * 4097, b"tab\there"]
)
def test_a_file_that_holds_no_password(content: bytes, tmp_path: Path) -> None:
    file = tmp_path / "password"
    file.write_bytes(content)
    assert error_of(security_protocol="SASL_SSL", sasl_password_file=file, **_SASL) == (
        f"sasl_password_file: {file}: must hold one line of text, at most 4096 bytes"
    )


def test_a_password_file_that_is_not_there(tmp_path: Path) -> None:
    file = tmp_path / "none"
    assert error_of(security_protocol="SASL_SSL", sasl_password_file=file, **_SASL) == (
        f"sasl_password_file: {file}: cannot be read: No such file or directory"
    )


@pytest.mark.parametrize(
    ("settings", "line"),
    [
        (
            {"security_protocol": "SASL_SSL"},
            (
                "sasl_mechanism: must be set with the security protocol SASL_SSL; "
                "set --sasl-mechanism (HOTLIST_SASL_MECHANISM)"
            ),
        ),
        (
            {"security_protocol": "SASL_PLAINTEXT", "sasl_mechanism": "PLAIN"},
            (
                "sasl_username: must be set with the mechanism PLAIN; "
                "set --sasl-username (HOTLIST_SASL_USERNAME)"
            ),
        ),
        (
            {"security_protocol": "SASL_PLAINTEXT", **_SASL},
            (
                "HOTLIST_SASL_PASSWORD: is not set, and SASL_PLAINTEXT needs it; "
                "set it, or --sasl-password-file (HOTLIST_SASL_PASSWORD_FILE)"
            ),
        ),
        (
            {"sasl_username": "jo"},
            (
                "sasl_username: is set, and has no effect with the security protocol PLAINTEXT; "
                "set --security-protocol (HOTLIST_SECURITY_PROTOCOL) to SASL_PLAINTEXT or SASL_SSL"
            ),
        ),
        (
            {"security_protocol": "SASL_PLAINTEXT", "ssl_cafile": Path("ca.pem"), **_SASL},
            (
                "ssl_cafile: is set, and has no effect with the security protocol SASL_PLAINTEXT; "
                "set --security-protocol (HOTLIST_SECURITY_PROTOCOL) to SSL or SASL_SSL"
            ),
        ),
        (
            {"security_protocol": "SSL", "ssl_keyfile": Path("key.pem")},
            (
                "ssl_certfile: must be set if ssl_keyfile is set; "
                "set --ssl-certfile (HOTLIST_SSL_CERTFILE)"
            ),
        ),
        (
            {"security_protocol": "SSL", "ssl_cafile": Path("no-such")},
            "ssl_cafile: no-such: cannot be read: No such file or directory",
        ),
        (
            {"security_protocol": "SSL", "ssl_certfile": Path("no-such")},
            "ssl_certfile: no-such: cannot be read: No such file or directory",
        ),
    ],
)
def test_what_does_not_go_together(settings: dict[str, Any], line: str) -> None:
    assert error_of(**settings) == line


@pytest.mark.parametrize(
    ("name", "value", "rule"),
    [
        ("security_protocol", "TLS", "must be PLAINTEXT, SSL, SASL_PLAINTEXT or SASL_SSL"),
        (
            "sasl_mechanism",
            "GSSAPI",
            "must be PLAIN, SCRAM-SHA-256, SCRAM-SHA-512, OAUTHBEARER or AWS_MSK_IAM",
        ),
    ],
)
def test_names_that_are_none(name: str, value: str, rule: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Settings(**{name: value})  # type: ignore[arg-type]
    assert str(caught.value) == f"{name}: '{value}' is not possible: {rule}"
    assert getattr(Settings(security_protocol="ssl"), "security_protocol") == "SSL"  # noqa: B009


# Certificates.


def test_a_certificate_of_our_own(authority: Authority) -> None:
    certfile, keyfile = authority.issue("records.unit")
    settings = Settings(
        security_protocol="SSL",
        ssl_cafile=authority.cafile,
        ssl_certfile=certfile,
        ssl_keyfile=keyfile,
    )
    context = security(settings)["ssl_context"]
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.check_hostname
    assert [dict(found["subject"][0])["commonName"] for found in context.get_ca_certs()] == [
        "authority"
    ]
    assert principal(settings) == "records.unit"


def test_a_certificate_without_a_common_name_names_nobody(authority: Authority) -> None:
    certfile, _ = authority.issue(None)
    assert principal(Settings(security_protocol="SSL", ssl_certfile=certfile)) is None


def test_with_a_user_the_certificate_names_nobody(authority: Authority) -> None:
    certfile, _ = authority.issue("machine")
    settings = Settings(security_protocol="SASL_SSL", ssl_certfile=certfile, **_SASL)
    assert principal(settings) == "jo"


def test_the_password_of_a_key(authority: Authority, monkeypatch: pytest.MonkeyPatch) -> None:
    certfile, keyfile = authority.issue("locked", password="open sesame")
    given: dict[str, Any] = {
        "security_protocol": "SSL",
        "ssl_certfile": certfile,
        "ssl_keyfile": keyfile,
    }
    assert error_of(**given) == (
        f"ssl_keyfile: {keyfile}: the key is encrypted; set HOTLIST_SSL_KEY_PASSWORD, or "
        "--ssl-key-password-file (HOTLIST_SSL_KEY_PASSWORD_FILE)"
    )
    monkeypatch.setenv(SSL_KEY_VARIABLE, "open barley")
    assert error_of(**given) == (f"ssl_keyfile: {keyfile}: the key's password is wrong")
    monkeypatch.setenv(SSL_KEY_VARIABLE, "open sesame")
    assert isinstance(security(Settings(**given))["ssl_context"], ssl.SSLContext)
    monkeypatch.delenv(SSL_KEY_VARIABLE)
    file = keyfile.with_suffix(".password")
    file.write_text("open sesame\n")
    assert "ssl_context" in security(Settings(**given, ssl_key_password_file=file))


def test_files_that_are_no_certificates(authority: Authority, tmp_path: Path) -> None:
    junk = tmp_path / "junk.pem"
    junk.write_text("nothing of the kind")
    assert error_of(security_protocol="SSL", ssl_cafile=junk) == (
        f"ssl_cafile: {junk}: holds no certificate (PEM)"
    )
    settings = Settings(security_protocol="SSL", ssl_certfile=junk)
    with pytest.raises(ConfigError) as caught:
        principal(settings)
    assert str(caught.value) == f"ssl_certfile: {junk}: holds no certificate (PEM)"
    assert error_of(security_protocol="SSL", ssl_certfile=junk).startswith(
        f"ssl_certfile: {junk}: cannot be used: "
    )
    certfile, _ = authority.issue("one")
    _, other_key = authority.issue("two")
    assert error_of(
        security_protocol="SSL", ssl_certfile=certfile, ssl_keyfile=other_key
    ).startswith(f"ssl_keyfile: {other_key}: cannot be used: ")


# Secrets are shown to nobody.


@given(text=st.text(min_size=1).filter(lambda text: text not in "<secret>"))
def test_a_secret_shows_itself_to_nobody(text: str) -> None:
    secret = Secret(text)
    shown = [repr(secret), str(secret), f"{secret}", f"{secret!r}", "%s" % secret]  # noqa: UP031
    shown += [repr({"password": secret}), repr([secret]), repr(copy.copy(secret))]
    assert all("<secret>" in each for each in shown)
    assert repr({"password": secret}) == "{'password': <secret>}"
    # And aiokafka can do with it what it does.
    parts = ["jo", secret]
    assert "\0".join(parts) == f"jo\0{text}"


def test_no_secret_is_a_setting_or_lies_in_one(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not {name for name in SETTINGS if name.endswith("password")}
    monkeypatch.setenv(SASL_VARIABLE, "s3cret")
    settings = Settings(security_protocol="SASL_SSL", **_SASL)
    assert "s3cret" not in repr(settings)
    assert "s3cret" not in repr(security(settings))


def test_no_request_or_response_is_logged_at_any_level(caplog: pytest.LogCaptureFixture) -> None:
    arguments("a:1")
    logger = logging.getLogger("aiokafka.conn")
    with caplog.at_level(logging.DEBUG, logger="aiokafka.conn"):
        logger.debug("Response: %s", b"a plate")
        logger.info("Authenticated as %s", "jo")
    assert [record.getMessage() for record in caplog.records] == ["Authenticated as jo"]
    for _ in range(5):
        arguments("a:1")
    assert len(logger.filters) == 1


def test_every_client_of_the_engine_is_made_by_the_cluster() -> None:
    """A client made in another way would not be encrypted where the settings ask for it."""
    clients = {"AIOKafkaConsumer", "AIOKafkaProducer", "AIOKafkaClient", "AIOKafkaAdminClient"}
    made = 0
    for path in sorted(_ENGINE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.Call) or _name(node.func) not in clients:
                continue
            made += 1
            assert path.name == "cluster.py", f"{path.name}:{node.lineno} makes a client of its own"
            spread = [word.value for word in node.keywords if word.arg is None]
            assert any(
                isinstance(each, ast.Call) and _name(each.func) == "arguments" for each in spread
            ), f"{path.name}:{node.lineno} connects in a way of its own"
            assert "bootstrap_servers" not in {word.arg for word in node.keywords}
    assert made == len(clients)


def _name(function: ast.expr) -> str:
    if isinstance(function, ast.Attribute):
        return function.attr
    return function.id if isinstance(function, ast.Name) else ""


def test_the_settings_of_a_connection_are_settings() -> None:
    assert set(CONNECTION) <= set(SETTINGS)
    assert {name for name in SETTINGS if name.startswith(("ssl_", "sasl_"))} <= set(CONNECTION)


@pytest.mark.parametrize("held", ["s3cret\nand more", "s3cret\tx", "s3cret" * 1000, "s3cret"])
def test_a_traceback_with_its_variables_shows_no_secret(
    held: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "password"
    file.write_text(held)
    if held == "s3cret":
        monkeypatch.setenv(SASL_VARIABLE, "s3cret")  # as well, which is refused
    settings = Settings(security_protocol="SASL_SSL", sasl_password_file=file, **_SASL)
    with pytest.raises(ConfigError) as caught:
        security(settings)
    # From where `engine` begins: this test's own variables hold it.
    assert caught.tb.tb_next is not None
    error = traceback.TracebackException(
        type(caught.value), caught.value, caught.tb.tb_next, capture_locals=True
    )
    shown = "".join(error.format())
    assert "sasl_password_file" in shown
    assert "s3cret" not in shown


def test_the_end_of_a_connection_is_told_and_not_waited_for(authority: Authority) -> None:
    certfile, keyfile = authority.issue("broker")
    serving = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    serving.load_cert_chain(certfile, keyfile)
    settings = Settings(security_protocol="SSL", ssl_cafile=authority.cafile)
    there, back = ssl.MemoryBIO(), ssl.MemoryBIO()
    context: ssl.SSLContext = security(settings)["ssl_context"]
    client = context.wrap_bio(back, there, server_hostname="127.0.0.1")
    server = serving.wrap_bio(there, back, server_side=True)
    for side in (client, server, client, server):
        with contextlib.suppress(ssl.SSLWantReadError):
            side.do_handshake()
    client.write(b"hello")
    assert server.read() == b"hello"
    sent_before = there.pending
    client.unwrap()  # which would ask for the other side's word
    assert there.pending > sent_before
    assert server.read() == b""  # the end, and no cut
