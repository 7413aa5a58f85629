"""Decompression beside aiokafka's codecs; damage, bombs, and the buffer that is used again."""

from __future__ import annotations

import gzip
import random
import struct
import subprocess
import sys
import tracemalloc
from collections.abc import Callable
from dataclasses import replace
from typing import Final

import cramjam
import pytest
from aiokafka import codec as codecs
from hypothesis import given
from hypothesis import strategies as st

from engine import limits
from engine.wire.decompress import CodecError, Decompressor
from engine.wire.record_batch import RawBatch
from tests.fakes.record_batches import CODECS, GZIP, LZ4, NONE, SNAPPY, ZSTD, compress

_XERIAL = b"\x82SNAPPY\x00" + struct.pack(">ii", 1, 1)


def snappy_decode(data: bytes) -> bytes:
    """aiokafka's, which knows neither an empty stream nor another version than the first."""
    if data[:8] == _XERIAL[:8]:
        return bytes(codecs.snappy_decode(_XERIAL + data[16:])) if len(data) > 16 else b""
    return bytes(codecs.snappy_decode(data))


_DECODERS: dict[int, Callable[[bytes], bytes]] = {
    NONE: bytes,
    GZIP: codecs.gzip_decode,
    SNAPPY: snappy_decode,
    LZ4: codecs.lz4_decode,
    ZSTD: codecs.zstd_decode,
}
_PACKED = (GZIP, SNAPPY, LZ4, ZSTD)
_MAX_ROOM = 32 * limits.MIB


def raw_snappy(data: bytes) -> bytes:
    return bytes(codecs.snappy_encode(data, xerial_compatible=False))


def lz4_with_size(data: bytes) -> bytes:
    return bytes(cramjam.lz4.compress(data))


def gzip_members(data: bytes) -> bytes:
    """The data in three members, one of them empty."""
    middle = len(data) // 2
    return gzip.compress(data[:middle]) + gzip.compress(b"") + gzip.compress(data[middle:])


def xerial(blocks: list[bytes]) -> bytes:
    """A Java snappy stream of these compressed blocks."""
    framed = b"".join(struct.pack(">i", len(block)) + block for block in blocks)
    return _XERIAL + framed


#: Every way in which a producer may write a batch: name, codec, how.
_WAYS: list[tuple[int, Callable[[bytes], bytes]]] = [
    *((codec, lambda data, codec=codec: compress(codec, data)) for codec in CODECS),
    (GZIP, gzip_members),
    (SNAPPY, raw_snappy),
    (LZ4, lz4_with_size),
    (LZ4, lambda data: lz4_with_size(data[:9]) + lz4_with_size(data[9:])),
    (ZSTD, lambda data: compress(ZSTD, data[:9]) + compress(ZSTD, data[9:])),
]


@pytest.mark.parametrize(("codec", "pack"), _WAYS)
@given(data=st.binary(max_size=2000), repeat=st.integers(0, 40))
def test_gives_back_what_went_in(
    codec: int, pack: Callable[[bytes], bytes], data: bytes, repeat: int
) -> None:
    whole = data * repeat
    packed = pack(whole)
    plain = Decompressor().decompress(codec, memoryview(packed))
    assert bytes(plain) == whole
    assert not plain.flags.writeable, "the loops are compiled for one kind of array"
    assert _DECODERS[codec](packed) == whole


