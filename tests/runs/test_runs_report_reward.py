"""The report of a reward model: its evaluation as the file says it, whatever the file says."""

import json
import re
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from llamatune.commands.exam import Share
from llamatune.data.rows import RATINGS
from llamatune.judging.figures import SAFETY_BINS, flat, pair_figures, score_figures
from llamatune.runs.report import evaluation, plots
from llamatune.runs.report.by_stage import Look
from llamatune.runs.report.head import headline_figures
from llamatune.runs.report.page import write_report
from llamatune.runs.report.series import Series
from llamatune.runs.report.tables import Cell, measured, percent
from report_page import HOSTILE, Page, assert_safe, browse, in_browser, write

RESOLVED = """\
stage: reward
output: runs/demo
loss: {objective: pairs}
generation: {prompts: []}
data: {train: [{card: pico-preferences-safety}], eval: [{card: pico-preferences-safety}]}
"""
SETS = ("pico/safety", "pico/safety/v2", "helpful")


def pair_set(seed: int, *, safety: bool, agree: bool) -> dict[str, Any]:
    """Figures as the trainer computes them, of 300 random pairs."""
    chance = np.random.default_rng(seed)
    scores = chance.normal(size=(300, 2)) + np.array([0.7, 0.0])
    bins = np.array(list(SAFETY_BINS.values()) if safety else [(-1, -1)])
    pairs = np.column_stack(
        [
            chance.integers(5, 90, size=(300, 3)),
            chance.integers(0, 4, size=300),
            bins[chance.integers(0, len(bins), size=300)],
        ]
    )
    return pair_figures(scores, pairs, chance.normal(size=(300, 2)) if agree else None)


def evaluated() -> dict[str, Any]:
    return {
        name: pair_set(at, safety=at == 0, agree=at != 1) for at, name in enumerate(SETS)
    }  # the name of one is the beginning of another's


@pytest.fixture
def reward(tmp_path: Path) -> Path:
    """A run of 20 steps that was evaluated after 10 and after 20."""
    run = tmp_path / "demo"
    run.mkdir()
    write(run, "resolved.yaml", RESOLVED + "compare_with: runs/other\n")
    figures = evaluated()
    write(run, "evaluation.json", figures)
    metrics: list[dict[str, Any]] = [{"step": step, "loss": 1 / step} for step in range(1, 21)]
    for step in (10, 20):
        logged = {
            f"eval_{figure}": value for name, said in figures.items() for figure, value in flat(name, said)
        }
        metrics.append({"step": step, "eval_loss": 0.5, **logged})
    write(run, "metrics.jsonl", metrics)
    write(run, "speed.jsonl", [{"step": step, "pairs_per_second": 50.0 + step} for step in range(1, 21)])
    pairs = {
        "prompt_tokens": 4000,
        "chosen_tokens": 3000,
        "rejected_tokens": 2000,
        "chosen_longer": 60,
        "rejected_longer": 30,
        "ratings": {"better": 70, "unrated": 30},
        "safety": {"unlabelled": 100},
    }
    counts = {
        "read": 120,
        "kept": 110,
        "sequences": 100,
        "tokens": 9000,
        "trained_tokens": 200,
        "longest": 99,
    }
    source = {"name": "mine.jsonl", "role": "train", "card": None, "share": 0.9, "format": "preference"}
    counts |= {"pairs": pairs}
    write(run, "data.json", {"counts": counts, "sources": [source | {"counts": counts}]})
    row = {"place": "mine.jsonl:1", "about": "prompt 4 tokens, chosen 3, rejected 3; better"}
    sides = {"chosen": [[" Yes.", False], ["</s>", True]], "rejected": [[" No.\n", False], ["</s>", True]]}
    write(run, "preview.json", [row | {"prompt": [["<s>Is it?", False]]} | sides])
    write(run, "result.json", {"stage": "reward", "steps": 20, "figures": {"loss": 0.05}})
    return run


