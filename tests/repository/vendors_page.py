"""Writes the table of deploy/guides/vendors.md: `python -m tests.repository.vendors_page`.

The rows come from tests/data/field/messages: which product each shape was seen for, and where it is
public.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from tests.ingest.adapters.field_cases import tables

FILE: Final = Path(__file__).parents[2] / "deploy" / "guides" / "vendors.md"
_BEGIN: Final = "<!-- table -->\n"
_END: Final = "<!-- end of the table -->\n"


def page(text: str) -> str:
    """Return the page with a current table. ValueError if it has no place for it."""
    before, begin, rest = text.partition(_BEGIN)
    _, end, after = rest.partition(_END)
    if not (begin and end):
        raise ValueError(f"{FILE.name} has no lines {_BEGIN.strip()} and {_END.strip()}")
    return before + begin + "\n".join(["", *_table(), ""]) + "\n" + end + after


def _table() -> Iterator[str]:
    yield "| VENDOR | product | messages | public source of the shape |"
    yield "|---|---|---|---|"
    for vendor, table in sorted(tables().items()):
        counted = Counter((case.product, case.source) for case in table.cases)
        for (product, source), count in sorted(counted.items()):
            shown = product.replace("|", "\\|")
            yield f"| `{vendor}` | {shown} | {count} | [{urlsplit(source).netloc}](<{source}>) |"


def main() -> None:
    """Write the file."""
    FILE.write_text(page(FILE.read_text("utf-8")), "utf-8")


if __name__ == "__main__":
    main()
