"""What the hub may answer, through the real command: each an error of its own, nothing lost, and the same command goes
on."""

import os
import pty
import signal
import subprocess
import sys
import termios
import time
from contextlib import suppress
from pathlib import Path

import pytest

from loopback import CUT, HANG, LoopbackHub, Repo
from support import ROOT

PUSH = ("push", "runs/samples", "me/rows", "--dataset")


def test_rows_arrive_with_a_card_and_nothing_else(hub: LoopbackHub, llamatune, rows_run: Path) -> None:
    done = llamatune(*PUSH)
    assert done.returncode == 0, done.stderr
    assert hub.repos["datasets/me/rows"].private, "unless --public says otherwise"
    held = hub.content("me/rows", "dataset")
    assert set(held) == {".gitattributes", "README.md", "conversations.jsonl", "metrics.json", "recipe.yaml"}
    everything = b"\n".join(held.values())
    for secret in (str(rows_run.parent), "secret-host", "optimizer", "TOKEN"):
        assert secret.encode() not in everything
    card = held["README.md"].decode()
    assert card.startswith("---\nlicense: cc0-1.0\n") and "path: conversations.jsonl" in card
    assert done.stdout.strip().endswith(hub.repos["datasets/me/rows"].refs["main"])
    assert not (rows_run / "hub").exists()
    assert all(one.token for one in hub.asked if one.method != "PUT"), "the token goes to the hub"
    assert not any(one.token for one in hub.asked if one.method == "PUT"), "and to no store"


def test_a_file_of_a_run_with_its_held_out_rows(hub: LoopbackHub, llamatune, rows_run: Path) -> None:
    done = llamatune("push", "runs/samples/preferences.jsonl", "me/pairs", "--dataset", "--public")
    assert done.returncode == 0, done.stderr
    assert not hub.repos["datasets/me/pairs"].private
    assert {"preferences.jsonl", "preferences_test.jsonl"} < set(hub.content("me/pairs", "dataset"))
    pulled = llamatune("pull", "me/pairs", "--dataset", "--output", "pulled", home="elsewhere")
    assert pulled.returncode == 0, pulled.stderr
    sent = hub.content("me/pairs", "dataset")
    for name in ("preferences.jsonl", "README.md"):
        assert (rows_run.parents[1] / "pulled" / name).read_bytes() == sent[name]


def test_what_has_arrived_is_not_sent_again(hub: LoopbackHub, llamatune, rows_run: Path) -> None:
    assert llamatune(*PUSH).returncode == 0
    before = hub.counts()
    again = llamatune(*PUSH)
    assert again.returncode == 0, again.stderr
    assert (
        hub.counts()["PUT lfs"] == before["PUT lfs"] and hub.counts()["POST commit"] == before["POST commit"]
    )


@pytest.mark.parametrize(
    ("part", "status", "code", "says"),
    [
        ("/repos/create", 401, "E510", "hf auth login"),
        ("/repos/create", 403, "E511", "token may write"),
        ("/preupload/", 404, "E512", "revision"),
        ("/commit/", 409, "E513", "latest commits"),
        ("/commit/", 412, "E513", "latest commits"),
        ("/repos/create", 429, "E514", "wait some minutes"),
        ("/commit/", 400, "E516", "scripted"),
    ],
)
def test_each_answer_is_an_error_of_its_own(
    hub: LoopbackHub, llamatune, rows_run: Path, part: str, status: int, code: str, says: str
) -> None:
    before = {file: file.read_bytes() for file in rows_run.iterdir() if file.is_file()}
    hub.fail("POST", part, status, times=9)
    done = llamatune(*PUSH)
    assert done.returncode == 5, done.stderr
    assert f"error[{code}] me/rows:" in done.stderr and says in done.stderr
    assert f"go on with:\n  llamatune {' '.join(PUSH)}\n" in done.stderr
    assert "Traceback" not in done.stderr and "loopback" not in done.stderr.replace(hub.url, "")
    assert before == {file: file.read_bytes() for file in before}
    hub.failures.clear()
    assert llamatune(*PUSH).returncode == 0


