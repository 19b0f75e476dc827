"""Sampling, judging and choosing in memory, as notebooks do it."""

from typing import Any

import pytest
import torch

from llamatune import LlamatuneError, best_of, judge, open_model, sample
from llamatune.recipe.stages.rejection_sampling import Keep

PROMPTS: list[Any] = ["Who are you?", [{"role": "user", "content": "What is the lamp?"}]]


@pytest.fixture(scope="module")
def model(tiny_base: Any) -> Any:
    torch.set_num_threads(1)
    return open_model(str(tiny_base()))


def length(*, completions: Any, **others: Any) -> list[float]:
    return [float(len(one[0]["content"])) for one in completions]


def test_samples_and_scores_by_prompt(model: Any) -> None:
    found = sample(model, PROMPTS, samples=3, max_new_tokens=8)
    assert [len(some) for some in found] == [3, 3]
    assert [some[:2] for some in found] == sample(model, PROMPTS, samples=2, max_new_tokens=8)
    assert sample(model, PROMPTS[1:], max_new_tokens=8) == [found[1][:1]], (
        "a prompt's own, whoever else is asked"
    )
    scores = judge({"long": length}, PROMPTS, found)
    assert scores == {"long": [[float(len(one.text)) for one in some] for some in found]}
    assert judge(length, PROMPTS, [["a"], ["bb", "ccc"]]) == {"length": [[1.0], [2.0, 3.0]]}


def test_the_best_come_first(model: Any) -> None:
    ranked = best_of(model, PROMPTS, length, samples=4, max_new_tokens=8, keep=Keep(floor=1e9))
    for group in ranked:
        rewards = [one.reward for one, _ in group]
        assert rewards == sorted(rewards, reverse=True) and len(rewards) == 4
        assert all(fate in ("below the floor", "cut off", "empty") for _, fate in group)


@pytest.mark.parametrize(
    ("prompts", "said"), [([[{"role": "assistant", "content": "x"}]], "E145"), (["word " * 300], "E130")]
)
def test_prompts_that_cannot_be_asked(model: Any, prompts: Any, said: str) -> None:
    with pytest.raises(LlamatuneError, match=said):
        sample(model, prompts)
