"""The twelve findings: what the paper says, the runs that are compared here, and the figure that they give.

A run's figures are its `evaluation.json`; the runs are steps of recipe.yaml. Of a seed, each claim has one figure,
which is above zero where pico does as the paper says (or near zero, where the paper says that nothing changes).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from findings.verdicts import Above, Near

Runs = Mapping[str, Any]
"""Step of recipe.yaml -> what its evaluation.json holds."""
Points = Sequence[tuple[float, float]]

HELPFUL, SAFETY = "pico-preferences-helpful", "pico-preferences-safety"
RATINGS = ("negligibly_better", "slightly_better", "better", "significantly_better")
ADVERSARIAL, BORDERLINE = "pico-prompts-adversarial", "pico-prompts-borderline"
EVERY_SET = "all sets"
WORD_SKILLS = ("rhyme", "opposite", "plural", "past", "sort", "reverse", "first", "last")
"""Kinds of question that the second round of finding 7 does not ask: what can be done with words. The paper's model
forgot how to rhyme."""
RECALL_TURN = 6


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


def win_rate(run: Any, model: str) -> float:
    """Win / (win + loss) against the baseline on all prompts, says the oracle; a half where nobody won."""
    for row in run["win_rates"]:
        if (row["judge"], row["set"], row["model"]) == ("oracle", EVERY_SET, model):
            return float(row["rate"]["value"]) if row["rate"] else 0.5
    raise KeyError(f"the evaluation has no matches of {model} that the oracle judged")


def correct_in_exam(run: Any, model: str, kinds: Iterable[str] | None = None) -> float:
    """Share of the exam's questions that are answered correctly, all or those of some kinds."""
    marks = run["exam"][model].values()
    if kinds is None:
        shares = [one["correct"] for one in marks]
    else:
        shares = [one["by_kind"][kind] for one in marks for kind in kinds if kind in one["by_kind"]]
    return float(sum(share["hits"] for share in shares) / sum(share["of"] for share in shares))


def recalled(run: Any, model: str, turn: int) -> float:
    """Share of the replies in that turn that follow the instruction of the first; 0 where no chat came so far."""
    for row in run["recall"][model]:
        if row["turn"] == turn and row["dialogues"]:
            return float(row["followed"] / row["dialogues"])
    return 0.0


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


def _gain(run: Any) -> float:
    return float(run["curve"][-1]["max"] - run["curve"][0]["max"])


def _drift(run: Any) -> float:
    """How far the median moves, as a part of what the maximum gains."""
    moved = run["curve"][-1]["median"] - run["curve"][0]["median"]
    return float(moved / _gain(run)) if _gain(run) else 0.0


def _best_by_temperature(run: Any) -> Points:
    return sorted((float(name), one["curve"][-1]["max"]) for name, one in run["temperatures"].items())


# ---- the findings ------------------------------------------------------------------------------------------------

