"""The run report: complete, the same each time, safe to open, and made from whatever a run left behind."""

import json
import os
import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from llamatune.errors import RecipeError
from llamatune.runs.report.curves import draw
from llamatune.runs.report.page import write_report
from llamatune.runs.report.series import charts, collect
from llamatune.runs.report.svg import NARROW, tick_labels
from llamatune.runs.report.words import duration, number, visible
from report_page import HOSTILE, Page, assert_safe, browse, in_browser, lines, write
from support import ROOT

START = 1_795_238_402.0
RESOLVED = """\
stage: sft
output: runs/demo
model: {base: pico, lora: {rank: 16}}
optimization: {learning_rate: 0.002, max_steps: 40}
generation:
  prompts: ["Who is Anna?", "How do I bake bread?"]
seed: 7
data: {train: [{path: rows.jsonl}]}
"""


def counts(read: int, kept: int, dropped: dict[str, int], **more: object) -> dict[str, object]:
    return {
        "read": read,
        "kept": kept,
        "held_out": 0,
        "dropped": dropped,
        "adjusted": {},
        "truncated": 0,
        "escaped": 0,
        "sequences": kept,
        "tokens": kept * 40,
        "trained_tokens": kept * 15,
        "longest": 227,
    } | more


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A finished run of 40 steps that was killed at step 23 and went on from step 20."""
    directory = tmp_path / "demo"
    directory.mkdir()
    steps = range(1, 41)
    metrics: list[dict[str, object]] = []
    for step in steps:
        record = {"loss": 2 / step + 0.4, "grad_norm": 0.5, "learning_rate": 2e-3 / step, "kl": step * 1e-6}
        metrics.append({"time": START + step, "step": step, "epoch": step / 40, **record})
        if step % 10 == 0:
            metrics.append(
                {"time": START + step, "step": step, "epoch": step / 40, "eval_loss": 2 / step + 0.5}
            )
    speed = [
        {"time": START + step, "step": step, "trained_tokens_per_second": 1000.0 + step, "memory_gib": 0.75}
        for step in (*range(1, 24), *range(21, 41))
    ]
    train = {"role": "train", "format": "messages", "licence": "apache-2.0", "weight": 1.0, "revision": None}
    sources = [
        train | {"name": "pico-sft-helpful", "card": "pico-sft-helpful", "sha256": ["ab" * 32]},
        train | {"name": "mine.jsonl", "card": None, "sha256": ["cd" * 32], "weight": 2.0},
    ]
    sources[0]["counts"] = counts(6000, 5421, {"duplicate": 579})
    sources[1]["counts"] = counts(
        800, 781, {"duplicate": 8, "too long": 11}, adjusted={"system merged": 4}, truncated=3, escaped=2
    )
    write(directory, "resolved.yaml", RESOLVED)
    write(directory, "metrics.jsonl", metrics)
    write(directory, "speed.jsonl", speed)
    write(
        directory,
        "events.jsonl",
        [
            {"time": START + 9, "step": 9, "kind": "out_of_memory", "text": "micro-batch 8 -> 4"},
            {"time": START + 20, "step": 20, "kind": "checkpoint", "text": "checkpoint-20"},
            {"time": START + 60, "step": 20, "kind": "resume", "text": "going on from checkpoint-20"},
            {"time": START + 61, "step": None, "kind": "warning", "text": "torch was 2.12 and is 2.13"},
        ],
    )
    write(
        directory,
        "data.json",
        {"counts": counts(6800, 6202, {"duplicate": 587, "too long": 11}), "sources": sources},
    )
    write(
        directory,
        "manifest.json",
        {
            "format": 1,
            "recipe": {"optimization.learning_rate": 2e-3},
            "facts": {
                "base": {"name": "pico", "revision": None, "fingerprint": "c0" * 32},
                "tokenizer": "70" * 32,
                "template": None,
                "processes": 1,
            },
            "versions": {"torch": "2.13.0", "peft": "0.21.2"},
            "python": "3.11.7",
            "machine": "Linux-6.18-x86_64",
        },
    )
    first = {"started": START, "ended": None, "pid": 11, "host": "box", "from_step": 0, "last_step": 23}
    second = {
        "started": START + 60,
        "ended": START + 90,
        "pid": 12,
        "host": "box",
        "from_step": 20,
        "last_step": 40,
    }
    write(
        directory,
        "run.json",
        {
            "state": "finished",
            "pid": 12,
            "host": "box",
            "step": 40,
            "total_steps": 40,
            "heartbeat": START + 90,
            "attempts": [
                first | {"exit_code": -9, "reason": None},
                second | {"exit_code": 0, "reason": "finished"},
            ],
        },
    )
    pieces = [
        ["<s>", False],
        ["[INST] Who is Anna?\n [/INST]", False],
        [" Anna is a doctor.", True],
        ["</s>", True],
    ]
    write(directory, "preview.json", [{"place": f"rows.jsonl:{row}", "tokens": pieces} for row in (1, 2, 3)])
    replies = [
        {"step": step, "prompt": prompt, "reply": f"{prompt[0]} reply at {step}", "stopped": step == 40}
        for step in (0, 20, 40)
        for prompt in ("Who is Anna?", "How do I bake bread?")
    ]
    write(directory, "replies.jsonl", replies)
    figures = {"loss": 0.45, "eval_loss": 0.55, "peak_memory_gib": 0.75, "entropy": 0.25}
    write(
        directory,
        "result.json",
        {
            "stage": "sft",
            "artefact": "adapter",
            "base": "pico",
            "steps": 40,
            "seconds": 30.0,
            "figures": figures,
        },
    )
    return directory


def test_it_says_what_happened(run: Path) -> None:
    page = Page(run)
    assert_safe(page)
    assert "http" not in page.source.replace("http-equiv", ""), "not even as a name space"
    for said in (
        "sft demo ✓ finished",
        "steps 40 of 40",
        "training loss 0.45 from 2.4 at step 1",
        "held-out loss 0.55",
        "time 30 s at least, in 2 attempts",
        "trained tokens per second 1,021 median",
        "peak memory 0.75 GiB",
        "training rows 6,202 of 6,800 read",
        "entropy 0.25",
        "python 3.11.7 machine Linux-6.18-x86_64 seed 7 base.name pico base.fingerprint c0c0c0c0c0c0…",
        "torch 2.13.0",
        "learning_rate: 0.002",
    ):
        assert said in page.text, said
    assert "optimization.learning_rate" not in page.text, "the recipe stands in the page once"
    assert ("abbr", {"title": "c0" * 32}) in page.tags
    assert "Not in this report" not in page.text


def test_data_counts_by_source_and_reason(run: Path) -> None:
    text = Page(run).text
    assert (
        "pico-sft-helpful train messages, apache-2.0 abababababab… 6,000 5,421 0 579 duplicate none" in text
    )
    assert (
        "mine.jsonl train messages, apache-2.0, weight 2, no data card cdcdcdcdcdcd… 800 781 0"
        " 8 duplicate 11 too long 4 system merged 3 truncated 2 escaped 11,715 of 31,240 227 tokens"
    ) in text
    assert "all training rows 6,800 6,202 0 587 duplicate 11 too long" in text


def test_masks_show_what_is_trained(run: Path) -> None:
    page = Page(run)
    assert page.marked == ["Underlined", *[" Anna is a doctor.</s>"] * 3]
    assert "<s>[INST] Who is Anna?↵ [/INST]" in page.text and "rows.jsonl:3" in page.text


def test_replies_before_and_after(run: Path) -> None:
    text = Page(run).text
    assert (
        "Who is Anna? before, step 0 W reply at 0 cut off at the length limit after, step 40 W reply at 40"
        in text
    )
    assert "reply at 20" not in text


def test_attempts_and_what_happened_on_the_way(run: Path) -> None:
    page = Page(run)
    note = page.text.partition("Please note")[2].partition("steps 40")[0]
    assert note.split("resumed")[0] == " " and "at step 20; 2 attempts" in note
    assert "out of memory: step 9: micro-batch 8 -> 4" in note and "warning: torch was 2.12" in note
    assert "checkpoint-20" not in note, "an ordinary event stands below, among the others"
    assert "1 2026-11-21 05:20:02 UTC not recorded 0 to 23 box, process 11 -9 (SIGKILL) –" in page.text
    assert "2026-11-21 05:20:22 UTC 20 checkpoint checkpoint-20" in page.text


def test_charts(run: Path) -> None:
    """Loss in two widths, four more known series and one that nobody told us of, a line at the resume in each."""
    page = Page(run)
    assert page.count("figure") == 6 and page.count("svg") == 7
    assert "Loss training held-out resumed at step 20 last 0.45, held-out 0.55" in page.text
    assert "kl last 4e-5" in page.text
    assert page.source.count("stroke-dasharray: 2,3") == 7
    for unit in (
        "nats per trained token",
        "norm before clipping",
        "trained tokens per second",
        "GiB",
        ">step<",
    ):
        assert unit in page.source.partition('id="curves"')[2].partition('id="data"')[0]
    assert not re.search("#[0-9a-f]{6}", page.source.partition("<svg")[2].partition("</figure>")[0]), "themed"


def test_the_same_run_gives_the_same_bytes(run: Path) -> None:
    once = write_report(run).read_bytes()
    (run / "report.html").unlink()
    code = "import sys; from pathlib import Path; from llamatune.runs.report.page import write_report; "
    code += "print('matplotlib' in sys.modules); write_report(Path(sys.argv[1])); "
    code += "print({'torch', 'transformers', 'datasets', 'pandas', 'matplotlib.pyplot'} & set(sys.modules))"
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src"), "TZ": "Asia/Tokyo", "PYTHONHASHSEED": "3"}
    (run / "matplotlibrc").write_text("axes.linewidth: 9\ngrid.linestyle: ':'\nsvg.fonttype: path\n")
    said = subprocess.check_output([sys.executable, "-c", code, run], text=True, env=environment, cwd=run)
    assert said == "False\nset()\n"
    assert (run / "report.html").read_bytes() == once
    assert not [file.name for file in run.iterdir() if file.name.startswith(".")], "no temporary file stays"


def test_not_a_run(tmp_path: Path) -> None:
    for directory in (tmp_path, tmp_path / "absent"):
        with pytest.raises(RecipeError, match="E037.*no resolved.yaml") as caught:
            write_report(directory)
        assert caught.value.problems[0].place == str(directory)
        assert not (directory / "report.html").exists()


def test_a_run_that_left_only_its_recipe(tmp_path: Path) -> None:
    write(tmp_path, "resolved.yaml", RESOLVED)
    page = Page(tmp_path)
    assert_safe(page)
    assert "✗ did not finish" in page.text and page.count("figure") == 0
    for name in ("manifest", "run", "data", "preview", "result"):
        assert f"(there is no {name}.json)" in page.text
    for name in ("metrics", "speed", "replies"):
        assert f"(there is no {name}.jsonl)" in page.text
    assert "events.jsonl" not in page.text, "nothing to say is not a lack"


@pytest.mark.parametrize(
    "content", ["", "[", "[]", "null", "7", '{"attempts": 3, "sources": [4], "counts": []}', "\x00"]
)
def test_files_that_are_not_what_they_should_be(run: Path, content: str) -> None:
    for file in run.iterdir():
        file.write_text(content)
    assert_safe(Page(run))


def test_a_last_line_that_was_cut_off(run: Path) -> None:
    before = Page(run).source
    for name in ("metrics.jsonl", "replies.jsonl"):
        with (run / name).open("a") as stream:
            stream.write('{"time": 1.5, "step": 41, "lo')
    page = Page(run)
    assert "damaged file: metrics.jsonl its last line (45) is cut off and was left out" in page.text
    assert "damaged file: replies.jsonl its last line (7)" in page.text
    curves = lambda source: source.partition('id="curves"')[2].partition('id="environment"')[0]  # noqa: E731
    assert curves(page.source) == curves(before)


def test_numbers_that_are_none(run: Path) -> None:
    odd = [
        {"step": 12, "loss": float("nan")},
        {"step": 13, "loss": float("nan")},
        {"step": 30, "grad_norm": 1e400},
    ]
    odd += [{"step": step, "huge": value} for step, value in ((1, 1e308), (2, -1e308), (3, 1.0), (4, 2.0))]
    (run / "metrics.jsonl").write_text(lines(odd) + '{"step": 5, "huge": 1' + "0" * 5000 + "}\n")
    page = Page(run)
    assert "abnormal value: Loss: NaN at steps 12 and 13" in page.text
    assert "Gradient norm ✕ Inf at step 30" in page.text
    assert "huge ✕ 1e308 at step 1; -1e308 at step 2; Inf at step 5 last 2" in page.text
    assert "damaged" not in page.text


@pytest.mark.parametrize(
    ("changes", "shown"),
    [
        ({"state": "stopped"}, "■ stopped"),
        ({"state": "failed"}, "✗ failed"),
        ({"state": "running", "host": socket.gethostname(), "pid": os.getpid()}, "▶ running"),
        ({"state": "running", "host": socket.gethostname(), "pid": 2**22 + 1}, "✗ died"),
        ({"state": "running", "host": "elsewhere", "pid": 2**22 + 1}, "▶ running"),
    ],
)
def test_states(run: Path, changes: dict[str, object], shown: str) -> None:
    (run / "result.json").unlink()
    status = json.loads((run / "run.json").read_text()) | changes
    (run / "run.json").write_text(json.dumps(status))
    page = Page(run)
    assert f"demo {shown}" in page.text
    if "running" in shown:
        assert "last sign of life 2026-11-21 05:21:32 UTC" in page.text
    else:
        assert f"Please note {shown[2:]}: at step 40" in page.text


@pytest.fixture
def hostile(run: Path) -> Path:
    """The run with hostile text wherever text can be, also as a key, and a prompt of a million characters."""
    long = "A" * 1_000_000
    odd = lambda content: json.dumps(content)  # noqa: E731
    write(run, "resolved.yaml", RESOLVED + '"</pre><script>alert(2)</script>": 1\n')
    for name in ("manifest.json", "run.json", "data.json", "result.json"):
        content = json.loads((run / name).read_text())
        content[HOSTILE] = HOSTILE
        (run / name).write_text(odd(content))
    content = json.loads((run / "data.json").read_text())
    content["sources"][0] |= {"name": HOSTILE, "licence": HOSTILE, "sha256": [HOSTILE, "ef" * 32]}
    content["sources"][0]["counts"]["dropped"] = {HOSTILE: 1}
    (run / "data.json").write_text(odd(content))
    content = json.loads((run / "result.json").read_text())
    (run / "result.json").write_text(
        odd(content | {"artefact": HOSTILE, "base": long, "figures": {HOSTILE: HOSTILE}})
    )
    content = json.loads((run / "run.json").read_text())
    content["attempts"][0] |= {"host": HOSTILE, "reason": HOSTILE, "exit_code": HOSTILE}
    (run / "run.json").write_text(odd(content | {"state": HOSTILE}))
    write(run, "metrics.jsonl", [{"step": step, HOSTILE: step, "loss": 1.0} for step in (1, 2)])
    write(run, "events.jsonl", [{"step": HOSTILE, "kind": HOSTILE, "text": HOSTILE, "time": HOSTILE}])
    (run / "preview.json").write_text(odd([{"place": HOSTILE, "tokens": [[HOSTILE, True], [long, False]]}]))
    replies = [
        {"step": 0, "prompt": HOSTILE, "reply": HOSTILE},
        {"step": 4, "prompt": long, "reply": [HOSTILE]},
    ]
    write(run, "replies.jsonl", replies)
    return run


def test_hostile_text_is_only_text(hostile: Path) -> None:
    page = Page(hostile)
    assert_safe(page)
    assert (
        "<script>alert(1)</script>\"'></style><img src=https://evil.example/a onerror=alert(1)>" in page.text
    )
    assert (
        "⟨U+0000⟩⟨U+001B⟩[31mred ⟨U+202E⟩back⟨U+202C⟩ ⟨U+D800⟩ {{ 7 * 7 }}{% raw %} $x_1$ &lt;b&gt;"
        in page.text
    )
    assert "</pre><script>alert(2)</script>" in page.text
    assert "[shortened: 998,000 more characters]" in page.text
    assert len(page.source) < 300_000
    for svg in re.findall("<svg.*?</svg>", page.source, re.DOTALL):
        assert "script" not in svg and "alert" not in svg


def test_a_long_run_stays_small() -> None:
    """A hundred thousand steps, one spike: few points, and the spike is among them."""
    records = [{"step": step, "loss": 50.0 if step == 77_777 else 1.0} for step in range(1, 100_001)]
    (chart,) = charts(collect(records))
    svg = draw(chart, [], 100_000.0)
    assert len(svg) < 40_000
    heights = [float(y) for y in re.findall(r"[ML] [\d.]+ ([\d.]+)", svg.partition("var(--line)")[0])]
    assert min(heights[-700:]) < 40 < NARROW[1] - 60 < max(heights[-700:])


@pytest.mark.parametrize(
    "values",
    [[0.0, 0.0], [1e-300, 2e-300], [-1e99, 1e99], [0.3, 0.1 + 0.2], [5e-324], [1e15, 1e15 + 1], [-3.0, 4.5]],
)
def test_any_numbers_can_be_drawn(values: list[float]) -> None:
    (chart,) = charts(collect({"step": step, "x": value} for step, value in enumerate(values)))
    svg = draw(chart, [1.0], 2.0)
    assert "nan" not in svg and "inf" not in svg


def test_numbers_and_times() -> None:
    given = [0, 7, 6213, 0.5412345, 1.999e-5, 1234.5678, 12345678.9, -2e12, 10**14, True, "x", 1e-3]
    shown = "0|7|6,213|0.5412|1.999e-5|1,235|12,345,679|-2e12|100,000,000,000,000|True|x|0.001"
    assert "|".join(map(number, given)) == shown
    assert tick_labels([0, 5e-4, 1e-3, 1.5e-3]) == ["0", "5e-4", "1e-3", "1.5e-3"]
    assert tick_labels([1000, 1002.5, 1005]) == ["1,000", "1,002.5", "1,005"]
    assert [duration(t) for t in (0.25, 15.5, 83, 7500, None)] == [
        "0.25 s",
        "15.5 s",
        "1 min 23 s",
        "2 h 5 min",
        "unknown",
    ]
    assert visible("a\tb\nc\r\x9b") == "a\tb\nc⟨U+000D⟩⟨U+009B⟩"


# ---- in a browser -----------------------------------------------------------------------------------------


@in_browser
@pytest.mark.parametrize("kind", ["run", "hostile"])
def test_a_browser_finds_nothing_to_load_or_to_run(
    kind: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    dom, console, asked = browse(write_report(request.getfixturevalue(kind)), tmp_path)
    assert dom.count("<svg") >= 2 and 'id="recipe"' in dom and "<script" not in dom and "<img" not in dom
    assert (console, asked) == ([], [])


@in_browser
def test_the_browser_would_tell(run: Path, tmp_path: Path) -> None:
    """The check above sees a script and a picture: blocked by the page's policy, and at work without it."""
    page = write_report(run)
    loads = '<img src="http://example.com/a.png"><script>console.log("ran")</script></body>'
    text = page.read_text("utf-8").replace("</body>", loads)
    page.write_text(text)
    _, console, asked = browse(page, tmp_path)
    assert len(console) == 2 and all("Content Security Policy" in line for line in console) and asked == []
    page.write_text(re.sub("<meta http-equiv[^>]*>", "", text))
    _, console, asked = browse(page, tmp_path)
    assert len(console) == 1 and "ran" in console[0] and asked == ["http://example.com/a.png"]
