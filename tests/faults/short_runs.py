"""A short run of each stage, so small that it can be repeated for every system call with which it changes a file."""

from __future__ import annotations

import json
import os
import shutil
import signal
from collections.abc import Callable
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any

from place import Ended, Place, fault, read_lines
from system_calls import Answer, Call, Calls

COMMON = """\
output: work/run
logging: {every_steps: 1}
checkpoint: {every_steps: 1, keep: 1}
"""
STAGES = {
    "sft": """\
stage: sft
model: {base: ./base, lora: {rank: 2, dropout: 0.1, targets: [q_proj]}}
data: {train: [{path: chats.jsonl}], eval: [{path: more_chats.jsonl}], max_length: 64}
optimization: {max_steps: 3, batch_size: 2, learning_rate: 1e-3, warmup: 0}
generation: {prompts: [Say cup.], max_new_tokens: 2}
""",
    "pretrain": """\
stage: pretrain
model: {base: ./base}
data: {train: [{path: texts.jsonl}], max_length: 32}
optimization: {max_steps: 3, batch_size: 2, learning_rate: 1e-3, warmup: 0}
generation: {prompts: [The cup], max_new_tokens: 2}
""",
    "reward": """\
stage: reward
model: {base: ./base, lora: {rank: 2, targets: [q_proj]}}
data: {train: [{path: pairs.jsonl}], eval: [{path: more_pairs.jsonl}], max_length: 64}
optimization: {max_steps: 3, batch_size: 2, learning_rate: 1e-3, warmup: 0, min_warmup_steps: 0}
""",
    "ppo": """\
stage: ppo
model: {base: ./base, lora: {rank: 2, targets: [q_proj]}}
data: {train: [{path: prompts.jsonl}], eval: [{path: more_prompts.jsonl}], max_length: 32}
rollout: {max_new_tokens: 3}
reward: {helpfulness: ./judge, whiten: running}
ppo: {mini_batch_size: 2, kl_controller: adaptive, kl_target: 0.5, kl_horizon: 40}
optimization: {batch_size: 4, iterations: 2, learning_rate: 1e-3}
guards: {truncated: {action: ignore}}
generation: {prompts: [Say cup.], max_new_tokens: 2}
""",
}
"""Checkpoints after each step but the last, of which one is kept; PPO's first lies within an iteration."""
_WORDS = ["cup", "hat", "key", "map", "pen", "bag"]
_WORK = "work"
"""Holds the run, and a cache of its own."""
_NOT_TWICE = {"seconds", "finished", "time", "peak_memory_gib", "sizes", "sha256", "random_states"}
"""Keys of JSON that no run gives again, or that are about such keys."""


def fill(folder: Path, stage: str, base: Path, judge: Path | None = None) -> None:
    """The recipe and what it names; `judge` is PPO's reward model."""
    shutil.copytree(base, folder / "base")
    if judge is not None:
        shutil.copytree(judge, folder / "judge")
    said = [{"role": "user", "content": "Say {}."}, {"role": "assistant", "content": "A {}!"}]
    rows: dict[str, Any] = {
        "chats": {"messages": said},
        "texts": {"text": "The {} is here, and a {} too."},
        "pairs": {"prompt": "Say {}.", "chosen": "A {}!", "rejected": "No {}."},
        "prompts": {"prompt": "Say {}."},
    }
    for name, row in rows.items():
        lines = [json.dumps(row).replace("{}", word) + "\n" for word in _WORDS]
        (folder / f"{name}.jsonl").write_text("".join(lines))
        (folder / f"more_{name}.jsonl").write_text("".join(lines[:2]).replace("Say", "Show me the"))
    (folder / "recipe.yaml").write_text(STAGES[stage] + COMMON)
    for file in folder.rglob("*"):
        os.utime(file, (1e9, 1e9))


