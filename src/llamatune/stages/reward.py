"""A reward model from preference pairs (paper section 3.2.2): which of two replies do people prefer?

A chat model gets a scalar head in place of its output layer and learns to score the chosen reply above the rejected
one: -log sigmoid(chosen - rejected - margin), with a margin that grows with the rating, one epoch, 512 pairs a step.
The safety model adds a loss that separates safe from unsafe replies.

    llamatune run recipes/pico/reward_helpful.yaml
"""

from __future__ import annotations

import time

from llamatune.data.chat import ChatFormat
from llamatune.data.pairs import PairEncoder
from llamatune.data.prepare import prepare
from llamatune.models.load import find_start, load_for_training
from llamatune.models.saving import save_trained
from llamatune.recipe.recipes import RewardRecipe
from llamatune.runs.display import Display
from llamatune.runs.run import Result, Run
from llamatune.training.fit import choose_pair_batching, fit, in_main_process, record_origin
from llamatune.training.progress import final_figures
from llamatune.training.reward import RewardModelTrainer
from llamatune.training.upstream import reward_config


def run(recipe: RewardRecipe, run: Run) -> Result:
    """Train on pairs; leaves `adapter/` or `model/` in the run directory, with the head in it."""
    started = time.monotonic()
    with Display("reward", quiet=not run.is_main) as display:
        display.say_all(run.notices)
        start = find_start(recipe.model, recipe.hardware, max_length=recipe.data.max_length)
        chat = ChatFormat(start.tokenizer, recipe.chat)
        data = prepare(
            recipe.data,
            PairEncoder(chat, max_length=recipe.data.max_length, too_long=recipe.data.too_long),
            kind="preferences",
            seed=recipe.seed,
            recipe_dir=run.recipe_dir,
            report=display.say,
        )
        record_origin(run, recipe, start, data, display, chat)

        arguments = reward_config(recipe, start.placement, run.checkpoints)
        model = load_for_training(start, recipe.model, seed=recipe.seed, report=display.say, task="score")
        batching = choose_pair_batching(model, recipe, start)
        display.say(f"batches  {batching.describe}")
        trainer = RewardModelTrainer(
            model=model,
            args=arguments,
            train_dataset=data.train,
            eval_sets=data.eval_by_source,
            loss=recipe.loss,
            processing_class=start.tokenizer,
            batching=batching,
            run=run,
            watchdog=recipe.watchdog,
            say=display.say,
        )
        fit(trainer, recipe, run, display)
        run.write_json("evaluation.json", trainer.figures)
        folder = in_main_process(
            trainer,
            lambda: save_trained(model, start.tokenizer, start.base, run.directory, stage="reward", chat=chat),
        )

    return run.finish(
        Result(
            stage="reward",
            artefact=folder.name,
            base=start.base.name,
            steps=trainer.state.global_step,
            seconds=round(time.monotonic() - started, 1),
            figures=final_figures(trainer),
        )
    )
