"""Context distillation (paper section 4.2.4): preprompts, and which answer to each prompt is learnt.

Pure: of prompts, samples with their scores, settings and a seed.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from llamatune.data.mix import evenly
from llamatune.recipe.stages.context_distillation import ADJECTIVES_EACH, Distillation
from llamatune.sampling.prompts import PromptRow
from llamatune.sampling.sampler import seed_of
from llamatune.sampling.samples import Sample
from llamatune.world.safety import SAFETY_PREPROMPTS

ORIGINAL, PREPROMPT, TEMPLATE = "original", "preprompt", "template"
"""Where an answer is from: the prompt as it is, after a preprompt, after a preprompt and the template of its risk
category."""

NO_ANSWER = "no whole answer"
NOT_PASSED = "no whole answer passes the gate"
"""Why nothing is learnt from a prompt."""
_EXAMPLES = 6


def contexts(prompt: PromptRow, settings: Distillation, seed: int) -> dict[str, str]:
    """What is put before a prompt, by where an answer is from; the same whatever prompts there are besides."""
    draw = random.Random(seed_of(seed, "preprompt", prompt["prompt_id"]))
    if settings.preprompts == "adjectives":
        # Not `str.format`: a wording may have other braces.
        places = settings.wording.split("{}")
        adjectives = [*draw.sample(settings.adjectives, ADJECTIVES_EACH), ""]
        preprompt = "".join(map("".join, zip(places, adjectives, strict=True)))
    else:
        world = settings.preprompts == "world"
        preprompt = draw.choice(SAFETY_PREPROMPTS if world else settings.preprompts)
    template = settings.templates.get(prompt["category"])
    return {PREPROMPT: preprompt, **({TEMPLATE: f"{preprompt} {template}"} if template else {})}


def unused_templates(prompts: Sequence[PromptRow], settings: Distillation) -> str | None:
    """What to say of templates for categories that no prompt is of; None where each is for some."""
    there = sorted({prompt["category"] for prompt in prompts if prompt["category"]})
    unused = sorted(set(settings.templates) - set(there))
    if not unused:
        return None
    found = f"the categories are {', '.join(map(repr, there))}" if there else "none has a category"
    return (
        f"`distillation.templates` for {', '.join(map(repr, unused))}: no prompt is of this category; {found}"
    )


def in_context(prompt: Sequence[Mapping[str, str]], context: str) -> list[dict[str, str]]:
    """The messages with a context before the last one."""
    *before, last = ({"role": one["role"], "content": one["content"]} for one in prompt)
    return [*before, {**last, "content": f"{context} {last['content']}"}]


@dataclass(frozen=True)
class ScoredAnswer:
    """An answer to a prompt, and how safe it is. `origin`: original, preprompt or template."""

    origin: str
    context: str
    sample: Sample
    score: float

    @property
    def is_whole(self) -> bool:
        """Whether it can be learnt."""
        return self.sample.ended and bool(self.sample.text.strip())


@dataclass(frozen=True)
class Distilled:
    """A prompt with its answers, the original first. `chosen`: the one that is learnt, None if none is whole."""

    prompt: PromptRow
    answers: list[ScoredAnswer]
    chosen: ScoredAnswer | None

    @property
    def origin(self) -> str:
        """Where the answer that is learnt is from, or why none is: the original one is empty or cut off, and so are
        the others, or they are no better."""
        if self.chosen is not None:
            return self.chosen.origin
        return NOT_PASSED if any(one.is_whole for one in self.answers) else NO_ANSWER


def distil(prompt: PromptRow, answers: Sequence[ScoredAnswer], *, gate: bool) -> Distilled:
    """The best answer that was made under a context, if it is scored above the original; otherwise the original. Of
    equal scores, the original. An answer that is empty or was cut off is never learnt."""
    original = answers[0]
    made = [one for one in answers[1:] if one.is_whole]
    best = max(made, key=lambda one: one.score, default=None)
    if best is not None and (not gate or best.score > original.score):
        return Distilled(prompt, list(answers), best)
    return Distilled(prompt, list(answers), original if original.is_whole else None)


def distillation_figures(found: Sequence[Distilled]) -> dict[str, Any]:
    """evaluation.json: by risk category (figure 16), the share of prompts that get another answer, and mean scores: of
    original answers, of those made under each kind of context, and of those that are learnt."""
    categories = sorted({one.prompt["category"] for one in found})
    parts = {name: [one for one in found if one.prompt["category"] == name] for name in categories}
    return {
        "all": _of(found),
        "categories": {name or "none given": _of(some) for name, some in parts.items()},
        "origins": dict(Counter(one.origin for one in found)),
        "without_context": sum(len(one.answers) == 1 for one in found),
        "all_equal": sum(len({answer.score for answer in one.answers}) == 1 for one in found),
        "examples": [_example(one) for one in evenly([one for one in found if one.chosen], _EXAMPLES)],
    }


def _of(some: Sequence[Distilled]) -> dict[str, Any]:
    learnt = [one.chosen for one in some if one.chosen is not None]
    distilled = [one for one in learnt if one.origin != ORIGINAL]
    means = {
        origin: _mean([answer.score for one in some for answer in one.answers if answer.origin == origin])
        for origin in (ORIGINAL, PREPROMPT, TEMPLATE)
    }
    return {
        "prompts": len(some),
        "kept": len(distilled) / len(some),
        **means,
        "learnt": _mean([one.score for one in learnt]),
    }


def _mean(values: Sequence[float]) -> float | None:
    return fmean(values) if values else None


def _example(one: Distilled) -> dict[str, Any]:
    assert one.chosen is not None
    return {
        "prompt": one.prompt["prompt"][-1]["content"],
        "learnt": one.chosen.origin,
        "answers": [
            {
                "origin": answer.origin,
                "context": answer.context,
                "text": answer.sample.text,
                "score": answer.score,
            }
            for answer in one.answers
        ],
    }
