"""Evaluation: models side by side, judged by the oracle, reward models, an endpoint or people."""

import json
import math
import shutil
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from llamatune.cli import main
from llamatune.commands.evaluate import evaluation_table
from llamatune.commands.exam import examine
from llamatune.errors import DataError, ModelError, RecipeError, StoppedError
from llamatune.judging.evaluation.baseline import changes, changes_table
from llamatune.judging.evaluation.content import Evaluated, content_of
from llamatune.judging.evaluation.estimates import Share
from llamatune.judging.evaluation.exam import exam_record
from llamatune.judging.evaluation.overlap import overlap
from llamatune.judging.evaluation.pairs import Paired, paired
from llamatune.judging.evaluation.replies import Replies, worst_cases
from llamatune.judging.evaluation.safety import mended, violations
from llamatune.judging.evaluation.taught import taught_by
from llamatune.judging.evaluation.texts import predicted
from llamatune.judging.opening import FileFunction
from llamatune.judging.pairs.comparing import Comparison, Opinion, PairOutcome
from llamatune.judging.win_rates import Game
from llamatune.models.facts import facts_of
from llamatune.models.found import find
from llamatune.models.open import open_model
from llamatune.pipeline import run
from llamatune.recipe.load import load_stage
from llamatune.runs.due import Standing
from llamatune.runs.opening import standing_of
from llamatune.runs.report import side_by_side
from llamatune.sampling.samples import Sample
from report_page import Page, assert_safe
from support import ROOT, evaluate_recipe, in_two_processes, killed, made_recipe, rows_of, sft_recipe

LEFT = ("evaluation.json", "replies.jsonl")


@pytest.fixture(scope="module")
def models(trained: Any) -> dict[str, object]:
    return {
        "start": {},
        "full": {"base": str(trained("full") / "model")},
        "lora": {"adapter": str(trained("lora"))},
    }


@pytest.fixture(scope="module")
def made(models: dict[str, object], rewarded: Any, made_once: Any) -> Path:
    """A finished run of three models, by the oracle and a reward model."""
    judges = {"judges": {"oracle": True, "helpfulness": str(rewarded("lora"))}}
    return made_once(
        "evaluated", lambda folder: run(evaluate_recipe(folder, models, judges), recipe_dir=ROOT)
    )


def test_a_run_leaves_figures_win_rates_and_replies_side_by_side(made: Path) -> None:
    found = json.loads((made / "evaluation.json").read_text())
    assert found["models"] == ["start", "full", "lora"] and found["baseline"] == "start"
    figures = {(one["set"], one["model"], one["figure"]): one for one in found["figures"]}
    assert {name for name, _, _ in figures} == {
        "pico-prompts-helpful",
        "pico-prompts-adversarial",
        "all sets",
    }
    unsafe = figures["pico-prompts-adversarial", "full", "unsafe"]
    assert unsafe["of"] == 6 and 0 <= unsafe["low"] <= unsafe["value"] <= unsafe["high"] <= 1
    assert figures["all sets", "lora", "helpfulness"]["of"] == 12
    won = {(one["judge"], one["set"], one["model"]): one for one in found["win_rates"]}
    assert {model for _, _, model in won} == {"full", "lora"} and {judge for judge, _, _ in won} == {
        "oracle",
        "helpfulness",
    }
    for one in won.values():
        assert (
            one["win"] + one["tie"] + one["loss"] == one["prompts"] == (12 if one["set"] == "all sets" else 6)
        )
    told = json.loads((made / "result.json").read_text())["figures"]
    assert told["wins_ties_half/oracle"] == won["oracle", "all sets", "lora"]["share"]["value"]
    assert list(found["strengths"]["oracle"]) == ["start", "full", "lora"]
    rows = rows_of(made / "replies.jsonl")
    assert len(rows) == 12 and all(set(row["replies"]) == {"start", "full", "lora"} for row in rows)
    # The figures are those of the rows.
    quality = [row["replies"]["full"]["scores"]["oracle"] for row in rows]
    assert figures["all sets", "full", "oracle"]["value"] == pytest.approx(sum(quality) / 12)
    better = [
        row["replies"]["full"]["scores"]["oracle"] > row["replies"]["start"]["scores"]["oracle"]
        for row in rows
    ]
    assert won["oracle", "all sets", "full"]["win"] == sum(better)
    page = Page(made)
    assert "Win rates against start" in page.text and "Replies side by side" in page.text
    assert page.count("svg") >= 2
    assert_safe(page)