@pytest.mark.parametrize(("codec", "pack"), _WAYS)
def test_one_buffer_for_batches_of_every_size(codec: int, pack: Callable[[bytes], bytes]) -> None:
    """Sizes around those at which the buffer grows, up and down, through one decompressor."""
    decompressor = Decompressor()
    chance = random.Random(codec)
    kib = limits.KIB
    for size in (10, 256 * kib, 256 * kib + 1, 5, 700 * kib, 3 * limits.MIB, 1, 0, 600 * kib):
        whole = chance.randbytes(997) * (size // 997) + chance.randbytes(size % 997)
        assert bytes(decompressor.decompress(codec, memoryview(pack(whole)))) == whole


@pytest.mark.parametrize(("codec", "pack"), _WAYS)
def test_several_batches_come_one_after_the_other(
    codec: int, pack: Callable[[bytes], bytes]
) -> None:
    chance = random.Random(codec)
    wholes = [chance.randbytes(50) * times for times in (1, 20_000, 0, 700, 30_000)]
    packed = [memoryview(pack(whole)) for whole in wholes]
    assert bytes(Decompressor().decompress(codec, *packed)) == b"".join(wholes)


@pytest.mark.parametrize(("codec", "pack"), _WAYS)
def test_a_group_may_have_many_small_batches(codec: int, pack: Callable[[bytes], bytes]) -> None:
    """A group can have hundreds: Java's producer has batches of 16 KiB by default."""
    wholes = [b"%d" % number * 100 for number in range(300)]
    packed = [memoryview(pack(whole)) for whole in wholes]
    assert bytes(Decompressor().decompress(codec, *packed)) == b"".join(wholes)


@pytest.mark.parametrize(("codec", "pack"), [way for way in _WAYS if way[0] in _PACKED])
def test_the_limit_is_that_of_all_batches(codec: int, pack: Callable[[bytes], bytes]) -> None:
    packed = [memoryview(pack(bytes(limits.MIB // 2))) for _ in range(3)]
    Decompressor(limits.MIB).decompress(codec, *packed[:2])
    with pytest.raises(CodecError) as caught:
        Decompressor(limits.MIB).decompress(codec, *packed)
    assert caught.value.reason == "batch_too_large"


def test_raw_blocks_and_javas_streams_of_snappy_come_in_one_group() -> None:
    ways = [pack for codec, pack in _WAYS if codec == SNAPPY]
    assert len(ways) > 1
    packed = [memoryview(pack(bytes([number]) * 5_000)) for number, pack in enumerate(ways)]
    expected = b"".join(bytes([number]) * 5_000 for number in range(len(ways)))
    assert bytes(Decompressor().decompress(SNAPPY, *packed)) == expected


def test_the_way_is_no_matter_of_the_buffer_before() -> None:
    decompressor = Decompressor()
    chance = random.Random(7)
    for _ in range(60):
        codec, pack = chance.choice(_WAYS)
        whole = chance.randbytes(50) * chance.choice([0, 1, 100, 10_000, 30_000])
        assert bytes(decompressor.decompress(codec, memoryview(pack(whole)))) == whole


@pytest.mark.parametrize("codec", [5, 6, 7, -1])
def test_a_codec_that_kafka_does_not_have(codec: int) -> None:
    with pytest.raises(CodecError) as caught:
        Decompressor().decompress(codec, memoryview(b"data"))
    assert caught.value.reason == "unknown_codec"


@pytest.mark.parametrize(
    ("codec", "pack"), [way for way in _WAYS if way[0] in _PACKED and way[1] is not gzip_members]
)
def test_every_truncation(codec: int, pack: Callable[[bytes], bytes]) -> None:
    """Cut anywhere, the data is broken, or is a shorter whole that aiokafka reads alike."""
    whole = b"a licence plate, and another one" * 20
    packed = pack(whole)
    decompressor = Decompressor()
    reasons = []
    for cut in range(len(packed)):
        try:
            plain = bytes(decompressor.decompress(codec, memoryview(packed)[:cut]))
        except CodecError as error:
            reasons.append(error.reason)
        else:
            assert whole.startswith(plain)
            assert plain != whole
            if cut:
                assert _DECODERS[codec](packed[:cut]) == plain
    assert set(reasons) == {"corrupt_batch"}
    assert len(reasons) >= len(packed) - 2


def check_beside_aiokafka(codec: int, data: bytes) -> None:
    """A CodecError, or what aiokafka's codec gives."""
    reason = None
    try:
        plain = bytes(Decompressor(limits.MIB).decompress(codec, memoryview(data)))
    except CodecError as error:
        reason = error.reason
    if reason is None:
        assert plain == _DECODERS[codec](data)
    assert reason in (None, "corrupt_batch", "batch_too_large")


@given(
    st.binary(max_size=2000),
    st.one_of(
        st.binary(min_size=1, max_size=12),
        st.integers(1, 40).map(bytes),
        st.binary(max_size=40).map(gzip.compress),
    ),
)
def test_what_follows_a_gzip_member(plain: bytes, rest: bytes) -> None:
    """A further member is read; anything else is an error."""
    packed = gzip.compress(plain)
    check_beside_aiokafka(GZIP, packed + rest)
    check_beside_aiokafka(GZIP, packed + packed[-8:])
    check_beside_aiokafka(GZIP, packed + rest + packed[-8:])


@given(st.binary(max_size=300), st.integers(0, 2**32 - 1))
def test_a_lie_about_the_size_in_a_gzip_stream(plain: bytes, size_bytes: int) -> None:
    check_beside_aiokafka(GZIP, gzip.compress(plain)[:-4] + size_bytes.to_bytes(4, "little"))


def test_zlib_is_not_asked_for_a_gzip_stream_of_one_member(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("zlib.decompressobj", None)
    plain = b"a licence plate, and another one" * 2000
    packed = gzip.compress(plain)
    decompressor = Decompressor(len(plain))
    assert bytes(decompressor.decompress(GZIP, memoryview(packed))) == plain
    with pytest.raises(TypeError):
        Decompressor(len(plain) - 1).decompress(GZIP, memoryview(packed))


@pytest.mark.parametrize("codec", _PACKED)
@given(data=st.binary(min_size=1, max_size=300))
def test_garbage(codec: int, data: bytes) -> None:
    check_beside_aiokafka(codec, data)


@pytest.mark.parametrize(("codec", "pack"), [way for way in _WAYS if way[0] in _PACKED])
@given(st.integers(0), st.integers(0, 255))
def test_a_damaged_byte(codec: int, pack: Callable[[bytes], bytes], at: int, byte: int) -> None:
    packed = bytearray(pack(b"a licence plate, and another one" * 20))
    packed[at % len(packed)] = byte
    check_beside_aiokafka(codec, bytes(packed))


_LIMIT = 300 * limits.KIB


@pytest.mark.parametrize(("codec", "pack"), [way for way in _WAYS if way[0] in _PACKED])
def test_the_limit_to_the_byte(codec: int, pack: Callable[[bytes], bytes]) -> None:
    decompressor = Decompressor(_LIMIT)
    exactly = bytes(_LIMIT)
    assert bytes(decompressor.decompress(codec, memoryview(pack(exactly)))) == exactly
    with pytest.raises(CodecError) as caught:
        decompressor.decompress(codec, memoryview(pack(exactly + b"\x00")))
    assert caught.value.reason == "batch_too_large"
    assert bytes(decompressor.decompress(codec, memoryview(pack(b"next")))) == b"next"


@pytest.mark.parametrize(("codec", "pack"), [way for way in _WAYS if way[0] in _PACKED])
def test_a_bomb_takes_no_more_memory_than_the_limit(
    codec: int, pack: Callable[[bytes], bytes]
) -> None:
    bomb = memoryview(pack(bytes(_MAX_ROOM)))
    assert len(bomb) < _MAX_ROOM // 10
    decompressor = Decompressor(_LIMIT)
    tracemalloc.start()
    try:
        with pytest.raises(CodecError) as caught:
            decompressor.decompress(codec, bomb)
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert caught.value.reason == "batch_too_large"
    assert peak_bytes < 4 * _LIMIT + 2 * len(bomb)


def test_a_claim_to_be_large_is_not_believed_with_memory() -> None:
    """A snappy block of a few bytes that says it holds four gigabytes."""
    claim = b"\xff\xff\xff\xff\x0f" + b"\x00" * 10
    for data in (claim, xerial([claim])):
        decompressor = Decompressor(_LIMIT)
        tracemalloc.start()
        try:
            with pytest.raises(CodecError) as caught:
                decompressor.decompress(SNAPPY, memoryview(data))
            _, peak_bytes = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert caught.value.reason == "batch_too_large"
        assert peak_bytes < 2 * _LIMIT


@given(st.lists(st.binary(max_size=400).map(lambda data: data * 50), max_size=30))
def test_snappy_blocks_of_any_sizes(blocks: list[bytes]) -> None:
    packed = xerial([raw_snappy(block) for block in blocks])
    plain = bytes(Decompressor().decompress(SNAPPY, memoryview(packed)))
    assert plain == b"".join(blocks)


@pytest.mark.parametrize(
    "data",
    [
        b"\x82SNAPPY\x00",
        b"\x82SNAPPY\x00\x00\x00\x00\x01",
        xerial([]) + b"\x00\x00\x00\x00",
        xerial([]) + b"\xff\xff\xff\xff",
        xerial([]) + b"\x00\x00",
        xerial([b"\x05\x00"]),
    ],
)
def test_snappy_frames_that_do_not_add_up(data: bytes) -> None:
    with pytest.raises(CodecError) as caught:
        Decompressor().decompress(SNAPPY, memoryview(data))
    assert caught.value.reason == "corrupt_batch"


def test_uncompressed_records_are_not_copied() -> None:
    data = bytearray(b"records")
    plain = Decompressor().decompress(NONE, memoryview(data))
    data[0] = ord("R")
    assert bytes(plain) == b"Records"


@pytest.mark.parametrize(("codec", "pack"), [way for way in _WAYS if way[0] in (SNAPPY, LZ4, ZSTD)])
def test_what_is_forgotten_is_wiped(codec: int, pack: Callable[[bytes], bytes]) -> None:
    """What was decompressed last, and what the buffer held before it grew."""
    decompressor = Decompressor()
    short = decompressor.decompress(codec, memoryview(pack(b"first" * 40_000)))
    whole = decompressor.decompress(codec, memoryview(pack(b"second" * 400_000)))
    assert short.base is not whole.base
    assert not short.any()
    assert bytes(whole[:6]) == b"second"
    decompressor.scrub()
    assert not whole.any()
    assert bytes(decompressor.decompress(codec, memoryview(pack(b"next")))) == b"next"


def wrapped(data: bytes, codec: int, magic: int = 1, key: bytes = b"k") -> RawBatch:
    """A message of the formats before v2 that says it wraps others."""
    head = bytes(16) + bytes([magic, codec]) + bytes(8 * magic)
    message = b"".join(struct.pack(">i", len(part)) + part for part in (key, data))
    return RawBatch(
        data=memoryview(head + message),
        magic=magic,
        codec=-1,
        record_count=-1,
        base_offset=0,
        next_offset=1,
        from_offset=0,
        first_ms=-1,
        append_ms=None,
        intact=True,
    )


@pytest.mark.parametrize("codec", [GZIP, SNAPPY, LZ4])
@pytest.mark.parametrize("magic", [0, 1])
def test_a_bomb_in_a_message_of_an_old_format(codec: int, magic: int) -> None:
    """Its parser would unpack all of it."""
    bomb = wrapped(compress(codec, bytes(_MAX_ROOM)), codec, magic)
    if (codec, magic) == (LZ4, 0):  # of which its parser has no reader
        Decompressor(_LIMIT).check_wrapped(bomb)
        return
    with pytest.raises(CodecError) as caught:
        Decompressor(_LIMIT).check_wrapped(bomb)
    assert caught.value.reason == "batch_too_large"
    Decompressor(_LIMIT).check_wrapped(wrapped(compress(codec, b"as it should be"), codec, magic))


def test_a_message_of_an_old_format_whose_sizes_lead_elsewhere() -> None:
    """What is looked at must be what the parser would unpack."""
    sound = bytes(wrapped(gzip.compress(b"x"), GZIP).data)
    for at in (26, 31):
        for size in (-2, -(2**31), 2**31 - 1, len(sound)):
            data = sound[:at] + struct.pack(">i", size) + sound[at + 4 :]
            with pytest.raises(CodecError) as caught:
                Decompressor().check_wrapped(replace(wrapped(b"", GZIP), data=memoryview(data)))
            assert caught.value.reason == "corrupt_batch"


def test_snappy_blocks_are_not_endless() -> None:
    """Each costs microseconds: a few megabytes of nothing would take as many seconds."""
    nothing, a_word = raw_snappy(b""), raw_snappy(b"a word, not more")
    few = xerial([nothing] * 64)
    assert bytes(Decompressor().decompress(SNAPPY, memoryview(few))) == b""
    for block in (nothing, a_word):
        with pytest.raises(CodecError) as caught:
            Decompressor().decompress(SNAPPY, memoryview(xerial([block] * 1000)))
        assert caught.value.reason == "corrupt_batch"
    small = [raw_snappy(bytes([number % 256]) * 1024) for number in range(1000)]
    assert len(Decompressor().decompress(SNAPPY, memoryview(xerial(small)))) == 1000 * 1024


_PEAKS: Final = """
import struct, gzip, sys
import cramjam
from engine.wire.decompress import CodecError, Decompressor

def peak_kib():
    return int(next(l for l in open("/proc/self/status") if l.startswith("VmHWM")).split()[1])

zeros = bytes(64 << 20)
xerial = b"\\x82SNAPPY\\0" + struct.pack(">ii", 1, 1)
packed = {
    1: gzip.compress(zeros),
    2: bytes(cramjam.snappy.compress_raw(zeros)),
    3: bytes(cramjam.lz4.compress(zeros)),
    4: bytes(cramjam.zstd.compress(zeros)),
}
zstd, lz4 = packed[4][:4], packed[3][:4]
one_byte = struct.pack("<I", 1 | 1 << 1 | 100 << 3)[:3] + b"a"
bombs = [
    *packed.items(),
    *((codec, packed[codec] * 20) for codec in (1, 3, 4)),
    (1, gzip.compress(packed[1]) * 3),
    (1, b"\\x1f\\x8b\\x08\\x08" + bytes(6) + b"a" * 500_000),
    (2, xerial + b"".join(struct.pack(">i", len(packed[2])) + packed[2] for _ in range(2))),
    (2, b"\\xff\\xff\\xff\\xff\\x0f" + bytes(20)),
    (3, lz4 + b"\\x7c\\x70" + struct.pack("<Q", 1 << 62) + b"\\0" + bytes(20)),
    (4, zstd + b"\\0" + bytes([31 << 3]) + one_byte),
    (4, zstd + b"\\0" + bytes([17 << 3]) + one_byte),
    (4, zstd + b"\\xe0" + struct.pack("<Q", 1 << 62) + one_byte),
    (4, zstd + b"\\xa0" + struct.pack("<I", 1 << 30) + one_byte),
    (4, bytes(cramjam.zstd.compress(packed[4])) * 1000),
]
del zeros
decompressor = Decompressor(1 << 20)
open("/proc/self/clear_refs", "w").write("5")
before = peak_kib()
for codec, data in bombs:
    try:
        decompressor.decompress(codec, memoryview(data))
    except CodecError:
        pass
print(peak_kib() - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the peak is read from /proc")
def test_bombs_of_every_kind_take_little_memory_all_told() -> None:
    """What the libraries take is not Python's to count, so a process is watched from outside:
    frames in frames and one behind another, and sizes and windows that are lies."""
    done = subprocess.run(
        [sys.executable, "-c", _PEAKS], capture_output=True, text=True, check=True
    )
    assert int(done.stdout) < 32 * 1024
