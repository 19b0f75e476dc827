"""What stops a PPO run that went wrong, or warns of it: KL blow-up, reward and entropy collapse, completions that are
all cut off, gradients that are zero. Each shows the completion that tells most about it."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, get_args

from llamatune.errors import DivergedError, RecipeError
from llamatune.outside import checked_number
from llamatune.recipe.blocks import Action
from llamatune.recipe.stages.ppo import PpoGuards
from llamatune.training.guards import Finding

ACTIONS = get_args(Action)
_WINDOW = 20
_ENOUGH = 5
"""How many iterations a comparison with earlier ones needs."""


@dataclass(frozen=True)
class Guard:
    """A limit and what happens beyond it."""

    limit: float
    action: Action


DEFAULT_GUARDS: dict[str, Guard] = {
    name: Guard(getattr(block, "limit", 0.0), block.action) for name, block in PpoGuards()
}
"""kl: the mean KL of a completion is above it. reward_drop: the mean reward is this many deviations (of the first
iteration's scores) below the best of the last 20 iterations. entropy: the mean entropy of a token is below it.
truncated: a larger share of the completions was cut off. zero_gradients: the policy's gradient norm is not above
it."""


def check_guards(asked: dict[str, Any] | str) -> dict[str, Guard]:
    """The defaults, changed as asked for: {"kl": {"limit": 20, "action": "warn"}}, or JSON of it.

    Raises:
        RecipeError: no such guard, or no such action.
    """
    if isinstance(asked, str):
        asked = dict(json.loads(asked))
    found = dict(DEFAULT_GUARDS)
    for name, settings in asked.items():
        if name not in DEFAULT_GUARDS:
            raise RecipeError(
                "E025",
                f"there is no guard `{name}`",
                place="PPOConfig.guards",
                hint=f"there are {', '.join(DEFAULT_GUARDS)}",
            )
        usual = DEFAULT_GUARDS[name]
        guard = Guard(float(settings.get("limit", usual.limit)), settings.get("action", usual.action))
        if guard.action not in ACTIONS or set(settings) - {"limit", "action"}:
            raise RecipeError(
                "E025",
                f"guard `{name}` is {settings}",
                place="PPOConfig.guards",
                hint="give `limit`, a number, and `action`: stop, warn or ignore",
            )
        found[name] = guard
    return found


def stopped(finding: Finding, step: int) -> DivergedError:
    """The error for a run that a guard ends at this step."""
    return DivergedError(
        "E604",
        f"{finding.text} (step {step})",
        place=f"guards.{finding.guard}",
        why="the steps after it would be spent on a policy that no longer learns what is wanted",
        hint="look at completions.jsonl; lower the learning rate, raise `kl_coef`, or change the guard "
        f"(`guards: {{{finding.guard}: {{action: warn}}}}`) and go on from the last checkpoint",
    )


class Watch:
    """Looks at the figures of each iteration. `rewards` and `spread` are its state."""

    def __init__(self, guards: Mapping[str, Guard]) -> None:
        self.guards = guards
        self.rewards: deque[float] = deque(maxlen=_WINDOW)
        self.spread: float | None = None

    def rollouts(self, figures: Mapping[str, float], samples: Mapping[str, str]) -> list[Finding]:
        """Findings about an iteration's rollouts.

        Args:
            figures: `kl`, `reward`, `reward_std`, `entropy`, `ended_share`.
            samples: by guard, the completion that shows it.
        """
        found: list[Finding] = []

        def look(guard: str, bad: bool, text: str) -> None:
            settings = self.guards[guard]
            if bad and settings.action != "ignore":
                shown = samples.get(guard)
                text += f"; for example: {shown!r}" if shown is not None else ""
                found.append(Finding(guard, text, settings.action == "stop"))

        limit = {name: guard.limit for name, guard in self.guards.items()}
        look(
            "kl",
            not figures["kl"] <= limit["kl"],
            f"the KL of a completion is {figures['kl']:.4g} on average",
        )
        look(
            "entropy",
            not figures["entropy"] >= limit["entropy"],
            f"the entropy of a token is {figures['entropy']:.4g}: the policy always says the same thing",
        )
        cut = 1 - figures["ended_share"]
        look("truncated", cut > limit["truncated"], f"{cut:.0%} of the completions were cut off")
        if self.spread is None:
            self.spread = max(figures["reward_std"], 1e-6)
        if len(self.rewards) >= _ENOUGH:
            best = max(self.rewards)
            look(
                "reward_drop",
                not figures["reward"] >= best - limit["reward_drop"] * self.spread,
                f"the mean reward fell from {best:.4g} to {figures['reward']:.4g}",
            )
        self.rewards.append(figures["reward"])
        return found

    def gradients(self, norm: float, spread: float, sample: str) -> list[Finding]:
        """A finding when the policy's gradient vanished; only a warning where the rewards had no `spread`."""
        guard = self.guards["zero_gradients"]
        if norm > guard.limit or guard.action == "ignore":
            return []
        text = f"the policy's gradient norm is {norm:.4g}: nothing is learnt; for example from {sample!r}"
        if spread == 0:  # the next iteration may change that
            return [Finding("zero_gradients", f"all completions earned the same, so {text}", False)]
        return [Finding("zero_gradients", text, guard.action == "stop")]

    def state(self) -> dict[str, Any]:
        return {"rewards": list(self.rewards), "spread": self.spread}

    def restore(self, state: Mapping[str, Any]) -> None:
        self.rewards = deque(map(checked_number, state["rewards"]), maxlen=_WINDOW)
        self.spread = None if state["spread"] is None else checked_number(state["spread"])
