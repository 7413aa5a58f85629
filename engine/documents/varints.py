"""Integers of variable length, as Avro and Protobuf write them. Pure."""

from __future__ import annotations


def varint(data: bytes, at: int) -> tuple[int, int]:
    """Return the unsigned integer at a position, and the position behind it.

    Raises EOFError if the data ends within it, and OverflowError if it has more than 64 bits.
    """
    value = 0
    for shift in range(0, 70, 7):
        if at >= len(data):
            raise EOFError
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            if value >> 64:
                break
            return value, at
    raise OverflowError


def unzigzag(value: int) -> int:
    """Return the signed integer that an unsigned one stands for."""
    return (value >> 1) ^ -(value & 1)
