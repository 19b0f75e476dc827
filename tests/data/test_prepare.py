import json
import multiprocessing
import os
import random
import shutil
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest

from llamatune.data import mix
from llamatune.data.cache import cache_key, stored
from llamatune.data.digests import SeenDigests
from llamatune.data.packing import pack
from llamatune.data.prepare import Prepared, prepare
from llamatune.data.rows import IGNORED, Encoded, Reason, RowRejected
from llamatune.errors import DataError, DiskError
from llamatune.recipe.blocks import Data, Source
from llamatune.recipe.hashing import cache_folder


def write(folder: Path, name: str, rows: list[dict]) -> str:
    path = folder / name
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def pair(number: int, answer: str = "answer") -> dict:
    return {"prompt": f"question {number}", "completion": f"{answer} {number}"}


def run(
    encoder: Any,
    *train: Source,
    kind: str = "conversations",
    seed: int = 0,
    lines: list | None = None,
    **data: Any,
) -> Prepared:
    settings = {"max_length": 1000} | data
    report = lines.append if lines is not None else lambda line: None
    return prepare(
        Data(train=list(train), **settings),
        encoder,
        kind=kind,
        seed=seed,
        recipe_dir=Path("."),
        report=report,
    )


def texts(dataset: Any) -> list[str]:
    return ["".join(map(chr, row["input_ids"])) for row in dataset]


def fails(encoder: Any, *train: Source, **data: Any) -> str:
    with pytest.raises(DataError) as caught:
        run(encoder, *train, **data)
    return str(caught.value)


# ---- what comes out ---------------------------------------------------------------------------------------


def test_rows_and_counts(tmp_path: Path, encoder) -> None:
    path = write(tmp_path, "a.jsonl", [pair(1), pair(22), pair(1)])
    lines: list[str] = []
    prepared = run(encoder, Source(path=path), lines=lines)
    assert prepared.train.column_names == ["input_ids", "labels", "source", "row", "place"]
    first = prepared.train[1]
    assert "".join(map(chr, first["input_ids"])) == "question 22answer 22"
    assert first["labels"] == [IGNORED] * 11 + [ord(character) for character in "answer 22"]
    assert (first["source"], first["row"], first["place"]) == (path, 1, f"{path}:2")
    assert prepared.train.features["input_ids"].feature.dtype == "int32"
    assert prepared.to_json()["counts"] == {
        "read": 3, "kept": 2, "held_out": 0, "dropped": {"duplicate": 1}, "adjusted": {}, "truncated": 0,
        "escaped": 0, "altered": 0, "default_system": 0, "sequences": 2, "tokens": 38,
        "trained_tokens": 17, "longest": 20,
    }  # fmt: skip
    assert lines[0] == f"{path}: format prompt_completion (columns prompt, completion)"
    assert "3 rows, 2 in use, 1 duplicate" in lines[1]
    assert json.loads(json.dumps(prepared.to_json()))["sources"][0]["counts"]["read"] == 3


def test_a_share_of_trained_tokens_is_said_only_where_tokens_are_learnt(tmp_path: Path, encoder) -> None:
    """A file of labelled replies, of which a reward model learns the labels, had `0% of them trained`."""
    path = write(tmp_path, "a.jsonl", [pair(1) | {"label": True}, pair(2) | {"label": False}])
    lines: list[str] = []
    run(encoder, Source(path=path), kind="labels", lines=lines)
    assert "tokens in an epoch, longest row" in lines[-1]


@pytest.mark.parametrize(
    ("name", "kind", "rows"),
    [
        ("alpaca_en_demo.json", "conversations", 999),
        ("sharegpt_dummy_conversation.json", "conversations", 500),
        ("gsm8k_train_1500.jsonl", "conversations", 1500),
        ("wiki_demo.txt", "documents", 30),
        ("c4_demo.jsonl", "documents", 300),
    ],
)
def test_real_files(real_data: Path, encoder, name: str, kind: str, rows: int) -> None:
    source = Source(path=str(real_data / name))
    prepared = run(encoder, source, kind=kind, max_length=200_000, eval_fraction=0.2)
    counts = prepared.counts
    assert counts.read == rows == counts.kept + counts.held_out + sum(counts.dropped.values())
    assert prepared.eval is not None and 0.05 * rows < len(prepared.eval) < 0.4 * rows
    assert counts.trained_tokens == sum(sum(i != IGNORED for i in row) for row in prepared.train["labels"])


