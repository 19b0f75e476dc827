"""Faults, made in the process of the command before it starts. The product has no hook, and none of its modules is
named here: what is wrapped is upstream's (events of a training, forward passes, `generate`, what writes files) or the
system's (replacing, removing and syncing files).

`watch` gives the moments of a run names, writes each down in the file `moments`, and does there what the test asked
for. N is the number of the step that began last:

    step N                          before anything of it
    forward N, values N             a pass with gradients, with the head of the model or below it (PPO's critic)
    gradients N                     before the update
    evaluation N                    a pass without gradients between two steps
    replies N: token T              `generate`, at the end of a step or outside of training
    rollouts N: token T             `generate`, within a step or an evaluation
    scoring N: reward_NAME          within a step, a pass of this adapter after the rollouts and before they are read
    reading N                       within a step, any other pass without gradients
    save N                          before the folder is there
    save N: half of FILE, FILE      when half of a state or weights is written, when all is
    save N: before the manifest     when all others are
    save N: manifest.json under its temporary name
    sync N: FILE                    when it has reached the disk
    removal of checkpoint-N, half of the removal of checkpoint-N
    memory ran out N                because a test wants it so
    trained                         after the last step
    artefact, artefact written      before its folder is there, when it is complete
    end                             the result is written, under its temporary name
    report                          so is the page
"""

from __future__ import annotations

import errno
import functools
import io
import os
import re
import shutil
import signal
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_doing: dict[str, Callable[[], None]] = {}


@dataclass
class _Now:
    """What the process is doing."""

    step: int = 0
    """The one that began last."""
    phase: str = "outside"
    """`step`, `end of a step`, `between` steps, or `outside` of training."""
    generating: str | None = None
    """`replies` or `rollouts`."""
    token: int = 0
    head: str | None = None
    """The kind of model whose whole forward pass is running, None below it."""
    reads: bool = False
    """Whether the rollouts of this step are scored already, and read."""
    kind: str | None = None
    """That of the last forward pass."""
    ids: Any = None
    """The tokens of the last forward pass."""


_now = _Now()


def _now_at(moment: str) -> None:
    with suppress(OSError), open("moments", "a", encoding="utf-8") as stream:  # also where files may not grow
        stream.write(f"{moment}\n")
    if action := _doing.pop(moment, None):
        action()


@functools.cache
def watch() -> None:
    """Give the moments of the run their names, see above."""
    _watch_events()
    _watch_passes()
    _watch_saving()
    _watch_files()


def _wrap(owner: Any, name: str, around: Callable[..., Any]) -> None:
    """`owner.name(...)` becomes `around(plain, ...)`."""
    plain = getattr(owner, name)

    @functools.wraps(plain)
    def call(*args: Any, **kwargs: Any) -> Any:
        return around(plain, *args, **kwargs)

    setattr(owner, name, call)


def _watch_events() -> None:
    """What the trainer tells its callbacks, all of them at once."""
    from transformers.trainer_callback import CallbackHandler

    def call_event(
        plain: Any, self: Any, event: str, args: Any, state: Any, control: Any, **kwargs: Any
    ) -> Any:
        if event == "on_step_begin":
            _now.step, _now.phase, _now.reads = state.global_step + 1, "step", False
            _now_at(f"step {_now.step}")
        elif event == "on_pre_optimizer_step":
            _now_at(f"gradients {_now.step}")
        elif event == "on_step_end":
            _now.phase = "end of a step"
        elif event == "on_save":
            _now_at(f"save {_now.step}: before the manifest")
        elif event == "on_train_end":
            _now.phase = "outside"
            _now_at("trained")
        result = plain(self, event, args, state, control, **kwargs)
        if event == "on_train_begin":
            _now.step = state.global_step
        if event in ("on_train_begin", "on_step_end"):
            _now.phase = "between"
        return result

    _wrap(CallbackHandler, "call_event", call_event)