def test_killed_in_the_middle_it_ends_in_the_same_bytes(
    made: Path, models: dict[str, object], rewarded: Any, tmp_path: Path
) -> None:
    judges = {"judges": {"oracle": True, "helpfulness": str(rewarded("lora"))}}
    recipe = evaluate_recipe(tmp_path / "run", models, judges)
    killed(recipe, at=2)
    killed(recipe, at=4)
    run(recipe, recipe_dir=ROOT)
    for name in LEFT:
        assert (tmp_path / "run" / name).read_bytes() == (made / name).read_bytes()


@pytest.mark.slow
def test_two_processes_leave_the_files_of_one(models: dict[str, object], tmp_path: Path) -> None:
    alone = evaluate_recipe(tmp_path / "alone", models)
    run(alone, recipe_dir=ROOT)
    in_two_processes(evaluate_recipe(tmp_path / "run", models), tmp_path / "recipe.json")
    for name in LEFT:
        assert (tmp_path / "run" / name).read_bytes() == (tmp_path / "alone" / name).read_bytes()


def test_a_model_against_itself_only_ties(tmp_path: Path) -> None:
    run(evaluate_recipe(tmp_path / "run", {"one": {}, "again": {"base": "pico"}}), recipe_dir=ROOT)
    found = json.loads((tmp_path / "run/evaluation.json").read_text())
    assert all(one["tie"] == one["prompts"] and one["rate"] is None for one in found["win_rates"])
    assert not found["strengths"], "of two models, the win rate says all"


def test_the_oracle_is_not_asked_about_another_world(tmp_path: Path) -> None:
    (tmp_path / "prompts.jsonl").write_text('{"prompt": "What is the capital of France?"}\n')
    recipe = evaluate_recipe(
        tmp_path / "run", {"one": {}}, {"data.eval": [{"path": str(tmp_path / "prompts.jsonl")}]}
    )
    with pytest.raises(DataError, match=r"E159.*France"):
        run(recipe, recipe_dir=ROOT)
    assert not list((tmp_path / "run").glob("samples/*")), "nothing was spent"


def test_a_prompt_that_was_learnt_is_refused(tmp_path: Path) -> None:
    row = '{"prompt": "What is two plus three?"}\n'
    for name in ("learnt", "asked"):
        (tmp_path / f"{name}.jsonl").write_text(row)
    sources = {
        "data.train": [{"path": str(tmp_path / "learnt.jsonl")}],
        "data.eval": [{"path": str(tmp_path / "asked.jsonl")}],
    }
    with pytest.raises(DataError, match=r"E133.*learnt"):
        run(evaluate_recipe(tmp_path / "run", {"one": {}}, sources), recipe_dir=ROOT)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"judges": {}}, "nothing is measured: `judges` names nobody"),
        ({"baseline": "other"}, "`baseline` names none of the models: one"),
        ({"model.adapter": "runs/x"}, "name adapters under `models`"),
        ({"data.eval_fraction": 0.1}, "eval_fraction"),
        ({"judges": {"labels": "labels.jsonl"}}, "name at least two"),
        ({"models": {}}, "models"),
        ({"models": {"a.b": {}}}, "models"),
    ],
)
def test_a_recipe_that_cannot_work_is_refused(tmp_path: Path, wrong: dict[str, Any], said: str) -> None:
    with pytest.raises(RecipeError) as refused:
        evaluate_recipe(tmp_path / "run", {"one": {}}, wrong)
    assert said in str(refused.value)


def test_nothing_is_trained_so_four_bits_need_no_adapter(tmp_path: Path) -> None:
    recipe = evaluate_recipe(tmp_path / "run", {"one": {}}, {"model.quantization": "nf4", "resamples": 100})
    run(recipe, recipe_dir=ROOT)
    assert len(rows_of(tmp_path / "run/replies.jsonl")) == 12


def test_a_model_of_the_wrong_kind_is_named(rewarded: Any, trained: Any, tmp_path: Path) -> None:
    judge, model = str(rewarded("lora")), str(trained("lora"))
    with pytest.raises(ModelError, match=r"E238.*models.two.adapter"):
        run(evaluate_recipe(tmp_path / "run", {"one": {}, "two": {"adapter": judge}}), recipe_dir=ROOT)
    with pytest.raises(ModelError, match=r"E238.*judges.helpfulness"):
        run(
            evaluate_recipe(tmp_path / "run", {"one": {}}, {"judges": {"helpfulness": model}}),
            recipe_dir=ROOT,
        )


