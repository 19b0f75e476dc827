"""Supervised fine-tuning (paper section 3.1): learn to answer from demonstrations.

Conversations become tokens with the loss on the answers only ("zero out the loss on tokens from the user prompt"):
AdamW, cosine schedule to 10%, a global batch of 64, two epochs. Differs from the paper in that conversations are not
packed.

`training.sft.SftTrainer`, a `trl.SFTTrainer`, minimises the mean of -log p over the trained tokens of each global
batch. Upstream's optimizer, schedule and loop are used. Its tokenisation and collation are not, since rows come
encoded; its training step, its evaluation and (but for `hardware.loss: fused`) its loss are replaced, so that nothing
is padded and how a batch is cut into forward passes changes no result.

    llamatune run recipes/pico/sft.yaml
"""

from __future__ import annotations

import time

from llamatune.data.encode.chat import ChatFormat
from llamatune.data.encode.encoders import encoder_for
from llamatune.data.prepare import prepare
from llamatune.models.load import find_start, load_for_training
from llamatune.models.origin import record_origin
from llamatune.models.saving import rehearse_saving, save_trained
from llamatune.recipe.stages.sft import SftRecipe
from llamatune.runs.display import Display
from llamatune.runs.handover import Result
from llamatune.runs.run import Run
from llamatune.training.batching import choose_batching
from llamatune.training.fit import fit, in_main_process
from llamatune.training.progress import final_figures
from llamatune.training.replies import SampleReplies, chat_prompts
from llamatune.training.sft import SftTrainer
from llamatune.training.upstream import sft_config
from llamatune.training.win_rate import measure_win_rate


def run(recipe: SftRecipe, run: Run) -> Result:
    """Fine-tune on conversations; leaves `adapter/` or `model/` in the run directory."""
    started = time.monotonic()
    with Display("sft", quiet=not run.is_main) as display:
        display.say_all(run.notices)
        start = find_start(recipe.model, recipe.hardware, max_length=recipe.data.max_length)
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
        record_origin(run, recipe, start, data, display, chat)

        arguments = sft_config(recipe, start.placement, run.checkpoints)
        model = load_for_training(start, recipe.model, seed=recipe.seed, report=display.say)
        batching = choose_batching(model, recipe, start, max_length=recipe.data.max_length)
        display.say(f"batches  {batching.describe}")
        trainer = SftTrainer(
            model=model,
            args=arguments,
            train_dataset=data.train,
            eval_dataset=data.eval,
            processing_class=start.tokenizer,
            batching=batching,
            run=run,
            guards=recipe.guards,
            say=display.say,
        )
        replies = SampleReplies(
            model,
            start.tokenizer,
            chat_prompts(recipe.generation, chat, data.eval or data.train),
            recipe.generation,
            stop_ids=chat.stop_ids,
            run=run,
            display=display,
        )
        measured = recipe.generation.win_rate
        measure_win_rate(trainer, measured, chat, run, display, room=start.base.context, seed=recipe.seed)
        saved = (start.tokenizer, start.base, run.directory)
        fit(
            trainer,
            recipe,
            run,
            display,
            rehearse=lambda: rehearse_saving(model, *saved, stage="sft", chat=chat),
            sample=replies.show,
            sample_every=recipe.generation.every_steps,
        )
        trained = trainer.whole_model()
        folder = in_main_process(trainer, lambda: save_trained(trained, *saved, stage="sft", chat=chat))

    return run.finish(
        Result(
            stage="sft",
            artefact=folder.name,
            base=start.base.name,
            steps=trainer.state.global_step,
            seconds=round(time.monotonic() - started, 1),
            figures=final_figures(trainer),
        )
    )
