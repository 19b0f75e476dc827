"""Safety context distillation (paper section 4.2.4): learn without a preprompt to answer as with it.

Each adversarial prompt is answered as it is, after a preprompt ("You are a responsible and wise assistant ...") and, if
its risk category has an answer template, after both. The safety reward model is the gate: "we keep the
context-distilled output only on the examples where it gets a better reward model score than the original answer". What
is learnt is prompt -> answer, without the preprompt. What the paper leaves open is in docs/context_distillation.md.

Nothing is trained here: `conversations.jsonl` is for the ordinary stage sft.

    llamatune run recipes/pico/context_distillation.yaml
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from llamatune.errors import DataError
from llamatune.judging.distillation import (
    NO_ANSWER,
    NOT_PASSED,
    ORIGINAL,
    Distilled,
    ScoredAnswer,
    contexts,
    distil,
    distillation_figures,
    in_context,
    unused_templates,
)
from llamatune.judging.opening import open_judges
from llamatune.judging.oracle import Oracle
from llamatune.judging.sample_scores import SCORES, SampleScores
from llamatune.recipe.stages.context_distillation import ContextDistillationRecipe
from llamatune.runs.display import Display
from llamatune.runs.handover import CONVERSATIONS, Result, conversation_row, write_rows
from llamatune.runs.run import Run
from llamatune.sampling.dialogues import prompt_row
from llamatune.sampling.opening import open_asking
from llamatune.sampling.prompts import PromptRow
from llamatune.sampling.samples import Sample, prompts_of
from llamatune.wording import counted


def run(recipe: ContextDistillationRecipe, run: Run) -> Result:
    """Sample with and without preprompts, judge, choose; leaves conversations."""
    started = time.monotonic()
    settings, distillation = recipe.sampling, recipe.distillation
    with Display("context distillation", quiet=not run.is_main) as display:
        display.say_all(run.notices)
        asking = open_asking(recipe, run, display)
        crew, room = asking.crew, asking.room
        every = prompts_of(asking.data.train)
        prompts = [one for one in every if one["is_safety"] or distillation.prompts == "all"]
        if not prompts:
            raise _no_safety_prompt(len(every))
        if len(prompts) < len(every):
            display.say(
                f"{counted(len(every) - len(prompts), 'prompt')} not tagged as safety prompts: left out"
            )

        if unused := unused_templates(prompts, distillation):
            display.say(unused)
            run.event("warning", unused)

        [judge] = [Oracle()] if recipe.reward.judge == "oracle" else open_judges(recipe.reward.models)

        def answers(asked: Sequence[PromptRow], what: str) -> dict[str, Sample]:
            return asking.reply(asked, temperature=settings.temperature, what=what)

        found = answers(prompts, "sampling without preprompts")
        asked = [
            (prompt, origin, context, prompt_row(asking.chat, in_context(prompt["prompt"], context)))
            for prompt in prompts
            for origin, context in contexts(prompt, distillation, recipe.seed).items()
        ]
        fitting = [one for one in asked if room is None or len(one[3]["input_ids"]) <= room]
        under = answers(
            list({row["prompt_id"]: row for *_, row in fitting}.values()), "sampling with preprompts"
        )

        # The judge reads the prompt as it is. The number of a sample says which answer it is.
        candidates = {prompt["prompt_id"]: [(ORIGINAL, "", found[prompt["prompt_id"]])] for prompt in prompts}
        for prompt, origin, context, row in fitting:
            name = prompt["prompt_id"]
            one = replace(under[row["prompt_id"]], prompt_id=name, sample=len(candidates[name]))
            candidates[name].append((origin, context, one))
        groups = [(prompt, [sample for *_, sample in candidates[prompt["prompt_id"]]]) for prompt in prompts]
        scores = SampleScores(run.directory / SCORES, judge, groups)
        crew.make(scores, f"scoring by {judge.name}")
        distilled = [
            distil(
                prompt,
                [
                    ScoredAnswer(*one, score)
                    for one, score in zip(candidates[prompt["prompt_id"]], given, strict=True)
                ],
                gate=distillation.gate,
            )
            for prompt, given in zip(prompts, scores.by_group(), strict=True)
        ]

        figures = distillation_figures(distilled)
        if not any(one.chosen for one in distilled):
            raise _no_answer(figures["origins"])
        for line in _remarks(figures, judge.name, gate=distillation.gate):
            display.say(line)
            run.event("warning", line)
        if run.is_main:
            run.write_json("evaluation.json", figures)
            write_rows(run.directory / CONVERSATIONS, _rows(distilled, judge.digest))

    return run.finish(
        Result(
            stage="context_distillation",
            artefact=CONVERSATIONS,
            base=asking.start.base.name,
            steps=crew.parts,
            seconds=round(time.monotonic() - started, 1),
            figures={
                "prompts": float(len(distilled)),
                "kept_share": figures["all"]["kept"],
                "score_before": figures["all"][ORIGINAL],
                "score_after": figures["all"]["learnt"],
            },
        )
    )


def _rows(distilled: Sequence[Distilled], judge: str) -> Iterator[dict[str, Any]]:
    for one in distilled:
        if one.chosen is not None:
            sample = one.chosen.sample
            made_by = {
                "stage": "context_distillation",
                "origin": one.chosen.origin,
                "context": one.chosen.context,
                "category": one.prompt["category"],
                "scores": {answer.origin: answer.score for answer in one.answers},
                "judge": judge,
                "prompt_id": sample.prompt_id,
                "seed": sample.seed,
                "temperature": sample.temperature,
                "policy": sample.policy,
                "source": one.prompt["source"],
                "is_safety": one.prompt["is_safety"],
            }
            yield conversation_row(one.prompt["prompt"], sample.text, made_by)


_WHY_NOT = {
    NO_ANSWER: "every answer was empty or cut off",
    NOT_PASSED: "the original answer was empty or cut off, and no whole one is scored above it",
}


def _remarks(figures: Mapping[str, Any], judge: str, *, gate: bool) -> Iterator[str]:
    prompts = figures["all"]["prompts"]
    if figures["all_equal"] == prompts and gate:
        yield f"judge `{judge}` gives all answers to a prompt the same score: nothing passes the gate"
    if count := figures["without_context"]:
        yield f"{counted(count, 'prompt')} of {prompts:,} too long to have a preprompt: answered as they are"
    for origin, why in _WHY_NOT.items():
        if count := figures["origins"].get(origin, 0):
            yield f"{counted(count, 'prompt')} of {prompts:,} left out: {why}"


def _no_safety_prompt(prompts: int) -> DataError:
    return DataError(
        "E132",
        f"none of {counted(prompts, 'prompt')} is tagged as a safety prompt",
        place="data.train",
        why="on helpful prompts, preprompts make answers vague and refuse what is harmless",
        hint="`data.train.0.safety=true` says that a source's prompts are adversarial; "
        "`distillation.prompts=all` distils any",
    )


def _no_answer(origins: Mapping[str, int]) -> DataError:
    counts = "; ".join(f"{_WHY_NOT[origin]}: {count:,}" for origin, count in origins.items())
    return DataError(
        "E148",
        f"no answer to {counted(sum(origins.values()), 'prompt')} can be learnt ({counts})",
        place="sampling.max_new_tokens",
        why="no row would be left to train on; the samples are kept",
        hint="raise `sampling.max_new_tokens`",
    )
