"""Faults, made in the process of the command before it starts. The product has no hook: everything is wrapped here.

`watch` gives the moments of a run names, such as `step 5`, `forward 5`, `save 6: optimizer.pt`, writes each down in
the file `moments`, and does there what the test asked for.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

_doing: dict[str, Callable[[], None]] = {}
_step = 0


def _now_at(moment: str) -> None:
    with suppress(OSError), open("moments", "a", encoding="utf-8") as stream:  # also where files may not grow
        stream.write(f"{moment}\n")
    if action := _doing.pop(moment, None):
        action()


def watch() -> None:
    """Give the moments of the run their names; see the comments below for what they are."""
    import torch
    from transformers import TrainerState
    from transformers.models.llama.modeling_llama import LlamaForCausalLM

    from llamatune.ppo.run_trainer import RecipePPOTrainer
    from llamatune.runs import checkpoints, report
    from llamatune.runs.run import Run
    from llamatune.stages import ppo as ppo_stage
    from llamatune.stages import reward as reward_stage
    from llamatune.stages import sft
    from llamatune.training import replies, reward
    from llamatune.training.global_batch import GlobalBatchTrainer

    if getattr(watch, "done", False):
        return
    watch.done = True  # type: ignore[attr-defined]
    generated = {"step": 0, "tokens": -1}

    def watched_step(plain: Any) -> Any:
        def step(self: Any, *args: Any, **kwargs: Any) -> Any:
            global _step
            _step = self.state.global_step + 1
            _now_at(f"step {_step}")  # before anything of the step
            result = plain(self, *args, **kwargs)
            _now_at(f"gradients {_step}")  # before the update
            return result

        return step

    def watched_loss(plain: Any) -> Any:
        def loss(self: Any, model: Any, *args: Any, **kwargs: Any) -> Any:
            _now_at(f"forward {_step}" if model.training else f"evaluation {_step}")
            return plain(self, model, *args, **kwargs)

        return loss

    def score_rows(*args: Any, **kwargs: Any) -> Any:
        _now_at(f"evaluation {_step}")
        return plain_score_rows(*args, **kwargs)

    def answer(*args: Any, **kwargs: Any) -> Any:
        generated["tokens"] = 0
        try:
            return plain_answer(*args, **kwargs)
        finally:
            generated["tokens"] = -1

    def forward(self: Any, *args: Any, **kwargs: Any) -> Any:
        if generated["tokens"] >= 0:
            generated["tokens"] += 1
            _now_at(f"replies {_step}: token {generated['tokens']}")
        return plain_forward(self, *args, **kwargs)

    def watched_save(plain: Any) -> Any:
        def save_model(self: Any, *args: Any, **kwargs: Any) -> None:
            _now_at(f"save {_step}")  # before the folder is there; of PPO, its state is
            plain(self, *args, **kwargs)
            _now_at(f"save {_step}: adapter_model.safetensors")

        return save_model

    def save(content: Any, file: Any, *args: Any, **kwargs: Any) -> None:
        name = os.path.basename(str(file))
        plain_save(content, file, *args, **kwargs)
        whole = Path(file).read_bytes()
        if f"save {_step}: half of {name}" in _doing:
            Path(file).write_bytes(whole[: len(whole) // 2])
            _now_at(f"save {_step}: half of {name}")
        _now_at(f"save {_step}: {name}")

    def save_state(self: Any, path: str) -> None:
        plain_save_state(self, path)
        _now_at(f"save {_step}: trainer_state.json")

    def commit(folder: Path, **kwargs: Any) -> Any:
        _now_at(f"save {_step}: before the manifest")
        result = plain_commit(folder, **kwargs)
        _now_at(f"save {_step}: manifest.json")
        return result

    def replace(source: Any, target: Any, **kwargs: Any) -> None:
        if re.search(r"checkpoint-\d+/manifest\.json$", str(target)):
            _now_at(f"save {_step}: manifest.json under its temporary name")
        plain_replace(source, target, **kwargs)

    def discard(folder: Path) -> None:
        _now_at(f"removal of {folder.name}")
        plain_discard(folder)

    def rmtree(path: Any, *args: Any, **kwargs: Any) -> None:
        name = os.path.basename(str(path))
        if f"half of the removal of {name}" in _doing:
            for file in sorted(Path(path).iterdir())[:3]:
                file.unlink()
            _now_at(f"half of the removal of {name}")
        plain_rmtree(path, *args, **kwargs)

    def fsync(handle: int) -> None:
        plain_fsync(handle)
        _now_at(f"sync {_step}: {os.path.basename(os.readlink(f'/proc/self/fd/{handle}'))}")

    def write_report(directory: Path) -> Path:
        _now_at("report")
        return plain_write_report(directory)

    def save_trained(*args: Any, **kwargs: Any) -> Any:
        _now_at("artefact")
        result = plain_save_trained(*args, **kwargs)
        _now_at("artefact written")
        return result

    def finish(self: Any, *args: Any, **kwargs: Any) -> Any:
        _now_at("end")
        return plain_finish(self, *args, **kwargs)

    for trainer in (GlobalBatchTrainer, RecipePPOTrainer):
        trainer.training_step = watched_step(trainer.training_step)
        trainer.save_model = watched_save(trainer.save_model)
    _watch_ppo()
    for trainer in _trainers():
        trainer.compute_loss = watched_loss(trainer.compute_loss)
    plain_score_rows, reward.score_rows = reward.score_rows, score_rows
    plain_answer, replies.SampleReplies.show = replies.SampleReplies.show, answer
    plain_forward, LlamaForCausalLM.forward = LlamaForCausalLM.forward, forward
    plain_save, torch.save = torch.save, save
    plain_save_state, TrainerState.save_to_json = TrainerState.save_to_json, save_state
    plain_commit, checkpoints.commit = checkpoints.commit, commit
    plain_replace, os.replace = os.replace, replace
    plain_discard, checkpoints.discard = checkpoints.discard, discard
    plain_rmtree, shutil.rmtree = shutil.rmtree, rmtree
    plain_fsync, os.fsync = os.fsync, fsync
    plain_write_report, report.write_report = report.write_report, write_report
    plain_save_trained = sft.save_trained
    sft.save_trained = reward_stage.save_trained = ppo_stage.save_trained = save_trained
    plain_finish, Run.finish = Run.finish, finish


def _watch_ppo() -> None:
    """The parts of a step of PPO: rollouts, scoring, reading, update; its evaluation, and its files."""
    from transformers.models.llama.modeling_llama import LlamaForCausalLM

    from llamatune.judging.judges import ModelReward
    from llamatune.ppo import checkpoint as saving
    from llamatune.ppo.roles.passes import Passes
    from llamatune.ppo.trainer import PPOTrainer
    from llamatune.ppo.updates import Updates

    sampled = {"tokens": -1}

    def sample(self: Any, *args: Any, **kwargs: Any) -> Any:
        sampled["tokens"] = 0
        try:
            return plain_sample(self, *args, **kwargs)
        finally:
            sampled["tokens"] = -1

    def forward(self: Any, *args: Any, **kwargs: Any) -> Any:
        if sampled["tokens"] >= 0:
            sampled["tokens"] += 1
            _now_at(f"rollouts {_step}: token {sampled['tokens']}")
        return plain_forward(self, *args, **kwargs)

    def named(plain: Any, name: Callable[..., str]) -> Any:
        def call(*args: Any, **kwargs: Any) -> Any:
            _now_at(name(*args))
            return plain(*args, **kwargs)

        return call

    def save_weights(state: Any, file: Path) -> None:
        plain_save_weights(state, file)
        if f"save {_step}: half of {file.parent.name}/{file.name}" in _doing:
            os.truncate(file, file.stat().st_size // 2)
            _now_at(f"save {_step}: half of {file.parent.name}/{file.name}")
        _now_at(f"save {_step}: {file.parent.name}/{file.name}")

    def save_checkpoint(self: Any, folder: Path, step: int) -> None:
        plain_save_checkpoint(self, folder, step)
        _now_at(f"save {_step}: ppo_state.json")

    plain_sample, PPOTrainer.sample = PPOTrainer.sample, sample  # type: ignore[method-assign]
    plain_forward, LlamaForCausalLM.forward = LlamaForCausalLM.forward, forward
    scoring = named(ModelReward.__call__, lambda reward, *_: f"scoring {_step}: {reward.name}")
    ModelReward.__call__ = scoring  # type: ignore[method-assign]
    for kind, method, name in (
        (Passes, "read", lambda *_: f"reading {_step}"),
        (PPOTrainer, "evaluate", lambda *_: f"evaluation {_step}"),
        (Updates, "_backward", lambda updates, role, *_: f"update {_step}: {role}"),
    ):
        setattr(kind, method, named(getattr(kind, method), name))
    plain_save_weights, saving.save_weights = saving.save_weights, save_weights
    plain_save_checkpoint, saving.PPOCheckpoint.save = saving.PPOCheckpoint.save, save_checkpoint  # type: ignore[method-assign]


def _trainers() -> list[Any]:
    """Those whose losses are watched and broken."""
    from llamatune.training.reward import RewardModelTrainer
    from llamatune.training.sft import SftTrainer

    return [SftTrainer, RewardModelTrainer]


def _at(moment: str | None, action: Callable[[], None]) -> None:
    """Do something at a moment, or at once."""
    if moment is None:
        action()
        return
    watch()
    _doing[moment] = action


# ---- at a moment ------------------------------------------------------------------------------------------


def kill(at: str) -> None:
    """kill -9."""
    send(at, [signal.SIGKILL])


def send(at: str, signals: list[int], apart: float = 0.0) -> None:
    """Signals to the process itself, one after the other."""

    def action() -> None:
        for number in signals:
            os.kill(os.getpid(), number)
            time.sleep(apart)

    _at(at, action)


def pause(at: str, seconds: float) -> None:
    """Time for the test to do something to the process."""
    _at(at, lambda: time.sleep(seconds))


def remove(at: str, path: str) -> None:
    _at(at, lambda: shutil.rmtree(path))


def limit_files(at: str, size: int) -> None:
    """No file may grow beyond `size` bytes: what a full quota looks like."""
    import resource

    _at(at, lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY)))


def fill_disk(at: str | None, folder: str, leave: int) -> None:
    """Another program fills the disk of `folder` up to `leave` bytes."""

    def action() -> None:
        free = os.statvfs(folder).f_bavail * os.statvfs(folder).f_frsize
        with open(Path(folder) / "ballast", "wb") as stream:
            stream.write(b"\0" * max(free - leave, 0))

    _at(at, action)


def kill_workers(at: str) -> None:
    """kill -9 for each child process."""

    def action() -> None:
        children = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
        assert children, "there is no data worker"
        for pid in children:
            os.kill(int(pid), signal.SIGKILL)
        time.sleep(0.2)

    _at(at, action)


def break_data(at_step: int) -> None:
    """A data set on a share that has gone: an OSError that has nothing to do with what the run writes."""
    import errno

    from llamatune.training.global_batch import GlobalBatchTrainer

    watch()

    def items(self: Any, row: Any) -> int:
        if _step == at_step:
            raise OSError(errno.EIO, os.strerror(errno.EIO), "rows.arrow")
        return plain(self, row)

    plain, GlobalBatchTrainer.items = GlobalBatchTrainer.items, items


# ---- losses and gradients ---------------------------------------------------------------------------------


def break_loss(at_step: int, value: str) -> None:
    """The loss of a step is `value`, `nan` or `inf`."""
    _change_loss(lambda loss: loss * float(value) if _step == at_step else loss)


def break_gradient(at_step: int) -> None:
    """The loss stays finite, its gradient is NaN: sqrt'(0) * 0."""
    import torch

    def change(loss: Any) -> Any:
        return loss + torch.sqrt((loss - loss.detach()) * 0) if _step == at_step else loss

    _change_loss(change)