@dataclass
class ShortRun:
    """A place with a short run, whose files can be taken away and put back."""

    place: Place

    def __post_init__(self) -> None:
        self.place.run_directory = Path(_WORK, "run")
        self.place.always = (fault("cache_in", folder=f"{_WORK}/cache"), fault("without_pictures"))

    @property
    def work(self) -> Path:
        return self.place / _WORK

    def put_back(self, state: Path | None) -> None:
        """Begin with these files, or with none."""
        shutil.rmtree(self.work, ignore_errors=True)
        if state is not None:
            shutil.copytree(state, self.work, symlinks=True)

    def watched(self, decide: Callable[[int, int, Call], Answer]) -> tuple[Ended, list[Call]]:
        """Run the command. `decide(process, number, call)` is asked about each of its calls."""
        calls = Calls(self.work, lambda number, call: decide(process.pid, number, call))
        process = self.place.start(faults=[fault("hand_over_calls", name=calls.name)])
        calls.watch()
        return process.wait(), calls.made

    def killed_at(self, number: int) -> Ended:
        """kill -9 in place of the call of this number."""

        def kill(process: int, at: int, call: Call) -> Answer:
            if at == number:
                os.kill(process, signal.SIGKILL)
            return None

        return self.watched(kill)[0]

    def failing_at(self, number: int, error: int) -> Ended:
        """The call of this number fails, once."""
        return self.watched(lambda process, at, call: error if at == number else None)[0]

    def states(self, into: Path) -> States:
        """Run once, and keep what a kill in place of each call would leave: the process waits meanwhile."""
        known: dict[str, Path | None] = {}
        of_call: list[str] = []

        def keep(process: int, number: int, call: Call) -> Answer:
            digest = _digest(self.work)
            of_call.append(digest)
            if digest not in known:
                known[digest] = shutil.copytree(self.work, into / str(number)) if self.work.exists() else None
            return None

        self.put_back(None)
        ended, made = self.watched(keep)
        assert ended.code == 0, ended.said
        return States(made, of_call, known, self.left())

    def left(self) -> dict[str, Any]:
        """All that is there after the run and must not depend on what disturbed it: file by file, what it holds."""
        return {name: held for name, held in _held(self.work).items() if held is not None}


@dataclass
class States:
    """What a run does with its files: its calls, the state of the files before each, and what it leaves."""

    calls: list[Call]
    of_call: list[str]
    files: dict[str, Path | None]
    left: dict[str, Any] = field(repr=False)


def _held(work: Path) -> dict[str, Any]:
    """By file, relative to `work`; None for what tells of disturbances, and for notes of hashes."""
    found: dict[str, Any] = {}
    for file in sorted(work.rglob("*")):
        name = file.relative_to(work).as_posix()
        if file.is_dir():
            found[f"{name}/"] = "folder"
        elif file.name == "events.jsonl" or "/hashes/" in name:
            found[name] = None
        elif file.name in ("run.lock", "report.html"):
            found[name] = "there"
        elif file.name == "run.json":
            found[name] = json.loads(file.read_text())["state"]
        elif file.name == "speed.jsonl":
            found[name] = [record["step"] for record in read_lines(file)]
        elif file.name == "metrics.jsonl":
            found[name] = _again(read_lines(file))
        elif file.name in ("result.json", "manifest.json"):
            found[name] = _again(json.loads(file.read_text()))
        else:
            found[name] = sha256(file.read_bytes()).hexdigest()
    return found


def _again(content: Any) -> Any:
    """Without what no run gives again."""
    if isinstance(content, dict):
        return {key: _again(value) for key, value in content.items() if key not in _NOT_TWICE}
    return [_again(value) for value in content] if isinstance(content, list) else content


def _digest(folder: Path) -> str:
    """Of names and content."""
    found = sha256()
    for path in sorted(folder.rglob("*")):
        found.update(f"{path.relative_to(folder)}\0".encode())
        if path.is_file():
            found.update(sha256(path.read_bytes()).digest())
    return found.hexdigest() if folder.exists() else "nothing"
