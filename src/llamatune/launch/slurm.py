"""A file for `sbatch`: one task a machine, which starts `llamatune launch` there.

Slurm sends SIGUSR1 to the batch script some time before the limit; the script hands it to the tasks, which finish their
step, save and end with 75. Then the script puts the job in the queue again, and the same command goes on. What waits
for people ends with another code: in the queue again, it would only wait there.
"""

from __future__ import annotations

import re
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from llamatune.errors import RecipeError
from llamatune.runs.files import write_atomic

_FIRST_PORT, _PORTS = 20000, 20000


def sbatch_file(
    arguments: Sequence[str],
    *,
    name: str,
    nodes: int,
    devices: int,
    cards: bool,
    time: str,
    warning: int,
    folder: Path,
) -> str:
    """The text of the file.

    Args:
        arguments: of `llamatune launch`, without those that say which machines.
        name: of the job.
        devices: processes on each machine.
        cards: whether each has a card of its own.
        time: the limit, as sbatch takes it.
        warning: seconds before the limit at which the run is asked to save.
        folder: where the job works.
    """
    several = nodes > 1
    asked = [
        f"--job-name={name}",
        f"--nodes={nodes}",
        "--ntasks-per-node=1",
        f"--gpus-per-node={devices}" if cards else f"--cpus-per-task={devices}",
        f"--time={time}",
        f"--signal=B:USR1@{warning}",
        "--requeue",
        "--open-mode=append",
        "--output=%x-%j.log",
        f"--chdir={folder}",
    ]
    command = shlex.join([sys.executable, "-m", "llamatune", "launch", *arguments])
    where = f' --nodes {nodes} --node-rank "$SLURM_NODEID" --rendezvous "$first:$port"' if several else ""
    task = shlex.quote(f'exec {command}{where} --job "$SLURM_JOB_ID"')
    lines = [
        "#!/bin/bash",
        "# Written by `llamatune launch --slurm`. Options on sbatch's command line go before those here.",
        *(f"#SBATCH {_quoted(one)}" for one in asked),
        "",
        "# The machines meet on the first one, at a port of this job's own.",
        'first=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)',
        f"port=$(({_FIRST_PORT} + SLURM_JOB_ID % {_PORTS}))",
        "export first port",
        "",
        "# One task a machine starts its processes. If one task fails, the others find out and end by themselves:",
        "# ended by Slurm, they would hide its exit code, which says whether to go on.",
        f"srun --kill-on-bad-exit=0 bash -c {task} &",
        "tasks=$!",
        "",
        "# Either signal: the run finishes its step, saves and ends with 75. Only USR1, which comes before the limit,",
        "# puts the job in the queue again here. TERM comes after `scancel`, when it shall not come again, and when a",
        "# job of higher priority wants the machine; then Slurm puts it in the queue again itself, or was told not to.",
        "again=no",
        "trap 'again=yes; kill -USR1 \"$tasks\"' USR1",
        "trap 'again=no; kill -USR1 \"$tasks\"' TERM",
        'wait "$tasks"; code=$?',
        "# A signal ends `wait`, and not what it waits for.",
        'while kill -0 "$tasks" 2>/dev/null; do wait "$tasks"; code=$?; done',
        "",
        'if [ "$code" -eq 75 ] && [ "$again" = yes ]; then',
        '    scontrol requeue "$SLURM_JOB_ID"',
        "fi",
        'exit "$code"',
        "",
    ]
    return "\n".join(lines)


def _quoted(option: str) -> str:
    """As sbatch reads it: in double quotes a blank is part of a word, and a backslash keeps the next character."""
    if not re.search(r"[\s\"'#\\]", option):
        return option
    return '"' + re.sub(r'(["#\\])', r"\\\1", option) + '"'


def write_sbatch(file: Path, text: str) -> None:
    """Write the file, but not over another one.

    Raises:
        RecipeError: E027, there is a file of this name that says something else.
    """
    if file.exists() and file.read_text("utf-8", "replace") != text:
        raise RecipeError(
            "E027",
            f"`{file}` exists, and says something else",
            place="--slurm",
            why="somebody may have changed it",
            hint="move it away, or remove it",
        )
    write_atomic(file, text)
