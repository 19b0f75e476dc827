"""Preferences: two replies to each prompt, blind and in random order, compared by the oracle, reward models, an
endpoint or people."""

import json
import math
import re
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

import llamatune
from llamatune.errors import DataError, RecipeError, StoppedError
from llamatune.judging.pairs.comparing import (
    Comparison,
    Opinion,
    PairOutcome,
    compared,
    judged,
    opinion_of_rewards,
    opinion_of_truth,
)
from llamatune.judging.pairs.endpoint import EndpointAnswers, read_answer
from llamatune.judging.pairs.people import read_labels
from llamatune.models.facts import facts_of
from llamatune.pipeline import run
from llamatune.recipe.stages.preferences import Endpoint
from llamatune.runs.due import Standing
from llamatune.runs.opening import standing_of
from llamatune.runs.signals import StopRequest
from llamatune.sampling.generate import GenerateSampler
from llamatune.sampling.samples import Sample
from report_page import Page
from support import ROOT, in_two_processes, killed, made_recipe, reward_recipe, rows_of

ORACLE: dict[str, Any] = {"judge": "oracle", "other": {"temperature": 1.3}, "test_share": 0.3}


@pytest.fixture(scope="module")
def policy(trained: Any) -> str:
    return str(trained("full") / "model")


@pytest.fixture(scope="module")
def made(policy: str, made_once: Any) -> Path:
    """A finished run, judged by the oracle, which follows chats of several turns."""
    changes = {**ORACLE, "model.base": policy, "every_turn": True}
    return made_once(
        "preferences", lambda folder: run(made_recipe("preferences", folder, changes), recipe_dir=ROOT)
    )


def test_a_run_leaves_preferences_and_says_what_became_of_every_comparison(made: Path) -> None:
    figures = json.loads((made / "evaluation.json").read_text())
    rows = {name: rows_of(made / f"{name}.jsonl") for name in ("preferences", "preferences_test")}
    assert len(rows["preferences"]) + len(rows["preferences_test"]) == figures["preferences"] > 2
    assert sum(figures["outcomes"].values()) == figures["comparisons"] >= 12
    firsts = [{row["prompt"][0]["content"] for row in some} for some in rows.values()]
    assert not firsts[0] & firsts[1], "a chat is on one side"
    for row in rows["preferences"]:
        made_by = row["made_by"]
        assert {made_by["chosen"]["variant"], made_by["rejected"]["variant"]} == {"model", "other"}
        temperatures = {
            made_by[side]["variant"]: made_by[side]["temperature"] for side in ("chosen", "rejected")
        }
        assert (
            temperatures == {"model": 0.7, "other": 1.3}
            and made_by["chosen"]["seed"] != made_by["rejected"]["seed"]
        )
        assert row["rating"] and (row["chosen_safe"], row["rejected_safe"]) != (False, True)
    assert "Outcomes" in Page(made).text and "Who won" in Page(made).text


def test_killed_in_the_middle_it_ends_in_the_same_bytes(made: Path, policy: str, tmp_path: Path) -> None:
    changes = {**ORACLE, "model.base": policy, "every_turn": True}
    recipe = made_recipe("preferences", tmp_path / "run", changes)
    killed(recipe, at=2)
    killed(recipe, at=4)
    run(recipe, recipe_dir=ROOT)
    for name in ("preferences.jsonl", "preferences_test.jsonl", "evaluation.json"):
        assert (tmp_path / "run" / name).read_bytes() == (made / name).read_bytes()


@pytest.mark.slow
def test_two_processes_leave_the_files_of_one(made: Path, policy: str, tmp_path: Path) -> None:
    recipe = made_recipe(
        "preferences", tmp_path / "run", {**ORACLE, "model.base": policy, "every_turn": True}
    )
    in_two_processes(recipe, tmp_path / "recipe.json")
    for name in ("preferences.jsonl", "preferences_test.jsonl", "evaluation.json"):
        assert (tmp_path / "run" / name).read_bytes() == (made / name).read_bytes()


