"""The report of a PPO run: its figures in their units, its completions, and whether reward and truth rose together."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from llamatune.runs.report import completions, ppo
from llamatune.runs.report.page import write_report
from llamatune.runs.report.series import collect
from report_page import HOSTILE, Page, assert_safe, browse, in_browser, write

RESOLVED = """\
stage: ppo
output: runs/demo
generation: {prompts: []}
data: {train: [{card: pico-prompts-helpful}], eval: [{card: pico-prompts-helpful}]}
reward: {helpfulness: runs/helpful, safety: runs/safe}
"""
STEPS = range(1, 13)


def held_out(rewards: list[float], qualities: list[float] | None) -> list[dict[str, float]]:
    entries: list[dict[str, float]] = []
    for at, reward in enumerate(rewards):
        entry = {"step": 4 * at, "reward": reward, "reward/helpfulness": reward + 1, "kl": 0.5 * at}
        if qualities is not None:
            entry |= {"oracle/quality": qualities[at], "oracle/unsafe": 0.1}
        entries.append(entry)
    return entries


def evaluate(run: Path, entries: list[dict[str, Any]]) -> None:
    """As the trainer writes them: evaluation.json, and metrics.jsonl between the steps."""
    write(run, "evaluation.json", {"held_out": entries})
    trained = [
        {
            "step": step,
            "loss": 0.3,
            "reward": 4 + step / 10,
            "reward_std": 2.0,
            "reward/helpfulness": 5.0,
            "reward/safety": 3.0,
            "kl": step / 10,
            "kl_coef": 0.1,
            "entropy": 1.2,
            "explained_variance": 0.2,
            "value": 0.1,
            "length": 20.0 + step,
            "ended_share": 0.9,
            "policy_loss": -0.01,
            "value_loss": 0.3,
            "ratio": 1.0,
            "ratio_max": 1.4,
            "clip_share": 0.0,
            "value_clip_share": 0.1,
            "approx_kl": 0.001,
            "policy_grad_norm": 0.7,
            "grad_norm": 0.8,
            "learning_rate": 1e-5,
        }
        for step in STEPS
    ]
    evaluated = [
        {"step": entry.get("step"), **{f"eval_{name}": entry[name] for name in entry if name != "step"}}
        for entry in entries
    ]
    write(run, "metrics.jsonl", [*evaluated[:1], *trained, *evaluated[1:]])


def answer(iteration: int, reward: float, **more: Any) -> dict[str, Any]:
    return {
        "iteration": iteration,
        "prompt": f"Question {iteration}/{reward}?",
        "completion": f"Answer {iteration}/{reward}.",
        "reward": reward,
        "helpfulness": reward,
        "safety": -1.5,
        "kl": 0.25,
        "tokens": 7,
        "ended": reward > 0,
    } | more


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A finished run of 12 steps, three iterations, evaluated four times."""
    directory = tmp_path / "demo"
    directory.mkdir()
    write(directory, "resolved.yaml", RESOLVED)
    evaluate(directory, held_out([4.0, 4.4, 4.8, 5.0], [0.6, 0.65, 0.7, 0.68]))
    write(
        directory,
        "completions.jsonl",
        [answer(iteration, reward) for iteration in range(3) for reward in (0.5, -2, 3, 1, 0.25)],
    )
    write(
        directory,
        "speed.jsonl",
        [{"step": step, "rollouts_per_second": 2.25, "memory_gib": 1.5} for step in STEPS],
    )
    counts = {"read": 50, "kept": 48, "sequences": 48, "tokens": 900, "trained_tokens": 0, "longest": 30}
    sources = [
        {"name": "mine.jsonl", "role": "train", "card": "mine", "is_safety": True, "counts": counts},
        {"name": "texts.jsonl", "role": "ptx", "card": "texts", "counts": counts},
    ]
    write(directory, "data.json", {"counts": counts, "sources": sources})
    row = {"place": "mine.jsonl:1", "about": "prompt", "tokens": [["<s><|user|> Is it?", False]]}
    write(directory, "preview.json", [row])
    figures = {"loss": 0.3, "eval_reward": 5.0, "change of reward": 1.0, "peak_memory_gib": 1.5}
    write(directory, "result.json", {"stage": "ppo", "steps": 12, "figures": figures})
    return directory