@pytest.mark.parametrize(("weight", "expected"), [(0.5, {0: 5, 1: 5}), (1, {1: 10}), (2.5, {2: 5, 3: 5})])
def test_weights(tmp_path: Path, encoder, weight: float, expected: dict) -> None:
    path = write(tmp_path, "a.jsonl", [pair(n) for n in range(10)])
    once = texts(run(encoder, Source(path=path, weight=weight)).train)
    seen = Counter(once)
    assert Counter(seen.get(f"question {n}answer {n}", 0) for n in range(10)) == expected
    assert texts(run(encoder, Source(path=path, weight=weight)).train) == once
    others = {
        tuple(texts(run(encoder, Source(path=path, weight=weight), seed=seed).train)) for seed in range(5)
    }
    assert (len(others) == 1) == (weight == 1)  # two of five seeds may agree by chance: 252 ways to take half


def test_mixing_keeps_the_sources_apart(tmp_path: Path, encoder) -> None:
    a = write(tmp_path, "a.jsonl", [pair(n) for n in range(4)])
    b = write(tmp_path, "b.jsonl", [{"question": f"q{n}", "answer": "x"} for n in range(4)])
    prepared = run(encoder, Source(path=a, weight=2), Source(path=b, weight=0.25, max_rows=2))
    assert Counter(prepared.train["source"]) == {a: 8, b: 1}
    assert [source.counts.sequences for source in prepared.sources] == [8, 1]
    assert prepared.counts.kept == 6 and prepared.counts.sequences == 9


def test_duplicates_across_sources_and_not_when_switched_off(tmp_path: Path, encoder) -> None:
    a = write(tmp_path, "a.jsonl", [pair(1), pair(1), pair(2)])
    b = write(tmp_path, "b.jsonl", [pair(2), pair(3), pair(1, "other")])
    prepared = run(encoder, Source(path=a), Source(path=b))
    assert [source.counts.dropped for source in prepared.sources] == [{"duplicate": 1}, {"duplicate": 1}]
    assert prepared.counts.kept == 4
    assert len(run(encoder, Source(path=a), Source(path=b), deduplicate=False).train) == 6


def test_row_20_many_duplicates_are_warned_of(tmp_path: Path, encoder) -> None:
    lines: list[str] = []
    run(encoder, Source(path=write(tmp_path, "a.jsonl", [pair(1)] * 5)), lines=lines)
    assert "warning: more than half of the rows" in lines[-1]


def test_row_20_overlap_of_train_and_eval_is_refused(tmp_path: Path, encoder) -> None:
    train = write(tmp_path, "train.jsonl", [pair(n) for n in range(10)])
    evaluation = write(tmp_path, "eval.jsonl", [pair(n, "reworded") for n in (3, 5, 7, 9, 77)])
    message = fails(encoder, Source(path=train), eval=[Source(path=evaluation)])
    assert "error[E133]" in message and "4 training rows" in message
    assert f"{train}:4, {train}:6, {train}:8" in message and f"{train}:10" not in message
    clean = write(tmp_path, "clean.jsonl", [pair(77), pair(78)])
    prepared = run(encoder, Source(path=train), eval=[Source(path=clean)])
    assert prepared.eval is not None and len(prepared.eval) == 2
    assert [source.evaluates for source in prepared.sources] == [False, True]


