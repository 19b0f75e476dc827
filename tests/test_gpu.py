"""What only a GPU can show: its data types, its optimizers, 4-bit training. Skipped elsewhere."""

from pathlib import Path

import pytest
import torch

from llamatune.models.placement import place
from llamatune.pipeline import run
from llamatune.recipe.blocks import Hardware, Lora, Model
from llamatune.sampling.sampler import How, Sampled
from support import ROOT, sft_recipe

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]


def test_frozen_bases_are_16_bit_and_trained_weights_float32() -> None:
    frozen, trained = place(Model(lora=Lora()), Hardware()), place(Model(), Hardware())
    assert frozen.device == trained.device == "cuda"
    assert frozen.weights == "bfloat16" and trained.weights == "float32"
    assert frozen.autocast == trained.autocast == "bfloat16"


@pytest.mark.parametrize("optimizer", ["adamw", "paged_adamw_32bit", "paged_adamw_8bit"])
@pytest.mark.parametrize("quantization", ["none", "nf4"])
def test_lora_and_qlora_train(tmp_path: Path, optimizer: str, quantization: str) -> None:
    changes = {
        "model.lora": {"rank": 16},
        "model.quantization": quantization,
        "optimization.optimizer": optimizer,
        "optimization.learning_rate": 4e-3,
        "hardware.activation_checkpointing": True,
    }
    result = run(sft_recipe(tmp_path / "run", changes), recipe_dir=ROOT)
    assert result.figures["loss"] < 2.0


def policy_on_gpu(tiny_base, *, lora: bool):
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(
        tiny_base(initializer_range=0.4, hidden_size=128, head_dim=64), dtype=torch.bfloat16
    ).cuda()
    if lora:
        from peft import LoraConfig, get_peft_model

        model = get_peft_model(model, LoraConfig(r=8, target_modules="all-linear", task_type="CAUSAL_LM"))
        for name, weight in model.named_parameters():
            if "lora_B" in name:
                torch.nn.init.normal_(weight, std=0.2)
    return model


GREEDY = How(16, frozenset({2}), temperature=0.0)
PROMPTS = [[1, *range(10, 10 + length)] for length in (3, 8, 1, 14, 6)]


def agree(found: list[Sampled], expected: list[Sampled]) -> bool:
    """Other kernels round otherwise: nearly all completions begin alike."""
    pairs = zip(found, expected, strict=True)
    return sum(one.tokens[:2] == other.tokens[:2] for one, other in pairs) >= len(found) - 1


@pytest.mark.parametrize("lora", [False, True])
def test_continuous_batching_agrees_with_generate(tiny_base, lora: bool) -> None:
    from llamatune.sampling.continuous_batching import ContinuousBatchingSampler
    from llamatune.sampling.generate import GenerateSampler

    policy = policy_on_gpu(tiny_base, lora=lora)
    before = {name: weight.clone() for name, weight in policy.state_dict().items()}
    seeds = list(range(len(PROMPTS)))
    expected = GenerateSampler(policy, pad_id=0).sample(PROMPTS, seeds, GREEDY)
    found = ContinuousBatchingSampler(policy, pad_id=0).sample(PROMPTS, seeds, GREEDY)
    assert agree(found, expected)
    assert all(torch.equal(before[name], weight) for name, weight in policy.state_dict().items())


@pytest.mark.parametrize("lora", [False, True])
def test_vllm_follows_the_policy(tiny_base, lora: bool) -> None:
    """Greedy completions are those of `generate`, before and after the policy changes."""
    pytest.importorskip("vllm")
    from llamatune.sampling.generate import GenerateSampler
    from llamatune.sampling.vllm import Engine, VllmSampler

    policy = policy_on_gpu(tiny_base, lora=lora)
    seeds = list(range(len(PROMPTS)))
    plain = GenerateSampler(policy, pad_id=0)
    sampler = VllmSampler(policy, batch_size=16, engine=Engine(32, 16, memory=0.2))
    first = sampler.sample(PROMPTS, seeds, GREEDY)
    assert agree(first, plain.sample(PROMPTS, seeds, GREEDY))
    with torch.no_grad():
        for name, weight in policy.named_parameters():
            if "lora_B" in name or not lora:
                weight.add_(torch.randn_like(weight) * 0.2)
    moved = sampler.sample(PROMPTS, seeds, GREEDY)
    assert agree(moved, plain.sample(PROMPTS, seeds, GREEDY)) and not agree(moved, first)
