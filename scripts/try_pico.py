"""What a fresh pico learns from a mix of documents in a few minutes: to choose the mix and the learning rate of
`make pico` before an hour is spent on it. docs/pico_trials.md is the log of such trials.

    python scripts/try_pico.py --mix survey:1 --tokens 800000 --learning-rate 1e-3
    python scripts/try_pico.py --induction --mix copying:1 --until 400000 --then world:0.8,copying:0.2 --tokens 1000000

A mix names kinds of documents with their weights: those of the world's pre-training text (`survey`, `echo`, `quiz`
...), those that only copying foretells (`repeated_rows`, `repeated_pairs`, `repeated_notes` ...), and `world` and
`copying` for all of either, as they are mixed there. After every `--every` tokens a
line says the loss and what the probes of probe_pico.py find.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Callable, Iterator

import torch
from probe_pico import PROBES, foretold, prefix_matching
from transformers import LlamaConfig, LlamaForCausalLM

from llamatune.models.found import find
from llamatune.models.induction import wire_induction
from llamatune.models.open import open_model
from llamatune.world.copying import COPYING_DOCUMENTS
from llamatune.world.dice import Dice
from llamatune.world.pretraining import DOCUMENTS

Make = Callable[[Dice], str]

KINDS: dict[str, Make] = {
    **{make.__name__: make for make, _ in (*DOCUMENTS, *COPYING_DOCUMENTS)},
    "world": lambda dice: dice.weighted(DOCUMENTS)(dice),
    "copying": lambda dice: dice.weighted(COPYING_DOCUMENTS)(dice),
}


def mix_of(text: str) -> list[tuple[Make, float]]:
    named = (part.partition(":") for part in text.split(","))
    return [(KINDS[name], float(weight or 1)) for name, _, weight in named]


def sequences(
    options: argparse.Namespace, encode: Callable[[str], list[int]], eos: int
) -> Iterator[list[int]]:
    """Packed sequences; the second mix begins after `--until` tokens."""
    dice, seen, held = Dice(f"try pico {options.seed}"), 0, list[int]()
    first, second = mix_of(options.mix), mix_of(options.then or options.mix)
    while True:
        held += [*encode(dice.weighted(first if seen < options.until else second)(dice)), eos]
        while len(held) >= options.length:
            yield held[: options.length]
            held, seen = held[options.length :], seen + options.length


def main() -> None:
    options = read_options()
    opened = open_model("pico")
    tokenizer = opened.tokenizer
    config = LlamaConfig(**{**find("pico").base.config, "initializer_range": options.init})
    torch.manual_seed(options.seed)
    model = LlamaForCausalLM(config).float()
    if options.induction:
        wire_induction(model, options.seed)
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=options.learning_rate, betas=(0.9, 0.95), eps=1e-8, weight_decay=0.1
    )
    steps = math.ceil(options.tokens / options.batch / options.length)
    warmup = max(1, round(options.warmup * steps))
    text = sequences(options, lambda said: tokenizer(said).input_ids, tokenizer.eos_token_id)
    started, losses, said = time.monotonic(), list[float](), 0
    for step in range(steps):
        for group in optimizer.param_groups:
            decay = 0.1 + 0.45 * (1 + math.cos(math.pi * step / steps))
            group["lr"] = options.learning_rate * min(1, (step + 1) / warmup) * decay
        batch = torch.tensor([next(text) for _ in range(options.batch)])
        loss = model(input_ids=batch, labels=batch).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        losses.append(float(loss.detach()))
        tokens = (step + 1) * options.batch * options.length
        if tokens - said >= options.every or step + 1 == steps:
            found = ", ".join(
                f"{name} {foretold(model, tokenizer, probe):.0%}" for name, probe in PROBES.items()
            )
            heads = max(prefix_matching(model, tokenizer))
            model.set_attn_implementation("sdpa")
            print(
                f"{tokens:>10,} tokens  {time.monotonic() - started:4.0f} s  loss {sum(losses) / len(losses):.3f}  "
                f"{found}, prefix matching {heads:.2f}",
                flush=True,
            )
            losses, said = [], tokens


def read_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--mix", required=True, help="kinds of documents with their weights: survey:0.6,pairs:0.4")
    add("--then", help="another mix, after --until tokens")
    add("--until", type=int, default=0)
    add("--tokens", type=int, default=1_000_000)
    add("--every", type=int, default=100_000)
    add("--learning-rate", type=float, default=2e-3)
    add("--warmup", type=float, default=0.1, help="share of the steps")
    add("--batch", type=int, default=8)
    add("--length", type=int, default=256)
    add("--induction", action="store_true", help="wire copying into the first weights (`init: induction`)")
    add("--init", type=float, default=0.02, help="standard deviation of the first weights")
    add("--seed", type=int, default=0)
    return parser.parse_args()


if __name__ == "__main__":
    main()