def _watch_passes() -> None:
    """Forward passes of Llamas, and the generation of text."""
    from transformers.generation import GenerationMixin
    from transformers.models.llama.modeling_llama import (
        LlamaForCausalLM,
        LlamaForSequenceClassification,
        LlamaModel,
    )

    def generate(plain: Any, *args: Any, **kwargs: Any) -> Any:
        within = _now.phase in ("step", "between")
        _now.generating, _now.token, _now.reads = "rollouts" if within else "replies", 0, False
        try:
            return plain(*args, **kwargs)
        finally:
            _now.generating = None

    def whole(plain: Any, self: Any, *args: Any, **kwargs: Any) -> Any:
        _now.head = type(self).__name__
        try:
            return plain(self, *args, **kwargs)
        finally:
            _now.head = None

    def forward(plain: Any, self: Any, *args: Any, **kwargs: Any) -> Any:
        _now.ids = kwargs["input_ids"] if "input_ids" in kwargs else args[0]
        _now.kind, detail = _kind_of_pass(self)
        if _now.kind is not None:
            _now_at(f"{_now.kind} {_now.step}{detail}")
        return plain(self, *args, **kwargs)

    _wrap(GenerationMixin, "generate", generate)
    _wrap(LlamaForCausalLM, "forward", whole)
    _wrap(LlamaForSequenceClassification, "forward", whole)
    _wrap(LlamaModel, "forward", forward)


def _kind_of_pass(model: Any) -> tuple[str | None, str]:
    """The word for it, and what follows the number of the step."""
    import torch

    if _now.generating is not None:
        _now.token += 1
        return _now.generating, f": token {_now.token}"
    if _now.phase == "between":
        return "evaluation", ""
    if _now.phase != "step":
        return None, ""
    if torch.is_grad_enabled():
        return "forward" if _now.head else "values", ""
    _now.reads = _now.reads or _now.head is not None
    return ("reading", "") if _now.reads else ("scoring", f": {_adapter_of(model)}")


def _adapter_of(model: Any) -> str:
    """The one that is active."""
    from peft.tuners.tuners_utils import BaseTunerLayer

    layer = next((layer for layer in model.modules() if isinstance(layer, BaseTunerLayer)), None)
    return layer.active_adapters[0] if layer is not None else "no adapter"


