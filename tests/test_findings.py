"""The findings: rules, figures and page on figures made by hand; the runs' recipe as it stands; and one finding whole,
on a few steps. What pico does is not asserted: that is what findings are for."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from support import ROOT

BENCHMARKS = ROOT / "benchmarks"


@pytest.fixture(scope="module", autouse=True)
def importable() -> Iterator[None]:
    """The benchmarks' modules, as they see each other."""
    sys.path.insert(0, str(BENCHMARKS))
    yield
    sys.path.remove(str(BENCHMARKS))


# ---- verdicts ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "shown"),
    [
        ((0.03, 0.04, 0.05), "yes"),
        ((0.01, 0.04, 0.09), "not shown"),  # the mean, 0.047, is less than the spread
        ((0.03, 0.04, -0.01), "not shown"),
        ((0.0, 0.0, 0.0), "not shown"),
        ((-0.01, -0.2, -0.03), "no"),
        ((0.03, 0.04), "not shown"),  # too few seeds
        ((0.03, None, 0.05, 0.04), "not shown"),  # a run failed
        ((), "not shown"),
    ],
)
def test_more_than_zero_shows_where_all_seeds_agree_and_the_mean_exceeds_the_spread(
    values: tuple[float | None, ...], shown: str
) -> None:
    from findings.verdicts import Above, Seeds

    assert Above().verdict(Seeds(values)) == shown


@pytest.mark.parametrize(
    ("values", "shown"),
    [
        ((0.03, -0.03, 0.0), "yes"),
        ((0.03, -0.031, 0.0), "not shown"),
        ((0.04, -0.05, 0.06), "no"),
        ((0.0, 0.0), "not shown"),
        ((None, 0.0, 0.0), "not shown"),
    ],
)
def test_no_change_shows_where_every_seed_is_near_zero(values: tuple[float | None, ...], shown: str) -> None:
    from findings.verdicts import Near, Seeds

    assert Near(0.03).verdict(Seeds(values)) == shown


def test_a_finding_shows_if_all_its_claims_do_and_not_if_the_contrary_of_one_does() -> None:
    from findings.verdicts import Verdict, of_all

    yes, no, not_shown = Verdict
    assert of_all([yes, yes]) == yes
    assert of_all([yes, not_shown]) == not_shown
    assert of_all([yes, not_shown, no]) == no


# ---- figures -----------------------------------------------------------------------------------------------------


def reward_model(
    helpful: float, safety: float, recall: float = 0.5, ratings: tuple[float, ...] = (0.5, 0.6, 0.7, 0.8)
) -> dict[str, Any]:
    from findings.twelve import HELPFUL, RATINGS, SAFETY

    by_rating = {name: {"accuracy": value} for name, value in zip(RATINGS, ratings, strict=True)}
    return {
        HELPFUL: {"accuracy": helpful, "by_rating": by_rating},
        SAFETY: {"accuracy": safety, "by_rating": by_rating, "unsafe_recall": recall, "safe_recall": 0.5},
    }


def evaluation(shares: dict[tuple[str, str, str], float]) -> dict[str, Any]:
    figures = [
        {"set": name, "model": model, "figure": figure, "value": value}
        for (name, model, figure), value in shares.items()
    ]
    return {"figures": figures}


def share(hits: int, of: int) -> dict[str, int]:
    return {"hits": hits, "of": of}


def curve(*points: tuple[float, float], mean: float = 0.0) -> list[dict[str, float]]:
    return [
        {"n": n, "max": most, "median": median, "mean": mean} for n, (most, median) in enumerate(points, 1)
    ]


