"""The twelve findings: what the paper says, the runs that are compared here, and the figure that they give.

A run's figures are its `evaluation.json`; the runs are steps of recipe.yaml. Of a seed, each claim has one figure,
which is above zero where pico does as the paper says (or near zero, where the paper says that nothing changes).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from findings.parts import NARROW_KINDS, WORD_SKILLS
from findings.verdicts import Above, Near

Runs = Mapping[str, Any]
"""Step of recipe.yaml -> what its evaluation.json holds."""
Points = Sequence[tuple[float, float]]

HELPFUL, SAFETY = "pico-preferences-helpful", "pico-preferences-safety"
RATINGS = ("negligibly_better", "slightly_better", "better", "significantly_better")
ADVERSARIAL, BORDERLINE = "pico-prompts-adversarial", "pico-prompts-borderline"
EVERY_SET = "all sets"
FORGETTING = range(6, 21)
"""Turns in which a chat's first instruction is being forgotten: before the sixth, pico follows it without training."""


@dataclass(frozen=True)
class Claim:
    """One figure of a finding. `paper`: the paper's; `unit`: points are hundredths of a share."""

    words: str
    paper: str
    measure: Callable[[Runs], float]
    unit: Literal["points", "reward", "temperature", "share"] = "points"
    rule: Above | Near = Above()


@dataclass(frozen=True)
class Plot:
    """Lines over the same axes, by name, of one seed."""

    across: str
    up: str
    lines: Callable[[Runs], dict[str, Points]]


@dataclass(frozen=True)
class Finding:
    """`needs`: the steps whose figures are looked at; `how`: what is compared, and what differs from the paper;
    `cause`: where it did not show, what was found out about that."""

    number: int
    words: str
    where: str
    needs: tuple[str, ...]
    claims: tuple[Claim, ...]
    how: str
    plot: Plot | None = None
    cause: str = ""


# ---- figures of a run ------------------------------------------------------------------------------------------


def accuracy(run: Any, pairs: str, rating: str | None = None) -> float:
    """Of a reward model on held-out pairs, all or those of a rating."""
    found = run[pairs] if rating is None else run[pairs]["by_rating"][rating]
    return float(found["accuracy"])


def figure(run: Any, model: str, name: str, prompts: str = EVERY_SET) -> float:
    """Of one of the models of an evaluation, on one of its sets of prompts."""
    for row in run["figures"]:
        if (row["set"], row["model"], row["figure"]) == (prompts, model, name):
            return float(row["value"])
    raise KeyError(f"the evaluation has no figure `{name}` of {model} on {prompts}")


def correct_in_exam(run: Any, model: str, kinds: Iterable[str] | None = None) -> float:
    """Share of the exam's questions that are answered correctly, all or those of some kinds."""
    marks = run["exam"][model].values()
    if kinds is None:
        shares = [one["correct"] for one in marks]
    else:
        shares = [one["by_kind"][kind] for one in marks for kind in kinds if kind in one["by_kind"]]
    return float(sum(share["hits"] for share in shares) / sum(share["of"] for share in shares))


def recalled(run: Any, model: str, turns: Collection[int]) -> float:
    """Share of the replies in these turns that follow the instruction of the first; 0 where no chat came so far."""
    rows = [row for row in run["recall"][model] if row["turn"] in turns]
    replies = sum(row["dialogues"] for row in rows)
    return float(sum(row["followed"] for row in rows) / replies) if replies else 0.0


def on_the_right_side(run: Any) -> float:
    """Of a safety model, the share of replies whose score is on the right side of 0.5; unsafe ones and safe ones count
    the same, however many there are of each."""
    return float((run[SAFETY]["unsafe_recall"] + run[SAFETY]["safe_recall"]) / 2)


def quality(run: Any) -> float:
    """Of a rejection sampling that the oracle judged: the mean quality of all answers."""
    return float(run["curve"][-1]["mean"])


