"""llamatune's PPO beside TRL 1.12's `PPOTrainer`, the last release that had one, taking turns of an iteration.

Both begin from the same random policy, value model and reward model of about 4M weights in float32, with the same
prompts, rollouts, mini-batches, passes and settings of the optimizer, sampling from the whole distribution at
temperature 1. The policy gives all tokens but words no probability (`ppo_files.py`), so every rollout has exactly
`--response-tokens` tokens on both sides, whatever a trainer does about ends. Tokens and optimizer steps are
counted from the outside; when they differ from the job's, the benchmark fails.

TRL is installed in an environment of its own at first use: `trl_1_12.py`.

    python benchmarks/ppo.py                          # prompts of 64 tokens each: no padding anywhere
    python benchmarks/ppo.py --data alpaca.json       # as long as real ones
    python benchmarks/ppo.py --only trl --rounds 2
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from statistics import fmean, median
from typing import Any

import trl_1_12
from ppo_files import prompts_of, random_prompts, write_models, write_prompts
from ppo_job import PARTS, POLICY, REWARD, VALUE, PpoJob, counted
from reporting import ROOT, Report, Spread, Table
from round_robin import QUIET, Script, StepDone, Training, Turns, round_robin
from shapes import SHAPES

from llamatune.models.quiet import quiet_upstream

OURS, TRL = "llamatune", "TRL 1.12"
GOAL = 0.4
"""Of TRL's time, at most."""


@quiet_upstream()
def main() -> None:
    options = parse()
    with tempfile.TemporaryDirectory() as folder:
        job = make_job(options, Path(folder))
        turns = round_robin(
            contenders(options, job),
            turns=options.rounds + 1,
            steps=options.steps,
            patience=60 * options.patience,
        )
        report = describe(options, job, turns)
    print(report.text())
    if options.save:
        report.save(options.save)
    wrong = [name for name, found in turns.items() if not did_all(job, found)]
    if wrong:
        sys.exit(f"error: {' and '.join(wrong)} did other work than the job's: {_works(turns)}")


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--only", choices=("llamatune", "trl"), help="one contender, nothing to compare it with")
    add("--shape", choices=SHAPES, default="4m", help="architecture of all models; their weights are random")
    add("--rounds", type=int, default=4, help="turns of each contender, after one to warm up")
    add("--steps", type=int, default=1, help="iterations in a turn")
    add("--rollouts", type=int, default=128, help="in an iteration")
    add(
        "--mini-batch",
        type=int,
        default=32,
        help="rollouts in an optimizer step, and in a forward pass of it",
    )
    add(
        "--epochs", type=int, default=4, help="passes over the rollouts of an iteration; the default is TRL's"
    )
    add("--data", help="a file of prompts, or of instructions as Alpaca has them; random words if left out")
    add("--licence", default="", help="of the data, for the results; needed with --data")
    add("--max-prompt-tokens", type=int, default=512, help="longer prompts of the data are left out")
    add(
        "--prompt-tokens",
        type=int,
        nargs=2,
        default=(64, 64),
        metavar=("LEAST", "MOST"),
        help="of random words",
    )
    add("--response-tokens", type=int, default=64)
    add("--score-batch", type=int, default=128, help="rollouts generated, or scored, together")
    add("--patience", type=float, default=0, help="most minutes to wait for a quiet machine before a turn")
    add("--save", metavar="NAME", help="write benchmarks/results/NAME.json and .md")
    options = parser.parse_args()
    if options.data and not options.licence:
        parser.error("say under which licence the data is: --licence LICENCE")
    return options


def make_job(options: argparse.Namespace, folder: Path) -> PpoJob:
    job = PpoJob(
        str(folder),
        iterations=(options.rounds + 1) * options.steps,
        rollouts=options.rollouts,
        response_tokens=options.response_tokens,
        mini_batch=options.mini_batch,
        epochs=options.epochs,
        score_batch=options.score_batch,
    )
    write_models(folder, options.shape)
    write_prompts(folder, _prompts(options, folder / POLICY))
    job.save()
    return job


def _prompts(options: argparse.Namespace, tokenizer: Path) -> list[dict[str, Any]]:
    """As many as there are rollouts: each iteration has them all, in any order, on every side."""
    if options.data:
        return prompts_of(Path(options.data), tokenizer, options.max_prompt_tokens, options.rollouts)
    return random_prompts(tokenizer, tuple(options.prompt_tokens), options.rollouts)


def contenders(options: argparse.Namespace, job: PpoJob) -> dict[str, Training | Script]:
    found: dict[str, Training | Script] = {}
    if options.only != "trl":
        found[OURS] = partial(llamatune, job)
    if options.only != "llamatune":
        # its own libraries, not those that this Python's are found by; and nothing is looked up on the network
        command = ["env", "-u", "PYTHONPATH", "HF_HUB_OFFLINE=1", "TRL_EXPERIMENTAL_SILENCE=1"]
        found[TRL] = Script(
            [*command, str(trl_1_12.python()), str(ROOT / "benchmarks/ppo_trl.py"), job.place("job.json")]
        )
    return found


