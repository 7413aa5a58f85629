"""Vendors' messages as reads: what each field becomes, and nothing but clear errors for the rest.

The messages in `data/vendors/` are made up from the vendors' published lists of fields.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine import limits
from engine.documents.codec import encode
from engine.documents.model import Detection
from engine.ingest.adapters import ADAPTERS, Adapted, AdapterError, Cars, Site
from engine.ingest.adapters.countries import ALPHA_2
from tests.ingest.adapters.hostile import reads_or_errors

_VENDORS = Path(__file__).parents[2] / "data" / "vendors"
_SITE = Site("city-north")
_OPENALPR_TYPES = "$.data_type: must be alpr_group, alpr_alert, alpr_results, vehicle or heartbeat"
#: What every adapter must find its way with, wherever it stands.
_HOSTILE: list[Any] = [
    None,
    True,
    0,
    -1,
    1e308,
    2**70,
    "",
    " ",
    "x" * 5000,
    "\x00\x1b[2J",
    "NaN",
    "1e999",
    "\u0130\u00df",
    [],
    [[]],
    {},
    [None],
    {"plate": {}},
    {"": []},
]


def message(name: str) -> bytes:
    return (_VENDORS / name).read_bytes()


def adapt(name: str, site: Site = _SITE) -> Adapted:
    return ADAPTERS[name.partition("-")[0].partition(".")[0]](message(name), site)


def plain(read: Detection) -> dict[str, Any]:
    """What is sent, but for its id, which is looked at apart."""
    document: dict[str, Any] = json.loads(encode(read))
    assert 0 < len(document.pop("read_id")) <= 64
    return document


def only(adapted: Adapted) -> dict[str, Any]:
    [read] = adapted.reads
    assert adapted.problems == ()
    return plain(read)


def test_openalpr_version_2() -> None:
    assert only(adapt("openalpr-v2.json")) == {
        "plate": "A13709",
        "captured_at": "2026-11-22T16:00:01.900Z",
        "source": "city-north",
        "camera": "AGENT7/104",
        "region": "US-MO",
        "confidence": 0.918,
        "alternates": [
            {"plate": "A137O9", "confidence": 0.841},
            {"plate": "AI3709", "confidence": 0.799},
        ],
        "location": {"lat": 38.5816, "lon": -121.4944},
        "vehicle": {
            "make": "toyota",
            "model": "camry",
            "color": "silver-gray",
            "type": "sedan-standard",
        },
    }


def test_openalpr_version_1() -> None:
    assert only(adapt("openalpr-v1.json")) == {
        "plate": "7ABC123",
        "captured_at": "2026-11-22T16:00:01.250Z",
        "source": "city-north",
        "camera": "depot/2",
        "region": "US-CA",
        "confidence": 0.88,
    }


def test_openalpr_alert_is_the_read_of_its_group() -> None:
    assert only(adapt("openalpr-alert.json")) == {
        "plate": "XP123K",
        "captured_at": "2026-11-22T16:00:01.250Z",
        "source": "city-north",
        "camera": "AGENT7/104",
        "region": "NL",
        "confidence": 0.902,
    }


def test_platerecognizer_stream_gives_each_result() -> None:
    adapted = adapt("platerecognizer-stream.json")
    common = {
        "captured_at": "2026-11-22T16:00:00.712Z",
        "source": "city-north",
        "camera": "camera-1",
        "images": [
            {"kind": "overview", "uri": "camera-1_screenshots/2026-11-22/08-00-00.jpg"},
        ],
    }
    assert adapted.problems == ()
    assert [plain(read) for read in adapted.reads] == [
        {
            "plate": "nhk552",
            "region": "US-NV",
            "confidence": 0.897,
            "alternates": [{"plate": "nhk5s2", "confidence": 0.711}],
            "vehicle": {"type": "Sedan"},
            **common,
        },
        {
            "plate": "7abc123",
            "region": "US-CA",
            "confidence": 0.99,
            "vehicle": {"type": "SUV"},
            **common,
        },
    ]
    assert len({read.read_id for read in adapted.reads}) == 2


def test_platerecognizer_snapshot_says_more_of_the_vehicle() -> None:
    read = only(adapt("platerecognizer-snapshot.json"))
    assert read["vehicle"] == {"make": "Ford", "model": "Transit", "color": "white", "type": "Van"}
    assert (read["plate"], read["region"], read["camera"]) == ("xp123k", "NL", "gate")


def test_one_bad_result_does_not_keep_the_others_back() -> None:
    document = json.loads(message("platerecognizer-stream.json"))
    document["data"]["results"][0]["plate"] = "x" * 65
    adapted = ADAPTERS["platerecognizer"](json.dumps(document).encode(), _SITE)
    assert [read.plate for read in adapted.reads] == ["7abc123"]
    [problem] = adapted.problems
    assert (problem.field, problem.reason) == ("$.data.results[0]", "no_read")


def test_a_message_whose_results_all_fail_is_an_error() -> None:
    document = json.loads(message("platerecognizer-stream.json"))
    for result in document["data"]["results"]:
        result["plate"] = "x" * 65
    with pytest.raises(AdapterError, match=r"^\$\.data\.results\[0\]: gives no read") as raised:
        ADAPTERS["platerecognizer"](json.dumps(document).encode(), _SITE)
    assert raised.value.reason == "no_read"


@pytest.mark.parametrize("score", [1.7, -1, "high", [], {}])
def test_an_optional_field_never_costs_a_read(score: object) -> None:
    document = json.loads(message("platerecognizer-stream.json"))
    document["data"]["results"][1]["score"] = score
    adapted = ADAPTERS["platerecognizer"](json.dumps(document).encode(), _SITE)
    assert [read.confidence for read in adapted.reads] == [0.897, None]
    assert adapted.problems == ()


def test_axis() -> None:
    adapted = adapt("axis-update.json")
    assert only(adapted) == {
        "plate": "5AB1234",
        "captured_at": "2026-11-22T16:00:00.772Z",
        "source": "city-north",
        "camera": "barrier-1",
        "region": "CZ",
        "confidence": 0.8688,
        "location": {"lat": 50.0755, "lon": 14.4378},
        "vehicle": {"make": "Skoda", "model": "Octavia", "color": "blue", "type": "car"},
    }
    assert adapted.car == ("ACCC8E000000/1184", False)
    assert adapt("axis-lost.json").car == ("ACCC8E000000/1184", True)


def test_genetec() -> None:
    assert only(adapt("genetec.xml", Site("lot-4", "CA"))) == {
        "plate": "ABC 1234",
        "captured_at": "2026-11-22T16:00:00.000Z",
        "source": "lot-4",
        "camera": "SharpV-12",
        "region": "CA-QC",
        "confidence": 0.97,
        "location": {"lat": 45.5019, "lon": -73.5674},
        "images": [{"kind": "plate", "uri": "Lot4_20261122_160000_plate.jpg"}],
    }


def test_frigate() -> None:
    first, face, _ = message("frigate.jsonl").splitlines()
    assert only(ADAPTERS["frigate"](first, _SITE)) == {
        "plate": "ABC123",
        "captured_at": "2026-11-22T16:00:00.417Z",
        "source": "city-north",
        "camera": "driveway",
        "confidence": 0.95,
    }
    assert ADAPTERS["frigate"](face, _SITE) == Adapted()


@pytest.mark.parametrize("name", ["openalpr-heartbeat.json", "platerecognizer-nothing.json"])
def test_a_message_without_a_plate_is_no_error(name: str) -> None:
    assert adapt(name) == Adapted()


def test_no_state_without_its_country() -> None:
    """`CA` alone might be California or Canada."""
    [read] = adapt("genetec.xml").reads
    assert read.region is None


@pytest.mark.parametrize(
    ("state", "country", "region"),
    [
        ("mo", "us", "US-MO"),
        ("us-mo", "us", "US-MO"),
        ("eu-nl", "eu", "NL"),
        (None, "us", "US"),
        ("mo", None, None),
        ("??", "us", "US"),
    ],
)
def test_regions_of_openalpr(state: str | None, country: str | None, region: str | None) -> None:
    document = json.loads(message("openalpr-v2.json"))
    document |= {"best_region": state, "country": country}
    document["best_plate"]["region"] = None
    [read] = ADAPTERS["openalpr"](json.dumps(document).encode(), _SITE).reads
    assert read.region == region


def test_the_same_message_is_the_same_read() -> None:
    for path in sorted(_VENDORS.iterdir()):
        assert _parts(path) == _parts(path)
    ids = [read.read_id for path in _VENDORS.iterdir() for read in _parts(path)]
    assert len(ids) == len(set(ids)) > 8


def _parts(path: Path) -> list[Detection]:
    content = path.read_bytes()
    messages = content.splitlines() if path.suffix == ".jsonl" else [content]
    return [
        read
        for each in messages
        for read in ADAPTERS[path.stem.partition("-")[0]](each, _SITE).reads
    ]


def test_pictures_are_not_carried() -> None:
    for path in _VENDORS.iterdir():
        for read in _parts(path):
            assert b"4AAQSkZJRg" not in encode(read)


@pytest.mark.parametrize(
    ("vendor", "sent", "error"),
    [
        ("openalpr", b"[]", "$: must be a JSON object in UTF-8"),
        ("openalpr", b"\xff", "$: must be a JSON object in UTF-8"),
        ("openalpr", b"[" * 100_000, "$: must be a JSON object in UTF-8"),
        (
            "openalpr",
            b'{"data_type": "else"}',
            _OPENALPR_TYPES,
        ),
        ("openalpr", b'{"data_type": "alpr_group"}', None),
        ("openalpr", b"{}", "$.data_type: is required"),
        ("platerecognizer", b"{}", "$.hook.event: is required"),
        ("platerecognizer", b'{"hook": {"event": "recognition"}}', "$.data: is required"),
        ("axis", b'{"carState": "parked"}', "$.carState: must be new, update or lost"),
        ("genetec", b"<a>", "$: must be an XML document"),
        (
            "genetec",
            b'<!DOCTYPE a [<!ENTITY b "c">]><a>&b;</a>',
            "$: must not have a document type or entities",
        ),
        (
            "genetec",
            (
                b"<a><Plate>ABC123</Plate><CameraName>c</CameraName>"
                b"<UTCDate>2026:02:30</UTCDate><UTCTime>25:00:00</UTCTime></a>"
            ),
            "$.UTCDate: must be an existing day and time",
        ),
        ("frigate", b'{"type": 7}', None),
        (
            "frigate",
            b'{"type":"lpr","camera":"c","plate":"-","id":"i","timestamp":1}',
            "$: gives no read (plate must have 1 to 16 letters and digits)",
        ),
        (
            "frigate",
            b'{"type":"lpr","camera":"c","plate":"ABC123","id":"i","timestamp":1e300}',
            "$.timestamp: must be a time between 1900 and 2999",
        ),
    ],
)
def test_what_cannot_be_used(vendor: str, sent: bytes, error: str | None) -> None:
    if error is None:
        assert ADAPTERS[vendor](sent, _SITE) == Adapted()
        return
    with pytest.raises(AdapterError) as raised:
        ADAPTERS[vendor](sent, _SITE)
    assert str(raised.value) == error


@pytest.mark.parametrize("vendor", ADAPTERS)
def test_a_message_that_is_too_long(vendor: str) -> None:
    with pytest.raises(AdapterError, match="must have at most 16777216 bytes"):
        ADAPTERS[vendor](b" " * (limits.INGEST_MESSAGE_BYTES + 1), _SITE)


def held(vendor: str, sent: bytes) -> None:
    reads_or_errors(ADAPTERS[vendor], sent, "SECRET7")


@pytest.mark.parametrize("vendor", ADAPTERS)
@given(sent=st.binary(max_size=200) | st.text(max_size=100).map(str.encode))
def test_no_bytes_raise_anything_else(vendor: str, sent: bytes) -> None:
    held(vendor, sent)
    held(vendor, b'{"data_type": "alpr_group", "type": "lpr", "carState": "new"' + sent)
    held(vendor, b"<r><Plate>" + sent + b"</Plate></r>")


def _places(value: Any, path: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    """The paths to all values within a value."""
    items = (
        value.items()
        if isinstance(value, dict)
        else enumerate(value)
        if isinstance(value, list)
        else ()
    )
    return [path, *(place for key, each in items for place in _places(each, (*path, key)))]


_JSON = [path for path in sorted(_VENDORS.iterdir()) if path.suffix == ".json"]
_ANY = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=20)
    | st.just("SECRET7 \n"),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
    ),
    max_leaves=6,
)


@pytest.mark.parametrize("path", _JSON, ids=lambda path: path.stem)
def test_no_value_anywhere_raises_anything_else(path: Path) -> None:
    """Every value of every message in turn is each of those that are hostile, and is missing."""
    vendor = path.stem.partition("-")[0]
    for place in _places(json.loads(path.read_bytes()))[1:]:
        for other in [*_HOSTILE, math.pi]:
            document = json.loads(path.read_bytes())
            _at(document, place[:-1])[place[-1]] = other
            held(vendor, json.dumps(document).encode())
        document = json.loads(path.read_bytes())
        del _at(document, place[:-1])[place[-1]]
        held(vendor, json.dumps(document).encode())


@given(data=st.data())
def test_several_values_changed(data: st.DataObject) -> None:
    path = data.draw(st.sampled_from(_JSON))
    document = json.loads(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.sampled_from(_places(document)[1:] or [()]))
        if place:
            _at(document, place[:-1])[place[-1]] = data.draw(_ANY)
    held(path.stem.partition("-")[0], json.dumps(document).encode("utf-8", "surrogatepass"))


def _at(document: Any, path: tuple[str | int, ...]) -> Any:
    for key in path:
        document = document[key]
    return document


class TestCars:
    """The last state of a car counts, once."""

    def read(self, plate: str) -> Detection:
        return msgspec.structs.replace(adapt("axis-new.json").reads[0], plate=plate)

    def test_a_car_that_is_told_of_three_times(self) -> None:
        cars = Cars()
        taken = [
            cars.take(adapt(f"axis-{state}.json"), now_s)
            for now_s, state in enumerate(("new", "update", "lost"))
        ]
        assert taken == [[], [], list(adapt("axis-lost.json").reads)]
        assert len(cars) == 0

    def test_a_car_of_which_nothing_more_is_heard(self) -> None:
        cars = Cars(settle_s=10)
        assert cars.take(adapt("axis-update.json"), 0) == []
        assert cars.due(9.9) == []
        assert cars.due(10) == list(adapt("axis-update.json").reads)
        assert cars.all() == []

    def test_a_car_that_goes_without_its_plate_keeps_the_last(self) -> None:
        cars = Cars()
        update, lost = adapt("axis-update.json"), adapt("axis-lost.json")
        cars.take(update, 0)
        assert cars.take(lost._replace(reads=()), 1) == list(update.reads)
        assert cars.take(lost._replace(reads=()), 2) == []

    @pytest.mark.parametrize("provider", ["defaultID", "defaultID_7", "gate"])
    def test_cameras_that_share_a_provider_and_a_number_are_two_cars(self, provider: str) -> None:
        document = json.loads(message("axis-lost.json"))
        cars = Cars()
        taken = []
        for state in ("new", "lost"):
            for number in range(2):
                document["camera_info"]["SerialNumber"] = f"ACCC8E00000{number}"
                document |= {
                    "carState": state,
                    "sensorProviderID": provider,
                    "plateUTF8": f"P{number}",
                }
                adapted = ADAPTERS["axis"](json.dumps(document).encode(), _SITE)
                taken += cars.take(adapted, 0)
        assert [read.plate for read in taken] == ["P0", "P1"]
        assert len({read.read_id for read in taken}) == 2
        assert len({read.camera for read in taken}) == (1 if provider == "gate" else 2)

    def test_reads_of_other_vendors_pass_at_once(self) -> None:
        adapted = adapt("openalpr-v2.json")
        assert Cars().take(adapted, 0) == list(adapted.reads)

    def test_only_so_many_are_held(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(limits, "CARS_HELD", 2)
        cars = Cars()
        adapted = adapt("axis-new.json")
        assert adapted.car is not None
        taken = [
            cars.take(
                Adapted((self.read(f"CAR{number}"),), car=adapted.car._replace(key=str(number))), 0
            )
            for number in range(4)
        ]
        assert [[read.plate for read in each] for each in taken] == [[], [], ["CAR0"], ["CAR1"]]
        assert [read.plate for read in cars.all()] == ["CAR2", "CAR3"]

    @given(
        st.lists(
            st.tuples(
                st.sampled_from("abc"),
                st.sampled_from(["new", "update", "lost"]),
                st.none() | st.sampled_from(["P1", "P2"]),
                st.integers(0, 12),
            )
        )
    )
    def test_each_car_counts_once(self, told: list[tuple[str, str, str | None, int]]) -> None:
        """Beside a model that keeps all states and decides at the end."""
        cars = Cars(settle_s=10)
        adapted = adapt("axis-new.json")
        assert adapted.car is not None
        out: list[str] = []
        expected: list[str] = []
        held: dict[str, tuple[int, str]] = {}
        now_s = 0
        for key, state, plate, pause_s in told:
            now_s += pause_s
            expected += [
                f"{other}{last}"
                for other, (heard_s, last) in held.items()
                if now_s - heard_s >= 10 and other != key
            ]
            before = held.get(key)
            held = {
                other: value
                for other, value in held.items()
                if now_s - value[0] < 10 and other != key
            }
            text = plate or (before[1] if before else None)
            if text is not None and state == "lost":
                expected.append(f"{key}{text}")
            elif text is not None:
                held[key] = now_s, text
            reads = () if plate is None else (self.read(f"{key}{plate}"),)
            car = adapted.car._replace(key=key, gone=state == "lost")
            out += [read.plate for read in cars.take(Adapted(reads, car=car), now_s)]
        out += [read.plate for read in cars.all()]
        expected += [f"{key}{last}" for key, (_, last) in held.items()]
        assert out == expected


def test_countries() -> None:
    assert len(ALPHA_2) == len(set(ALPHA_2.values())) == 249
    assert all(len(three) == 3 and len(two) == 2 for three, two in ALPHA_2.items())
    assert (ALPHA_2["CZE"], ALPHA_2["DEU"], ALPHA_2["CHE"], ALPHA_2["NLD"]) == (
        *("CZ", "DE"),
        *("CH", "NL"),
    )