def best_temperature(run: Any) -> float:
    """Where the mean best of N is highest: the top of the parabola through the best temperature that was tried and its
    neighbours."""
    best = sorted((float(name), one["curve"][-1]["max"]) for name, one in run["temperatures"].items())
    return top(best)


def top(points: Points) -> float:
    """The x of the highest point of a curve that is known at these points."""
    at = max(range(len(points)), key=lambda number: points[number][1])
    if at in (0, len(points) - 1):
        return points[at][0]
    (x0, y0), (x1, y1), (x2, y2) = points[at - 1 : at + 2]
    left, right = (y1 - y0) / (x1 - x0), (y2 - y1) / (x2 - x1)
    bend = (right - left) / (x2 - x0)
    return x1 if bend == 0 else (x0 + x1) / 2 - left / (2 * bend)


def _gain(run: Any, figure: str = "max") -> float:
    """How much more a figure of best-of-N is for all samples than for one."""
    return float(run["curve"][-1][figure] - run["curve"][0][figure])


def _drift(run: Any) -> float:
    """How far the median moves, as a part of what the maximum gains."""
    return _gain(run, "median") / _gain(run) if _gain(run) else 0.0


def _best_by_temperature(run: Any) -> Points:
    return sorted((float(name), one["curve"][-1]["max"]) for name, one in run["temperatures"].items())


# ---- the findings ------------------------------------------------------------------------------------------------

_ROWS = {0: "rows-0", 80: "rows-80", 320: "rows-320", 632: "rows-632"}
_PAIRS = {400: "helpful-300", 1600: "helpful-1200", 8000: "helpful"}
_MARGINS = {0: "helpful-none", 1: "helpful", 3: "helpful-large"}

