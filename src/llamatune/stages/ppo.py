"""Reinforcement learning from human feedback with PPO (paper section 3.2.3).

The policy answers a batch of prompts; two reward models score the answers, R_c = R_s where safety is at stake, else
R_h; the reward is whiten(logit(R_c)) - beta * KL(policy || policy at the start); one gradient step for each mini-batch
of 64 of the 512 answers, 200 to 400 iterations. What the paper leaves open is in docs/ppo.md.

`ppo.trainer.PPOTrainer`, a `transformers.Trainer`, since trl has no PPO any more, minimises the clipped policy loss
plus `vf_coef` times the clipped value loss. Its training step makes the gradients of a mini-batch, and at an
iteration's first step samples and scores the answers; the loop, the schedule and the clipping of gradients are
upstream's.

    llamatune run recipes/pico/ppo.yaml
"""

from __future__ import annotations

import time

from llamatune.data.encode.chat import ChatFormat
from llamatune.data.encode.encoders import encoder_for, mix_encoder_for
from llamatune.data.prepare import prepare_prompts
from llamatune.judging.oracle import oracle_for
from llamatune.models.load import find_start, load_for_training
from llamatune.models.origin import record_origin
from llamatune.models.saving import rehearse_saving, save_trained
from llamatune.ppo.from_recipe import ppo_config
from llamatune.ppo.run_trainer import RecipePPOTrainer
from llamatune.recipe.stages.ppo import PpoRecipe
from llamatune.runs.display import Display
from llamatune.runs.handover import Result
from llamatune.runs.run import Run
from llamatune.training.fit import fit, in_main_process
from llamatune.training.progress import final_figures
from llamatune.training.replies import SampleReplies, chat_prompts
from llamatune.training.win_rate import measure_win_rate


def run(recipe: PpoRecipe, run: Run) -> Result:
    """Train on prompts and reward models; leaves the policy as `adapter/` or `model/` in the run directory."""
    started = time.monotonic()
    with Display("ppo", quiet=not run.is_main) as display:
        display.say_all(run.notices)
        rewards = recipe.reward.models
        start = find_start(
            recipe.model,
            recipe.hardware,
            max_length=recipe.data.max_length,
            max_new_tokens=recipe.rollout.max_new_tokens,
        )
        chat = ChatFormat(start.tokenizer, recipe.chat)
        _, encoder = encoder_for(recipe, start.tokenizer)
        context = start.base.context
        data = prepare_prompts(
            recipe.data,
            encoder,
            mix_encoder_for(recipe, start.tokenizer),
            seed=recipe.seed,
            recipe_dir=run.recipe_dir,
            room=None if context is None else context - recipe.rollout.max_new_tokens,
            report=display.say,
        )
        record_origin(run, recipe, start, data, display, chat)

        arguments = ppo_config(recipe, start.placement, run.checkpoints, width=start.base.width)
        arguments.eval_on_start = data.eval is not None and run.checkpoint is None
        model = load_for_training(start, recipe.model, seed=recipe.seed, report=display.say)
        trainer = RecipePPOTrainer(
            model=model,
            args=arguments,
            reward_funcs=rewards,
            train_dataset=data.train,
            eval_dataset=data.eval,
            ptx_dataset=data.ptx,
            processing_class=start.tokenizer,
            chat=chat,
            oracle=oracle_for([one for one in data.sources if one.evaluates], run.recipe_dir),
            run=run,
            say=display.say,
        )
        display.say(f"roles    {trainer.describe}")
        replies = SampleReplies(
            model,
            start.tokenizer,
            chat_prompts(recipe.generation, chat, data.eval or data.train),
            recipe.generation,
            stop_ids=chat.stop_ids,
            run=run,
            display=display,
            generating=trainer.generating,
        )
        measured = recipe.generation.win_rate
        measure_win_rate(trainer, measured, chat, run, display, room=start.base.context, seed=recipe.seed)
        saved = (start.tokenizer, start.base, run.directory)
        fit(
            trainer,
            recipe,
            run,
            display,
            rehearse=lambda: rehearse_saving(model, *saved, stage="ppo", chat=chat),
            sample=replies.show,
            sample_every=recipe.generation.every_steps,
        )
        policy = trainer.policy_alone()
        folder = in_main_process(trainer, lambda: save_trained(policy, *saved, stage="ppo", chat=chat))

    return run.finish(
        Result(
            stage="ppo",
            artefact=folder.name,
            base=start.base.name,
            steps=trainer.state.global_step,
            seconds=round(time.monotonic() - started, 1),
            figures=final_figures(trainer) | trainer.outcome(),
        )
    )
