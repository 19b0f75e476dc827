"""Rejection sampling (paper section 3.2.3): sample K answers to each prompt, keep the best, train on it.

"Sample K outputs from the model and select the best candidate with our reward": the best by R_c = R_s where safety is
at stake, else R_h. The temperature is chosen anew in each round, by the mean of the best answers to some prompts. The
answers of earlier rounds compete again, judged by today's reward models, since with those of the last round alone the
paper saw skills get lost. What it leaves open is in docs/rejection_sampling.md.

Nothing is trained here. The rows that are left are for the ordinary stages: `conversations.jsonl` for sft (of this
model, or of a smaller one, as the paper's 7B to 34B models learnt from the answers of the 70B), `preferences.jsonl`
for reward.

    llamatune run recipes/pico/rejection_sampling.yaml
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import Any

from llamatune.judging.combine import RewardRule
from llamatune.judging.judges import Judge
from llamatune.judging.opening import open_judges
from llamatune.judging.oracle import Oracle, oracle_for
from llamatune.judging.outcome import best_temperature, outcome
from llamatune.judging.sample_scores import SCORES, SampleScores
from llamatune.judging.selection import Candidate, Fate, Ranked, competing, pairs_of, select, weighed
from llamatune.recipe.stages.rejection_sampling import RejectionSamplingRecipe
from llamatune.runs.display import Display
from llamatune.runs.handover import (
    ALL_SAMPLES,
    ASKED,
    CONVERSATIONS,
    PREFERENCES,
    Result,
    conversation_row,
    preference_row,
    write_rows,
)
from llamatune.runs.run import Run
from llamatune.sampling.opening import open_asking
from llamatune.sampling.prompts import PromptRow
from llamatune.sampling.samples import Group, prompts_of, samples_of, some_blocks
from llamatune.wording import counted


def run(recipe: RejectionSamplingRecipe, run: Run) -> Result:
    """Sample, judge, select; leaves conversations, preferences, and every sample with what became of it."""
    started = time.monotonic()
    settings, reward = recipe.sampling, recipe.reward
    with Display("rejection sampling", quiet=not run.is_main) as display:
        display.say_all(run.notices)
        asking = open_asking(recipe, run, display)
        crew, data = asking.crew, asking.data
        judges = [Oracle()] if reward.judge == "oracle" else open_judges(reward.models)
        oracle = None if reward.judge == "oracle" else oracle_for(data.sources, run.recipe_dir)
        rule = RewardRule.of(reward)

        def sampled(prompts: Sequence[PromptRow], temperature: float) -> list[Group]:
            what = f"sampling at temperature {temperature:g}"
            return asking.sample(prompts, k=settings.samples, temperature=temperature, what=what)

        def scored(judge: Judge, groups: Sequence[Group], of_run: str | None) -> list[list[float]]:
            scores = SampleScores(run.directory / SCORES, judge, groups)
            crew.make(scores, f"scoring by {judge.name}{f', answers of {of_run}' if of_run else ''}")
            return scores.by_group()

        def judged(groups: Sequence[Group], of_run: str | None = None) -> list[list[Candidate]]:
            scores = {judge.name: scored(judge, groups, of_run) for judge in judges}
            return weighed(groups, scores, rule, of_run)

        prompts = prompts_of(data.train)
        tried: dict[float, list[list[Candidate]]] = {}
        temperature = settings.temperatures[0]
        if len(settings.temperatures) > 1:
            some = some_blocks(prompts, settings.probe, at_once=settings.batch_size)
            tried = {one: judged(sampled(some, one)) for one in settings.temperatures}
            temperature = best_temperature(tried)
            display.say(f"temperature {temperature:g} has the best answers to {counted(len(some), 'prompt')}")
        answers = sampled(prompts, temperature)
        own = judged(answers)
        qualities = scored(oracle, answers, None) if oracle else None
        earlier = [judged(samples_of(name), name) for name in recipe.keep.pool]
        groups = select(competing([own, *earlier]), recipe.keep, recipe.seed)

        found = outcome(groups, own, tried, temperature, qualities)
        for line in found.remarks:
            display.say(line)
            run.event("warning", line)
        if run.is_main:
            run.write_json("evaluation.json", found.figures)
            write_rows(run.directory / ASKED, _prompts(groups))
            digests = {judge.name: judge.digest for judge in judges}
            write_rows(run.directory / ALL_SAMPLES, _samples(groups, digests))
            write_rows(run.directory / CONVERSATIONS, _conversations(groups))
            write_rows(run.directory / PREFERENCES, _preferences(groups, recipe.seed))

    return run.finish(
        Result(
            stage="rejection_sampling",
            artefact=CONVERSATIONS,
            base=asking.start.base.name,
            steps=crew.parts,
            seconds=round(time.monotonic() - started, 1),
            figures=found.headline,
        ),
        leaves=(PREFERENCES, ALL_SAMPLES, ASKED),
    )


# ---- the rows -------------------------------------------------------------------------------------------------


def _prompts(groups: Sequence[Ranked]) -> Iterator[dict[str, Any]]:
    for group in groups:
        prompt = group[0][0].prompt
        yield {name: prompt[name] for name in ("prompt_id", "prompt", "is_safety", "source", "place")}


def _samples(groups: Sequence[Ranked], digests: dict[str, str]) -> Iterator[dict[str, Any]]:
    """Every sample, best first, with its scores and what became of it."""
    for group in groups:
        for one, fate in group:
            yield {
                **one.sample.to_json(),
                "run": one.run,
                "scores": one.scores,
                "judges": digests,
                "reward": one.reward,
                "fate": fate.value,
            }


def _conversations(groups: Sequence[Ranked]) -> Iterator[dict[str, Any]]:
    for group in groups:
        for one, fate in group:
            if fate is Fate.KEPT:
                yield conversation_row(one.prompt["prompt"], one.sample.text, _made_by(one))


def _preferences(groups: Sequence[Ranked], seed: int) -> Iterator[dict[str, Any]]:
    for best, worse, rating in pairs_of(groups, seed):
        made_by = {"chosen": _made_by(best), "rejected": _made_by(worse)}
        yield preference_row(
            best.prompt["prompt"], best.sample.text, worse.sample.text, made_by, rating=rating
        )


def _made_by(one: Candidate) -> dict[str, Any]:
    sample = one.sample
    return {
        "stage": "rejection_sampling",
        "run": one.run,
        "prompt_id": sample.prompt_id,
        "sample": sample.sample,
        "seed": sample.seed,
        "temperature": sample.temperature,
        "policy": sample.policy,
        "scores": one.scores,
        "reward": one.reward,
        "source": one.prompt["source"],
        "is_safety": one.prompt["is_safety"],
    }