def test_eval_fraction_splits_by_the_content_of_the_prompt(tmp_path: Path, encoder) -> None:
    rows = [pair(n, answer) for n in range(200) for answer in ("one", "two")]
    first = run(encoder, Source(path=write(tmp_path, "a.jsonl", rows)), eval_fraction=0.2)
    assert first.eval is not None and 40 < len(first.eval) < 120
    assert first.counts.held_out == len(first.eval) == 400 - len(first.train)
    assert [source.evaluates for source in first.sources] == [True]
    prompts = [
        {text.split("one ")[0].split("two ")[0] for text in texts(side)} for side in (first.train, first.eval)
    ]
    assert not prompts[0] & prompts[1]
    more = [pair(n) for n in range(1000, 1100)] + rows[::-1]
    second = run(encoder, Source(path=write(tmp_path, "b.jsonl", more)), eval_fraction=0.2, seed=9)
    assert set(texts(first.eval)) <= set(texts(second.eval))
    assert not set(texts(first.eval)) & set(texts(second.train))


def test_eval_fraction_of_too_few_rows(tmp_path: Path, encoder) -> None:
    assert "E134" in fails(encoder, Source(path=write(tmp_path, "a.jsonl", [pair(1)])), eval_fraction=0.01)


def test_far_more_held_out_than_asked_for_is_said_or_refused(tmp_path: Path, encoder) -> None:
    """Rows with one prompt are held out together, however small the fraction is."""

    def rows(often: int, others: int) -> str:
        # The digest of this prompt is the smallest of all.
        many = [{"prompt": "question 35", "completion": f"answer {n}"} for n in range(often)]
        return write(tmp_path, "a.jsonl", many + [pair(n) for n in range(others) if n != 35])

    message = fails(encoder, Source(path=rows(60, 20)), eval_fraction=0.02)
    assert "E134" in message and "60 of 80 rows are held out" in message and "have 1 prompt" in message
    assert "`data.eval_fraction=0`" in message
    lines: list[str] = []
    run(encoder, Source(path=rows(10, 40)), eval_fraction=0.02, lines=lines)
    assert any("warning: 10 of 49 rows are held out" in line for line in lines)
    run(encoder, Source(path=rows(1, 40)), eval_fraction=0.02, lines=(lines := []))
    assert not any("warning" in line for line in lines)


# ---- policies ---------------------------------------------------------------------------------------------


def test_too_long_rows_are_counted_before_the_run_is_refused(tmp_path: Path, encoder) -> None:
    path = write(tmp_path, "a.jsonl", [pair(n, "x" * n) for n in range(1, 31)])
    message = fails(encoder, Source(path=path), max_length=20)
    assert "error[E130]" in message and "22 of 30 rows are longer than max_length 20" in message
    assert f"(the longest has 44 tokens): {path}:9, {path}:10, {path}:11" in message


class Dropping:
    """As an encoder does under `too_long: drop`."""

    fingerprint = "dropping"

    def __init__(self, encoder: Any) -> None:
        self.encoder = encoder

    def encode(self, row: Any):
        for encoded in self.encoder.encode(row):
            if len(encoded.input_ids) > 40:
                raise RowRejected(Reason.TOO_LONG, len(encoded.input_ids))
            yield encoded


def test_dropped_rows_are_counted_and_limited(tmp_path: Path, encoder) -> None:
    path = write(tmp_path, "a.jsonl", [pair(n, "x" * n) for n in range(1, 31)])
    source, encoder = Source(path=path), Dropping(encoder)
    message = fails(encoder, source, max_length=40, too_long="drop")
    assert "error[E131]" in message
    assert "4 of 30 rows would be dropped (longer than max_length: 4), `max_dropped` allows 0.01" in message
    prepared = run(encoder, source, max_length=40, too_long="drop", max_dropped=0.2)
    assert prepared.counts.dropped == {"longer than max_length": 4} and prepared.counts.kept == 26


def test_row_21_nothing_left_or_nothing_trained(tmp_path: Path, encoder) -> None:
    class Untrained:
        fingerprint = "untrained"

        def encode(self, row: Any):
            yield Encoded([1, 2], [IGNORED, IGNORED])

    source = Source(path=write(tmp_path, "a.jsonl", [pair(1), pair(2)]))
    assert "error[E132] data.train: 0 trainable tokens in 2 rows" in fails(Untrained(), source)
    source = Source(path=write(tmp_path, "b.jsonl", [pair(n, "x" * 50) for n in range(3)]))
    message = fails(Dropping(encoder), source, too_long="drop", max_dropped=1.0)
    assert "0 trainable tokens in 3 rows (longer than max_length: 3)" in message