def cells(figures: list[Any]) -> str:
    """Shares with one digit, each with its number of pairs and its interval."""
    shown = [measured(part["accuracy"], part["pairs"], "pairs") for part in figures]
    return " ".join(f"{cell.text} {cell.note}" for cell in shown)


def test_a_share_has_wilsons_interval() -> None:
    """Of 50 of 100 it is 40.4 to 59.6%, as in any table; the exam has the same."""
    assert measured(0.5, 100, "pairs") == Cell("50.0%", "100 pairs, 40%-60%")
    assert measured(1.0, 1, "pairs") == Cell("100.0%", "1 pair, 21%-100%")
    assert measured(None, 0, "pairs") == Cell("–", "0 pairs")
    for hits, of in ((0, 7), (3, 12), (997, 1000)):
        low, high = Share(hits, of).interval
        assert measured(hits / of, of, "rows").note.endswith(f", {low:.0%}-{high:.0%}")


def test_the_figures_are_those_of_the_file(reward: Path) -> None:
    page = Page(reward)
    assert_safe(page)
    text = page.text.partition("Accuracy by rating")[2].partition("nats per pair")[0]
    said = json.loads((reward / "evaluation.json").read_text())
    for name, figures in said.items():
        by_rating = cells([*figures["by_rating"].values(), figures])
        assert f"{name} {by_rating}" in text
        longer = f"{100 * figures['chosen_longer']:.1f}% {100 * figures['longer_preferred']:.1f}%"
        assert f"{name} {cells(figures['by_length_difference'])} {longer}" in text
        assert f"mean difference {figures['margin']:.4f}".rstrip("0") in text
    assert (
        "held-out set significantly better better slightly better negligibly better all pico/safety" in text
    )
    safety = text.partition("Accuracy by safety")[2].partition("Accuracy by length")[0]
    first = said[SETS[0]]
    recall = f"{100 * first['unsafe_recall']:.1f}% {100 * first['safe_recall']:.1f}%"
    assert f"{SETS[0]} {cells([*first['by_safety'].values()])} {recall}" in safety
    assert SETS[1] not in safety and SETS[2] not in safety
    agreement = text.partition("Agreement with")[2].partition("Calibration")[0]
    assert "this model and runs/other put in the same order" in agreement
    assert f"helpful {100 * said['helpful']['agreement']:.1f}% 300 pairs" in agreement
    assert SETS[1] not in agreement.partition("helpful")[0]


def test_columns_are_in_the_order_of_the_paper() -> None:
    assert evaluation.RATINGS == RATINGS and tuple(SAFETY_BINS) == evaluation.SAFETY_BINS
    figures = {
        "a": {"by_rating": {"odd": {}, "better": {}}},
        "b": {"by_rating": {"significantly_better": {}}},
    }
    table = evaluation.section(figures, {})["tables"][0]
    assert table.columns == ["significantly better", "better", "odd", "all"]
    assert all(len(row) == 4 for _, row in table.rows)


def test_length_differences_are_whole_tokens() -> None:
    """The trainer's bins are half open; those of one set may be missing in another."""
    pairs = np.array([[5, 60 + by, 60, 0, -1, -1] for by in (-55, -50, -11, -10, 0, 9, 10, 49, 50)])
    figures = pair_figures(np.ones((9, 2)), pairs)
    table = evaluation._lengths([("all", figures), ("none", {})])
    heads = ["-51 or less", "-50 to -11", "-10 to -1", "0 to 9", "10 to 49", "50 or more"]
    assert table.columns == [*heads, "chosen is longer", "longer is preferred"]
    assert [cell.note.partition(",")[0] for cell in table.rows[0][1][:6]] == [
        f"{n} pair{'s' * (n > 1)}" for n in (1, 2, 1, 2, 2, 1)
    ]
    assert {cell.text for cell in table.rows[1][1]} == {"–"}


