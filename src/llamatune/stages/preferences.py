"""Preferences (paper section 3.2.1): two replies to each prompt, and which of them is better.

"To maximize the diversity, the two responses to a given prompt are sampled from two different model variants, and
varying the temperature". They are compared blind and in random order, by how much one is better (four grades) and by
which are safe; a chosen reply that is unsafe where the other is safe is left out, and so is whatever nobody prefers. A
share of the prompts is held out. Who compares (people, in the paper) is the recipe's choice; what else the paper leaves
open is in docs/preferences.md.

Nothing is trained here: `preferences.jsonl` is for stage reward, with `split: test` for what is held out.

    llamatune run recipes/pico/preferences.yaml
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cache
from typing import Any

from llamatune.data.encode.chat import ChatFormat
from llamatune.errors import DataError
from llamatune.judging.pairs.comparing import Comparison, Judged, compared, comparison_figures, judged
from llamatune.judging.pairs.who import pair_judge
from llamatune.models.load import Start
from llamatune.recipe.stages.preferences import PreferencesRecipe
from llamatune.runs.display import Display
from llamatune.runs.handover import (
    PREFERENCES,
    PREFERENCES_TEST,
    Result,
    preference_row,
    write_rows,
)
from llamatune.runs.run import Run
from llamatune.sampling.dialogues import dialogues_of, talk
from llamatune.sampling.opening import Asking, find_answering, open_asking
from llamatune.sampling.policy import load_policy
from llamatune.sampling.prompts import PromptRow, messages_of
from llamatune.sampling.sampler import seed_of
from llamatune.sampling.samples import Sample, prompts_of
from llamatune.wording import counted


def run(recipe: PreferencesRecipe, run: Run) -> Result:
    """Sample two replies to each prompt and compare them; leaves preferences."""
    started = time.monotonic()
    with Display("preferences", quiet=not run.is_main) as display:
        display.say_all(run.notices)
        second = find_answering(recipe.second)  # what is wrong with it is said before anything is loaded
        asking = open_asking(recipe, run, display)
        variants = (asking, _other_variant(recipe, asking, second, display))
        judge = pair_judge(recipe, run, asking.crew)
        every: list[Judged] = []
        no_room: list[int] = []

        def sampled(prompts: Sequence[PromptRow], variant: Asking, what: str) -> dict[str, Sample]:
            return variant.reply(prompts, temperature=variant.recipe.sampling.temperature, what=what)

        def chosen(asked: Sequence[PromptRow], turn: int) -> dict[str, Sample]:
            which = f", turn {turn + 1}" if recipe.every_turn else ""
            read = _read_by(variants[1], asked)
            prompts = [one for one in asked if one["prompt_id"] in read]
            no_room.append(len(asked) - len(prompts))
            first = sampled(prompts, variants[0], f"first replies{which}")
            second = sampled(list(read.values()), variants[1], f"second replies{which}")
            pairs = [
                compared(one, (first[one["prompt_id"]], second[one["prompt_id"]]), recipe.seed)
                for one in prompts
            ]
            found = judged(pairs, judge)
            every.extend(found)
            return {one.comparison.prompt["prompt_id"]: one.chosen for one in found if one.chosen}

        if recipe.every_turn:
            dialogues = dialogues_of(list(asking.data.train), None)
            talk(dialogues, asking.chat, chosen, wording=lambda *said: said[2], room=recipe.data.max_length)
        else:
            chosen(prompts_of(asking.data.train), 0)

        preferred = [one for one in every if one.chosen is not None]
        held_out = [one for one in preferred if _is_held_out(one.comparison, recipe.test_share)]
        figures = comparison_figures(every, len(held_out), sum(no_room))
        if not preferred:
            raise _no_preference(figures["outcomes"])
        for line in _remarks(figures):
            display.say(line)
            run.event("warning", line)
        if run.is_main:
            run.write_json("evaluation.json", figures)
            names = {id(one) for one in held_out}
            train = [one for one in preferred if id(one) not in names]
            write_rows(run.directory / PREFERENCES, _rows(train, recipe.judge))
            write_rows(run.directory / PREFERENCES_TEST, _rows(held_out, recipe.judge))

    return run.finish(
        Result(
            stage="preferences",
            artefact=PREFERENCES,
            base=asking.start.base.name,
            steps=asking.crew.parts,
            seconds=round(time.monotonic() - started, 1),
            figures={name: float(figures[name]) for name in ("comparisons", "preferences", "test")},
        ),
        leaves=(PREFERENCES_TEST,),
    )


def _other_variant(recipe: PreferencesRecipe, first: Asking, start: Start, display: Display) -> Asking:
    """Who gives the second reply, with random numbers of its own."""
    other, chat = recipe.second, ChatFormat(start.tokenizer, recipe.chat)
    load = first.load  # the same model is loaded once
    if other.model != recipe.model:
        load = cache(lambda: load_policy(other, start, chat, display.say))
    return replace(first, recipe=other, start=start, chat=chat, load=load, seed=seed_of(recipe.seed, "other"))


def _read_by(variant: Asking, prompts: Sequence[PromptRow]) -> dict[str, PromptRow]:
    """The prompts in its tokens, by their ids, as far as it has room for them: other tokens may be more."""
    rows = [{**one, "input_ids": variant.chat.prompt_ids(messages_of(one["prompt"]))} for one in prompts]
    room = variant.room
    return {row["prompt_id"]: row for row in rows if room is None or len(row["input_ids"]) <= room}


# ---- the rows ---------------------------------------------------------------------------------------------------


def _is_held_out(one: Comparison, share: float) -> bool:
    """By the first question alone, so that a chat is on one side, and a prompt is in every batch."""
    first = next(message["content"] for message in one.prompt["prompt"] if message["role"] == "user")
    digest = hashlib.sha256(f"held out\n{first}".encode("utf-8", "replace")).digest()
    return int.from_bytes(digest[:4], "big") / 2**32 < share


def _rows(preferred: Iterable[Judged], judge: str) -> Iterator[dict[str, Any]]:
    for one in preferred:
        comparison, opinion = one.comparison, one.opinion
        assert opinion is not None and opinion.better is not None
        replies = (comparison.first, comparison.second)
        better, other = opinion.better, 1 - opinion.better
        labels: dict[str, Any] = {} if opinion.rating is None else {"rating": opinion.rating}
        if opinion.safe[better] is not None and opinion.safe[other] is not None:
            labels |= {"chosen_safe": opinion.safe[better], "rejected_safe": opinion.safe[other]}
        made_by = {
            "stage": "preferences",
            "judge": judge,
            "comparison": comparison.id,
            "chosen": _made_by(replies[better], comparison.by[better]),
            "rejected": _made_by(replies[other], comparison.by[other]),
            "chosen_was": ("first", "second")[better],
            "prompt_id": comparison.prompt["prompt_id"],
            "source": comparison.prompt["source"],
            "is_safety": comparison.prompt["is_safety"],
        }
        yield preference_row(
            comparison.prompt["prompt"], replies[better].text, replies[other].text, made_by, **labels
        )


def _made_by(sample: Sample, variant: str) -> dict[str, Any]:
    return {
        "stage": "preferences",
        "variant": variant,
        "policy": sample.policy,
        "temperature": sample.temperature,
        "seed": sample.seed,
    }


_MOST_LOST = 0.5


def _remarks(figures: Mapping[str, Any]) -> Iterator[str]:
    every, outcomes = figures["comparisons"], figures["outcomes"]
    lost = every - figures["preferences"]
    if lost > _MOST_LOST * every:
        counts = "; ".join(f"{name}: {count:,}" for name, count in outcomes.items())
        yield f"{counted(lost, 'comparison')} of {every:,} left out ({counts})"
    if (
        figures["first_preferred"] is not None
        and every >= 50
        and not 0.35 < figures["first_preferred"] < 0.65
    ):
        yield f"the judge prefers the reply that it sees first in {figures['first_preferred']:.0%} of the comparisons"


def _no_preference(outcomes: Mapping[str, int]) -> DataError:
    counts = "; ".join(f"{name}: {count:,}" for name, count in outcomes.items())
    return DataError(
        "E148",
        f"no comparison gave a preference ({counts or 'nothing was compared'})",
        place="judge",
        why="no row would be left to train on; samples and answers are kept",
        hint="other variants or temperatures, a longer `sampling.max_new_tokens`, or another judge, as the counts say",
    )
