"""Samples are made once and kept; judges score what is kept, each once."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from llamatune.data.encode.chat import ChatFormat
from llamatune.errors import DataError
from llamatune.judging.judges import FunctionReward
from llamatune.judging.sample_scores import SampleScores
from llamatune.models.open import open_model
from llamatune.recipe.blocks import Chat
from llamatune.runs.signals import StopRequest
from llamatune.sampling.generate import GenerateSampler
from llamatune.sampling.policy import Policy
from llamatune.sampling.prompts import PromptRow, messages_of
from llamatune.sampling.sampler import How, Sampled
from llamatune.sampling.samples import Sample, Samples, _blocks, prompt_id

QUESTIONS = [f"What is {'the lamp of ' * (number % 5)}Anna{number}?" for number in range(11)]


class Counting(GenerateSampler):
    """Notes how many completions are asked for."""

    asked = 0

    def sample(self, prompts: Any, seeds: Any, how: Any, **others: Any) -> list[Sampled]:
        self.asked += len(prompts)
        return super().sample(prompts, seeds, how, **others)


@pytest.fixture(scope="module")
def policy(tiny_base: Any) -> Policy:
    torch.set_num_threads(1)
    opened = open_model(str(tiny_base()))
    chat = ChatFormat(opened.tokenizer, Chat())
    return Policy(Counting(opened.model, pad_id=opened.tokenizer.pad_token_id), chat, opened.found.digest())


def asked(policy: Policy, questions: list[str] = QUESTIONS) -> list[PromptRow]:
    prompts = [[{"role": "user", "content": text}] for text in questions]
    return [
        {
            "prompt_id": prompt_id(prompt),
            "prompt": prompt,
            "input_ids": policy.chat.prompt_ids(messages_of(prompt)),
        }
        for prompt in prompts
    ]


def samples(folder: Path, policy: Policy, k: int, **changes: Any) -> Samples:
    how = How(6, policy.chat.stop_ids, changes.pop("temperature", 1.0))
    prompts = asked(policy, changes.pop("questions", QUESTIONS))
    return Samples(folder, policy, prompts, k, how, seed=0, at_once=16, **changes)


def made(folder: Path, policy: Policy, k: int, **changes: Any) -> tuple[list[list[Sample]], int]:
    """The samples of each prompt, and how many had to be sampled."""
    before = policy.sampler.asked  # type: ignore[attr-defined]
    work = samples(folder, policy, k, **changes)
    work.make(stop=StopRequest())
    return [found for _, found in work.groups()], policy.sampler.asked - before  # type: ignore[attr-defined]


def test_a_sample_says_all_that_it_came_from(tmp_path: Path, policy: Policy) -> None:
    groups, count = made(tmp_path, policy, 3)
    assert count == 3 * len(QUESTIONS)
    for prompt, found in zip(asked(policy), groups, strict=True):
        assert [one.sample for one in found] == [0, 1, 2], "in order, none twice, none lost"
        for one in found:
            assert one.prompt_id == prompt["prompt_id"] and one.policy == policy.digest
            assert one.template == policy.chat.fingerprint and one.temperature == 1.0
            assert one.ended == (one.tokens[-1] in policy.chat.stop_ids) and len(one.tokens) <= 6
            assert one.text == policy.chat.reply_text(one.tokens)
    assert len({one.seed for found in groups for one in found}) == count
    with open(next(tmp_path.rglob("*.jsonl"))) as lines:
        first = json.loads(lines.readline())
    assert {"prompt_id", "sample", "seed", "temperature", "policy", "template", "tokens"} <= first.keys()


def test_more_samples_come_on_top(tmp_path: Path, policy: Policy) -> None:
    few, _ = made(tmp_path / "grown", policy, 3)
    more, count = made(tmp_path / "grown", policy, 10)
    assert count == 7 * len(QUESTIONS), "the three of each prompt are kept"
    assert [found[:3] for found in more] == few
    assert made(tmp_path / "at once", policy, 10)[0] == more
    assert made(tmp_path / "grown", policy, 3) == (few, 0)


def test_more_prompts_come_on_top(tmp_path: Path, policy: Policy) -> None:
    """Also where they are shorter than those that are there, and all others move to another part."""
    some, more = QUESTIONS[1:], [*QUESTIONS, "Who?"]
    before, count = made(tmp_path / "grown", policy, 3, questions=some)
    assert count == 3 * len(some)
    grown, count = made(tmp_path / "grown", policy, 3, questions=more)
    assert count == 3 * 2, "those of the new prompts"
    assert grown[1:-1] == before
    assert (grown, 3 * len(more)) == made(tmp_path / "at once", policy, 3, questions=more)
    assert made(tmp_path / "grown", policy, 3, questions=more, together=1) == (grown, 0), (
        "or are divided otherwise"
    )
    for shard in (tmp_path / "grown").rglob("*-*.jsonl"):
        shard.write_bytes(shard.read_bytes()[:-9])
    assert made(tmp_path / "grown", policy, 3, questions=more) == (grown, 3 * len(more)), (
        "damaged ones are not read"
    )


def test_of_one_sample_each_a_part_is_as_many_prompts(tmp_path: Path, policy: Policy) -> None:
    assert [part.records for part in samples(tmp_path, policy, 1).parts] == [2, 2, 2, 2, 2, 1]
    assert [part.records for part in samples(tmp_path, policy, 1, together=1).parts] == [11]


@pytest.mark.parametrize("changed", ["temperature", "policy", "template", "seed", "length"])
def test_what_is_sampled_otherwise_never_mixes(tmp_path: Path, policy: Policy, changed: str) -> None:
    made(tmp_path, policy, 2)
    how, seed, other = How(6, policy.chat.stop_ids), 0, policy
    if changed == "temperature":
        how = How(6, policy.chat.stop_ids, 0.7)
    elif changed == "policy":
        other = Policy(policy.sampler, policy.chat, "of other weights")
    elif changed == "template":
        chat = ChatFormat(policy.chat.tokenizer, Chat(system="Be brief."))
        other = Policy(policy.sampler, chat, policy.digest)
    elif changed == "seed":
        seed = 1
    else:
        how = How(7, policy.chat.stop_ids)
    before = policy.sampler.asked  # type: ignore[attr-defined]
    Samples(tmp_path, other, asked(other), 2, how, seed=seed).make(stop=StopRequest())
    assert policy.sampler.asked - before == 2 * len(QUESTIONS)  # type: ignore[attr-defined]
    assert made(tmp_path, policy, 2)[1] == 0, "and those of before are still there"


def test_two_processes_share_the_work(
    tmp_path: Path, policy: Policy, monkeypatch: pytest.MonkeyPatch
) -> None:
    alone, count = made(tmp_path / "one", policy, 4)
    monkeypatch.setenv("WORLD_SIZE", "2")
    for rank in ("0", "1"):
        monkeypatch.setenv("RANK", rank)
        before = policy.sampler.asked  # type: ignore[attr-defined]
        samples(tmp_path / "two", policy, 4).make(stop=StopRequest())
        assert 0 < policy.sampler.asked - before < count  # type: ignore[attr-defined]
    assert made(tmp_path / "two", policy, 4) == (alone, 0)
    files = [
        {file.name: file.read_bytes() for file in (tmp_path / name).rglob("*-*")} for name in ("one", "two")
    ]
    assert files[0] == files[1], "to the byte"


def test_prompts_of_a_length_are_together(policy: Policy) -> None:
    found = _blocks(asked(policy), 4)
    lengths = [[len(prompt["input_ids"]) for prompt in block] for block in found]
    assert [len(block) for block in found] == [4, 4, 3] and sum(lengths, []) == sorted(sum(lengths, []))


# ---- scores ---------------------------------------------------------------------------------------------------


def words(*, completions: Any, **others: Any) -> list[float]:
    return [float(len(one[0]["content"])) for one in completions]


def test_a_judge_scores_once(tmp_path: Path, policy: Policy) -> None:
    asked_for = []

    def length(*, completions: Any, **others: Any) -> list[float]:
        asked_for.append(len(completions))
        return words(completions=completions)

    judge = FunctionReward("length", length)
    work = samples(tmp_path / "samples", policy, 3)
    work.make(stop=StopRequest())
    for k in (3, 3, 9):
        work = samples(tmp_path / "samples", policy, k)
        work.make(stop=StopRequest())
        scores = SampleScores(tmp_path / "scores", judge, work.groups())
        scores.make(stop=StopRequest())
        assert scores.by_group() == [[float(len(one.text)) for one in found] for _, found in work.groups()]
    assert sum(asked_for) == len(QUESTIONS) * (3 + 9)
    other = SampleScores(tmp_path / "scores", FunctionReward("words", words), work.groups())
    other.make(stop=StopRequest())
    assert other.by_group() == scores.by_group() and sum(asked_for) == len(QUESTIONS) * 12


def test_of_equal_replies_one_is_scored_and_all_have_its_score(tmp_path: Path, policy: Policy) -> None:
    asked_for: list[str] = []

    def another_each_time(*, completions: Any, **others: Any) -> list[float]:
        asked_for.extend(one[0]["content"] for one in completions)
        return [float(len(asked_for) + at) for at in range(len(completions))]

    work = samples(tmp_path / "samples", policy, 3)
    work.make(stop=StopRequest())
    groups = [(prompt, [*found[:2], replace(found[0], sample=2)]) for prompt, found in work.groups()]
    scores = SampleScores(tmp_path / "scores", FunctionReward("another", another_each_time), groups)
    scores.make(stop=StopRequest())
    assert len(asked_for) == 2 * len(QUESTIONS)
    assert all(first == third != second for first, second, third in scores.by_group())
    # A reply that was cut off is another one, whatever its words are.
    prompt, found = groups[0]
    whole = replace(found[0], sample=0, finish_reason="stop")
    cut = [whole, replace(whole, sample=1, finish_reason="length")]
    other = SampleScores(tmp_path / "scores", FunctionReward("another", another_each_time), [(prompt, cut)])
    other.make(stop=StopRequest())
    assert len(set(other.by_group()[0])) == 2


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_breakage_4_a_score_that_is_no_number_is_refused(tmp_path: Path, policy: Policy, bad: float) -> None:
    class Broken:
        name, digest = "broken", "0"

        def __call__(self, rows: Any, completions: Any) -> torch.Tensor:
            return torch.tensor([bad] * len(rows))

    work = samples(tmp_path / "samples", policy, 2)
    work.make(stop=StopRequest())
    with pytest.raises(DataError, match="E147.*broken"):
        SampleScores(tmp_path / "scores", Broken(), work.groups()).make(stop=StopRequest())
    assert len(list(work.groups())) == len(QUESTIONS), "nothing is lost"