# ---- reward and truth ----------------------------------------------------------------------------------------

VERDICTS: dict[str, tuple[list[float], list[float] | None, str]] = {
    "both rose": (
        [4.0, 5.0],
        [0.6, 0.7],
        "Both rose: the held-out reward rose from 4 (step 0) to 5 (step 4), and the oracle's quality rose from "
        "0.6 (step 0) to 0.7 (step 4).",
    ),
    "hacking": (
        [4.0, 5.0],
        [0.7, 0.6],
        "Reward hacking: the held-out reward rose from 4 (step 0) to 5 (step 4) while the oracle's quality fell "
        "from 0.7 (step 0) to 0.6 (step 4). The policy earns more by what the reward models get wrong, and not by "
        "better answers.",
    ),
    "hacking after a peak": (
        [4.0, 4.5, 5.0],
        [0.6, 0.9, 0.5],
        "better answers. The oracle's quality was highest at step 4: 0.9.",
    ),
    "a peak": (
        [4.0, 4.5, 5.0],
        [0.6, 0.9, 0.7],
        "(step 8). The oracle's quality was highest at step 4: 0.9.",
    ),
    "the truth stayed": ([4.0, 5.0], [0.6, 0.6], "quality stayed from 0.6 (step 0) to 0.6 (step 4)."),
    "both fell": ([5.0, 4.0], [0.7, 0.6], "The held-out reward fell from 5"),
    "no oracle": ([4.0, 5.0], None, "so whether they are better is not known."),
    "once": ([4.0], [0.6], "evaluated once: nothing can be said of a change."),
}


@pytest.mark.parametrize("name", VERDICTS)
def test_whether_reward_and_truth_rose_together(name: str) -> None:
    rewards, qualities, said = VERDICTS[name]
    found = ppo.verdict(held_out(rewards, qualities))
    assert said in found.text
    assert found.is_hacking == name.startswith("hacking")


def test_reward_hacking_is_at_the_top(run: Path) -> None:
    evaluate(run, held_out([4.0, 5.0], [0.7, 0.6]))
    page = Page(run)
    assert_safe(page)
    top = page.text.partition("Please note")[2].partition("steps 12")[0]
    assert "reward hacking: the held-out reward rose from 4 (step 0) to 5 (step 4) while" in top
    assert page.of_class("bad") == 1
    evaluate(run, held_out([4.0, 5.0], [0.6, 0.7]))
    page = Page(run)
    assert "Please note" not in page.text and page.of_class("bad") == 0
    assert "Evaluation Both rose: the held-out reward rose from 4 (step 0) to 5 (step 4)" in page.text


def test_held_out_figures(run: Path) -> None:
    text = Page(run).text.partition("Held-out prompts The same")[2].partition("Curves")[0]
    assert "figure step 0 step 12 change Reward 4 5 +1 Quality, says the oracle 0.6 0.68 +0.08" in text
    assert "Reward: helpfulness 5 6 +1 Oracle: unsafe 0.1 0.1 +0" in text
    assert "the oracle knows the truth" in text
    evaluate(run, held_out([5.0, 4.25], None))
    text = Page(run).text
    assert "Reward 5 4.25 −0.75" in text and "knows the truth" not in text


def test_a_run_that_goes_on_and_one_without_held_out_prompts(run: Path) -> None:
    (run / "result.json").unlink()
    (run / "evaluation.json").unlink()
    page = Page(run)
    assert "rewards of held-out prompts over time (there is no evaluation.json)" in page.text
    assert "The held-out prompts were not evaluated." in page.text
    write(run, "resolved.yaml", RESOLVED.partition(", eval")[0] + "}\n")
    write(run, "metrics.jsonl", [{"step": 1, "reward": 2.0}, {"step": 2, "reward": 2.5}])
    page = Page(run)
    assert "evaluation.json" not in page.text and 'id="evaluation"' not in page.source
    assert "reward 2.5 from 2 at step 1" in page.text and "held-out" not in page.text.partition("Curves")[0]