# ---- llamatune --------------------------------------------------------------------------------------------


@quiet_upstream()
def llamatune(job: PpoJob, step_done: StepDone) -> dict[str, Any]:
    """`PPOTrainer` as its users call it, with four separate models as TRL has them."""
    import torch
    from datasets import Dataset
    from transformers import (
        AutoModelForCausalLM,
        AutoModelForSequenceClassification,
        AutoTokenizer,
        PrinterCallback,
        TrainerCallback,
    )

    from llamatune import PPOTrainer

    parts: list[dict[str, float]] = []

    class Watch(TrainerCallback):  # type: ignore[misc]
        """What each part has taken so far, at the end of each iteration; ends a turn."""

        def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            if state.global_step % job.steps_an_iteration == 0:
                parts.append({part: trainer.timings[part] for part in PARTS})
                step_done()

    def scorer(name: str) -> Any:
        return AutoModelForSequenceClassification.from_pretrained(
            job.place(name), num_labels=1, dtype=torch.float32
        )

    tokenizer = AutoTokenizer.from_pretrained(job.place(POLICY))
    with tempfile.TemporaryDirectory() as output, counted() as work:
        trainer = PPOTrainer(
            model=AutoModelForCausalLM.from_pretrained(job.place(POLICY), dtype=torch.float32),
            args=our_config(job, output),
            reward_funcs=[scorer(REWARD)],
            reward_processing_classes=tokenizer,
            value_model=scorer(VALUE),
            train_dataset=Dataset.from_list([{"prompt": row["prompt"]} for row in job.prompts()]),
            processing_class=tokenizer,
            callbacks=[Watch()],
        )
        trainer.remove_callback(PrinterCallback)
        trainer.train()
        logged = trainer.state.log_history
    return {"parts": _differences(parts), "work": asdict(work), "logged": logged}


def our_config(job: PpoJob, output: str) -> Any:
    from llamatune import PPOConfig

    return PPOConfig(
        output_dir=output,
        learning_rate=job.learning_rate,
        adam_beta2=job.adam_beta2,
        adam_epsilon=job.adam_epsilon,
        weight_decay=job.weight_decay,
        lr_scheduler_type="constant",
        batch_size=job.rollouts,
        mini_batch_size=job.mini_batch,
        num_ppo_epochs=job.epochs,
        per_device_train_batch_size=job.mini_batch,
        total_episodes=job.iterations * job.rollouts,
        generation_batch_size=job.score_batch,
        max_completion_length=job.response_tokens,
        temperature=1.0,
        kl_coef=job.kl_coef,
        cliprange=job.cliprange,
        cliprange_value=job.cliprange,
        vf_coef=job.vf_coef,
        gamma=job.gamma,
        lam=job.lam,
        whiten_scores="none",
        seed=job.seed,
        bf16=False,
        use_cpu=True,
        logging_steps=job.steps_an_iteration,
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
    )


def _differences(totals: Sequence[Mapping[str, float]]) -> list[dict[str, float]]:
    """What each iteration added."""
    before = [dict.fromkeys(PARTS, 0.0), *totals]
    return [
        {part: now[part] - last[part] for part in PARTS} for last, now in zip(before, totals, strict=False)
    ]


# ---- what to say ------------------------------------------------------------------------------------------


def did_all(job: PpoJob, found: Turns) -> bool:
    work = found.result["work"]
    return bool(
        work["generated_tokens"] == job.generated_tokens
        and work["optimizer_steps"] == job.optimizer_steps
        and not work["ended"]
    )


def _works(turns: Mapping[str, Turns]) -> str:
    return "; ".join(f"{name} {found.result['work']}" for name, found in turns.items())


Seconds = dict[str, list[float]]
"""Part of an iteration -> its seconds in each round but the first, which loads the models and warms up."""
WHOLE, REST = "iteration", "rest"


def seconds_of(found: Turns, steps: int) -> Seconds:
    """Per iteration. The rest: fetching prompts, logging and what else no part claims."""
    seconds: Seconds = {name: [] for name in (WHOLE, *PARTS, REST)}
    for number in range(1, len(found.seconds)):
        parts = found.result["parts"][number * steps : (number + 1) * steps]
        whole = found.seconds[number] / steps
        mean = {part: sum(one[part] for one in parts) / steps for part in PARTS}
        for name, value in {WHOLE: whole, **mean, REST: whole - sum(mean.values())}.items():
            seconds[name].append(value)
    return seconds


