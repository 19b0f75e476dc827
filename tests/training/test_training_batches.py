"""However a global batch is cut, the mathematics stay those of the plain trainer."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from llamatune.data.encode.chat import ChatFormat
from llamatune.data.prepare import prepare
from llamatune.data.rows import IGNORED
from llamatune.forward.attention import can_be_padding_free
from llamatune.forward.collate import Padded, PaddingFree, trained_tokens
from llamatune.forward.cutting import automatic_tokens, cut, share
from llamatune.models.found import find
from llamatune.models.open import open_model
from llamatune.models.tokenizer import load_tokenizer
from llamatune.pipeline import run
from llamatune.recipe.blocks import Chat
from llamatune.training.batches import GlobalBatchLoader, GlobalBatchSampler
from support import ROOT, sft_recipe

LENGTHS = st.lists(st.integers(1, 300), min_size=1, max_size=70)
STEPS = {"optimization.max_steps": 3, "logging.every_steps": 1, "optimization.learning_rate": 1e-3}


def lines(file: Path) -> list[dict]:
    return [json.loads(line) for line in file.read_text().splitlines()]


def curve(directory: Path) -> torch.Tensor:
    """(steps, 2): loss and gradient norm of each step."""
    metrics = lines(directory / "metrics.jsonl")
    return torch.tensor([(line["loss"], line["grad_norm"]) for line in metrics if "loss" in line]).double()


# ---- which rows, and how they are cut ------------------------------------------------------------------------


def test_an_epoch_visits_each_row_once_and_epochs_differ() -> None:
    sampler = GlobalBatchSampler(103, 10, seed=3)
    epochs = []
    for epoch in (0, 1):
        sampler.set_epoch(epoch)
        batches = list(sampler)
        assert [len(batch) for batch in batches] == [10] * 10 + [3] and len(sampler) == 11
        assert sorted(index for batch in batches for index in batch) == list(range(103))
        epochs.append(batches)
    assert epochs[0] != epochs[1]
    sampler.set_epoch(0)
    assert list(sampler) == epochs[0]


def test_iterating_draws_nothing_from_the_global_random_state() -> None:
    """A resume restores that state; what skips batches must not disturb it."""
    from datasets import Dataset

    loader = GlobalBatchLoader(Dataset.from_dict({"input_ids": [[1]] * 7}), 2, seed=0)
    before = torch.get_rng_state()
    assert sum(len(batch["rows"]) for batch in loader) == 7
    assert torch.equal(torch.get_rng_state(), before)


@settings(max_examples=200, deadline=None)
@given(LENGTHS, st.integers(1, 2000), st.booleans())
def test_micro_batches_hold_every_row_once_within_the_budget(
    lengths: list[int], budget: int, padded: bool
) -> None:
    batches = cut(lengths, budget, padded=padded)
    assert sorted(index for batch in batches for index in batch) == list(range(len(lengths)))
    for batch in batches:
        width = max(lengths[index] for index in batch)
        cost = width * len(batch) if padded else sum(lengths[index] for index in batch)
        assert cost <= budget or len(batch) == 1
    tokens = [sum(lengths[index] for index in batch) for batch in batches]
    assert tokens == sorted(tokens, reverse=True)


@settings(max_examples=200, deadline=None)
@given(LENGTHS, st.integers(1, 8))
def test_processes_share_every_row_evenly(lengths: list[int], processes: int) -> None:
    shares = share(lengths, processes)
    assert sorted(index for one in shares for index in one) == list(range(len(lengths)))
    loads = [sum(lengths[index] for index in one) for one in shares]
    assert max(loads) - min(loads) <= max(lengths)


# ---- padding-free --------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def rows() -> list[dict]:
    recipe = sft_recipe(Path("unused"))
    chat = ChatFormat(load_tokenizer(find("pico").base), Chat())
    data = prepare(recipe.data, chat, kind="conversations", seed=0, recipe_dir=ROOT, report=lambda line: None)
    return list(data.train.select(range(12)))


def test_rows_end_to_end_see_only_themselves(rows: list[dict]) -> None:
    model = open_model("pico").model
    assert can_be_padding_free(model, 512)
    with torch.no_grad():
        batch = PaddingFree()(rows)
        labels = batch.pop("labels")
        together = model(**batch, use_cache=False).logits[0]
        changed = PaddingFree()([{**rows[0], "input_ids": [7] * len(rows[0]["input_ids"])}, *rows[1:]])
        del changed["labels"]
        other = model(**changed, use_cache=False).logits[0]
    first = len(rows[0]["input_ids"])
    assert torch.equal(together[first:], other[first:]) and not torch.equal(together[:first], other[:first])
    start = 0
    for row in rows:
        length = len(row["input_ids"])
        alone = Padded(0)([row])
        with torch.no_grad():
            logits = model(input_ids=alone["input_ids"], attention_mask=alone["attention_mask"]).logits[0]
        torch.testing.assert_close(together[start : start + length], logits, atol=1e-4, rtol=1e-4)
        assert labels[0, start] == IGNORED
        start += length
    assert int((labels != IGNORED).sum()) == sum(map(trained_tokens, rows))


def test_models_that_mix_rows_up_are_padded(tiny_base) -> None:
    from transformers import FalconConfig, FalconForCausalLM, MistralConfig, MistralForCausalLM

    shape = {"vocab_size": 128, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    falcon = FalconForCausalLM(FalconConfig(**shape, alibi=False))
    assert not can_be_padding_free(falcon, 64)
    mistral = MistralForCausalLM(
        MistralConfig(**shape, num_key_value_heads=1, intermediate_size=64, sliding_window=32)
    )
    assert can_be_padding_free(mistral, 32)
    assert not can_be_padding_free(mistral, 33)  # a longer row would need the window's mask


def test_the_attention_of_training_is_not_saved(trained) -> None:
    config = json.loads((trained("full") / "model/config.json").read_text())
    assert not [value for value in config.values() if "llamatune" in str(value)]


# ---- equal to the plain trainer ------------------------------------------------------------------------------


def plain_curve(tmp_path: Path, rows_at_once: int, lora: bool) -> torch.Tensor:
    """Loss and gradient norm of trl.SFTTrainer as it is, on the recipe's model, rows and settings."""
    from peft import LoraConfig
    from transformers import AutoModelForCausalLM, PrinterCallback, set_seed
    from trl import SFTConfig, SFTTrainer

    recipe = sft_recipe(Path("unused"), STEPS)
    tokenizer = load_tokenizer(find("pico").base)
    chat = ChatFormat(tokenizer, Chat(), max_length=512)
    data = prepare(recipe.data, chat, kind="conversations", seed=0, recipe_dir=ROOT, report=lambda line: None)
    set_seed(0)
    trainer = SFTTrainer(
        model=AutoModelForCausalLM.from_pretrained(find("pico").base.folder, dtype=torch.float32),
        args=SFTConfig(
            output_dir=str(tmp_path / "plain"),
            per_device_train_batch_size=rows_at_once,
            gradient_accumulation_steps=16 // rows_at_once,
            learning_rate=1e-3,
            lr_scheduler_type="cosine_with_min_lr",
            lr_scheduler_kwargs={"min_lr_rate": 0.1},
            warmup_steps=3,
            max_steps=3,
            weight_decay=0.1,
            adam_beta2=0.95,
            adam_epsilon=1e-5,
            logging_steps=1,
            bf16=False,
            use_cpu=True,
            gradient_checkpointing=False,
            save_strategy="no",
            report_to="none",
            disable_tqdm=True,
            dataset_kwargs={"skip_prepare_dataset": True},
            remove_unused_columns=False,
            max_length=None,
            seed=0,
            data_seed=0,
        ),
        train_dataset=data.train,
        data_collator=Padded(tokenizer.pad_token_id),
        processing_class=tokenizer,
        peft_config=LoraConfig(r=8, lora_alpha=32, target_modules="all-linear") if lora else None,
    )
    trainer.remove_callback(PrinterCallback)
    trainer.train()
    logs = [line for line in trainer.state.log_history if "loss" in line]
    return torch.tensor([(line["loss"], line["grad_norm"]) for line in logs]).double()


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> torch.Tensor:
    return plain_curve(tmp_path_factory.mktemp("plain"), 4, lora=False)