def break_row(place: str) -> None:
    """One row of the data gives NaN, whichever batch it is in."""
    from llamatune.forward.collate import PaddingFree
    from llamatune.forward.pairs import SharedPrompts

    seen = {"it": False}

    def watched(plain: Any) -> Any:
        def collate(self: Any, rows: Any) -> Any:
            seen["it"] = any(row.get("place") == place for row in rows)
            return plain(self, rows)

        return collate

    for kind in (PaddingFree, SharedPrompts):
        kind.__call__ = watched(kind.__call__)  # type: ignore[method-assign]
    _change_loss(lambda loss: loss * float("nan") if seen["it"] else loss)


def _change_loss(change: Callable[[Any], Any]) -> None:
    watch()

    def changed(plain: Any) -> Any:
        def loss(self: Any, model: Any, *args: Any, **kwargs: Any) -> Any:
            result = plain(self, model, *args, **kwargs)
            return change(result) if model.training else result

        return loss

    for trainer in _trainers():
        trainer.compute_loss = changed(trainer.compute_loss)


def break_ppo(at_step: int, what: str) -> None:
    """In the iteration of this step one reward is NaN; or the policy's `loss` is in this step, or its `gradient`."""
    import torch

    from llamatune.judging.judges import ModelReward
    from llamatune.ppo import updates

    watch()

    def score(self: Any, *args: Any, **kwargs: Any) -> Any:
        found = plain_score(self, *args, **kwargs)
        if what == "reward" and _step == at_step:
            found[0] = float("nan")
        return found

    def policy_loss(**kwargs: Any) -> Any:
        loss, statistics = plain_loss(**kwargs)
        if what == "loss" and _step == at_step:
            loss = loss * float("nan")
        if what == "gradient" and _step == at_step:
            loss = loss + torch.sqrt((loss - loss.detach()) * 0)
        return loss, statistics

    plain_score, ModelReward.__call__ = ModelReward.__call__, score  # type: ignore[method-assign]
    plain_loss, updates.policy_loss = updates.policy_loss, policy_loss


