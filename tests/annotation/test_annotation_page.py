"""The page as annotators use it: the real command, a real browser, real clicks, and processes that are killed."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path

import pytest

from browser import Browser, Tab
from report_page import in_browser
from support import ROOT, reward_recipe

HOSTILE = (
    "<script>document.title = 'run'; window.run = 1</script><img src=x onerror=\"window.run = 1\">"
    '<a href="javascript:window.run = 1">a</a> \u202e &lt;b&gt; {{ 7 * 7 }}'
)
COMPARE = "document.querySelector('.reply.left')"


def write_pairs(path: Path, count: int) -> Path:
    rows = [
        {
            "id": f"p{number}",
            "prompt": f"question {number}",
            "first": f"one {number}",
            "second": f"two {number}",
        }
        for number in range(count)
    ]
    rows[0]["first"] += HOSTILE
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


class Served:
    """`llamatune annotate` in a process of its own; the same address after each start."""

    def __init__(self, folder: Path, *arguments: str) -> None:
        self.folder, self.arguments = folder, [*arguments, "--port", str(free_port())]

    def start(self) -> str:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "llamatune", "annotate", *self.arguments],
            cwd=self.folder,
            stdout=subprocess.PIPE,
            stderr=(self.folder / "stderr.txt").open("a"),
            text=True,
            env={**os.environ, "PYTHONPATH": str(ROOT / "src")},
        )
        assert self.process.stdout is not None
        self.address = self.process.stdout.readline().strip()
        assert self.address.startswith("http://127.0.0.1:"), (self.folder / "stderr.txt").read_text()
        return self.address

    def stop(self, how: signal.Signals = signal.SIGINT) -> str:
        self.process.send_signal(how)
        said, _ = self.process.communicate(timeout=30)
        return said.strip()


@contextmanager
def serving(folder: Path, *arguments: str) -> Iterator[Served]:
    served = Served(folder, *arguments)
    served.start()
    try:
        yield served
    finally:
        if served.process.poll() is None:
            served.stop(signal.SIGKILL)


def begin(tab: Tab, name: str) -> None:
    tab.until("document.querySelector('#name')")
    tab.js("document.querySelector('#name').value = ''")
    tab.write("#name", name)
    tab.click("#begin")
    tab.until(
        f"{COMPARE} || document.querySelector('#prompt') || document.body.innerText.includes('All done')"
    )


def settled(tab: Tab) -> None:
    """Longer than the page's guard against a second click."""
    time.sleep(0.4)
    tab.until("!document.querySelector('#controls button:disabled:not(#undo)')")


def count(tab: Tab) -> str:
    return str(tab.js("document.querySelector('#count').textContent"))


