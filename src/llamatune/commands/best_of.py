"""For notebooks: sample answers to prompts, judge them, and take the best, in memory.

    from llamatune import best_of, judge, sample

    replies = sample("runs/pico-sft", ["Who are you?"], samples=4)
    scores = judge("runs/pico-reward-helpful", ["Who are you?"], replies)
    best = best_of("runs/pico-sft", ["Who are you?"], "runs/pico-reward-helpful", samples=16)

For more than fits into a cell, `stage: rejection_sampling` does the same and survives whatever happens.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from llamatune.data.encode.chat import ChatFormat
from llamatune.errors import DataError
from llamatune.judging.combine import RewardRule
from llamatune.judging.judges import Completion
from llamatune.judging.opening import RewardFunctions, open_judges
from llamatune.judging.selection import Ranked, select, weighed
from llamatune.models.open import OpenModel, open_model
from llamatune.models.quiet import quiet_upstream
from llamatune.recipe.stages.rejection_sampling import Keep
from llamatune.sampling.generate import GenerateSampler
from llamatune.sampling.policy import Policy
from llamatune.sampling.prompts import PromptRow, asked_by_user, messages_of
from llamatune.sampling.sampler import How
from llamatune.sampling.samples import Group, Sample, given_reply, prompt_id, samples_drawn

if TYPE_CHECKING:
    Prompt = str | Sequence[Mapping[str, str]]
    """A question, or messages {role, content} that end with the user's."""


@quiet_upstream()
def sample(
    model: str | OpenModel,
    prompts: Sequence[Prompt],
    *,
    samples: int = 1,
    temperature: float = 1.0,
    top_p: float = 1.0,
    max_new_tokens: int = 256,
    seed: int = 0,
    batch_size: int = 128,
) -> list[list[Sample]]:
    """Sample answers to prompts; each sample has its `text`, its `tokens`, and whether it `ended`.

    Args:
        model: a name (a run, an adapter, a folder, a hub model), or what `open_model` returned.
        samples: answers to each prompt; the first ones do not depend on how many there are.
        temperature, top_p: 0 takes the most probable token; `top_p` samples among the most probable tokens whose
            probabilities make up this much.
        max_new_tokens: longest answer, in tokens.
        seed: with a prompt and a sample's number, decides the sample.
        batch_size: answers sampled at once; halved when memory runs out.

    Returns:
        To each prompt, in their order, `samples` answers.

    Raises:
        ModelError: the model cannot be opened, or has no chat template.
        DataError: a prompt that does not end with the user's message (E145), or one that leaves no room for an answer
            of `max_new_tokens` (E130).
        OutOfMemoryError: memory does not hold a single completion.
    """
    policy, rows = _asked(model, prompts, max_new_tokens, batch_size)
    how = How(max_new_tokens, frozenset(policy.chat.stop_ids), temperature, top_p)
    wanted = [(row, number) for row in rows for number in range(samples)]
    found = samples_drawn(policy, wanted, how, seed)
    return [found[at * samples : (at + 1) * samples] for at in range(len(rows))]


@quiet_upstream()
def judge(
    judges: RewardFunctions, prompts: Sequence[Prompt], replies: Sequence[Sequence[str | Sample]]
) -> dict[str, list[list[float]]]:
    """Score replies to prompts.

    Args:
        judges: reward models by name or loaded, Python functions, or `Judge`s: one, a list, or a mapping of names.
        replies: to each prompt, texts or samples.

    Returns:
        By judge, the scores of each prompt's replies.

    Raises:
        ModelError: not a judge.
        DataError: a function that gives anything but a finite number for each reply (E146).
    """
    groups = [
        (row, [_as_sample(row, number, one) for number, one in enumerate(some)])
        for row, some in zip(_rows(prompts), replies, strict=True)
    ]
    return _judged(judges, groups)


@quiet_upstream()
def best_of(
    model: str | OpenModel,
    prompts: Sequence[Prompt],
    judges: RewardFunctions,
    *,
    samples: int = 16,
    keep: Keep | None = None,
    rule: RewardRule | None = None,
    is_safety: Sequence[bool] | None = None,
    seed: int = 0,
    **how: Any,
) -> list[Ranked]:
    """Sample answers, judge them, and rank those to each prompt, best first, each with what became of it.

    Args:
        keep: how many are kept, and from which reward on; the best one when None.
        rule: how the scores of several judges become one reward; as in a recipe when None.
        is_safety: which prompts ask for something unsafe; their answers are judged by the judge `safety`.
        seed: of the samples, and of what is drawn among equal ones.
        how: further arguments of `sample`.

    Raises:
        what `sample` and `judge` raise.
    """
    flags = [False] * len(prompts) if is_safety is None else list(is_safety)
    rows = [{**row, "is_safety": flag} for row, flag in zip(_rows(prompts), flags, strict=True)]
    groups: list[Group] = list(
        zip(rows, sample(model, prompts, samples=samples, seed=seed, **how), strict=True)
    )
    scores = _judged(judges, groups)
    rule = rule or RewardRule()
    rule.check(list(scores), "best_of")
    return select(weighed(groups, scores, rule), keep or Keep(), seed)


def _asked(
    model: str | OpenModel, prompts: Sequence[Prompt], max_new_tokens: int, batch_size: int
) -> tuple[Policy, list[PromptRow]]:
    opened = open_model(model) if isinstance(model, str) else model
    chat = ChatFormat(opened.tokenizer, opened.chat)
    sampler = GenerateSampler(opened.model, pad_id=opened.tokenizer.pad_token_id, batch_size=batch_size)
    rows: list[PromptRow] = [
        {**row, "input_ids": chat.prompt_ids(messages_of(row["prompt"]))} for row in _rows(prompts)
    ]
    longest = max((len(row["input_ids"]) for row in rows), default=0)
    context = opened.base.context
    if context is not None and longest + max_new_tokens > context:
        raise DataError(
            "E130",
            f"a prompt of {longest:,} tokens with an answer of {max_new_tokens:,} is longer than the model reads: "
            f"{context:,} tokens",
            place="prompts",
            hint="shorten it, or lower `max_new_tokens`",
        )
    return Policy(sampler, chat, opened.found.digest()), rows


def _rows(prompts: Sequence[Prompt]) -> list[PromptRow]:
    found: list[PromptRow] = []
    for number, prompt in enumerate(prompts):
        messages = asked_by_user(prompt, f"prompts[{number}]")
        found.append({"prompt_id": prompt_id(messages), "prompt": messages})
    return found


def _as_sample(row: PromptRow, number: int, reply: str | Sample) -> Sample:
    return reply if isinstance(reply, Sample) else given_reply(row["prompt_id"], number, reply)


def _judged(judges: RewardFunctions, groups: Sequence[Group]) -> dict[str, list[list[float]]]:
    flat = [(row, Completion(one.text, one.tokens, one.ended)) for row, some in groups for one in some]
    found: dict[str, list[list[float]]] = {}
    for one in open_judges(judges):
        scores = iter(one([row for row, _ in flat], [completion for _, completion in flat]).tolist())
        found[one.name] = [[next(scores) for _ in some] for _, some in groups]
    return found
