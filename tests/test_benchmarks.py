"""The benchmarks run, and what they compare is equal. No time is asserted: times belong to the machine."""

import json
import runpy
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


@pytest.mark.slow
def test_llamatune_and_plain_trl_do_the_same_in_every_step() -> None:
    small = ("--rounds", "1", "--steps", "2", "--batch-size", "8", "--micro-batch", "4")
    done = benchmark("sft", "--data", "pico-sft-helpful", "--template", "tokenizer", *small)
    assert done.returncode == 0, done.stderr
    assert "over 4 steps: the same rows in every step" in done.stdout
    assert "within 1e-05" in done.stdout


@pytest.mark.slow
def test_llamatune_and_plain_trl_train_the_same_reward_model() -> None:
    small = ("--rounds", "1", "--steps", "2", "--batch-size", "8", "--micro-batch", "4")
    done = benchmark("reward", "--data", "pico-preferences-helpful", "--max-length", "128", *small)
    assert done.returncode == 0, done.stderr
    assert "over 4 steps: the same pairs in every step" in done.stdout
    assert "within 1e-05" in done.stdout
    assert "longer than max_length" in done.stdout


@pytest.mark.slow
def test_batches_in_which_plain_trl_weighs_pairs_unequally_are_not_compared() -> None:
    done = benchmark("reward", "--rounds", "1", "--steps", "2", "--batch-size", "2000")
    assert done.returncode == 1
    assert "5,996 pairs are 2 full batches of 2000, and 4 steps were asked for" in done.stderr


def test_a_difference_between_the_trainers_is_not_passed_over() -> None:
    from comparing import Equality, _largest_difference

    assert _largest_difference([2.0, 4.0], [2.0, 4.1]) == pytest.approx(0.025)
    assert _largest_difference([2.0], [float("nan")]) == float("inf") == _largest_difference([], [])
    assert Equality(True, 1e-6, 1e-6, 1e-6).holds
    for wrong in ((False, 0, 0, 0), (True, 2e-5, 0, 0), (True, 0, 2e-5, 0), (True, 0, 0, 2e-5)):
        assert not Equality(*wrong).holds


def test_a_script_of_another_python_takes_its_turns(tmp_path: Path) -> None:
    from round_robin import Script, round_robin

    script = tmp_path / "script.py"
    script.write_text(
        f"import sys\nsys.path.insert(0, {str(BENCHMARKS)!r})\n"
        "from round_robin import follow\n"
        "def train(step_done):\n"
        "    for step in range(4):\n"
        "        print('what a library prints')\n"
        "        step_done()\n"
        "    return {'name': sys.argv[1]}\n"
        "follow(train)\n"
    )
    scripts = {name: Script([sys.executable, str(script), name]) for name in ("one", "other")}
    turns = round_robin(scripts, turns=2, steps=2)
    assert {name: found.result for name, found in turns.items()} == {
        "one": {"name": "one"},
        "other": {"name": "other"},
    }
    assert all(len(found.seconds) == 2 and found.peak_gib > 0 for found in turns.values())
    with pytest.raises(RuntimeError, match="a training failed"):
        round_robin({"one": scripts["one"]}, turns=1, steps=2)  # it makes four steps
    with pytest.raises(RuntimeError, match="a training failed"):
        round_robin({"broken": Script([sys.executable, "-c", "raise SystemExit(1)"])}, turns=1, steps=1)


def test_rollouts_of_the_ppo_benchmark_never_end_early(tmp_path: Path) -> None:
    import torch
    from ppo_files import prompts_of, random_prompts, write_models
    from ppo_job import POLICY, counted
    from transformers import AutoModelForCausalLM, AutoTokenizer

    weights = write_models(tmp_path, "4m")
    assert 4e6 < weights < 4.5e6
    rows = random_prompts(tmp_path / POLICY, (7, 7), 16)
    assert {len(row["input_ids"]) for row in rows} == {7}
    file = tmp_path / "alpaca.json"
    file.write_text(json.dumps([{"instruction": "Say it.", "input": "twice"}, {"instruction": "x " * 99}]))
    assert prompts_of(file, tmp_path / POLICY, 20, 1)[0]["prompt"] == "Say it.\ntwice"

    model = AutoModelForCausalLM.from_pretrained(tmp_path / POLICY, dtype=torch.float32)
    ids = torch.tensor([row["input_ids"] for row in rows])
    with counted() as work:
        whole = model.generate(
            input_ids=ids, attention_mask=torch.ones_like(ids), do_sample=True, max_new_tokens=64
        )
        optimizer = torch.optim.AdamW(model.parameters(), lr=0)
        optimizer.step()
    assert (work.generated_tokens, work.optimizer_steps, work.ended) == (16 * 64, 1, 0)
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / POLICY)
    assert [tokenizer.encode(tokenizer.decode(row)) for row in whole] == whole.tolist()