_ROWS = {0: "rows-0", 100: "rows-100", 400: "rows-400", 800: "rows-800"}
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
    ),
    Finding(
        2,
        "The safety loss raises the recall of unsafe replies",
        "A.3.4, table 29",
        ("safe", "safe-plain"),
        (
            Claim(
                "unsafe replies with a score below 0.5, with the loss minus without it",
                "+17.4 (73.0 to 90.4)",
                lambda runs: (
                    runs["safe"][SAFETY]["unsafe_recall"] - runs["safe-plain"][SAFETY]["unsafe_recall"]
                ),
            ),
        ),
        "Safety reward models with `loss.safety` 1 and 0, on held-out safety pairs. The paper leaves the "
        "loss's form and weight open.",
        cause="Nearly all are below 0.5 without the loss, too (97 to 100%). What it changes are the safe replies: "
        "99.8% of them are above 0.5 with it, and 59 to 77% without.",
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
        ("best-of-sft",),
        (
            Claim(
                "reward of the best of 16 minus that of one",
                "rises (drawn)",
                lambda runs: _gain(runs["best-of-sft"]),
                "reward",
            ),
            Claim(
                "change of the median, as a part of that gain",
                "flat (drawn)",
                lambda runs: _drift(runs["best-of-sft"]),
                "share",
                Near(0.25),
            ),
        ),
        "16 answers of the SFT model to each of 192 prompts, at its best temperature, by the reward models, as "
        "in the paper. With one sample, maximum and median are the same.",
        Plot(
            "N",
            "reward",
            lambda runs: {
                name: [(one["n"], one[name]) for one in runs["best-of-sft"]["curve"]]
                for name in ("max", "median")
            },
        ),
        cause="Where samples are few, their median is near their mean, and rewards have a long lower tail: most of "
        "the median's way, 0.3 points, is made by eight samples. Judged by the oracle instead, with pico's "
        "state of 2026-11-29, the best rose by 0.08 to 0.26 of a quality from 0 to 1, and the median went "
        "along for 0.22 to 0.46 of that, since most answers are simply right or wrong.",
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
        "Two rounds of rejection sampling, each learnt from the base again and from nothing but its "
        f"answers. The prompts of the second one have no questions of the kinds {', '.join(WORD_SKILLS)}; "
        "the exam asks them. In the paper the loss was not made on purpose.",
    ),
    Finding(
        8,
        "PPO on top of rejection sampling improves again",
        "3.2.3 and 3.4.1, figure 11",
        ("progress",),
        (
            Claim(
                "win rate of PPO against what it began with, minus a half",
                "V5 with PPO is above V5 without (drawn)",
                lambda runs: win_rate(runs["progress"], "ppo") - 0.5,
            ),
        ),
        "Held-out prompts of all three kinds. The oracle judges, which knows the truth; in the paper, "
        "reward models and GPT-4 do.",
        cause="Greedy answers tie on 475, 475 and 462 of 495 prompts, since rejection sampling's model answers "
        "nearly all as well as it can; of the rest PPO wins 13 of 20, 15 of 20 and 8 of 33, and what it loses "
        "there are borderline prompts that it refuses. Sampled at temperature 1, mean quality rises in each "
        "seed: 0.802 to 0.807, 0.785 to 0.813, 0.788 to 0.816. With reward models that had not seen the "
        "policy's own answers, PPO lost 25 to 42 points in every seed: [pico_trials.md](pico_trials.md).",
    ),
    Finding(
        9,
        "Ghost Attention keeps an instruction of the first turn",
        "3.3, table 30",
        ("recall",),
        (
            Claim(
                f"replies that follow it in turn {RECALL_TURN}, after minus before",
                "+100 (0 to 100)",
                lambda runs: (
                    recalled(runs["recall"], "after", RECALL_TURN)
                    - recalled(runs["recall"], "before", RECALL_TURN)
                ),
            ),
        ),
        "Styles of the world instead of hobbies and people; code checks whether a reply follows. Before: "
        "the SFT model.",
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
        cause="Pico copies the style of its own earlier replies, and so three quarters follow in turn 6 without any "
        "training; what it loses comes later. Its dialogues in training have eight turns at most.",
    ),
    Finding(
        10,
        "Context distillation makes a model safer, and the gate matters",
        "4.2.4, figure 16",
        ("distillation",),
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
                "unsafe replies to adversarial prompts, without the gate minus with it",
                "some scores fall without it (drawn)",
                lambda runs: (
                    figure(runs["distillation"], "ungated", "unsafe", ADVERSARIAL)
                    - figure(runs["distillation"], "gated", "unsafe", ADVERSARIAL)
                ),
            ),
        ),
        "Begun with the model that has seen no safety data, which has something to learn; what was "
        "distilled is mixed with the helpful rows and learnt from the base. The gate is the safety reward "
        "model, the judge the oracle: by the gate's own scores, what passes it is better by construction.",
    ),
    Finding(
        11,
        "More safety data: fewer violations, more false refusals",
        "4.2.3, figures 15 and 33",
        ("safety-data",),
        (
            Claim(
                "unsafe replies to adversarial prompts, no safety rows minus 800",
                "safety scores rise (drawn)",
                lambda runs: (
                    figure(runs["safety-data"], "rows-0", "unsafe", ADVERSARIAL)
                    - figure(runs["safety-data"], "rows-800", "unsafe", ADVERSARIAL)
                ),
            ),
            Claim(
                "borderline prompts that are refused, 800 safety rows minus none",
                "+12 (15 to 27)",
                lambda runs: (
                    figure(runs["safety-data"], "rows-800", "false refusals", BORDERLINE)
                    - figure(runs["safety-data"], "rows-0", "false refusals", BORDERLINE)
                ),
            ),
        ),
        "6,000 helpful rows with 0, 100, 400 or 800 safety rows. A quarter of pico's safety rows are "
        "borderline prompts that are answered, which works against false refusals. `pico/safety_share` has "
        "more shares, with one seed.",
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
