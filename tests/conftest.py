"""Shared by all tests: no network, a cache of their own, and a few trained runs that many tests look at.

`make test` runs the modules in two processes side by side; what takes long to make is made by one of them for both.
"""

import os
import signal
import tempfile

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"
# Processes that tests start would compile llamatune every time.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ["OMP_NUM_THREADS"] = "1"
else:  # the processes side by side inherit it
    os.environ["XDG_CACHE_HOME"] = tempfile.mkdtemp(prefix="llamatune-tests-")

from collections.abc import Callable
from pathlib import Path

import pytest
from filelock import FileLock
from hypothesis import settings

from support import METHODS, REWARD_METHODS, ROOT, reward_recipe, sft_recipe

# The same cases each time, so that a test fails for those who broke it; `make fuzz` looks for new ones.
settings.register_profile("same", derandomize=True, database=None)
settings.register_profile("search", derandomize=False, print_blob=True)
settings.load_profile("same")

# Under nohup or in the background these are ignored, in every child too, and llamatune leaves ignored signals alone.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)


LONGEST = ("test_pipeline", "test_launch", "test_faults_ppo", "test_golden_losses", "test_hub_models")
"""Modules to begin with: of two processes, one would have nothing to do while the other ends with them."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: item.path.stem not in LONGEST)


@pytest.fixture(scope="session")
def made_once(tmp_path_factory: pytest.TempPathFactory):
    """`made_once("name", make)` is a folder that `make(folder)` fills, once for all test processes. Only look at it."""
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base

    def of(name: str, make: Callable[[Path], object]) -> Path:
        folder, made = shared / name, shared / f"{name}.made"
        with FileLock(shared / f"{name}.lock"):
            if not made.exists():
                make(folder)
                made.touch()
        return folder

    return of


@pytest.fixture(scope="session")
def trained(made_once):
    """`trained("lora")` is the directory of a finished run with that method; each is trained once."""
    from llamatune.pipeline import run

    return lambda method: made_once(
        f"sft-{method}", lambda folder: run(sft_recipe(folder, METHODS[method]), recipe_dir=ROOT)
    )


@pytest.fixture(scope="session")
def rewarded(made_once):
    """`rewarded("lora")` is the directory of a finished reward model; each is trained once."""
    from llamatune.pipeline import run

    return lambda method: made_once(
        f"reward-{method}", lambda folder: run(reward_recipe(folder, REWARD_METHODS[method]), recipe_dir=ROOT)
    )


@pytest.fixture(scope="session")
def tiny_base(tmp_path_factory: pytest.TempPathFactory):
    """`tiny_base()` is the folder of a two-layer Llama with random weights; keywords change its config."""

    def make(seed: int = 0, **changes: object) -> Path:
        import shutil

        import torch
        from transformers import LlamaConfig, LlamaForCausalLM

        folder = tmp_path_factory.mktemp("base")
        config = {
            "vocab_size": 2048,
            "hidden_size": 32,
            "intermediate_size": 64,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "num_key_value_heads": 1,
            "max_position_embeddings": 256,
            "tie_word_embeddings": True,
            "bos_token_id": 1,
            "eos_token_id": 2,
            "pad_token_id": 0,
        }
        torch.manual_seed(seed)
        LlamaForCausalLM(LlamaConfig(**(config | changes))).save_pretrained(folder)
        for file in (ROOT / "src/llamatune/builtin/pico").glob("*"):
            if file.name.startswith(("tokenizer", "chat_template")):
                shutil.copy(file, folder)
        return folder

    return make
