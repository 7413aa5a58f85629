"""`engine.transport.app`: what of Faust is left out."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any, cast

from engine.transport.app import App


async def test_no_sensor_of_faust_is_told_of_each_fetch() -> None:
    app = App("city", loop=asyncio.get_running_loop(), autodiscover=False)
    app.boot_strategy = cast(Any, SimpleNamespace(server=list))
    assert app.on_init_dependencies() == []
    assert not [*app.sensors]
