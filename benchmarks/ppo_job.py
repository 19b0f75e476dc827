"""What both contenders of `ppo.py` are given, and how their work is counted.

Read by Pythons with different libraries: nothing here is llamatune's, and nothing depends on a version.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

POLICY, VALUE, REWARD, PROMPTS = "policy", "value", "reward", "prompts.jsonl"
"""Names in a job's folder: three models with a tokenizer each, and the prompts as text and as tokens."""
PARTS = ("generate", "score", "train")
CONTROL = 3
"""Ids below are those of padding, beginning and end, as in pico's vocabulary."""


@dataclass(frozen=True)
class PpoJob:
    """An iteration is so many rollouts, so many passes over them, one optimizer step for each mini-batch."""

    folder: str
    iterations: int
    rollouts: int = 128
    response_tokens: int = 64
    mini_batch: int = 32
    epochs: int = 1
    score_batch: int = 128
    """Rollouts in a batch of generation, and in a forward pass without gradients."""
    learning_rate: float = 1e-6
    adam_beta2: float = 0.95
    adam_epsilon: float = 1e-5
    weight_decay: float = 0.1
    kl_coef: float = 0.05
    cliprange: float = 0.2
    vf_coef: float = 0.1
    gamma: float = 1.0
    lam: float = 0.95
    seed: int = 0

    @property
    def steps_an_iteration(self) -> int:
        return self.epochs * self.rollouts // self.mini_batch

    @property
    def optimizer_steps(self) -> int:
        return self.iterations * self.steps_an_iteration

    @property
    def generated_tokens(self) -> int:
        return self.iterations * self.rollouts * self.response_tokens

    def place(self, name: str) -> str:
        return str(Path(self.folder) / name)

    def prompts(self) -> list[dict[str, Any]]:
        """Rows of `prompt`, a text, and `input_ids`, its tokens."""
        return [json.loads(line) for line in Path(self.place(PROMPTS)).read_text("utf-8").splitlines()]

    def save(self) -> Path:
        file = Path(self.place("job.json"))
        file.write_text(json.dumps(asdict(self)), "utf-8")
        return file

    @classmethod
    def load(cls, file: str) -> PpoJob:
        return cls(**json.loads(Path(file).read_text("utf-8")))


@dataclass
class Work:
    """What a training did; contenders whose work differs are not compared.

    `ended`: rollouts with an end or padding token, where a trainer would stop early or mask the rest.
    """

    generated_tokens: int = 0
    optimizer_steps: int = 0
    ended: int = 0


@contextmanager
def counted() -> Iterator[Work]:
    """Count, from the outside, what transformers generates and what torch's optimizers do."""
    from torch.optim.optimizer import register_optimizer_step_post_hook
    from transformers import GenerationMixin

    work = Work()
    plain = GenerationMixin.generate

    def generate(model: Any, *args: Any, **kwargs: Any) -> Any:
        output = plain(model, *args, **kwargs)
        prompt = kwargs["input_ids"] if "input_ids" in kwargs else args[0]
        completions = getattr(output, "sequences", output)[:, prompt.shape[1] :]
        work.generated_tokens += completions.numel()
        work.ended += int((completions < CONTROL).any(dim=1).sum())
        return output

    def stepped(*_: Any) -> None:
        work.optimizer_steps += 1

    hook = register_optimizer_step_post_hook(stepped)
    try:
        with patch.object(GenerationMixin, "generate", generate):
            yield work
    finally:
        hook.remove()
