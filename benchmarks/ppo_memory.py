"""Peak memory of LoRA PPO with five roles on one backbone beside LoRA SFT of the same model and batch.

The roles are policy, value, reference (the adapter switched off) and two reward adapters. Policy and value train by
forward passes of as many rows and tokens as SFT does, plain `trl.SFTTrainer` and llamatune's. Each contender runs by
itself in a process of its own; what a process holds after importing all that they import is measured too, since it
is no trainer's doing.

    python benchmarks/ppo_memory.py
    python benchmarks/ppo_memory.py --only imports sft-trl sft-llamatune --rounds 1
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from ppo_job import POLICY, PpoJob, counted
from reporting import Report, Spread, Table
from round_robin import StepDone, round_robin

from llamatune.models.quiet import quiet_upstream

IMPORTS, PLAIN, SFT, PPO = "imports", "sft-trl", "sft-llamatune", "ppo-llamatune"
GOAL = 1.3
"""Times the peak memory of LoRA SFT, at most."""
_RANK, _ALPHA = 16, 32
_REWARDS = ("reward-helpful", "reward-safe")


def main() -> None:
    options = parse()
    names = options.only or list(CONTENDERS)
    peaks: dict[str, list[float]] = {name: [] for name in names}
    results: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        weights = _alone(partial(write_files, options, folder))[0]
        for _ in range(options.rounds):
            for name in names:
                results[name], peak = _alone(partial(CONTENDERS[name], options, folder))
                peaks[name].append(peak)
    report = describe(options, weights, peaks, results)
    print(report.text())
    if options.save:
        report.save(options.save)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--only", nargs="+", choices=CONTENDERS, metavar="NAME", help=", ".join(CONTENDERS))
    add("--shape", default="150m", help="architecture; its weights are random")
    add("--rounds", type=int, default=3, help="processes of each contender")
    add("--steps", type=int, default=2, help="iterations of PPO, steps of SFT")
    add("--batch-size", type=int, default=16, help="rollouts of an iteration, rows of a step")
    add("--micro-batch", type=int, default=8, help="of them in a forward pass with gradients")
    add("--prompt-tokens", type=int, default=64)
    add("--response-tokens", type=int, default=64)
    add("--save", metavar="NAME", help="write benchmarks/results/NAME.json and .md")
    return parser.parse_args()


def _alone(work: Callable[[], Any]) -> tuple[Any, float]:
    """What it returns and the peak memory, in a process of its own."""
    found = round_robin({"": partial(_without_turns, work)}, turns=0, steps=1)[""]
    return found.result, found.peak_gib


def _without_turns(work: Callable[[], Any], step_done: StepDone) -> Any:
    return work()


@quiet_upstream()
def write_files(options: argparse.Namespace, folder: str) -> int:
    """A policy, two reward adapters on its own backbone, and prompts; how many weights the policy has."""
    import ppo_files
    from peft import get_peft_model
    from shapes import copy_tokenizer
    from transformers import AutoModelForSequenceClassification

    from llamatune.models.files.notes import write_note
    from llamatune.models.found import find

    base = Path(folder, POLICY)
    weights = ppo_files.write_policy(base, options.shape)
    for name in _REWARDS:
        model = AutoModelForSequenceClassification.from_pretrained(base, num_labels=1)
        adapter = Path(folder, name)
        get_peft_model(model, lora("SEQ_CLS", modules_to_save=["score"])).save_pretrained(adapter)
        # as `stage: reward` leaves it: PPO shares the base only with adapters that were made for its very weights
        copy_tokenizer(adapter)
        write_note(adapter, find(str(base)).base, stage="reward", chat=None)
    lengths = (options.prompt_tokens, options.prompt_tokens)
    prompts = ppo_files.random_prompts(base, lengths, options.steps * options.batch_size)
    ppo_files.write_prompts(Path(folder), prompts)
    return weights


def lora(task: str, **more: Any) -> Any:
    from peft import LoraConfig

    targets = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
    return LoraConfig(task_type=task, r=_RANK, lora_alpha=_ALPHA, target_modules=targets, **more)


# ---- contenders -------------------------------------------------------------------------------------------


def imports(options: argparse.Namespace, folder: str) -> None:
    """Everything that any of the others imports."""
    import gpu  # noqa: F401
    import peft  # noqa: F401
    from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification  # noqa: F401

    import llamatune

    for name in llamatune.__all__:
        getattr(llamatune, name)


@quiet_upstream()
def sft(options: argparse.Namespace, folder: str, *, plain: bool) -> dict[str, Any]:
    """The benchmark of GPUs has both trainers for rows of token ids."""
    import gpu

    from llamatune.recipe.load import loads
    from llamatune.recipe.stages.sft import SftRecipe

    length = options.prompt_tokens + options.response_tokens
    job = gpu.Job(options.shape, "lora", length, False, options.batch_size, options.micro_batch)
    with tempfile.TemporaryDirectory() as output:
        recipe = loads(
            json.dumps(
                {
                    "stage": "sft",
                    "output": f"{output}/run",
                    "model": {"base": str(Path(folder, POLICY)), "lora": {"rank": _RANK, "alpha": _ALPHA}},
                    "data": {"train": [{"path": "rows are made here"}], "max_length": length},
                    "optimization": {
                        "max_steps": options.steps,
                        "batch_size": options.batch_size,
                        "warmup": 0,
                    },
                    "hardware": {"device": "cpu", "micro_batch_tokens": options.micro_batch * length},
                    "logging": {"every_steps": 1},
                    "checkpoint": {"every_minutes": 10_000},
                }
            )
        )
        assert isinstance(recipe, SftRecipe)
        rows = gpu.make_rows(job, 2048, options.steps * options.batch_size)
        clock = gpu.Clock()
        _, forward_tokens = gpu.train(job, recipe, rows, clock, plain=plain)
    return {"forward_tokens": forward_tokens, "steps": len(clock.times)}


@quiet_upstream()
def ppo(options: argparse.Namespace, folder: str) -> dict[str, Any]:
    """Five roles on one backbone."""
    import torch
    from datasets import Dataset
    from transformers import AutoModelForCausalLM, AutoTokenizer, PrinterCallback

    from llamatune import PPOConfig, PPOTrainer

    job = PpoJob(folder, iterations=options.steps)
    tokenizer = AutoTokenizer.from_pretrained(job.place(POLICY))
    with tempfile.TemporaryDirectory() as output, counted() as work:
        args = PPOConfig(
            output_dir=output,
            learning_rate=1e-6,
            lr_scheduler_type="constant",
            batch_size=options.batch_size,
            mini_batch_size=options.batch_size,
            num_ppo_epochs=1,
            per_device_train_batch_size=options.micro_batch,
            total_episodes=options.steps * options.batch_size,
            generation_batch_size=options.batch_size,
            max_completion_length=options.response_tokens,
            temperature=1.0,
            kl_coef=0.05,
            bf16=False,
            use_cpu=True,
            save_strategy="no",
            report_to="none",
            disable_tqdm=True,
        )
        trainer = PPOTrainer(
            model=AutoModelForCausalLM.from_pretrained(job.place(POLICY), dtype=torch.float32),
            args=args,
            reward_funcs=[job.place(name) for name in _REWARDS],
            reward_processing_classes=[tokenizer, tokenizer],
            train_dataset=Dataset.from_list([{"prompt": row["prompt"]} for row in job.prompts()]),
            processing_class=tokenizer,
            peft_config=lora("CAUSAL_LM"),
        )
        trainer.remove_callback(PrinterCallback)
        apart = [reward.name for reward in trainer.rewards if getattr(reward, "role", None) is None]
        if apart:
            raise RuntimeError(f"{' and '.join(apart)} has a base of its own: these are no five roles on one")
        trainer.train()
    length = options.prompt_tokens + options.response_tokens
    return {
        "forward_tokens": options.micro_batch * length,
        "steps": work.optimizer_steps,
        "generated_tokens": work.generated_tokens,
    }


CONTENDERS: Mapping[str, Callable[[argparse.Namespace, str], Any]] = {
    IMPORTS: imports,
    PLAIN: partial(sft, plain=True),
    SFT: partial(sft, plain=False),
    PPO: ppo,
}


# ---- what to say ------------------------------------------------------------------------------------------


def describe(
    options: argparse.Namespace, weights: int, peaks: Mapping[str, list[float]], results: Mapping[str, Any]
) -> Report:
    ratios = ratios_of(peaks)
    tables = [_peak_table(peaks)]
    if ratios:
        rows = [[name, f"{ratio:.2f}"] for name, ratio in ratios.items()]
        tables.append(
            Table("How many times the memory, round by round", ["", "median (least to most)"], rows)
        )
    figures = {
        "shape": options.shape,
        "weights": weights,
        "batch": options.batch_size,
        "micro_batch": options.micro_batch,
        "prompt_tokens": options.prompt_tokens,
        "response_tokens": options.response_tokens,
        "steps": options.steps,
        "peak_gib": dict(peaks),
        "ratios": ratios,
        "results": dict(results),
        "goal": GOAL,
    }
    length = options.prompt_tokens + options.response_tokens
    note = (
        f"{weights / 1e6:.0f} million random weights, float32 ({weights * 4 / 2**30:.2f} GiB), LoRA of rank {_RANK} "
        f"on all linear layers; {options.steps} steps of {options.batch_size} rows of {length} tokens, "
        f"{options.micro_batch} rows in a forward pass; in PPO a row is a prompt of {options.prompt_tokens} and a "
        f"sampled reply of {options.response_tokens}. Peaks are of whole processes. Goal: at most {GOAL} times "
        "LoRA SFT's."
    )
    return Report(f"Memory of PPO with five roles, shape {options.shape}", figures, tables, [note])


def ratios_of(peaks: Mapping[str, list[float]]) -> dict[str, Spread]:
    """PPO's peak over SFT's, of whole processes and above what imports hold."""
    found = {}
    for other in (PLAIN, SFT):
        if PPO in peaks and other in peaks:
            pairs = list(zip(peaks[PPO], peaks[other], strict=True))
            found[f"{PPO} / {other}"] = Spread.of(ours / theirs for ours, theirs in pairs)
            if IMPORTS in peaks:
                floor = min(peaks[IMPORTS])
                above = [(ours - floor) / (theirs - floor) for ours, theirs in pairs]
                found[f"{PPO} / {other}, above imports"] = Spread.of(above)
    return found


def _peak_table(peaks: Mapping[str, list[float]]) -> Table:
    floor = min(peaks.get(IMPORTS, [float("nan")]))
    rows = [
        [name, f"{Spread.of(found):.2f}", f"{Spread.of(found).median - floor:.2f}"]
        for name, found in peaks.items()
    ]
    return Table("Peak memory of the process, GiB", ["", "median (least to most)", "above imports"], rows)


if __name__ == "__main__":
    main()
