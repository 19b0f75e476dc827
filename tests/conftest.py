"""Shared by all tests: no network, a cache of their own, and a few trained runs that many tests look at."""

import os
import signal
import tempfile

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"
os.environ["XDG_CACHE_HOME"] = tempfile.mkdtemp(prefix="llamatune-tests-")

from pathlib import Path

import pytest

from support import METHODS, REWARD_METHODS, ROOT, reward_recipe, sft_recipe

# Under nohup or in the background these are ignored, in every child too, and llamatune leaves ignored signals alone.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory):
    """`trained("lora")` is the directory of a finished run with that method; each is trained once."""
    from llamatune.pipeline import run

    directories: dict[str, Path] = {}

    def of(method: str) -> Path:
        if method not in directories:
            directory = tmp_path_factory.mktemp("runs") / method
            run(sft_recipe(directory, METHODS[method]), recipe_dir=ROOT)
            directories[method] = directory
        return directories[method]

    return of


@pytest.fixture(scope="session")
def rewarded(tmp_path_factory: pytest.TempPathFactory):
    """`rewarded("lora")` is the directory of a finished reward model; each is trained once."""
    from llamatune.pipeline import run

    directories: dict[str, Path] = {}

    def of(method: str) -> Path:
        if method not in directories:
            directory = tmp_path_factory.mktemp("runs") / method
            run(reward_recipe(directory, REWARD_METHODS[method]), recipe_dir=ROOT)
            directories[method] = directory
        return directories[method]

    return of


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
