"""Checkpoints: what is signed is what is read, and nothing else is taken for it."""

from __future__ import annotations

import hashlib
import json

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from hypothesis import given
from hypothesis import strategies as st

from engine.audit.chain_state import Head
from engine.audit.checkpoints import (
    CheckpointError,
    checkpoint_hash,
    new_key_pair,
    open_checkpoint,
    private_key,
    public_key,
    sign,
)
from tests.fakes.chains import NOON_MS

PAIR = new_key_pair()
PRIVATE = private_key(PAIR.private, "key")
PUBLIC = public_key(PAIR.public, "key.pub")
HEADS = [Head("b", 4, "b" * 64), Head("a", 0, "a" * 64)]
SIGNED = sign(PRIVATE, "lpr.audit.v1", HEADS, NOON_MS)

NAMES = st.text(st.characters(codec="utf-8"), min_size=1, max_size=128)
HASHES = st.binary(min_size=32, max_size=32).map(bytes.hex)
ALL_HEADS = st.lists(
    st.builds(Head, NAMES, st.integers(0, 2**53 - 1), HASHES),
    unique_by=lambda head: head.chain,
    max_size=5,
)


@given(ALL_HEADS, st.booleans())
def test_a_checkpoint_opens_as_it_was_signed(heads: list[Head], has_previous: bool) -> None:
    previous = SIGNED if has_previous else None
    content = sign(PRIVATE, "t", heads, NOON_MS, previous)
    opened = open_checkpoint(content, "c.json", PUBLIC)
    assert opened.heads == sorted(heads)
    assert (opened.topic, opened.made_at) == ("t", "2026-01-31T12:00:00.000Z")
    assert opened.previous == (checkpoint_hash(SIGNED) if has_previous else None)


def test_a_signature_can_be_checked_without_us() -> None:
    document = json.loads(SIGNED)
    signature = bytes.fromhex(document.pop("signature"))
    signed = json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    key = Ed25519PublicKey.from_public_bytes(bytes.fromhex(document["public_key"]))
    key.verify(signature, signed.encode())
    with pytest.raises(InvalidSignature):
        key.verify(signature, signed.replace("a", "b").encode())
    whole = json.dumps(json.loads(SIGNED), sort_keys=True, separators=(",", ":"))
    assert checkpoint_hash(SIGNED) == hashlib.sha256(whole.encode()).hexdigest()
    assert checkpoint_hash(json.dumps(json.loads(SIGNED), indent=2).encode()) == checkpoint_hash(
        SIGNED
    )


@given(st.integers(0, len(SIGNED) - 1), st.binary(max_size=2))
def test_a_changed_checkpoint_is_refused(at: int, instead: bytes) -> None:
    content = SIGNED[:at] + instead + SIGNED[at + 1 :]
    try:
        same = json.loads(content) == json.loads(SIGNED)
    except ValueError:
        same = False
    try:
        opened = open_checkpoint(content, "c.json", PUBLIC)
    except CheckpointError:
        assert not same
    else:
        assert same
        assert opened.heads == sorted(HEADS)


def _changed(**changes: object) -> bytes:
    return json.dumps(json.loads(SIGNED) | changes).encode()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "c.json: not a checkpoint"),
        (b"{}", "c.json: not a checkpoint"),
        (b"\xff", "c.json: not a checkpoint"),
        (b"[" * 100_000, "c.json: not a checkpoint"),
        (_changed(format="other"), "c.json: not a checkpoint"),
        (_changed(more=1), "c.json: not a checkpoint"),
        (_changed(signature="0"), "c.json: not a checkpoint"),
        (
            _changed(topic="other"),
            "c.json: its signature is invalid: it was changed after it was signed",
        ),
        (
            _changed(chains=[]),
            "c.json: its signature is invalid: it was changed after it was signed",
        ),
        (
            _changed(signature="0" * 128),
            "c.json: its signature is invalid: it was changed after it was signed",
        ),
        (_changed(public_key="0" * 64), "c.json: signed with another key"),
        (
            sign(private_key(new_key_pair().private, ""), "t", HEADS, 0),
            "c.json: signed with another key",
        ),
    ],
)
def test_what_is_no_checkpoint_of_the_key(content: bytes, message: str) -> None:
    with pytest.raises(CheckpointError) as caught:
        open_checkpoint(content, "c.json", PUBLIC)
    assert str(caught.value) == message


def test_a_forger_cannot_sign_with_the_key_that_he_writes_into_it() -> None:
    own = private_key(new_key_pair().private, "")
    forged = json.loads(sign(own, "lpr.audit.v1", [], NOON_MS))
    forged["public_key"] = json.loads(SIGNED)["public_key"]
    with pytest.raises(CheckpointError, match=r"^c\.json: its signature is invalid"):
        open_checkpoint(json.dumps(forged).encode(), "c.json", PUBLIC)


def test_keys() -> None:
    rsa = generate_private_key(public_exponent=65537, key_size=1024)
    locked = PRIVATE.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"x"))
    not_private = (
        b"",
        PAIR.public,
        locked,
        rsa.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()),
    )
    for pem in not_private:
        with pytest.raises(CheckpointError) as caught:
            private_key(pem, "k.pem")
        assert str(caught.value) == (
            "k.pem: holds no Ed25519 private key without a password (PEM); "
            "hotlist audit keygen makes one"
        )
    not_public = (
        b"",
        PAIR.private,
        rsa.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo),
    )
    for pem in not_public:
        with pytest.raises(CheckpointError) as caught:
            public_key(pem, "k.pub")
        assert str(caught.value) == "k.pub: holds no Ed25519 public key (PEM)"
    assert new_key_pair() != PAIR