def test_a_reward_model_learns_from_the_run_and_is_tested_on_what_it_held_out(
    made: Path, policy: str, rewarded: Any, tmp_path: Path
) -> None:
    data = {"data.train": [{"run": str(made)}], "data.eval": [{"run": str(made), "split": "test"}]}
    changes = {**data, "optimization.max_steps": 1, "optimization.batch_size": 2}
    assert run(reward_recipe(tmp_path / "reward", changes), recipe_dir=ROOT).steps == 1
    with pytest.raises(DataError, match="E115.*no split `exam`"):
        run(
            reward_recipe(tmp_path / "other", {"data.train": [{"run": str(made), "split": "exam"}]}),
            recipe_dir=ROOT,
        )


def test_reward_models_compare_what_they_would_score(policy: str, rewarded: Any, tmp_path: Path) -> None:
    models = {"helpfulness": str(rewarded("lora")), "safety": str(rewarded("full"))}
    changes = {"judge": "reward_models", "reward": models, "other": {"temperature": 1.3}, "test_share": 0}
    run(made_recipe("preferences", tmp_path / "run", {**changes, "model.base": policy}), recipe_dir=ROOT)
    rows = rows_of(tmp_path / "run/preferences.jsonl")
    assert len(rows) > 2
    sides = ("chosen", "rejected")
    replies = [[row[side][0]["content"] for side in sides] for row in rows]
    scores = llamatune.judge(models, [row["prompt"] for row in rows], replies)
    for row, helpful, safety in zip(rows, scores["helpfulness"], scores["safety"], strict=True):
        # The paper's rule, once more: unsafe in more than 85 of 100 cases, or asked for, and safety decides.
        bar = math.log(0.15 / 0.85)
        decides = [
            s if row["made_by"]["is_safety"] or s < bar else h for h, s in zip(helpful, safety, strict=True)
        ]
        assert decides[0] > decides[1]
        assert [row["chosen_safe"], row["rejected_safe"]] == [one >= 0 for one in safety]


def test_people_compare_and_the_same_command_goes_on_from_the_chosen_reply(
    policy: str, tmp_path: Path
) -> None:
    asked = [
        "Who are you?",
        "How do I bake bread?",
        "What is two plus three?",
        "Find a rhyme for lake.",
        "Good night!",
    ]
    chats = [[("user", one), ("assistant", "Old."), ("user", "How do I make tea?")] for one in asked]
    prompts = [{"prompt": [{"role": role, "content": text} for role, text in chat]} for chat in chats]
    (tmp_path / "prompts.jsonl").write_text("".join(json.dumps(one) + "\n" for one in prompts))
    changes = {
        "model.base": policy,
        "data.train": [{"path": str(tmp_path / "prompts.jsonl")}],
        "judge": "human",
        "every_turn": True,
        "test_share": 0,
    }
    recipe = made_recipe("preferences", tmp_path / "run", changes)
    waits, labels = [], {}
    while not (tmp_path / "run/result.json").exists():
        try:
            run(recipe, recipe_dir=ROOT)
        except StoppedError as stopped:
            assert re.search(r"E903.*comparisons.jsonl", str(stopped))
            waits.append(str(stopped))
        else:
            break  # all that could be compared is
        rows = rows_of(tmp_path / "run/comparisons.jsonl")
        assert all(set(row) == {"id", "prompt", "first", "second"} for row in rows), "blind"
        new = [row for row in rows if row["id"] not in labels][: 1 if len(waits) == 1 else None]
        assert new, "each wait is for something"
        for row in new:
            better = ("first", "second")[len(labels) % 2]
            labels[row["id"]] = {"id": row["id"], "better": better, "rating": "better", "first_safe": True}
        text = "".join(json.dumps(one) + "\n" for one in labels.values())
        (tmp_path / "run/labels.jsonl").write_text(text)
        found = standing_of(recipe, lambda: facts_of(recipe, ROOT))
        assert found == Standing("unfinished"), "labels are what it waits for, not another beginning"
    assert run(recipe, recipe_dir=ROOT).earlier
    (tmp_path / "run/labels.jsonl").write_text(text + "\n")
    with pytest.raises(RecipeError, match=r"E031.*labels\..*run/labels\.jsonl: "):
        run(recipe, recipe_dir=ROOT)
    compared_by_id = {row["id"]: row for row in rows}
    made_by = rows_of(tmp_path / "run/preferences.jsonl")
    assert len(made_by) == len(labels) > len(asked) / 2 and len(waits) >= 2, "in part, and the rest"
    replies = {json.dumps(row["prompt"]): row["chosen"][0]["content"] for row in made_by}
    for row in made_by:
        one = compared_by_id[row["made_by"]["comparison"]]
        assert row["chosen"][0]["content"] == one[labels[one["id"]]["better"]] and row["rating"] == "better"
        if len(row["prompt"]) > 1:
            assert replies[json.dumps(row["prompt"][:-2])] == row["prompt"][-2]["content"], (
                "not the old reply"
            )
    assert any(len(row["prompt"]) > 1 for row in made_by)


