"""`llamatune launch` and torchrun with real processes, some of which are killed, stopped or different."""

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from launch.launching import (
    LAUNCH,
    RECIPE,
    adapter,
    begin,
    end,
    free_port,
    launch,
    losses,
    reached,
    recipe_file,
    wait_for,
    workers,
)
from llamatune.errors import LostProcessError
from llamatune.launch.nodes import Nodes, gather


@pytest.fixture(scope="module")
def straight(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run in two processes that nothing happened to."""
    folder = tmp_path_factory.mktemp("straight")
    code, said = end(launch(recipe_file(folder), "--devices", 2))
    assert code == 0, said
    return folder / "run"


def test_one_process_kills_the_others_and_a_restart_goes_on_bitwise(straight: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    process = launch(recipe_file(tmp_path), "--devices", 2, "--restarts", 1)
    wait_for(reached(run, 2), process)
    workers(process)[1].send_signal(signal.SIGKILL)
    code, said = end(process)
    assert code == 0, said
    assert "process 1 was killed by SIGKILL at about step " in said
    assert "going on from checkpoint-" in said
    assert losses(run) == losses(straight) and len(losses(run)) == 8
    assert adapter(run) == adapter(straight)


@pytest.mark.slow
@pytest.mark.parametrize("asked", [signal.SIGUSR1, signal.SIGTERM], ids=lambda asked: asked.name)
def test_a_signal_to_one_stops_all_and_accelerate_goes_on(
    straight: Path, tmp_path: Path, asked: signal.Signals
) -> None:
    """A signal to the second process only; the same recipe goes on, started by another program."""
    run, recipe = tmp_path / "run", recipe_file(tmp_path)
    process = launch(recipe, "--devices", 2)
    wait_for(reached(run, 2), process)
    workers(process)[1].send_signal(asked)
    code, said = end(process)
    assert code == 75, said
    assert json.loads((run / "run.json").read_text())["state"] == "stopped"
    if asked is not signal.SIGUSR1:
        return  # how it was stopped makes no difference to how it goes on
    # With --cpu, accelerate starts one process, or needs MPI; the recipe keeps to the CPU.
    started = [
        "-m",
        "accelerate.commands.launch",
        "--multi_gpu",
        "--num_processes",
        "2",
        "-m",
        "llamatune",
        "run",
    ]
    code, said = end(begin(started, recipe))
    assert code == 0, said
    assert losses(run) == losses(straight)
    assert adapter(run) == adapter(straight)


def test_a_request_to_launch_reaches_all(tmp_path: Path) -> None:
    run, recipe = tmp_path / "run", recipe_file(tmp_path)
    process = launch(recipe, "--devices", 2, "--restarts", 3)
    wait_for(reached(run, 2), process)
    process.send_signal(signal.SIGINT)
    code, said = end(process)
    assert code == 130 and "the same `llamatune launch` goes on" in said, said
    assert json.loads((run / "run.json").read_text())["state"] == "stopped"


@pytest.mark.slow
def test_a_process_that_stands_still_is_named(tmp_path: Path) -> None:
    """Stopped by SIGSTOP, it says nothing any more; the first process ends the run."""
    run = tmp_path / "run"
    hardware = {"device": "cpu", "stuck_after_minutes": 0.1}
    process = launch(recipe_file(tmp_path, hardware=hardware), "--devices", 2)
    wait_for(reached(run, 2), process)
    stopped = workers(process)[1]
    stopped.send_signal(signal.SIGSTOP)
    code, said = end(process)
    assert code == 9, said
    assert f", {stopped.pid})" in said and "no sign of life for 1" in said, said
    assert json.loads((run / "run.json").read_text())["state"] == "failed"
    assert not stopped.is_running()


SLEEPS = """
import sys, time
from llamatune.cli import main
from llamatune.forward.collate import PaddingFree
from llamatune.runs.ranks import rank
from llamatune.training.global_batch import GlobalBatchTrainer

collate, train, steps = PaddingFree.__call__, GlobalBatchTrainer.training_step, []

def sleeping(self, rows):
    if rank() == 1 and steps[-1:] == [3]:
        time.sleep(1000)
    return collate(self, rows)

def counting(self, *arguments):
    steps.append(self.state.global_step + 1)
    return train(self, *arguments)

PaddingFree.__call__, GlobalBatchTrainer.training_step = sleeping, counting
sys.argv = ["llamatune", "run", sys.argv[1]]
main()
"""


@pytest.mark.slow
def test_a_process_that_sleeps_is_behind(tmp_path: Path) -> None:
    """Started by torchrun, without `llamatune launch`: the processes look after each other."""
    script = tmp_path / "sleeps.py"
    script.write_text(SLEEPS)
    recipe = recipe_file(tmp_path, hardware={"device": "cpu", "stuck_after_minutes": 0.2})
    started = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    code, said = end(begin(started, script, recipe))
    assert code != 0
    assert "nothing has moved for 1" in said
    behind, waiting = said.split("nothing has moved for ")[1].split("; the others wait for it: ")
    assert ": process 1 (" in behind and "in step 3, putting rows together" in behind
    assert "process 0 (" in waiting and "in step 3, in a forward pass" in waiting


SLEEPS_SAMPLING = """
import sys, time
from llamatune.cli import main
from llamatune.runs.ranks import rank
from llamatune.sampling.generate import Draws

draw = Draws.__call__

def sleeping(self, *arguments):
    found = draw(self, *arguments)
    if rank() == 1 and self.step == 5:
        time.sleep(1000)
    return found

Draws.__call__ = sleeping
sys.argv = ["llamatune", "run", sys.argv[1]]
main()
"""


@pytest.mark.slow
def test_a_process_that_sleeps_while_it_samples_is_behind(tmp_path: Path) -> None:
    """The other one has done its share, and waits for it."""
    script, recipe = tmp_path / "sleeps.py", tmp_path / "recipe.json"
    script.write_text(SLEEPS_SAMPLING)
    cards = [{"card": "pico-prompts-helpful", "split": "eval", "max_rows": 16}]
    asked = {
        "stage": "evaluate",
        "output": str(tmp_path / "run"),
        "models": {"one": {"base": "pico"}},
        "data": {"eval": cards, "max_length": 256},
        "sampling": {"max_new_tokens": 12, "batch_size": 4},
        "judges": {"oracle": True},
        "hardware": {"device": "cpu", "stuck_after_minutes": 0.2},
    }
    recipe.write_text(json.dumps(asked))
    started = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    code, said = end(begin(started, script, recipe))
    assert code != 0
    behind, waiting = said.split("nothing has moved for ")[1].split("; the others wait for it: ")
    assert ": process 1 (" in behind and ") sampling a token" in behind, said
    assert "process 0 (" in waiting and ") waiting for the others" in waiting, said


def test_machines_that_differ_do_not_start(tmp_path: Path) -> None:
    """Two machines, which are one here, with another learning rate on the second."""
    recipe, port = recipe_file(tmp_path), free_port()
    where = ["--devices", 1, "--nodes", 2, "--rendezvous", f"127.0.0.1:{port}"]
    first = begin(LAUNCH, recipe, *where, "--node-rank", 0)
    second = begin(LAUNCH, recipe, "optimization.learning_rate=0.002", *where, "--node-rank", 1)
    for process in (first, second):
        code, said = end(process)
        assert code == 2, said
        assert "error[E905] the recipe: Process 0 (" in said or "error[E905] the recipe: process 0 (" in said
        assert "differ in `optimization.learning_rate`: 0.001 -> 0.002" in said
    assert not (tmp_path / "run").exists()


def test_a_machine_that_never_comes_is_named(tmp_path: Path) -> None:
    recipe, port = recipe_file(tmp_path), free_port()
    where = ["--devices", 1, "--nodes", 2, "--rendezvous", f"127.0.0.1:{port}", "--wait", 2]
    first = begin(LAUNCH, recipe, *where, "--node-rank", 0)
    code, said = end(first)
    assert code == 9 and "machine 1 of 2 has not come within 2 seconds" in said, said
    second = begin(LAUNCH, recipe, *where, "--node-rank", 1)
    code, said = end(second)
    assert code == 9 and f"machine 0 has not come: nobody answers at 127.0.0.1:{port}" in said, said


def test_a_machine_that_comes_back_too_early_may_come_again() -> None:
    """As a pod does while the first machine, which hosts the meeting, has not yet noticed that it was gone."""
    port, said = free_port(), []

    def come(number: int) -> object:
        return gather(Nodes(2, number, "127.0.0.1", port), 1, said.append, 10)

    with ThreadPoolExecutor() as pool:
        met = list(pool.map(come, (0, 1)))
    assert len(met) == 2 and all(met) and len(said) == 2
    with pytest.raises(LostProcessError, match="is number 1, too, or was until") as early:
        come(1)
    assert early.value.exit_code == 9, "what has 2 ends the job of Kubernetes"


# ---- two hosts, as network namespaces -------------------------------------------------------------------------

HOSTS = {"here": "10.77.0.1", "there": "10.77.0.2"}


@pytest.fixture
def two_hosts() -> Iterator[dict[str, str]]:
    """Namespaces that a cable joins, by name; skipped where nobody may lay one."""
    ip = shutil.which("ip")
    if ip is None or os.geteuid() != 0:
        pytest.skip("network namespaces need iproute2 and root")
    names = {host: f"llamatune-{host}" for host in HOSTS}

    def run(*words: str, check: bool = True) -> int:
        return subprocess.run([ip, *words], check=check, capture_output=True).returncode

    if run("netns", "add", names["here"], check=False):
        pytest.skip("this machine gives no network namespaces")
    try:
        run("netns", "add", names["there"])
        run(
            "link",
            "add",
            "lt-here",
            "netns",
            names["here"],
            "type",
            "veth",
            "peer",
            "lt-there",
            "netns",
            names["there"],
        )
        for host, address in HOSTS.items():
            run("-n", names[host], "addr", "add", f"{address}/24", "dev", f"lt-{host}")
            for device in ("lo", f"lt-{host}"):
                run("-n", names[host], "link", "set", device, "up")
        yield names
    finally:
        for name in names.values():
            run("netns", "delete", name, check=False)


@pytest.mark.slow
def test_a_host_that_is_cut_off_ends_both(two_hosts: dict[str, str], tmp_path: Path) -> None:
    """No packet says that the other host has gone; each finds out for itself, and both end."""
    hardware = {"device": "cpu", "stuck_after_minutes": 0.2}
    optimization = RECIPE["optimization"] | {"max_steps": 1000}
    recipe = recipe_file(tmp_path, hardware=hardware, optimization=optimization)
    ends = []
    for number, host in enumerate(HOSTS):
        where = ["--nodes", 2, "--node-rank", number, "--rendezvous", f"{HOSTS['here']}:29411"]
        inside = ["ip", "netns", "exec", two_hosts[host], sys.executable]
        ends.append(begin(LAUNCH, recipe, "--devices", 1, *where, program=inside))
    wait_for(reached(tmp_path / "run", 2), ends[0])
    cut = ["ip", "-n", two_hosts["there"], "link", "set", "lt-there", "down"]
    subprocess.run(cut, check=True)
    code, said = end(ends[0])
    assert code == 9, said
    assert "this is machine 0 of 2, 10.77.0.1 on lt-here" in said
    assert "process 1 (" in said and "has given no sign of life for" in said
    code, said = end(ends[1])
    assert code == 9, said
    assert "this is machine 1 of 2, 10.77.0.2 on lt-there" in said
