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
from system_calls import Answer, Calls, Point

TRAINING = {
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
"""With a checkpoint after each step but the last, of which one is kept; PPO's first lies within an iteration."""
MAKING = {
    "rejection_sampling": """\
stage: rejection_sampling
data: {train: [{path: prompts.jsonl}], max_length: 48}
sampling: {samples: 2, max_new_tokens: 12, batch_size: 4}
reward: {helpfulness: ./judge}
""",
    "gatt": """\
stage: gatt
data: {train: [{path: prompts.jsonl}], max_length: 48}
sampling: {max_new_tokens: 12, batch_size: 4}
gatt: {turns: [2, 2]}
""",
    "context_distillation": """\
stage: context_distillation
data: {train: [{path: prompts.jsonl, safety: true}], max_length: 48}
sampling: {max_new_tokens: 12, batch_size: 4}
reward: {safety: ./judge}
""",
    "self_chat": """\
stage: self_chat
data: {train: [{path: prompts.jsonl}], max_length: 48, too_long: drop, max_dropped: 0.5}
sampling: {max_new_tokens: 12, batch_size: 4}
self_chat: {turns: 2, opening: "Ask: {}"}
""",
    "preferences": """\
stage: preferences
data: {train: [{path: prompts.jsonl}], max_length: 48}
sampling: {max_new_tokens: 12, batch_size: 4}
judge: reward_models
reward: {helpfulness: ./judge}
test_share: 0.3
""",
    "evaluate": """\
stage: evaluate
models: {one: {}, two: {}}
data: {eval: [{path: prompts.jsonl}], max_length: 48}
sampling: {max_new_tokens: 12, batch_size: 4}
judges: {helpfulness: ./judge}
""",
}
"""Stages that make data, or figures: their work is in parts, each kept as soon as it is whole."""
STAGES = {
    **{
        name: f"{text}output: work/run\nlogging: {{every_steps: 1}}\ncheckpoint: {{every_steps: 1, keep: 1}}\n"
        for name, text in TRAINING.items()
    },
    **{name: f"{text}output: work/run\nmodel: {{base: ./base}}\n" for name, text in MAKING.items()},
}
JUDGED = ("ppo", *(name for name in MAKING if name not in ("gatt", "self_chat")))
"""Stages that need a reward model."""
_WORDS = ["cup", "hat", "key", "map", "pen", "bag"]
_WORK = "work"
"""Holds the run, and a cache of its own."""
_NOT_TWICE = {"seconds", "finished", "time", "peak_memory_gib", "sizes", "sha256", "random_states"}
"""Keys of JSON that no run gives again, or that are about such keys."""


def fill(folder: Path, stage: str, base: Path, judge: Path | None = None) -> None:
    """The recipe and what it names; `judge` is a reward model."""
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
    (folder / "recipe.yaml").write_text(STAGES[stage])
    for file in folder.rglob("*"):
        os.utime(file, (1e9, 1e9))


@dataclass
class ShortRun:
    """A place with a short run, whose files can be taken away and put back.

    `begin`: the files that the command finds; `arguments`: of the command.
    """

    place: Place
    begin: Path | None = None
    arguments: tuple[str, ...] = ()

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

    def run(self) -> Ended:
        return self.place.run(*self.arguments)

    def watched(self, decide: Callable[[int, Point], Answer]) -> tuple[Ended, list[Point]]:
        """Run the command. `decide(process, point)` is asked about each of its calls."""
        calls = Calls(self.work, lambda point: decide(process.pid, point))
        process = self.place.start(*self.arguments, faults=[fault("hand_over_calls", name=calls.name)])
        calls.watch()
        return process.wait(), calls.made

    def killed_at(self, at: Point) -> Ended:
        """kill -9 in place of a call."""
        return self._acting(at, lambda process: os.kill(process, signal.SIGKILL))

    def removed_at(self, at: Point) -> Ended:
        """Somebody removes the run's directory before a call."""
        return self._acting(at, lambda process: shutil.rmtree(self.work / "run"))

    def signalled_at(self, at: Point, number: int) -> Ended:
        """A signal comes before a call."""
        return self._acting(at, lambda process: os.kill(process, number))

    def failing_at(self, at: Point, error: int) -> Ended:
        """A call fails, once."""
        return self.watched(lambda process, point: error if point == at else None)[0]

    def _acting(self, at: Point, act: Callable[[int], None]) -> Ended:
        def decide(process: int, point: Point) -> Answer:
            if point == at:
                act(process)
            return None

        return self.watched(decide)[0]

    def states(self, into: Path) -> States:
        """Run once, and keep what a kill in place of each call would leave: the process waits meanwhile."""
        known: dict[str, Path | None] = {}
        before: dict[Point, str] = {}

        def keep(process: int, point: Point) -> Answer:
            digest = before[point] = _digest(self.work)
            if digest not in known:
                folder = into / str(len(known))
                known[digest] = shutil.copytree(self.work, folder) if self.work.exists() else None
            return None

        self.put_back(self.begin)
        ended, _ = self.watched(keep)
        assert ended.code == 0, ended.said
        return States(before, known, self.left())

    def undisturbed(self) -> States:
        """Run once; the files before each call are not kept."""
        self.put_back(self.begin)
        ended, made = self.watched(lambda process, point: None)
        assert ended.code == 0, ended.said
        return States(dict.fromkeys(made, ""), {}, self.left())

    def left(self) -> dict[str, Any]:
        """All that is there after the run and must not depend on what disturbed it: file by file, what it holds."""
        return {name: held for name, held in contents(self.work).items() if held is not None}

    def differences(self, states: States) -> list[str]:
        """Files that are there now and were not after the undisturbed run, or the other way round, or hold something
        else."""
        left = self.left()
        names = left.keys() | states.left.keys()
        return sorted(name for name in names if left.get(name) != states.left.get(name))


@dataclass
class States:
    """What a run does with its files: the state before each of its calls, those files, and what it leaves."""

    before: dict[Point, str]
    files: dict[str, Path | None]
    left: dict[str, Any] = field(repr=False)

    @property
    def points(self) -> list[Point]:
        return list(self.before)


def contents(work: Path) -> dict[str, Any]:
    """By file, relative to `work`; None for what tells of disturbances, notes of hashes, and what is not ours."""
    found: dict[str, Any] = {}
    for file in sorted(work.rglob("*")):
        name = file.relative_to(work).as_posix()
        if file.is_dir():
            found[f"{name}/"] = "folder"
        elif file.name in ("events.jsonl", "pipeline.json") or "/hashes/" in name or "/matplotlib/" in name:
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
