"""Write docs/ppo_correctness.md: the lines that PPO is held to, and the tests that prove each.

    python scripts/ppo_correctness.py

The lines are listed here. A test says which of them it proves, `@pytest.mark.proves("A1", "B7")`; a line without a
test, and a mark without a line, are errors. A test compares the page with what this script would write.
"""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs/ppo_correctness.md"

INTRODUCTION = """\
# PPO: what goes wrong elsewhere, and the test that shows it does not here

TRL's PPOTrainer is gone, and it had known errors; so had others. llamatune's is held to the lines below: A (details of
the reference implementations), B (bugs of TRL's trainer and its kin) and H (hazards of several adapters on one base).
Every line has tests, on real models, tokenizers and processes. `python scripts/ppo_correctness.py` writes this
page from the marks `@pytest.mark.proves` of the tests.

Three more tests know the truth independently: `test_one_update_equals_numpy` compares eight optimizer steps on a
vocabulary of three tokens with numpy written from the papers (scores, KL, whitening, advantages, both losses,
gradients, clipping, AdamW; to 1e-6); `test_bandit_converges_to_its_optimum` and
`test_bandit_with_a_kl_penalty_converges_to_the_closed_form` know the answer."""

GROUPS: dict[str, tuple[str, list[str]]] = {
    "A": (
        "Details of the algorithm",
        [
            "Only logits that predict a completion's token count; those of the prompt move neither loss nor weights.",
            "The log-probability of a token comes from the logits in front of it.",
            "A value is read where its token is predicted, and the last one after the last token.",
            (
                "The same sample gives the same numbers alone, padded on either side, or end to end with others; "
                "with a table of positions, too."
            ),
            "One temperature scales rollout, old, new and reference policy.",
            "Sampling is not truncated, and no setting can truncate it; the KL is not negative in expectation.",
            "Before the first step of an iteration the ratio is 1 for every token.",
            (
                "pad = eos is refused; masks come from lengths, so padding tokens that the policy wrote are "
                "tokens, and stopping is learnt."
            ),
            "Every end token ends a completion: tokenizer's, chat format's and all of the model's.",
            "The penalty for a missing end is subtracted, and looks at the completion only.",
            "The score is at the last real token, whether padding follows or not.",
            "Each token's reward is -beta x k1 (or k2, k3).",
            "GAE is what its definition says, by a double sum.",
            "What is in the padding, NaN included, reaches no sum and no weight.",
            "Cut-off completions end, go on by the critic's value, or are left out: an option each.",
            "Whitening is over all valid tokens of the iteration, on all processes.",
            "Whitening scores (the paper) and scaling rewards (TRL) are two options; the second keeps the mean.",
            "The clipped value loss is the larger of both, clipped around the old values.",
            "Losses do not depend on how a mini-batch is cut into passes.",
            "Advantages have no gradient; a huge gap of log-probabilities overflows nothing.",
            "No dropout in any role: LoRA's, attention's and embeddings' included.",
            "The critic begins with 0, or with the reward model's score.",
            "AdamW (0.9, 0.95, 1e-5) and decay 0.1 reach the optimizer.",
            "A seed for each rollout, the same for any number of processes; shards are disjoint.",
            "KL controller and running whitening are in the checkpoint.",
            "A new permutation for each epoch of an iteration.",
            "A reward model reads what it was trained on: its score is exactly the one outside of PPO.",
            "The reference is the policy as it began, a loaded adapter included.",
            "The logged KL is the one in the rewards, in float32, and follows from the saved rollouts.",
        ],
    ),
    "B": (
        "Bugs of other trainers",
        [
            "An optimizer step for each mini-batch and epoch.",
            "Figures are means over the whole mini-batch, however it is divided.",
            "The end of a pass over the prompts adds no step.",
            "`max_grad_norm` holds, and the logged norm is the one before clipping.",
            "`gradient_checkpointing` reaches policy and critic.",
            "Rollouts work with checkpointing on.",
            "Four passes of one row and one pass of four give the same weights.",
            "One process and several make the same updates.",
            "As A11: credit never goes through the value of a padding token.",
            "The penalty knows `stop_token_ids`.",
            "Entropy is not negative and does not see the padding.",
            "Neither do ratio, KL, clip share and losses.",
            "As A16.",
            "As A14.",
            "Nothing forces a length: completions are short when the end is sure.",
            (
                "The model's own generation config (repetition penalty, top-k, ...) does not matter, and stays "
                "the model's."
            ),
            "A score is that of the last token with any padding.",
            "A reward model with another tokenizer reads text.",
            "Reward models and critics with adapters work.",
            "Functions, coroutines, objects, modules and names of models, mixed; columns and order arrive.",
            "Adapters on several processes: step, save, resume.",
            (
                "The saved policy loads with plain transformers or peft, without missing or unexpected names; "
                "from FSDP2, too."
            ),
            "Its names are the base's; checkpoints included.",
            "Critic and head come back on resume.",
            (
                "kill -9 in rollout, scoring and update: resumed runs are bitwise equal; also in the middle of an"
                " iteration."
            ),
            "Evaluation at its steps, without an `eval_dataset`, and early stopping on the held-out reward.",
            "FSDP2: three iterations with generation, saved and resumed.",
            "ZeRO-3 does not apply: DeepSpeed is refused, with FSDP2 as the way to go.",
            "The reference is a true frozen copy.",
            "The reference acts with the policy's adapter off, rollouts with it on.",
            "Figures are those of all processes.",
            "`global_step`, `epoch`, `max_steps` are exact.",
            "`run_name`, seeds and reporting of TrainingArguments survive.",
            "The learning rate is that of `get_scheduler`.",
            "Every trained weight is in one group, and its rate decays.",
            "No graph outlives its step; memory is flat.",
            "Adam's moments come back; a run without them is told apart.",
            "Tensors of one shape have names; the mask is bool.",
            "As A3, with the mask.",
            "Rows that are not trained on are in no whitening.",
            "Heads are layers of their own, never swapped.",
            "The critic's head is trained, also where its adapter leaves it out.",
        ],
    ),
    "H": (
        "Several adapters on one base",
        [
            "Switching roles changes nothing about which weights are trained.",
            "Nor does it with a frozen adapter active.",
            "Checkpointed layers run again with the adapter of their forward pass.",
            "The bytes of the base never change, in float32 and NF4.",
            "FSDP2: switching touches flags only.",
            "Several processes: roles that do not act need no gradient.",
            "ZeRO-3 does not apply: DeepSpeed is refused.",
            "Several adapters on the tensors of a mixture of experts (`target_parameters`).",
            "An SFT that is an adapter itself: the reference is a frozen copy of it, and not the base.",
        ],
    ),
}
"""By letter: what the lines are of, and the lines by number."""


