"""The audit commands as far as they come without a broker: files, keys, and exact errors."""

from __future__ import annotations

import csv
import io
import json
import socket
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from engine.audit.chain import Chain
from engine.audit.chain_state import Head
from engine.audit.checkpoints import new_key_pair, private_key, sign
from engine.audit.report import AuditReport
from engine.cli import main
from engine.cli.audit import audit_reader
from tests.fakes.chains import as_records, sealed

PAIR = new_key_pair()
OTHER = new_key_pair()


@pytest.fixture(autouse=True)
def alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each test in a directory of its own, with keys and checkpoints, and no broker."""
    monkeypatch.chdir(tmp_path)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        monkeypatch.setenv("HOTLIST_BOOTSTRAP", f"127.0.0.1:{taken.getsockname()[1]}")
    Path("key").write_bytes(PAIR.private)
    Path("key.pub").write_bytes(PAIR.public)
    Path("other.pub").write_bytes(OTHER.public)
    signing = private_key(PAIR.private, "key")
    heads = [Head("a", 1, "a" * 64)]
    first = sign(signing, "lpr.audit.v1", heads, 0)
    Path("one.json").write_bytes(first)
    Path("two.json").write_bytes(sign(signing, "lpr.audit.v1", heads, 1, first))
    Path("elsewhere.json").write_bytes(sign(signing, "x.audit.v1", heads, 0))
    Path("changed.json").write_bytes(first.replace(b"lpr.", b"x."))
    Path("empty").write_bytes(b"")


def hotlist(*args: str) -> Result:
    return CliRunner().invoke(main, ["audit", *args])


@pytest.mark.parametrize(
    ("args", "status", "line"),
    [
        (
            ("verify", "--checkpoint=one.json"),
            2,
            (
                "--checkpoint needs --public-key: the key in a checkpoint proves "
                "nothing; see hotlist audit verify --help"
            ),
        ),
        (
            ("verify", "--public-key=key.pub"),
            2,
            "--public-key does nothing without --checkpoint; see hotlist audit verify --help",
        ),
        (
            ("verify", "--checkpoint=one.json", "--public-key=none"),
            1,
            "none: No such file or directory",
        ),
        (
            ("verify", "--checkpoint=none", "--public-key=key.pub"),
            1,
            "none: No such file or directory",
        ),
        (
            ("verify", "--checkpoint=one.json", "--public-key=key"),
            1,
            "key: holds no Ed25519 public key (PEM)",
        ),
        (
            ("verify", "--checkpoint=empty", "--public-key=key.pub"),
            1,
            "empty: not a checkpoint",
        ),
        (
            ("verify", "--checkpoint=one.json", "--public-key=other.pub"),
            1,
            "one.json: signed with another key",
        ),
        (
            ("verify", "--checkpoint=changed.json", "--public-key=key.pub"),
            1,
            "changed.json: its signature is invalid: it was changed after it was signed",
        ),
        (
            ("verify", "--checkpoint=elsewhere.json", "--public-key=key.pub"),
            1,
            (
                "elsewhere.json: a checkpoint of the topic x.audit.v1, not of lpr.audit.v1; "
                "set --prefix (HOTLIST_PREFIX)"
            ),
        ),
        (
            ("verify", "--checkpoint=two.json", "--checkpoint=one.json", "--public-key=key.pub"),
            1,
            (
                "one.json: does not name two.json as the checkpoint before it; "
                "give them all, the oldest first, or each alone"
            ),
        ),
        (
            ("checkpoint", "--key=key", "--out=one.json"),
            1,
            "one.json: exists already, and is not overwritten; choose another name",
        ),
        (
            ("checkpoint", "--key=key.pub", "--out=new.json"),
            1,
            (
                "key.pub: holds no Ed25519 private key without a password (PEM); "
                "hotlist audit keygen makes one"
            ),
        ),
        (
            ("checkpoint", "--key=key", "--out=new.json", "--previous=changed.json"),
            1,
            "changed.json: its signature is invalid: it was changed after it was signed",
        ),
        (
            ("checkpoint", "--key=key", "--out=new.json", "--previous=elsewhere.json"),
            1,
            (
                "elsewhere.json: a checkpoint of the topic x.audit.v1, not of lpr.audit.v1; "
                "set --prefix (HOTLIST_PREFIX)"
            ),
        ),
        (
            ("checkpoint", "--out=new.json"),
            2,
            "Missing option '--key'; see hotlist audit checkpoint --help",
        ),
        (
            ("keygen", "--key=key"),
            1,
            "key: exists already, and is not overwritten; choose another name",
        ),
        (
            ("keygen", "--key=new", "--public-key=key.pub"),
            1,
            "key.pub: exists already, and is not overwritten; choose another name",
        ),
        (("keygen", "--key=none/new"), 1, "none/new: No such file or directory"),
        (
            ("report", "--from=2026-13-01"),
            2,
            (
                "Invalid value for '--from': '2026-13-01' is not possible: must be a time in UTC "
                "such as 2026-01-31T12:00:00Z, or a date; see hotlist audit report --help"
            ),
        ),
        (
            ("report", "--to=yesterday"),
            2,
            (
                "Invalid value for '--to': 'yesterday' is not possible: must be a time in UTC "
                "such as 2026-01-31T12:00:00Z, or a date; see hotlist audit report --help"
            ),
        ),
        (
            ("report", "--from=2026-01-02", "--to=2026-01-02T00:00:00Z"),
            2,
            "--to must be after --from; see hotlist audit report --help",
        ),
        (
            ("report", "--by=agency,plate"),
            2,
            (
                "Invalid value for '--by': 'agency,plate' is not possible: must be some of "
                "agency, purpose, list, source, event, operator, each once; "
                "see hotlist audit report --help"
            ),
        ),
        (
            ("report", "--by=agency,agency"),
            2,
            (
                "Invalid value for '--by': 'agency,agency' is not possible: must be some of "
                "agency, purpose, list, source, event, operator, each once; "
                "see hotlist audit report --help"
            ),
        ),
        (
            ("report", "--csv", "--json"),
            2,
            "--csv and --json: only one of them is possible; see hotlist audit report --help",
        ),
    ],
)
def test_what_is_refused(args: tuple[str, ...], status: int, line: str) -> None:
    before = {path: path.read_bytes() for path in Path().iterdir()}
    result = hotlist(*args)
    assert (result.exit_code, result.stdout) == (status, "")
    assert result.stderr == f"hotlist: {line}\n"
    assert {path: path.read_bytes() for path in Path().iterdir()} == before


@pytest.mark.parametrize(
    "args",
    [
        ("verify",),
        ("verify", "--checkpoint=one.json", "--checkpoint=two.json", "--public-key=key.pub"),
        ("checkpoint", "--key=key", "--out=new.json", "--previous=two.json"),
        ("report", "--from=2026-01-01", "--to=2026-01-31T12:00:00.5Z", "--by= agency , event "),
    ],
)
def test_what_is_right_fails_at_the_broker_alone(args: tuple[str, ...]) -> None:
    result = hotlist(*args)
    assert result.exit_code == 1
    assert "no Kafka broker answers" in result.stderr
    assert not Path("new.json").exists()


def test_a_key_pair_is_made_for_its_owner_alone() -> None:
    result = hotlist("keygen", "--key=mine.pem")
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout == "private key in mine.pem, public key in mine.pem.pub\n"
    assert Path("mine.pem").stat().st_mode & 0o777 == 0o600
    signing = private_key(Path("mine.pem").read_bytes(), "")
    Path("c.json").write_bytes(sign(signing, "lpr.audit.v1", [], 0))
    result = hotlist("verify", "--checkpoint=c.json", "--public-key=mine.pem.pub")
    assert "no Kafka broker answers" in result.stderr


def test_a_checkpoint_file_has_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("engine.limits.CHECKPOINT_BYTES", 100)
    result = hotlist("verify", "--checkpoint=one.json", "--public-key=key.pub")
    assert result.stderr == "hotlist: one.json: larger than 100 bytes\n"
    assert json.loads(Path("one.json").read_bytes())["format"] == "hotlist-checkpoint-1"


@pytest.mark.parametrize(
    ("agency", "cell"),
    [
        *((f"{sign}1", f"'{sign}1") for sign in "=+-@"),
        ("a=1", "a=1"),
        ("\t=1", "\N{REPLACEMENT CHARACTER}=1"),
        ("a\r=1", "a\N{REPLACEMENT CHARACTER}=1"),
        ("a\n=1", "a\N{REPLACEMENT CHARACTER}=1"),
        ('Zoë, "Z"', 'Zoë, "Z"'),
    ],
)
def test_csv_holds_no_formulas(agency: str, cell: str, monkeypatch: pytest.MonkeyPatch) -> None:

    async def read(_: object, summed: AuditReport, __: object) -> None:
        summed.take(0, as_records(sealed(Chain("c"), 1, agency=agency)))

    monkeypatch.setattr(audit_reader, "report", read)
    result = hotlist("report", "--by=agency", "--csv")
    rows = csv.DictReader(io.StringIO(result.stdout_bytes.decode(), newline=""))
    assert [row["agency"] for row in rows] == [cell]