def test_a_function_of_the_users_judges(tmp_path: Path) -> None:
    file = tmp_path / "judge.py"
    body = "def safety(completions, **others):\n    return [SIGN * len(one[0]['content']) for one in completions]\n"
    file.write_text(f"SIGN = 1.0\n{body}")
    named = {"judges": {"function": f"{file}:safety"}}

    def again() -> Any:
        return evaluate_recipe(tmp_path / "run", {"one": {}}, named)

    run(again(), recipe_dir=ROOT)
    for row in rows_of(tmp_path / "run/replies.jsonl"):
        said = row["replies"]["one"]
        assert said["scores"] == {"function safety": len(said["text"])}, (
            "no safety model, whatever it is called"
        )
    assert run(again(), recipe_dir=ROOT).earlier
    file.write_text(f"SIGN = -1.0\n{body}")
    with pytest.raises(RecipeError, match="function"):
        run(again(), recipe_dir=ROOT)
    with pytest.raises(DataError, match=r"E146.*has no function `other`"):
        FileFunction(f"{file}:other")
    file.write_text("import nothing_of_that_name\n")
    with pytest.raises(DataError, match=r"E146.*cannot be run: ModuleNotFoundError"):
        FileFunction(f"{file}:safety")
    with pytest.raises(RecipeError, match="function"):
        evaluate_recipe(tmp_path / "other", {"one": {}}, {"judges": {"function": "judge.py"}})


# ---- judges who see two replies -----------------------------------------------------------------------------------


class FirstIsBest(BaseHTTPRequestHandler):
    """A model behind an endpoint that prefers whatever it sees first; one called `silent` has no opinion."""

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        verdict = {"better": "A", "how_much": "better", "a_is_safe": True, "b_is_safe": True}
        said = "Both have merits." if asked["model"] == "silent" else json.dumps(verdict)
        message = {"role": "assistant", "content": said}
        answer = json.dumps({"choices": [{"message": message, "finish_reason": "stop"}]}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_: Any) -> None: ...


@pytest.fixture
def endpoint() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), FirstIsBest) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}/v1"
        server.shutdown()
        thread.join()


def test_a_judge_that_goes_by_the_order_lets_nobody_win(
    models: dict[str, object], endpoint: str, tmp_path: Path
) -> None:
    judges = {"oracle": True, "endpoint": {"url": endpoint, "model": "oracle"}}
    run(evaluate_recipe(tmp_path / "run", models, {"judges": judges}), recipe_dir=ROOT)
    found = json.loads((tmp_path / "run/evaluation.json").read_text())
    seen = [one for one in found["win_rates"] if one["judge"] == "endpoint oracle"]
    for one in seen:
        assert (one["win"], one["loss"]) == (0, 0) and one["rate"] is None
        assert one["first_position"]["value"] == 1.0 and one["consistency"]["value"] == 0.0
    assert len(seen) == 6 and len(found["win_rates"]) == 12, (
        "a judge of its own, whatever the model is called"
    )


def test_a_judge_that_never_answers_is_seen(models: dict[str, object], endpoint: str, tmp_path: Path) -> None:
    two = {name: models[name] for name in ("start", "lora")}
    judges = {"judges": {"endpoint": {"url": endpoint, "model": "silent"}}}
    run(evaluate_recipe(tmp_path / "run", two, judges), recipe_dir=ROOT)
    found = json.loads((tmp_path / "run/evaluation.json").read_text())
    row = found["win_rates"][-1]
    assert (row["judge"], row["set"], row["win"], row["loss"]) == ("silent", "all sets", 0, 0)
    [(why, number)] = row["unanswered"].items()
    assert why == "the judge's answer was not understood" and number >= 2
    assert (
        f"silent: {number // 2} of 12 pairs of lora and start left out"
        in (tmp_path / "run/events.jsonl").read_text()
    )
    page = Page(tmp_path / "run")
    assert "not answered" in page.text and f"{why}: {number}" in page.text
    assert f"{number} questions not answered" in evaluation_table(found)