def page(tests: Path = ROOT / "tests") -> str:
    """The whole page.

    Raises:
        SystemExit: a line that no test proves, a mark without a line, or two tests of one name.
    """
    proofs = proven(tests)
    lines = [
        f"{letter}{number}" for letter, (_, said) in GROUPS.items() for number in range(1, len(said) + 1)
    ]
    if unknown := sorted(proofs.keys() - set(lines)):
        raise SystemExit(f"there is no line {', '.join(unknown)}, and {proofs[unknown[0]][0]} proves it")
    if missing := [line for line in lines if line not in proofs]:
        raise SystemExit(f"no test proves {', '.join(missing)}")
    parts = [INTRODUCTION]
    for letter, (title, said) in GROUPS.items():
        rows = [
            f"| {letter}{number} | {text} | {'<br>'.join(f'`{name}`' for name in proofs[f'{letter}{number}'])} |"
            for number, text in enumerate(said, start=1)
        ]
        parts.append(
            "\n".join([f"## {letter}: {title}", "", "| Line | What holds | Tests |", "|---|---|---|", *rows])
        )
    return "\n\n".join(parts) + "\n"


def proven(tests: Path) -> dict[str, list[str]]:
    """The names of the tests that are marked with each line, in order."""
    found: dict[str, list[str]] = defaultdict(list)
    files: dict[str, Path] = {}
    for file in tests.rglob("test_*.py"):
        for node in ast.parse(file.read_text("utf-8")).body:
            if not isinstance(node, ast.FunctionDef):
                continue
            for line in marks(node):
                if files.setdefault(node.name, file) != file:
                    raise SystemExit(f"{node.name} is a test of {file.name} and of {files[node.name].name}")
                found[line].append(node.name)
    return {line: sorted(names) for line, names in found.items()}


def marks(function: ast.FunctionDef) -> Iterator[str]:
    """What a function's marks `proves` say."""
    for decorator in function.decorator_list:
        if isinstance(decorator, ast.Call) and ast.unparse(decorator.func) == "pytest.mark.proves":
            yield from (ast.literal_eval(line) for line in decorator.args)


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
