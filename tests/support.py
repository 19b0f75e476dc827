"""Shared by several test files: where the repository is, and small recipes on pico."""

import json
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]

METHODS = {
    "full": {"optimization.learning_rate": 1e-3},
    "lora": {"optimization.learning_rate": 4e-3, "model.lora": {"rank": 16}},
    "qlora": {"optimization.learning_rate": 4e-3, "model.lora": {"rank": 16}, "model.quantization": "nf4"},
}

REWARD_METHODS = {"full": {"model.lora": None}, "lora": {}, "qlora": {"model.quantization": "nf4"}}


def sft_recipe(output: Path, changes: dict[str, object] | None = None):
    """pico on a few hundred rows of its world; `changes` maps key paths to values."""
    recipe = {
        "stage": "sft",
        "output": str(output),
        "data": {"train": [{"card": "pico-sft-helpful", "max_rows": 480}], "max_length": 512},
        "optimization": {"max_steps": 30, "batch_size": 16, "warmup": 3},
        "generation": {"prompts": ["What is two plus three?", "Who are you?"], "max_new_tokens": 40},
        "logging": {"every_steps": 10},
    }
    return _changed(recipe, changes)


def reward_recipe(output: Path, changes: dict[str, object] | None = None):
    """An adapter on pico that learns from a few pairs of its world."""
    recipe = {
        "stage": "reward",
        "output": str(output),
        "model": {"lora": {"rank": 8}},
        "data": {"train": [{"card": "pico-preferences-helpful", "max_rows": 48}], "max_length": 512},
        "optimization": {
            "max_steps": 3,
            "batch_size": 16,
            "warmup": 0,
            "min_warmup_steps": 0,
            "learning_rate": 1e-3,
        },
        "logging": {"every_steps": 1},
    }
    return _changed(recipe, changes)


def ppo_recipe(output: Path, rewards: dict[str, object], changes: dict[str, object] | None = None):
    """An adapter on pico, two iterations of two steps; `rewards` is the block `reward`."""
    cards = [{"card": f"pico-prompts-{name}", "max_rows": 12} for name in ("helpful", "adversarial")]
    recipe = {
        "stage": "ppo",
        "output": str(output),
        "model": {"lora": {"rank": 4}},
        "data": {
            "train": cards,
            "eval": [{**card, "split": "eval", "max_rows": 4} for card in cards],
            "max_length": 160,
        },
        "rollout": {"max_new_tokens": 10},
        "reward": dict(rewards),
        "ppo": {"mini_batch_size": 4},
        "optimization": {"batch_size": 8, "iterations": 2, "learning_rate": 1e-3},
        "generation": {"prompts": ["Who are you?"], "max_new_tokens": 6},
        "logging": {"every_steps": 1, "eval_every_steps": 2},
        "checkpoint": {"every_steps": 100},
    }
    return _changed(recipe, changes)


def _changed(recipe: dict[str, object], changes: dict[str, object] | None):
    from llamatune.recipe.load import loads

    for path, value in (changes or {}).items():
        block = recipe
        *parents, last = path.split(".")
        for key in parents:
            block = block.setdefault(key, {})
        block[last] = value
    return loads(json.dumps(recipe))


def made_recipe(stage: str, output: Path, changes: dict[str, object] | None = None):
    """A stage that makes data, on a few prompts of pico's world."""
    recipe = {
        "stage": stage,
        "output": str(output),
        "data": {"train": [{"card": "pico-prompts-helpful", "max_rows": 12}], "max_length": 256},
        "sampling": {"max_new_tokens": 24, "temperature": 0.7, "batch_size": 4},
    }
    return _changed(recipe, changes)


def evaluate_recipe(output: Path, models: dict[str, object], changes: dict[str, object] | None = None):
    """Models side by side on a few prompts of pico's world, judged by its oracle; the first is the baseline."""
    cards = [{"card": f"pico-prompts-{name}", "split": "eval"} for name in ("helpful", "adversarial")]
    recipe = {
        "stage": "evaluate",
        "output": str(output),
        "models": models,
        "data": {"eval": [{**card, "max_rows": 6} for card in cards], "max_length": 256},
        "sampling": {"max_new_tokens": 12, "batch_size": 4},
        "judges": {"oracle": True},
        "resamples": 100,
    }
    return _changed(recipe, changes)


_KILLED = """
import os, signal, sys
from pathlib import Path
from llamatune.pipeline import run
from llamatune.recipe.load import loads
from llamatune.sampling.generate import GenerateSampler

sample, calls = GenerateSampler.sample, []

def dying(self, *arguments, **named):
    calls.append(1)
    if len(calls) == int(sys.argv[1]):
        os.kill(os.getpid(), signal.SIGKILL)
    return sample(self, *arguments, **named)

GenerateSampler.sample = dying
run(loads(sys.stdin.read()), recipe_dir=Path(sys.argv[2]))
"""