def _watch_saving() -> None:
    """The files that upstream writes into a checkpoint."""
    import safetensors.torch
    import torch
    from transformers import TrainerState

    def written(path: Any) -> None:
        if (name := _in_checkpoint(path)) is None:
            return
        if (half := f"save {_now.step}: half of {name}") in _doing:
            os.truncate(path, os.stat(path).st_size // 2)
            _now_at(half)
        _now_at(f"save {_now.step}: {name}")

    def save(plain: Any, content: Any, file: Any, *args: Any, **kwargs: Any) -> None:
        plain(content, file, *args, **kwargs)
        written(file)

    def save_state(plain: Any, self: Any, path: str) -> None:
        plain(self, path)
        written(path)

    _wrap(torch, "save", save)
    _wrap(safetensors.torch, "serialize_file", save)  # whoever imported `save_file` before calls this
    _wrap(TrainerState, "save_to_json", save_state)


def _in_checkpoint(path: Any) -> str | None:
    """The name of a file in a checkpoint."""
    found = re.search(r"/checkpoint-\d+/(.+)$", str(path))
    return found[1] if found else None


def _watch_files() -> None:
    """What the run does with its files, as the system sees it."""

    def mkdir(plain: Any, path: Any, *args: Any, **kwargs: Any) -> None:
        path = Path(path)
        if re.fullmatch(r"checkpoint-\d+", path.name):
            _now_at(f"save {_now.step}")
        if path.name in ("adapter", "model") and (path.parent / "run.json").is_file():
            _now_at("artefact")
        plain(path, *args, **kwargs)

    def opened(plain: Any, file: Any, mode: str = "r", *args: Any, **kwargs: Any) -> Any:
        if mode[0] in "wx" and os.path.basename(str(file)).startswith(".result.json."):
            _now_at("artefact written")
        return plain(file, mode, *args, **kwargs)

    def replace(plain: Any, source: Any, target: Any, **kwargs: Any) -> None:
        manifest = _in_checkpoint(target) == "manifest.json"
        name = os.path.basename(target)
        if manifest:
            _now_at(f"save {_now.step}: manifest.json under its temporary name")
        elif name in ("result.json", "report.html"):
            _now_at("end" if name == "result.json" else "report")
        plain(source, target, **kwargs)
        if manifest:
            _now_at(f"save {_now.step}: manifest.json")

    def unlink(plain: Any, path: Any, **kwargs: Any) -> None:
        if _in_checkpoint(path) == "manifest.json":
            _now_at(f"removal of {Path(path).parent.name}")
        plain(path, **kwargs)

    def rmtree(plain: Any, path: Any, *args: Any, **kwargs: Any) -> None:
        if (half := f"half of the removal of {os.path.basename(path)}") in _doing:
            for file in sorted(Path(path).iterdir())[:3]:
                file.unlink()
            _now_at(half)
        plain(path, *args, **kwargs)

    def fsync(plain: Any, handle: int) -> None:
        plain(handle)
        _now_at(f"sync {_now.step}: {os.path.basename(os.readlink(f'/proc/self/fd/{handle}'))}")

    _wrap(os, "mkdir", mkdir)
    _wrap(io, "open", opened)
    _wrap(os, "replace", replace)
    _wrap(os, "unlink", unlink)
    _wrap(shutil, "rmtree", rmtree)
    _wrap(os, "fsync", fsync)


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
    """kill -9 for each forked child process."""

    def action() -> None:
        children = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
        own = Path("/proc/self/cmdline").read_bytes()
        workers = [child for child in children if Path(f"/proc/{child}/cmdline").read_bytes() == own]
        assert workers, "there is no data worker"
        for worker in workers:
            os.kill(int(worker), signal.SIGKILL)
        time.sleep(0.2)

    _at(at, action)


def break_data(at_step: int) -> None:
    """A data set on a share that has gone: an OSError that has nothing to do with what the run writes."""
    from datasets import Dataset

    watch()

    def rows(plain: Any, *args: Any) -> Any:
        if _now.step == at_step:
            raise OSError(errno.EIO, os.strerror(errno.EIO), "rows.arrow")
        return plain(*args)

    _wrap(Dataset, "__getitems__", rows)


# ---- losses and gradients ---------------------------------------------------------------------------------


def break_loss(at_step: int, value: str) -> None:
    """The loss of a step is `value`, `nan` or `inf`."""
    _change_loss(lambda loss: _spoilt(loss, float(value)) if _now.step == at_step else loss)


def break_gradient(at_step: int) -> None:
    """The loss stays finite, its gradient is NaN: sqrt'(0) * 0."""
    import torch

    def change(loss: Any) -> Any:
        return loss + torch.sqrt((loss - loss.detach()) * 0) if _now.step == at_step else loss

    _change_loss(change)


def break_row(text: str, tokenizer: str) -> None:
    """The row of the data that has this text gives NaN, whichever batch it is in."""
    from transformers import AutoTokenizer

    # At its ends a text may melt into what is around it.
    inner = AutoTokenizer.from_pretrained(tokenizer).encode(text, add_special_tokens=False)[1:-1]
    wanted = f" {' '.join(map(str, inner))} "

    def change(loss: Any) -> Any:
        there = f" {' '.join(map(str, _now.ids.flatten().tolist()))} "
        return _spoilt(loss, float("nan")) if wanted in there else loss

    _change_loss(change)


def _spoilt(loss: Any, factor: float) -> Any:
    """With its gradient; also where whoever asks for the backward pass holds it."""
    loss.detach().mul_(factor)
    return loss * factor


def _change_loss(change: Callable[[Any], Any]) -> None:
    from accelerate import Accelerator

    watch()
    _wrap(Accelerator, "backward", lambda plain, self, loss, **kwargs: plain(self, change(loss), **kwargs))


def break_rewards(at_step: int) -> None:
    """The rewards of the iteration of this step are NaN."""
    from transformers.models.llama.modeling_llama import LlamaModel

    watch()

    def forward(plain: Any, *args: Any, **kwargs: Any) -> Any:
        output = plain(*args, **kwargs)
        if _now.kind == "scoring" and _now.step == at_step:
            output.last_hidden_state.mul_(float("nan"))
        return output

    _wrap(LlamaModel, "forward", forward)


def raise_learning_rate(at_step: int, factor: float) -> None:
    """From the update of this step on, the learning rate is `factor` times what it should be."""
    import torch

    watch()

    def update(plain: Any, self: Any, *args: Any, **kwargs: Any) -> Any:
        if _now.step < at_step:
            return plain(self, *args, **kwargs)
        rates = [group["lr"] for group in self.param_groups]
        for group in self.param_groups:
            group["lr"] *= factor
        try:
            return plain(self, *args, **kwargs)
        finally:
            for group, rate in zip(self.param_groups, rates, strict=True):
                group["lr"] = rate

    _wrap(torch.optim.AdamW, "step", update)


# ---- memory -----------------------------------------------------------------------------------------------


def short_of_memory(where: str, tokens: int) -> None:
    """More than `tokens` tokens at once are too many in `forward` (PPO's critic included), `backward`, `evaluation`,
    `replies` or, of PPO, `rollouts`."""
    import torch
    from accelerate import Accelerator
    from transformers.models.llama.modeling_llama import LlamaModel

    watch()

    def check() -> None:
        if (asked := _now.ids.numel()) > tokens:
            _now_at(f"memory ran out {_now.step}")
            raise torch.OutOfMemoryError(
                f"CUDA out of memory. Tried to allocate {asked} MiB. GPU 0 has a total capacity of 1 MiB"
            )

    def forward(plain: Any, *args: Any, **kwargs: Any) -> Any:
        output = plain(*args, **kwargs)
        if _now.kind == where or (_now.kind, where) == ("values", "forward"):
            check()
        return output

    def backward(plain: Any, *args: Any, **kwargs: Any) -> None:
        if where == "backward":
            check()
        plain(*args, **kwargs)

    _wrap(LlamaModel, "forward", forward)
    _wrap(Accelerator, "backward", backward)


def limit_memory(at: str, more: int, until: str) -> None:
    """The process may take `more` bytes of address space beyond what it has then, for a while."""
    import resource

    def action() -> None:
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        resource.setrlimit(
            resource.RLIMIT_AS, (pages * resource.getpagesize() + more, resource.RLIM_INFINITY)
        )

    _at(at, action)
    _at(until, lambda: resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY,) * 2))


