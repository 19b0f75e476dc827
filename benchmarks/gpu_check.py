"""A GPU in ten minutes: the tests that need one, then what llamatune does on it, each with a limit of its own.

    make gpu-check                                            # everything, about ten minutes, 16 GB of disk
    python benchmarks/gpu_check.py --only sft-7b-lora-1024 ppo-7b-qlora
    make gpu-check-dry                                        # tries the code on a CPU; its figures mean nothing

Models have random weights in the shapes of Llama 2 7B and Llama 3.2 1B. Each measurement runs in a process of its own,
which is killed at its limit; its result is printed and written at once, so that a run that is cut off leaves what it
has. A result is a JSON file with the card, its power, versions and commit, and a baseline with the difference from it.

The machine needs torch with CUDA, transformers, peft and accelerate; `--wheels FOLDER` installs what is missing of trl,
datasets and bitsandbytes from there, without the network. What cannot run says what it misses.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import math
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from queue import Empty
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks/results/gpu"
NEEDED = ("torch", "transformers", "peft", "accelerate", "trl", "datasets", "bitsandbytes")
Figures = dict[str, Any]


@dataclass(frozen=True)
class Place:
    """Where a measurement works: `folder` holds the models."""

    folder: Path
    device: str
    tiny: bool

    def shape(self, name: str) -> str:
        return "tiny" if self.tiny else name

    def base(self, name: str) -> Path:
        """A model of random weights in this shape, written once."""
        from gpu import write_base

        folder = self.folder / self.shape(name)
        if not (folder / "model.safetensors.index.json").exists():
            write_base(folder, self.shape(name), self.device)
        return folder


@dataclass(frozen=True)
class Baseline:
    """What others measured, or what is aimed at; `of`: the figure that is compared with it."""

    of: str
    value: float
    what: str


@dataclass(frozen=True)
class Measurement:
    """`seconds`: after which it is cut off, on a GPU."""

    name: str
    run: Callable[[Place], Figures]
    seconds: int
    needs: tuple[str, ...] = ("trl", "datasets")
    baseline: Baseline | None = None


# ---- what is measured -----------------------------------------------------------------------------------------


def gpu_tests(place: Place) -> Figures:
    """The tests that are marked `gpu`; without a card they are skipped, which is counted."""
    import pytest

    class Counts:
        def __init__(self) -> None:
            self.outcomes: dict[str, int] = {}

        def pytest_runtest_logreport(self, report: Any) -> None:
            if report.when == "call" or report.skipped or report.failed:
                self.outcomes[report.outcome] = self.outcomes.get(report.outcome, 0) + 1

    counts = Counts()
    code = pytest.main(
        ["-q", "-m", "gpu", "-p", "no:cacheprovider", str(ROOT / "tests/test_gpu.py")], plugins=[counts]
    )
    if counts.outcomes.get("failed") or code not in (0, 5):
        raise RuntimeError(f"pytest ended with {code}: {counts.outcomes}")
    return dict(counts.outcomes)


def sft_lora(length: int, rows: int) -> Callable[[Place], Figures]:
    """LoRA of rank 8 on the 7B shape, llamatune beside plain trl on the same rows."""

    def measure(place: Place) -> Figures:
        plain = _line(place, "7b", "lora8", length, rows, switches=0)
        ours = _line(place, "7b", "lora8", length, rows, switches=2)
        return {
            "tokens_per_second": ours.tokens_per_second,
            "peak_gib": ours.training_gib,
            "plain_tokens_per_second": plain.tokens_per_second,
            "plain_peak_gib": plain.training_gib,
            "of_plain": ours.tokens_per_second / plain.tokens_per_second,
        }

    return measure


def qlora_slope(place: Place) -> Figures:
    """How much more memory a longer row takes."""
    lengths = (32, 64) if place.tiny else (512, 2048, 4096)
    peaks = {
        length: _line(place, "7b", "qlora", length, 1, switches=3).training_gib * 1024 for length in lengths
    }
    return {
        "mib_a_token": (peaks[lengths[-1]] - peaks[lengths[0]]) / (lengths[-1] - lengths[0]),
        "peaks_mib": peaks,
    }


def full_1b(place: Place) -> Figures:
    """All weights of the 1B shape, rows of 4,096 tokens: the share of the card's arithmetic."""
    from gpu import known_peak

    line = _line(place, "1b", "full", 4096, 8, switches=2)
    return {
        "share_of_peak": line.operations_per_second / known_peak(),
        "tflops": line.operations_per_second / 1e12,
        "tokens_per_second": line.tokens_per_second,
        "peak_gib": line.training_gib,
    }


