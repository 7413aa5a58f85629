"""Worker and commands on brokers that ask who one is, or speak TLS, or both."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Iterator
from pathlib import Path

import orjson
import pytest

from engine.kafka.topics import Topics
from tests.fakes.certificates import Authority
from tests.fakes.examples import a_policy, a_read, an_entry
from tests.fakes.token_endpoint import TokenEndpoint, token_endpoint
from tests.kafka.broker import RealBroker
from tests.kafka.guarded import HAS_SCRAM, JO, MECHANISM, PASSWORD, Way
from tests.kafka.records import read_topic
from tests.kafka.worker_process import WorkerProcess

#: What KRaft offers from 3.5 on.
_SCRAM = pytest.param(
    "SCRAM-SHA-256",
    marks=pytest.mark.skipif(not HAS_SCRAM, reason="this Kafka keeps no users of SCRAM"),
)


@pytest.fixture
def new_prefix() -> str:
    """A prefix without topics."""
    return f"test-{uuid.uuid4().hex[:12]}."


@pytest.fixture(scope="module")
def tokens() -> Iterator[TokenEndpoint]:
    """Where the client `JO` gets its tokens."""
    with token_endpoint(JO, PASSWORD) as endpoint:
        yield endpoint


def _by_token(guarded: RealBroker, tokens: TokenEndpoint) -> Way:
    return Way(
        guarded.at("USERS"),
        JO,
        security_protocol="SASL_PLAINTEXT",
        sasl_mechanism="OAUTHBEARER",
        sasl_oauthbearer_token_endpoint_url=tokens.url,
        sasl_oauthbearer_client_id=JO,
        sasl_oauthbearer_client_secret=PASSWORD,
        sasl_oauthbearer_scope="kafka",
    )


@pytest.fixture(params=["PLAIN", _SCRAM, "tls", "both", "token"])
def way(
    request: pytest.FixtureRequest,
    guarded: RealBroker,
    authority: Authority,
    tokens: TokenEndpoint,
) -> Way:
    kind: str = request.param
    if kind == "token":
        return _by_token(guarded, tokens)
    return _way(kind, guarded, authority)


def _way(kind: str, guarded: RealBroker, authority: Authority) -> Way:
    user = {"sasl_username": JO, "sasl_password": PASSWORD}
    if kind == "tls":
        certfile, keyfile = authority.issue("records.unit", password="open sesame")
        return Way(
            guarded.at("TLS"),
            "records.unit",
            security_protocol="SSL",
            ssl_cafile=authority.cafile,
            ssl_certfile=certfile,
            ssl_keyfile=keyfile,
            ssl_key_password="open sesame",
        )
    if kind == "both":
        return Way(
            guarded.at("BOTH"),
            "jo",
            security_protocol="SASL_SSL",
            sasl_mechanism=MECHANISM,
            ssl_cafile=authority.cafile,
            **user,
        )
    return Way(
        guarded.at("USERS"),
        "jo",
        security_protocol="SASL_PLAINTEXT",
        sasl_mechanism=kind,
        **user,
    )


async def test_worker_and_commands_connect_that_way(
    way: Way, guarded: RealBroker, new_prefix: str, tmp_path: Path
) -> None:
    policy, entry, read = (
        _written(tmp_path / name, document)
        for name, document in (
            ("policy.json", a_policy()),
            ("entries.jsonl", an_entry()),
            ("reads.jsonl", a_read()),
        )
    )

    def prepare() -> None:
        way.good(new_prefix, "topics", "create")
        way.good(new_prefix, "policies", "set", policy)
        way.good(new_prefix, "entries", "import", entry)
        assert "AG0001" in way.good(new_prefix, "entries", "show")

    await asyncio.to_thread(prepare)
    await _names_the_principal(guarded.bootstrap, new_prefix, way.principal)
    log = tmp_path / "worker.log"
    async with WorkerProcess(log, way.bootstrap, new_prefix, environment=way.variables) as worker:
        await worker.ready()
        await asyncio.to_thread(way.good, new_prefix, "replay", read)
        await worker.has_processed(1)
        tail = await asyncio.to_thread(
            way.good, new_prefix, "tail", "--from-start", "--count=1", "--json"
        )
        assert orjson.loads(tail)["read"]["read_id"] == "R-1"
        await worker.stop()
    text = log.read_text()
    assert PASSWORD not in text
    assert "Traceback" not in text


def _written(path: Path, document: object) -> str:
    path.write_bytes(orjson.dumps(document))
    return str(path)


async def _names_the_principal(bootstrap: str, prefix: str, principal: str) -> None:
    """Nobody was named as the operator, so it is who the broker knows."""
    topics = Topics(prefix)
    for topic in (topics.policies, topics.hotlist):
        (record,) = await read_topic(bootstrap, topic)
        assert dict(record.headers)["operator"] == principal.encode()


@pytest.fixture
def users(guarded: RealBroker, authority: Authority) -> Way:
    return _way("PLAIN", guarded, authority)


@pytest.fixture
def tls(guarded: RealBroker, authority: Authority) -> Way:
    return _way("tls", guarded, authority)


def test_a_named_operator_comes_before_the_principal(
    users: Way, guarded: RealBroker, new_prefix: str, tmp_path: Path
) -> None:
    users.good(new_prefix, "topics", "create")
    policy = _written(tmp_path / "policy.json", a_policy())
    users.good(new_prefix, "policies", "set", policy, "--operator", "chief")
    asyncio.run(_has_operator(guarded.bootstrap, Topics(new_prefix).policies, b"chief"))


async def _has_operator(bootstrap: str, topic: str, operator: bytes) -> None:
    (record,) = await read_topic(bootstrap, topic)
    assert dict(record.headers)["operator"] == operator


@pytest.mark.parametrize("command", [("topics", "create"), ("policies", "show")])
@pytest.mark.parametrize("mechanism", ["PLAIN", _SCRAM])
def test_a_wrong_password_is_one_line(
    users: Way, command: tuple[str, ...], mechanism: str, new_prefix: str
) -> None:
    wrong = {"HOTLIST_SASL_PASSWORD": "wrong-horse", "HOTLIST_SASL_MECHANISM": mechanism}
    line = users.line(new_prefix, *command, **wrong)
    assert line == (
        f"hotlist: {users.bootstrap}: the broker does not accept the user 'jo' with this password; "
        "set --sasl-username (HOTLIST_SASL_USERNAME) and HOTLIST_SASL_PASSWORD"
    )


async def test_a_worker_with_a_wrong_password_ends_with_one_line(
    users: Way, new_prefix: str, tmp_path: Path
) -> None:
    variables = {**users.variables, "HOTLIST_SASL_PASSWORD": "wrong-horse"}
    log = tmp_path / "worker.log"
    async with WorkerProcess(log, users.bootstrap, new_prefix, environment=variables) as worker:
        assert await worker.ends() == 1
    assert log.read_text() == (
        f"hotlist: {users.bootstrap}: the broker does not accept the user 'jo' with this password; "
        "set --sasl-username (HOTLIST_SASL_USERNAME) and HOTLIST_SASL_PASSWORD\n"
    )


def test_a_mechanism_that_the_broker_does_not_offer(users: Way, new_prefix: str) -> None:
    line = users.line(new_prefix, "policies", "show", HOTLIST_SASL_MECHANISM="SCRAM-SHA-512")
    assert line == (
        f"hotlist: {users.bootstrap}: the broker does not offer SCRAM-SHA-512; "
        "set --sasl-mechanism (HOTLIST_SASL_MECHANISM) to one that it offers"
    )


def test_tokens_that_are_not_given_or_not_taken(
    guarded: RealBroker, tokens: TokenEndpoint, new_prefix: str
) -> None:
    way = _by_token(guarded, tokens)
    secret = {"HOTLIST_SASL_OAUTHBEARER_CLIENT_SECRET": "wrong-horse"}
    assert way.line(new_prefix, "policies", "show", **secret) == (
        f"hotlist: token endpoint {tokens.url}: gives no token to the client 'jo', it says "
        "'invalid_client: Wrong credentials'; check --sasl-oauthbearer-client-id, its secret and "
        "--sasl-oauthbearer-scope"
    )
    tokens.lifetime_s = -3600.0
    try:
        line = way.line(new_prefix, "policies", "show")
    finally:
        tokens.lifetime_s = 3600.0
    assert line == (
        f"hotlist: {way.bootstrap}: the broker does not accept this client's token; the token "
        "endpoint gave it; do the brokers trust its issuer and audience?"
    )


def test_without_a_name_where_one_is_asked_for(users: Way, new_prefix: str) -> None:
    line = Way(users.bootstrap, "").line(new_prefix, "policies", "show")
    assert line == (
        f"hotlist: {users.bootstrap}: the broker closes the PLAINTEXT connection; "
        "set --security-protocol (HOTLIST_SECURITY_PROTOCOL) to its listener's protocol; "
        "behind a proxy, the broker itself may be down"
    )


def test_plain_words_where_tls_is_spoken(tls: Way, new_prefix: str) -> None:
    line = Way(tls.bootstrap, "").line(new_prefix, "topics", "create")
    assert line == (
        f"hotlist: {tls.bootstrap}: the broker closes the PLAINTEXT connection; "
        "set --security-protocol (HOTLIST_SECURITY_PROTOCOL) to its listener's protocol; "
        "behind a proxy, the broker itself may be down"
    )


def test_an_authority_that_did_not_sign(tls: Way, new_prefix: str, tmp_path: Path) -> None:
    other = Authority(tmp_path, "other")
    line = tls.line(new_prefix, "policies", "show", HOTLIST_SSL_CAFILE=str(other.cafile))
    assert line.startswith(f"hotlist: {tls.bootstrap}: the broker's certificate is not trusted (")
    assert line.endswith("; set --ssl-cafile (HOTLIST_SSL_CAFILE) to the authority that signed it")


def test_another_name_than_the_certificate_has(tls: Way, new_prefix: str) -> None:
    bootstrap = tls.bootstrap.replace("127.0.0.1", "localhost")
    line = tls.line(new_prefix, "policies", "show", HOTLIST_BOOTSTRAP=bootstrap)
    assert line == (
        f"hotlist: {bootstrap}: the broker's certificate is for another name; "
        "set --bootstrap (HOTLIST_BOOTSTRAP) to a name that is in it"
    )


def test_no_certificate_where_one_is_asked_for(
    tls: Way, authority: Authority, new_prefix: str
) -> None:
    without = Way(tls.bootstrap, "", security_protocol="SSL", ssl_cafile=authority.cafile)
    assert without.line(new_prefix, "policies", "show") == (
        f"hotlist: {tls.bootstrap}: the broker closes the SSL connection; "
        "set --security-protocol (HOTLIST_SECURITY_PROTOCOL) to its listener's protocol, "
        "or it asks for a certificate (--ssl-certfile); "
        "behind a proxy, the broker itself may be down"
    )


def test_a_setting_that_would_do_nothing_is_status_2(users: Way, new_prefix: str) -> None:
    result = users.run(new_prefix, "policies", "show", HOTLIST_SECURITY_PROTOCOL="PLAINTEXT")
    assert result.exit_code == 2
    assert result.stderr == (
        "hotlist: sasl_mechanism: is set, and has no effect with the security protocol PLAINTEXT; "
        "set --security-protocol (HOTLIST_SECURITY_PROTOCOL) to SASL_PLAINTEXT or SASL_SSL\n"
    )