def test_row_21_bad_rows_are_named_together(tmp_path: Path, encoder) -> None:
    rows = [pair(n) for n in range(9000)]
    for number in (10, 5000, 8999):
        rows[number] = {"prompt": 1, "completion": "x"}
    path = write(tmp_path, "a.jsonl", rows)
    with pytest.raises(DataError) as caught:
        run(encoder, Source(path=path))
    assert [problem.place for problem in caught.value.problems] == [f"{path}:{n}" for n in (11, 5001, 9000)]


def test_half_a_surrogate_pair_is_refused(tmp_path: Path, encoder) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('{"prompt": "\\ud83d", "completion": "x"}\n')
    assert "error[E103]" in fails(encoder, Source(path=str(path)))


def test_every_source_is_opened_before_one_is_encoded(tmp_path: Path, encoder) -> None:
    good = Source(path=write(tmp_path, "a.jsonl", [pair(1)]))
    fails(encoder, good, Source(path=str(tmp_path / "absent.jsonl")))
    assert encoder.calls == 0


# ---- the cache --------------------------------------------------------------------------------------------


def shard_folder() -> Path:
    [folder] = (cache_folder() / "tokens").iterdir()
    return folder


def test_row_24_the_cache_follows_every_byte(tmp_path: Path, encoder) -> None:
    path = write(tmp_path, "a.jsonl", [pair(1), pair(2)])
    first = run(encoder, Source(path=path))
    assert encoder.calls == 2
    again = run(encoder, Source(path=path, weight=3))  # weights are no reason to encode again
    assert encoder.calls == 2
    assert again.counts.tokens == 3 * first.counts.tokens
    assert first.sources[0].sha256 == again.sources[0].sha256
    content = Path(path).read_text()
    Path(path).write_text(content.replace("question 2", "question 3"))
    changed = run(encoder, Source(path=path))
    assert encoder.calls == 4
    assert changed.sources[0].sha256 != first.sources[0].sha256
    assert texts(changed.train)[1].startswith("question 3")


def test_the_cache_follows_the_encoder_and_the_policies(tmp_path: Path, encoder) -> None:
    path = write(tmp_path, "a.jsonl", [pair(1), pair(2), pair(2)])
    for number, change in enumerate(
        ({}, {"max_length": 900}, {"deduplicate": False}, {"fingerprint": "2"}), 1
    ):
        encoder.fingerprint = change.pop("fingerprint", encoder.fingerprint)
        run(encoder, Source(path=path), **change)
        assert len(list((cache_folder() / "tokens").iterdir())) == number
    run(encoder, Source(path=path, max_rows=2))
    assert len(list((cache_folder() / "tokens").iterdir())) == 5


def test_what_is_packed_is_found_again_whenever_and_wherever_its_rows_were_encoded(
    tmp_path: Path, encoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """datasets knows rows by the path and the time of their file: each new file left one more entry in the cache."""
    path = write(tmp_path, "a.jsonl", [pair(n) for n in range(9)])
    entries = set()
    for cache in ("one", "two", "one"):
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / cache))
        pack(run(encoder, Source(path=path, weight=1.5)).train, 1000, 0, report=lambda line: None)
        [entry] = (cache_folder() / "packed").iterdir()
        entries.add(entry.name)
        shutil.rmtree(cache_folder() / "tokens")
    assert len(entries) == 1


def _flip(file: Path, at: int) -> None:
    content = bytearray(file.read_bytes())
    content[at] ^= 1
    file.write_bytes(content)


def _empty(folder: Path) -> None:
    for file in folder.iterdir():
        file.unlink()


