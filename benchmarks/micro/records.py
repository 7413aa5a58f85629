"""Decompression by codec, compression by level, and what opening and writing documents costs.

Batches of 850 reads, about 256 KiB before compression.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable

import msgspec
from aiokafka import codec as aiokafka_codec

from benchmarks.measures.figures import Figure, MeasuredCase
from benchmarks.measures.scenery import probe_entry
from benchmarks.micro.material import CODECS, batch_of, reads
from benchmarks.micro.timing import warm_s
from engine.delivery.records import match_record
from engine.documents.admission import Purposes, check_entry
from engine.documents.codec import decode_detection, decode_entry, encode
from engine.documents.model import Match
from engine.kafka.fast_compression import lz4_encode
from engine.kafka.topics import Topics
from engine.matching.candidates import Found
from engine.matching.lists import ControlKind, ControlRecord, Lists
from engine.matching.match import Basis, build_match, found_match
from engine.plates.likeness import Likeness
from engine.plates.normal_form import normalize
from engine.wire.decompress import Decompressor

_BATCH_READS = 850
_TIMES = 200


def decompression() -> list[MeasuredCase]:
    """One case a codec."""
    records = reads(_BATCH_READS)
    plain_bytes = len(batch_of(records, "none").records)
    cases = []
    for codec in CODECS:
        batch = batch_of(records, codec)
        decompressor = Decompressor()
        assert len(decompressor.decompress(batch.codec, batch.records)) == plain_bytes

        def go(batch: object = batch, decompressor: Decompressor = decompressor) -> None:
            decompressor.decompress(batch.codec, batch.records)  # type: ignore[attr-defined]

        took_s = warm_s(go)
        cases.append(
            MeasuredCase(
                case=codec,
                figures=[
                    Figure(name="time", unit="ns a read", values=[took_s / _BATCH_READS * 1e9]),
                    Figure(
                        name="size", unit="bytes a read", values=[len(batch.data) / _BATCH_READS]
                    ),
                ],
            )
        )
    return cases


def compression() -> list[MeasuredCase]:
    """Our LZ4 beside aiokafka's, on a batch of matches with plates and times of their own."""
    entry = probe_entry("AG0001-0000001", "X")
    matches = []
    for number, (key, value) in enumerate(reads(_BATCH_READS)):
        plate = key.decode()
        read = decode_detection(value)
        found = Found(msgspec.structs.replace(entry, plate=plate), number, Likeness("exact"), plate)
        basis = Basis(1, 1, read.captured_ms + 5, read.captured_ms)
        matches.append(encode(build_match(found, read, 0.99, 0, basis)))
    payload = b"".join(matches)
    cases = []
    for name, compress in (
        ("LZ4, level 1, ours", lz4_encode),
        ("LZ4, level 9, aiokafka's own", aiokafka_codec.lz4_encode),
    ):
        took_s = warm_s(functools.partial(compress, payload))
        size = len(compress(payload)) / _BATCH_READS
        time_ns = took_s / _BATCH_READS * 1e9
        figures = [
            Figure(name="time", unit="ns a match", values=[time_ns]),
            Figure(name="size", unit="bytes a match", values=[size]),
        ]
        cases.append(MeasuredCase(case=name, figures=figures))
    return cases


def documents() -> list[MeasuredCase]:
    """One case for each step in the way of a match or of an entry."""
    key, value = reads(1)[0]
    plate = key.decode()
    entry = probe_entry("AG0001-0000001", plate)
    entry_json = encode(entry)
    detection = decode_detection(value)
    purposes = Purposes.load(None)
    now_ms = int(time.time() * 1000)
    topics = Topics("bench.")

    def match() -> Match:
        found = Found(entry, 1, Likeness("exact"), plate)
        basis = Basis(1, 1, now_ms, detection.captured_ms)
        return build_match(found, detection, 0.99, 0, basis)

    found = match()
    steps: dict[str, Callable[[], object]] = {
        "decode a detection": lambda: decode_detection(value),
        "normalize a plate": lambda: normalize(plate),
        "decode an entry": lambda: decode_entry(entry_json),
        "check an entry by the rules": lambda: check_entry(entry, purposes),
        "build a match": match,
        "encode a match for the sink": lambda: match_record(
            topics.matches, found_match(found, now_ms)
        ),
    }
    cases = [_case(name, _each_s(step)) for name, step in steps.items()]
    cases.append(_case("apply an entry to the lists (of 6,000)", _apply_s(purposes)))
    return cases


def _apply_s(purposes: Purposes) -> float:
    """Seconds to apply one of many entries, each with a plate and times of its own."""
    from benchmarks.measures.long_list import filler

    now_ms = int(time.time() * 1000)
    count = 6_000
    records = [
        ControlRecord(ControlKind.ENTRY, 0, number, now_ms, record.key, record.value)
        for number, record in enumerate(filler(0, count, now_ms, "single"))
    ]
    return warm_s(lambda: Lists(purposes).apply(records, now_ms), 5) / count


def _each_s(step: Callable[[], object]) -> float:
    def go() -> None:
        for _ in range(_TIMES):
            step()

    return warm_s(go) / _TIMES


def _case(name: str, took_s: float) -> MeasuredCase:
    return MeasuredCase(case=name, figures=[Figure(name="time", unit="µs", values=[took_s * 1e6])])
