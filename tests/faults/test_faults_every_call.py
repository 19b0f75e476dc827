"""Every crash point: a run is killed at each system call with which it changes a file, or that call fails once.

The same command then ends in the same bytes, and leaves nothing behind. Most tests here are slow, since a run makes
some hundred such calls; of them, `make test` tries those that a spread of a few hits.
"""

import errno
import os
import random
import shutil
from collections.abc import Sequence
from pathlib import Path

import pytest
from place import Ended, Place, Server
from short_runs import JUDGED, STAGES, ShortRun, States, fill
from system_calls import HANDS_OVER, Point

from support import talking_base

pytestmark = pytest.mark.skipif(not HANDS_OVER, reason="system calls are watched on Linux, x86-64")
SAMPLE = 2
"""Of a kind of fault, how many `make test` tries."""


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("base")
    talking_base(folder)
    return folder


@pytest.fixture(scope="module")
def judge(base: Path, new_place, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A reward model."""
    place = new_place()
    fill(place.folder, "reward", base)
    run = ShortRun(place)
    assert place.run().code == 0
    return run.work / "run/adapter"


@pytest.fixture(scope="module")
def known(base: Path, new_place, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory):
    """`known(stage)` is the short run of a stage, and what it does with its files."""
    made: dict[str, tuple[ShortRun, States]] = {}

    def of(stage: str) -> tuple[ShortRun, States]:
        if stage not in made:
            place = new_place()
            fill(place.folder, stage, base, request.getfixturevalue("judge") if stage in JUDGED else None)
            run = ShortRun(place)
            made[stage] = run, run.states(tmp_path_factory.mktemp("states"))
            print(f"{stage}: {len(made[stage][1].points)} calls, {len(made[stage][1].files)} states")
        return made[stage]

    return of


def spread(points: Sequence[Point], count: int) -> list[Point]:
    """So many of them; others for another number of calls."""
    return random.Random(len(points)).sample(points, count)


def of_the_run(states: States) -> list[Point]:
    """The calls on files of the run, and not of the cache."""
    return [point for point in states.points if point.call.file.startswith("run/")]


def check_killed(run: ShortRun, states: States, digest: str) -> str | None:
    """Go on from what a kill left. Returns what is wrong."""
    run.put_back(states.files[digest])
    at = next(point for point, state in states.before.items() if state == digest)
    return _wrong(f"killed at {at}", run.run(), run, states)


def check_failed(run: ShortRun, states: States, at: Point, error: int) -> str | None:
    """A call fails; the run ends well, or says what the disk did and the same command goes on."""
    where = f"{errno.errorcode[error]} at {at}"
    run.put_back(run.begin)
    first = run.failing_at(at, error)
    if first.code not in (0, 8) or "Traceback" in first.said:
        return f"{where}: exit code {first.code}: {first.said[-1500:]}"
    if first.code == 0 and not run.differences(states):
        return None
    # What could not be removed is removed by the next start.
    return _wrong(where, run.run(), run, states)


def check_removed(run: ShortRun, states: States, at: Point) -> str | None:
    """The run's directory goes away at a call: nothing of it may come back."""
    run.put_back(run.begin)
    ended = run.removed_at(at)
    came_back = sorted(path.name for path in (run.work / "run").rglob("*"))
    # After the result is written, the run has ended well.
    fine = ended.code in (0, 8) and "Traceback" not in ended.said and not (run.work / "run").exists()
    what = f"removed before {at}: exit code {ended.code}, {came_back} came back: {ended.said[-1500:]}"
    return None if fine else what


def _wrong(where: str, ended: Ended, run: ShortRun, states: States) -> str | None:
    if ended.code != 0 or "Traceback" in ended.said:
        return f"{where}: exit code {ended.code}: {ended.said[-1500:]}"
    other = run.differences(states)
    return f"{where}: {other} differ" if other else None


def check_all(problems: list[str | None]) -> None:
    found = [problem for problem in problems if problem]
    assert not found, f"{len(found)} of {len(problems)}:\n" + "\n".join(found)


# ---- a sample of them --------------------------------------------------------------------------------------


def test_a_sample_of_kills(known) -> None:
    """For real: the process is killed in the call."""
    run, states = known("sft")
    problems = []
    for at in spread(states.points, SAMPLE):
        run.put_back(None)
        assert run.killed_at(at).code == -9
        problems.append(_wrong(f"killed at {at}", run.run(), run, states))
    check_all(problems)


def test_a_sample_of_failing_calls(known) -> None:
    run, states = known("sft")
    errors = [errno.EIO, errno.ENOSPC] * SAMPLE
    points = spread(states.points, len(errors))
    check_all([check_failed(run, states, *one) for one in zip(points, errors, strict=True)])


def test_a_sample_of_removals(known) -> None:
    run, states = known("sft")
    check_all([check_removed(run, states, at) for at in spread(of_the_run(states), SAMPLE)])


@pytest.mark.slow
@pytest.mark.parametrize("stage", STAGES)
def test_another_order_of_sets_gives_the_same_bytes(known, stage: str, tmp_path: Path) -> None:
    """Python orders sets of texts by a seed that each process draws."""
    run, states = known(stage)
    server = Server(tmp_path / "log", {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONHASHSEED": "12345"})
    other = ShortRun(Place(run.place.folder, server))
    other.put_back(None)
    assert other.run().code == 0
    assert other.differences(states) == []
    server.close()


# ---- all of them ------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("stage", STAGES)
def test_every_kill(known, stage: str) -> None:
    """From each state of the files in which a kill leaves them; many calls change nothing that the next one finds."""
    run, states = known(stage)
    check_all([check_killed(run, states, digest) for digest in states.files])


@pytest.mark.slow
def test_every_kill_while_a_finished_run_is_replaced(known, tmp_path: Path) -> None:
    """By one of another recipe, so that what is left of the first would be seen."""
    run, _ = known("sft")
    run.put_back(None)
    assert run.run().code == 0
    other = ShortRun(run.place, shutil.copytree(run.work, tmp_path / "begin"), ("--overwrite", "seed=1"))
    states = other.states(tmp_path)
    begun = next(at for at, point in enumerate(states.points) if point.call.file == "run/manifest.json~")
    opening = {states.before[point]: None for point in states.points[:begun]}
    check_all([check_killed(other, states, digest) for digest in opening])


@pytest.mark.slow
def test_every_kill_while_a_run_goes_on(known, tmp_path: Path) -> None:
    """A second time, after a kill in the middle of the last checkpoint."""
    run, states = known("sft")
    at = next(one for one in states.points if str(one.call) == "sync run/checkpoints/checkpoint-2")
    again = ShortRun(run.place, states.files[states.before[at]])
    states = again.states(tmp_path)
    check_all([check_killed(again, states, digest) for digest in states.files])


@pytest.mark.slow
@pytest.mark.parametrize("error", [errno.EIO, errno.ENOSPC], ids=["EIO", "ENOSPC"])
@pytest.mark.parametrize("stage", STAGES)
def test_every_failing_call(known, stage: str, error: int) -> None:
    run, states = known(stage)
    check_all([check_failed(run, states, at, error) for at in states.points])


@pytest.mark.slow
def test_every_removal(known) -> None:
    run, states = known("sft")
    check_all([check_removed(run, states, at) for at in of_the_run(states)])
