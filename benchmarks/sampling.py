"""K answers to each prompt, and their scores: llamatune's sampler and scorer beside plain loops, on one model.

python benchmarks/sampling.py runs/pico-sft --reward runs/pico-reward-helpful

Contenders take turns on the same prompts, with one thread each; processor time is what counts, so that other programs
on the machine do not. The loops are the usual ones: `model.generate` with `num_return_sequences`, one prompt at a time,
or in batches of 64 answers in the order of the prompts.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from reporting import Table

from llamatune.data.encode.chat import ChatFormat
from llamatune.data.encode.encoders import encoder_of
from llamatune.data.prepare import prepare
from llamatune.judging.judges import Completion
from llamatune.judging.opening import open_reward_model
from llamatune.judging.scoring import score_rows
from llamatune.models.open import open_model
from llamatune.recipe.stages.common import PromptData
from llamatune.sampling.generate import GenerateSampler
from llamatune.sampling.sampler import How
from llamatune.sampling.samples import prompts_of

K = 16
NEW_TOKENS = 48
PLAIN_BATCH = 64


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model")
    parser.add_argument("--reward", help="a reward model, to score the answers")
    parser.add_argument("--data", default="pico-prompts-helpful", help="data card of prompts")
    parser.add_argument("--prompts", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    torch.set_num_threads(1)
    opened = open_model(options.model)
    chat = ChatFormat(opened.tokenizer, opened.chat)
    prompts = _prompts(options, opened.tokenizer, opened.chat)
    ids = [list(row["input_ids"]) for row in prompts]
    _sampling(opened.model, opened.tokenizer.pad_token_id, chat.stop_ids, ids, options.rounds)
    if options.reward:
        _scoring(opened.model, opened.tokenizer.pad_token_id, chat, prompts, options)


def _prompts(options: argparse.Namespace, tokenizer: Any, chat: Any) -> list[Any]:
    data = PromptData(train=[{"card": options.data, "max_rows": options.prompts}], max_length=512)
    encoder = encoder_of("prompts", data, tokenizer, chat)
    train: Dataset = prepare(data, encoder, kind="prompts", seed=0, recipe_dir=Path()).train
    return prompts_of(train)


def _sampling(
    model: Any, pad_id: int, stop_ids: frozenset[int], prompts: Sequence[list[int]], rounds: int
) -> None:
    wanted = [(prompt, seed) for at, prompt in enumerate(prompts) for seed in range(at * K, at * K + K)]

    def plain(at_once: int) -> None:
        for start in range(0, len(prompts), at_once):
            some = prompts[start : start + at_once]
            width = max(map(len, some))
            model.generate(
                input_ids=torch.tensor([[pad_id] * (width - len(one)) + one for one in some]),
                attention_mask=torch.tensor([[0] * (width - len(one)) + [1] * len(one) for one in some]),
                do_sample=True,
                num_return_sequences=K,
                max_new_tokens=NEW_TOKENS,
                eos_token_id=sorted(stop_ids),
                pad_token_id=pad_id,
            )

    def ours() -> None:
        sampler = GenerateSampler(model, pad_id=pad_id, batch_size=256)
        sampler.sample([one for one, _ in wanted], [seed for _, seed in wanted], How(NEW_TOKENS, stop_ids))

    with torch.no_grad():
        _compare(
            f"{K} answers to each of {len(prompts)} prompts",
            len(wanted),
            {
                "one prompt at a time": lambda: plain(1),
                f"batches of {PLAIN_BATCH}": lambda: plain(PLAIN_BATCH // K),
                "llamatune": ours,
            },
            rounds,
        )


def _scoring(
    model: Any, pad_id: int, chat: ChatFormat, prompts: Sequence[Any], options: argparse.Namespace
) -> None:
    how = How(NEW_TOKENS, frozenset(chat.stop_ids))
    judge = open_reward_model(options.reward)
    rows = [row for row in prompts for _ in range(K)]
    sampled = GenerateSampler(model, pad_id=pad_id, batch_size=256).sample(
        [list(row["input_ids"]) for row in rows], list(range(len(rows))), how
    )
    replies = [Completion(chat.reply_text(one.tokens), one.tokens, one.ended) for one in sampled]
    ids = [judge.ids(row["prompt"], one) for row, one in zip(rows, replies, strict=True)]
    found: dict[str, torch.Tensor] = {}

    def one_by_one() -> None:
        with torch.no_grad():
            scores = [judge.model(input_ids=torch.tensor([one])).logits[0, 0] for one in ids]
        found["one by one"] = torch.stack(scores)

    def end_to_end() -> None:
        found["end to end"] = torch.from_numpy(score_rows(judge.model, [{"input_ids": one} for one in ids]))

    def ours() -> None:
        found["llamatune"] = judge.of_ids([row["prompt"] for row in rows], ids)

    _compare(
        f"scores of {len(ids)} answers, each prompt computed once",
        len(ids),
        {"one by one": one_by_one, "end to end, each prompt computed again": end_to_end, "llamatune": ours},
        options.rounds,
    )
    print(f"largest difference to one by one: {(found['llamatune'] - found['one by one']).abs().max():.1e}")


def _compare(title: str, count: int, contenders: dict[str, Callable[[], None]], rounds: int) -> None:
    """Turns of all contenders; the first one warms up."""
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    for number in range(rounds + 1):
        for name, work in contenders.items():
            started = time.process_time()
            work()
            if number:
                seconds[name].append(time.process_time() - started)
    ours = seconds["llamatune"]
    rows = [
        [
            name,
            f"{count / statistics.median(taken):,.1f}",
            f"{statistics.median(a / b for a, b in zip(taken, ours, strict=True)):.2f}",
        ]
        for name, taken in seconds.items()
    ]
    print(Table(title, ["", "a second of processor time", "times llamatune's time"], rows).text(), flush=True)


if __name__ == "__main__":
    main()
