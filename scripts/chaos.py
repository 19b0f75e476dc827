"""Kills, signals, failing disks and damaged files, in random order, over all stages: each run must end in the bytes of
the run that nothing disturbed, and leave nothing behind.

    python scripts/chaos.py [--kills 100] [--seed 0] [--minutes M] [--stages sft,reward,ppo,gatt]

A round is one short run (see tests/faults/short_runs.py). Until the dice say that it may finish, the same command is
started again and again, and each time something happens at one of its system calls on files: kill -9, a signal, an
error of the disk; or, between two starts, one of its files is damaged. The seed decides everything but what two
processes of the machine do to each other. Linux on x86-64; exit code 1 when anything differs.
"""

from __future__ import annotations

import argparse
import errno
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "tests/faults"), str(ROOT / "tests")]

from place import Ended, Place, Server  # noqa: E402
from short_runs import JUDGED, STAGES, ShortRun, States, fill  # noqa: E402

from support import talking_base  # noqa: E402

GOES_ON = {0, -9, 75, 130, 8, -signal.SIGTERM, -signal.SIGHUP}
"""Exit codes that a disturbance may lead to; a signal that comes before the run listens ends any process."""
NOTHING_TRUSTED = 4
"""Exit code of a run whose checkpoints have all been damaged."""
SIGNALS = [signal.SIGTERM, signal.SIGINT, signal.SIGHUP]


class Chaos:
    """The rounds, and what was counted in them."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.folder = folder
        self.chance = random.Random(seed)
        self.server = Server(
            folder / "server.log", {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
        )
        self.count: Counter[str] = Counter()
        self.known: dict[str, tuple[ShortRun, States]] = {}
        talking_base(folder / "base")

    def stage(self, name: str) -> tuple[ShortRun, States]:
        """The short run of a stage, and what it does when nothing disturbs it."""
        if name not in self.known:
            judge = None
            if name in JUDGED:
                rewarded, states = self.stage("reward")
                rewarded.put_back(None)
                assert rewarded.run().code == 0
                judge = rewarded.work / "run/adapter"
            (self.folder / name).mkdir()
            fill(self.folder / name, name, self.folder / "base", judge)
            run = ShortRun(Place(self.folder / name, self.server))
            run.put_back(None)
            self.known[name] = run, run.undisturbed()
        return self.known[name]

    def round(self, name: str) -> list[str]:
        """Disturb a run until the dice let it finish. Returns what is wrong."""
        run, states = self.stage(name)
        run.put_back(None)
        story: list[str] = []
        damaged = False
        while self.chance.random() < 0.75:
            ended = self.disturb(run, states, story)
            if damaged and ended.code == NOTHING_TRUSTED:
                break
            if ended.code not in GOES_ON or "Traceback" in ended.said:
                return [f"{name}: {'; '.join(story)}: exit code {ended.code}: {ended.said[-2000:]}"]
            if ended.code == 0:
                break
            if self.chance.random() < 0.3:
                damaged = True
                story.append(self.damage(run))
        ended = run.run()
        if damaged and ended.code == NOTHING_TRUSTED:
            # No checkpoint was left that can be trusted, and the error names this way on.
            self.count["started again"] += 1
            ended = run.place.run("--resume", "none")
        # What a failing disk kept from being removed goes at the next start.
        ended = ended if ended.code else run.run()
        # A damaged checkpoint is set aside for people to look at.
        other = [name for name in run.differences(states) if ".damaged/" not in name]
        if ended.code or other:
            return [
                f"{name}: {'; '.join(story)}: exit code {ended.code}, {other} differ: {ended.said[-2000:]}"
            ]
        return []

    def disturb(self, run: ShortRun, states: States, story: list[str]) -> Ended:
        at = self.chance.choice(states.points)
        kind = self.chance.choices(["kill", "signal", "error"], [6, 2, 2])[0]
        if kind == "kill":
            story.append(f"kill -9 at {at}")
            ended = run.killed_at(at)
            self.count["kills"] += ended.code == -9
        elif kind == "signal":
            number = self.chance.choice(SIGNALS)
            story.append(f"{number.name} at {at}")
            ended = run.signalled_at(at, number)
            self.count["signals"] += 1
        else:
            error = self.chance.choice([errno.EIO, errno.ENOSPC])
            story.append(f"{errno.errorcode[error]} at {at}")
            ended = run.failing_at(at, error)
            self.count["disk errors"] += 1
        return ended

    def damage(self, run: ShortRun) -> str:
        """Change one of the files that a start has to verify, or that it has to do without."""
        places = ("cache/llamatune/*/*", "cache/llamatune/*/*/*", "run/checkpoints/*/*", "run/run.json")
        files = sorted(file for place in places for file in run.work.glob(place) if file.is_file())
        if not files:
            return "nothing to damage"
        file = self.chance.choice(files)
        content = bytearray(file.read_bytes())
        kind = self.chance.choice(["a bit flipped", "cut short", "removed", "emptied"])
        if kind == "a bit flipped" and content:
            content[self.chance.randrange(len(content))] ^= 1 << self.chance.randrange(8)
            file.write_bytes(content)
        elif kind == "removed":
            file.unlink()
        else:
            os.truncate(file, len(content) // 2 if kind == "cut short" else 0)
        self.count["damages"] += 1
        return f"{file.relative_to(run.work)} {kind}"


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--minutes", type=float, help="stop after so many, whatever was reached")
    parser.add_argument("--stages", default=",".join(STAGES))
    options = parser.parse_args()
    began = time.monotonic()
    folder = Path(tempfile.mkdtemp(prefix="chaos-"))
    chaos = Chaos(folder, options.seed)
    problems: list[str] = []
    rounds: Counter[str] = Counter()
    while chaos.count["kills"] < options.kills:
        if options.minutes and time.monotonic() - began > options.minutes * 60:
            break
        name = chaos.chance.choice(options.stages.split(","))
        found = chaos.round(name)
        rounds[name] += 1
        problems += found
        counted = ", ".join(f"{count} {what}" for what, count in sorted(chaos.count.items()))
        print(f"{sum(rounds.values())} runs, {counted}, {len(problems)} differences", flush=True)
        print("".join(f"  {problem}\n" for problem in found), end="", flush=True)
    chaos.server.close()
    shutil.rmtree(folder)
    by_stage = ", ".join(f"{count} {name}" for name, count in rounds.items())
    print(f"seed {options.seed}: {by_stage}; in {(time.monotonic() - began) / 60:.0f} minutes")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