def killed(recipe, *, at: int) -> None:
    """Run a recipe in a process that is killed (-9) when it is to sample for the `at`-th time.

    Not a fork: the threads of this process would be missing in it, and what waits for them would wait for ever.
    """
    import signal
    import subprocess
    import sys

    from llamatune.recipe.load import dump

    command = [sys.executable, "-c", _KILLED, str(at), str(ROOT)]
    done = subprocess.run(command, input=dump(recipe), text=True, capture_output=True, timeout=300)
    assert done.returncode == -signal.SIGKILL, done.stderr


def rows_of(file: Path) -> list[dict]:
    """The rows of a JSON Lines file."""
    return [json.loads(line) for line in file.read_text("utf-8").splitlines()]


def in_two_processes(recipe, file: Path) -> None:
    """Run a recipe, written to that file, under torchrun (gloo)."""
    import subprocess
    import sys

    file.write_text(recipe.model_dump_json())
    command = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "llamatune"]
    done = subprocess.run(
        [sys.executable, *command, "run", str(file)],
        cwd=ROOT, capture_output=True, text=True, timeout=900, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]


TALKING = {
    "vocab_size": 2048,
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "max_position_embeddings": 128,
    "tie_word_embeddings": False,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "pad_token_id": 0,
}
"""The config of a tiny Llama with pico's tokenizer."""


def talking_base(folder: Path, **changes: object) -> None:
    """A model, never trained, that says a few words in a random order and stops; `changes`: of TALKING."""
    import torch
    from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    talks = LlamaForCausalLM(LlamaConfig(**(TALKING | changes)))
    folder.mkdir(parents=True, exist_ok=True)
    copy_tokenizer(folder)
    known = AutoTokenizer.from_pretrained(folder)
    words = ("What", "is", "the", "red", "blue", "cup", "box", "key", "lamp")
    said = [known.encode(f" {word}", add_special_tokens=False)[-1] for word in words]
    with torch.no_grad():
        # One direction is the same in every hidden state, and the words and the end are likely along it.
        talks.model.embed_tokens.weight[:, 0] = 1.0
        talks.lm_head.weight[:] = 0.0
        talks.lm_head.weight[said, 0] = 2.0
        talks.lm_head.weight[2, 0] = 2.2
    talks.save_pretrained(folder)


def talking_judge(folder: Path, seed: int, *, head: float | None = None, **changes: object) -> None:
    """A reward model for such a model, never trained: each seed has a taste of its own. `head`: all weights of its
    head, 0 for one that likes all alike."""
    import torch
    from transformers import LlamaConfig, LlamaForSequenceClassification

    torch.manual_seed(seed)
    judge = LlamaForSequenceClassification(LlamaConfig(**(TALKING | changes), num_labels=1))
    with torch.no_grad():
        if head is None:
            judge.score.weight.normal_(0, 1)
        else:
            judge.score.weight.fill_(head)
    judge.save_pretrained(folder)
    copy_tokenizer(folder)


def small_classifier(
    folder: Path, *, kind: str = "llama", names: tuple[str, ...] | None = None, outputs: int = 2
) -> None:
    """A sequence classifier, never trained, with pico's tokenizer.

    Args:
        kind: `llama`, which reads off the last token, or `roberta`, which reads off the first, and at most 64.
        names: of its labels, which otherwise have none.
        outputs: how many labels.
    """
    import torch
    from transformers import (
        AutoTokenizer,
        LlamaConfig,
        LlamaForSequenceClassification,
        RobertaConfig,
        RobertaForSequenceClassification,
    )

    folder.mkdir(parents=True, exist_ok=True)
    copy_tokenizer(folder)
    labels = {"num_labels": outputs} if names is None else {"id2label": dict(enumerate(names))}
    torch.manual_seed(0)
    if kind == "llama":
        # As some have it that were made from a base: not what its tokenizer pads with.
        end = AutoTokenizer.from_pretrained(folder).eos_token_id
        model = LlamaForSequenceClassification(LlamaConfig(**(TALKING | labels | {"pad_token_id": end})))
    else:
        sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
        model = RobertaForSequenceClassification(
            RobertaConfig(vocab_size=4096, max_position_embeddings=66, **sizes, **labels)
        )
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if name.endswith(("score.weight", "out_proj.weight")):
                weight *= 10  # drawn small, they would call everything a toss-up
    model.save_pretrained(folder)


def copy_tokenizer(folder: Path) -> None:
    """Pico's tokenizer and chat template, into the folder of another model."""
    import shutil

    for file in (ROOT / "src/llamatune/builtin/pico").glob("*"):
        if file.name.startswith(("tokenizer", "chat_template")):
            shutil.copy(file, folder)
