"""Kill the demo's training with -9 again and again: it must end in the same bytes as if nothing had happened.

    python scripts/kill_demo.py [--kills 10] [--seed 0] [--folder FOLDER] [OVERRIDE ...]

Runs `llamatune run recipes/pico/sft.yaml --overwrite` once undisturbed. Then the same command is killed at moments
drawn uniformly over the training, and every third time as soon as a checkpoint's folder appears, that is while it is
written; each time it is started again, and at last it may finish. Compares the adapter's sha256, metrics.jsonl
without its time stamps, and replies.jsonl. Takes about six minutes on two CPU cores; exit code 1 when anything
differs.
"""

from __future__ import annotations

import argparse
import json
import random
import re
import subprocess
import sys
import tempfile
import time
from hashlib import sha256
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
RECIPE = ROOT / "recipes/pico/sft.yaml"
LLAMATUNE = Path(sys.executable).with_name("llamatune")
_BEGINS = "batches "
"""A line with this comes right before the first step."""


class Training:
    """One process of the command; what it says is kept in a file beside the run directory."""

    def __init__(self, output: Path, overrides: list[str]) -> None:
        self.output = output
        self.log = output.with_suffix(".log")
        self.log.write_text("")
        command = [str(LLAMATUNE), "run", str(RECIPE), "--overwrite", f"output={output}", *overrides]
        with self.log.open("w") as stream:
            self.process = subprocess.Popen(command, stdout=stream, stderr=stream)

    def running(self) -> bool:
        return self.process.poll() is None

    def wait_until_it_trains(self) -> bool:
        """False where it ended before."""
        while self.running():
            if _BEGINS in self.log.read_text():
                return True
            time.sleep(0.01)
        return False

    def started_from(self) -> int:
        """The step of the checkpoint that it went on from."""
        found = re.search(r"going on from checkpoint-(\d+)", self.log.read_text())
        return int(found[1]) if found else 0

    def kill(self) -> bool:
        """False where it had ended already."""
        if not self.running():
            return False
        self.process.kill()
        self.process.wait()
        return True


def checkpoints(output: Path) -> dict[str, bool]:
    """Checkpoint folders, and whether each is complete."""
    return {
        folder.name: (folder / "manifest.json").exists()
        for folder in sorted(
            (output / "checkpoints").glob("checkpoint-*"), key=lambda folder: folder.stat().st_mtime
        )
    }


def learnt(output: Path) -> dict[str, str]:
    """All that must be the same, by name."""
    metrics = [json.loads(line) for line in (output / "metrics.jsonl").read_text().splitlines()]
    timeless = [{name: value for name, value in record.items() if name != "time"} for record in metrics]
    return {
        "adapter": sha256((output / "adapter/adapter_model.safetensors").read_bytes()).hexdigest(),
        "metrics.jsonl": sha256(json.dumps(timeless).encode()).hexdigest(),
        "replies.jsonl": sha256((output / "replies.jsonl").read_bytes()).hexdigest(),
    }


def undisturbed(output: Path, overrides: list[str]) -> tuple[int, float]:
    """Run to the end. Returns the number of steps, and how many of them are made in a second."""
    training = Training(output, overrides)
    training.wait_until_it_trains()
    began = time.monotonic()
    if training.process.wait() != 0:
        sys.exit(training.log.read_text())
    steps = json.loads((output / "result.json").read_text())["steps"]
    return steps, steps / (time.monotonic() - began)


def kill_at_step(training: Training, step: float, steps_per_second: float) -> bool:
    """Kill it when it should have come to about this step; right away where it is beyond."""
    if not training.wait_until_it_trains():
        return False
    until = time.monotonic() + max(step - training.started_from(), 0) / steps_per_second
    while training.running() and time.monotonic() < until:
        time.sleep(0.002)
    return training.kill()


def kill_while_saving(training: Training, delay: float) -> bool:
    """Kill it `delay` seconds after the next checkpoint folder appears."""
    known = set(checkpoints(training.output))
    while training.running() and not set(checkpoints(training.output)) - known:
        time.sleep(0.0005)
    time.sleep(delay)
    return training.kill()


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--folder", type=Path, help="where to work; a temporary folder when left out")
    parser.add_argument("overrides", nargs="*")
    options = parser.parse_args()
    folder = options.folder or Path(tempfile.mkdtemp(prefix="kill-demo-"))
    folder.mkdir(parents=True, exist_ok=True)
    chance = random.Random(options.seed)

    began = time.monotonic()
    steps, steps_per_second = undisturbed(folder / "undisturbed", options.overrides)
    print(f"undisturbed: {steps} steps in {time.monotonic() - began:.0f} s", flush=True)

    killed, kills = folder / "killed", 0
    for number, moment in enumerate(sorted(chance.uniform(0, steps) for _ in range(options.kills)), 1):
        training = Training(killed, options.overrides)
        saving = number % 3 == 0
        if saving:
            done = kill_while_saving(training, chance.uniform(0, 0.03))
        else:
            done = kill_at_step(training, moment, steps_per_second)
        if not done:
            print(f"kill {number}: it had finished before")
            break
        kills += 1
        how = "while a checkpoint was written" if saving else f"at about step {moment:.0f}"
        state = ", ".join(
            f"{name}{'' if whole else ' (incomplete)'}" for name, whole in checkpoints(killed).items()
        )
        print(
            f"kill {number}: {how}, from step {training.started_from()}; there: {state or 'nothing'}",
            flush=True,
        )
    last = Training(killed, options.overrides)
    if last.process.wait() != 0:
        print(last.log.read_text())
        return 1

    expected, got = learnt(folder / "undisturbed"), learnt(killed)
    for name, value in expected.items():
        print(f"{name}: {'the same' if got[name] == value else 'DIFFERENT'} ({value[:16]}, {got[name][:16]})")
    verdict = "equal" if got == expected else "NOT EQUAL"
    print(f"{verdict} after {kills} kills, in {time.monotonic() - began:.0f} s")
    return 0 if got == expected else 1


if __name__ == "__main__":
    sys.exit(main())