def test_the_plain_trainer_does_not_care_how_it_is_cut_either(plain: torch.Tensor, tmp_path: Path) -> None:
    torch.testing.assert_close(plain_curve(tmp_path, 1, lora=False), plain, rtol=1e-5, atol=0)


WAYS = {
    "256 tokens": {"hardware.micro_batch_tokens": 256},
    "1024 tokens": {"hardware.micro_batch_tokens": 1024},
    "8192 tokens": {"hardware.micro_batch_tokens": 8192},
    "one row": {"hardware.micro_batch_tokens": 1},
    "padded": {"hardware.batching": "padded", "hardware.micro_batch_tokens": 1024},
    "fused loss": {"hardware.loss": "fused", "hardware.micro_batch_tokens": 1024},
    "activation checkpointing": {"hardware.activation_checkpointing": True},
}


@pytest.mark.parametrize("way", WAYS)
def test_losses_and_gradients_equal_the_plain_trainers(plain: torch.Tensor, tmp_path: Path, way: str) -> None:
    """Same rows in the same steps, to 1e-5 relative in float32."""
    run(sft_recipe(tmp_path / "run", STEPS | WAYS[way]), recipe_dir=ROOT)
    torch.testing.assert_close(curve(tmp_path / "run"), plain, rtol=1e-5, atol=0)