def by_hand() -> dict[str, Any]:
    """Figures of all runs that findings look at."""
    adversarial, borderline = "pico-prompts-adversarial", "pico-prompts-borderline"
    rhymes = {
        "wide": {"old": {"by_kind": {"rhyme": share(3, 4)}}, "new": {"by_kind": {"sort": share(3, 4)}}},
        "narrow": {"old": {"by_kind": {"rhyme": share(1, 4), "fact": share(9, 9)}}, "new": {"by_kind": {}}},
        "pooled": {"old": {"by_kind": {"rhyme": share(2, 4)}}, "new": {"by_kind": {}}},
    }
    rows = {"rows-0": (0.5, 0.0), "rows-80": (0.3, 0.1), "rows-320": (0.1, 0.1), "rows-632": (0.1, 0.3)}
    return {
        "helpful-none": reward_model(0.6, 0.7, ratings=(0.5, 0.6, 0.7, 0.75)),
        "helpful-large": reward_model(0.6, 0.7),
        "helpful-300": reward_model(0.55, 0.6),
        "helpful-1200": reward_model(0.6, 0.6),
        "helpful": reward_model(0.65, 0.75),
        "safe": reward_model(0.55, 0.8, recall=0.9),
        "safe-plain": reward_model(0.55, 0.8, recall=0.6),
        "best-of-sft": {
            "temperatures": {
                "0.4": {"curve": curve((0, 0), (0.6, 0))},
                "0.7": {"curve": curve((0, 0), (0.7, 0))},
                "1": {"curve": curve((0, 0), (0.6, 0))},
            },
        },
        "best-of-ppo": {
            "temperatures": {
                "0.7": {"curve": curve((0, 0), (0.6, 0))},
                "1": {"curve": curve((0, 0), (0.7, 0))},
                "1.3": {"curve": curve((0, 0), (0.8, 0))},
            }
        },
        "best-of-64": {"curve": curve((0.5, 0.5), (0.6, 0.3), (0.7, 0.48))},
        "skills": {"exam": rhymes},
        "quality-tuned": {"curve": curve((0.5, 0.5), (0.7, 0.6), mean=0.5)},
        "quality-ppo": {"curve": curve((0.5, 0.5), (0.9, 0.9), mean=0.6)},
        "recall": {
            "recall": {
                "before": [
                    {"turn": 6, "dialogues": 4, "followed": 1},
                    {"turn": 7, "dialogues": 0, "followed": 0},
                ],
                "after": [
                    {"turn": 5, "dialogues": 4, "followed": 0},
                    {"turn": 6, "dialogues": 2, "followed": 2},
                    {"turn": 20, "dialogues": 2, "followed": 1},
                ],
            }
        },
        "distillation": evaluation(
            {
                (adversarial, "before", "unsafe"): 0.4,
                (adversarial, "gated", "unsafe"): 0.1,
            }
        ),
        "distilled": {"unsafe_by_oracle": 0.2},
        "ungated": {"unsafe_by_oracle": 0.4},
        "safety-data": evaluation(
            {(adversarial, name, "unsafe"): unsafe for name, (unsafe, _) in rows.items()}
            | {(borderline, name, "false refusals"): refused for name, (_, refused) in rows.items()}
        ),
        "exam-whole": {
            "exam": {"whole": {"old": {"correct": share(5, 10)}, "new": {"correct": share(5, 10)}}}
        },
        "exam-nf4": {"exam": {"nf4": {"old": {"correct": share(5, 10)}, "new": {"correct": share(4, 10)}}}},
    }


EXPECTED = {
    1: [0.05],
    2: [0.15],
    3: [0.1, 0.05],
    4: [0.3, 0.1],
    5: [0.2, -0.1],
    6: [1.3 - 0.7],
    7: [0.5, 0.25],
    8: [0.1],
    9: [0.5],
    10: [0.3, 0.2],
    11: [0.4, 0.3],
    12: [-0.05],
}


@pytest.mark.parametrize("number", EXPECTED)
def test_each_finding_measures_what_it_says_from_the_runs_that_it_names(number: int) -> None:
    from findings.making import measured
    from findings.twelve import TWELVE

    finding = next(one for one in TWELVE if one.number == number)
    known = by_hand()
    found = measured(finding, {name: known[name] for name in finding.needs})
    assert found.figures == pytest.approx(EXPECTED[number])
    assert bool(found.lines) == (finding.plot is not None)
    assert all(len(points) > 1 for name, points in found.lines.items() if name not in ("before", "after"))


def test_the_best_temperature_is_the_top_of_a_parabola() -> None:
    from findings.twelve import top

    parabola = [(x, 2 - (x - 0.9) ** 2) for x in (0.4, 0.7, 1.0, 1.6)]
    assert top(parabola) == pytest.approx(0.9)
    assert top([(0.4, 3.0), (0.7, 2.0), (1.0, 1.0)]) == 0.4, "at the edge, the edge"
    assert top([(0.4, 1.0), (0.7, 1.0), (1.0, 1.0)]) == 0.4


# ---- table and page -------------------------------------------------------------------------------------------------


def found_by_hand() -> list[Any]:
    """Three seeds whose figures differ a little in the first one; of finding 8, one failed."""
    from findings.making import Found, measured
    from findings.twelve import TWELVE

    all_found = []
    for finding in TWELVE:
        one = Found(finding, [[] for _ in finding.claims])
        for seed in (0, 1, 2):
            now = measured(finding, by_hand())
            for values, value in zip(one.figures, now.figures, strict=True):
                values.append(value + 0.01 * (seed == 0))
            if now.lines:
                one.lines[seed] = now.lines
        all_found.append(one)
    all_found[7].figures[0][1] = None
    all_found[7].failed[1] = "error[E125] the guard stopped it."
    return all_found