def raise_learning_rate(at_step: int, factor: float) -> None:
    """From the update of this step on, the learning rate is `factor` times what it should be."""
    import torch

    watch()

    def update(self: Any, *args: Any, **kwargs: Any) -> Any:
        if _step < at_step:
            return plain(self, *args, **kwargs)
        rates = [group["lr"] for group in self.param_groups]
        for group in self.param_groups:
            group["lr"] *= factor
        try:
            return plain(self, *args, **kwargs)
        finally:
            for group, rate in zip(self.param_groups, rates, strict=True):
                group["lr"] = rate

    plain, torch.optim.AdamW.step = torch.optim.AdamW.step, update


# ---- memory -----------------------------------------------------------------------------------------------


def short_of_memory(where: str, tokens: int) -> None:
    """More than `tokens` tokens at once are too many in `forward`, `backward`, `evaluation`, `replies` or, of PPO,
    `rollouts`."""
    import torch
    from accelerate import Accelerator
    from transformers.models.llama.modeling_llama import LlamaForCausalLM, LlamaForSequenceClassification

    from llamatune.ppo.trainer import PPOTrainer
    from llamatune.ppo.updates import Updates
    from llamatune.training import replies, reward

    watch()
    now = {"tokens": 0, "doing": ""}

    def doing(what: Callable[..., str], plain: Any) -> Any:
        def call(*args: Any, **kwargs: Any) -> Any:
            now["doing"] = what(*args)
            try:
                return plain(*args, **kwargs)
            finally:
                now["doing"] = ""

        return call

    def check() -> None:
        if now["tokens"] > tokens:
            raise torch.OutOfMemoryError(
                f"CUDA out of memory. Tried to allocate {now['tokens']} MiB. GPU 0 has a total capacity of 1 MiB"
            )

    def short(plain: Any) -> Any:
        def forward(self: Any, *args: Any, **kwargs: Any) -> Any:
            now["tokens"] = (kwargs["input_ids"] if "input_ids" in kwargs else args[0]).numel()
            if now["doing"] == where:
                check()
            return plain(self, *args, **kwargs)

        return forward

    def backward(self: Any, loss: Any, **kwargs: Any) -> None:
        if where == "backward":
            check()
        plain_backward(self, loss, **kwargs)

    replies.SampleReplies.show = doing(lambda *args: "replies", replies.SampleReplies.show)
    reward.score_rows = doing(lambda *args: "evaluation", reward.score_rows)
    for trainer in _trainers():
        trainer.compute_loss = doing(
            lambda trainer, model, *args: "forward" if model.training else "evaluation", trainer.compute_loss
        )
    Updates._backward = doing(lambda *args: "forward", Updates._backward)
    PPOTrainer.sample = doing(lambda *args: "rollouts", PPOTrainer.sample)
    for kind in (LlamaForCausalLM, LlamaForSequenceClassification):
        kind.forward = short(kind.forward)
    plain_backward, Accelerator.backward = Accelerator.backward, backward


