"""TRL 1.12's `PPOTrainer`, the last one, as a contender of `ppo.py`; run by the Python of `trl_1_12.py`.

Its source is left alone. The parts of an iteration are told apart by two of its module's functions: generation is the
call of `batch_generation`; training begins with the first call of `forward` that keeps a graph; what lies
between (reference, values, rewards, advantages) is scoring.

Its settings are those with which it does what they say. With gradient accumulation it makes one optimizer step an
iteration, however many mini-batches were asked for, and logs a fraction of each figure; with
`per_device_train_batch_size` = rollouts and `num_mini_batches` = rollouts / mini-batch there is no accumulation:
each mini-batch is one forward pass and one optimizer step.
"""

from __future__ import annotations

import sys
import tempfile
import time
import warnings
from dataclasses import asdict
from functools import partial, wraps
from importlib import metadata
from typing import Any
from unittest.mock import patch

import torch
from datasets import Dataset
from ppo_job import PARTS, POLICY, REWARD, VALUE, PpoJob, counted
from round_robin import StepDone, follow
from transformers import (
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    PrinterCallback,
    TrainerCallback,
    utils,
)
from trl.experimental.ppo import PPOConfig, PPOTrainer, ppo_trainer


def train(job: PpoJob, step_done: StepDone) -> dict[str, Any]:
    tokenizer = AutoTokenizer.from_pretrained(job.place(POLICY), padding_side="left")
    rows = job.prompts()
    assert [row["input_ids"] for row in rows] == tokenizer([row["prompt"] for row in rows])["input_ids"]
    split = Split(step_done)
    with tempfile.TemporaryDirectory() as output, counted() as work:
        trainer = PPOTrainer(
            args=config(job, output),
            processing_class=tokenizer,
            model=AutoModelForCausalLM.from_pretrained(job.place(POLICY), dtype=torch.float32),
            ref_model=None,
            reward_model=scorer(job.place(REWARD)),
            value_model=scorer(job.place(VALUE)),
            train_dataset=Dataset.from_list([{"input_ids": row["input_ids"]} for row in rows]),
            callbacks=[split],
        )
        trainer.remove_callback(PrinterCallback)
        with (
            patch.object(ppo_trainer, "batch_generation", split.generating(ppo_trainer.batch_generation)),
            patch.object(ppo_trainer, "forward", split.training(ppo_trainer.forward)),
        ):
            trainer.train()
    names = ("trl", "torch", "transformers", "accelerate", "datasets")
    return {
        "parts": split.iterations,
        "work": asdict(work),
        "logged": split.logged,
        "versions": {name: metadata.version(name) for name in names},
    }


def scorer(folder: str) -> Any:
    return AutoModelForSequenceClassification.from_pretrained(folder, num_labels=1, dtype=torch.float32)


def config(job: PpoJob, output: str) -> PPOConfig:
    return PPOConfig(
        output_dir=output,
        learning_rate=job.learning_rate,
        adam_beta2=job.adam_beta2,
        adam_epsilon=job.adam_epsilon,
        weight_decay=job.weight_decay,
        lr_scheduler_type="constant",
        per_device_train_batch_size=job.rollouts,
        gradient_accumulation_steps=1,
        num_mini_batches=job.rollouts // job.mini_batch,
        num_ppo_epochs=job.epochs,
        local_rollout_forward_batch_size=job.score_batch,
        total_episodes=job.iterations * job.rollouts,
        response_length=job.response_tokens,
        stop_token="eos",
        temperature=1.0,
        kl_coef=job.kl_coef,
        kl_estimator="k1",
        cliprange=job.cliprange,
        cliprange_value=job.cliprange,
        vf_coef=job.vf_coef,
        gamma=job.gamma,
        lam=job.lam,
        num_sample_generations=0,
        seed=job.seed,
        bf16=False,
        gradient_checkpointing=False,
        use_cpu=True,
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
    )


class Split(TrainerCallback):  # type: ignore[misc]
    """Seconds of the parts of each iteration; ends a turn."""

    def __init__(self, step_done: StepDone) -> None:
        self.step_done = step_done
        self.iterations: list[dict[str, float]] = []
        self.logged: list[dict[str, float]] = []
        self.marks: list[float] = []

    def generating(self, function: Any) -> Any:
        @wraps(function)
        def timed(*args: Any, **kwargs: Any) -> Any:
            self.marks = [time.perf_counter()]
            output = function(*args, **kwargs)
            self.marks.append(time.perf_counter())
            return output

        return timed

    def training(self, function: Any) -> Any:
        @wraps(function)
        def timed(*args: Any, **kwargs: Any) -> Any:
            if torch.is_grad_enabled() and len(self.marks) == 2:
                self.marks.append(time.perf_counter())
            return function(*args, **kwargs)

        return timed

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, float], **_: Any) -> None:
        self.logged.append(logs)

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        ends = [*self.marks[1:], time.perf_counter()]
        seconds = [end - begin for begin, end in zip(self.marks, ends, strict=True)]
        self.iterations.append(dict(zip(PARTS, seconds, strict=True)))
        self.step_done()


if __name__ == "__main__":
    utils.logging.disable_progress_bar()
    utils.logging.set_verbosity_error()
    warnings.filterwarnings("ignore", category=FutureWarning)
    follow(partial(train, PpoJob.load(sys.argv[1])))