def _line(place: Place, shape: str, method: str, length: int, rows: int, *, switches: int) -> Any:
    from gpu import Job, measure

    length = min(length, 64) if place.tiny else length
    job = Job(place.shape(shape), method, length, chats=False, batch_size=rows, plain_rows=rows)
    line = measure(job, switches, place.base(shape), place.device, steps=2 if place.tiny else 4)
    if line.failure:
        raise RuntimeError(line.failure)
    return line


def reward(place: Place) -> Figures:
    """Pairs a second of a QLoRA reward model on the 7B shape; `llamatune run` as it is."""
    run = _reward_model(place, "helpfulness", steps=3 if place.tiny else 8)
    lines = _lines(run / "speed.jsonl")[1:]  # without the first step, which warms up
    return {
        "pairs_per_second": sum(line["pairs_per_second"] for line in lines) / len(lines),
        "peak_gib": max(line["memory_gib"] for line in lines),
    }


def ppo(place: Place) -> Figures:
    """Five roles on one 4-bit base: policy, critic, reference and two reward models."""
    from unittest.mock import patch

    from llamatune.pipeline import run
    from llamatune.ppo.run_trainer import RecipePPOTrainer

    judges = {name: str(_reward_model(place, name, steps=1)) for name in ("helpfulness", "safety")}
    answers, new = (4, 8) if place.tiny else (64, 256)
    recipe = _recipe(
        place,
        "ppo",
        "ppo",
        data={"train": [{"card": "pico-prompts-helpful", "max_rows": 2 * answers}], "max_length": 256},
        rollout={"max_new_tokens": new},
        reward=judges,
        ppo={"mini_batch_size": answers // 2, "roles": "adapters"},
        optimization={"batch_size": answers, "iterations": 3, "learning_rate": 1e-5},
        guards={name: {"action": "ignore"} for name in ("truncated", "kl", "entropy", "reward_drop")},
    )
    kept: list[Any] = []

    class Kept(RecipePPOTrainer):
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            kept.append(self)

    with patch("llamatune.stages.ppo.RecipePPOTrainer", Kept):
        run(recipe, recipe_dir=ROOT, overwrite=True)
    spent = kept[0].timings
    lines = [line for line in _lines(Path(recipe.output) / "speed.jsonl") if "memory_gib" in line]
    parts = {name: spent[name] / 3 for name in ("generate", "score", "train")}
    return {
        "iteration_seconds": sum(parts.values()),
        **{f"{name}_seconds": seconds for name, seconds in parts.items()},
        "answers": answers,
        "new_tokens": new,
        "peak_gib": max(line["memory_gib"] for line in lines),
    }


def _reward_model(place: Place, name: str, *, steps: int) -> Path:
    from llamatune.pipeline import run

    rows = 16 if place.tiny else 64
    recipe = _recipe(
        place,
        "reward",
        f"reward-{name}",
        data={
            "train": [{"card": "pico-preferences-helpful", "max_rows": rows * (steps + 1)}],
            "max_length": 512,
        },
        optimization={
            "max_steps": steps,
            "batch_size": rows,
            "learning_rate": 1e-4,
            "warmup": 0,
            "min_warmup_steps": 0,
        },
    )
    run(recipe, recipe_dir=ROOT, overwrite=True)
    return Path(recipe.output)


def _recipe(place: Place, stage: str, output: str, **blocks: Any) -> Any:
    from llamatune.recipe.load import loads

    adapter = {"lora": {"rank": 8}, "quantization": "nf4"}
    return loads(
        json.dumps(
            {
                "stage": stage,
                "output": str(place.folder / output),
                "model": {"base": str(place.base("7b")), **adapter},
                "hardware": {"device": "auto" if place.device == "cuda" else "cpu"},
                "logging": {"every_steps": 1},
                "checkpoint": {"every_minutes": 10_000},
                **({"generation": {"prompts": []}} if stage == "ppo" else {}),
                **blocks,
            }
        )
    )


def _lines(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text("utf-8").splitlines()]


A100 = "an A100-40: LLaMA-Factory's wiki, 2024-04-15"
MEASUREMENTS = (
    Measurement("gpu-tests", gpu_tests, 150),
    Measurement(
        "sft-7b-lora-1024",
        sft_lora(1024, 4),
        120,
        baseline=Baseline("tokens_per_second", 2392, f"transformers on {A100}"),
    ),
    Measurement(
        "sft-7b-lora-4096",
        sft_lora(4096, 1),
        100,
        baseline=Baseline("tokens_per_second", 2954, f"flash-attention at 4 x 1,024 on {A100}"),
    ),
    Measurement(
        "sft-7b-qlora-memory",
        qlora_slope,
        110,
        ("trl", "datasets", "bitsandbytes"),
        Baseline("mib_a_token", 0.3, "the aim; 0.8 is transformers', 0.3 Unsloth's"),
    ),
    Measurement(
        "sft-1b-full-4096",
        full_1b,
        90,
        baseline=Baseline("share_of_peak", 0.5, "the aim; 0.26 to 0.39 are published for full SFT"),
    ),
    Measurement("reward-7b-qlora", reward, 100, ("trl", "datasets", "bitsandbytes")),
    Measurement("ppo-7b-qlora", ppo, 150, ("trl", "datasets", "bitsandbytes")),
)


# ---- one after another ----------------------------------------------------------------------------------------


def main() -> None:
    options = parse()
    if options.wheels:
        install(options.wheels)
    # Asking whether there is a card must not open it here: a forked process could not use it any more.
    os.environ["PYTORCH_NVML_BASED_CUDA_CHECK"] = "1"
    sys.path[:0] = [str(ROOT / "src"), str(ROOT / "benchmarks"), str(ROOT / "tests")]
    import_all()
    about = machine(options)
    print(json.dumps(about, indent=2), flush=True)
    failed = []
    with tempfile.TemporaryDirectory() as temporary:
        place = Place(options.folder or Path(temporary, "models"), options.device, options.tiny)
        # What is measured beside a GPU means nothing, and is not to lie among the results.
        folder = options.results or (Path(temporary, "results") if about["meaningless"] else RESULTS)
        folder.mkdir(parents=True, exist_ok=True)
        for measurement in MEASUREMENTS:
            if options.only and measurement.name not in options.only:
                continue
            result = measured(measurement, place)
            content = {"name": measurement.name, **about, **result}
            (folder / f"{measurement.name}.json").write_text(json.dumps(content, indent=2) + "\n", "utf-8")
            print(line_of(measurement, result), flush=True)
            failed += [measurement.name] if "failure" in result else []
    if failed:
        sys.exit(f"failed: {', '.join(failed)}")


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--only", nargs="+", choices=[one.name for one in MEASUREMENTS], metavar="NAME")
    add("--device", choices=("cuda", "cpu"), default="cuda")
    add("--tiny", action="store_true", help="a tiny model and short rows: tries the code")
    add("--wheels", type=Path, help="a folder of wheels, for what is not installed")
    add("--folder", type=Path, help="where models are written; a temporary folder if left out")
    add("--results", type=Path, help="where the JSON files go; benchmarks/results/gpu, if they mean anything")
    return parser.parse_args()


def missing(names: tuple[str, ...] = NEEDED) -> list[str]:
    return [name for name in names if importlib.util.find_spec(name) is None]


def install(folder: Path) -> None:
    """What is missing, from wheels, without the network and without touching what is there."""
    if names := missing():
        command = [
            sys.executable,
            "-m",
            "pip",
            "install",
            "--no-index",
            "--no-deps",
            "--find-links",
            str(folder),
        ]
        subprocess.run([*command, *names], check=False)


def import_all() -> None:
    """Once for all measurements, which are forked: imports would take most of their time."""
    for name in missing():
        print(f"{name} is not installed: what needs it is left out", file=sys.stderr)
    if not missing(("trl", "datasets")):
        import gpu  # noqa: F401

        import llamatune.stages.ppo
        import llamatune.stages.reward  # noqa: F401


def machine(options: argparse.Namespace) -> Figures:
    """The card, its power limit, versions and commit."""
    from importlib import metadata

    versions = {name: metadata.version(name) for name in NEEDED if name not in missing()}
    card = _smi("name,power.limit,memory.total") if options.device == "cuda" else None
    commit = subprocess.run(
        ["git", "-C", str(ROOT), "rev-parse", "HEAD"], capture_output=True, text=True, check=False
    ).stdout.strip()
    return {
        "card": card[0] if card else "none",
        "power_limit_watts": _number(card[1]) if card else None,
        "memory_mib": _number(card[2]) if card else None,
        "versions": {"python": sys.version.split()[0], **versions},
        "commit": commit or "unknown",
        "meaningless": options.tiny or options.device == "cpu",
    }


def _smi(what: str) -> list[str] | None:
    try:
        done = subprocess.run(
            ["nvidia-smi", f"--query-gpu={what}", "--format=csv,noheader,nounits"],
            capture_output=True, text=True, check=True, timeout=20,
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError):
        return None
    return [cell.strip() for cell in done.stdout.splitlines()[0].split(",")]


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def measured(measurement: Measurement, place: Place) -> Figures:
    """What a measurement found, or why it did not; never longer than its limit."""
    if absent := missing(measurement.needs):
        return {"failure": f"{', '.join(absent)} not installed"}
    context = get_context("fork")
    answers: Any = context.Queue()
    started = time.monotonic()
    worker = context.Process(target=_work, args=(measurement, place, answers))
    worker.start()
    result, watts = _await(worker, answers, started + measurement.seconds, place)
    if worker.is_alive():
        worker.kill()
    worker.join()
    power = {"mean_power_watts": round(sum(watts) / len(watts), 1)} if watts else {}
    return {**result, **power, "seconds": round(time.monotonic() - started, 1)}


def _await(worker: Any, answers: Any, deadline: float, place: Place) -> tuple[Figures, list[float]]:
    watts: list[float] = []
    while time.monotonic() < deadline:
        try:
            return answers.get(timeout=0.5), watts
        except Empty:
            pass
        if not worker.is_alive() and answers.empty():
            return {"failure": f"its process ended with {worker.exitcode}"}, watts
        drawn = _smi("power.draw") if place.device == "cuda" else None
        if drawn and (watt := _number(drawn[0])) is not None:
            watts.append(watt)
    return {"failure": "cut off at its limit"}, watts


def _work(measurement: Measurement, place: Place, answers: Any) -> None:
    if place.device == "cpu":
        import torch

        torch.set_num_threads(1)
    try:
        answers.put({"figures": measurement.run(place)})
    except BaseException as error:
        answers.put({"failure": f"{type(error).__name__}: {error}".strip()[:500]})


def line_of(measurement: Measurement, result: Mapping[str, Any]) -> str:
    """A result in a line: figures, and how far they are from the baseline."""
    if "failure" in result:
        return f"{measurement.name}: {result['failure']} ({result.get('seconds', 0)} s)"
    figures = result["figures"]
    shown = ", ".join(
        f"{name} {value:,.4g}"
        for name, value in figures.items()
        if isinstance(value, int | float) and math.isfinite(value)
    )
    baseline = measurement.baseline
    beside = ""
    if baseline is not None and math.isfinite(figures[baseline.of]):
        off = figures[baseline.of] / baseline.value - 1
        beside = f"; {baseline.of} is {off:+.1%} from {baseline.value:,g} ({baseline.what})"
    return f"{measurement.name}: {shown}{beside} ({result['seconds']} s)"


if __name__ == "__main__":
    main()