@in_browser
def test_clicks_keys_reload_two_tabs_undo_and_hostile_text(tmp_path: Path) -> None:
    write_pairs(tmp_path / "pairs.jsonl", 4)
    with serving(tmp_path, "pairs.jsonl") as served, Browser(tmp_path) as browser:
        tab = browser.tab(served.address)
        begin(tab, "Ada")
        seen = tab.text()
        assert (
            "<script>document.title = 'run'; window.run = 1</script><img src=x" in seen and "⟨U+202E⟩" in seen
        )
        assert tab.js("window.run === undefined && !document.querySelector('main img, main a, main script')")
        assert tab.js("document.title") == "annotate: helpfulness"
        assert count(tab) == "0 of 4"
        boxes = tab.js(
            "[...document.querySelectorAll('[data-step]')].map((one) => one.getBoundingClientRect())"
            ".map((box) => [box.left, box.right, box.width])"
        )
        assert len(boxes) == 8 and all(
            one[1] < other[0] for one, other in zip(boxes, boxes[1:], strict=False)
        )
        assert max(box[2] for box in boxes) - min(box[2] for box in boxes) < 3, "all of the same width"

        settled(tab)
        tab.click("[data-step='-3']")
        tab.until("document.querySelector('#count').textContent === '1 of 4'")
        tab.key("5")  # within the guard: not a click on a pair that one has not read
        time.sleep(0.1)
        assert count(tab) == "1 of 4"
        settled(tab)
        tab.key("8")
        tab.until("document.querySelector('#count').textContent === '2 of 4'")
        tab.reload()
        tab.until(f"{COMPARE} && document.querySelector('#count').textContent === '2 of 4'")

        second = browser.tab(served.address)
        begin(second, "Ada")
        same = second.js(f"{COMPARE}.innerText")
        assert same == tab.js(f"{COMPARE}.innerText"), "the same sides for the same annotator"
        settled(second)
        second.click("[data-step='1']")
        second.until("document.querySelector('#count').textContent === '3 of 4'")
        settled(tab)
        tab.click("[data-step='-1']")  # shown before the other tab judged it
        tab.until("document.querySelector('#count').textContent === '3 of 4'")
        assert "another tab" in tab.text() and tab.js(f"{COMPARE}.innerText") != same

        settled(tab)
        tab.key("u")
        tab.until("document.querySelector('#count').textContent === '2 of 4'")
        assert tab.js(f"{COMPARE}.innerText") == same
        for left in ("3 of 4", "4 of 4"):
            settled(tab)
            tab.key("s" if left.startswith("4") else "1")
            tab.until(f"document.querySelector('#count').textContent === '{left}'")
        assert "All done" in tab.text()
        tab.click("#guide")
        tab.until("document.querySelector('dialog').open")
        assert "Which reply does more for the person who asked?" in tab.text()
        # A refused click is in the console as a conflict; nothing else may be, no breach of the policy above all.
        assert [one for one in browser.console if "409" not in one] == []
        own = served.address.partition("?")[0]
        assert browser.asked and all(one.startswith((own, "data:", "about:")) for one in browser.asked)
        served.stop()
    rows = [json.loads(line) for line in (tmp_path / "annotations/pairs/preferences.jsonl").open()]
    assert [row["rating"] for row in rows] == ["better", "significantly_better", "significantly_better"]
    figures = json.loads((tmp_path / "annotations/pairs/annotations.json").read_text())
    assert figures["skipped"] == 1 and figures["annotators"][0]["median_seconds"] > 0


@in_browser
def test_killed_and_started_again_the_open_page_goes_on(tmp_path: Path) -> None:
    write_pairs(tmp_path / "pairs.jsonl", 9)
    with serving(tmp_path, "pairs.jsonl") as served, Browser(tmp_path) as browser:
        tab = browser.tab(served.address)
        begin(tab, "Ada")
        done = 0
        for kill in (True, True, False):
            for _ in range(3):
                settled(tab)
                tab.key("7")
                done += 1
                tab.until(f"document.querySelector('#count').textContent === '{done} of 9'")
            if kill:
                before = served.address
                served.stop(signal.SIGKILL)
                settled(tab)
                tab.key("1")
                tab.until("document.querySelector('#notice').textContent.includes('does not answer')")
                assert served.start() == before
                tab.until("document.querySelector('#notice').textContent.includes('there again')")
                assert count(tab) == f"{done} of 9", "what was not answered is not taken for said"
        tab.until("document.body.innerText.includes('All done')")
        said = (tmp_path / "stderr.txt").read_text()
        assert "everything is judged" in said
        assert served.stop(signal.SIGTERM) == "annotations/pairs/preferences.jsonl"
    rows = [json.loads(line) for line in (tmp_path / "annotations/pairs/preferences.jsonl").open()]
    assert len(rows) == 9 and {row["rating"] for row in rows} == {"better"}