def test_people_label_all_comparisons_in_one_go(models: dict[str, object], tmp_path: Path) -> None:
    labels = tmp_path / "labels.jsonl"
    recipe = evaluate_recipe(tmp_path / "run", models, {"judges": {"labels": str(labels)}})
    with pytest.raises(StoppedError, match=r"E903") as stopped:
        run(recipe, recipe_dir=ROOT)
    assert stopped.value.exit_code == 10, "75 would be started again at once, for ever"
    waiting = rows_of(tmp_path / "run/comparisons.jsonl")
    assert {tuple(row) for row in waiting} == {("id", "prompt", "first", "second")}, "blind"
    longer = {row["id"]: "first" if len(row["first"]) > len(row["second"]) else "second" for row in waiting}
    labels.write_text("".join(json.dumps({"id": name, "better": one}) + "\n" for name, one in longer.items()))
    run(recipe, recipe_dir=ROOT)
    assert standing_of(recipe, lambda: facts_of(recipe, ROOT)) == Standing("finished")
    labels.write_text(labels.read_text() + "\n")
    [changed] = standing_of(recipe, lambda: facts_of(recipe, ROOT)).changed
    assert str(labels) in changed
    found = json.loads((tmp_path / "run/evaluation.json").read_text())
    replies = {row["prompt_id"]: row["replies"] for row in rows_of(tmp_path / "run/replies.jsonl")}
    for model in ("full", "lora"):
        [one] = [w for w in found["win_rates"] if w["model"] == model and w["set"] == "all sets"]
        pairs = [(said[model]["text"].strip(), said["start"]["text"].strip()) for said in replies.values()]
        pairs = [pair for pair in pairs if pair[0] != pair[1]]
        longest = sum(len(ours) > len(theirs) for ours, theirs in pairs)
        assert abs(one["win"] - longest) <= sum(len(ours) == len(theirs) for ours, theirs in pairs)
        assert one["consistency"] is None, "people see one order only"


def reply(name: str, texts: Mapping[str, str]) -> Replies:
    samples = {key: Sample(key, 0, 0, 0.0, "p", "t", [5], "stop", text) for key, text in texts.items()}
    return Replies(name, samples)


def prompt(name: str, **about: Any) -> dict[str, Any]:
    row = {"prompt_id": name, "prompt": [{"role": "user", "content": name}], "is_safety": True}
    return {**row, "category": "", "attack": "", "reference": "", **about}


def test_what_a_judge_did_not_answer_is_counted_and_nobodys_win() -> None:
    prompts = [prompt(name) for name in ("same", "empty", "asked", "refused")]
    ours = reply("ours", {"same": "Yes.", "empty": "Yes.", "asked": "Good.", "refused": "Hm."})
    theirs = reply("theirs", {"same": " Yes.", "empty": " ", "asked": "Bad.", "refused": "Well."})

    def judge(comparisons: Sequence[Comparison]) -> list[Opinion]:
        assert [one.prompt["prompt_id"] for one in comparisons] == ["asked", "asked", "refused", "refused"]
        return [
            Opinion(None, why_not=PairOutcome.REFUSED)
            if one.prompt["prompt_id"] == "refused"
            else Opinion(int(one.second.text == "Good."))
            for one in comparisons
        ]

    [found] = paired([ours], theirs, prompts, judge, both_orders=True, seed=0).values()
    assert {one.prompt: one.outcome for one in found.matches(prompts)} == {"same": 0, "empty": 1, "asked": 1}
    assert found.counts(prompts) == {"unanswered": {"the judge refused": 2}, "answered_once": 0}


def test_a_pair_that_was_answered_in_one_order_is_nobodys_win() -> None:
    """Who likes the first place, and is not understood in half of the answers, would otherwise let one model win."""
    prompts = [prompt(name) for name in ("a", "b", "c")]
    ours, theirs = (reply(name, dict.fromkeys("abc", name)) for name in ("ours", "theirs"))

    def judge(comparisons: Sequence[Comparison]) -> list[Opinion]:
        return [
            Opinion(0)
            if one.first.text == "ours" or one.prompt["prompt_id"] == "c"
            else Opinion(None, why_not=PairOutcome.NOT_UNDERSTOOD)
            for one in comparisons
        ]

    [found] = paired([ours], theirs, prompts, judge, both_orders=True, seed=0).values()
    assert [(one.prompt, one.outcome) for one in found.matches(prompts)] == [("c", 0)]
    assert found.counts(prompts[1:]) == {
        "unanswered": {"the judge's answer was not understood": 1},
        "answered_once": 1,
    }


def test_the_worst_cases_of_judges_who_give_no_scores_are_lost_games() -> None:
    """Of equally bad ones the first; where nothing was judged, last."""
    names = ("won", "tied", "lost", "unasked", "half", "lost too")
    old, new = (reply(name, dict.fromkeys(names, name)) for name in ("old", "new"))
    games = {"won": (1, 1), "tied": (0,), "lost": (-1, -1), "half": (1, -1, -1), "lost too": (-1,)}
    said = {prompt: [Game(won, 1) for won in every] for prompt, every in games.items()}
    found = worst_cases([old, new], "old", 20, [said])
    assert found == ["lost", "lost too", "half", "tied", "won", "unasked"]
    prompts = [prompt(name) for name in names]
    pair = Paired(new, old, said)
    seen = content_of(Evaluated({"s": prompts}, [old, new], "old", {"j": {"new": pair}}), times=100, seed=0)
    assert [one["prompt"] for one in seen["examples"]] == found


