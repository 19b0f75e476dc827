"""Time the commands that should feel instant, warm, as whole processes.

python benchmarks/light_commands.py
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

LLAMATUNE = Path(sys.executable).with_name("llamatune")
COMMANDS = {
    "python -c pass": [sys.executable, "-c", "pass"],
    "llamatune --help": [str(LLAMATUNE), "--help"],
    "llamatune validate": [str(LLAMATUNE), "validate", "recipes/pico/sft.yaml"],
    "llamatune schema": [str(LLAMATUNE), "schema"],
}
RUNS = 7
# Compiled files are kept, as in a user's shell.
SHELL = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}


def main() -> None:
    for name, command in COMMANDS.items():
        seconds = []
        for _ in range(RUNS + 1):
            started = time.perf_counter()
            subprocess.run(
                command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=SHELL
            )
            seconds.append(time.perf_counter() - started)
        warm = sorted(seconds[1:])
        print(f"{name:22} median {statistics.median(warm):.2f} s   range {warm[0]:.2f} to {warm[-1]:.2f} s")


if __name__ == "__main__":
    main()