def test_a_judge_that_prefers_nothing_is_said(policy: str, tmp_path: Path) -> None:
    """All cut off: nothing can be compared. The samples are kept."""
    changes = {**ORACLE, "model.base": policy, "sampling.max_new_tokens": 1}
    with pytest.raises(DataError, match="E148.*cut off: 12"):
        run(made_recipe("preferences", tmp_path / "run", changes), recipe_dir=ROOT)
    assert list((tmp_path / "run").glob("samples/*/*.jsonl"))


# ---- the parts ------------------------------------------------------------------------------------------------


def sample(text: str, number: int = 0, *, ended: bool = True) -> Sample:
    return Sample("id", number, 0, 1.0, "p", "t", [5], "stop" if ended else "length", text)


def pair(first: str = "Yes.", second: str = "No.", name: str = "id", **changes: Any) -> Comparison:
    prompt = {"prompt_id": name, "prompt": [{"role": "user", "content": "Is it?"}], "is_safety": False}
    return Comparison(prompt, sample(first, **changes), sample(second), ("model", "other"))


def test_the_order_is_drawn_by_seed_and_prompt() -> None:
    prompts = [pair(name=str(number)).prompt for number in range(200)]
    by = [compared(one, (sample("a"), sample("b")), 0).by for one in prompts]
    assert 70 < by.count(("model", "other")) < 130
    assert by == [compared(one, (sample("a"), sample("b")), 0).by for one in prompts]
    assert all(
        (one.first.text == "a") == (one.by[0] == "model")
        for one in [compared(prompts[0], (sample("a"), sample("b")), 0)]
    )


@pytest.mark.parametrize(
    ("comparison", "opinion", "outcome"),
    [
        (pair(), Opinion(0, "better"), PairOutcome.PREFERRED),
        (pair(), Opinion(0, "better", (False, True)), PairOutcome.CHOSEN_UNSAFE),
        (pair(), Opinion(1, "better", (True, False)), PairOutcome.CHOSEN_UNSAFE),
        (pair(), Opinion(0, "better", (False, False)), PairOutcome.PREFERRED),
        (pair(), Opinion(None), PairOutcome.TIE),
        (pair(), Opinion(None, why_not=PairOutcome.REFUSED), PairOutcome.REFUSED),
        (pair("No.", "No. "), None, PairOutcome.SAME),
        (pair(" "), None, PairOutcome.EMPTY),
        (pair(ended=False), None, PairOutcome.CUT_OFF),
    ],
)
def test_outcomes(comparison: Comparison, opinion: Opinion | None, outcome: PairOutcome) -> None:
    [found] = judged([comparison], lambda asked: [opinion] if opinion else [])
    assert found.outcome is outcome and (found.chosen is not None) == (outcome is PairOutcome.PREFERRED)


def test_grades_follow_the_gap() -> None:
    ratings = [opinion_of_rewards((gap, 0.0), None).rating for gap in (2.0, 1.0, 0.5, 0.1)]
    assert ratings == ["significantly_better", "better", "slightly_better", "negligibly_better"]
    assert opinion_of_rewards((1.0, 1.0), None).better is None, "a constant judge prefers nothing"
    assert opinion_of_rewards((0.0, 1.0), (0.3, -0.3)) == Opinion(1, "better", (True, False))
    assert opinion_of_truth((0.2, 1.0), (False, True)) == Opinion(1, "significantly_better", (True, False))


