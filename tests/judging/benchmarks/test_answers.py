"""What a model answers to requests: the numbers of a pass without padding and sharing, and replies that end in time."""

from collections.abc import Sequence
from pathlib import Path

import pytest
import torch

from llamatune.data.encode.chat import ChatFormat
from llamatune.judging.benchmarks import answers
from llamatune.judging.benchmarks.answers import AnswerShards, BenchmarkRequest, sampled_replies, scores
from llamatune.judging.benchmarks.prompts import PlainPrompts
from llamatune.models.open import open_model
from llamatune.recipe.blocks import Chat
from llamatune.runs.signals import StopRequest
from llamatune.sampling.generate import GenerateSampler
from llamatune.sampling.policy import Policy

TEXTS = [
    "Anna is a",
    "The capital of the north is",
    "What is two plus three?",
    "How do I bake bread? First",
    "A",
]


@pytest.fixture(scope="module")
def policy() -> Policy:
    opened = open_model("pico")
    sampler = GenerateSampler(opened.model, pad_id=opened.tokenizer.pad_token_id)
    return Policy(sampler, ChatFormat(opened.tokenizer, Chat()), "pico")


@torch.no_grad()
def alone(policy: Policy, one: BenchmarkRequest) -> tuple[float, bool]:
    model = policy.sampler.model
    row = torch.tensor([[*one.ids, *one.answer]], device=model.device)
    logits = model.eval()(input_ids=row).logits[0, len(one.ids) - 1 : -1].double()
    logprobs = logits.log_softmax(-1)
    answer = torch.tensor(one.answer, device=model.device)
    return float(logprobs.gather(1, answer[:, None]).sum()), bool((logits.argmax(-1) == answer).all())


def test_scores_are_those_of_each_request_alone(policy: Policy, monkeypatch: pytest.MonkeyPatch) -> None:
    prompts = PlainPrompts(policy.chat.tokenizer)
    asked = [
        BenchmarkRequest(*map(tuple, prompts.pair(text, continuation)))
        for text in TEXTS
        for continuation in (" five", " cook", " Then mix flour and water, and wait.", "?")
    ]
    for most in (8192, 40):
        monkeypatch.setattr(answers, "_TOKENS", most)
        for one, found in zip(asked, scores(policy.sampler.model, asked), strict=True):
            logprob, greedy = alone(policy, one)
            assert found["logprob"] == pytest.approx(logprob, abs=1e-4) and found["greedy"] is greedy


def test_letters_share_a_forward_pass(policy: Policy) -> None:
    ids = tuple(PlainPrompts(policy.chat.tokenizer).context(TEXTS[0]))
    model, passes = policy.sampler.model, []
    hook = model.register_forward_hook(lambda *_: passes.append(1))
    try:
        scores(model, [BenchmarkRequest(ids, (token,)) for token in range(10, 14)])
    finally:
        hook.remove()
    assert len(passes) == 1


def test_a_reply_ends_at_the_first_text_that_ends_it(policy: Policy) -> None:
    prompts = PlainPrompts(policy.chat.tokenizer)

    def asked(until: Sequence[str]) -> list[BenchmarkRequest]:
        return [
            BenchmarkRequest(tuple(prompts.context(text)), until=tuple(until), max_new_tokens=40, text=text)
            for text in TEXTS
        ]

    whole, shorter = sampled_replies(policy, prompts, asked(()), seed=0), 0
    for until in ([" the"], ["a", ". "], ["e"]):
        cut = sampled_replies(policy, prompts, asked(until), seed=0)
        for one, other in zip(cut, whole, strict=True):
            ends = [place for end in until if (place := other["text"].find(end)) >= 0]
            assert one["text"] == other["text"][: min(ends, default=len(other["text"]))]
            assert one["tokens"] <= other["tokens"]
        shorter += sum(one["tokens"] for one in cut) < sum(one["tokens"] for one in whole)
    assert shorter >= 2


def test_equal_requests_are_answered_once_and_kept(policy: Policy, tmp_path: Path) -> None:
    prompts = PlainPrompts(policy.chat.tokenizer)
    one = BenchmarkRequest(tuple(prompts.context(TEXTS[0])), max_new_tokens=4, text=TEXTS[0])
    other = BenchmarkRequest(*map(tuple, prompts.pair(TEXTS[1], " Bern")))
    work = AnswerShards(tmp_path, policy, prompts, [one, other, one], seed=0)
    counted: list[tuple[int, int]] = []
    work.make(stop=StopRequest(), done=lambda done, of: counted.append((done, of)))
    first, scored, again = work.answers()
    assert first == again and "logprob" in scored and "text" in first
    work.make(stop=StopRequest(), done=lambda done, of: counted.append((done, of)))
    assert counted[0] == (0, 2) and counted[-1] == (2, 2)


def test_more_samples_of_a_request_differ(policy: Policy) -> None:
    prompts = PlainPrompts(policy.chat.tokenizer)
    ids = tuple(prompts.context(TEXTS[0]))
    asked = [BenchmarkRequest(ids, max_new_tokens=12, temperature=1.5, number=number) for number in range(4)]
    found = [one["text"] for one in sampled_replies(policy, prompts, asked, seed=0)]
    assert len(set(found)) > 1
    assert found == [one["text"] for one in sampled_replies(policy, prompts, asked, seed=0)]
