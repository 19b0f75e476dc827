"""The recipe of `stage: rejection_sampling`. What the paper (section 3.2.3) leaves open is marked so."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from llamatune.recipe.blocks import Block, Real, Text, Whole
from llamatune.recipe.stages.common import RewardModels, Sampling, SamplingRecipe, Tuning


class BestOfSampling(Sampling):
    """How many answers to each prompt, and how they are sampled."""

    samples: Whole = Field(16, ge=1)
    """The paper's K, answers to each prompt (left open; its figures 7 and 8 go up to 100). A larger K adds to those
    that are there."""
    temperature: Real | Annotated[list[Real], Field(min_length=1)] = 1.0  # type: ignore[assignment]
    """One, or several to choose from: the one whose best answers to some prompts are best on average. The paper finds
    1.2 to 1.3 for 10 to 100 answers after RLHF, and chooses it anew in each round."""
    probe: Whole = Field(64, ge=1)
    """On how many prompts several temperatures are tried (left open)."""

    @property
    def temperatures(self) -> list[float]:
        """Those to choose from."""
        return self.temperature if isinstance(self.temperature, list) else [self.temperature]

    @model_validator(mode="after")
    def _temperatures_in_range(self) -> BestOfSampling:
        if not all(0 <= one <= 5 for one in self.temperatures):
            raise ValueError("`temperature` is a number from 0 to 5, or a list of such numbers")
        if len(set(self.temperatures)) < len(self.temperatures):
            raise ValueError("`temperature` names one twice")
        if self.samples > 1 and 0 in self.temperatures:
            raise ValueError("at temperature 0 all answers to a prompt are the same: set `samples: 1`")
        return self


class BestOfReward(RewardModels):
    """What an answer is worth: R_s if the prompt is a safety prompt or R_s < 0.15, else R_h; or the oracle's word."""

    judge: Literal["reward_models", "oracle"] = "reward_models"
    """Who judges: reward models, or the oracle of the miniature world, which knows the truth (for experiments)."""

    @property
    def needs_models(self) -> bool:
        return self.judge == "reward_models"

    @model_validator(mode="after")
    def _one_judge(self) -> BestOfReward:
        if self.judge == "oracle" and self.models:
            raise ValueError("`judge: oracle` needs no reward model: remove `helpfulness` and `safety`")
        return self


class Keep(Block):
    """Which answers become training rows. One that is empty, was cut off or repeats itself never does."""

    best: Whole = Field(1, ge=1)
    """Different answers to keep of each prompt, best first (the paper keeps one)."""
    floor: Real | None = None
    """Least reward of an answer that is kept (left open)."""
    same_reply: Whole | None = Field(None, ge=1)
    """Most conversations that may end with the very same reply, best first; without a limit when left out, since short
    right answers and refusals are alike."""
    pool: list[Text] = []
    """Earlier rounds: finished runs of this stage, whose answers compete again, judged by today's reward models. With
    the answers of the newest round alone, the paper saw skills get lost."""


class RejectionSamplingRecipe(SamplingRecipe):
    """Sample K answers to each prompt, and keep the best (paper section 3.2.3)."""

    stage: Literal["rejection_sampling"]
    sampling: BestOfSampling = BestOfSampling()
    reward: BestOfReward
    keep: Keep = Keep()

    @property
    def answers_each(self) -> float:
        return float(self.sampling.samples)

    @model_validator(mode="after")
    def _only_prompts_to_answer(self) -> RejectionSamplingRecipe:
        if self.data.eval or self.data.eval_fraction:
            raise ValueError(
                "`data.eval` and `data.eval_fraction` belong to stages that evaluate: hold prompts out by a split"
            )
        if self.keep.best > self.sampling.samples and not self.keep.pool:
            raise ValueError(
                f"`keep.best` ({self.keep.best}) is more than `sampling.samples` ({self.sampling.samples})"
            )
        return self


def starter(tuning: Tuning, source: dict[str, Any]) -> dict[str, Any]:
    """What `llamatune init` writes."""
    return {
        "data": {"train": [source], "max_length": 512},
        "sampling": {"samples": 16, "temperature": 1.0, "max_new_tokens": 256},
        "reward": {"helpfulness": "runs/reward"},
        "seed": 0,
    }
