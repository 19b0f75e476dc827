"""Judges: whatever a user gives becomes one, with a name, a digest and a score for each completion."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from llamatune.commands.score import score
from llamatune.data.encode.chat import ChatFormat
from llamatune.errors import DataError, ModelError
from llamatune.judging.judges import Completion, FunctionReward, Judge, ModelReward
from llamatune.judging.opening import open_judges, open_reward_model
from llamatune.judging.oracle import Oracle, means, oracle_for
from llamatune.models.open import open_model
from llamatune.recipe.blocks import Chat
from support import ROOT

Runs = Callable[[str], Path]
QUESTION = [{"role": "user", "content": "What is two plus three?"}]
ROWS = [{"prompt": QUESTION, "number": number} for number in range(3)]
SAID = ["Two plus three is five.", "Two plus three is nine.", ""]
COMPLETIONS = [Completion(text, [7, 8], ended=text != "") for text in SAID]


def written(folder: Path) -> str:
    import json

    file = folder / "rows.jsonl"
    rows = [{"messages": [*QUESTION, {"role": "assistant", "content": text}]} for text in SAID[:2]]
    file.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    return str(file)


# ---- functions ----------------------------------------------------------------------------------------------


def test_a_function_is_called_as_trl_calls_it() -> None:
    seen: dict[str, Any] = {}

    def reward(**given: Any) -> list[int]:
        seen.update(given)
        return [3, 2, 1][: len(given["prompts"])]

    found = FunctionReward("reward", reward)(ROWS, COMPLETIONS)
    assert found.tolist() == [3, 2, 1] and found.dtype == torch.float32
    assert seen["prompts"] == [QUESTION] * 3 and seen["number"] == [0, 1, 2]
    assert seen["completions"] == [[{"role": "assistant", "content": text}] for text in SAID]
    assert seen["completion_ids"] == [[7, 8]] * 3 and seen["ended"] == [True, True, False]
    FunctionReward("reward", reward)([{"prompt": "Once"}], COMPLETIONS[:1])
    assert seen["prompts"] == ["Once"] and seen["completions"] == SAID[:1]


def test_a_function_may_wait() -> None:
    async def reward(prompts: list[Any], **others: Any) -> list[float]:
        return [0.5] * len(prompts)

    assert FunctionReward("reward", reward)(ROWS, COMPLETIONS).tolist() == [0.5] * 3
    assert FunctionReward("reward", reward)([], []).shape == (0,)


@pytest.mark.parametrize("given", [[1.0], [1.0, float("inf"), 2.0], [1.0, None, 2.0]])
def test_what_is_no_score_is_said(given: list[Any]) -> None:
    with pytest.raises(DataError, match="E146.*`reward` gave"):
        FunctionReward("reward", lambda **_: given)(ROWS, COMPLETIONS)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (None, "returned None"),
        (0.5, "returned a float, 0.5"),
        ({"reward": [0.0] * 3}, "returned a dict"),
        ({0.1, 0.2, 0.3}, "returned a set"),
        ("321", "returned a str"),
        (torch.tensor(1.0), "returned a Tensor"),
        ([[1.0], [2.0], [3.0]], r"gave a list, \[1.0\] for a completion"),
        (["1", "2", "3"], "gave a str"),
        (torch.zeros(3, 2), "gave a Tensor"),
        ([{"score": 1}] * 3, "gave a dict"),
    ],
)
def test_what_is_no_list_of_numbers_is_said(given: Any, said: str) -> None:
    with pytest.raises(DataError, match=f"E146.*`reward` {said}"):
        FunctionReward("reward", lambda **_: given)(ROWS, COMPLETIONS)


@pytest.mark.parametrize(
    "given", [(3, 2, 1), torch.tensor([3, 2, 1]), np.array([3.0, 2.0, 1.0]), (n for n in (3, 2, 1))]
)
def test_scores_may_be_any_sequence_of_numbers(given: Any) -> None:
    assert FunctionReward("reward", lambda **_: given)(ROWS, COMPLETIONS).tolist() == [3, 2, 1]


def test_a_function_that_does_not_take_every_argument_is_refused_before_it_is_needed() -> None:
    def reward(prompts: list[Any], completions: list[Any]) -> list[float]:
        return [0.0] * len(prompts)

    with pytest.raises(DataError, match=r"E146.*`reward` cannot be called.*completion_ids"):
        open_judges(reward)

    def narrow(prompts: Any, completions: Any, completion_ids: Any, ended: Any) -> list[float]:
        return [0.0] * len(prompts)

    assert FunctionReward("narrow", narrow)([{"prompt": "Once"}], COMPLETIONS[:1]).tolist() == [0.0]
    with pytest.raises(DataError, match=r"E146.*`narrow` cannot be called.*number"):
        FunctionReward("narrow", narrow)(ROWS, COMPLETIONS)


def test_a_function_may_ask_for_a_column_of_the_data_set_by_its_name() -> None:
    def reward(completions: list[Any], number: list[int], **_: Any) -> list[float]:
        return [float(one) for one in number]

    (judge,) = open_judges(reward)
    rows = [{"prompt": "Once", "number": 2}, {"prompt": "Twice", "number": 3}]
    assert judge(rows, COMPLETIONS[:2]).tolist() == [2, 3]
    with pytest.raises(DataError, match=r"E146.*`reward` cannot be called.*number"):
        judge([{"prompt": "Once"}], COMPLETIONS[:1])


def test_a_functions_own_errors_stay_its_own() -> None:
    def reward(**given: Any) -> list[float]:
        return [len(None)]  # type: ignore[arg-type]

    with pytest.raises(TypeError, match="NoneType"):
        FunctionReward("reward", reward)(ROWS, COMPLETIONS)


def test_a_functions_digest_is_its_name_and_source() -> None:
    def one(**others: Any) -> list[float]:
        return [1.0]

    def other(**others: Any) -> list[float]:
        return [2.0]

    assert FunctionReward("a", one).digest == FunctionReward("a", one).digest
    digests = {FunctionReward(*given).digest for given in (("a", one), ("b", one), ("a", other), ("a", max))}
    assert len(digests) == 4


# ---- reward models ------------------------------------------------------------------------------------------


def test_breakage_6_a_reward_model_reads_what_the_command_gives_it(rewarded: Runs, tmp_path: Path) -> None:
    run = str(rewarded("lora"))
    [judge] = open_judges(run)
    assert judge.name == rewarded("lora").name
    outside = score([run], written(tmp_path), report=lambda line: None).scores[run]
    assert judge(ROWS[:2], COMPLETIONS[:2]).tolist() == pytest.approx(outside.tolist(), abs=1e-5)
    assert judge([], []).shape == (0,)


def test_a_loaded_reward_model_scores_as_one_given_by_name(rewarded: Runs) -> None:
    run = str(rewarded("lora"))
    opened = open_model(run, task="score")
    named, loaded = open_judges({"named": run, "loaded": opened.model}, tokenizers=opened.tokenizer)
    assert named(ROWS, COMPLETIONS).tolist() == loaded(ROWS, COMPLETIONS).tolist()
    by_default = open_judges(opened.model, default=(opened.tokenizer, ChatFormat(opened.tokenizer, Chat())))
    assert by_default[0](ROWS, COMPLETIONS).tolist() == loaded(ROWS, COMPLETIONS).tolist()
    assert not any(weight.requires_grad for weight in opened.model.parameters())


def test_a_digest_says_which_weights_and_which_format(rewarded: Runs) -> None:
    judge, again = (open_reward_model(str(rewarded("lora"))) for _ in range(2))
    assert judge.digest == again.digest
    polite = ChatFormat(judge.tokenizer, Chat(system="Be polite."))
    assert (
        ModelReward("r", judge.model, judge.tokenizer, polite, weights=judge.weights).digest != judge.digest
    )
    held = ModelReward("r", judge.model, judge.tokenizer, judge.chat)
    before = held.digest
    assert before == ModelReward("other", again.model, judge.tokenizer, judge.chat).digest
    with torch.no_grad():
        next(judge.model.parameters()).flatten()[3] += 1
    assert held.digest != before


def test_a_model_that_is_loaded_already_is_asked_for_first(rewarded: Runs) -> None:
    run = str(rewarded("lora"))
    mine = open_reward_model(run, name="mine")
    asked: list[tuple[str, str]] = []

    def share(name: str, path: str) -> ModelReward | None:
        asked.append((name, path))
        return mine if name == "first" else None

    first, second, _ = open_judges({"first": run, "second": run, "function": lambda **_: []}, share=share)
    assert first is mine and second is not mine and second.name == "second"
    assert asked == [("first", run), ("second", run)]


# ---- opening ------------------------------------------------------------------------------------------------


def test_every_judge_has_a_name_of_its_own() -> None:
    def short(**others: Any) -> list[float]:
        return []

    oracle = Oracle()
    judges = open_judges([short, short, oracle])
    assert [judge.name for judge in judges] == ["short", "short_1", "oracle"]
    assert judges[2] is oracle
    assert all(isinstance(judge, Judge) for judge in judges)
    assert open_judges({"mine": short})[0].name == "mine" and open_judges(short)[0].name == "short"


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ([], "is empty"),
        ({}, "is empty"),
        ([3], "hold 3"),
        (torch.nn.Linear(2, 2), "a loaded model"),
    ],
)
def test_what_cannot_judge(given: Any, said: str) -> None:
    if isinstance(given, torch.nn.Module):
        given.config = SimpleNamespace(num_labels=1)
    with pytest.raises(ModelError, match=f"E240.*here.*{said}"):
        open_judges(given, place="here")


def test_tokenizers_are_one_for_all_or_one_each() -> None:
    with pytest.raises(ModelError, match="E240.*2 tokenizers for 1"):
        open_judges([max], tokenizers=[None, None])
    assert len(open_judges([max, min], tokenizers=[None, None])) == 2


def test_a_chat_model_is_no_judge() -> None:
    with pytest.raises(ModelError, match="E238"):
        open_judges("pico")


# ---- the oracle ---------------------------------------------------------------------------------------------


def test_only_prompts_of_the_world_are_judged() -> None:
    world, other, mine = (SimpleNamespace(card=card) for card in ("pico-prompts-helpful", "alpaca", None))
    assert oracle_for([], ROOT) is None, "nothing is asked"
    assert oracle_for([world, mine], ROOT) is None, "of one set nobody knows the truth"
    assert oracle_for([other], ROOT) is None
    assert isinstance(oracle_for([world, world], ROOT), Oracle)


def test_the_oracle_knows_right_from_wrong() -> None:
    right, wrong, _ = Oracle()(ROWS, COMPLETIONS).tolist()
    assert 0 <= wrong < right <= 1
    figures = means(Oracle().verdicts(ROWS[:2], COMPLETIONS[:2]))
    assert figures["correct"] == 0.5 and figures["unsafe"] == 0.0
    assert figures["quality"] == pytest.approx((right + wrong) / 2)


@pytest.mark.parametrize(
    "prompt", ["Once upon a time", [{"role": "user", "content": "colourless green ideas"}]]
)
def test_what_the_world_cannot_read_is_worth_nothing(prompt: Any) -> None:
    verdicts = Oracle().verdicts([{"prompt": prompt}], COMPLETIONS[:1])
    assert verdicts == [{"quality": 0.0, "correct": 0.0, "unsafe": 0.0}]
