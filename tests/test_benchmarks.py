"""The benchmarks run, and what they compare is equal. No time is asserted: times belong to the machine."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from support import ROOT

BENCHMARKS = ROOT / "benchmarks"


@pytest.fixture(scope="module", autouse=True)
def importable() -> Iterator[None]:
    """The benchmarks' modules, as they see each other."""
    sys.path.insert(0, str(BENCHMARKS))
    yield
    sys.path.remove(str(BENCHMARKS))


def benchmark(name: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(BENCHMARKS / f"{name}.py"), *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)


def test_llamatune_and_plain_trl_do_the_same_in_every_step() -> None:
    small = ("--rounds", "1", "--steps", "2", "--batch-size", "8", "--micro-batch", "4")
    done = benchmark("sft", "--data", "pico-sft-helpful", "--template", "tokenizer", *small)
    assert done.returncode == 0, done.stderr
    assert "over 4 steps: the same rows in every step" in done.stdout
    assert "within 1e-05" in done.stdout


def test_llamatune_and_plain_trl_train_the_same_reward_model() -> None:
    small = ("--rounds", "1", "--steps", "2", "--batch-size", "8", "--micro-batch", "4")
    done = benchmark("reward", "--data", "pico-preferences-helpful", "--max-length", "128", *small)
    assert done.returncode == 0, done.stderr
    assert "over 4 steps: the same pairs in every step" in done.stdout
    assert "within 1e-05" in done.stdout
    assert "longer than max_length" in done.stdout


def test_batches_in_which_plain_trl_weighs_pairs_unequally_are_not_compared() -> None:
    done = benchmark("reward", "--rounds", "1", "--steps", "2", "--batch-size", "2000")
    assert done.returncode == 1
    assert "5,997 pairs are 2 full batches of 2000, and 4 steps were asked for" in done.stderr


def test_a_difference_between_the_trainers_is_not_passed_over() -> None:
    from comparing import Equality, _largest_difference

    assert _largest_difference([2.0, 4.0], [2.0, 4.1]) == pytest.approx(0.025)
    assert _largest_difference([2.0], [float("nan")]) == float("inf") == _largest_difference([], [])
    assert Equality(True, 1e-6, 1e-6, 1e-6).holds
    for wrong in ((False, 0, 0, 0), (True, 2e-5, 0, 0), (True, 0, 2e-5, 0), (True, 0, 0, 2e-5)):
        assert not Equality(*wrong).holds


def test_overhead_of_a_short_demo_adds_up() -> None:
    done = benchmark("overhead", "--runs", "1", "--max-steps", "3")
    assert done.returncode == 0, done.stderr
    assert "guards, manifests and hashing together" in done.stdout


def test_every_line_of_the_gpu_table_runs_or_says_that_it_needs_a_gpu() -> None:
    done = benchmark("gpu", "--device", "cpu", "--tiny", "--jobs", "1b-full", "7b-qlora-512")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("skipped: needs a GPU") == 4
    assert "THESE FIGURES MEAN NOTHING" in done.stdout


def test_needed_operations_are_those_of_the_textbook() -> None:
    from gpu import Job, needed_operations

    row = {"input_ids": [5] * 100, "labels": [-100] * 40 + [5] * 60}
    hidden, layers, inner, vocabulary, tokens, trained = 64, 2, 128, 2048, 100, 60
    keys = 2 * 16
    matrices = layers * (2 * hidden * hidden + 2 * hidden * keys + 3 * hidden * inner)
    attention = layers * 3 * (2 * 2 * hidden * tokens**2) / 2  # two products, three passes, half of it masked
    full = 6 * (matrices * tokens + vocabulary * hidden * trained) + attention
    assert needed_operations(Job("tiny", "full"), [row]) == full
    assert needed_operations(Job("tiny", "lora"), [row]) < full


def test_saved_results_name_the_machine_and_hold_no_path_of_it() -> None:
    files = sorted((BENCHMARKS / "results").glob("*.json"))
    assert files
    for file in files:
        about = json.loads(file.read_text("utf-8"))["about"]
        assert {"date", "command", "processor", "cores", "memory_gib", "torch", "commit"} <= set(about)
        for text in (file.read_text("utf-8"), file.with_suffix(".md").read_text("utf-8")):
            assert str(ROOT) not in text and str(Path.home()) not in text and "/tmp" not in text
