"""What `llamatune launch` decides without starting anything."""

import signal
import subprocess
from pathlib import Path

import pytest

from launch.launching import recipe_file
from llamatune.commands.launch import Asked, write_for_slurm
from llamatune.errors import LlamatuneError
from llamatune.launch.elastic import Ended, first_cause
from llamatune.launch.meeting import unequal_cards
from llamatune.launch.nodes import Nodes, nodes_of
from llamatune.launch.slurm import sbatch_file, write_sbatch
from llamatune.launch.watch import Seen, who_is_lost

FILE = {
    "name": "sft",
    "nodes": 2,
    "devices": 8,
    "cards": True,
    "time": "12:00:00",
    "warning": 300,
    "folder": Path("/work here"),
}


def test_several_machines_need_a_number_and_a_place() -> None:
    assert nodes_of(1, None, None, "j") == Nodes(job="j")
    assert nodes_of(2, 1, "first:29400", "j") == Nodes(2, 1, "first", 29400, "j")
    assert nodes_of(2, 0, "[fe80::1]:29400", "j").host == "fe80::1"


@pytest.mark.parametrize(
    ("count", "number", "place", "says"),
    [
        (1, 1, None, "several machines"),
        (1, None, "first:29400", "several machines"),
        (2, None, "first:29400", "its number"),
        (2, 0, None, "where they meet"),
        (2, 2, "first:29400", "0 to 1"),
        (2, 0, "first", "HOST:PORT"),
        (2, 0, "first:99999", "HOST:PORT"),
    ],
)
def test_what_does_not_go_together(count: int, number: int | None, place: str | None, says: str) -> None:
    with pytest.raises(LlamatuneError, match=says) as raised:
        nodes_of(count, number, place, "j")
    assert raised.value.problems[0].code == "E027"


@pytest.mark.parametrize(
    ("codes", "number"),
    [
        ({0: 1, 1: -signal.SIGKILL}, 1),
        ({0: 9, 1: 1}, 1),
        ({0: -signal.SIGTERM, 1: 6}, 1),
        ({0: 75, 1: 75}, 0),
    ],
)
def test_the_process_that_died_is_told_from_those_that_noticed(codes: dict[int, int], number: int) -> None:
    assert first_cause(codes) == Ended(number, codes[number])


# ---- who is behind --------------------------------------------------------------------------------------------


def seen(
    step: int, passed: int, doing: str, *, heard: float = 100, moved: float = 0, ended: bool = False
) -> Seen:
    said = {"host": "h", "pid": 1, "beat": 1, "at": [step, passed, doing], "ended": ended}
    return Seen(said, heard, moved)


LIMITS = {"stuck_after": 60, "silence": 30}


def test_the_one_with_the_fewest_places_passed_is_behind() -> None:
    found = who_is_lost(
        {0: seen(5, 3, "in a backward pass"), 1: seen(5, 2, "in a forward pass")}, 100, **LIMITS
    )
    assert found is not None
    assert found.startswith(
        "nothing has moved for 100 seconds: process 1 (h, 1) in step 5, in a forward pass; "
    )
    assert found.endswith("the others wait for it: process 0 (h, 1) in step 5, in a backward pass")


@pytest.mark.parametrize(
    "other",
    [
        seen(5, 2, "in a forward pass", moved=90),
        seen(5, 2, ""),
    ],
    ids=["it moves", "it does not say what it does"],
)
def test_work_is_no_standstill(other: Seen) -> None:
    assert who_is_lost({0: seen(5, 3, "in a backward pass"), 1: other}, 100, **LIMITS) is None


def test_a_silent_process_is_named_and_one_that_has_ended_is_not() -> None:
    here = seen(5, 3, "in a backward pass", moved=90)
    found = who_is_lost({0: here, 1: seen(4, 1, "in a forward pass", heard=50)}, 100, **LIMITS)
    assert found == "process 1 (h, 1) in step 4, in a forward pass has given no sign of life for 50 seconds"
    assert who_is_lost({0: here, 1: seen(9, 0, "", heard=0, ended=True)}, 100, **LIMITS) is None


