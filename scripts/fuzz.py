"""Let every gate of an outside file read hostile files, as many as asked for, and count what comes out.

    python scripts/fuzz.py --count 50000               every light gate, so many times each
    python scripts/fuzz.py --gate base --count 1000    one gate
    python scripts/fuzz.py --gate base --only 17       one execution again, with its traceback
    python scripts/fuzz.py --cut                       files that were cut off, and are as they should be up to there

A gate, a seed and a number give the same file again. Ends with 1 if anything but an error of llamatune's came out. The
slowest execution of a gate is named with its seconds of processor time.
"""

import argparse
import importlib
import json
import os
import resource
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "src")]

MOST_MEMORY = 4 << 30
"""Bytes of an execution: a file without end fills the memory of the machine, otherwise."""
MOST_SECONDS = 60
"""Of an execution: whoever waits for a pipe waits for ever."""

gates, hostile = importlib.import_module("gates"), importlib.import_module("hostile")


def fuzz(gate: str, seed: int, numbers: range, seconds: float) -> dict[str, object]:
    """Executions of one gate: how many, what came out, and the numbers of those that were faults."""
    found: Counter[str] = Counter()
    faults: list[int] = []
    started, done = time.monotonic(), 0
    slowest = (0.0, 0)
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        os.environ["XDG_CACHE_HOME"] = folder
        for number in numbers:
            began = time.process_time()
            signal.alarm(MOST_SECONDS)
            try:
                error = gates.execute(gate, seed, number, Path(folder))
                found[error.problems[0].code if error else "read"] += 1
            except (Exception, TooLongError):
                faults.append(number)
                print(f"fault: --gate {gate} --seed {seed} --only {number}", file=sys.stderr)
                print(
                    traceback.format_exc(limit=-4).encode(errors="backslashreplace").decode(), file=sys.stderr
                )
            signal.alarm(0)
            done += 1
            slowest = max(slowest, (round(time.process_time() - began, 3), number))
            if time.monotonic() - started > seconds:
                break
        os.chdir(ROOT)
    took = round(time.monotonic() - started, 1)
    return {
        "gate": gate,
        "executions": done,
        "seconds": took,
        "faults": len(faults),
        "first": faults[:20],
        "slowest": slowest,
        "came_out": dict(found),
    }


class TooLongError(BaseException):
    """No gate may take it for one of its own."""


def too_long(*_: object) -> None:
    raise TooLongError(f"more than {MOST_SECONDS} s")


def main() -> None:
    """Read the arguments, run, print a JSON line for each gate and one for all of them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--gate", choices=[*gates.LIGHT, *gates.HEAVY], action="append")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--only", type=int)
    parser.add_argument("--seconds", type=float, default=1e9, help="most seconds for a gate")
    parser.add_argument("--cut", action="store_true", help="cut files off, and change nothing else")
    asked = parser.parse_args()
    resource.setrlimit(resource.RLIMIT_DATA, (MOST_MEMORY, MOST_MEMORY))
    signal.signal(signal.SIGALRM, too_long)
    if asked.cut:
        hostile.only_cut()
    numbers = range(asked.count) if asked.only is None else range(asked.only, asked.only + 1)
    done = faults = 0
    for gate in asked.gate or gates.LIGHT:
        record = fuzz(gate, asked.seed, numbers, asked.seconds)
        print(json.dumps(record), flush=True)
        done += int(str(record["executions"]))
        faults += int(str(record["faults"]))
    print(
        json.dumps(
            {
                "gates": len(asked.gate or gates.LIGHT),
                "executions": done,
                "faults": faults,
                "seed": asked.seed,
            }
        )
    )
    sys.exit(bool(faults))


if __name__ == "__main__":
    main()
