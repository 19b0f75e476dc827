"""What mkdocs.yml asks for while `make docs` builds the site: links out of docs/ become names of files.

The pages link to files of the repository that are no pages (notebooks, results of benchmarks). In the repository these
links work; on the site there is nothing behind them, so they are shown as paths.
"""

from __future__ import annotations

import re
from typing import Any

_OUTSIDE = re.compile(r"\[([^\]]*)\]\(((?:\.\./)+)([^)]*)\)")


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Called by mkdocs for every page, with its text."""
    depth = page.file.src_uri.count("/")

    def shown(link: re.Match[str]) -> str:
        words, up, path = link.groups()
        if up.count("../") <= depth:
            return link[0]
        return f"`{path}`" if words.strip("`") == path else f"{words} (`{path}`)"

    return _OUTSIDE.sub(shown, markdown)