_SENDS = """
import sys
from pathlib import Path
from llamatune.errors import LlamatuneError
from llamatune.hub.push import Target, deliver
for line in sys.stdin:
    try:
        deliver(Path(line.strip()), Target("me/model"), dry_run=False, say=lambda line: None)
        print("done", flush=True)
    except LlamatuneError as error:
        print(error.problems[0].code, error.exit_code, flush=True)
"""
_STORES = {
    "regular": ("POST", "/commit/"),
    "lfs": ("PUT", "/lfs/"),
    "multipart": ("PUT", "/part/"),
    "xet": ("GET", "/xet-write-token/"),
}


@pytest.mark.parametrize(
    "mode",
    [pytest.param(one, marks=pytest.mark.slow) if one in ("lfs", "multipart") else one for one in _STORES],
)
def test_each_mode_of_upload_fails_in_the_same_words(mode: str, tmp_path: Path) -> None:
    """One process that sends other bytes each time, to a hub that fails where it stores them, and at the commit."""
    with LoopbackHub(mode, chunk=100_000, store=tmp_path / "store") as hub, subprocess.Popen(
        [sys.executable, "-c", _SENDS],
        env=hub.environment(tmp_path / "home") | {"PYTHONPATH": str(ROOT / "src")},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as sending:  # fmt: skip
        assert sending.stdin is not None and sending.stdout is not None

        def send(number: int) -> str:
            folder = tmp_path / "hub" / str(number)
            folder.mkdir(parents=True, exist_ok=True)
            (folder / "README.md").write_text(f"# {number}\n")
            (folder / "model.safetensors").write_bytes(number.to_bytes(5) * 50_000)
            print(folder, file=sending.stdin, flush=True)
            return sending.stdout.readline().strip()

        number = 0
        for part in dict.fromkeys((_STORES[mode], ("POST", "/commit/"))):
            for status, code in ((401, "E510"), (403, "E511"), (404, "E512"), (409, "E513")):
                number += 1
                hub.fail(*part, status, times=99)
                assert send(number) == f"{code} 5", (part, status)
                hub.failures.clear()
                assert send(number) == "done", "the same again goes on"
        # What passes is waited for; at a commit, which may have been made, it is said.
        said = {429: "E514 5", 500: "E515 5", CUT: "E515 5"} if mode == "regular" else {}
        for status in (429, 500, CUT):
            number += 1
            hub.fail(*_STORES[mode], status)
            assert send(number) == said.get(status, "done"), status
            assert not hub.failures.pop().times and send(number) == "done"
        [held] = [files for files in hub.repos.values()]
        names = set(held.files("main")[1])
        assert names == {".gitattributes", "README.md", "model.safetensors"}
        sending.stdin.close()


def test_without_a_token_and_without_a_network(hub: LoopbackHub, llamatune, rows_run: Path) -> None:
    done = llamatune(*PUSH, token=False)
    assert done.returncode == 5 and "error[E510]" in done.stderr
    hub.server.server_close()
    hub.server.shutdown()
    done = llamatune(*PUSH)
    assert done.returncode == 5 and "error[E515]" in done.stderr


def test_what_passes_is_waited_for(hub: LoopbackHub, llamatune, rows_run: Path) -> None:
    hub.fail("POST", "/preupload/", 500)
    hub.fail("POST", "/objects/batch", 429)
    hub.fail("PUT", "/lfs/", CUT)
    hub.fail("PUT", "/lfs/", 500)
    done = llamatune(*PUSH)
    assert done.returncode == 0, done.stderr
    assert not any(one.times for one in hub.failures), "all of it happened"


def test_killed_in_the_middle_the_same_command_sends_the_rest(
    hub: LoopbackHub, llamatune, rows_run: Path
) -> None:
    command = ("push", "runs/samples/preferences.jsonl", "me/rows", "--dataset")
    hub.fail("PUT", "/lfs/", HANG, after=1)
    started = subprocess.Popen(
        [sys.executable, "-m", "llamatune", *command],
        cwd=rows_run.parents[1],
        env=hub.environment(rows_run.parents[1] / "home") | {"PYTHONPATH": str(ROOT / "src")},
        stderr=subprocess.DEVNULL,
    )
    assert hub.hanging.wait(120)
    [arrived] = {one.path for one in hub.asked if one.method == "PUT"} - {hub.hung}
    while arrived.split("/")[2] not in hub.blobs:
        time.sleep(0.05)
    os.kill(started.pid, signal.SIGKILL)
    started.wait()
    done = llamatune(*command)
    assert done.returncode == 0, done.stderr
    puts = [one.path for one in hub.asked if one.method == "PUT"]
    assert puts.count(arrived) == 1, "what was there is not sent again"
    assert not (rows_run / "hub").exists()


def test_what_pull_says_after_a_bar_is_a_line_of_its_own(hub: LoopbackHub, tmp_path: Path) -> None:
    (tmp_path / "rows").mkdir()
    (tmp_path / "rows/rows.jsonl").write_text('{"prompt": "a", "completion": "b"}\n' * 1000)
    hub.holds(tmp_path / "rows", "me/rows", "dataset")
    terminal, stderr = pty.openpty()
    termios.tcsetwinsize(stderr, (24, 100))
    pulling = subprocess.Popen(
        [sys.executable, "-m", "llamatune", "pull", "me/rows", "--dataset"],
        env=hub.environment(tmp_path / "home") | {"PYTHONPATH": str(ROOT / "src")},
        cwd=tmp_path,
        stdout=subprocess.DEVNULL,
        stderr=stderr,
    )
    os.close(stderr)
    shown = b""
    with suppress(OSError):  # how a terminal ends
        while part := os.read(terminal, 1 << 16):
            shown += part
    os.close(terminal)
    assert pulling.wait() == 0, shown
    assert b"Fetching" in shown and b"\r\nme/rows: a data set" in shown


def test_branches_and_pull_requests(hub: LoopbackHub, llamatune, rows_run: Path) -> None:
    assert llamatune(*PUSH, "--revision", "v2").returncode == 0
    repo = hub.repos["datasets/me/rows"]
    assert set(repo.commits[repo.refs["main"]]) == {".gitattributes"}
    assert "README.md" in repo.commits[repo.refs["v2"]]
    opened = llamatune(*PUSH, "--pr")
    assert opened.returncode == 0 and opened.stdout.strip() == f"{hub.url}/me/rows/discussions/1", (
        opened.stderr
    )
    assert "README.md" in repo.commits[repo.refs["refs/pr/1"]]
    both = llamatune(*PUSH, "--pr", "--revision", "v2")
    assert both.returncode == 2 and "error[E507]" in both.stderr


def test_a_dry_run_shows_what_would_go_and_sends_nothing(hub: LoopbackHub, llamatune, rows_run: Path) -> None:
    done = llamatune(*PUSH, "--dry-run", token=False)
    assert done.returncode == 0, done.stderr
    assert not hub.repos and not hub.asked
    for line in ("README.md", "conversations.jsonl", "in 4 files to me/rows", "nothing was sent"):
        assert line in done.stderr
    staged = rows_run.parents[1] / done.stdout.strip()
    assert {file.name for file in staged.iterdir()} == {
        "README.md", "conversations.jsonl", "metrics.json", "recipe.yaml"
    }  # fmt: skip


def test_what_arrived_is_looked_at(
    hub: LoopbackHub, llamatune, rows_run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A hub that mixes up two files."""
    commit = Repo.commit

    def mixed_up(repo: Repo, ref: str, files: dict[str, str]) -> str:
        return commit(repo, ref, {**files, "conversations.jsonl": files[".gitattributes"]})

    monkeypatch.setattr(
        Repo, "commit", lambda repo, ref, files: (mixed_up if len(files) > 1 else commit)(repo, ref, files)
    )
    done = llamatune(*PUSH)
    assert done.returncode == 5 and "error[E517] me/rows: `conversations.jsonl`" in done.stderr
    assert (rows_run / "hub").is_dir(), "kept until it has arrived"