@pytest.mark.parametrize("library", ["transformers", "tokenizers"])
def test_the_cache_follows_the_libraries(
    tmp_path: Path, encoder, monkeypatch: pytest.MonkeyPatch, library: str
) -> None:
    """What a run learns must not depend on what another version left in the cache."""
    path = write(tmp_path, "a.jsonl", [pair(1)])
    run(encoder, Source(path=path))
    version = metadata.version
    monkeypatch.setattr(metadata, "version", lambda name: "0.1" if name == library else version(name))
    run(encoder, Source(path=path))
    assert encoder.calls == 2


DAMAGES: dict[str, Callable[[Path], object]] = {
    "no info": lambda folder: (folder / "info.json").unlink(),
    "half info": lambda folder: os.truncate(folder / "info.json", 40),
    "deep info": lambda folder: (folder / "info.json").write_text("[" * 100_000),
    "a bit of the info": lambda folder: _flip(folder / "info.json", -100),
    "short rows": lambda folder: os.truncate(folder / "rows.arrow", 500),
    "no rows": lambda folder: (folder / "rows.arrow").unlink(),
    "a bit of the rows": lambda folder: _flip(folder / "rows.arrow", -600),
    "garbage": lambda folder: (folder / "rows.arrow").write_bytes(
        b"x" * (folder / "rows.arrow").stat().st_size
    ),
    "a bit of the numbers": lambda folder: _flip(folder / "sequences.bin", 40),
    "one file more": lambda folder: (folder / "more").touch(),
    "a folder for a file": lambda folder: [(folder / "rows.arrow").unlink(), (folder / "rows.arrow").mkdir()],
    "empty": _empty,
    "a file for the folder": lambda folder: [shutil.rmtree(folder), folder.write_text("x")],
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_cache_entry_is_never_used(tmp_path: Path, encoder, damage: str) -> None:
    path = write(tmp_path, "a.jsonl", [pair(n) for n in range(5)])
    whole = texts(run(encoder, Source(path=path)).train)
    folder = shard_folder()
    DAMAGES[damage](folder)
    said: list[str] = []
    assert texts(run(encoder, Source(path=path), lines=said).train) == whole
    assert encoder.calls == 10
    assert shard_folder() == folder
    assert [line for line in said if line.startswith("tokens/")] == [
        f"tokens/{folder.name[:12]} in the cache is damaged: it is removed and made again"
    ]
    assert texts(run(encoder, Source(path=path)).train) == whole and encoder.calls == 10


def test_a_failed_build_leaves_nothing(tmp_path: Path, encoder) -> None:
    path = write(tmp_path, "a.jsonl", [pair(1), {"prompt": None, "completion": "x"}])
    fails(encoder, Source(path=path))
    assert list((cache_folder() / "tokens").iterdir()) == []


def _build_slowly(barrier: Any, built: Any, number: int) -> None:
    def build(folder: Path) -> dict[str, Any]:
        with built.get_lock():
            built.value += 1
        time.sleep(0.5)  # the other one is here before this one publishes
        (folder / "rows").write_text("same content")
        return {"by": number}

    barrier.wait()
    folder, _ = stored("tokens", cache_key("race"), build)
    assert (folder / "rows").read_text() == "same content"


def test_two_processes_that_need_the_same_entry_build_it_once() -> None:
    context = multiprocessing.get_context("fork")
    barrier, built = context.Barrier(2), context.Value("i", 0)
    processes = [context.Process(target=_build_slowly, args=(barrier, built, number)) for number in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(20)
    assert [process.exitcode for process in processes] == [0, 0] and built.value == 1
    assert [entry.name for entry in (cache_folder() / "tokens").iterdir()] == [cache_key("race")]


def test_a_full_disk_is_a_disk_error(monkeypatch: pytest.MonkeyPatch) -> None:
    import errno

    def full(folder: Path) -> dict[str, Any]:
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(DiskError, match="E140") as caught:
        stored("tokens", "key", full)
    assert caught.value.exit_code == 8


# ---- memory -----------------------------------------------------------------------------------------------

_MEMORY = """
import json, sys
from pathlib import Path
import datasets, pyarrow
from llamatune.data import mix, store
from llamatune.data.packing import pack
from llamatune.data.prepare import prepare
from llamatune.data.rows import Encoded, IGNORED
from llamatune.recipe.blocks import Data, Source

class Constant:
    fingerprint = "constant"
    def encode(self, row):
        yield Encoded([1] * 150, [IGNORED] * 50 + [1] * 100)

def peak():
    # anonymous memory: pages of memory-mapped files are the operating system's cache, not ours
    [line] = [line for line in open("/proc/self/status") if line.startswith("RssAnon")]
    return int(line.split()[1]) // 1024

import threading
before, highest, done = peak(), [0], threading.Event()
def watch():
    while not done.wait(0.02):
        highest[0] = max(highest[0], peak())
watcher = threading.Thread(target=watch)
watcher.start()
data = Data(train=[Source(path=sys.argv[1], weight=1.5)], eval_fraction=0.01, max_length=1024)
quiet = lambda line: None
prepared = prepare(data, Constant(), kind="conversations", seed=0, recipe_dir=Path("."), report=quiet)
packed = pack(prepared.train, 1024, 0, report=quiet)
done.set(); watcher.join()
print(json.dumps({"growth": highest[0] - before, "rows": prepared.counts.read, "packed": len(packed)}))
"""


@pytest.mark.parametrize("recent", [1, 100, 1 << 18])
def test_a_digest_is_new_once_and_leaves_no_file(
    tmp_path: Path, recent: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("llamatune.data.digests._RECENT", recent)
    digests = [bytes([number % 251]) * 16 for number in range(1000)]
    with SeenDigests(tmp_path) as seen:
        assert [seen.is_new(digest) for digest in digests] == [number < 251 for number in range(1000)]
        assert len(list(tmp_path.iterdir())) == (recent < 251)
    assert not list(tmp_path.iterdir())


def test_a_full_disk_while_digests_are_written_is_an_error_of_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("llamatune.data.digests._RECENT", 2)
    (tmp_path / "digests.sqlite").mkdir()
    with pytest.raises(OSError, match=r"digests\.sqlite"):
        seen = SeenDigests(tmp_path)
        assert all(seen.is_new(bytes([number]) * 16) for number in range(3))


def test_rows_that_an_earlier_source_has_whatever_is_compared_at_a_time(
    tmp_path: Path, encoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Compared in many parts, and against every earlier source in turn."""
    dice = random.Random(0)
    parts = [[dice.randrange(60) for _ in range(25)] for _ in range(6)]
    sources = [
        Source(path=write(tmp_path, f"{n}.jsonl", [pair(number) for number in part]))
        for n, part in enumerate(parts)
    ]
    expected, before = [], set[int]()
    for part in parts:
        expected.append(len(set(part) - before))
        before |= set(part)
    for at_once in (7, 1 << 20):
        monkeypatch.setattr(mix, "_AT_ONCE", at_once)
        assert [one.counts.kept for one in run(encoder, *sources).sources] == expected


def test_many_sources_are_prepared_with_a_word(
    tmp_path: Path, encoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("llamatune.wording.SECONDS_OF_SILENCE", 0.0)
    said: list[str] = []
    run(encoder, *(Source(path=write(tmp_path, f"{n}.jsonl", [pair(n)])) for n in range(3)), lines=said)
    for done in ("opened", "encoded", "joined"):
        assert f"2 of 3 sources {done}" in said


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory is measured through /proc")
def test_preparing_200_000_rows_keeps_memory_flat(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    with path.open("w") as file:
        for number in range(200_000):
            file.write(f'{{"prompt": "question {number} {"x" * 200}", "completion": "answer {number}"}}\n')
    done = subprocess.run(
        [sys.executable, "-c", _MEMORY, str(path)],
        capture_output=True,
        text=True,
        env=os.environ,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["rows"] == 200_000 and found["packed"] > 40_000
    assert found["growth"] < 150, found  # the tokens and labels alone are 240 MB
