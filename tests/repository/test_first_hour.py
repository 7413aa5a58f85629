"""`tests.first_hour`: what a stranger's shell has of this one."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from tests.first_hour import strangers_environment


def test_a_stranger_has_the_machines_environment_and_not_ours() -> None:
    own = str(Path(sys.prefix) / "bin")
    machine = {
        "HOME": "/home/j",
        "HTTPS_PROXY": "http://proxy:3128",
        "JAVA_HOME": "/opt/java",
        "PIP_INDEX_URL": "https://packages.example/simple",
        "SSL_CERT_FILE": "/etc/ca.pem",
        "UV_INDEX_URL": "https://packages.example/simple",
    }
    ours = {
        "HOTLIST_BOOTSTRAP": "kafka:9092",
        "MAKEFLAGS": "-j2",
        "MAKELEVEL": "1",
        "PYTHONPATH": "/ours",
        "VIRTUAL_ENV": sys.prefix,
    }
    path = os.pathsep.join((own, "/usr/bin", ""))
    given = strangers_environment({**machine, **ours, "PATH": path}, Path("/tools"), "hour.")
    assert given == {
        **machine,
        "HOTLIST_GROUP": "hour.group",
        "HOTLIST_PREFIX": "hour.",
        "PATH": os.pathsep.join(("/tools", "/usr/bin")),
    }
