"""K samples of each prompt, sampled once and kept: what every stage that makes data begins with.

    policy = load_policy(recipe, start, chat, display.say)      # who answers (`sampling.policy`)
    asked = prompts_of(data.train)                              # what is asked, each prompt once
    samples = Samples(run.directory / SAMPLES, policy, asked, k, how, seed=recipe.seed)
    crew.make(samples, "sampling")                              # each process makes its share (`sampling.crew`)
    for prompt, its_samples in samples.groups():                # every process reads all of them
        ...

Sampling is the costly part. Each sample is a record in a shard (`runs.shards`), written exactly once whatever is
killed; scoring and selecting (`judging.sample_scores`, `judging.selection`) only read them, and may be repeated. The
folder of the shards is named by all that decides what the samples are, except for their prompts and numbers: another
policy, template, temperature or seed never mixes with these, and a larger K, or more prompts, come on top: whatever
parts they are in, a sample that is there is not made again.

A sample's random numbers are its own (`sampler.seed_of` the seed, the prompt's id and the sample's number), so it does
not matter which process makes it, or when.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from llamatune.data.mix import evenly
from llamatune.errors import RecipeError, gate
from llamatune.outside import checked_number
from llamatune.runs.handover import ALL_SAMPLES, ASKED, take
from llamatune.runs.shards import InParts, Part
from llamatune.sampling.prompts import PromptRow
from llamatune.sampling.sampler import How, seed_of

if TYPE_CHECKING:
    from datasets import Dataset

    from llamatune.sampling.policy import Policy

SAMPLES = "samples"
"""The folder of a run that holds its samples, of all policies and temperatures that it ever had."""

_VERSION = 1
"""Part of the key: raise it when the same prompt and seed would give another record."""
TOGETHER = 8


@dataclass(frozen=True, slots=True)
class Sample:
    """A completion of a prompt, and all that it came from.

    `sample`: its number among the samples of its prompt, from 0. `policy`, `template`: digests. `tokens`: up to and
    including the one that ends it. `finish_reason`: `stop`, or `length` if it was cut off.
    """

    prompt_id: str
    sample: int
    seed: int
    temperature: float
    policy: str
    template: str
    tokens: list[int]
    finish_reason: Literal["stop", "length"]
    text: str

    @property
    def ended(self) -> bool:
        """Whether it was not cut off."""
        return self.finish_reason == "stop"

    def to_json(self) -> dict[str, Any]:
        """Its record."""
        return asdict(self)


def given_reply(prompt: str, number: int, text: str) -> Sample:
    """A whole reply that somebody else wrote, in the shape of a sample."""
    return Sample(prompt, number, 0, 0.0, "given", "", [], "stop", text)


Group = tuple[PromptRow, list[Sample]]
"""A prompt and its samples, by their numbers."""


def prompt_id(messages: Sequence[Mapping[str, str]]) -> str:
    """What identifies a prompt wherever it comes from: the SHA-256 of its messages, {role, content} each."""
    content = [[message["role"], message["content"]] for message in messages]
    return hashlib.sha256(json.dumps(content, ensure_ascii=False).encode("utf-8", "replace")).hexdigest()


def prompts_of(dataset: Dataset) -> list[PromptRow]:
    """The rows of a prepared data set (see `data.prepare`) with a `prompt_id`, each prompt once, in order."""
    found: dict[str, PromptRow] = {}
    for row in dataset:
        name = prompt_id(row["prompt"])
        kept = ("prompt", "input_ids", "is_safety", "category", "attack", "reference", "source", "place")
        found.setdefault(name, {"prompt_id": name, **{key: row[key] for key in kept}})
    return list(found.values())


def samples_drawn(
    policy: Policy, wanted: Sequence[tuple[PromptRow, int]], how: How, seed: int
) -> list[Sample]:
    """Sample, in the order given: of each prompt the sample with that number.

    Raises:
        OutOfMemoryError: memory does not hold a single completion.
    """
    seeds = [seed_of(seed, prompt["prompt_id"], number) for prompt, number in wanted]
    completions = policy.sampler.sample([list(prompt["input_ids"]) for prompt, _ in wanted], seeds, how)
    return [
        Sample(
            prompt_id=prompt["prompt_id"],
            sample=number,
            seed=own_seed,
            temperature=how.temperature,
            policy=policy.digest,
            template=policy.chat.fingerprint,
            tokens=one.tokens,
            finish_reason="stop" if one.ended else "length",
            text=policy.chat.reply_text(one.tokens),
        )
        for (prompt, number), own_seed, one in zip(wanted, seeds, completions, strict=True)
    ]


class Samples(InParts[tuple[list[PromptRow], int]]):
    """The first `k` samples of each prompt at one temperature.

    Args:
        folder: holds the samples of all policies and temperatures.
        prompts: with `prompt_id`, `prompt` (messages) and `input_ids`; no two of one id.
        seed: decides, with a prompt's id and a sample's number, what is sampled.
        at_once: samples of a part, which is sampled and written as a whole.
        together: most samples of a prompt in a part, which share the work on the prompt. A stage for which `k` is
            always 1 says 1: a part is then as many prompts.
    """

    def __init__(
        self,
        folder: Path,
        policy: Policy,
        prompts: Sequence[PromptRow],
        k: int,
        how: How,
        *,
        seed: int,
        at_once: int = 128,
        together: int = TOGETHER,
    ) -> None:
        self.policy = policy
        self.prompts = list(prompts)
        self.k = k
        self.how = how
        self.seed = seed
        self.key: dict[str, Any] = {
            "version": _VERSION,
            "policy": policy.digest,
            "template": policy.chat.fingerprint,
            "temperature": how.temperature,
            "top_p": how.top_p,
            "max_new_tokens": how.max_new_tokens,
            "seed": seed,
        }
        together = min(together, at_once)
        work = {
            _part(block, first, min(together, k - first)): (block, first)
            for block in _blocks(self.prompts, at_once // together)
            for first in range(0, k, together)
        }
        super().__init__(folder, self.key, work)

    def groups(self) -> list[Group]:
        """Every prompt with its samples, in the order of the prompts. Raises what `Shards.read` raises."""
        found: dict[str, list[Sample]] = {prompt["prompt_id"]: [] for prompt in self.prompts}
        for record in self.records():
            found[record["prompt_id"]].append(Sample(**record))
        return [(prompt, found[prompt["prompt_id"]]) for prompt in self.prompts]

    def _made(self, part: Part, block: tuple[list[PromptRow], int]) -> Iterator[dict[str, Any]]:
        """What a smaller K or other prompts left, and the rest."""
        prompts, first = block
        there = self._made_before(prompts)
        numbers = range(first, first + part.records // len(prompts))
        every = [(prompt, number) for prompt in prompts for number in numbers]
        wanted = [(prompt, number) for prompt, number in every if (prompt["prompt_id"], number) not in there]
        for one in samples_drawn(self.policy, wanted, self.how, self.seed):
            there[one.prompt_id, one.sample] = one.to_json()
        for prompt, number in every:
            yield there[prompt["prompt_id"], number]

    def _made_before(self, prompts: Sequence[PromptRow]) -> dict[tuple[str, int], dict[str, Any]]:
        """The samples of prompts that are in parts of an earlier work, by prompt and number."""
        found: dict[tuple[str, int], dict[str, Any]] = {}
        parts = {part for prompt in prompts for part in self._earlier.get(prompt["prompt_id"], ())}
        for part in sorted(parts, key=lambda part: part.name):
            for record in self._shards.find(part) or ():
                found.setdefault((record["prompt_id"], record["sample"]), record)
        return found

    @cached_property
    def _earlier(self) -> dict[str, set[Part]]:
        """The parts of an earlier work by the prompts that are in them. Adding a prompt moves those after it to another
        part, since they are in order of their length."""
        found: dict[str, set[Part]] = {}
        for part, records in self._shards.of_other_parts(self.parts):
            for record in records:
                found.setdefault(record["prompt_id"], set()).add(part)
        return found


def samples_of(run: str) -> list[Group]:
    """What an earlier run sampled, prompt by prompt; not what it took over from runs before it.

    Raises:
        RecipeError: E038, E039, a run that is missing, has not finished or leaves no samples.
    """
    with gate(RecipeError, "E039", f"what the run `{run}` sampled cannot be read", place=run):
        prompts = {row["prompt_id"]: _checked_prompt(row) for row in _rows(take(run, ASKED))}
        found: dict[str, list[Sample]] = {}
        for row in _rows(take(run, ALL_SAMPLES)):
            if row["run"] is None:
                one = _checked(Sample(**{field.name: row[field.name] for field in fields(Sample)}))
                found.setdefault(one.prompt_id, []).append(one)
        return [(prompts[name], sorted(group, key=lambda one: one.sample)) for name, group in found.items()]


def _checked_prompt(row: PromptRow) -> PromptRow:
    """A prompt that was read from a file, as it is. Raises what Python raises where it is none."""
    texts = [row["prompt_id"], *(part for one in row["prompt"] for part in (one["role"], one["content"]))]
    _check_types(texts, [])
    if not isinstance(row["is_safety"], bool):
        raise TypeError("a prompt of another type")
    return row


def _checked(sample: Sample) -> Sample:
    """Likewise of a sample."""
    checked_number(sample.temperature)
    texts = [sample.prompt_id, sample.policy, sample.template, sample.finish_reason, sample.text]
    _check_types(texts, [sample.sample, sample.seed, *sample.tokens])
    return sample


def _check_types(texts: Sequence[object], numbers: Sequence[object]) -> None:
    if not all(isinstance(one, str) for one in texts) or not all(type(one) is int for one in numbers):
        raise TypeError("a record of another type")


def _rows(path: Path) -> Iterator[dict[str, Any]]:
    with path.open(encoding="utf-8") as lines:
        for line in lines:
            yield json.loads(line)


def some_blocks(prompts: Sequence[PromptRow], least: int, *, at_once: int) -> list[PromptRow]:
    """At least so many of the prompts, short and long ones, whose samples are among those of all prompts, so that
    nothing is sampled twice."""
    every = _blocks(prompts, at_once // min(TOGETHER, at_once))
    chosen = evenly(every, -(-least // len(every[0])))
    return [prompt for block in chosen for prompt in block]


def _blocks(prompts: Sequence[PromptRow], size: int) -> list[list[PromptRow]]:
    """Prompts of about the same length together, so that little is padded."""
    ordered = sorted(prompts, key=lambda prompt: (len(prompt["input_ids"]), prompt["prompt_id"]))
    return [ordered[start : start + size] for start in range(0, len(ordered), size)]


def _part(block: Sequence[PromptRow], first: int, count: int) -> Part:
    """A part's name says which prompts and which samples: `SHA-256 of the ids, first sample, number of samples`."""
    ids = "\n".join(prompt["prompt_id"] for prompt in block)
    name = f"{hashlib.sha256(ids.encode()).hexdigest()[:16]}-{first:04d}x{count}"
    return Part(name, count * len(block))
