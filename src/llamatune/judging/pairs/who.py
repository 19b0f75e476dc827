"""Who compares two replies: people, reward models, a model behind an endpoint, or the world's oracle."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch

from llamatune.judging.combine import RewardRule, combine
from llamatune.judging.judges import Completion
from llamatune.judging.opening import open_judges
from llamatune.judging.oracle import Oracle
from llamatune.judging.pairs.comparing import (
    Comparison,
    Opinion,
    PairJudge,
    opinion_of_rewards,
    opinion_of_truth,
)
from llamatune.judging.pairs.endpoint import ANSWERS, EndpointAnswers
from llamatune.judging.pairs.people import People
from llamatune.judging.sample_scores import SCORES, SampleScores
from llamatune.recipe.stages.common import Endpoint, RewardModels
from llamatune.recipe.stages.preferences import PreferencesRecipe
from llamatune.runs.handover import LABELS
from llamatune.runs.run import Run
from llamatune.sampling.crew import Crew


def pair_judge(recipe: PreferencesRecipe, run: Run, crew: Crew) -> PairJudge:
    """Whoever the recipe names; what they say is kept in the run directory.

    Raises:
        ModelError: a reward model that cannot be opened.
    """
    if recipe.judge == "human":
        return People(run, run.directory / LABELS if recipe.labels is None else Path(recipe.labels))
    if recipe.reward is not None:
        return _of_models(recipe.reward, run, crew)
    if recipe.endpoint is not None:
        return endpoint_judge(recipe.endpoint, run, crew)
    return _truth


def _truth(comparisons: Sequence[Comparison]) -> list[Opinion]:
    rows = [one.prompt for one in comparisons for _ in range(2)]
    replies = [one for pair in comparisons for one in (pair.first, pair.second)]
    verdicts = Oracle().verdicts(rows, [Completion(one.text, one.tokens, one.ended) for one in replies])
    return [
        opinion_of_truth(
            (first["quality"], second["quality"]), (bool(first["unsafe"]), bool(second["unsafe"]))
        )
        for first, second in zip(verdicts[::2], verdicts[1::2], strict=True)
    ]


def _of_models(reward: RewardModels, run: Run, crew: Crew) -> PairJudge:
    rule = RewardRule.of(reward)
    judges = open_judges(reward.models)

    def judge(comparisons: Sequence[Comparison]) -> list[Opinion]:
        groups = [
            (one.prompt, [replace(one.first, sample=0), replace(one.second, sample=1)]) for one in comparisons
        ]
        scores = {}
        for one in judges:
            work = SampleScores(run.directory / SCORES, one, groups)
            crew.make(work, f"scoring by {one.name}")
            # (comparisons, 2)
            scores[one.name] = torch.tensor(work.by_group()).reshape(-1, 2)
        is_safety = torch.tensor([bool(one.prompt["is_safety"]) for one in comparisons], dtype=torch.bool)
        first, second = (
            combine({name: both[:, side] for name, both in scores.items()}, is_safety, rule)
            for side in (0, 1)
        )
        safety = scores.get("safety")
        return [
            opinion_of_rewards(
                (float(first[at]), float(second[at])),
                None if safety is None else (float(safety[at, 0]), float(safety[at, 1])),
            )
            for at in range(len(comparisons))
        ]

    return judge


def endpoint_judge(endpoint: Endpoint, run: Run, crew: Crew) -> PairJudge:
    """A model behind an endpoint; what it answers is kept in the run directory."""

    def judge(comparisons: Sequence[Comparison]) -> list[Opinion]:
        work = EndpointAnswers(run.directory / ANSWERS, endpoint, comparisons)
        crew.make(work, f"asking {endpoint.model}")
        found = work.opinions()
        return [found[one.id] for one in comparisons]

    return judge