def parted(step: int | None, correlation: float | None, **more: Any) -> dict[str, Any]:
    reply = {"prompt": "Is it?", "reply": f"Of step {step}.", "reward": 6.25, "quality": 0.25}
    places = {"reward_place": 0.975, "quality_place": 0.1}
    return {
        **({} if step is None else {"step": step}),
        "replies": 495,
        "correlation": correlation,
        "pairs": {"compared": 0, "agree": None},
        "overrated": [reply | places],
        "underrated": [reply | {"reward": -1.5, "quality": 1.0}],
    } | more


def test_replies_on_which_reward_models_and_oracle_do_not_agree(run: Path) -> None:
    entries = [
        {**one, "oracle/rank_correlation": 0.4 - one["step"] / 40} for one in held_out([4, 5], [0.7, 0.6])
    ]
    evaluate(run, entries)
    content = {"held_out": entries, "disagreement": [parted(0, 0.4), parted(4, 0.3)]}
    write(run, "evaluation.json", content)
    page = Page(run)
    assert_safe(page)
    text = page.text.partition("Reward models and oracle")[2].partition("Curves")[0]
    assert "step 0 495 0.4 – 0 pairs step 4 495 0.3 – 0 pairs" in text
    liked, _, others = text.partition("Liked by the reward models, not by the oracle, step 4")[2].partition(
        "Liked by the oracle, not by the reward models, step 4"
    )
    assert "prompt reply reward quality Is it? Of step 4. 6.25 above 97.5% 0.25 above 10.0%" in liked
    now, _, before = others.partition("Liked by the reward models, not by the oracle, step 0")
    assert "Of step 4. -1.5 1" in now and "Of step 0. 6.25" in before
    assert text.count("Liked by the oracle") == 1, (
        "what was underrated at the start says nothing of the change"
    )
    assert "Reward against quality 0.4 0.3 −0.1" in page.text


def test_a_round_of_rejection_sampling_says_how_many_pairs(run: Path) -> None:
    write(run, "resolved.yaml", RESOLVED.replace("ppo", "rejection_sampling"))
    pairs = {"compared": 1234, "agree": 0.48}
    write(run, "evaluation.json", {"disagreement": parted(None, None, pairs=pairs)})
    page = Page(run)
    assert_safe(page)
    assert "this round 495 – 48.0% 1,234 pairs" in page.text
    assert (
        page.text.count("Liked by") == 2 and "Liked by the reward models, not by the oracle What" in page.text
    )


# ---- figures and curves --------------------------------------------------------------------------------------


def test_the_head_says_what_matters(run: Path) -> None:
    page = Page(run)
    assert_safe(page)
    head = page.text.partition("Recipe steps")[2].partition("Evaluation Both")[0]
    assert "held-out reward 5 from 4 at step 0" in head
    assert "held-out quality (oracle) 0.68 from 0.6 at step 0" in head
    assert "held-out KL 1.5 from 0 at step 0" in head
    assert "rollouts per second 2.3 median" in head or "rollouts per second 2.2 median" in head
    assert "training prompts 48 of 50 read" in head
    assert "loss" not in head and "change of" not in head and "eval_" not in head


def test_charts_have_titles_and_units(run: Path) -> None:
    page = Page(run)
    curves = page.source.partition('id="curves"')[2].partition("</section>")[0]
    titles = re.findall("<figcaption><b>(.*?)</b>", curves)
    assert titles[:6] == [
        "Reward",
        "Quality, says the oracle",
        "Reward: helpfulness",
        "Reward: safety",
        "Oracle: unsafe",
        "KL to the starting policy",
    ]
    logged = {name.removeprefix("eval_") for name in collect(lines_of(run / "metrics.jsonl"))}
    assert len(titles) == len(logged) + 2, "each once, then speed and memory"
    assert not [title for title in titles if "_" in title or "/" in title], "none is a name of a program"
    for unit in (
        "nats per answer<",
        "tokens per answer<",
        "nats per token<",
        "policy loss + weighted others<",
    ):
        assert unit in curves, unit
    assert "nats per trained token" not in curves and "rollouts per second<" in curves
    assert 'class="wide"' not in curves and "Logged once" not in page.text
    text = page.text.partition("Both rose")[2].partition("Curves Reward")[2]
    assert text.startswith(
        " training held-out last 5.2, held-out 5 Quality, says the oracle held-out held-out"
    )


