"""`engine.demo.embedded_broker`: the broker comes up, goes, and says what it lacks."""

from __future__ import annotations

import socket
import sys

import pytest

from engine.demo.embedded_broker import EmbeddedBroker
from engine.errors import BrokerError


def _listens(bootstrap: str) -> bool:
    host, port = bootstrap.rsplit(":", 1)
    with socket.socket() as probe:
        return probe.connect_ex((host, int(port))) == 0


def test_it_listens_while_it_is_open() -> None:
    with EmbeddedBroker() as broker:
        bootstrap = broker.bootstrap
        assert _listens(bootstrap)
    assert not _listens(bootstrap)


def test_two_are_two() -> None:
    with EmbeddedBroker() as one, EmbeddedBroker() as other:
        assert one.bootstrap != other.bootstrap


def test_a_closed_one_has_no_address() -> None:
    broker = EmbeddedBroker()
    with pytest.raises(BrokerError, match="not running"):
        _ = broker.bootstrap
    with broker:
        pass
    with pytest.raises(BrokerError, match="not running"):
        _ = broker.bootstrap


def test_without_confluent_kafka_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "confluent_kafka", None)
    with pytest.raises(BrokerError) as caught, EmbeddedBroker():
        pass
    assert "pip install 'hotlist-engine[embedded]'" in str(caught.value)


def test_it_says_nothing_on_the_terminal(capfd: pytest.CaptureFixture[str]) -> None:
    with EmbeddedBroker():
        pass
    assert capfd.readouterr() == ("", "")