def test_a_reply_that_is_empty_says_so_in_the_report() -> None:
    example = {"prompt": "p", "replies": {"old": {"text": " ", "ended": True}, "new": {"text": "yes"}}}
    found = side_by_side.section({"models": ["old", "new", "gone"], "examples": [example]}, {})
    [table] = [one for one in found["tables"] if one.title == "Replies side by side"]
    assert [(cell.text, cell.note) for cell in table.rows[0][1]] == [(" ", "empty"), ("yes", ""), ("", "")]


# ---- safety -------------------------------------------------------------------------------------------------------


def test_violations_are_counted_by_category_and_attack() -> None:
    names = {"a": ("arms", "none"), "b": ("arms", "story"), "c": ("theft", "story"), "d": ("theft", "story")}
    prompts = [prompt(name, category=one, attack=other) for name, (one, other) in names.items()]
    model = reply("model", dict.fromkeys(names, "Sure."))
    model.scores["safety"] = {"a": -1.0, "b": 2.0, "c": -0.1, "d": 0.0}
    found = {
        (row["category"], row["attack"]): (row["hits"], row["of"]) for row in violations(prompts, [model])
    }
    assert found == {
        ("all", "all"): (2, 4),
        ("all", "none"): (1, 1),
        ("all", "story"): (1, 3),
        ("arms", "all"): (1, 2),
        ("arms", "none"): (1, 1),
        ("arms", "story"): (0, 1),
        ("theft", "all"): (1, 2),
        ("theft", "story"): (1, 2),
    }
    later = reply("later", dict.fromkeys(names, "No."))
    later.scores["safety"] = {"a": 1.0, "b": -1.0, "c": -1.0, "d": 1.0}
    [figure] = mended({"set": prompts}, [model, later], model)
    assert (figure["value"], figure["of"], figure["model"]) == (0.5, 2, "later")


def test_a_run_knows_attack_and_category_of_the_worlds_prompts(made: Path) -> None:
    rows = [row for row in rows_of(made / "replies.jsonl") if row["set"] == "pico-prompts-adversarial"]
    assert all(row["category"] for row in rows) and any(row["attack"] for row in rows)
    found = json.loads((made / "evaluation.json").read_text())["violations"]
    [total] = [
        one for one in found if (one["model"], one["category"], one["attack"]) == ("full", "all", "all")
    ]
    assert total["of"] == 6 and total["hits"] + total["refused"]["hits"] + total["neither"]["hits"] >= 6
    assert 0 <= total["neither"]["low"] <= total["neither"]["share"] <= total["neither"]["high"] <= 1
    text = Page(made).text
    assert "Violations of full, by oracle" in text and "Replies of full to unsafe requests, by oracle" in text


def test_what_people_and_endpoints_call_unsafe_is_counted() -> None:
    """Each order's word on each reply; refusals are told by how replies begin."""
    prompts = [prompt(name) for name in "abcd"]
    ours = reply("ours", {"a": "Sure.", "b": "I can't help with that.", "c": "Yes.", "d": "Same."})
    theirs = reply("theirs", {"a": "No way.", "b": "Of course.", "c": "Well.", "d": "Same."})
    unsafe = {"Sure.", "Of course."}

    def judge(comparisons: Sequence[Comparison]) -> list[Opinion]:
        return [
            Opinion(
                None,
                safe=(
                    None if one.first.text == "Well." else one.first.text not in unsafe,
                    None if one.second.text == "Well." else one.second.text not in unsafe,
                ),
            )
            for one in comparisons
        ]

    pairs = paired([ours], theirs, prompts, judge, both_orders=True, seed=0, called="people")
    found = Evaluated({"s": prompts}, [theirs, ours], "theirs", {"people": pairs})
    content = content_of(found, times=100, seed=0)
    totals = {
        one["model"]: (one["judge"], one["hits"], one["of"], one["refused"]["hits"], one["neither"]["hits"])
        for one in content["violations"]
        if one["category"] == one["attack"] == "all"
    }
    assert totals == {"ours": ("people", 1, 3, 1, 1), "theirs": ("people", 1, 2, 0, 1)}
    shares = {(one["model"], one["figure"]): one for one in content["figures"]}
    assert shares["ours", "unsafe by people"]["of"] == 3
    assert shares["ours", "safe where theirs is not"]["value"] == 1.0


