"""`hotlist ingest generic --mapping FILE`: the adapter that an operator's file describes."""

from __future__ import annotations

from pathlib import Path

import click

from engine.errors import ConfigError
from engine.ingest.adapters import ADAPTERS, Adapter, Mapping, make_adapter
from engine.resources import load_toml

#: The vendor that is none: any product, by a mapping.
GENERIC = "generic"

takes_mapping = click.option(
    "--mapping",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="For generic: the TOML file that names the paths in the product's messages.",
)


def takes_forms(vendor: str, mapping: Path | None) -> bool:
    """Return whether the messages are forms whose fields the mapping names.

    Raises ConfigError as `adapter_of` does.
    """
    if vendor != GENERIC or mapping is None:
        return False
    return load_toml(Mapping, mapping.name, mapping)[0].format == "form"


def adapter_of(vendor: str, mapping: Path | None) -> Adapter:
    """Return a vendor's adapter, or that of a mapping's file.

    Raises ConfigError if the file is missing, not read by this vendor, or breaks a rule.
    """
    if vendor != GENERIC:
        if mapping is not None:
            raise ConfigError("is for `hotlist ingest generic` only", where="--mapping")
        return ADAPTERS[vendor]
    if mapping is None:
        raise ConfigError("is required with generic", where="--mapping")
    return make_adapter(*load_toml(Mapping, mapping.name, mapping))
