"""What a model answers to the requests of benchmarks, each once, kept in shards.

A request asks for the probability of some tokens after others, or for a reply. Requests that are alike are answered
once, and those that differ only in their last token (the letters of a multiple choice) share a forward pass.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from llamatune.forward.memory import free_memory, one_row_too_many, within_memory
from llamatune.forward.outputs import token_logprobs
from llamatune.judging.benchmarks.prompts import Prompting
from llamatune.models.probing import sampling_mode
from llamatune.runs.shards import InParts, Part
from llamatune.runs.status import busy
from llamatune.sampling.generate import GenerateSampler
from llamatune.sampling.sampler import How, cannot, seed_of

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from llamatune.sampling.policy import Policy

BENCHMARK_ANSWERS = "benchmarks"
"""The folder of a run that holds what models answered to benchmarks."""
_VERSION = 1
_SCORED, _SAMPLED = 256, 32
"""Requests of a part."""
_TOKENS = 8192
"""Of a forward pass, unless a single request has more."""


@dataclass(frozen=True)
class BenchmarkRequest:
    """Tokens that are given, and what is asked: the probability of `answer`, or, without one, a reply.

    `until`: texts that end a reply, and are no part of it. `number`: of several replies to the same. `text`: what was
    asked, by which `Prompting` reads the reply.
    """

    ids: tuple[int, ...]
    answer: tuple[int, ...] = ()
    until: tuple[str, ...] = ()
    max_new_tokens: int = 0
    temperature: float = 0.0
    top_p: float = 1.0
    number: int = 0
    text: str = ""

    @property
    def samples(self) -> bool:
        """Whether a reply is asked for."""
        return not self.answer

    @property
    def tokens(self) -> int:
        """Most that the model has to hold."""
        return len(self.ids) + (self.max_new_tokens if self.samples else len(self.answer) - 1)

    @cached_property
    def digest(self) -> str:
        """Of all that decides the answer."""
        how = [self.until, self.max_new_tokens, self.temperature, self.top_p, self.number]
        return hashlib.sha256(json.dumps([self.ids, self.answer, how]).encode()).hexdigest()


class AnswerShards(InParts[list[BenchmarkRequest]]):
    """What a policy answers: {logprob, greedy} or {text, tokens, ended}, a record for each different request.

    Args:
        folder: holds those of all models.
        prompts: reads the replies.

    Raises:
        ModelError: E240, the policy's backend only samples, and probabilities are asked for.
    """

    def __init__(
        self,
        folder: Path,
        policy: Policy,
        prompts: Prompting,
        requests: Sequence[BenchmarkRequest],
        *,
        seed: int,
    ) -> None:
        self.policy, self.prompts, self.requests, self.seed = policy, prompts, requests, seed
        scores = any(not one.samples for one in requests)
        if scores and not isinstance(policy.sampler, GenerateSampler):
            raise cannot(
                "vllm",
                "and some of the benchmarks need a model's probabilities",
                hint="`sampling.backend=generate`",
            )
        template = policy.chat.fingerprint
        key = {"version": _VERSION, "policy": policy.digest, "template": template, "seed": seed}
        super().__init__(
            folder, key, {Part.of([one.digest for one in block]): block for block in _blocks(requests)}
        )

    def answers(self) -> list[dict[str, Any]]:
        """The answer to each request, in their order. Raises what `Shards.read` raises."""
        found = {one["request"]: one for one in self.records()}
        return [found[request.digest] for request in self.requests]

    def _made(self, part: Part, block: list[BenchmarkRequest]) -> Iterator[dict[str, Any]]:
        if block[0].samples:
            answers = sampled_replies(self.policy, self.prompts, block, seed=self.seed)
        else:
            assert isinstance(self.policy.sampler, GenerateSampler)
            answers = scores(self.policy.sampler.model, block)
        for request, answer in zip(block, answers, strict=True):
            yield {"request": request.digest, **answer}


def scores(model: PreTrainedModel, requests: Sequence[BenchmarkRequest]) -> list[dict[str, Any]]:
    """Of each request the log-probability of its answer, and whether that is the most probable one, token by token.

    Raises:
        OutOfMemoryError: memory does not hold a single request.
    """
    same: dict[tuple[int, ...], list[int]] = {}
    for at, one in enumerate(requests):
        same.setdefault((*one.ids, *one.answer[:-1]), []).append(at)
    waiting = sorted(same, key=lambda ids: (len(ids), ids))
    found: dict[int, dict[str, Any]] = {}
    most = _TOKENS
    while waiting:
        rows = max(1, most // len(waiting[-1]))
        some = waiting[-rows:]
        longest = max(len(requests[at].answer) for ids in some for at in same[ids])
        with busy("reading answers"):
            last = within_memory(_last_logits, model, some, longest)
        if last is None:
            if len(some) == 1:
                raise one_row_too_many(len(some[0]))
            most = most // 2
            free_memory()
            continue
        for row, ids in zip(last, some, strict=True):
            for at in same[ids]:
                found[at] = _score(row, len(ids), requests[at])
        del waiting[-len(some) :]
    return [found[at] for at in range(len(requests))]


def _last_logits(model: PreTrainedModel, rows: Sequence[tuple[int, ...]], number: int) -> list[torch.Tensor]:
    """Of each row the logits at its last `number` positions, (number, vocabulary) each."""
    width = max(map(len, rows))
    first = max(0, min(map(len, rows)) - number)
    ids = torch.tensor([[*row, *([0] * (width - len(row)))] for row in rows], device=model.device)
    mask = torch.tensor([[1] * len(row) + [0] * (width - len(row)) for row in rows], device=model.device)
    kept = torch.arange(first, width, device=model.device)
    with sampling_mode(model):
        logits = model(input_ids=ids, attention_mask=mask, use_cache=False, logits_to_keep=kept).logits
    return [logits[at, max(0, len(row) - number - first) : len(row) - first] for at, row in enumerate(rows)]


def _score(last: torch.Tensor, length: int, request: BenchmarkRequest) -> dict[str, Any]:
    """`last`: the logits at the last positions of a row of this length."""
    logits = last[-len(request.answer) :]
    answer = torch.tensor(request.answer, device=logits.device)
    logprob = float(token_logprobs(logits, answer).double().sum())
    return {"logprob": logprob, "greedy": bool((logits.argmax(-1) == answer).all())}


def joined(answers: Sequence[Mapping[str, Any]]) -> tuple[float, bool]:
    """(log-probability, whether it is the most probable one) of what was asked about in several requests."""
    return sum(float(one["logprob"]) for one in answers), all(bool(one["greedy"]) for one in answers)


def sampled_replies(
    policy: Policy, prompts: Prompting, requests: Sequence[BenchmarkRequest], *, seed: int
) -> list[dict[str, Any]]:
    """What the policy says, up to the first of the texts that end a reply.

    Raises:
        OutOfMemoryError: memory does not hold a single completion.
    """
    found: dict[int, dict[str, Any]] = {}
    alike: dict[tuple[Any, ...], list[int]] = {}
    for at, one in enumerate(requests):
        alike.setdefault((one.until, one.max_new_tokens, one.temperature, one.top_p), []).append(at)
    for (until, most, temperature, top_p), some in alike.items():
        how = How(most, frozenset(policy.chat.stop_ids), temperature, top_p)
        asked = [requests[at] for at in some]
        seeds = [seed_of(seed, one.digest, one.number) for one in asked]
        over = {"over": _ends(policy, until)} if until and isinstance(policy.sampler, GenerateSampler) else {}
        sampled = policy.sampler.sample([list(one.ids) for one in asked], seeds, how, **over)
        for at, one, said in zip(some, asked, sampled, strict=True):
            text = prompts.reply(one.text, said.tokens)
            cut = min((place for end in until if (place := text.find(end)) >= 0), default=len(text))
            found[at] = {
                "text": text[:cut],
                "tokens": len(said.tokens),
                "ended": said.ended or cut < len(text),
            }
    return [found[at] for at in range(len(requests))]


def _ends(policy: Policy, until: Sequence[str]) -> Callable[[Sequence[int]], bool]:
    """Whether one of the texts is among the tokens so far. Only their end is looked at, from step to step."""
    decode = policy.chat.tokenizer.decode
    looked_at = 2 * max(map(len, until)) + 8

    def over(tokens: Sequence[int]) -> bool:
        text = str(decode(list(tokens[-looked_at:]), skip_special_tokens=True))
        return any(end in text for end in until)

    return over


def _blocks(requests: Sequence[BenchmarkRequest]) -> Iterator[list[BenchmarkRequest]]:
    """Different requests of one kind and about the same length together."""
    different = {one.digest: one for one in requests}
    for kind, size in ((False, _SCORED), (True, _SAMPLED)):
        some = [one for one in different.values() if one.samples is kind]
        some.sort(key=lambda one: (len(one.ids), one.ids, one.digest))
        for start in range(0, len(some), size):
            yield some[start : start + size]
