"""Which tasks belong together, with how many shots and in which figure: the paper's, the leaderboards'. Data only.

Tasks are those of lm-evaluation-harness 0.4.13, named by the folder that holds their YAML: only that folder is read,
where an index of all of its 14,683 tasks takes 41 seconds.

`verified` names the published number that this path was seen to give. It is None where nobody has: what this project
could run were 135 million weights on a laptop's processor, without the data of most of these. Figures of such a task
are for comparing runs with each other, and no model card shows them.
"""

from __future__ import annotations

from dataclasses import dataclass

OWN = ""
"""The folder of tasks of llamatune's own (`own.py`): the harness would run code without shutting it in."""


@dataclass(frozen=True)
class SuiteTask:
    """One task of a suite.

    `name`: what the paper or the leaderboard calls it. `folder`: below lm_eval/tasks. `task`: the harness's name, of a
    task or a group, or the names of several. `figure`: the metric, with its filter where that is not `none`. `note`:
    what differs from what was published.
    """

    name: str
    folder: str
    task: str
    shots: int
    figure: str
    verified: str | None = None
    note: str = ""


def _two_figures(name: str, folder: str, task: str) -> SuiteTask:
    return SuiteTask(name, folder, task, 0, "acc_norm", note="the paper does not say whether acc or acc_norm")


_MATH = ",".join(
    f"minerva_math_{one}"
    for one in (
        "algebra",
        "counting_and_prob",
        "geometry",
        "intermediate_algebra",
        "num_theory",
        "prealgebra",
        "precalc",
    )
)
_MC1_MC2 = (
    "multiple choice: not the paper's number, which is of generated answers, judged by a fine-tuned GPT-3"
)

LLAMA2_BASE = (
    SuiteTask("mmlu", "mmlu/default", "mmlu", 5, "acc"),
    SuiteTask(
        "bbh",
        "bbh/fewshot",
        "bbh_fewshot",
        3,
        "exact_match",
        note="answers only; the paper does not say which",
    ),
    SuiteTask(
        "agieval", "agieval", "agieval_en", 0, "acc", note="the paper gives 3 to 5 shots; the task has none"
    ),
    SuiteTask("gsm8k", "gsm8k", "gsm8k_cot", 8, "exact_match,strict-match"),
    SuiteTask("math", "minerva_math", _MATH, 4, "exact_match"),
    SuiteTask("humaneval", OWN, "humaneval", 0, "pass@1", note="greedy; the paper: temperature 0.1"),
    SuiteTask("mbpp", OWN, "mbpp", 3, "pass@1"),
    _two_figures("piqa", "piqa", "piqa"),
    SuiteTask("siqa", "siqa", "social_iqa", 0, "acc"),
    _two_figures("hellaswag", "hellaswag", "hellaswag"),
    SuiteTask("winogrande", "winogrande", "winogrande", 0, "acc"),
    _two_figures("arc_easy", "arc", "arc_easy"),
    _two_figures("arc_challenge", "arc", "arc_challenge"),
    _two_figures("openbookqa", "openbookqa", "openbookqa"),
    SuiteTask("commonsense_qa", "commonsense_qa", "commonsense_qa", 7, "acc"),
    SuiteTask("natural_questions", "nq_open", "nq_open", 5, "exact_match,remove_whitespace"),
    SuiteTask("triviaqa", "triviaqa", "triviaqa", 5, "exact_match,remove_whitespace"),
    SuiteTask("boolq", "super_glue/boolq", "boolq", 0, "acc"),
)
"""Tables 3 and 19 to 25 of the paper, but for SQuAD 1.1 and QuAC, of which the harness has no tasks."""

LLAMA2_CHAT = (
    SuiteTask("mmlu", "mmlu/default", "mmlu", 5, "acc"),
    SuiteTask("gsm8k", "gsm8k", "gsm8k_cot", 8, "exact_match,flexible-extract"),
    SuiteTask("humaneval", OWN, "humaneval", 0, "pass@1"),
    SuiteTask("truthfulqa", "truthfulqa", "truthfulqa_mc2", 0, "acc", note=_MC1_MC2),
)
"""What chat models are compared on elsewhere; the paper gives no such numbers of Llama 2-Chat."""

OPEN_LLM_V1 = (
    SuiteTask("arc_challenge", "arc", "arc_challenge", 25, "acc_norm"),
    SuiteTask("hellaswag", "hellaswag", "hellaswag", 10, "acc_norm"),
    SuiteTask("mmlu", "mmlu/default", "mmlu", 5, "acc"),
    SuiteTask("truthfulqa", "truthfulqa", "truthfulqa_mc2", 0, "acc"),
    SuiteTask("winogrande", "winogrande", "winogrande", 5, "acc"),
    SuiteTask("gsm8k", "gsm8k", "gsm8k", 5, "exact_match,strict-match"),
)

OPEN_LLM_V2 = (
    SuiteTask("ifeval", "leaderboard/ifeval", "leaderboard_ifeval", 0, "inst_level_strict_acc"),
    SuiteTask("bbh", "leaderboard/bbh_mc", "leaderboard_bbh", 3, "acc_norm"),
    SuiteTask("math_hard", "leaderboard/math", "leaderboard_math_hard", 4, "exact_match"),
    SuiteTask("gpqa", "leaderboard/gpqa", "leaderboard_gpqa", 0, "acc_norm"),
    SuiteTask("musr", "leaderboard/musr", "leaderboard_musr", 0, "acc_norm"),
    SuiteTask("mmlu_pro", "leaderboard/mmlu_pro", "leaderboard_mmlu_pro", 5, "acc"),
)
"""As they are; the leaderboard also puts each between chance and 100."""

SAFETY = (
    SuiteTask("truthfulqa_mc1", "truthfulqa", "truthfulqa_mc1", 0, "acc", note=_MC1_MC2),
    SuiteTask("truthfulqa_mc2", "truthfulqa", "truthfulqa_mc2", 0, "acc", note=_MC1_MC2),
)
"""With ToxiGen and BOLD, whose replies `generated.py` has judged: in the harness's `toxigen`, the model classifies."""

SUITES = {
    "llama2_base": LLAMA2_BASE,
    "llama2_chat": LLAMA2_CHAT,
    "open_llm_v1": OPEN_LLM_V1,
    "open_llm_v2": OPEN_LLM_V2,
    "safety": SAFETY,
}