@pytest.mark.parametrize("quantization", ["none", "nf4"])
def test_adapters_train_alike_however_batches_are_cut(tmp_path: Path, quantization: str) -> None:
    curves = []
    for name, hardware in {
        "free": {"hardware.micro_batch_tokens": 700},
        "padded": {"hardware.batching": "padded", "hardware.micro_batch_tokens": 200},
    }.items():
        changes = STEPS | hardware | {"model.lora": {"rank": 8}, "model.quantization": quantization}
        run(sft_recipe(tmp_path / name, changes), recipe_dir=ROOT)
        curves.append(curve(tmp_path / name))
    torch.testing.assert_close(curves[0], curves[1], rtol=1e-5, atol=0)


@pytest.mark.parametrize(
    "lora", [pytest.param({}, marks=pytest.mark.slow), {"model.lora": {"rank": 8}}], ids=["full", "lora"]
)
def test_two_processes_train_as_one_does(tmp_path: Path, lora: dict) -> None:
    """DDP over gloo through the real command; the last batch of the epoch leaves a process without a row."""
    changes = STEPS | lora | {
        "data.train": [{"card": "pico-sft-helpful", "max_rows": 9}],
        "optimization.batch_size": 4,
        "optimization.max_steps": 4,
        "data.deduplicate": False,
    }  # fmt: skip
    run(sft_recipe(tmp_path / "one", changes), recipe_dir=ROOT)
    recipe = tmp_path / "recipe.json"
    recipe.write_text(sft_recipe(tmp_path / "two", changes).model_dump_json())
    command = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "llamatune"]
    done = subprocess.run(
        [sys.executable, *command, "run", str(recipe)],
        cwd=ROOT, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stderr.count("sft 4/4") == 1, "one process speaks for all"
    torch.testing.assert_close(curve(tmp_path / "two"), curve(tmp_path / "one"), rtol=1e-5, atol=0)
    manifest = json.loads((tmp_path / "two/manifest.json").read_text())
    assert manifest["facts"]["processes"] == 2


# ---- memory --------------------------------------------------------------------------------------------------


def test_8_bit_optimizer_state_takes_a_quarter_trains_and_resumes(tmp_path: Path) -> None:
    changes = {
        "model.lora": {"rank": 32, "targets": ["down_proj"]},
        "optimization.max_steps": 6,
        "optimization.learning_rate": 4e-3,
        "checkpoint.every_steps": 4,
    }
    losses, sizes = {}, {}
    for optimizer in ("adamw", "adamw_8bit"):
        recipe = sft_recipe(tmp_path / optimizer, changes | {"optimization.optimizer": optimizer})
        losses[optimizer] = run(recipe, recipe_dir=ROOT).figures["loss"]
        sizes[optimizer] = (tmp_path / optimizer / "checkpoints/checkpoint-4/optimizer.pt").stat().st_size
    assert sizes["adamw_8bit"] < 0.4 * sizes["adamw"]
    assert losses["adamw_8bit"] == pytest.approx(losses["adamw"], rel=0.05)
    adapter = tmp_path / "adamw_8bit/adapter/adapter_model.safetensors"
    before = adapter.read_bytes()
    (tmp_path / "adamw_8bit/result.json").unlink()
    adapter.unlink()
    run(recipe, recipe_dir=ROOT)
    assert adapter.read_bytes() == before


def test_activation_checkpointing_recomputes_activations(rows: list[dict]) -> None:
    """Fewer saved tensors between the passes, and not one gradient the less."""
    saved = {}
    for checkpointing in (False, True):
        model = open_model("pico").model.train()
        if checkpointing:
            model.gradient_checkpointing_enable()
        saved[checkpointing] = saved_between_passes(model, Padded(0)(rows))
    assert saved[True] < 0.5 * saved[False]


def saved_between_passes(model: torch.nn.Module, batch: dict) -> int:
    """Numbers kept for the backward pass."""
    kept: list[int] = []

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        kept.append(tensor.numel())
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        model(**batch).loss.backward()
    return sum(kept)


def test_peak_memory_is_reported(trained) -> None:
    assert json.loads((trained("lora") / "result.json").read_text())["figures"]["peak_memory_gib"] > 0.1


def test_a_pass_on_a_cpu_is_as_large_as_the_model_allows() -> None:
    assert automatic_tokens(on_cpu=True, width=6 * 192) == 4096, "pico"
    assert automatic_tokens(on_cpu=True, width=30 * 576) == 970, "135M weights: 2 GiB for the backward pass"
    assert automatic_tokens(on_cpu=True, width=30 * 576, vocabulary=128_256) == 523, "logits are larger still"
    assert automatic_tokens(on_cpu=True, width=32 * 4096) == 512
    assert automatic_tokens(on_cpu=False, width=32 * 4096) == 16_384
