"""Kill the demo with -9 again and again: it must end in the same bytes as if nothing had happened.

    python scripts/kill_demo.py [--kills 10] [--seed 0] [--recipe pico/llama2_chat] [--folder FOLDER] [OVERRIDE ...]

Runs `llamatune run pico/llama2_chat` once undisturbed, with an empty cache. Then the same is begun anew, and killed
with all its processes: after a random time, and every third time as soon as a checkpoint's folder appears after it,
that is while it is written. Each time the same command is given again, and at last it may finish. Compares every file
of runs and cache, but for times of day and what tells of the kills. Takes about three times as long as the demo; exit
code 1 when anything differs.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "tests/faults"), str(ROOT / "tests")]

from short_runs import contents  # noqa: E402

LLAMATUNE = Path(sys.executable).with_name("llamatune")


class Demo:
    """The command, as often as it is given, with its runs and its cache in `work/`: some files name their folder."""

    def __init__(self, folder: Path, command: list[str]) -> None:
        self.work = folder / "work"
        self.work.mkdir(parents=True)
        self.log = folder / "log"
        self._command = command
        self._environment = {
            **os.environ,
            "XDG_CACHE_HOME": str(self.work / "cache"),
            "HF_HUB_OFFLINE": "1",
        }

    def start(self) -> subprocess.Popen[bytes]:
        with self.log.open("ab") as said:
            return subprocess.Popen(
                self._command,
                cwd=self.work,
                env=self._environment,
                stdout=said,
                stderr=said,
                start_new_session=True,
            )

    def finish(self) -> float:
        """Seconds until it ended. Ends this program where the command failed."""
        began = time.monotonic()
        if self.start().wait() != 0:
            sys.exit(self.log.read_text()[-4000:])
        return time.monotonic() - began

    def checkpoints(self) -> set[Path]:
        return set(self.work.glob("runs/**/checkpoints/checkpoint-*"))

    def killed_after(self, seconds: float) -> bool:
        """Start it, and kill it after so long. False where it had ended before."""
        process = self.start()
        try:
            process.wait(seconds)
        except subprocess.TimeoutExpired:
            return _kill(process)
        return False

    def killed_while_saving(self, seconds: float, delay: float) -> bool:
        """Start it, and kill it `delay` seconds after the first new checkpoint later than `seconds` from now."""
        process = self.start()
        until = time.monotonic() + seconds
        known = self.checkpoints()
        while process.poll() is None and (time.monotonic() < until or not self.checkpoints() - known):
            if time.monotonic() < until:
                known = self.checkpoints()
            time.sleep(0.005)
        time.sleep(delay)
        return _kill(process)


def _kill(process: subprocess.Popen[bytes]) -> bool:
    """Kill it with all its children. False where it had ended already."""
    if process.poll() is not None:
        return False
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    return True


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--recipe", default="pico/llama2_chat")
    parser.add_argument("--folder", type=Path, help="a new folder to work in; a temporary one when left out")
    parser.add_argument("overrides", nargs="*")
    options = parser.parse_args()
    folder = options.folder or Path(tempfile.mkdtemp(prefix="kill-demo-"))
    command = [str(LLAMATUNE), "run", options.recipe, *options.overrides]
    chance = random.Random(options.seed)

    began = time.monotonic()
    demo = Demo(folder, command)
    takes = demo.finish()
    print(f"undisturbed: {takes:.0f} s", flush=True)
    expected = contents(demo.work)
    demo.work.rename(folder / "undisturbed")
    demo.work.mkdir()

    kills = 0
    for number in range(1, options.kills + 1):
        # On average half as much again as its share: a start imports for some seconds, and repeats what was not saved.
        seconds = chance.uniform(0, 3 * takes / options.kills)
        how = f"after {seconds:.0f} s"
        if number % 3 == 0:
            how += ", while a checkpoint was written"
            done = demo.killed_while_saving(seconds, chance.uniform(0, 0.03))
        else:
            done = demo.killed_after(seconds)
        if not done:
            print(f"start {number} finished", flush=True)
            break
        kills += 1
        ended = sorted(path.parent.name for path in demo.work.glob("runs/**/result.json"))
        print(f"kill {number}: {how}; finished: {', '.join(ended) or 'nothing'}", flush=True)
    demo.finish()

    got = contents(demo.work)
    names = {name for name in expected.keys() | got.keys() if expected.get(name) != got.get(name)}
    for name in sorted(names):
        print(f"DIFFERENT: {name}")
    files = sum(not name.endswith("/") for name in expected)
    verdict = "NOT EQUAL" if names else "equal"
    print(f"{verdict}: {files} files after {kills} kills, in {time.monotonic() - began:.0f} s")
    if not options.folder and not names:
        shutil.rmtree(folder)
    return 1 if names else 0


if __name__ == "__main__":
    sys.exit(main())
