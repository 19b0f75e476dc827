"""Supervised fine-tuning (paper section 3.1): learn to answer from demonstrations.

Conversations become tokens with the loss on the answers only ("zero out the loss on tokens from the user
prompt"), and `trl.SFTTrainer` minimises the next-token loss over them: AdamW, cosine schedule to 10%, a global
batch of 64, two epochs. Differs from the paper in that conversations are not packed by default.

    llamatune run recipes/pico/sft.yaml
"""

from __future__ import annotations

import time

from llamatune.data.chat import ChatFormat
from llamatune.data.draft import draft_cards
from llamatune.data.prepare import prepare
from llamatune.models.adapters import keep_float32
from llamatune.models.collate import Collator
from llamatune.models.load import find_start, load_for_training
from llamatune.models.progress import ProgressCallback, final_figures
from llamatune.models.replies import SampleReplies, chat_prompts
from llamatune.models.saving import save_trained
from llamatune.models.upstream import sft_config
from llamatune.recipe.recipes import SftRecipe
from llamatune.runs.display import Display
from llamatune.runs.run import Result, Run


def run(recipe: SftRecipe, run: Run) -> Result:
    """Fine-tune on conversations; leaves `adapter/` or `model/` in the run directory."""
    from transformers import PrinterCallback
    from trl import SFTTrainer

    started = time.monotonic()
    with Display("sft") as display:
        start = find_start(recipe.model, recipe.hardware, max_length=recipe.data.max_length)
        chat = ChatFormat(
            start.tokenizer, recipe.chat, max_length=recipe.data.max_length, too_long=recipe.data.too_long
        )
        data = prepare(
            recipe.data,
            chat,
            kind="conversations",
            seed=recipe.seed,
            recipe_dir=run.recipe_dir,
            report=display.say,
        )
        run.write_json("data.json", data.to_json())
        for card in draft_cards(data.sources, run.directory / "data_cards"):
            display.say(f"draft    {card}: a card for this file; its licence is yours to fill in")

        arguments = sft_config(recipe, start.placement, run.directory, has_eval=data.eval is not None)
        model = load_for_training(start, recipe.model, seed=recipe.seed, report=display.say)
        collator = Collator(start.tokenizer.pad_token_id)
        replies = SampleReplies(
            model,
            start.tokenizer,
            chat_prompts(recipe.generation, chat, data.eval or data.train),
            recipe.generation,
            stop_ids=chat.stop_ids,
            run=run,
            display=display,
        )
        trainer = SFTTrainer(
            model=model,
            args=arguments,
            train_dataset=data.train,
            eval_dataset=data.eval,
            processing_class=start.tokenizer,
            data_collator=collator,
            callbacks=[
                ProgressCallback(
                    run, display, collator, sample=replies.show, sample_every=recipe.generation.every_steps
                )
            ],
        )
        keep_float32(model)
        trainer.remove_callback(PrinterCallback)  # it would print every log line as a dictionary
        replies.show(0)
        trainer.train()
        replies.show(trainer.state.global_step)
        folder = save_trained(model, start.tokenizer, start.base, run.directory, stage="sft", chat=chat)

    return run.finish(
        Result(
            stage="sft",
            artefact=folder.name,
            base=start.base.name,
            steps=trainer.state.global_step,
            seconds=round(time.monotonic() - started, 1),
            figures=final_figures(trainer.state.log_history),
        )
    )
