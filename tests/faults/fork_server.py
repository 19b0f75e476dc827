"""A process that has imported everything once and forks a real `llamatune` command for each request.

Importing torch, transformers and trl takes several seconds; a fault takes one. Each child is a process of its own:
its own exit status, signals, limits, mounts and files, and nothing shared with the tests. Requests are lines of JSON
on standard input, answers lines of JSON on standard output.

torch works with one thread here: threads do not survive a fork.
"""

from __future__ import annotations

import atexit
import ctypes
import gc
import json
import os
import signal
import sys
import threading
from typing import Any


def load_everything() -> None:
    """The commands, all stages, and what upstream imports only when it is asked for something."""
    import importlib
    import pkgutil

    import torch

    torch.set_num_threads(1)
    stages = importlib.import_module("llamatune.stages")
    for name in (
        "llamatune.cli",
        "llamatune.pipeline",
        *(module.name for module in pkgutil.iter_modules(stages.__path__, "llamatune.stages.")),
        "matplotlib.figure",
        "peft.tuners.lora.bnb",
        "peft.utils.transformers_weight_conversion",
        "transformers.generation",
        "transformers.models.auto.modeling_auto",
        "transformers.models.llama.modeling_llama",
    ):
        importlib.import_module(name)
    from transformers.conversion_mapping import get_checkpoint_conversion_mapping

    get_checkpoint_conversion_mapping("llama")  # made once, with many regular expressions


def serve() -> dict[str, Any] | None:
    """Answer requests. Returns a request in the child that is to carry it out, and None at the end."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    living: set[int] = set()

    def answer(**content: Any) -> None:
        answers.write(json.dumps(content) + "\n")
        answers.flush()

    answer(ready=os.getpid())
    while line := sys.stdin.readline():
        request = json.loads(line)
        if "wait" in request:
            pid, status = os.waitpid(request["wait"], 0)
            living.discard(pid)
            answer(status=os.waitstatus_to_exitcode(status))
            continue
        pid = os.fork()
        if pid == 0:
            answers.close()
            return request
        living.add(pid)
        answer(pid=pid)
    for pid in living:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    return None


def become(request: dict[str, Any]) -> None:
    """Turn this child into the process that was asked for, up to the command itself."""
    os.setsid()
    _enter_namespaces(request)
    for target, name, flags in (
        (0, os.devnull, os.O_RDONLY),
        (1, request["stdout"], os.O_WRONLY | os.O_CREAT | os.O_APPEND),
        (2, request["stderr"], os.O_WRONLY | os.O_CREAT | os.O_APPEND),
    ):
        opened = os.open(name, flags, 0o600)
        os.dup2(opened, target)
        os.close(opened)
    sys.stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115 - standard input, for good
    os.chdir(request["cwd"])
    os.umask(request["umask"])
    sys.argv = ["llamatune", *request["arguments"]]
    if request["faults"]:
        import faulty

        for name, arguments in request["faults"]:
            getattr(faulty, name)(**arguments)


def _enter_namespaces(request: dict[str, Any]) -> None:
    """Join the mounts or the network of another process."""
    libc = ctypes.CDLL(None, use_errno=True)
    for kind in ("mnt", "net"):
        if pid := request["joins"].get(kind):
            for name in ("user", kind):
                handle = os.open(f"/proc/{pid}/ns/{name}", os.O_RDONLY)
                if libc.setns(handle, 0) != 0:
                    raise OSError(ctypes.get_errno(), f"setns {name}")
                os.close(handle)


def run_quickly() -> None:
    """The command, and all of the interpreter's end that can be seen from outside.

    Taking down the modules of torch in a forked process touches, and so copies, most of its memory: that takes as
    long as four steps of the run.
    """
    from llamatune.cli import main

    code: Any = 0
    try:
        main()
    except SystemExit as end:
        code = end.code or 0
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    load_everything()
    gc.collect()
    gc.freeze()
    if request := serve():
        become(request)
        if request["whole_end"]:
            from llamatune.cli import main

            main()
        else:
            run_quickly()
