"""Pre-training, from scratch or continued (paper section 2): predict the next token of plain text.

Each document is one BOS, its text and one EOS; several documents fill a sequence, with attention and positions
kept inside each document. AdamW (0.9, 0.95, 1e-5), weight decay 0.1, clip 1.0, cosine schedule to 10%.

    llamatune run recipes/pico/pretrain.yaml
"""

from __future__ import annotations

import time

from llamatune.data.draft import draft_cards
from llamatune.data.encode_text import TextEncoder
from llamatune.data.packing import pack
from llamatune.data.prepare import prepare
from llamatune.models.adapters import keep_float32
from llamatune.models.collate import Collator, require_isolation
from llamatune.models.load import find_start, load_for_training
from llamatune.models.progress import ProgressCallback, final_figures
from llamatune.models.replies import SampleReplies, text_prompts
from llamatune.models.saving import save_trained
from llamatune.models.upstream import sft_config
from llamatune.recipe.recipes import PretrainRecipe
from llamatune.runs.display import Display
from llamatune.runs.run import Result, Run


def run(recipe: PretrainRecipe, run: Run) -> Result:
    """Train on documents; leaves `model/` (or `adapter/`) in the run directory."""
    from transformers import PrinterCallback
    from trl import SFTTrainer

    started = time.monotonic()
    with Display("pretrain") as display:
        start = find_start(recipe.model, recipe.hardware, max_length=recipe.data.max_length)
        encoder = TextEncoder(
            start.tokenizer, max_length=recipe.data.max_length, too_long=recipe.data.too_long
        )
        data = prepare(
            recipe.data,
            encoder,
            kind="documents",
            seed=recipe.seed,
            recipe_dir=run.recipe_dir,
            report=display.say,
        )
        run.write_json("data.json", data.to_json())
        for card in draft_cards(data.sources, run.directory / "data_cards"):
            display.say(f"draft    {card}: a card for this file; its licence is yours to fill in")
        train = (
            pack(data.train, recipe.data.max_length, recipe.seed, display.say)
            if recipe.data.packing
            else data.train
        )

        arguments = sft_config(recipe, start.placement, run.directory, has_eval=data.eval is not None)
        model = load_for_training(start, recipe.model, seed=recipe.seed, report=display.say)
        if recipe.data.packing:
            require_isolation(model)
        collator = Collator(start.tokenizer.pad_token_id)
        replies = SampleReplies(
            model,
            start.tokenizer,
            text_prompts(recipe.generation, start.tokenizer),
            recipe.generation,
            stop_ids=[start.tokenizer.eos_token_id],
            run=run,
            display=display,
        )
        trainer = SFTTrainer(
            model=model,
            args=arguments,
            train_dataset=train,
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
        folder = save_trained(model, start.tokenizer, start.base, run.directory, stage="pretrain")

    return run.finish(
        Result(
            stage="pretrain",
            artefact=folder.name,
            base=start.base.name,
            steps=trainer.state.global_step,
            seconds=round(time.monotonic() - started, 1),
            figures=final_figures(trainer.state.log_history),
        )
    )
