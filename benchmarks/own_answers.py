"""Can reward models tell a policy's own good answers from its bad ones?

    python benchmarks/own_answers.py runs/pico-sft --reward runs/pico-reward-helpful runs/pico-reward-own

The policy answers held-out prompts of pico's world sixteen times each at a high temperature. Of the pairs of answers to
one prompt that differ in quality by the oracle, so many have their rewards in the same order (equal rewards count
half); and so good is the answer with the highest reward of the sixteen, beside one at random and the best.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Sequence

from llamatune import judge, sample
from llamatune.judging.disagreement import JudgedTwice, disagreement
from llamatune.world import judge as oracle
from llamatune.world import rows

SETS = ("prompts-helpful", "prompts-borderline", "prompts-adversarial")
CLEAR = 0.5
"""A gap in quality that nobody would overlook: right against wrong."""

Groups = Sequence[Sequence[JudgedTwice]]


def told(groups: Groups, least: float) -> str:
    """Of the pairs with at least that gap in quality: how many have their rewards in the same order."""
    compared, same = 0, 0.0
    for group in groups:
        for better in group:
            for worse in group:
                if better.quality > worse.quality and better.quality - worse.quality >= least:
                    compared += 1
                    same += (better.reward > worse.reward) + 0.5 * (better.reward == worse.reward)
    return f"{same / compared:.1%} of {compared:,}" if compared else "no pairs"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("policy")
    parser.add_argument("--reward", nargs="+", required=True)
    parser.add_argument("--samples", type=int, default=16)
    parser.add_argument("--temperature", type=float, default=1.3)
    given = parser.parse_args()
    for name in SETS:
        prompts = [row["prompt"] for row in rows(name, "eval")]
        replies = sample(
            given.policy, prompts, samples=given.samples, temperature=given.temperature, max_new_tokens=48
        )
        texts = [[one.text for one in group] for group in replies]
        qualities = [
            [oracle(prompt, text).quality for text in group]
            for prompt, group in zip(prompts, texts, strict=True)
        ]
        mean = statistics.mean(value for group in qualities for value in group)
        best = statistics.mean(map(max, qualities))
        print(f"{name}: quality of one answer {mean:.3f}, of the best of {given.samples} {best:.3f}")
        for model in given.reward:
            [scores] = judge([model], prompts, replies).values()
            groups = [
                [JudgedTwice("", *one) for one in zip(*three, strict=True)]
                for three in zip(texts, scores, qualities, strict=True)
            ]
            chosen = statistics.mean(max(group, key=lambda one: one.reward).quality for group in groups)
            print(
                f"  {model}: {disagreement(groups)['pairs']['agree']:.1%} of all pairs, with a clear gap "
                f"{told(groups, CLEAR)}; quality of its favourite {chosen:.3f}",
                flush=True,
            )


if __name__ == "__main__":
    main()
