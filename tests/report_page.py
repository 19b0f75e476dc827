"""What the tests of the report share: hostile text, the page as a browser reads it, and a browser."""

import json
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from llamatune.runs.report.page import write_report

HOSTILE = (
    "<script>alert(1)</script>\"'></style><img src=https://evil.example/a onerror=alert(1)>"
    " javascript:alert(1) \x00\x1b[31mred \u202eback\u202c \ud800 {{ 7 * 7 }}{% raw %} $x_1$ &lt;b&gt;"
)


def lines(records: list[dict[str, object]]) -> str:
    return "".join(json.dumps(record) + "\n" for record in records)


def write(run: Path, name: str, content: Any) -> None:
    """A file of a run that was made by hand: text, records or an object, by the ending of its name."""
    if name.endswith(".jsonl"):
        content = lines(content)
    elif name.endswith(".json"):
        content = json.dumps(content)
    (run / name).write_text(content)


VOID = {"meta", "br", "hr", "img", "link", "input"}
INLINE = {"mark", "abbr", "code", "span", "b", "a"}


class Page(HTMLParser):
    """What a browser finds in the page: its tags with their attributes, and its text by element."""

    def __init__(self, directory: Path) -> None:
        super().__init__(convert_charrefs=True)
        self.source = write_report(directory).read_text("utf-8")
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.open: list[str] = []
        self.pieces: list[str] = []
        self.marked: list[str] = []
        self.feed(self.source)
        self.close()
        assert self.open == [], "every element is closed"
        self.text = " ".join("".join(self.pieces).split())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_startendtag(tag, attrs)
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, {name: value or "" for name, value in attrs}))
        self.pieces.append("" if tag in INLINE else " ")

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag
        self.pieces.append("" if tag in INLINE else " ")

    def handle_data(self, data: str) -> None:
        if "style" in self.open:
            return
        self.pieces.append(data if "svg" not in self.open else " ")
        if "mark" in self.open:
            self.marked.append(data)

    def count(self, tag: str) -> int:
        return sum(name == tag for name, _ in self.tags)

    def of_class(self, name: str) -> int:
        return sum(name in attributes.get("class", "").split() for _, attributes in self.tags)


TAGS = {
    "html",
    "head",
    "meta",
    "title",
    "style",
    "body",
    "header",
    "section",
    "nav",
    "footer",
    "div",
    "span",
    "p",
}
TAGS |= {"b", "small", "h1", "h2", "h3", "a", "ul", "li", "dl", "dt", "dd", "abbr", "code", "pre", "details"}
TAGS |= {"summary", "table", "thead", "tbody", "tr", "th", "td", "figure", "figcaption", "mark"}
TAGS |= {"svg", "g", "defs", "path", "text", "use", "clippath", "rect"}


def assert_safe(page: Page) -> None:
    """No program, nothing from elsewhere, whatever the data says."""
    assert {tag for tag, _ in page.tags} <= TAGS
    for tag, attributes in page.tags:
        for name, value in attributes.items():
            assert not name.startswith("on") and name not in (
                "src",
                "srcset",
                "srcdoc",
                "action",
                "formaction",
            )
            if name.endswith("href"):
                assert value.startswith("#"), (tag, value)
            if name == "style":
                assert "url(" not in value and "expression" not in value
    style = page.source.partition("<style>")[2].partition("</style>")[0]
    assert "url(" not in style and "@import" not in style and "<" not in style
    policy = next(a["content"] for _, a in page.tags if a.get("http-equiv") == "Content-Security-Policy")
    assert policy.startswith("default-src 'none'; style-src 'unsafe-inline'; img-src data:")
    assert page.source.index("Content-Security-Policy") < page.source.index("<title>")
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", page.source)


# ---- in a browser -----------------------------------------------------------------------------------------

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
in_browser = pytest.mark.skipif(
    CHROMIUM is None, reason="no chromium, chromium-browser or google-chrome here"
)


def browse(page: Path, folder: Path) -> tuple[str, list[str], list[str]]:
    """Open a page in headless Chromium: its elements, its console messages, the addresses that it asked for.

    Chromium's own traffic is told apart by its initiator; a proxy that is not there keeps all of it on this machine.
    """
    assert CHROMIUM is not None
    log = folder / "net.json"
    options = (
        "--headless --no-sandbox --disable-gpu --no-first-run --disable-background-networking --disable-sync"
    )
    options += (
        " --disable-component-update --enable-logging=stderr --proxy-server=http://127.0.0.1:9 --dump-dom"
    )
    done = subprocess.run(
        [
            CHROMIUM,
            *options.split(),
            f"--user-data-dir={folder}/profile",
            f"--log-net-log={log}",
            page.as_uri(),
        ],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    console = [line.partition(":CONSOLE")[2] for line in done.stderr.splitlines() if ":CONSOLE" in line]
    events = json.loads(log.read_text("utf-8"))
    started = events["constants"]["logEventTypes"]["URL_REQUEST_START_JOB"]
    requests = [event.get("params", {}) for event in events["events"] if event["type"] == started]
    asked = [r["url"] for r in requests if "url" in r and r.get("initiator") != "not an origin"]
    return done.stdout, console, asked