def test_one_that_never_spoke_is_named() -> None:
    """A process that stops before its first word is missed like any other."""
    here = seen(1, 3, "in a backward pass", moved=20)
    assert who_is_lost({0: here, 1: Seen(heard=80, moved=80)}, 100, **LIMITS) is None
    found = who_is_lost({0: here, 1: Seen(heard=60, moved=60)}, 100, **LIMITS)
    assert found == "process 1 has given no sign of life for 40 seconds"


def test_who_falls_silent_is_named_and_not_who_waits_for_it() -> None:
    here = seen(5, 3, "in a backward pass", moved=30)
    stopped = seen(5, 3, "in a forward pass", moved=30, heard=80)
    assert who_is_lost({0: here, 1: stopped}, 100, **LIMITS) is None
    found = who_is_lost({0: here, 1: stopped}, 111, **LIMITS)
    assert found is not None and found.startswith("process 1 (h, 1) in step 5")


def test_one_that_has_failed_ends_those_that_wait_for_it() -> None:
    failed = seen(0, 0, "", heard=80, ended=True)
    failed.said["failed"] = "error[E905] output: ..."
    waiting = seen(0, 0, "", moved=90)
    found = who_is_lost({0: waiting, 1: failed}, 100, **LIMITS)
    assert found is not None and found.endswith(" has failed: error[E905] output: ...")
    failed.heard = 95
    assert who_is_lost({0: waiting, 1: failed}, 100, **LIMITS) is None, "what fails in all, each says itself"


def test_when_all_are_silent_it_is_this_process_that_was_stopped() -> None:
    stale = {number: seen(4, 1, "", heard=0) for number in (0, 1)}
    assert who_is_lost(stale, 100, **LIMITS) is None


# ---- Slurm ----------------------------------------------------------------------------------------------------


def test_the_file_for_sbatch_is_bash_and_its_directives_are_literal(tmp_path: Path) -> None:
    text = sbatch_file(["my recipe.yaml", "output=runs/a b"], **FILE)
    file = tmp_path / "x.sbatch"
    write_sbatch(file, text)
    assert subprocess.run(["bash", "-n", file], check=False, capture_output=True).stderr == b""
    directives = [line for line in text.splitlines() if line.startswith("#SBATCH")]
    assert "#SBATCH --nodes=2" in directives and "#SBATCH --ntasks-per-node=1" in directives
    assert "#SBATCH --gpus-per-node=8" in directives and "#SBATCH --signal=B:USR1@300" in directives
    assert not any("$" in line for line in directives), "sbatch does not expand variables there"
    assert text.index("#SBATCH") < text.index("first="), "directives end at the first command"


def read_by_sbatch(line: str) -> list[str]:
    """The words of a directive, by the rules of sbatch: double quotes join, a backslash keeps the next character, and
    `#` begins a comment (in older ones also between quotes)."""
    words, quoted, rest = [""], False, iter(line)
    for one in rest:
        if one == "\\":
            words[-1] += next(rest)
        elif one == '"':
            quoted = not quoted
        elif one == "#":
            break
        elif one == " " and not quoted:
            words.append("")
        else:
            words[-1] += one
    return words


def test_a_folder_with_blanks_and_quotes_is_one_word_to_sbatch() -> None:
    folder = Path('/work here/my "best" #1/a\\b')
    text = sbatch_file(["r.yaml"], **FILE | {"folder": folder, "name": "my recipe"})
    read = [read_by_sbatch(line[8:]) for line in text.splitlines() if line.startswith("#SBATCH ")]
    assert all(len(words) == 1 for words in read), read
    assert [f"--chdir={folder}"] in read and ["--job-name=my recipe"] in read
    assert "#SBATCH --nodes=2" in text, "what needs no quotes has none"