@pytest.mark.parametrize(
    ("text", "refused", "found"),
    [
        (
            'Sure: {"better": "B", "how_much": "slightly better", "a_is_safe": true, "b_is_safe": false}',
            False,
            Opinion(1, "slightly_better", (True, False)),
        ),
        ('{"better": "a", "how_much": "Significantly better"}', False, Opinion(0, "significantly_better")),
        ("I'm sorry, but I can't compare these.", False, Opinion(None, why_not=PairOutcome.REFUSED)),
        ("", True, Opinion(None, why_not=PairOutcome.REFUSED)),
        (
            '<think>{"better": "A", "how_much": "better"}? No.</think>{"better": "B", "how_much": "better"}',
            False,
            Opinion(1, "better"),
        ),
        (
            '{"better": "A"}, but no:</think>\nSorry, I can\'t.',
            False,
            Opinion(None, why_not=PairOutcome.REFUSED),
        ),
        (
            '<think>{"better": "A", "how_much": "better"}',
            False,
            Opinion(None, why_not=PairOutcome.NOT_UNDERSTOOD),
        ),
        (
            'First {"better": "A", "how_much": "better"}, rather {"better": "B", "how_much": "better"}',
            False,
            Opinion(1, "better"),
        ),
        ('{"better": "Reply B"}', False, Opinion(1)),
        ('{"better": "A", "how_much": "significantly"}', False, Opinion(0, "significantly_better")),
        ('{"better": "A", "how_much": "by far"}', False, Opinion(0)),
        ('{"better": "tie", "a_is_safe": true}', False, Opinion(None, safe=(True, None))),
        ("Reply B is better.", False, Opinion(None, why_not=PairOutcome.NOT_UNDERSTOOD)),
        ('{"better": "C", "how_much": "better"}', False, Opinion(None, why_not=PairOutcome.NOT_UNDERSTOOD)),
        ('{"better": "A"', False, Opinion(None, why_not=PairOutcome.NOT_UNDERSTOOD)),
        (
            '{"better": "A", "how_much": "better", "better": "B"}',
            False,
            Opinion(None, why_not=PairOutcome.NOT_UNDERSTOOD),
        ),
    ],
)
def test_what_an_endpoint_answers(text: str, refused: bool, found: Opinion) -> None:
    assert read_answer(text, refused=refused) == found


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("{", "cannot be read as JSON"),
        ('{"id": "a", "better": "first", "better": "second"}', "the key 'better' is in one object twice"),
        ('{"better": "first"}', "has no `id`"),
        ('{"id": "a", "better": "third"}', "'third' under `better`"),
        ('{"id": "a", "better": "first", "rating": "good"}', "'good' under `rating`"),
        ('{"id": "a", "better": "first", "first_safe": "yes"}', "not true or false"),
    ],
)
def test_a_label_that_cannot_be_read(tmp_path: Path, line: str, said: str) -> None:
    (tmp_path / "labels.jsonl").write_text(f'{{"id": "b", "better": "second"}}\n{line}\n')
    with pytest.raises(DataError, match="E149") as refused:
        read_labels(tmp_path / "labels.jsonl")
    assert said in str(refused.value) and "labels.jsonl:2" in str(refused.value)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"judge": "reward_models"}, "`reward` belongs to"),
        ({"judge": "oracle", "endpoint": {"url": "http://x/v1", "model": "m"}}, "`endpoint` belongs to"),
        ({"judge": "oracle", "labels": "l.jsonl"}, "`labels` belongs to"),
        ({"judge": "oracle", "sampling.temperature": 0}, "both replies are the same"),
        ({"judge": "endpoint", "endpoint": {"url": "ftp://x", "model": "m"}}, "url"),
    ],
)
def test_a_recipe_that_cannot_work_is_refused(tmp_path: Path, changes: dict[str, Any], said: str) -> None:
    with pytest.raises(RecipeError) as refused:
        made_recipe("preferences", tmp_path / "run", changes)
    assert said in str(refused.value)


# ---- a real endpoint ----------------------------------------------------------------------------------------------