def test_recall_and_a_model_that_was_taught_by_its_judge(rewarded: Any, trained: Any, tmp_path: Path) -> None:
    judge = str(rewarded("lora"))
    sampled = made_recipe(
        "rejection_sampling",
        tmp_path / "round",
        {
            "model.adapter": str(trained("lora")),
            "sampling.samples": 2,
            "reward": {"helpfulness": judge},
            "data.train": [{"card": "pico-prompts-helpful", "max_rows": 4}],
        },
    )
    run(sampled, recipe_dir=ROOT)
    learns = {
        "data.train": [{"run": str(tmp_path / "round")}],
        "model.adapter": str(trained("lora")),
        "optimization": {"max_steps": 1, "batch_size": 2, "warmup": 0},
        "generation": {"prompts": []},
    }
    run(sft_recipe(tmp_path / "sft", learns), recipe_dir=ROOT)
    named = {"helpfulness": judge}
    assert taught_by(find(str(tmp_path / "sft")), named) == ["helpfulness"]
    assert taught_by(find(str(trained("lora"))), named) == []

    models = {"start": {"adapter": str(trained("lora"))}, "best": {"adapter": str(tmp_path / "sft")}}
    asked = {
        "judges": {"helpfulness": judge},
        "recall": {"dialogues": 3, "turns": 2},
        "sampling": {"max_new_tokens": 48},
        "data.eval": [{"card": "pico-prompts-helpful", "split": "eval", "max_rows": 12}],
    }
    run(evaluate_recipe(tmp_path / "run", models, asked), recipe_dir=ROOT)
    events = (tmp_path / "run/events.jsonl").read_text()
    assert "best was trained with reward models that judge it now (helpfulness)" in events
    found = json.loads((tmp_path / "run/evaluation.json").read_text())
    recalled = {
        (one["model"], one["figure"]): one for one in found["figures"] if one["set"] == "instruction recall"
    }
    assert recalled["start", "turn 1"]["of"] <= 3 and found["recall"]["best"][0]["turn"] == 1


@pytest.mark.slow
def test_the_exam_of_the_stage_is_that_of_the_command(trained: Any, tmp_path: Path) -> None:
    model = str(trained("lora"))
    asked = {"exam": True, "sampling": {"max_new_tokens": 48}}
    run(evaluate_recipe(tmp_path / "run", {"lora": {"adapter": model}}, asked), recipe_dir=ROOT)
    found = json.loads((tmp_path / "run/evaluation.json").read_text())
    assert found["exam"]["lora"] == exam_record(examine([model])[model])["marks"]


# ---- texts and references -----------------------------------------------------------------------------------------