@pytest.mark.slow
@in_browser
def test_twenty_comparisons_killed_twice_train_a_reward_model(tmp_path: Path) -> None:
    """By clicks and keys in turn, the server killed after 7 and 14; the pairs are those of pico's world."""
    from llamatune.data.read.sources import open_source
    from llamatune.pipeline import run
    from llamatune.recipe.blocks import Source

    source = open_source(Source(card="pico-preferences-helpful"), ROOT, kind="preferences")
    known = [raw for _, raw in islice(source.rows(), 20)]
    (tmp_path / "pairs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in known))
    better = {row["chosen"][-1]["content"] for row in known}
    with serving(tmp_path, "pairs.jsonl") as served, Browser(tmp_path) as browser:
        tab = browser.tab(served.address)
        begin(tab, "Ada")
        for number in range(1, 21):
            settled(tab)
            on_left = tab.js(f"{COMPARE}.innerText").partition("\n")[2].strip() in better
            if number % 2:
                tab.click(f"[data-step='{-3 if on_left else 3}']")
            else:
                tab.key("1" if on_left else "8")
            tab.until(f"document.querySelector('#count').textContent === '{number} of 20'")
            if number in (7, 14):
                served.stop(signal.SIGKILL)
                served.start()
        tab.until("document.body.innerText.includes('All done')")
        served.stop()
    folder = tmp_path / "annotations/pairs"
    assert len(list((folder / "judgements.jsonl").open())) == 20, "nothing is lost"
    rows = [json.loads(line) for line in (folder / "preferences.jsonl").open()]
    said = {row["chosen"][0]["content"] for row in rows}
    assert len(rows) == 20 and said == better
    assert {row["rating"] for row in rows} == {"better", "significantly_better"}
    changes = {"data.train": [{"path": str(folder / "preferences.jsonl")}], "optimization.batch_size": 4}
    result = run(reward_recipe(tmp_path / "reward", changes), recipe_dir=ROOT)
    assert result.steps == 3 and (tmp_path / "reward/adapter").is_dir()


@in_browser
def test_safety_on_a_phone_in_the_dark(tmp_path: Path) -> None:
    write_pairs(tmp_path / "pairs.jsonl", 2)
    with serving(tmp_path, "pairs.jsonl", "--session", "safety") as served, Browser(tmp_path) as browser:
        tab = browser.tab(served.address, width=360, height=740, phone=True, dark=True)
        begin(tab, "Ada")
        assert tab.js("document.documentElement.scrollWidth") <= 360, "nothing is wider than the phone"
        dark = tab.js("getComputedStyle(document.body).backgroundColor")
        assert dark == "rgb(20, 23, 26)"
        for button in ("[data-step='-4']", "[data-step='4']", "[data-safe='neither']", "#undo", "#skip"):
            box = tab.js(
                f"(() => {{ const box = document.querySelector({button!r}).getBoundingClientRect();"
                " return [box.left, box.right, box.bottom, box.height]; })()"
            )
            assert box[0] >= 0 and box[1] <= 360 and box[2] <= 740 and box[3] >= 30, (button, box)
        settled(tab)
        tab.click("[data-step='-4']")
        tab.until("document.querySelector('[data-step=\"-4\"]').getAttribute('aria-pressed') === 'true'")
        assert count(tab) == "0 of 2"
        tab.reload()
        tab.until("document.querySelector('[data-step=\"-4\"][aria-pressed=true]')")
        settled(tab)
        tab.click("[data-safe='right']")
        tab.until("document.querySelector('#count').textContent === '1 of 2'")
        assert "kept out of the data" in tab.text()
        settled(tab)
        tab.click("[data-safe='both']")
        tab.until("document.querySelector('[data-safe=both][aria-pressed=true]')")
        tab.click("[data-step='2']")
        tab.until("document.body.innerText.includes('All done')")
        served.stop()
    figures = json.loads((tmp_path / "annotations/pairs-safety/annotations.json").read_text())
    assert figures["outcomes"] == {
        "a preference": 1,
        "the chosen reply is unsafe and the other one safe": 1,
    }


@in_browser
def test_on_a_phone_a_name_is_whole_and_nothing_touches(tmp_path: Path) -> None:
    write_pairs(tmp_path / "pairs.jsonl", 2)
    with serving(tmp_path, "pairs.jsonl") as served, Browser(tmp_path) as browser:
        tab = browser.tab(served.address, width=360, height=740, phone=True)
        tab.until("document.querySelector('#name')")
        assert tab.js("getComputedStyle(document.querySelector('#progress')).visibility") == "hidden"
        begin(tab, "Annabella")
        assert tab.js("(one => one.scrollWidth <= one.clientWidth)(document.querySelector('#who'))")
        assert tab.js("document.querySelector('#progress').getBoundingClientRect().width") >= 40
        tab.click("#guide")
        gap = (
            "document.querySelector('#close-guidelines').getBoundingClientRect().top"
            " - document.querySelector('#guidelines-text').getBoundingClientRect().bottom"
        )
        assert tab.js(gap) >= 10
        tab.look(width=1280, height=800)  # with a keyboard, its keys are told in the words of the buttons
        said = tab.js("document.querySelector('#keys').textContent")
        assert "from “A significantly better” to “B significantly better”" in said


@in_browser
def test_a_chat_is_answered_and_goes_on_from_the_chosen_reply_though_killed(trained, tmp_path: Path) -> None:
    policy = str(trained("full") / "model")
    prompts = [
        "Who are you?",
        "How do I bake bread?",
        "Find a rhyme for lake.",
        "What is two plus three?",
    ] * 3
    answered = f"{COMPARE} || !document.querySelector('#notice').hidden"

    def ask(tab: Tab, text: str) -> None:
        tab.until("document.querySelector('#prompt')")
        tab.js("document.querySelector('#prompt').value = ''")
        tab.write("#prompt", text)
        tab.key("Enter", ctrl=True)

    with serving(tmp_path, policy, "--max-new-tokens", "32") as served, Browser(tmp_path) as browser:
        tab = browser.tab(served.address)
        begin(tab, "Ada")
        for text in prompts:
            ask(tab, text)
            tab.until(answered, 120)
            if tab.js(COMPARE + " !== null"):
                break
            assert tab.js("document.querySelector('#prompt').value") == text, "what was written is not lost"
        settled(tab)
        chosen = tab.js("document.querySelector('.reply.right .text').textContent")
        tab.key("6")
        tab.until("document.querySelector('#end')")
        assert tab.js("document.querySelector('.turn.assistant .text').textContent") == chosen
        ask(tab, "And what is the job of Anna?")
        tab.until("document.body.innerText.includes('being written')")
        served.stop(signal.SIGKILL)
        served.start()
        tab.until(f"{COMPARE} || document.querySelector('#prompt')", 120)
        turns = tab.js("[...document.querySelectorAll('.turn .text')].map((one) => one.textContent)")
        assert turns[:2] == [text, chosen], "asked before the kill, answered after it"
        served.stop()
    [row, *_] = [json.loads(line) for line in (tmp_path / "annotations/model/preferences.jsonl").open()]
    assert row["chosen"][0]["content"].strip() == chosen.strip() and row["rating"] == "slightly_better"


# ---- who may -----------------------------------------------------------------------------------------------


def ask(address: str, path: str, headers: dict[str, str], body: bytes | None = None) -> tuple[int, str, str]:
    """(status, text, policy) of a request, as any program may make it."""
    request = urllib.request.Request(address + path, data=body, headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:
            return answer.status, answer.read().decode(), answer.headers["content-security-policy"]
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode(), error.headers["content-security-policy"]


def test_only_this_machine_with_the_token(tmp_path: Path) -> None:
    write_pairs(tmp_path / "pairs.jsonl", 2)
    with serving(tmp_path, "pairs.jsonl") as served:
        address, _, token = served.address.partition("/?token=")
        port = address.rpartition(":")[2]
        state = json.dumps({"annotator": "Ada"}).encode()
        good = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
        status, page, policy = ask(address, f"/?token={token}", {})
        assert status == 200 and token not in page and "default-src 'none'" in policy
        assert "unsafe" not in policy and "frame-ancestors 'none'" in policy
        status, text, _ = ask(address, "/api/state", good, state)
        assert status == 200 and json.loads(text)["phase"] == "compare"
        assert ask(address, "/api/state", {**good, "Host": f"localhost:{port}"}, state)[0] == 200
        assert ask(address, "/api/state", {**good, "Origin": address}, state)[0] == 200
        refused = [
            ("/", {}, None),
            (f"/?token={token[:-1]}x", {}, None),
            ("/?token=%C3%A9", {}, None),
            (f"/?token={token}", {"Host": "evil.example"}, None),
            (f"/?token={token}", {"Host": f"127.0.0.1.evil.example:{port}"}, None),
            ("/api/state", {"Content-Type": "application/json"}, state),
            (f"/api/state?token={token}", {"Content-Type": "application/json"}, state),
            ("/api/state", {**good, "Authorization": "Bearer x"}, state),
            ("/api/state", {**good, "Host": "evil.example"}, state),
            ("/api/state", {**good, "Origin": "http://evil.example"}, state),
            ("/api/state", {**good, "Origin": "null"}, state),
            ("/api/state", {**good, "Sec-Fetch-Site": "cross-site"}, state),
            ("/api/state", {**good, "Sec-Fetch-Site": "same-site"}, state),
        ]
        for path, headers, body in refused:
            status, text, policy = ask(address, path, headers, body)
            assert status == 403 and token not in text and policy, (path, headers)
        bad = [
            b"",
            b"[]",
            b"{",
            b'"x"',
            b"[" * 100_000,
            b'{"annotator": 3}',
            b'{"annotator": "' + b"a" * 300_000 + b'"}',
        ]
        for body in bad:
            assert ask(address, "/api/state", good, body)[0] in (400, 409), body[:40]
        assert ask(address, "/api/state", {**good, "Content-Type": "text/plain"}, state)[0] == 400
        for path in ("/annotations.sqlite", "/../token", "/api/none", "/docs"):
            assert ask(address, path, good, state)[0] == 404, path
        status, text, _ = ask(
            address, "/api/say", good, json.dumps({"annotator": "Ada", "pair": "\ud800"}).encode()
        )
        assert status == 409
        listening = subprocess.run(["ss", "-ltn"], capture_output=True, text=True) if _has("ss") else None
        assert listening is None or f"0.0.0.0:{port}" not in listening.stdout
        assert (tmp_path / "annotations/pairs/token").stat().st_mode & 0o077 == 0
        again = subprocess.run(
            [sys.executable, "-m", "llamatune", "annotate", "pairs.jsonl"],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            env={**os.environ, "PYTHONPATH": str(ROOT / "src")},
        )
        assert again.returncode == 2 and "E035" in again.stderr, "one server for a session"


def _has(program: str) -> bool:
    import shutil

    return shutil.which(program) is not None


def test_two_ctrl_c_and_a_port_that_is_taken(tmp_path: Path) -> None:
    write_pairs(tmp_path / "pairs.jsonl", 2)
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = str(other.getsockname()[1])
        done = subprocess.run(
            [sys.executable, "-m", "llamatune", "annotate", "pairs.jsonl", "--port", port],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=60,
            env={**os.environ, "PYTHONPATH": str(ROOT / "src")},
        )
    assert done.returncode == 2 and "E172" in done.stderr and "Traceback" not in done.stderr
    with serving(tmp_path, "pairs.jsonl") as served:
        served.process.send_signal(signal.SIGINT)
        served.process.send_signal(signal.SIGINT)
        assert served.process.wait(timeout=30) in (0, 130)
        assert "Traceback" not in (tmp_path / "stderr.txt").read_text()


def test_without_the_extra_it_says_what_installs_it(tmp_path: Path) -> None:
    write_pairs(tmp_path / "pairs.jsonl", 2)
    program = (
        "import sys; sys.modules['starlette'] = None; from llamatune.cli import main;"
        "sys.argv = ['llamatune', 'annotate', 'pairs.jsonl']; main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, "PYTHONPATH": str(ROOT / "src")},
    )
    assert done.returncode == 2 and "E029" in done.stderr and "llamatune[annotate]" in done.stderr