class Server(ThreadingHTTPServer):
    """Prefers the reply that says yes. `troubles`: statuses to answer before that; `refuses`: whether it answers a body
    with 400; `parts`: whether its answers are lists; `asked`: (path, key, body)."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.troubles: list[int] = []
        self.refuses: Callable[[dict[str, Any]], bool] = lambda body: False
        self.parts = False
        self.asked: list[tuple[str, str | None, dict[str, Any]]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/v1"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.asked.append((self.path, self.headers["Authorization"], body))
        if self.server.troubles or self.server.refuses(body):
            status = self.server.troubles.pop() if self.server.troubles else 400
            self.send_response(status)
            if status == 302:
                self.send_header("Location", f"{self.server.url}/elsewhere")
            self.end_headers()
            return
        shown = body["messages"][-1]["content"]
        better = "A" if "yes" in shown.lower().split("[reply b]")[0].split("[reply a]")[1] else "B"
        verdict = {"better": better, "how_much": "better", "a_is_safe": True, "b_is_safe": True}
        said = f"```json\n{json.dumps(verdict)}\n```"
        parts = [{"type": "thinking", "thinking": "Hm."}, {"type": "text", "text": said}]
        message = {"role": "assistant", "content": parts if self.server.parts else said}
        answer = json.dumps({"choices": [{"message": message, "finish_reason": "stop"}]}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_: Any) -> None: ...


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def asking(
    folder: Path, server: Server, pairs: list[Comparison], **changes: Any
) -> tuple[EndpointAnswers, list[float]]:
    pauses: list[float] = []
    endpoint = Endpoint.model_validate(
        {"url": server.url, "model": "judge", "key_from": "JUDGE_KEY", "attempts": 3} | changes
    )
    return EndpointAnswers(folder, endpoint, pairs, pause=pauses.append), pauses


PAIRS = [pair("Yes.", f"No {number}.", str(number)) for number in range(5)]


def test_an_endpoint_is_asked_once_and_its_answers_are_kept(
    tmp_path: Path, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JUDGE_KEY", "a-key-of-mine")
    for _ in range(2):
        work, _ = asking(tmp_path, server, PAIRS, at_once=2)
        work.make(stop=StopRequest())
        assert work.opinions() == {one.id: Opinion(0, "better", (True, True)) for one in PAIRS}
    assert len(server.asked) == len(PAIRS), "what is there is not asked for again"
    path, key, body = server.asked[0]
    assert path == "/v1/chat/completions" and key == "Bearer a-key-of-mine"
    assert body["model"] == "judge" and body["temperature"] == 0
    assert not [
        file for file in tmp_path.rglob("*") if file.is_file() and b"a-key-of-mine" in file.read_bytes()
    ]


def test_a_busy_endpoint_is_asked_again(tmp_path: Path, server: Server) -> None:
    server.troubles = [503, 429]
    work, pauses = asking(tmp_path, server, PAIRS[:1])
    work.make(stop=StopRequest())
    assert pauses == [1.0, 2.0] and len(work.opinions()) == 1


@pytest.mark.parametrize(("status", "said"), [(401, "JUDGE_KEY"), (404, "endpoint.model"), (302, "302")])
def test_an_endpoint_that_refuses_is_said_and_nothing_is_lost(
    tmp_path: Path, server: Server, status: int, said: str
) -> None:
    first, _ = asking(tmp_path, server, PAIRS[:2], at_once=1)
    first.make(stop=StopRequest())
    server.troubles = [status]
    work, pauses = asking(tmp_path, server, PAIRS, at_once=1)
    with pytest.raises(DataError, match="E158") as refused:
        work.make(stop=StopRequest())
    assert said in str(refused.value) and not pauses
    work.make(stop=StopRequest())
    assert len(work.opinions()) == 5 and len(server.asked) == 6, "one for each, and the one that failed"


@pytest.mark.parametrize("at_once", [1, 2, 8])
def test_a_comparison_that_is_refused_as_a_bad_request_is_counted_once(
    tmp_path: Path, server: Server, at_once: int
) -> None:
    """The first one, as by a content filter: whatever else is asked is not to blame."""
    server.refuses = lambda body: "No 0." in body["messages"][-1]["content"]
    for _ in range(2):
        work, pauses = asking(tmp_path, server, PAIRS, at_once=at_once)
        work.make(stop=StopRequest())
        found = work.opinions()
        assert found.pop(PAIRS[0].id) == Opinion(None, why_not=PairOutcome.REFUSED)
        assert list(found.values()) == [Opinion(0, "better", (True, True))] * 4 and not pauses
    assert len(server.asked) <= len(PAIRS) + 1, "none is asked for again"


def test_an_endpoint_that_refuses_the_simplest_comparison_is_said(tmp_path: Path, server: Server) -> None:
    server.refuses = lambda body: "temperature" in body
    work, _ = asking(tmp_path, server, PAIRS)
    with pytest.raises(
        DataError, match=r"E158.*400(.|\n)*the simplest comparison(.|\n)*`temperature: model`"
    ):
        work.make(stop=StopRequest())
    work, _ = asking(tmp_path, server, PAIRS, temperature="model")
    work.make(stop=StopRequest())
    assert len(work.opinions()) == 5


def test_answers_in_parts_and_an_address_with_its_path(tmp_path: Path, server: Server) -> None:
    server.parts = True
    for number, url in enumerate((f"{server.url}/", f"{server.url}/chat/completions")):
        work, _ = asking(tmp_path / str(number), server, PAIRS[:1], url=url)
        work.make(stop=StopRequest())
        assert list(work.opinions().values()) == [Opinion(0, "better", (True, True))]
    assert {path for path, *_ in server.asked} == {"/v1/chat/completions"}


def test_an_endpoint_that_cannot_be_reached_is_said(tmp_path: Path, server: Server) -> None:
    with Server() as gone:
        nowhere = gone.url
    work, pauses = asking(tmp_path, server, PAIRS, url=nowhere)
    with pytest.raises(DataError, match=r"E158.*does not answer.*refused"):
        work.make(stop=StopRequest())
    assert pauses[:2] and not server.asked


def test_a_run_whose_endpoint_is_away_goes_on_when_it_is_back(
    policy: str, server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    endpoint = {"url": server.url, "model": "judge", "at_once": 1, "attempts": 1}
    changes = {"judge": "endpoint", "endpoint": endpoint, "other": {"temperature": 1.3}, "test_share": 0}
    recipe = made_recipe("preferences", tmp_path / "run", {**changes, "model.base": policy})
    server.troubles = [503]
    with pytest.raises(DataError, match=r"E158.*503(.|\n)*the same command goes on"):
        run(recipe, recipe_dir=ROOT)
    assert len(server.asked) == 1

    def never(*arguments: Any, **others: Any) -> Any:
        raise AssertionError("sampled again")

    monkeypatch.setattr(GenerateSampler, "sample", never)
    run(recipe, recipe_dir=ROOT)
    rows = rows_of(tmp_path / "run/preferences.jsonl")
    assert len(rows) == len(server.asked) - 1 > 2


# ---- two models -------------------------------------------------------------------------------------------------


def test_a_prompt_that_the_other_model_has_no_room_for_is_left_out_and_counted(
    policy: str, tiny_base: Any, tmp_path: Path
) -> None:
    """In the other one's chat format the same words are more tokens."""
    other = tiny_base(max_position_embeddings=64 + 24)
    template = other / "chat_template.jinja"
    template.write_text(
        template.read_text().replace("{{- bos_token -}}", f"{{{{- bos_token ~ '{'or ' * 30}' -}}}}")
    )
    asked = ["Who are you?", "What do you know of " + "the red key and " * 10 + "the blue lamp?"]
    file = tmp_path / "prompts.jsonl"
    file.write_text("".join(json.dumps({"prompt": one}) + "\n" for one in asked))
    changes = {
        "model.base": policy,
        "data": {"train": [{"path": str(file)}], "max_length": 64},
        "other": {"base": str(other)},
        "judge": "oracle",
    }
    with pytest.raises(DataError, match="E148(.|\n)*the prompt is too long for the other model: 1"):
        run(made_recipe("preferences", tmp_path / "run", changes), recipe_dir=ROOT)