# ---- surroundings -----------------------------------------------------------------------------------------


def slow_down(seconds: float) -> None:
    """Each forward pass takes this much longer, so that a signal can meet it."""
    from transformers.models.llama.modeling_llama import LlamaModel

    watch()

    def forward(plain: Any, *args: Any, **kwargs: Any) -> Any:
        time.sleep(seconds)
        return plain(*args, **kwargs)

    _wrap(LlamaModel, "forward", forward)


def without_pictures() -> None:
    """The charts of the report are empty: 25 of them take as long as four steps of the run."""
    from matplotlib.figure import Figure

    def savefig(plain: Any, self: Any, stream: Any, **kwargs: Any) -> None:
        stream.write(b"<svg></svg>")

    _wrap(Figure, "savefig", savefig)


def quick_heartbeat() -> None:
    """Each step takes longer than the time between two heartbeats."""
    watch()
    _wrap(time, "monotonic", lambda plain: plain() + 60 * _now.step)


def jumping_clock() -> None:
    """The wall clock jumps by up to eleven days, forwards and backwards, whenever it is looked at."""
    jumps = deque([0.0, 1e6, -1e6, 3600.0, -1e5])
    plain = time.time

    def jumping() -> float:
        jumps.rotate()
        return plain() + jumps[0]

    time.time = jumping


def cache_in(folder: str) -> None:
    """A cache of its own, with nothing in it."""
    os.environ["XDG_CACHE_HOME"] = os.path.abspath(folder)


def hand_over_calls(name: str) -> None:
    """See `system_calls`."""
    import system_calls

    system_calls.hand_over(name)


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
