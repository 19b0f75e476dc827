"""Runs of PPOTrainer in processes of their own, which end when and how a test wants.

The processes are forked from one that has imported everything once (multiprocessing's fork server): importing torch,
transformers and peft takes ten seconds, a run takes one.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
from multiprocessing.context import ForkServerContext
from pathlib import Path
from typing import Any

MODULES = [
    "torch",
    "datasets",
    "peft.tuners.lora",
    "tokenizers",
    "transformers.generation",
    "transformers.models.auto.modeling_auto",
    "transformers.models.llama.modeling_llama",
    "trl",
    "llamatune.ppo.trainer",
]


def fork_server() -> ForkServerContext:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(MODULES)
    return context


def ended(server: ForkServerContext, folder: Path, method: str, kill: tuple[str, int] | None = None) -> int:
    """The exit status of a run in its folder, which goes on from its last checkpoint where there is one; negative where
    a signal ended it."""
    process = server.Process(target=run, args=(str(folder), method, kill))
    process.start()
    process.join(120)
    assert process.exitcode is not None, "still running"
    return process.exitcode


def run(folder: str, method: str, kill: tuple[str, int] | None) -> None:
    """In the child: train, or die at the n-th call of `kill`."""
    import torch

    out = os.open(f"{folder}.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(out, 1), os.dup2(out, 2)
    sys.stdout = sys.stderr = open(1, "w", closefd=False)  # noqa: SIM115 - for good
    torch.set_num_threads(1)
    trainer = trainer_in(folder, method)
    if kill is not None:
        die_at(trainer, *kill)
    trainer.train(resume_from_checkpoint=any(Path(folder).glob("checkpoint-*")))


def die_at(trainer: Any, where: str, calls: int) -> None:
    """`rollout`: while a token is generated; `score`: in the reward function; `read`: while a role reads the rollouts;
    `update`: in the backward pass of the critic, behind that of the policy; `step`: when half of the weights have been
    moved."""
    left = [calls]

    def count(*args: Any, **kwargs: Any) -> None:
        # An iteration has no experience yet while it makes one; evaluation is not what dies here.
        if where in ("rollout", "score", "read") and trainer.experience is not None:
            return
        left[0] -= 1
        if left[0] == 0:
            print(f"killed in {where} behind step {trainer.state.global_step}", flush=True)
            os.kill(os.getpid(), signal.SIGKILL)

    weights = [(name, weight) for name, weight in trainer.roles.named_parameters() if weight.requires_grad]
    if where == "rollout":
        trainer.policy.get_input_embeddings().register_forward_hook(
            lambda module, args, output: count() if output.shape[1] == 1 else None  # a later token
        )
    elif where == "score":
        reward = trainer.rewards[0].function
        trainer.rewards[0].function = lambda **columns: (count(), reward(**columns))[1]
    elif where == "read":
        trainer.roles.register_forward_hook(count)
    elif where == "update":
        next(weight for name, weight in weights if trainer.roles.is_critic(name)).register_hook(count)
    else:
        assert where == "step"
        made = trainer.create_optimizer()
        real = made.step

        def torn(*args: Any, **kwargs: Any) -> Any:
            if left[0] == 1:
                import torch

                with torch.no_grad():
                    for _, weight in weights[: len(weights) // 2]:
                        weight.add_(1.0)
            count()
            return real(*args, **kwargs)

        made.step = torn


def noisy(completion_ids: list[list[int]], **others: Any) -> list[float]:
    """A reward that draws from the random states of torch, numpy and Python, as a resumed run must, too."""
    import random

    import numpy
    import torch

    drawn = [float(torch.rand(1)) + random.random() + float(numpy.random.rand()) for _ in completion_ids]
    return [sum(ids) / len(ids) / 20 - 1 + noise for ids, noise in zip(completion_ids, drawn, strict=True)]


STEPS = 24
"""Six iterations of four steps: two mini-batches, twice. A checkpoint every 3 steps: in the middle of an iteration as
well as between two."""


def trainer_in(folder: str, method: str) -> Any:
    from peft import get_peft_model
    from tiny_ppo import lora, policy_of, shaken, texts, trainer_of

    model = policy_of()
    if method == "adapters":  # one that was itself trained as an adapter: the reference is an adapter, too
        import torch

        torch.manual_seed(3)
        model = shaken(get_peft_model(model, lora(lora_dropout=0.1)), 3)
    return trainer_of(
        folder,
        model=model,
        prompts=texts(13),
        eval_dataset=texts(20).select(range(16, 20)),
        reward_funcs=noisy,
        max_steps=STEPS,
        num_ppo_epochs=2,
        learning_rate=5e-3,
        critic_learning_rate=1e-2,
        lr_scheduler_type="cosine",
        warmup_steps=3,
        kl_controller="adaptive",
        kl_target=0.5,
        kl_horizon=50,
        whiten_scores="running",
        missing_eos_penalty=0.3,
        logging_steps=2,
        save_strategy="steps",
        save_steps=3,
        save_total_limit=2,
        eval_strategy="steps",
        eval_steps=4,
        log_completions=True,
    )