def test_pictures(reward: Path) -> None:
    """Two for each set, themed, without text from the data."""
    page = Page(reward)
    section = page.source.partition('id="evaluation"')[2].partition("</section>")[0]
    pictures = re.findall("<svg.*?</svg>", section, re.DOTALL)
    assert len(pictures) == 6
    for drawn, axis in zip(pictures, ["the model's confidence", "score"] * 3, strict=True):
        assert axis in drawn and "helpful" not in drawn and not re.search("#[0-9a-f]{6}", drawn)
    identifiers = re.findall(' id="([^"]+)"', page.source)
    assert len(identifiers) == len(set(identifiers))


def test_the_mean_gap_is_the_calibration_error(reward: Path) -> None:
    for figures in evaluated().values():
        points = plots.points_of(figures["calibration"])
        gap = sum(abs(p["accuracy"] - p["confidence"]) * p["pairs"] for p in figures["calibration"]) / 300
        assert plots._off(points) == f"mean gap {100 * gap:.2g} points"
        assert all(one.confidence < other.confidence for one, other in pairwise(points))


def test_curves_are_few_and_in_their_units(reward: Path) -> None:
    """Loss and the accuracy on each set; what else was logged of the sets is counted."""
    page = Page(reward)
    curves = page.source.partition('id="curves"')[2].partition("</section>")[0]
    assert re.findall("<figcaption><b>(.*?)</b>", curves) == [
        "Loss",
        *(f"Accuracy: {name}" for name in SETS),
        "Speed",
    ]
    assert (
        "nats per pair<" in curves and "share of held-out pairs<" in curves and "pairs per second<" in curves
    )
    logged = sum(len(list(flat(name, figures))) for name, figures in evaluated().items())
    assert f"Not drawn: {logged - 3} of the figures of held-out sets." in page.text
    assert "pairs per second 60 median" in page.text and "Logged once" not in page.text
    (reward / "evaluation.json").unlink()
    assert curves.partition("<p")[0] in Page(reward).source, "also while the run goes on"


def test_what_was_measured_once_is_in_the_table_only(reward: Path) -> None:
    kept = [
        line
        for line in (reward / "metrics.jsonl").read_text().splitlines()
        if '"step": 10, "eval' not in line
    ]
    (reward / "metrics.jsonl").write_text("\n".join(kept) + "\n")
    text = Page(reward).text
    assert "Logged once" not in text and "Accuracy: " not in text
    (reward / "evaluation.json").unlink()
    assert "Logged once eval_accuracy/pico/safety" in Page(reward).text, "the only place that has it"


def test_pairs_in_the_data_and_the_masks(reward: Path) -> None:
    page = Page(reward)
    assert "share 0.9, no data card 120 110 – none none 100 9,000 tokens 99 tokens" in page.text
    assert (
        "mine.jsonl, train 60.0% 30 tokens on average 30.0% 20 tokens on average"
        " 70 better 30 unrated 100 unlabelled" in page.text
    )
    assert "training pairs 110 of 120 read" in page.text and "trained tokens" not in page.text
    assert page.marked == ["Underlined", "</s>", "</s>"]
    assert "rejected 3; better <s>Is it? chosen Yes.</s> rejected No.↵ </s>" in page.text