def describe(options: argparse.Namespace, job: PpoJob, turns: Mapping[str, Turns]) -> Report:
    seconds = {name: seconds_of(found, options.steps) for name, found in turns.items()}
    tokens = job.rollouts * job.response_tokens
    lengths = sorted(len(row["input_ids"]) for row in job.prompts())
    tables = [_seconds_table(seconds), _speed_table(seconds, turns, tokens)]
    figures: dict[str, Any] = {
        "shape": options.shape,
        "data": Path(options.data).name if options.data else "random words",
        "licence": options.licence,
        "prompt_tokens": lengths,
        "job": {name: value for name, value in asdict(job).items() if name != "folder"},
        "steps_a_turn": options.steps,
        "seconds_per_iteration": seconds,
        "generated_tokens_per_second": {
            name: [tokens / one for one in found[WHOLE]] for name, found in seconds.items()
        },
        "turns": {name: replace(found, result=None) for name, found in turns.items()},
        "work": {name: found.result["work"] for name, found in turns.items()},
        "logged": {name: found.result["logged"] for name, found in turns.items()},
    }
    notes = [_job_note(options, job, lengths)]
    if TRL in turns:
        figures["versions_beside"] = turns[TRL].result["versions"]
        notes.append(_versions_note(turns[TRL].result["versions"]))
    if {OURS, TRL} <= set(turns):
        shares = shares_of(turns, seconds)
        memory = turns[OURS].peak_gib / turns[TRL].peak_gib
        figures |= {"shares_of_trl": shares, "memory_share_of_trl": memory, "goal": GOAL}
        tables.append(_share_table(shares, memory))
        met = "met" if shares[WHOLE].median <= GOAL else "NOT met"
        notes.append(f"Goal: at most {GOAL} of TRL's time; {met}.")
    notes.append(_MEANING)
    return Report(f"PPO beside TRL 1.12, shape {options.shape}, {figures['data']}", figures, tables, notes)


def shares_of(turns: Mapping[str, Turns], seconds: Mapping[str, Seconds]) -> dict[str, Spread]:
    """Ours over theirs, round by round."""
    ratios = {
        part: [ours / theirs for ours, theirs in zip(seconds[OURS][part], seconds[TRL][part], strict=True)]
        for part in (WHOLE, *PARTS)
    }
    shares = {part: Spread.of(found) for part, found in ratios.items()}
    shares[f"{WHOLE}, processor time"] = Spread.of(
        ours / theirs
        for ours, theirs in zip(
            turns[OURS].processor_seconds[1:], turns[TRL].processor_seconds[1:], strict=True
        )
    )
    others = zip(turns[OURS].others[1:], turns[TRL].others[1:], strict=True)
    quiet = [ratio for ratio, both in zip(ratios[WHOLE], others, strict=True) if max(both) <= QUIET]
    if quiet:
        shares[f"{WHOLE}, {len(quiet)} undisturbed of {len(ratios[WHOLE])} rounds"] = Spread.of(quiet)
    return shares


def _seconds_table(seconds: Mapping[str, Seconds]) -> Table:
    columns = (WHOLE, *PARTS, REST)
    rows = [[name, *(f"{Spread.of(found[part]):.2f}" for part in columns)] for name, found in seconds.items()]
    return Table("Seconds per iteration: median (least to most)", ["", *columns], rows)


def _speed_table(seconds: Mapping[str, Seconds], turns: Mapping[str, Turns], tokens: int) -> Table:
    rows = [
        [
            name,
            f"{Spread.of(tokens / one for one in found[WHOLE]):,.0f}",
            f"{tokens / median(found['generate']):,.0f}",
            f"{turns[name].peak_gib:.2f} GiB",
        ]
        for name, found in seconds.items()
    ]
    columns = ["", "generated tokens/s of the iteration", "of its generation", "peak memory of the process"]
    return Table("Speed and memory", columns, rows)


def _share_table(shares: Mapping[str, Spread], memory: float) -> Table:
    rows = [[part, f"{share:.2f}"] for part, share in shares.items()]
    return Table(
        f"{OURS}'s share of {TRL}'s time, round by round",
        ["", "median (least to most)"],
        [*rows, ["peak memory", f"{memory:.2f}"]],
    )


def _job_note(options: argparse.Namespace, job: PpoJob, lengths: Sequence[int]) -> str:
    origin = f"{Path(options.data).name} (licence: {options.licence})" if options.data else "random words"
    shortest, longest = lengths[0], lengths[-1]
    spread = (
        f"{shortest} to {longest} (on average {fmean(lengths):.0f})" if shortest < longest else f"{longest}"
    )
    padded = (longest + job.response_tokens) / (fmean(lengths) + job.response_tokens)
    return (
        f"Policy, reference, value model and one reward model, shape {options.shape}, random float32 weights. An "
        f"iteration is {job.rollouts} rollouts of {job.response_tokens} tokens after prompts of {spread} tokens from "
        f"{origin}, the same prompts in each iteration, and {job.epochs} pass{'es' if job.epochs > 1 else ''} over "
        f"them in mini-batches of {job.mini_batch}, one optimizer step each; padded to the longest they are "
        f"{padded:.2f} times as many tokens. The policy samples words only, never an end or padding token: all "
        "replies are equally long on both sides."
    )


def _versions_note(versions: Mapping[str, str]) -> str:
    return "TRL ran with " + ", ".join(f"{name} {version}" for name, version in versions.items()) + "."


_MEANING = (
    "Generation is the call that samples; training begins with the first forward pass that keeps a graph and ends with "
    "the iteration; scoring is what lies between: log-probabilities, reference, values, rewards, advantages. The rest "
    f"is what no part claims. A round is undisturbed when other programs took at most {QUIET:.0%} of the processors' "
    "time in both turns."
)


if __name__ == "__main__":
    main()