def test_the_table_has_each_claim_with_the_papers_figure_and_the_spread() -> None:
    from findings.table import report

    made = report(found_by_hand(), [0, 1, 2], quick=False)
    text = made.tables[0].markdown()
    assert "| +1.3 (79.1 to 80.4) | +5.3 (+5.0 to +6.0) | yes |" in text
    assert (
        "| 12 LoRA on a base in 4 bits (NF4) is as good as LoRA on the whole one (QLoRA, table 4) |  |  | no |"
        in text
    )
    assert "+10.5 (+10.0 to +11.0), 1 missing | not shown |" in text
    assert "Finding 8, seed 1: error[E125] the guard stopped it." in made.notes
    quick = report(found_by_hand(), [0, 1, 2], quick=True)
    assert "mean nothing" in quick.title and quick.figures["quick"] and "nothing else" in quick.notes[0]
    shown = {one["number"]: one["shown"] for one in made.figures["findings"]}
    assert shown[1] == shown[9] == "yes" and shown[8] == "not shown" and shown[12] == "no"


def test_the_page_is_made_from_the_saved_results_alone() -> None:
    from findings.page import page, pictures
    from findings.table import report

    made = report(found_by_hand(), [0, 1, 2], quick=False)
    about = {"date": "2026-01-01", "processor": "two cores", "cores": 2, "torch": "2", "commit": "abc"}
    results = json.loads(json.dumps({"about": about, "figures": made.figures}))
    text = page(results)
    assert "of 12 findings, over 3 seeds" in text and "not been run" not in text
    assert "| +1.3 (79.1 to 80.4) | +5.3 (+5.0 to +6.0) | yes |" in text
    assert "Seed 1 has no figure: error[E125]" in text
    drawn = pictures(results)
    assert {f"(findings/{name})" in text for name in drawn} == {True} and len(drawn) == 6
    assert drawn == pictures(results)
    for svg in drawn.values():
        assert svg.startswith("<svg") and "nan" not in svg and "inf" not in svg

    # What was measured under other claims says nothing about today's.
    for one in results["figures"]["findings"]:
        one["claims"][0]["words"] = "something else"
    assert page(results) == page(None) and not pictures(results)


def test_the_page_in_docs_is_todays() -> None:
    from findings.page import page, pictures
    from run_findings import saved

    results = saved()
    assert (ROOT / "docs/findings.md").read_text("utf-8") == page(results), (
        "python benchmarks/run_findings.py --page"
    )
    for name, svg in pictures(results).items():
        assert (ROOT / "docs/findings" / name).read_text("utf-8") == svg


def test_the_tables_of_reward_models_have_all_seeds_of_each() -> None:
    from findings.reward_tables import MODELS, tables
    from findings.twelve import HELPFUL, SAFETY

    known = by_hand()
    found = {}
    for step in MODELS.values():
        run = known[step]
        run[HELPFUL]["longer_preferred"] = 0.5
        run[SAFETY] |= {"safe_recall": 0.9, "by_safety": {}}
        for name in ("chosen_safe", "both_safe", "both_unsafe"):
            run[SAFETY]["by_safety"][name] = {"accuracy": 0.7}
        found[step] = [run, {**run, HELPFUL: {**run[HELPFUL], "accuracy": 0.5}}]
    by_rating, _, by_safety, _ = tables(found)
    assert by_rating.columns == [
        "model",
        "all",
        "significantly better",
        "better",
        "slightly better",
        "negligibly better",
    ]
    assert by_rating.rows[1][:3] == [
        "helpfulness, margin small",
        "57.5 (50.0 to 65.0)",
        "80.0 (80.0 to 80.0)",
    ]
    assert [row[4] for row in by_safety.rows[-2:]] == ["60.0 (60.0 to 60.0)", "90.0 (90.0 to 90.0)"]


