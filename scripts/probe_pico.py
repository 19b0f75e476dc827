"""What a small model can copy, measured in seconds: before a whole training and after it.

    python scripts/probe_pico.py pico runs/pico-pretrain

Three figures, each over fixed random cases:

* *induction*: a row of random words is said twice; how often the next word of the second time is foretold, and how much
  attention its best head pays to the word after the same word the first time (Olsson et al. 2022, prefix matching);
* *copying*: the same for names and for lists of the world, with other text between the two;
* *look-up*: notes as the exam's, with answers that the note decides; chance is one of the note's values.
"""

from __future__ import annotations

import sys

import torch

from llamatune.models.open import open_model
from llamatune.world.dice import Dice
from llamatune.world.lexicon import LIST_WORDS, USERS
from llamatune.world.lookup import NOTE_QUESTIONS

CASES = 60


def words_twice(dice: Dice) -> tuple[str, str]:
    """Random words, and the same again: what stands before, and what should follow."""
    words = dice.sample(LIST_WORDS, 12)
    return " ".join(words) + ". " + " ".join(words[:6]), " " + words[6]


def name_far_away(dice: Dice) -> tuple[str, str]:
    """A name is said, then something else, then it is asked for."""
    name = dice.pick(USERS)
    between = " ".join(f"The {word} is good." for word in dice.sample(LIST_WORDS, 5))
    return f"My name is {name}. {between} Your name is", f" {name}"


def list_again(dice: Dice) -> tuple[str, str]:
    """A list, then something else, then the list once more up to its third word."""
    items = dice.sample(LIST_WORDS, 5)
    return f"The list is {', '.join(items)}. Here it is again: {', '.join(items[:2])},", f" {items[2]}"


def looked_up(dice: Dice) -> tuple[str, str]:
    """A note of the world, and an answer up to its value."""
    question = NOTE_QUESTIONS[0]
    slots = question.arguments(dice)
    value = question.links(slots["note"].lower())[slots["thing"]]
    return (
        f"Note: {slots['note']}. Where is the {slots['thing']}? The {slots['thing']} is in the",
        f" {value}",
    )


PROBES = {
    "words twice": words_twice,
    "name far away": name_far_away,
    "list again": list_again,
    "look-up": looked_up,
}


@torch.no_grad()
def foretold(model: torch.nn.Module, tokenizer, probe) -> float:  # type: ignore[no-untyped-def]
    """The share of cases in which the first token of what should follow is the likeliest."""
    dice, right = Dice(f"probe {probe.__name__}"), 0
    for _ in range(CASES):
        before, after = probe(dice)
        ids = tokenizer(before, add_special_tokens=True).input_ids
        whole = tokenizer(before + after, add_special_tokens=True).input_ids
        logits = model(input_ids=torch.tensor([ids])).logits[0, -1]
        right += int(logits.argmax()) == whole[len(ids)]
    return right / CASES


@torch.no_grad()
def prefix_matching(model: torch.nn.Module, tokenizer) -> list[float]:  # type: ignore[no-untyped-def]
    """Of each layer the best head's mean attention, in the second of two equal rows of random tokens, to the token
    after the one that it repeats."""
    generator = torch.Generator().manual_seed(0)
    row = torch.randint(300, len(tokenizer), (16, 24), generator=generator)
    model.set_attn_implementation("eager")  # type: ignore[operator]
    layers = model(input_ids=torch.cat([row, row], dim=1), output_attentions=True).attentions
    later = torch.arange(25, 48)
    return [float(layer[:, :, later, later - 23].mean((0, 2)).max()) for layer in layers]


def main(names: list[str]) -> None:
    for name in names:
        opened = open_model(name)
        model, tokenizer = opened.model, opened.tokenizer
        print(name)
        for title, probe in PROBES.items():
            print(f"  {title:16} {foretold(model, tokenizer, probe):.0%}")
        heads = ", ".join(f"{share:.2f}" for share in prefix_matching(model, tokenizer))
        print(f"  prefix matching, best head of each layer: {heads}")


if __name__ == "__main__":
    main(sys.argv[1:])