def test_score_regression(reward: Path) -> None:
    write(reward, "resolved.yaml", RESOLVED.replace("pairs}", "scores}"))
    chance = np.random.default_rng(1)
    figures = score_figures(chance.normal(size=50), chance.normal(size=50))
    write(reward, "evaluation.json", {"rated": figures})
    counts = {"read": 9, "kept": 8, "sequences": 8, "tokens": 90, "trained_tokens": 8, "longest": 20}
    write(reward, "data.json", {"counts": counts, "sources": [{"name": "rated", "counts": counts}]})
    write(reward, "preview.json", [{"place": "rated:1", "about": "score 0.25", "tokens": [["</s>", True]]}])
    write(reward, "speed.jsonl", [{"step": step, "rows_per_second": 70.0} for step in (1, 2)])
    measured = [
        {"step": step, "loss": 1.0, "eval_rmse/rated": 2.0, "eval_correlation/rated": 0.1} for step in (1, 2)
    ]
    write(reward, "metrics.jsonl", measured)
    page = Page(reward)
    assert_safe(page)
    scores = page.text.partition("Scores How far")[2]
    assert f"rated {figures['rmse']:.4g} 50 rows {figures['correlation']:.4g}" in scores
    assert "Accuracy" not in page.text and "Calibration" not in page.text
    assert "rows per second 70 median" in page.text and "rows in an epoch" in page.text
    assert "Error: rated held-out held-out 2" in page.text and "squared error per row" in page.source
    assert "rated:1 score 0.25" in page.text


def test_missing_only_where_it_should_be_there(reward: Path) -> None:
    (reward / "evaluation.json").unlink()
    page = Page(reward)
    assert "the evaluation of the reward model (there is no evaluation.json)" in page.text
    assert 'id="evaluation"' not in page.source
    for recipe in (RESOLVED.replace("reward", "sft"), RESOLVED.partition(", eval")[0] + "}\n"):
        write(reward, "resolved.yaml", recipe)
        assert "evaluation.json" not in Page(reward).text


@pytest.mark.parametrize("content", ["", "[", "[]", "null", "7", "\x00", '"x"', "[{}]"])
def test_a_file_that_is_none(reward: Path, content: str) -> None:
    (reward / "evaluation.json").write_text(content)
    page = Page(reward)
    assert_safe(page)
    assert ("damaged file: evaluation.json" in page.text) == (content != "null")
    assert 'id="evaluation"' not in page.source


ODD: list[Any] = [
    None,
    True,
    -1,
    2,
    1e300,
    float("nan"),
    float("-inf"),
    HOSTILE,
    [],
    [1, 2],
    [HOSTILE],
    {},
    {HOSTILE: HOSTILE},
    [{HOSTILE: 1}],
    [{"from": float("nan"), "to": HOSTILE, "confidence": float("inf"), "accuracy": 0.5, "pairs": 1}],
    [{"from": 1e300, "to": -1e300, "confidence": 0.5, "accuracy": 7, "pairs": 0}],
    [{"confidence": 0.0, "accuracy": 1.0, "pairs": 1e99}, {"confidence": 1, "accuracy": 0, "pairs": 1e-300}],
    {"edges": [0, 1], "chosen": [1], "rejected": [1, 2]},
    {"edges": [0, 5e-324], "chosen": [1], "rejected": [0]},
    {"edges": [1, 1], "chosen": [0], "rejected": [0]},
    {"edges": [-1e99, 1e99], "chosen": [1e99], "rejected": [1e-99]},
    {"edges": list(range(100_000)), "chosen": [0] * 99_999, "rejected": [0] * 99_999},
    {name: {"pairs": 1, "accuracy": 0.5} for name in (*RATINGS, *map(str, range(1000)))},
]


@pytest.mark.parametrize("odd", ODD, ids=range(len(ODD)))
def test_any_figure_may_be_anything(reward: Path, odd: Any) -> None:
    figures = pair_set(0, safety=True, agree=True)
    (reward / "metrics.jsonl").unlink()
    parts = {key: {key: odd} for key in ("calibration", "histogram")}
    write(reward, "evaluation.json", parts | {"each": dict.fromkeys(figures, odd), "whole": odd})
    page = Page(reward)
    assert_safe(page)
    assert "nan" not in "".join(re.findall("<path[^>]*>", page.source)) and len(page.source) < 1_500_000
    write(reward, "evaluation.json", {"scores": {"rmse": odd, "correlation": odd, "rows": odd}, HOSTILE: odd})
    assert_safe(Page(reward))