def test_shares_that_are_zero_are_drawn_from_zero_to_one(run: Path) -> None:
    """Nothing is clipped at first; a share has no values below zero."""
    curves = Page(run).source.partition("<b>Clipped tokens</b>")[2].partition("</figure>")[0]
    labels = re.findall(r"<text[^>]*>([^<]*)</text>", curves)
    assert "1" in labels and not [label for label in labels if label.startswith(("-", "−"))]


def lines_of(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text().splitlines()]


def test_prompts_are_not_called_masks(run: Path) -> None:
    page = Page(run)
    assert page.marked == [] and "Masks" not in page.text
    assert "Nothing of them is trained." in page.text
    assert "mine.jsonl:1 prompt <s><|user|> Is it?" in page.text
    assert "safety prompts" in page.text and "prompts or rows in an epoch" in page.text


# ---- completions ---------------------------------------------------------------------------------------------


def test_best_median_and_worst_of_the_first_and_the_last_iteration(run: Path) -> None:
    text = Page(run).text.partition("completions.jsonl has all of them.")[2].partition("Recipe stage")[0]
    assert " ".join(text.split()) == (
        "highest reward iteration 1 Question 0/3? Answer 0/3. "
        "reward 3 · helpfulness 3 · safety -1.5 · KL 0.25 · tokens 7 "
        "iteration 3 Question 2/3? Answer 2/3. reward 3 · helpfulness 3 · safety -1.5 · KL 0.25 · tokens 7 "
        "median reward iteration 1 Question 0/0.5? Answer 0/0.5. "
        "reward 0.5 · helpfulness 0.5 · safety -1.5 · KL 0.25 · tokens 7 "
        "iteration 3 Question 2/0.5? Answer 2/0.5. "
        "reward 0.5 · helpfulness 0.5 · safety -1.5 · KL 0.25 · tokens 7 "
        "lowest reward iteration 1 Question 0/-2? Answer 0/-2. "
        "reward -2 · helpfulness -2 · safety -1.5 · KL 0.25 · tokens 7 · cut off at the length limit "
        "iteration 3 Question 2/-2? Answer 2/-2. "
        "reward -2 · helpfulness -2 · safety -1.5 · KL 0.25 · tokens 7 · cut off at the length limit"
    )


def test_few_completions() -> None:
    assert completions.section([])["rows"] == []
    assert completions.section([{"iteration": "x"}, {"reward": 3}])["rows"] == []
    one = completions.section([answer(0, 1.0)])
    assert [which for which, *_ in one["rows"]] == ["highest reward"] and one["last"] == ""
    two = completions.section([answer(0, 1.0), answer(0, 2.0), answer(4, 3.0)])
    assert [(which, first is None, last is None) for which, first, last in two["rows"]] == [
        ("highest reward", False, False),
        ("lowest reward", False, True),
    ]
    assert (two["first"], two["last"]) == ("iteration 1", "iteration 5")
    odd = completions.section([answer(0, float("nan")), answer(0, 2.0)])
    assert [which for which, *_ in odd["rows"]] == ["reward that is no number", "highest reward"]