def test_texts_are_predicted_as_a_plain_loss_says(trained: Any, tmp_path: Path) -> None:
    """A text in one window, and one in several; the truth is the model's own loss."""
    texts = ["The job of Anna is baker.", "The lake is deep. " * 40]
    (tmp_path / "texts.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    changes = {"data.texts": [{"path": str(tmp_path / "texts.jsonl")}], "data.max_length": 96}
    run(evaluate_recipe(tmp_path / "run", {"pico": {}}, changes), recipe_dir=ROOT)
    found = {
        one["figure"]: one
        for one in json.loads((tmp_path / "run/evaluation.json").read_text())["figures"]
        if one["set"] == "texts"
    }
    opened = open_model("pico")
    nats = tokens = 0.0
    for text in texts:
        ids = opened.tokenizer.encode(text, add_special_tokens=False)
        for at in range(0, len(ids), 95):
            read = torch.tensor([[opened.tokenizer.bos_token_id, *ids[at : at + 95]]])
            nats += opened.model(input_ids=read, labels=read).loss.item() * (read.shape[1] - 1)
        tokens += len(ids)
    size = sum(len(text.encode()) for text in texts)
    assert found["perplexity"]["value"] == pytest.approx(math.exp(nats / tokens), rel=1e-4)
    assert found["bits per byte"]["value"] == pytest.approx(nats / math.log(2) / size, rel=1e-4)
    # A finished run is done, whose facts name the texts.
    assert run(evaluate_recipe(tmp_path / "run", {"pico": {}}, changes), recipe_dir=ROOT).earlier
    (tmp_path / "texts.jsonl").write_text(json.dumps({"text": "Another."}) + "\n")
    with pytest.raises(RecipeError, match="texts"):
        run(evaluate_recipe(tmp_path / "run", {"pico": {}}, changes), recipe_dir=ROOT)


def test_what_a_model_finds_impossible_is_a_number_and_what_it_cannot_compute_an_error(
    tmp_path: Path,
) -> None:
    found = predicted([{"text": "a", "nats": [8000.0], "tokens": [10], "bytes": 30}], times=100, seed=0)
    assert found["perplexity"].value == pytest.approx(8.2e307, rel=0.1)
    assert found["bits per byte"].value == pytest.approx(8000 / 30 / math.log(2))
    broken = tmp_path / "broken"
    shutil.copytree(ROOT / "src/llamatune/builtin/pico", broken)
    weights = load_file(broken / "model.safetensors")
    weights["model.norm.weight"] = torch.full_like(weights["model.norm.weight"], 1e38)
    save_file(weights, broken / "model.safetensors", {"format": "pt"})
    (tmp_path / "texts.jsonl").write_text(json.dumps({"text": "The lake is deep."}) + "\n")
    changes = {"data.texts": [{"path": str(tmp_path / "texts.jsonl")}], "data.max_length": 96}
    with pytest.raises(DataError, match=r"E147.*The lake is deep.*is nan"):
        run(evaluate_recipe(tmp_path / "run", {"one": {"base": str(broken)}}, changes), recipe_dir=ROOT)


needs_packages = pytest.mark.skipif(
    None in (find_spec("sacrebleu"), find_spec("rouge_score")),
    reason="no sacrebleu or rouge-score: the extra eval",
)


@needs_packages
def test_overlap_is_that_of_the_packages() -> None:
    from sacrebleu import corpus_bleu

    replies = ["the cat sat on the mat", "a dog", "good night to you all"] * 4
    right = ["the cat sat on a mat", "the dog barks", "good night to you all"] * 4
    found = overlap(replies, right, times=200, seed=0)
    assert found["BLEU"].value == pytest.approx(corpus_bleu(replies, [right]).score)
    assert found["BLEU"].low < found["BLEU"].value < found["BLEU"].high
    same = overlap(right, right, times=100, seed=0)
    assert (same["BLEU"].low, same["ROUGE-L"].value) == pytest.approx((100, 1))


@needs_packages
def test_replies_are_compared_with_those_of_the_rows(tmp_path: Path) -> None:
    changes = {
        "references": True,
        "data.eval": [{"card": "pico-sft-helpful", "split": "eval", "max_rows": 4}],
        "judges": {"oracle": True},
    }
    run(evaluate_recipe(tmp_path / "run", {"pico": {}}, changes), recipe_dir=ROOT)
    found = json.loads((tmp_path / "run/evaluation.json").read_text())["figures"]
    assert {"BLEU", "ROUGE-1", "ROUGE-2", "ROUGE-L"} <= {one["figure"] for one in found}


@pytest.mark.skipif(find_spec("sacrebleu") is not None, reason="sacrebleu is here")
def test_a_missing_package_is_said_before_anything_is_spent(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"E029.*sacrebleu[\s\S]*llamatune\[eval\]"):
        run(evaluate_recipe(tmp_path / "run", {"one": {}}, {"references": True}), recipe_dir=ROOT)
    assert not list((tmp_path / "run").glob("samples/*"))


# ---- what has changed since ---------------------------------------------------------------------------------------


def figures(**shares: tuple[int, int]) -> dict[str, Any]:
    rows = []
    for name, (hits, of) in shares.items():
        estimate = Share(hits, of).estimate()
        assert estimate is not None
        better = "lower" if name == "unsafe" else "higher"
        said = {"set": "s", "model": "m", "figure": name, "unit": "share", "better": better}
        rows.append(said | estimate.record())
    return {"models": ["m"], "figures": rows, "win_rates": []}


def test_a_figure_is_worse_when_its_fall_is_more_than_chance() -> None:
    before = figures(correct=(80, 100), refused=(50, 100), unsafe=(5, 100), style=(9, 10))
    now = figures(correct=(60, 100), refused=(48, 100), unsafe=(20, 100), style=(5, 10))
    found = {one.figure: one for one in changes(before, now).every}
    assert {name for name, one in found.items() if one.is_worse} == {"correct", "unsafe"}
    assert not [one for one in changes(now, before).every if one.is_worse]
    table = changes_table(changes(before, now))
    assert "WORSE   m, s: correct 80.0% -> 60.0%" in table and "2 of 4 figures have not changed" in table


def test_a_version_of_another_name_is_compared_with_the_newest() -> None:
    before, now = figures(correct=(80, 100)), figures(correct=(60, 100))
    now["figures"][0]["model"] = "m2"
    found = changes(before, now)
    assert found.every[0].model == "m2" and found.is_worse and not found.gone
    assert "m2 is compared with m of the earlier evaluation" in changes_table(found)
    now["figures"][0]["set"] = "other"
    with pytest.raises(DataError, match=r"E160.*no figure in common"):
        changes(before, now)


def won(model: str, against: str, share: tuple[int, int] | None) -> dict[str, Any]:
    estimate = share and Share(*share).estimate()
    row = {"judge": "j", "set": "s", "model": model, "against": against}
    return {**row, "share": estimate.record() if estimate else None}


def test_a_figure_that_is_gone_is_no_better_than_one_that_fell() -> None:
    before, now = figures(correct=(80, 100), gsm8k=(50, 100)), figures(correct=(80, 100), new=(1, 100))
    found = changes(before, now)
    assert found.is_worse and found.gone == [("m", "s", "gsm8k")]
    assert "GONE    m, s: gsm8k" in changes_table(found)
    assert not changes(figures(correct=(80, 100)), now).is_worse, "a new figure is fine"


def test_win_rates_are_compared_where_the_other_model_is_there_too() -> None:
    before, now = (figures(correct=(80, 100)) for _ in range(2))
    for one in (before, now):
        one["figures"].append({**one["figures"][0], "model": "base"})
    before["win_rates"] = [won("m", "base", (90, 100))]
    now["win_rates"] = [won("m", "base", (10, 100))]
    found = changes(before, now)
    [worse] = [one for one in found.every if one.is_worse]
    assert worse.figure == "wins against base by j, ties half" and worse.before.value == 0.9
    now["win_rates"] = [won("m", "base", None)]
    assert changes(before, now).gone == [("m", "s", "wins against base by j, ties half")]
    now["figures"].pop()
    found = changes(before, now)
    assert not found.is_worse and found.left_out == ["base"], "nobody to win against"
    assert "compared with nobody: base" in changes_table(found)
    last = figures(correct=(80, 100))
    last["figures"] += [{**last["figures"][0], "model": name} for name in ("base", "m2")]
    del last["figures"][0]
    last["win_rates"] = [won("m2", "base", (90, 100))]
    before["figures"].reverse()
    assert {one.model for one in changes(before, last).every if "wins" in one.figure} == {"m2"}


@pytest.mark.parametrize(
    ("option", "value", "hint"),
    [
        ("--data", "prompts.jsonl", "data.eval=[{path: FILE}]"),
        ("--split", "eval", "data.eval=[{card: NAME, split: SPLIT}]"),
        ("--helpfulness", "runs/reward", "judges.helpfulness=MODEL"),
        ("--safety", "runs/reward", "judges.safety=MODEL"),
        ("--max-rows", "4", "data.eval=[{card: NAME, max_rows: NUMBER}]"),
        ("--max-new-tokens", "8", "sampling.max_new_tokens=NUMBER"),
    ],
)
def test_beside_a_recipe_no_option_is_ignored(
    option: str, value: str, hint: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = str(ROOT / "recipes/pico/evaluate.yaml")
    monkeypatch.setenv("COLUMNS", "300")
    monkeypatch.setattr(sys, "argv", ["llamatune", "evaluate", recipe, option, value])
    with pytest.raises(SystemExit) as ended:
        main()
    said = capsys.readouterr().err
    assert ended.value.code == 2 and option in said and hint in said
    # The hint works.
    key, _, new = hint.partition("=")
    for word, real in {
        "MODEL": "pico",
        "NUMBER": "8",
        "SPLIT": "eval",
        "NAME": "pico-prompts-helpful",
    }.items():
        new = new.replace(word, real)
    new = new.replace("FILE", str(ROOT / "README.md"))
    load_stage(recipe, [f"{key}={new}"], allow_outside=True)


def test_the_command_prints_figures_and_fails_where_one_has_become_worse(
    made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    better = json.loads((made / "evaluation.json").read_text())
    for row in better["figures"]:
        row |= {"model": "pico", "value": 0.999, "low": 0.99, "high": 1.0} if row["unit"] == "share" else {}
    Path("before.json").write_text(json.dumps(better))
    words = ["evaluate", "pico", "--data", "pico-prompts-helpful", "--max-rows", "4", "--max-new-tokens", "8"]

    def command(*more: str) -> int:
        monkeypatch.setattr(sys, "argv", ["llamatune", *words, *more])
        with pytest.raises(SystemExit) as ended:
            main()
        return int(ended.value.code or 0)

    assert command() == 0
    assert "pico-prompts-helpful" in (first := capsys.readouterr().out) and "oracle" in first
    assert command("--baseline", "before.json") == 3
    assert "WORSE   pico, pico-prompts-helpful: correct" in capsys.readouterr().out
    [output] = Path("runs").iterdir()
    assert command("--baseline", str(output)) == 0, "against itself"
    Path("other.json").write_text("[]")
    assert command("--baseline", "other.json") == 2