def limit_memory(at: str, more: int) -> None:
    """The process may take `more` bytes of address space beyond what it has now."""
    import resource

    def action() -> None:
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        resource.setrlimit(
            resource.RLIMIT_AS, (pages * resource.getpagesize() + more, resource.RLIM_INFINITY)
        )

    _at(at, action)


# ---- surroundings -----------------------------------------------------------------------------------------


def slow_down(seconds: float) -> None:
    """Each forward pass takes this much longer, so that a signal can meet it."""
    from transformers.models.llama.modeling_llama import LlamaForCausalLM

    watch()

    def forward(self: Any, *args: Any, **kwargs: Any) -> Any:
        time.sleep(seconds)
        return plain(self, *args, **kwargs)

    plain, LlamaForCausalLM.forward = LlamaForCausalLM.forward, forward


def without_pictures() -> None:
    """The report draws nothing: 25 charts take as long as four steps of the run."""
    from markupsafe import Markup

    from llamatune.runs.report import curves

    curves.draw = lambda *args, **kwargs: Markup("<svg></svg>")


def quick_heartbeat() -> None:
    """As if each step took longer than the time between two heartbeats."""
    from llamatune.runs import status

    status._HEARTBEAT_SECONDS = 0.0


def jumping_clock() -> None:
    """The wall clock jumps by up to eleven days, forwards and backwards, whenever it is looked at."""
    jumps = deque([0.0, 1e6, -1e6, 3600.0, -1e5])
    plain = time.time

    def jumping() -> float:
        jumps.rotate()
        return plain() + jumps[0]

    time.time = jumping


def ignore(number: int) -> None:
    """As `nohup` starts a process."""
    signal.signal(number, signal.SIG_IGN)


def online() -> None:
    """As if HF_HUB_OFFLINE had never been set, which the fork server read at its start."""
    from huggingface_hub import constants

    constants.HF_HUB_OFFLINE = False


def break_tracker(call: str) -> None:
    """TensorBoard's writer cannot reach its server."""
    from torch.utils import tensorboard

    def fail(*args: Any, **kwargs: Any) -> None:
        raise ConnectionError("the tracker is down")

    setattr(tensorboard.SummaryWriter, call, fail)