def test_a_long_run_keeps_two_iterations() -> None:
    many = (
        {"iteration": n // 2, "reward": n % 2, "prompt": "p", "completion": str(n)} for n in range(60_000)
    )
    found = completions.section(many)
    assert found["last"] == "iteration 30,000"
    assert [(first["text"], last["text"]) for _, first, last in found["rows"]] == [
        ("1", "59999"),
        ("0", "59998"),
    ]


def test_missing_completions_are_named(run: Path) -> None:
    (run / "completions.jsonl").unlink()
    page = Page(run)
    assert "what the policy answered, and what that was worth (there is no completions.jsonl)" in page.text
    assert 'id="completions"' not in page.source
    write(run, "resolved.yaml", RESOLVED.replace("ppo", "sft"))
    assert "completions.jsonl" not in Page(run).text


# ---- hostile files -------------------------------------------------------------------------------------------

ODD: list[Any] = [None, True, -1, 1e300, float("nan"), float("-inf"), HOSTILE, [], [HOSTILE], {}]
ODD += [{HOSTILE: HOSTILE}, [{HOSTILE: 1}], [{"step": HOSTILE, "reward": 1}], [{"step": 1}, {"reward": 2}]]
ODD += [[{"step": 0, "reward": float("inf")}, {"step": 1, "reward": 1e300}], ["x"] * 1000]
ODD += [[{str(name): 1 for name in range(500)}] * 2]


@pytest.mark.parametrize("odd", ODD, ids=range(len(ODD)))
def test_any_figure_may_be_anything(run: Path, odd: Any) -> None:
    (run / "metrics.jsonl").unlink()
    write(run, "evaluation.json", {"held_out": odd})
    found = answer(0, 1.0)
    write(run, "completions.jsonl", [dict.fromkeys(found, odd), found | {"reward": odd}, found])
    assert_safe(Page(run))
    entries = [{"step": 0, "reward": odd, "oracle/quality": odd}, {"step": 2, "reward": 1.0, HOSTILE: odd}]
    told = parted(1, 0.5)
    parts = [
        odd,
        told | dict.fromkeys(told, odd),
        {**told, "overrated": [dict.fromkeys(told["overrated"][0], odd)]},
    ]
    write(run, "evaluation.json", {"held_out": entries, "disagreement": parts})
    page = Page(run)
    assert_safe(page)
    assert len(page.source) < 500_000
    write(run, "evaluation.json", {"held_out": entries, "disagreement": odd})
    assert_safe(Page(run))


@pytest.fixture
def hostile(run: Path) -> Path:
    """Hostile text in prompts and completions, and as the name of a reward model."""
    rows = [
        answer(at, reward, prompt=HOSTILE, completion=HOSTILE + "A" * 100_000, **{HOSTILE: 1.0})
        for at in (0, 1)
        for reward in (1.0, 2.0, 3.0)
    ]
    write(run, "completions.jsonl", rows)
    entries = [{**entry, f"reward/{HOSTILE}": 1.0} for entry in held_out([1.0, 2.0], [0.5, 0.4])]
    evaluate(run, entries)
    said = [{"prompt": HOSTILE, "reply": HOSTILE + "A" * 100_000, "reward": 2.0, "quality": 0.0}]
    content = {"held_out": entries, "disagreement": [parted(4, 0.1, overrated=said)]}
    write(run, "evaluation.json", content)
    return run


def test_hostile_text_is_only_text(hostile: Path) -> None:
    page = Page(hostile)
    assert_safe(page)
    assert "<script>alert(1)</script>\"'></style><img src=https://evil" in page.text
    assert "⟨U+202E⟩back" in page.text and "more characters]" in page.text and len(page.source) < 400_000
    for svg in re.findall("<svg.*?</svg>", page.source, re.DOTALL):
        assert "script" not in svg and "alert" not in svg


def test_the_same_run_gives_the_same_bytes(run: Path) -> None:
    assert write_report(run).read_bytes() == write_report(run).read_bytes()


@in_browser
@pytest.mark.parametrize("kind", ["run", "hostile"])
def test_a_browser_finds_nothing_to_load_or_to_run(
    kind: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    dom, console, asked = browse(write_report(request.getfixturevalue(kind)), tmp_path)
    assert (
        dom.count("<svg") >= 20 and 'id="completions"' in dom and "<script" not in dom and "<img" not in dom
    )
    assert (console, asked) == ([], [])
