"""Proximal policy optimisation, as the Llama 2 paper trains its chat models (section 3.2.3).

An iteration samples completions for a batch of prompts, scores them, computes advantages, and makes one optimizer step
for each mini-batch. `PPOTrainer` is a transformers Trainer whose step is such an optimizer step: evaluation,
callbacks, logging, checkpoints, resuming and early stopping are the Trainer's. The rest are its parts:
`Passes` (forward and backward passes of the roles), `Updates` (gradients of a mini-batch), `PPOCheckpoint` (what is
saved and restored), a sampler of completions and judges of them.

What an iteration does depends only on its number and the seed: which prompts, which random numbers, which
mini-batches. So a resumed run repeats nothing and skips nothing, and the number of processes changes nothing.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from accelerate.utils import save_fsdp_optimizer
from torch.utils.data import DataLoader
from transformers import Trainer, TrainerControl

from llamatune.data.encode.chat import ChatFormat
from llamatune.data.mix import permutation
from llamatune.errors import DivergedError, ModelError
from llamatune.forward import processes
from llamatune.forward.rollouts import Rollout, mask_of
from llamatune.judging.combine import combine
from llamatune.judging.judges import Completion, ModelReward
from llamatune.judging.opening import RewardFunctions, open_judges
from llamatune.launch.meeting import all_here
from llamatune.ppo.checkpoint import PPOCheckpoint, PPOProgress
from llamatune.ppo.checks import beta_of, check_context, stop_tokens
from llamatune.ppo.config import PPOConfig
from llamatune.ppo.experience import Experience, experience
from llamatune.ppo.guards import Watch, stopped
from llamatune.ppo.maths.kl import kl_controller, kl_terms
from llamatune.ppo.maths.masked import zero_outside
from llamatune.ppo.ptx import open_mix
from llamatune.ppo.roles import sharding
from llamatune.ppo.roles.opening import (
    begin_as_reward,
    lay_end_to_end,
    open_policy,
    open_roles,
    sharing_base,
)
from llamatune.ppo.roles.passes import Passes
from llamatune.ppo.updates import Updates, optimizer_groups
from llamatune.recipe.blocks import Chat
from llamatune.runs.files import append_line
from llamatune.sampling.backends import check_backend, open_sampler
from llamatune.sampling.prompts import PromptRow, Prompts, text_of
from llamatune.sampling.sampler import How, Sampler, seed_of, up_to_stop
from llamatune.sampling.vllm import Engine
from llamatune.training.guards import Finding, gradient_norm

if TYPE_CHECKING:
    from datasets import Dataset
    from peft import PeftConfig
    from transformers import PreTrainedModel, PreTrainedTokenizerBase, TrainerCallback

    from llamatune.models.open import OpenModel

Combine = Callable[[dict[str, torch.Tensor], Sequence[Mapping[str, Any]]], torch.Tensor]
logger = logging.getLogger(__name__)


class PPOTrainer(Trainer):  # type: ignore[misc]
    """Trains a policy with PPO (paper, section 3.2.3; Schulman et al. 2017).

    Args:
        model: the policy: a loaded causal language model, one with an adapter named `default`, or what `llamatune chat`
            opens: a run, a folder, an adapter, a hub model.
        args: see `PPOConfig`.
        reward_funcs: what scores completions: names of reward models, loaded ones, Python functions; one, a list, or a
            mapping by name. Named `helpfulness` and `safety`, they are combined as in the paper.
        train_dataset, eval_dataset: a column `prompt`, text or messages; `is_safety` tags safety prompts; all columns
            reach the reward functions. Held-out sets may be several, by name.
        ptx_dataset: documents or conversations whose next-token loss is mixed in, `args.ptx_coef`: a column `text`,
            `messages`, or `input_ids` with or without `labels`.
        processing_class: the tokenizer; of a model given by name, its own.
        reward_processing_classes: tokenizers of loaded reward models; the policy's when None.
        reward_combine: f(scores by name, rows) -> (batch,), instead of `args.reward_combination`.
        ref_model: the reference; the policy as it is at the start when None.
        value_model: a sequence classification model with one label; when None, see `args.critic_init`.
        peft_config: train a new adapter; all roles then share one base (`args.roles`).
        quantization_config: quantise the base of a model given by name.
        sampler: samples completions, in place of `args.generation_backend`.
        chat: how conversations become tokens, if not simply by the tokenizer's chat template.
        callbacks, optimizers: as in transformers' Trainer; without an optimizer, see `optimizer_groups`.

    Attributes:
        roles: policy, reference and critic, one module.
        progress: what a step leaves to the next one in addition to weights.
        timings: seconds so far in `generate`, `score` and `train`.

    Raises:
        ModelError: a model that cannot be opened or is of the wrong kind, arguments that do not go together (E240), a
            prompt that leaves no room for a whole completion (E221), or no token that could end one (E209).
        DataError: a prompt (E145, E130), a row of `ptx_dataset` or a reward function (E146) that cannot be used.
    """

    args: PPOConfig
    control: TrainerControl
    optimizer: torch.optim.Optimizer | None

    def __init__(
        self,
        model: str | Path | PreTrainedModel,
        args: PPOConfig,
        reward_funcs: RewardFunctions,
        *,
        train_dataset: Dataset,
        eval_dataset: Dataset | Mapping[str, Dataset] | None = None,
        ptx_dataset: Dataset | None = None,
        processing_class: PreTrainedTokenizerBase | None = None,
        reward_processing_classes: Any = None,
        reward_combine: Combine | None = None,
        ref_model: PreTrainedModel | str | None = None,
        value_model: PreTrainedModel | str | None = None,
        peft_config: PeftConfig | None = None,
        quantization_config: Any = None,
        sampler: Sampler | None = None,
        chat: ChatFormat | None = None,
        callbacks: list[TrainerCallback] | None = None,
        optimizers: tuple[Any, Any] = (None, None),
    ) -> None:
        if sampler is None:
            check_backend(args.generation_backend)
        policy, opened = open_policy(model, peft_config, quantization_config, args.seed)
        tokenizer, self.chat = _tokenizer_and_chat(processing_class, chat, opened, train_dataset)
        self.stop_ids = stop_tokens(args, self.chat, tokenizer, policy)
        self.roles = roles = open_roles(policy, args, ref_model=ref_model, value_model=value_model)
        self.rewards = open_judges(
            reward_funcs,
            tokenizers=reward_processing_classes,
            default=(tokenizer, self.chat),
            # Sharded layers serve only the roles.
            share=None if sharding.asked_for(args) else sharing_base(roles),
            place="PPOTrainer(reward_funcs=...)",
        )
        args.reward_rule.check([judge.name for judge in self.rewards], "PPOTrainer(reward_funcs=...)")
        if args.critic_init == "reward" and value_model is None:
            begin_as_reward(roles, self.rewards)
        roles.padding_free = lay_end_to_end(roles)
        super().__init__(
            model=roles,
            args=args,
            train_dataset=train_dataset,
            eval_dataset=eval_dataset,
            processing_class=tokenizer,
            data_collator=_as_step,
            callbacks=callbacks,
            optimizers=optimizers,
        )
        if sharding.asked_for(args):
            sharding.check(self.accelerator.state.fsdp_plugin if self.is_fsdp_enabled else None, roles)
        self.prompts = self._prompts(train_dataset)
        held_out = eval_dataset if isinstance(eval_dataset, Mapping) else {"": eval_dataset}
        self.eval_prompts = {name: self._prompts(one) for name, one in held_out.items() if one is not None}
        for prompts in (self.prompts, *self.eval_prompts.values()):
            check_context(prompts, policy, args)
        self.progress = PPOProgress(
            kl_controller(args.kl_controller, beta_of(args, policy), args.kl_target, args.kl_horizon),
            Watch(args.watched),
        )
        self.passes = Passes(
            roles,
            args,
            self.accelerator,
            pad_id=tokenizer.pad_token_id,
            autocast=self.compute_loss_context_manager,
            memory_ran_out=self.on_memory_ran_out,
        )
        mix = open_mix(ptx_dataset, args, tokenizer, self.chat, policy)
        self.updates = Updates(self.passes, args, self.accelerator, mix)
        self.checkpoint = PPOCheckpoint(roles, self.progress, args, tokenizer, shards=self.is_fsdp_enabled)
        self.reward_combine = reward_combine
        self.sampler = sampler or self._sampler()
        self.timings = {"generate": 0.0, "score": 0.0, "train": 0.0}

    @property
    def policy(self) -> PreTrainedModel:
        """The policy: the very model that was given, or opened."""
        return self.roles.policy_model()

    def policy_alone(self) -> PreTrainedModel:
        """The policy without the other roles' adapters, once training is over; where it is sharded, a whole copy, for
        which all processes must ask together."""
        with self.checkpoint.whole_policy() as policy:
            self.roles.leave_alone(policy)
        return policy

    @property
    def describe(self) -> str:
        """Who shares what, in a few words."""
        rewards = ", ".join(
            f"{reward.name} ({'on the same base' if getattr(reward, 'role', None) else 'its own model'})"
            if isinstance(reward, ModelReward)
            else f"{reward.name} (a function)"
            for reward in self.rewards
        )
        return f"{self.roles.describe}; rewards: {rewards}"

    # ---- the steps ------------------------------------------------------------------------------------------

    def get_train_dataloader(self) -> DataLoader[Any]:
        """Counts the optimizer steps of a pass over the prompts; what a step does follows from its number."""
        iterations = -(-len(self.prompts) // self.args.batch_size)
        steps = range(iterations * self.args.updates_per_iteration)
        # A generator of its own: iterating must not draw from the global random state.
        return DataLoader(steps, batch_size=1, collate_fn=_as_step, generator=torch.Generator())  # type: ignore[arg-type]

    def training_step(
        self, model: torch.nn.Module, inputs: Any, num_items_in_batch: Any = None
    ) -> torch.Tensor:
        """The gradients of one mini-batch; before an iteration's first one, its rollouts.

        Raises:
            DivergedError: loss or gradient are not finite (before the update), or a guard stops the run.
        """
        iteration, update = divmod(self.state.global_step, self.args.updates_per_iteration)
        progress = self.progress
        if update == 0 or progress.experience is None:
            # So that its memory is free while the next one is made.
            progress.experience = None
            progress.experience = self.collect(iteration)
        # Not before: a reward model leaves the base that it shares as it found it, in evaluation mode.
        model.train()
        with self._timed("train"):
            figures = self._update(progress.experience, self.mini_batch(iteration, update))
        for name, figure in (progress.experience.figures | figures).items():
            progress.figures[name].append(figure)
        return torch.tensor(figures["loss"], device=self.args.device)

    def _update(self, found: Experience, chosen: Sequence[int]) -> dict[str, float]:
        """Gradients of a mini-batch, checked before they move a weight; returns its figures."""
        trained = [number for number in chosen if found.trained[number].any()]
        figures = self.updates.gradients(found, trained, self.state.global_step)
        self._check_finite(figures["loss"], found, trained)
        if trained:
            sample = self.completion(found.rollouts[trained[0]]).text
            norm, spread = figures["policy_grad_norm"], found.figures["reward_std"]
            self._heed(self.progress.watch.gradients(norm, spread, sample))
        return figures

    def mini_batch(self, iteration: int, update: int) -> list[int]:
        """Which rollouts of an iteration an update learns from: each epoch has a permutation of its own."""
        size = self.args.rollouts_per_update
        epoch, part = divmod(update, self.args.batch_size // size)
        order = permutation(self.args.batch_size, seed_of(self.args.seed, "mini-batch", iteration, epoch))
        return sorted(order[part * size : (part + 1) * size])

    # ---- rollouts -------------------------------------------------------------------------------------------

    def collect(self, iteration: int) -> Experience:
        """Sample, score, and compute advantages for an iteration; the same in every process."""
        rows = self.prompts.rows_of(iteration, self.args.batch_size)
        seeds = [seed_of(self.args.seed, "rollout", iteration, number) for number in range(len(rows))]
        with self._timed("generate"):
            rollouts = self.sample(self.prompts, rows, seeds)
        with self._timed("score"):
            scores, reward = self.score(self.prompts, rollouts)
            found = experience(
                rollouts,
                **self.passes.read(rollouts),
                scores=scores,
                reward=reward,
                kl_coef=self.progress.kl.coef,
                moments=self.progress.moments,
                args=self.args,
            )
        self.progress.kl.update(found.figures["kl"], len(rollouts))
        self.on_rollouts(iteration, found)
        self._heed(self.progress.watch.rollouts(found.figures, self._telling(found)))
        return found

    def sample(self, prompts: Prompts, rows: Sequence[int], seeds: Sequence[int]) -> list[Rollout]:
        """A completion for each row of prompts."""
        ids = [prompts.ids(prompts[row]) for row in rows]
        own = processes.own_share(list(map(len, ids)), self.accelerator)
        with self.generating(self.sampler), processes.together(self.accelerator):
            found = self.sampler.sample([ids[n] for n in own], [seeds[n] for n in own], self.how)
        every = processes.gathered(own, [one.tokens for one in found], len(rows), self.accelerator)
        rollouts = []
        for row, prompt, tokens in zip(rows, ids, every, strict=True):
            completion = up_to_stop(tokens, self.stop_ids)
            rollouts.append(Rollout(row, prompt, completion.tokens, completion.ended))
        return rollouts

    def complete(self, dataset: Dataset) -> list[Completion]:
        """What the policy, as it is now, samples for the prompts of a dataset (conversations or text,
        as those it trains on), with the same random numbers each time."""
        prompts = self._prompts(dataset)
        seeds = [seed_of(self.args.seed, "complete", number) for number in range(len(prompts))]
        return [self.completion(rollout) for rollout in self.sample(prompts, range(len(prompts)), seeds)]

    def score(
        self, prompts: Prompts, rollouts: Sequence[Rollout]
    ) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
        """Scores by reward function, and the combined reward, (batch,) each."""
        rows = [prompts[rollout.row] for rollout in rollouts]
        completions = [self.completion(rollout) for rollout in rollouts]
        own = processes.own_share([rollout.length for rollout in rollouts], self.accelerator)
        scores = {}
        for judge in self.rewards:
            with processes.together(self.accelerator):
                found = judge([rows[n] for n in own], [completions[n] for n in own]).tolist()
            every = processes.gathered(own, found, len(rollouts), self.accelerator)
            scores[judge.name] = torch.tensor(every, dtype=torch.float32)
        if self.reward_combine is not None:
            reward = self.reward_combine(scores, rows).float().cpu()
        else:
            is_safety = torch.tensor([bool(row.get("is_safety")) for row in rows])
            reward = combine(scores, is_safety, self.args.reward_rule)
        return scores, reward

    def completion(self, rollout: Rollout) -> Completion:
        """What reward functions and readers see of a rollout."""
        tokens = rollout.completion[:-1] if rollout.ended else rollout.completion
        decode = partial(self.processing_class.decode, skip_special_tokens=True)
        if self.prompts.are_conversations:
            return Completion(decode(tokens).strip(), rollout.completion, rollout.ended)
        # Prompt + text must give the whole again: decoded by itself, the text might lack the space in front.
        before, whole = decode(rollout.prompt), decode(rollout.prompt + tokens)
        text = whole[len(before) :] if whole.startswith(before) else decode(tokens)
        return Completion(text, rollout.completion, rollout.ended)

    # ---- guards ---------------------------------------------------------------------------------------------

    def _check_finite(self, loss: float, found: Experience, chosen: Sequence[int]) -> None:
        norm = gradient_norm(self.roles)
        if math.isfinite(loss) and math.isfinite(norm):
            return
        what = f"the loss is {loss}" if not math.isfinite(loss) else f"the gradient's norm is {norm}"
        sample = self.completion(found.rollouts[chosen[0]]).text if chosen else ""
        step = self.state.global_step + 1
        raise DivergedError(
            "E602",
            f"{what} at step {step}, in a mini-batch with {sample[:80]!r}",
            why=f"the update was not made, so the weights are those of step {step - 1}",
            hint="look at the rewards in completions.jsonl; lower the learning rate or train in float32",
        )

    def _heed(self, findings: Iterable[Finding]) -> None:
        for finding in findings:
            if finding.stop:
                raise stopped(finding, self.state.global_step + 1)
            self.say(f"warning: {finding.text}")

    def _telling(self, found: Experience) -> dict[str, str]:
        """By guard, the completion that shows most of what it looks at."""
        entropy = -found.logprobs.sum(1) / found.mask.sum(1)
        cut_off = [number for number, rollout in enumerate(found.rollouts) if not rollout.ended] or [0]
        numbers = {
            "kl": int(found.kl.sum(1).argmax()),
            "reward_drop": int(found.reward.argmin()),
            "entropy": int(entropy.argmin()),
            "truncated": cut_off[0],
        }
        return {guard: self.completion(found.rollouts[n]).text[:200] for guard, n in numbers.items()}

    # ---- evaluation, logging --------------------------------------------------------------------------------

    def evaluate(
        self, eval_dataset: Any = None, ignore_keys: Any = None, metric_key_prefix: str = "eval"
    ) -> dict[str, float]:
        """Rewards, KL and lengths of completions for the held-out prompts, with the same random numbers each time.

        `eval_reward` is what early stopping looks at (`metric_for_best_model`, `greater_is_better`); of several
        held-out sets, `eval_NAME_reward`.
        """
        if isinstance(eval_dataset, str):  # transformers names one of several like this
            prompts = self.eval_prompts[eval_dataset]
        elif eval_dataset is not None and not isinstance(eval_dataset, Mapping):
            prompts = self._prompts(eval_dataset)
        elif eval_dataset is None and "" in self.eval_prompts:
            prompts = self.eval_prompts[""]
        else:
            sets = eval_dataset if eval_dataset is not None else self.eval_prompts
            every: dict[str, float] = {}
            for name in sets:
                one = name if eval_dataset is None else sets[name]
                every |= self.evaluate(one, ignore_keys, f"{metric_key_prefix}_{name}")
            return every
        if self.is_fsdp_enabled and not self.roles.sharded:
            raise sharding.not_yet("evaluate", "set `eval_on_start=True`, or evaluate after `train`")
        self.model.eval()
        seeds = [seed_of(self.args.seed, "eval", number) for number in range(len(prompts))]
        rollouts = self.sample(prompts, range(len(prompts)), seeds)
        scores, reward = self.score(prompts, rollouts)
        read = self.passes.read(rollouts)
        lengths = [len(rollout.completion) for rollout in rollouts]
        terms = kl_terms(read["logprobs"], read["ref_logprobs"], self.args.kl_estimator)
        kl = zero_outside(terms, mask_of(lengths)).sum(1)
        self.model.train()
        found = {
            "reward": float(reward.mean()),
            **{f"reward/{name}": float(score.mean()) for name, score in scores.items()},
            "kl": float(kl.mean()),
            "length": sum(lengths) / len(lengths),
            "ended_share": sum(rollout.ended for rollout in rollouts) / len(rollouts),
        }
        rows = [prompts[row] for row in range(len(prompts))]
        found |= self.on_evaluation(rows, rollouts, reward.tolist(), found)
        metrics = {f"{metric_key_prefix}_{name}": value for name, value in found.items()}
        self.log(metrics)
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, metrics)
        return metrics

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """The log lines of steps have PPO's figures, each the mean over the steps since the last line."""
        if "loss" in logs:
            logs |= {name: sum(values) / len(values) for name, values in self.progress.figures.items()}
            self.progress.figures.clear()
        super().log(logs, start_time)

    def on_rollouts(self, iteration: int, found: Experience) -> None:
        """Called with each new experience: writes completions.jsonl, one line for each rollout."""
        if not (self.args.log_completions and self.accelerator.is_main_process):
            return
        for line in self.table(iteration, found):
            append_line(self._completions_file, line)

    def table(self, iteration: int, found: Experience) -> Iterator[dict[str, Any]]:
        """A row for each rollout: prompt, completion, scores, reward, KL, length."""
        for number, rollout in enumerate(found.rollouts):
            completion = self.completion(rollout)
            yield {
                "iteration": iteration,
                "prompt": text_of(self.prompts[rollout.row]["prompt"]),
                "completion": completion.text,
                "reward": round(float(found.reward[number]), 4),
                **{name: round(float(score[number]), 4) for name, score in found.scores.items()},
                "kl": round(float(found.kl[number].sum()), 4),
                "tokens": len(rollout.completion),
                "ended": rollout.ended,
            }

    def on_evaluation(
        self,
        rows: Sequence[PromptRow],
        rollouts: Sequence[Rollout],
        rewards: Sequence[float],
        figures: Mapping[str, float],
    ) -> dict[str, float]:
        """Called with held-out prompts, their completions, the combined reward of each and the figures of all; returns
        further figures."""
        return {}

    def on_memory_ran_out(self, text: str) -> None:
        """Called when passes have become smaller, with what to tell the user."""
        self.say(text)

    def say(self, text: str) -> None:
        """Tell the user something that is not a figure."""
        if self.accelerator.is_main_process:
            logger.warning(text)

    # ---- optimizer, files: what upstream calls ----------------------------------------------------------------

    def create_optimizer(self, model: Any = None) -> torch.optim.Optimizer:
        """See `optimizer_groups`."""
        if self.optimizer is None:
            roles = self.model if model is None else model
            kind, settings = self.get_optimizer_cls_and_kwargs(self.args, roles)
            decaying = set(self.get_decay_parameter_names(roles))
            self.optimizer = kind(optimizer_groups(roles, self.roles, decaying, self.args), **settings)
        return self.optimizer

    def save_model(self, output_dir: str | None = None, _internal_call: bool = False) -> None:
        """The policy in plain transformers or peft layout, without the critic or a trace of the other roles."""
        self.checkpoint.save_policy(Path(output_dir or self.args.output_dir))

    def _save_checkpoint(self, *args: Any, **kwargs: Any) -> None:
        """The Trainer's files, and what only PPO has: critic, controller, statistics, a half-done iteration."""
        step = self.state.global_step
        super()._save_checkpoint(*args, **kwargs)
        self.checkpoint.save(Path(self.args.output_dir) / f"checkpoint-{step}", step)
        # No process reads what the first one still writes.
        all_here()

    def _save_optimizer_and_scheduler(self, output_dir: str) -> None:
        """Under FSDP, upstream would write all roles a second time, the frozen reference included."""
        if not self.roles.sharded:
            super()._save_optimizer_and_scheduler(output_dir)
            return
        plugin = self.accelerator.state.fsdp_plugin
        save_fsdp_optimizer(plugin, self.accelerator, self.optimizer, self.model, output_dir)
        if self.args.should_save:
            torch.save(self.lr_scheduler.state_dict(), Path(output_dir) / "scheduler.pt")

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        folder = Path(resume_from_checkpoint)
        self.checkpoint.load(folder)
        if self.accelerator.is_main_process:
            self.checkpoint.cut_completions(folder, self._completions_file)

    def _load_best_model(self) -> None:
        """Policy and critic of the best checkpoint; PPO's progress stays that of the last step."""
        self.checkpoint.load_roles(Path(self.state.best_model_checkpoint))

    # ---- parts ----------------------------------------------------------------------------------------------

    @property
    def _completions_file(self) -> Path:
        return Path(self.args.output_dir) / "completions.jsonl"

    def _prompts(self, dataset: Dataset) -> Prompts:
        return Prompts(
            dataset,
            self.processing_class,
            self.chat,
            max_length=self.args.max_prompt_length,
            seed=self.args.data_seed if self.args.data_seed is not None else self.args.seed,
        )

    @property
    def how(self) -> How:
        """Rollouts are untruncated: with top-p the distribution would not be the one that the ratio is made of."""
        return How(self.args.max_completion_length, frozenset(self.stop_ids), self.args.temperature)

    def _sampler(self) -> Sampler:
        return open_sampler(
            self.policy,
            self.args.generation_backend,
            pad_id=self.processing_class.pad_token_id,
            batch_size=self.args.generation_batch_size,
            sharded=self.is_fsdp_enabled or self.is_deepspeed_enabled,
            engine=self._engine() if self.args.generation_backend == "vllm" else None,
        )

    def _engine(self) -> Engine:
        """What vLLM makes room for."""
        every = (self.prompts, *self.eval_prompts.values())
        return Engine(
            self.args.max_prompt_length
            or max(len(one.ids(one[row])) for one in every for row in range(len(one))),
            self.args.max_completion_length,
            memory=self.args.vllm_gpu_memory_utilization,
            sleeps=self.args.vllm_enable_sleep_mode,
            processes=self.accelerator.num_processes,
        )

    @contextmanager
    def generating(self, sampler: Any) -> Iterator[None]:
        """For a sampler of the policy; where that is sharded, the sampler's attribute `model` is meanwhile a whole copy
        of it, for which all processes must ask together."""
        with self.passes.acting("policy"):
            if not self.roles.sharded:
                yield
                return
            precision = self.accelerator.state.fsdp_plugin.mixed_precision_policy
            with self.checkpoint.whole_policy(
                precision.param_dtype if precision is not None else None
            ) as model:
                sampler.model = model
            try:
                yield
            finally:
                sampler.model = self.policy

    @contextmanager
    def _timed(self, what: str) -> Iterator[None]:
        started = time.monotonic()
        yield
        self.timings[what] += time.monotonic() - started


def _as_step(numbers: Sequence[int]) -> dict[str, int]:
    return {"step": numbers[0]}


def _tokenizer_and_chat(
    tokenizer: PreTrainedTokenizerBase | None,
    chat: ChatFormat | None,
    opened: OpenModel | None,
    prompts: Dataset,
) -> tuple[PreTrainedTokenizerBase, ChatFormat | None]:
    """Those that are given, or else those of the `opened` model; no chat format where the tokenizer's template is of no
    use and the prompts are text, which needs none."""
    of_model = opened.chat if opened is not None and tokenizer is None else Chat()
    tokenizer = tokenizer or (opened.tokenizer if opened else None)
    if tokenizer is None:
        raise ModelError(
            "E240", "`processing_class` is missing", place="PPOTrainer", hint="give the tokenizer"
        )
    if chat is not None or not tokenizer.chat_template:
        return tokenizer, chat
    try:
        return tokenizer, ChatFormat(tokenizer, of_model)
    except ModelError:
        if len(prompts) and "prompt" in prompts.column_names and not isinstance(prompts[0]["prompt"], str):
            raise
        return tokenizer, None