def test_ppo_is_compared_part_by_part_and_only_for_the_same_work(tmp_path: Path) -> None:
    from ppo_job import PpoJob
    from round_robin import Turns

    # by its path: `ppo` alone may be the folder of tests
    names = runpy.run_path(str(ROOT / "benchmarks/ppo.py"))
    OURS, TRL, did_all = names["OURS"], names["TRL"], names["did_all"]
    seconds_of, shares_of = names["seconds_of"], names["shares_of"]

    job = PpoJob(str(tmp_path), iterations=3, rollouts=8, response_tokens=4, mini_batch=4, epochs=2)
    work = {"generated_tokens": 3 * 8 * 4, "optimizer_steps": 3 * 2 * 2, "ended": 0}

    def turns(seconds: float) -> Turns:
        part = {"generate": seconds / 4, "score": seconds / 4, "train": seconds / 4}
        return Turns(
            [99.0, seconds, seconds], [99.0, seconds, seconds], [0.0, 0.0, 0.5], {"parts": [part] * 3}
        )

    both = {OURS: turns(4.0), TRL: turns(16.0)}
    seconds = {name: seconds_of(found, 1) for name, found in both.items()}
    assert seconds[OURS] == dict.fromkeys(("generate", "score", "train", "rest"), [1.0, 1.0]) | {
        "iteration": [4.0, 4.0]
    }
    shares = shares_of(both, seconds)
    assert {share.median for share in shares.values()} == {0.25}
    assert "iteration, 1 undisturbed of 2 rounds" in shares
    for change in ({}, {"generated_tokens": 95}, {"optimizer_steps": 3}, {"ended": 1}):
        assert did_all(job, Turns(result={"work": work | change})) is not bool(change)


SMALL_PPO = (
    "--rounds",
    "1",
    "--rollouts",
    "8",
    "--mini-batch",
    "4",
    "--epochs",
    "2",
    "--response-tokens",
    "8",
)


@pytest.mark.skipif(
    not (ROOT / ".bench/trl-1.12/complete.txt").exists(),
    reason="TRL 1.12 is not installed: python benchmarks/trl_1_12.py",
)
@pytest.mark.slow
def test_trl_1_12_does_the_work_of_the_ppo_benchmark() -> None:
    done = benchmark("ppo", "--only", "trl", *SMALL_PPO)
    assert done.returncode == 0, done.stderr
    assert "TRL ran with trl 1.12.0" in done.stdout


@pytest.mark.slow
def test_llamatune_does_the_work_of_the_ppo_benchmark() -> None:
    done = benchmark("ppo", "--only", "llamatune", *SMALL_PPO)
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_memory_of_ppo_is_compared_with_that_of_sft() -> None:
    contenders = ["imports", "sft-trl", "sft-llamatune", "ppo-llamatune"]
    small = ("--rounds", "1", "--steps", "1", "--batch-size", "4", "--micro-batch", "2")
    done = benchmark("ppo_memory", "--shape", "pico", "--only", *contenders, *small)
    assert done.returncode == 0, done.stderr
    assert all(f"\n{name} " in done.stdout for name in contenders)


@pytest.mark.slow
def test_overhead_of_a_short_demo_adds_up() -> None:
    done = benchmark("overhead", "--runs", "1", "--max-steps", "3")
    assert done.returncode == 0, done.stderr
    assert "guards, manifests and hashing together" in done.stdout


@pytest.mark.slow
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


@pytest.mark.slow
def test_a_gpu_check_runs_dry(tmp_path: Path) -> None:
    """Every measurement with a tiny model on the CPU; a result each, and those that take too long are cut off."""
    done = benchmark("gpu_check", "--device", "cpu", "--tiny", "--results", str(tmp_path))
    assert done.returncode == 0, done.stdout + done.stderr[-3000:]
    results = {file.stem: json.loads(file.read_text()) for file in tmp_path.glob("*.json")}
    assert len(results) == 7
    assert all(one["meaningless"] and one["commit"] and one["versions"]["torch"] for one in results.values())
    assert results["sft-7b-lora-1024"]["figures"]["of_plain"] > 0
    assert results["ppo-7b-qlora"]["figures"]["generate_seconds"] > 0
    assert "tokens_per_second is" in done.stdout and "from 2,392 (transformers on an A100-40" in done.stdout


def test_a_measurement_that_takes_too_long_is_cut_off(tmp_path: Path) -> None:
    import time

    from gpu_check import Measurement, Place, line_of, measured

    place = Place(tmp_path, "cpu", tiny=True)
    slow = Measurement("slow", lambda place: time.sleep(60) or {}, 1, ())
    result = measured(slow, place)
    assert result["failure"] == "cut off at its limit" and 1 <= result["seconds"] < 5
    assert line_of(slow, result).startswith("slow: cut off at its limit (")
    broken = measured(Measurement("broken", lambda place: {"x": 1 / 0}, 9, ()), place)
    assert broken["failure"] == "ZeroDivisionError: division by zero"
    assert measured(Measurement("absent", dict, 9, ("no_such_package",)), place)["failure"].startswith(
        "no_such"
    )
