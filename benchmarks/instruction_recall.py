"""For how many turns does a model keep to an instruction of the first turn (the paper's table 30)?

    python benchmarks/instruction_recall.py runs/pico-sft runs/pico-sft-gatt --dialogues 16 --turns 20

Measured on pico's world, whose styles code can check, on its held-out prompts, greedily; with the models' own replies
in the chat. A model before Ghost Attention and one after it are asked the same.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from typing import Any

from llamatune.data.encode.chat import ChatFormat
from llamatune.judging.recall import recall_by_turn, recall_dialogues
from llamatune.models.open import open_model
from llamatune.recipe.stages.gatt import GhostAttention
from llamatune.sampling.generate import GenerateSampler
from llamatune.sampling.instructions import demands_of
from llamatune.sampling.prompts import PromptRow
from llamatune.sampling.sampler import How
from llamatune.sampling.samples import Sample
from llamatune.world import rows

SHOWN = (1, 2, 4, 6, 8, 10, 15, 20)


def recall(name: str, dialogues: int, turns: int, held_out: list[str]) -> None:
    """Print a line for the styles in training rows, and one for those held out."""
    opened = open_model(name)
    chat = ChatFormat(opened.tokenizer, opened.chat)
    sampler = GenerateSampler(opened.model, pad_id=opened.tokenizer.pad_token_id)
    how = How(48, frozenset(chat.stop_ids), 0.0)
    prompts: list[Any] = [
        {**row, "source": "prompts-helpful", "is_safety": False} for row in rows("prompts-helpful", "eval")
    ]

    def answers(asked: Sequence[PromptRow], turn: int) -> Mapping[str, Sample]:
        found = sampler.sample([prompt["input_ids"] for prompt in asked], [0] * len(asked), how)
        return {
            prompt["prompt_id"]: Sample(
                prompt["prompt_id"],
                0,
                0,
                how.temperature,
                name,
                chat.fingerprint,
                one.tokens,
                "stop" if one.ended else "length",
                chat.reply_text(one.tokens),
            )
            for prompt, one in zip(asked, found, strict=True)
        }

    chats = recall_dialogues(prompts, dialogues, turns, seed=0)
    room = (opened.base.context or 1 << 30) - how.max_new_tokens
    for which, demands in zip(
        ("trained", "held out"), demands_of(GhostAttention(held_out=held_out)), strict=True
    ):
        found = recall_by_turn(chats, demands, chat, answers, room=room, seed=0)
        shown = [
            f"{row['turn']}: {row['followed']}/{row['dialogues']}" for row in found if row["turn"] in SHOWN
        ]
        print(f"{name}  {which:8}  {'  '.join(shown)}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("models", nargs="+")
    parser.add_argument("--dialogues", type=int, default=16)
    parser.add_argument("--turns", type=int, default=20)
    parser.add_argument("--held-out", nargs="*", default=["Wizard Zed", "music", "pirate"])
    given = parser.parse_args()
    for name in given.models:
        recall(name, given.dialogues, given.turns, given.held_out)


if __name__ == "__main__":
    main()
