"""Pre-training, from scratch or continued (paper section 2): predict the next token of plain text.

Each document is one BOS, its text and one EOS; several documents fill a sequence, with attention and positions
kept inside each document. AdamW (0.9, 0.95, 1e-5), weight decay 0.1, clip 1.0, cosine schedule to 10%.

The trainer is SFT's (`training.sft.SftTrainer`): it minimises the mean of -log p over all tokens of a global batch but
each document's first. Rows come encoded and packed, so trl's own tokenisation and packing are not used.

    llamatune run recipes/pico/pretrain.yaml
"""

from __future__ import annotations

import time

from llamatune.data.encode.chat import ChatFormat
from llamatune.data.encode.encoders import encoder_for
from llamatune.data.packing import pack
from llamatune.data.prepare import prepare
from llamatune.models.load import find_start, load_for_training
from llamatune.models.origin import record_origin
from llamatune.models.saving import rehearse_saving, save_trained
from llamatune.recipe.blocks import Chat
from llamatune.recipe.stages.pretrain import PretrainRecipe
from llamatune.runs.display import Display
from llamatune.runs.handover import Result
from llamatune.runs.run import Run
from llamatune.training.batching import choose_batching
from llamatune.training.fit import fit, in_main_process
from llamatune.training.progress import final_figures
from llamatune.training.replies import SampleReplies, text_prompts
from llamatune.training.sft import SftTrainer
from llamatune.training.upstream import sft_config
from llamatune.training.win_rate import measure_win_rate


def run(recipe: PretrainRecipe, run: Run) -> Result:
    """Train on documents; leaves `model/` (or `adapter/`) in the run directory."""
    started = time.monotonic()
    max_length, packing = recipe.data.max_length, recipe.data.packing
    with Display("pretrain", quiet=not run.is_main) as display:
        display.say_all(run.notices)
        start = find_start(recipe.model, recipe.hardware, max_length=max_length)
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
        record_origin(run, recipe, start, data, display)
        train = pack(data.train, max_length, recipe.seed, display.say) if packing else data.train

        arguments = sft_config(recipe, start.placement, run.checkpoints)
        model = load_for_training(start, recipe.model, seed=recipe.seed, report=display.say)
        batching = choose_batching(model, recipe, start, max_length=max_length, packed=packing)
        display.say(f"batches  {batching.describe}")
        trainer = SftTrainer(
            model=model,
            args=arguments,
            train_dataset=train,
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
            text_prompts(recipe.generation, start.tokenizer),
            recipe.generation,
            stop_ids=[start.tokenizer.eos_token_id],
            run=run,
            display=display,
        )
        measured = recipe.generation.win_rate
        if measured.prompts:
            chat = ChatFormat(start.tokenizer, Chat())
            measure_win_rate(trainer, measured, chat, run, display, room=start.base.context, seed=recipe.seed)
        saved = (start.tokenizer, start.base, run.directory)
        fit(
            trainer,
            recipe,
            run,
            display,
            rehearse=lambda: rehearse_saving(model, *saved, stage="pretrain"),
            sample=replies.show,
            sample_every=recipe.generation.every_steps,
        )
        trained = trainer.whole_model()
        folder = in_main_process(trainer, lambda: save_trained(trained, *saved, stage="pretrain"))

    return run.finish(
        Result(
            stage="pretrain",
            artefact=folder.name,
            base=start.base.name,
            steps=trainer.state.global_step,
            seconds=round(time.monotonic() - started, 1),
            figures=final_figures(trainer),
        )
    )