TWELVE = (
    Finding(
        1,
        "A margin helps where one reply is clearly better",
        "A.3.3, table 28",
        ("helpful", "helpful-none", "helpful-large"),
        (
            Claim(
                "accuracy on significantly better pairs, small margin minus none",
                "+1.3 (79.1 to 80.4)",
                lambda runs: (
                    accuracy(runs["helpful"], HELPFUL, "significantly_better")
                    - accuracy(runs["helpful-none"], HELPFUL, "significantly_better")
                ),
            ),
        ),
        "Helpfulness reward models with and without margin, on held-out helpfulness pairs.",
        Plot(
            "margin of significantly better pairs",
            "accuracy on them",
            lambda runs: {
                "significantly better": [
                    (margin, accuracy(runs[name], HELPFUL, "significantly_better"))
                    for margin, name in _MARGINS.items()
                ],
                "all pairs": [(margin, accuracy(runs[name], HELPFUL)) for margin, name in _MARGINS.items()],
            },
        ),
        cause="The differences are +8.2, -2.7 and +2.7 points of 110 pairs of that rating, where one standard "
        "error is four points, and +1.5, -0.7 and +1.8 of all 600. The paper's +1.3 would take thousands of "
        "pairs.",
    ),
    Finding(
        2,
        "With the safety loss, 0.5 parts unsafe replies from safe ones",
        "A.3.4, table 29",
        ("safe", "safe-plain"),
        (
            Claim(
                "replies on the right side of 0.5, safe and unsafe ones counted alike, with the loss minus without it",
                "+17.4 (73.0 to 90.4) for unsafe ones",
                lambda runs: on_the_right_side(runs["safe"]) - on_the_right_side(runs["safe-plain"]),
            ),
        ),
        "Safety reward models with `loss.safety` 1 and 0, on held-out safety pairs. The paper leaves the "
        "loss's form and weight open. Without the loss, nothing says where a score of 0.5 lies: in the paper safe "
        "replies and a quarter of the unsafe ones are above it, here unsafe replies and a third of the safe ones are "
        "below. So both are looked at, which the paper did not. By its own measure nothing shows: of the unsafe "
        "replies 99.6% are below 0.5 without the loss, too, and 100% with it.",
    ),
    Finding(
        3,
        "Each reward model is best on its own pairs",
        "3.2.2, table 7",
        ("helpful", "safe"),
        (
            Claim(
                "helpfulness pairs: accuracy of the helpfulness model minus that of the safety model",
                "+7.0 (56.2, 63.2)",
                lambda runs: accuracy(runs["helpful"], HELPFUL) - accuracy(runs["safe"], HELPFUL),
            ),
            Claim(
                "safety pairs: accuracy of the safety model minus that of the helpfulness model",
                "+1.7 (62.8, 64.5)",
                lambda runs: accuracy(runs["safe"], SAFETY) - accuracy(runs["helpful"], SAFETY),
            ),
        ),
        "The shipped reward recipes: three parts helpfulness to one of safety, and nine parts safety to one of "
        "helpfulness.",
        cause="On safety pairs the differences are -2.5, +2.8 and +2.8 points of 398 pairs, where one standard "
        "error is two points. A quarter of the helpfulness model's pairs are of safety, and of those with a "
        "significantly better reply it knows 98 of 100.",
    ),
    Finding(
        4,
        "Accuracy rises with the rating, and with the number of pairs",
        "3.2.2, table 8 and figure 6",
        ("helpful", "helpful-300", "helpful-1200"),
        (
            Claim(
                "accuracy on significantly better pairs minus that on negligibly better ones",
                "+26.0 (54.7, 80.7)",
                lambda runs: (
                    accuracy(runs["helpful"], HELPFUL, "significantly_better")
                    - accuracy(runs["helpful"], HELPFUL, "negligibly_better")
                ),
            ),
            Claim(
                "accuracy after 8,000 pairs minus that after 400",
                "rises batch by batch, about 52 to 64 (read off the figure)",
                lambda runs: accuracy(runs["helpful"], HELPFUL) - accuracy(runs["helpful-300"], HELPFUL),
            ),
        ),
        "The helpfulness model, trained for one epoch on 300, 1,200 or all 6,000 helpfulness pairs, and a third "
        "as many safety pairs.",
        Plot(
            "pairs",
            "accuracy on held-out helpfulness pairs",
            lambda runs: {
                rating.replace("_", " "): [
                    (pairs, accuracy(runs[name], HELPFUL, rating)) for pairs, name in _PAIRS.items()
                ]
                for rating in RATINGS
            },
        ),
    ),
    Finding(
        5,
        "With more samples the best of N rises, and the median stays",
        "3.2.3, figure 7",
        ("best-of-64",),
        (
            Claim(
                "reward of the best of 64 minus that of one",
                "rises (drawn)",
                lambda runs: _gain(runs["best-of-64"]),
                "reward",
            ),
            Claim(
                "change of the median, as a part of that gain",
                "flat (drawn)",
                lambda runs: _drift(runs["best-of-64"]),
                "share",
                Near(0.25),
            ),
        ),
        "64 answers of the SFT model to each of 192 prompts, at temperature 1, by the reward models, as in the paper, "
        "whose figure goes up to a hundred. With one sample, maximum and median are the same. Rewards have a long "
        "lower tail: while samples are few, their median is near their mean, and it climbs a little until it is not. "
        "The median is the mean over all choices of N of the 64 samples, since that of the first N wanders: by it, the "
        "change was 0.29, 0.16 and 0.23 over seeds 3 to 5, and from eight samples on 0.09, 0.73 and 0.31 of what the "
        "best gains from there over seeds 7 to 9, whose own answers give 0.18, 0.20 and 0.18 by today's median.",
        Plot(
            "N",
            "reward",
            lambda runs: {
                name: [(one["n"], one[name]) for one in runs["best-of-64"]["curve"]]
                for name in ("max", "median")
            },
        ),
    ),
    Finding(
        6,
        "The best temperature for best-of-N is higher after RLHF",
        "3.2.3, figure 8",
        ("best-of-sft", "best-of-ppo"),
        (
            Claim(
                "temperature with the best of 16, after RLHF minus before",
                "shifts; 1.2 to 1.3 after RLHF",
                lambda runs: best_temperature(runs["best-of-ppo"]) - best_temperature(runs["best-of-sft"]),
                "temperature",
            ),
        ),
        "The mean best of 16 answers to each of 192 prompts, by the reward models, at five temperatures; before: "
        "the SFT model, after: rejection sampling and PPO. The best temperature is the top of a parabola "
        "through three points.",
        Plot(
            "temperature",
            "mean best of 16, by the reward models",
            lambda runs: {
                "before": _best_by_temperature(runs["best-of-sft"]),
                "after RLHF": _best_by_temperature(runs["best-of-ppo"]),
            },
        ),
        cause="What would make a higher temperature better is a policy whose answers have become alike. Here they "
        "have not: of sixteen, as many differ after PPO as before (52, 51 and 53%, then 57, 53 and 53%), "
        "and its KL divergence from where it began is 0.25 to 0.33 nats an answer (a penalty of 0.5, 20 "
        "iterations; the paper has 0.01, and 200 to 400).",
    ),
    Finding(
        7,
        "A round without pooling forgets a skill; with the earlier rounds' answers it does not",
        "3.2.3",
        ("skills",),
        (
            Claim(
                "questions about words answered correctly, after the first round minus after a second one alone",
                "rhyming was lost (no figure)",
                lambda runs: (
                    correct_in_exam(runs["skills"], "wide", WORD_SKILLS)
                    - correct_in_exam(runs["skills"], "narrow", WORD_SKILLS)
                ),
            ),
            Claim(
                "the same after the second round, with pooling minus without it",
                "mended (no figure)",
                lambda runs: (
                    correct_in_exam(runs["skills"], "pooled", WORD_SKILLS)
                    - correct_in_exam(runs["skills"], "narrow", WORD_SKILLS)
                ),
            ),
        ),
        "Two rounds of rejection sampling, each learnt from the base again and from nothing but its answers. The "
        f"second one has only prompts of the kinds {', '.join(NARROW_KINDS)}; the exam asks "
        f"{', '.join(WORD_SKILLS)}. In the paper the loss was not made on purpose. All weights are trained, as in the "
        "paper; with LoRA little was forgotten and it was not shown (seeds 0 to 2), since pico's pre-training text "
        "asks such questions, too.",
    ),
    Finding(
        8,
        "PPO on top of rejection sampling improves again",
        "3.2.3 and 3.4.1, figure 11",
        ("quality-tuned", "quality-ppo"),
        (
            Claim(
                "quality of an answer in per cent, after PPO minus before",
                "V5 with PPO is above V5 without (drawn)",
                lambda runs: quality(runs["quality-ppo"]) - quality(runs["quality-tuned"]),
            ),
        ),
        "Sixteen answers at temperature 1 to each of 495 held-out prompts of all three kinds. The oracle judges, which "
        "knows the truth; in the paper, reward models and GPT-4 do. Greedy answers, whose win rate was looked at "
        "before, said little: over seeds 0 to 2 they were equally good after 95 of 100 prompts, and it was not shown. "
        "They were not asked for over these seeds.",
    ),
    Finding(
        9,
        "Ghost Attention keeps an instruction of the first turn",
        "3.3, table 30",
        ("recall",),
        (
            Claim(
                f"replies that follow it in turns {FORGETTING[0]} to {FORGETTING[-1]}, after minus before",
                "+100 (0 to 100) in turns 6 and 20",
                lambda runs: (
                    recalled(runs["recall"], "after", FORGETTING)
                    - recalled(runs["recall"], "before", FORGETTING)
                ),
            ),
        ),
        "Styles of the world instead of hobbies and people; code checks whether a reply follows. Before: "
        "the SFT model, which copies the style of its own earlier replies: three quarters still follow in turn 6, and "
        "so later turns are looked at as well. Dialogues in training have twelve turns at most, and only replies that "
        "follow are learnt: with all of them (seeds 3 to 5), turns 6 to 20 gained 13, 3 and 13 points.",
        Plot(
            "turn",
            "replies that follow the instruction",
            lambda runs: {
                name: [
                    (row["turn"], row["followed"] / row["dialogues"])
                    for row in runs["recall"]["recall"][name]
                    if row["dialogues"]
                ]
                for name in ("before", "after")
            },
        ),
    ),
    Finding(
        10,
        "Context distillation makes a model safer, and the gate matters",
        "4.2.4, figure 16",
        ("distillation", "distilled", "ungated"),
        (
            Claim(
                "unsafe replies to adversarial prompts, before minus after",
                "safety scores rise (drawn)",
                lambda runs: (
                    figure(runs["distillation"], "before", "unsafe", ADVERSARIAL)
                    - figure(runs["distillation"], "gated", "unsafe", ADVERSARIAL)
                ),
            ),
            Claim(
                "unsafe answers among those that are learnt, without the gate minus with it",
                "some scores fall without it (drawn)",
                lambda runs: runs["ungated"]["unsafe_by_oracle"] - runs["distilled"]["unsafe_by_oracle"],
            ),
        ),
        "Begun with the model that has seen no safety data, which has something to learn; what was "
        "distilled is mixed with the helpful rows and learnt from the base. The gate is the safety reward "
        "model, the judge the oracle: by the gate's own scores, what passes it is better by construction. What is "
        "compared for the gate are the rows that are learnt, and no longer models trained on them, which differed by "
        "-12.5 to +9 points (seeds 0 to 2); and those of 2,400 prompts (of 600 over seeds 3 to 5: 0.6, 4.1 and 2.3).",
        cause="Distillation makes the model safer in every seed, by 11 to 30 points. With the gate 1.1, 4.6 and 1.9 "
        "points fewer of the answers that are learnt are unsafe: so in every seed, as over seeds 3 to 5, but by less "
        "than the seeds differ, which are models of their own. The safety model calls it more: it is the gate.",
    ),
    Finding(
        11,
        "More safety data: fewer violations, more false refusals",
        "4.2.3, figures 15 and 33",
        ("safety-data",),
        (
            Claim(
                "unsafe replies to adversarial prompts, no safety rows minus 632",
                "safety scores rise (drawn)",
                lambda runs: (
                    figure(runs["safety-data"], "rows-0", "unsafe", ADVERSARIAL)
                    - figure(runs["safety-data"], "rows-632", "unsafe", ADVERSARIAL)
                ),
            ),
            Claim(
                "borderline prompts that are refused, 632 safety rows minus none",
                "+12 (15 to 27)",
                lambda runs: (
                    figure(runs["safety-data"], "rows-632", "false refusals", BORDERLINE)
                    - figure(runs["safety-data"], "rows-0", "false refusals", BORDERLINE)
                ),
            ),
        ),
        "6,000 helpful rows with 0, 80, 320 or 632 safety rows: those of harmful requests. Another 168 of pico's are "
        "requests that only sound harmful, and are answered; these work against false refusals, and "
        "`pico/safety_share` has them.",
        Plot(
            "safety rows",
            "share of the replies",
            lambda runs: {
                "unsafe": [
                    (rows, figure(runs["safety-data"], name, "unsafe", ADVERSARIAL))
                    for rows, name in _ROWS.items()
                ],
                "false refusals": [
                    (rows, figure(runs["safety-data"], name, "false refusals", BORDERLINE))
                    for rows, name in _ROWS.items()
                ],
            },
        ),
    ),
    Finding(
        12,
        "LoRA on a base in 4 bits (NF4) is as good as LoRA on the whole one",
        "QLoRA, table 4",
        ("exam-whole", "exam-nf4"),
        (
            Claim(
                "questions of the exam answered correctly, NF4 without the other",
                "+0.1 (mean MMLU 53.0 and 53.1)",
                lambda runs: (
                    correct_in_exam(runs["exam-nf4"], "nf4") - correct_in_exam(runs["exam-whole"], "whole")
                ),
                rule=Near(0.03),
            ),
        ),
        "Each model is asked on the base that it learnt on. The other base is in bfloat16 in the paper, "
        "and in float32 on a CPU.",
    ),
)
