"""The limits agree with each other, and `check` notices where they do not."""

from __future__ import annotations

import pytest

from engine import limits


def test_the_limits_agree() -> None:
    limits.check()


@pytest.mark.parametrize(
    ("size_bytes", "text"),
    [
        (0, "0 bytes"),
        (100, "100 bytes"),
        (1023, "1023 bytes"),
        (limits.KIB, "1 KiB"),
        (1536, "1.5 KiB"),
        (512 * limits.KIB, "512 KiB"),
        (limits.MIB - 1, "1024 KiB"),
        (limits.MIB, "1 MiB"),
        (5 * limits.MIB // 2, "2.5 MiB"),
        (4096 * limits.MIB, "4096 MiB"),
    ],
)
def test_a_size_is_written_in_a_unit_that_people_read(size_bytes: int, text: str) -> None:
    assert limits.size_text(size_bytes) == text


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("READ_VALUE_BYTES", limits.BATCH_BYTES),
        ("READ_VALUE_BYTES", limits.SINK_BATCH_BYTES // 2),
        ("FETCH_PARTITION_BYTES", limits.FETCH_BYTES + 1),
        ("FETCH_WAIT_MS", 1_000 * limits.CONTROL_STALE_S),
        ("HEARTBEAT_S", limits.SESSION_S / 2),
        ("LEAVE_S", limits.SESSION_S),
        ("END_S", limits.SHUTDOWN_S),
        ("AUDIT_BATCH_BYTES", limits.SINK_BATCH_BYTES),
        ("AUDIT_STEP_CHANGES", limits.AUDIT_PENDING_CHANGES),
        ("AUDIT_LOOK_S", limits.CONTROL_STALE_S),
        ("SCRUB_FREED_S", limits.SCRUB_INTERVAL_S / 2),
        ("HTTP_SHUTDOWN_S", limits.SHUTDOWN_S),
        ("FETCHED_BYTES", 2 * limits.FETCH_BYTES - 1),
        ("BATCH_RECORDS", limits.BATCH_BYTES // 64 - 1),
        ("OUTCOME_BYTES", 2 * limits.SINK_BATCH_BYTES - 1),
        ("STUCK_LOOK_S", limits.STUCK_S / 4),
        ("METADATA_MAX_AGE_S", limits.STUCK_S / 2),
        ("METADATA_MAX_AGE_S", limits.FETCH_WAIT_MS / 1000),
        ("GONE_LOOKS", limits.CONTROL_STALE_S / limits.RETRY_PAUSE_S),
        ("STUCK_S", 2 * limits.CONTROL_STALE_S),
        ("STUCK_S", limits.SHUTDOWN_S),
        ("STUCK_S", limits.DELIVERY_TIMEOUT_S),
        ("HUNG_S", 2 * limits.DELIVERY_TIMEOUT_S),
        ("PLATE_BYTES", limits.PLATE_CHARACTERS - 1),
        ("SPAN_EXPORT_S", limits.END_S),
        ("SPANS_A_REQUEST", limits.SPANS_WAITING),
        ("TRACESTATE_CHARACTERS", limits.TRACESTATE_BYTES + 1),
    ],
)
def test_a_contradiction_is_noticed(
    name: str, value: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, name, value)
    with pytest.raises(AssertionError):
        limits.check()


def test_every_limit_is_positive() -> None:
    values = [value for name, value in vars(limits).items() if name.isupper()]
    assert len(values) > 10
    assert all(value > 0 for value in values)
