"""Signed checkpoints: the state of the audit's chains at some time, to be kept elsewhere.

A checkpoint is a JSON document with the last sequence and hash of every chain, signed with an
Ed25519 key that the operator keeps away from the brokers. With an old checkpoint an auditor finds
out that a chain was rewritten since, even if all of its hashes were computed again. Each may name
the previous one by its hash, so that none can be removed from the middle of their sequence. Those
that a worker makes are partial: they hold only the chains that it writes, and name no other.

The signature covers the canonical JSON (as in `chain`) of the document without `signature`. The
hash of a checkpoint is the SHA-256 of its canonical JSON with it. Reads and writes no files.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Final, Literal

import msgspec
import orjson
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import (
    Ed25519PrivateKey,
    Ed25519PublicKey,
)
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)
from msgspec import Meta

from engine import limits
from engine.audit.chain_state import Head
from engine.clock import format_time
from engine.documents.fields import Count, Hash, Time
from engine.errors import HotlistError

FORMAT: Final = "hotlist-checkpoint-1"

_Hex32 = Annotated[str, Meta(pattern=r"^[0-9a-f]{64}\Z")]
_Hex64 = Annotated[str, Meta(pattern=r"^[0-9a-f]{128}\Z")]


class CheckpointError(HotlistError):
    """A checkpoint or a key cannot be used, or a signature is invalid."""


class _ChainHead(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    chain: Annotated[str, Meta(min_length=1, max_length=limits.AUDIT_CHAIN_CHARACTERS)]
    hash: Hash
    sequence: Count


class Checkpoint(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A signed checkpoint. `previous` is the hash of the one before, absent in the first. `partial`
    if a worker made it, of its own chains only."""

    chains: tuple[_ChainHead, ...]
    format: Literal["hotlist-checkpoint-1"]
    made_at: Time
    partial: bool = False
    previous: Hash | None = None
    public_key: _Hex32
    signature: _Hex64
    topic: str

    @property
    def heads(self) -> list[Head]:
        """The last record of each chain when the checkpoint was made."""
        return [Head(at.chain, at.sequence, at.hash) for at in self.chains]


@dataclass(frozen=True, slots=True)
class KeyPair:
    """A new key pair in PEM: the private and the public key."""

    private: bytes
    public: bytes


def new_key_pair() -> KeyPair:
    """Generate a key pair for signing checkpoints."""
    key = Ed25519PrivateKey.generate()
    return KeyPair(
        key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()),
        key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo),
    )


def private_key(pem: bytes, where: str) -> Ed25519PrivateKey:
    """Load the key of a PEM file that `hotlist audit keygen` wrote. Raises CheckpointError."""
    try:
        key = load_pem_private_key(pem, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, Ed25519PrivateKey):
        raise CheckpointError(
            "holds no Ed25519 private key without a password (PEM)",
            where=where,
            hint="hotlist audit keygen makes one",
        )
    return key


def public_key(pem: bytes, where: str) -> Ed25519PublicKey:
    """Load the public key of a PEM file. Raises CheckpointError."""
    try:
        key = load_pem_public_key(pem)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, Ed25519PublicKey):
        raise CheckpointError("holds no Ed25519 public key (PEM)", where=where)
    return key


def sign(
    key: Ed25519PrivateKey,
    topic: str,
    heads: Sequence[Head],
    at_ms: int,
    previous: bytes | None = None,
    *,
    partial: bool = False,
) -> bytes:
    """Return a signed checkpoint of these chains, as a file's content; `previous` likewise."""
    document: dict[str, Any] = {
        "chains": [head._asdict() for head in sorted(heads)],
        "format": FORMAT,
        "made_at": format_time(at_ms),
        "public_key": _digits(key.public_key()),
        "topic": topic,
    }
    if partial:
        document["partial"] = True
    if previous is not None:
        document["previous"] = checkpoint_hash(previous)
    signature = key.sign(_canonical(document)).hex()
    return _canonical({**document, "signature": signature}) + b"\n"


def checkpoint_hash(content: bytes) -> str:
    """Return the hash of a checkpoint, by which the next one names it."""
    return hashlib.sha256(_canonical(orjson.loads(content))).hexdigest()


def open_checkpoint(content: bytes, where: str, key: Ed25519PublicKey) -> Checkpoint:
    """Open a checkpoint that was signed with this key.

    The key inside the checkpoint only says which key to look for: anyone can write one there.
    Raises CheckpointError if it is not a checkpoint, is signed with another key, or was changed.
    """
    try:
        checkpoint = msgspec.json.decode(content, type=Checkpoint)
        document = orjson.loads(content)
    except (msgspec.DecodeError, orjson.JSONDecodeError, UnicodeError, RecursionError):
        raise CheckpointError("not a checkpoint", where=where) from None
    if checkpoint.public_key != _digits(key):
        raise CheckpointError("signed with another key", where=where)
    del document["signature"]
    try:
        key.verify(bytes.fromhex(checkpoint.signature), _canonical(document))
    except InvalidSignature:
        raise CheckpointError(
            "its signature is invalid: it was changed after it was signed", where=where
        ) from None
    return checkpoint


def open_all(files: Sequence[tuple[str, bytes]], key: Ed25519PublicKey) -> list[Checkpoint]:
    """Open checkpoints by name and content, the oldest first.

    Of the complete ones each must name the one before. Raises CheckpointError as `open_checkpoint`
    does, and if one is missing between two.
    """
    opened: list[Checkpoint] = []
    before: tuple[str, str] | None = None
    for name, content in files:
        found = open_checkpoint(content, name, key)
        opened.append(found)
        if found.partial:
            continue
        if before is not None and found.previous != before[1]:
            raise CheckpointError(
                f"does not name {before[0]} as the checkpoint before it",
                where=name,
                hint="give them all, the oldest first, or each alone",
            )
        before = name, checkpoint_hash(content)
    return opened


def _digits(key: Ed25519PublicKey) -> str:
    return key.public_bytes(Encoding.Raw, PublicFormat.Raw).hex()


def _canonical(document: dict[str, Any]) -> bytes:
    return orjson.dumps(document, option=orjson.OPT_SORT_KEYS)