def test_many_sets(reward: Path) -> None:
    """Bounded in number and in length."""
    figures = pair_set(0, safety=True, agree=True)
    write(reward, "evaluation.json", {f"{number} {'x' * 10_000}": figures for number in range(300)})
    page = Page(reward)
    assert "and 250 more sets" in page.text and "38 more sets are not drawn" in page.text
    assert page.source.count('role="img" aria-label="Calibration') == 12
    assert "more characters]" in page.text and len(page.source) < 2_000_000


@pytest.fixture
def hostile(reward: Path) -> Path:
    """Hostile text as every name, in the figures, the pairs, the recipe and the masks."""
    write(reward, "resolved.yaml", RESOLVED + f"compare_with: {json.dumps(HOSTILE)}\n")
    figures = pair_set(0, safety=True, agree=True)
    for kind in ("by_rating", "by_safety"):
        figures[kind][HOSTILE] = {"pairs": HOSTILE, "accuracy": HOSTILE}
    write(reward, "evaluation.json", {HOSTILE: figures, "helpful": HOSTILE})
    data = json.loads((reward / "data.json").read_text())
    data["sources"][0] |= {"name": HOSTILE, "role": HOSTILE, "share": HOSTILE, "revision": [HOSTILE]}
    data["sources"][0]["counts"]["pairs"] = {"ratings": {HOSTILE: HOSTILE}, "safety": [HOSTILE]}
    write(reward, "data.json", data)
    measured = [{"step": step, f"eval_accuracy/{HOSTILE}": 0.5} for step in (1, 2)]
    write(reward, "metrics.jsonl", measured)
    spans = [[HOSTILE, True], ["A" * 100_000, False]]
    row = {"place": HOSTILE, "about": HOSTILE, "prompt": spans, "chosen": spans, "rejected": HOSTILE}
    write(reward, "preview.json", [row])
    return reward


def test_hostile_text_is_only_text(hostile: Path) -> None:
    page = Page(hostile)
    assert_safe(page)
    assert "<script>alert(1)</script>\"'></style><img src=https://evil" in page.text
    assert "⟨U+202E⟩back" in page.text and len(page.source) < 300_000
    for svg in re.findall("<svg.*?</svg>", page.source, re.DOTALL):
        assert "script" not in svg and "alert" not in svg


def test_the_same_figures_give_the_same_bytes(reward: Path) -> None:
    assert write_report(reward).read_bytes() == write_report(reward).read_bytes()


def test_shares() -> None:
    values = [0.62, 1, 0, 0.99951, float("nan"), 3, -0.5, True, None, "x"]
    assert [percent(value) for value in values] == (
        ["62.0%", "100.0%", "0.0%", "100.0%", "NaN", "3", "-0.5", "–", "–", "–"]
    )


def test_what_the_trainer_logs_is_told_apart() -> None:
    """A figure that the trainer logs and the report does not know would be drawn for every set."""
    figures = pair_set(0, safety=True, agree=True) | {"rmse": 1.0, "correlation": 0.5}
    assert {name.partition("/")[0] for name, _ in flat("a", figures)} == set(evaluation._LOGGED)


@in_browser
@pytest.mark.parametrize("kind", ["reward", "hostile"])
def test_a_browser_finds_nothing_to_load_or_to_run(
    kind: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    dom, console, asked = browse(write_report(request.getfixturevalue(kind)), tmp_path)
    assert dom.count("<svg") >= 3 and 'id="evaluation"' in dom and "<script" not in dom and "<img" not in dom
    assert (console, asked) == ([], [])


def test_a_figure_of_a_held_out_set_is_named_by_both() -> None:
    result = {"figures": {"accuracy/my_set.jsonl": 0.75}}
    speed = {"pairs_per_second": Series([1], [0.0338])}
    found = headline_figures(result, {}, {}, speed, {}, Look())
    assert ("accuracy", "0.75", "my_set.jsonl") in found and ("pairs per second", "0.034", "median") in found
