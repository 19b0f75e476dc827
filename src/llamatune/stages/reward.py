"""A reward model from preference pairs (paper section 3.2.2): which of two replies do people prefer?

A chat model gets a scalar head in place of its output layer and learns to score the chosen reply above the rejected
one: -log sigmoid(chosen - rejected - margin), with a margin that grows with the rating, one epoch, 512 pairs a step.
The safety model adds a loss that separates safe from unsafe replies.

`training.reward.RewardModelTrainer`, a `trl.RewardTrainer`, minimises the mean of that loss over the pairs of a global
batch. Upstream's optimizer, schedule (with a least warm-up) and loop are used; its tokenisation, collation, loss,
training step and evaluation are replaced, because trl has no safety loss and computes each prompt twice.

    llamatune run recipes/pico/reward_helpful.yaml
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from llamatune.data.encode.chat import ChatFormat
from llamatune.data.encode.encoders import encoder_for
from llamatune.data.prepare import check_what_is_judged, prepare
from llamatune.judging.opening import scores_of_other
from llamatune.models.load import find_start, load_for_training
from llamatune.models.origin import record_origin
from llamatune.models.saving import rehearse_saving, save_trained
from llamatune.recipe.stages.reward import RewardRecipe
from llamatune.runs.display import Display
from llamatune.runs.handover import Result
from llamatune.runs.run import Run
from llamatune.training.batching import choose_scored_batching
from llamatune.training.fit import fit, in_main_process
from llamatune.training.progress import final_figures
from llamatune.training.reward import RewardModelTrainer
from llamatune.training.upstream import reward_config

if TYPE_CHECKING:
    import numpy as np


def run(recipe: RewardRecipe, run: Run) -> Result:
    """Train on pairs, or on scored or labelled rows; leaves `adapter/` or `model/`, the head in it, in the run."""
    started = time.monotonic()
    with Display("reward", quiet=not run.is_main) as display:
        display.say_all(run.notices)
        start = find_start(recipe.model, recipe.hardware, max_length=recipe.data.max_length, task="score")
        chat = ChatFormat(start.tokenizer, recipe.chat)
        kind, encoder = encoder_for(recipe, start.tokenizer)
        data = prepare(
            recipe.data,
            encoder,
            kind=kind,
            seed=recipe.seed,
            recipe_dir=run.recipe_dir,
            room=start.base.context,
            report=display.say,
        )
        check_what_is_judged(recipe, data, display.say)
        record_origin(run, recipe, start, data, display, chat)

        others: dict[str, np.ndarray] = {}
        if recipe.compare_with is not None:
            others = scores_of_other(recipe.compare_with, chat, data.eval_by_source)
        arguments = reward_config(recipe, start.placement, run.checkpoints)
        model = load_for_training(start, recipe.model, seed=recipe.seed, report=display.say, task="score")
        batching = choose_scored_batching(model, recipe, start)
        display.say(f"batches  {batching.describe}")
        trainer = RewardModelTrainer(
            model=model,
            args=arguments,
            train_dataset=data.train,
            eval_sets=data.eval_by_source,
            others=others,
            loss=recipe.loss,
            min_warmup_steps=recipe.optimization.min_warmup_steps,
            processing_class=start.tokenizer,
            batching=batching,
            run=run,
            guards=recipe.guards,
            say=display.say,
        )
        saved = (start.tokenizer, start.base, run.directory)
        fit(
            trainer,
            recipe,
            run,
            display,
            rehearse=lambda: rehearse_saving(model, *saved, stage="reward", chat=chat),
        )
        trained = trainer.whole_model()
        folder = in_main_process(trainer, lambda: save_trained(trained, *saved, stage="reward", chat=chat))

    return run.finish(
        Result(
            stage="reward",
            artefact=folder.name,
            base=start.base.name,
            steps=trainer.state.global_step,
            seconds=round(time.monotonic() - started, 1),
            figures=final_figures(trainer) | trainer.accuracies(),
        )
    )