# ---- runs ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("quick", [False, True])
def test_all_runs_of_a_seed_validate_and_have_that_seed(
    quick: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from findings.making import RECIPE, overrides_of, pipeline_of, steps_for
    from findings.twelve import TWELVE

    from llamatune.commands.validate import validate

    monkeypatch.chdir(tmp_path)
    pipeline = pipeline_of(5, quick=quick)
    assert {step.recipe.seed for step in pipeline.steps} == {5}
    assert pipeline.output == ("runs/findings/quick/seed-5" if quick else "runs/findings/seed-5")
    needed = {step for finding in TWELVE for step in steps_for(finding, pipeline)}
    assert needed == set(pipeline.needs), "no step is made for nothing"
    if not quick:
        validate(str(RECIPE), overrides_of(5)).raise_problems()


def test_the_parts_of_sets_hold_what_their_findings_say(tmp_path: Path) -> None:
    from findings.parts import ADVERSARIAL_PROMPTS, FILES, NARROW_KINDS, WORD_SKILLS, write_parts

    from llamatune.world import rows

    write_parts(tmp_path)
    found = {name: (tmp_path / name).read_text("utf-8").splitlines() for name in FILES}
    every = list(rows("prompts-helpful", "train"))
    assert set(WORD_SKILLS) | set(NARROW_KINDS) <= {row["kind"] for row in every}
    assert set(WORD_SKILLS) <= {row["kind"] for row in rows("exam", "test")}
    assert not set(WORD_SKILLS) & set(NARROW_KINDS)
    assert 200 < len(found["narrow_prompts.jsonl"]) == sum(row["kind"] in NARROW_KINDS for row in every) < 400
    # Its harmful requests are refused or met with a reason; what only sounds harmful is answered, and is not here.
    replies = [json.loads(line)["messages"][-1]["content"] for line in found["harmful_rows.jsonl"]]
    assert len(replies) == 632 and not any(reply.startswith(("To ", "The best way to")) for reply in replies)
    # The larger set begins with the card's rows.
    known = list(rows("prompts-adversarial", "train"))
    more = [json.loads(line) for line in found["adversarial_prompts.jsonl"]]
    assert len(more) == ADVERSARIAL_PROMPTS > len(known) and more[: len(known)] == known
    before = {name: (tmp_path / name).stat().st_mtime_ns for name in FILES}
    write_parts(tmp_path)
    assert before == {name: (tmp_path / name).stat().st_mtime_ns for name in FILES}


@pytest.mark.slow
def test_a_finding_is_made_of_its_runs_and_a_second_start_has_nothing_to_do(tmp_path: Path) -> None:
    command = [sys.executable, str(BENCHMARKS / "run_findings.py"), "--only", "2", "--seeds", "1", "--quick"]
    first = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=900)
    assert first.returncode == 0, first.stdout + first.stderr
    made = {one.name for one in (tmp_path / "runs/findings/quick/seed-1").iterdir() if one.is_dir()}
    assert made == {"sft", "safe", "safe-plain"}
    assert "mean nothing" in first.stdout and "not shown" in first.stdout
    second = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert second.stdout[second.stdout.index("The paper's findings") :] in first.stdout
    assert "runs" not in second.stdout.split("The paper's findings")[0]


def test_what_was_measured_again_counts_in_the_place_of_what_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import run_findings
    from findings.page import page
    from findings.table import report

    monkeypatch.setattr(run_findings, "RESULTS", tmp_path)
    about = {"processor": "two cores", "cores": 2, "torch": "2", "commit": "abc"}
    saved = {
        "findings": (found_by_hand(), [0, 1, 2], "2026-01-01"),
        "findings_again_5_9": ([found_by_hand()[4], found_by_hand()[8]], [6, 7, 8], "2026-02-02"),
        "findings_again_5": (found_by_hand()[4:5], [10, 11, 12], "2026-03-03"),
    }
    for name, (found, seeds, day) in saved.items():
        figures = report(found, seeds, quick=False).figures | {"seeds": seeds}
        if name == "findings_again_5_9":
            figures["findings"][1]["claims"][0]["figures"] = [0.7, 0.71, 0.72]
        content = {"about": about | {"date": day}, "figures": figures}
        (tmp_path / f"{name}.json").write_text(json.dumps(content))
    text = page(run_findings.saved())
    assert "+71.0 (+70.0 to +72.0)" in text and "| +1.3 (79.1 to 80.4) | +5.3 (+5.0 to +6.0) | yes |" in text
    assert text.count("Measured again on 2026-02-02, over seeds 6, 7, 8") == 1
    assert text.count("Measured again on 2026-03-03, over seeds 10, 11, 12") == 1
    assert text.count("[findings_again_5.json](") == 1 and text.count("[findings_again_5_9.json](") == 1


def test_quick_figures_and_single_seeds_are_never_saved(tmp_path: Path) -> None:
    for more in (["--quick"], ["--quick", "--only", "2"], ["--seeds", "0", "0", "1"]):
        command = [sys.executable, str(BENCHMARKS / "run_findings.py"), "--save", *more]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120)
        assert done.returncode == 2 and "--save takes findings whole" in done.stderr