@pytest.mark.parametrize(
    ("signalled", "code", "queue"),
    [("USR1", 75, "requeue 7\n"), ("TERM", 75, ""), ("USR1", 10, ""), ("", 75, "")],
    ids=["before the limit", "cancelled or pre-empted", "waits for people", "stopped by another"],
)
def test_the_file_runs_one_task_and_requeues_before_the_limit(
    tmp_path: Path, signalled: str, code: int, queue: str
) -> None:
    """With stand-ins for Slurm's commands: what the task is started with, and what its end leads to, which follows a
    signal that the script hands on."""
    waits = f"trap 'exit {code}' USR1; kill -{signalled} $PPID; sleep 30 & wait" if signalled else ""
    for name, script in {
        "srun": f'shift; SLURM_NODEID=1 "$@"; {waits}\nexit {code}',
        "scontrol": '[ "$1" = show ] && echo first && exit; echo "$@" >> scontrol.log',
    }.items():
        (tmp_path / name).write_text(f"#!/bin/bash\n{script}\n")
        (tmp_path / name).chmod(0o755)
    (tmp_path / "scontrol.log").touch()
    (tmp_path / "show.py").write_text("import sys; print(sys.argv[1:], flush=True)")
    text = sbatch_file(["my recipe.yaml"], **FILE).replace("-m llamatune launch", "show.py")
    done = subprocess.run(
        ["bash", "-c", text],
        cwd=tmp_path, stdout=(tmp_path / "out").open("w"), text=True, check=False, timeout=60,
        env={"PATH": f"{tmp_path}:/usr/bin:/bin", "SLURM_JOB_ID": "7", "SLURM_JOB_NODELIST": "n[1-2]"},
    )  # fmt: skip
    assert done.returncode == code
    expected = [
        "my recipe.yaml",
        "--nodes",
        "2",
        "--node-rank",
        "1",
        "--rendezvous",
        "first:20007",
        "--job",
        "7",
    ]
    assert (tmp_path / "out").read_text().strip() == str(expected)
    assert (tmp_path / "scontrol.log").read_text() == queue


@pytest.mark.parametrize(
    ("cpu", "devices", "hint"),
    [(False, None, "--devices 8"), (True, None, "--devices 2"), (False, 8, ""), (True, 2, "")],
)
def test_slurm_gives_no_cards_that_nobody_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cpu: bool, devices: int | None, hint: str
) -> None:
    monkeypatch.chdir(tmp_path)
    recipe = recipe_file(tmp_path, hardware={"device": "cpu" if cpu else "auto"})
    asked = Asked(str(recipe), (), (), False, devices, nodes=2, restarts=0, wait=120)
    if devices is None:
        with pytest.raises(LlamatuneError, match=hint) as raised:
            write_for_slurm(asked, time="1:00:00")
        assert raised.value.problems[0].code == "E025" and not list(tmp_path.glob("*.sbatch"))
        return
    write_for_slurm(asked, time="1:00:00")
    (file,) = tmp_path.glob("*.sbatch")
    assert ("--gpus-per-node=8" in file.read_text()) is not cpu


def test_another_file_is_not_written_over(tmp_path: Path) -> None:
    file = tmp_path / "x.sbatch"
    file.write_text("mine")
    with pytest.raises(LlamatuneError, match="says something else"):
        write_sbatch(file, "text")
    assert file.read_text() == "mine"


# ---- cards ----------------------------------------------------------------------------------------------------


def test_cards_of_unequal_memory_are_told() -> None:
    (line,) = unequal_cards([{"memory": 80 * 10**9}, {"memory": 40 * 10**9}, {"memory": 79 * 10**9}])
    assert "40.0 GB in process 1 and 80.0 GB in process 0" in line and "micro_batch_tokens" in line
    assert unequal_cards([{"memory": 80 * 10**9}, {"memory": 79 * 10**9}]) == []
    assert unequal_cards([{"memory": None}, {}]) == []
