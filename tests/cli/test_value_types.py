"""`engine.cli.value_types`: a wrong value is answered in words, with the one that was meant."""

from __future__ import annotations

import pytest
from click.testing import CliRunner

from engine.cli import main

_VENDORS = (
    "axis, dahua, frigate, genetec, hikvision, milesight, openalpr, platerecognizer, tattile, "
    "unifi, verkada and generic"
)


@pytest.mark.parametrize(
    ("args", "line"),
    [
        (
            ("ingest", "openalrp", "-", "--source=s"),
            (
                "Invalid value for 'VENDOR': 'openalrp' is no vendor; did you mean openalpr? "
                f"there are {_VENDORS}; see hotlist ingest --help"
            ),
        ),
        (
            ("ingest", "acme", "-", "--source=s"),
            (
                f"Invalid value for 'VENDOR': 'acme' is no vendor; there are {_VENDORS}; "
                "see hotlist ingest --help"
            ),
        ),
        (
            ("completion", "tcsh"),
            (
                "Invalid value for 'SHELL': 'tcsh' is no shell that can be completed in; "
                "there are bash, zsh and fish; see hotlist completion --help"
            ),
        ),
        (
            ("topics", "acls", "auditer"),
            (
                "'auditer' is no role; did you mean auditor? "
                "there are ingest, engine, alerting, list-manager, policy-manager, auditor and "
                "administrator; see hotlist topics acls --help"
            ),
        ),
        (
            ("entries", "import", "x.csv", "--encoding", "utf8"),
            (
                "Invalid value for '--encoding': 'utf8' is no encoding that files are read in; "
                "did you mean utf-8? there are auto, utf-8 and windows-1252; "
                "see hotlist entries import --help"
            ),
        ),
    ],
)
def test_a_mistyped_value_is_answered_with_the_one_most_like_it(
    args: tuple[str, ...], line: str
) -> None:
    result = CliRunner().invoke(main, args)
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr == f"hotlist: {line}\n"


@pytest.mark.parametrize(
    ("args", "rule"),
    [
        (("tail", "--count", "x"), "'x' is not a whole number of at least 1"),
        (("tail", "--count", "0"), "'0' is not a whole number of at least 1"),
        (("tail", "--count", "1.5"), "'1.5' is not a whole number of at least 1"),
        (("traffic", "--rate", "-1"), "'-1' is not a number from 0.1 to 1000000"),
        (("traffic", "--rate", "nan"), "'nan' is not a number from 0.1 to 1000000"),
        (("traffic", "--listed", "2"), "'2' is not a number from 0 to 1"),
    ],
)
def test_a_number_out_of_its_range_is_answered_with_the_rule(
    args: tuple[str, ...], rule: str
) -> None:
    result = CliRunner().invoke(main, args)
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr == (
        f"hotlist: Invalid value for '{args[-2]}': {rule}; see hotlist {args[0]} --help\n"
    )


def test_a_vendor_completes() -> None:
    from click.shell_completion import ShellComplete

    found = ShellComplete(main, {}, "hotlist", "_X").get_completions(["ingest"], "open")
    assert [each.value for each in found] == ["openalpr"]
