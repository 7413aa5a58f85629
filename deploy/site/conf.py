"""Sphinx's configuration: `make docs` builds a site of the pages of Markdown.

The pages stay where they are, with the relative links that a forge's pages have: the source is the
whole repository. A link to a file that is no page becomes a download.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Final

from pygments.lexers.special import TextLexer

if TYPE_CHECKING:
    from sphinx.application import Sphinx

project = "hotlist-engine"
extensions = ["myst_parser"]
root_doc = "README"
include_patterns = [
    *("*.md", "deploy/*.md", "deploy/**/*.md"),
    *("benchmarks/*.md", "benchmarks/**/*.md"),
]
exclude_patterns = ["benchmarks/work"]
html_theme = "furo"
# A block without a language is a log line or the like, not Python.
highlight_language = "text"
html_title = project
html_copy_source = False
html_show_copyright = False
# Links name headings as a forge does.
myst_heading_anchors = 6
myst_enable_extensions = ["html_image"]
# README's table leads to every page, and the menu to most.
suppress_warnings = ["toc.not_included"]

_ROOT: Final = Path(__file__).parents[2]
_LINK: Final = re.compile(r"\[([^\]]+)\]\(([^)\s#:]+)\)")
_PICTURE: Final = re.compile(
    r'<picture><source media="\(prefers-color-scheme: dark\)" srcset="([^"]+)">'
    r'<img src="([^"]+)" ([^>]+)></picture>'
)
_MENU: Final = """

```{toctree}
:hidden:
:caption: Guides
:glob:

deploy/guides/tutorial
deploy/guides/producers
deploy/guides/vendors
deploy/guides/consumers
deploy/guides/lists
deploy/guides/privacy
deploy/guides/operators
deploy/guides/library
deploy/guides/commands
deploy/guides/*
```

```{toctree}
:hidden:
:caption: Operation

deploy/README
deploy/RUNBOOK
deploy/CAPACITY
deploy/prometheus/README
deploy/grafana/README
```

```{toctree}
:hidden:
:caption: Project

ARCHITECTURE
SECURITY
CONTRIBUTING
CHANGELOG
benchmarks/README
```
"""


def _as_a_site(app: Sphinx, page: str, source: list[str]) -> None:
    """Change what a page on a forge has and a site lacks: directories, pictures of two themes."""
    beside = (_ROOT / page).parent

    def without_directory(link: re.Match[str]) -> str:
        return link[1] if (beside / link[2]).is_dir() else link[0]

    text = _LINK.sub(without_directory, source[0])
    text = _PICTURE.sub(
        r'<img class="only-dark" src="\1" \3><img class="only-light" src="\2" \3>', text
    )
    source[0] = text + _MENU if page == root_doc else text


def setup(app: Sphinx) -> None:
    """Register the above; Sphinx calls it."""
    app.add_lexer("mermaid", TextLexer)
    app.connect("source-read", _as_a_site)
