"""Samplers other than plain `generate`: the same completions, or an early word on why not.

vLLM is not installed here: in its place stands an engine that loads what vLLM would be given, with transformers and
peft, so that the folders, names and seeds handed over are real.
"""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest
import torch
from datasets import Dataset
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import AutoModelForCausalLM, AutoTokenizer, BitsAndBytesConfig

from llamatune.errors import LlamatuneError, ModelError
from llamatune.forward.attention import NAME, can_be_padding_free
from llamatune.ppo.config import PPOConfig
from llamatune.ppo.trainer import PPOTrainer
from llamatune.sampling import continuous_batching
from llamatune.sampling import vllm as vllm_module
from llamatune.sampling.backends import open_sampler
from llamatune.sampling.continuous_batching import ContinuousBatchingSampler
from llamatune.sampling.generate import GenerateSampler
from llamatune.sampling.sampler import How, Sampled
from llamatune.sampling.vllm import Engine as Room
from llamatune.sampling.vllm import VllmSampler, sampling

STOPS = {2, 700, 1500}
PROMPTS = [[1, *range(10, 10 + length)] for length in (3, 8, 1, 14, 30, 3, 6, 6, 2, 11)]
SEEDS = [90 + number for number in range(len(PROMPTS))]
HOW = How(24, frozenset(STOPS), temperature=0.9)


@pytest.fixture(scope="module")
def folder(tiny_base) -> Path:
    return tiny_base(initializer_range=0.4)  # far from uniform: a wrong logit changes tokens


@pytest.fixture(scope="module")
def wide_folder(tiny_base) -> Path:
    return tiny_base(
        initializer_range=0.3, hidden_size=64, intermediate_size=128
    )  # whole blocks of 4-bit numbers


NF4 = BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=True)


def load(folder: Path, **settings):
    return AutoModelForCausalLM.from_pretrained(folder, **({"dtype": torch.float32} | settings))


def with_adapter(model, seed: int = 3):
    """A policy whose adapter changes what it says."""
    torch.manual_seed(seed)
    config = LoraConfig(r=4, lora_alpha=16, target_modules="all-linear", task_type="CAUSAL_LM")
    model = get_peft_model(model, config)
    for name, weight in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(weight, std=0.3)
    return model


def how(**changes) -> How:
    return replace(HOW, **changes)


def plain(model, **changes) -> list[Sampled]:
    return GenerateSampler(model, pad_id=0).sample(PROMPTS, SEEDS, how(**changes))


def continuous(model, **changes) -> list[Sampled]:
    return ContinuousBatchingSampler(model, pad_id=0).sample(PROMPTS, SEEDS, how(**changes))


def state_of(model) -> dict[str, torch.Tensor]:
    return {name: weight.clone() for name, weight in model.state_dict().items()}


# ---- continuous batching ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "ways", [{"temperature": 0.0}, {"temperature": 0.9}, {"temperature": 1.7, "top_p": 0.6}]
)
def test_continuous_batching_gives_the_tokens_of_generate(folder: Path, ways) -> None:
    model = load(folder)
    assert continuous(model, **ways) == plain(model, **ways)


def test_every_stop_token_ends_a_completion(folder: Path) -> None:
    """Stop tokens chosen among those that come: completions end at each of them, and go on without them."""
    model = load(folder)
    unstopped = [one.tokens for one in plain(model, stop_ids=frozenset({2}))]
    stops = frozenset({2, unstopped[0][4], unstopped[1][2]})
    found = continuous(model, stop_ids=stops)
    assert found == plain(model, stop_ids=stops)
    assert {one.tokens[-1] for one in found} & stops == {unstopped[0][4], unstopped[1][2]}
    assert not any(token in stops for one in found for token in one.tokens[:-1])
    assert [one.ended for one in found] == [one.tokens[-1] in stops for one in found]


def test_an_active_adapter_is_used_and_not_merged(folder: Path) -> None:
    policy = with_adapter(load(folder))
    before = state_of(policy)
    found = continuous(policy)
    assert found == plain(policy)
    with policy.disable_adapter():
        assert found != plain(policy)
        assert continuous(policy) == plain(policy)
    assert_kept(before, policy)


def test_a_quantised_base_keeps_its_4_bit_numbers(wide_folder: Path) -> None:
    policy = with_adapter(load(wide_folder, quantization_config=NF4))
    before = state_of(policy)
    pairs = zip(continuous(policy), plain(policy), strict=True)
    # 4-bit products are computed in bf16: sooner or later a logit rounds the other way.
    assert sum(found.tokens[:2] == expected.tokens[:2] for found, expected in pairs) >= 8
    assert_kept(before, policy)


def assert_kept(before: dict[str, torch.Tensor], model) -> None:
    """All weights, but not bitsandbytes' scales of blocks: on CPUs with bf16 instructions, it rounds those to bf16 in
    the first pass of any kind in evaluation mode."""
    after = model.state_dict()
    kept = [name for name in before if ".weight." not in name]
    assert all(torch.equal(before[name], after[name]) for name in kept)
    assert all(before[name].dtype == after[name].dtype for name in kept)


@pytest.mark.parametrize("attention", ["sdpa", "eager", NAME])
def test_attention_mode_and_random_state_are_as_they_were(folder: Path, attention: str) -> None:
    model = load(folder).train()
    if attention == NAME:
        assert can_be_padding_free(model, 64)
    else:
        model.set_attn_implementation(attention)
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    found = continuous(model)
    assert torch.equal(torch.rand(3), expected)
    assert model.config._attn_implementation == attention and model.training
    assert found == plain(model)


def test_a_completion_does_not_depend_on_its_company(folder: Path) -> None:
    model = load(folder)
    found = ContinuousBatchingSampler(model, pad_id=0, batch_size=3).sample(PROMPTS, SEEDS, HOW)
    assert found == plain(model)
    some = [7, 2, 4]
    again = ContinuousBatchingSampler(model, pad_id=0)
    alone = again.sample([PROMPTS[n] for n in some], [SEEDS[n] for n in some], HOW)
    assert alone == [found[n] for n in some]


def test_a_completion_that_must_wait_for_room_goes_on_as_it_would_have(folder: Path, monkeypatch) -> None:
    """A cache of too few pages: completions are put off half way, and begin again with what they have."""
    from transformers import ContinuousBatchingConfig
    from transformers.generation.continuous_batching.offloading_manager import OffloadingManager

    model = load(folder)
    expected = plain(model, max_new_tokens=60)
    sampler = ContinuousBatchingSampler(model, pad_id=0)
    small = ContinuousBatchingConfig(page_size=16, num_blocks=12, max_batch_tokens=128, seed=0)
    monkeypatch.setattr(sampler, "_config", lambda *_: small)
    put_off, real = [], OffloadingManager.offload_requests
    monkeypatch.setattr(OffloadingManager, "offload_requests", lambda self: put_off.append(1) or real(self))
    found = sampler.sample(PROMPTS, SEEDS, how(max_new_tokens=60))
    assert put_off
    # What a completion has is read again in one pass: on some processors a logit then rounds the other way.
    assert sum(one == other for one, other in zip(found, expected, strict=True)) >= len(expected) - 1
    assert all(one.tokens[:30] == other.tokens[:30] for one, other in zip(found, expected, strict=True))


def test_memory_that_runs_out_halves_the_batch(folder: Path, monkeypatch) -> None:
    model = load(folder)
    sampler, tried = ContinuousBatchingSampler(model, pad_id=0, batch_size=8), []
    real = continuous_batching._collect

    def runs_out(manager, requests):
        tried.append(sampler.batch_size)
        if sampler.batch_size > 2:
            raise RuntimeError("CUDA out of memory. Tried to allocate 2 GiB")
        return real(manager, requests)

    monkeypatch.setattr(continuous_batching, "_collect", runs_out)
    assert sampler.sample(PROMPTS[:5], SEEDS[:5], HOW) == plain(model)[:5]
    assert tried == [8, 2]


def test_no_prompts_no_completions(folder: Path) -> None:
    assert ContinuousBatchingSampler(load(folder), pad_id=0).sample([], [], HOW) == []


def test_a_model_that_cannot_is_refused_when_the_sampler_is_made() -> None:
    from transformers import MambaConfig, MambaForCausalLM

    model = MambaForCausalLM(MambaConfig(vocab_size=64, hidden_size=16, num_hidden_layers=2, state_size=4))
    with pytest.raises(ModelError, match="E240.*continuous_batching") as caught:
        continuous(model)
    assert "the backend `generate`" in str(caught.value)


def test_a_version_that_would_ignore_the_draw_is_refused(folder: Path, monkeypatch) -> None:
    from transformers import LogitsProcessorList
    from transformers.generation.continuous_batching.cb_logits_processors import (
        ContinuousBatchingLogitsProcessorList,
    )

    monkeypatch.setattr(
        continuous_batching,
        "_processors",
        lambda _: ContinuousBatchingLogitsProcessorList(LogitsProcessorList()),
    )
    with pytest.raises(ModelError, match="E240.*does not use the draw"):
        continuous(load(folder))


# ---- in the trainer -----------------------------------------------------------------------------------------


def trained(folder: Path, output: Path, backend: str, lora: bool) -> PPOTrainer:
    args = PPOConfig(
        output_dir=str(output),
        batch_size=4,
        mini_batch_size=2,
        max_completion_length=8,
        learning_rate=1e-3,
        max_steps=4,
        generation_backend=backend,
        use_cpu=True,
        report_to="none",
        disable_tqdm=True,
        save_strategy="no",
    )
    torch.manual_seed(0)
    trainer = PPOTrainer(
        load(folder),
        args,
        lambda completions, **_: [len(set(text)) / 10 for text in completions],
        train_dataset=Dataset.from_dict({"prompt": ["two plus", "who are", "so", "a few words more"]}),
        processing_class=AutoTokenizer.from_pretrained(folder),
        peft_config=LoraConfig(r=4, target_modules="all-linear", task_type="CAUSAL_LM") if lora else None,
    )
    trainer.train()
    return trainer


@pytest.mark.parametrize("lora", [False, True])
def test_training_is_the_same_with_either_backend(folder: Path, tmp_path: Path, lora: bool) -> None:
    one = trained(folder, tmp_path / "one", "auto", lora)
    other = trained(folder, tmp_path / "other", "continuous_batching", lora)
    assert isinstance(one.sampler, GenerateSampler)
    assert isinstance(other.sampler, ContinuousBatchingSampler)
    weights = other.roles.state_dict()
    assert all(torch.equal(weight, weights[name]) for name, weight in one.roles.state_dict().items())
    lines = [(tmp_path / run / "completions.jsonl").read_text() for run in ("one", "other")]
    assert lines[0] == lines[1]


@pytest.mark.parametrize("backend", ["auto", "generate"])
def test_auto_is_generate(folder: Path, backend: str) -> None:
    found = open_sampler(load(folder), backend, pad_id=0, sharded=True)
    assert isinstance(found, GenerateSampler)


@pytest.mark.parametrize("backend", ["continuous_batching", "vllm"])
def test_sharded_weights_are_refused(folder: Path, backend: str) -> None:
    with pytest.raises(ModelError, match="E240.*spread over the processes"):
        open_sampler(load(folder), backend, pad_id=0, sharded=True)


# ---- vLLM ---------------------------------------------------------------------------------------------------


@pytest.mark.skipif(vllm_module.importlib.util.find_spec("vllm") is not None, reason="vLLM is installed")
def test_vllm_that_is_missing_is_said_before_a_model_is_loaded(tmp_path: Path) -> None:
    args = PPOConfig(output_dir=str(tmp_path), generation_backend="vllm", use_cpu=True)
    with pytest.raises(ModelError, match="E240.*not installed") as caught:
        PPOTrainer("no/such-model", args, lambda **_: [], train_dataset=Dataset.from_dict({"prompt": ["a"]}))
    assert "pip install llamatune[vllm]" in str(caught.value)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_vllm_needs_a_gpu(monkeypatch) -> None:
    monkeypatch.setattr(vllm_module.importlib.util, "find_spec", lambda _: object())
    with pytest.raises(ModelError, match="E240.*no GPU"):
        vllm_module.require_vllm()


@pytest.mark.parametrize("share", [0.0, 1.0, 30.0])
def test_the_share_of_memory_is_a_share(tmp_path: Path, share: float) -> None:
    with pytest.raises(LlamatuneError, match="E025.*vllm_gpu_memory"):
        PPOConfig(output_dir=str(tmp_path), use_cpu=True, vllm_gpu_memory_utilization=share)


class Engine:
    """Loads what vLLM is given, and does what it is asked, with transformers and peft."""

    def __init__(self, model: str, **settings) -> None:
        self.settings = settings
        self.model = AutoModelForCausalLM.from_pretrained(
            model, **({} if "quantization" in settings else {"dtype": torch.float32})
        )
        self.said: list[str] = []
        self.requests: list[SimpleNamespace] = []

    def apply_model(self, function) -> list[object]:
        own = dict(self.model.named_parameters())

        def load_weights(weights) -> None:
            for name, weight in weights:
                own[name].data.copy_(weight)

        self.said.append("weights")
        return [function(SimpleNamespace(load_weights=load_weights))]

    def reset_prefix_cache(self) -> None:
        self.said.append("reset")

    def sleep(self, level: int) -> None:
        self.said.append(f"sleep {level}")

    def wake_up(self) -> None:
        self.said.append("wake")

    def generate(self, prompts, sampling, lora_request, use_tqdm):
        model = self.model
        if lora_request is not None:
            self.requests.append(lora_request)
            model = PeftModel.from_pretrained(model, lora_request.path)
        first = sampling[0]
        asked = How(
            first["max_tokens"], frozenset(first["stop_token_ids"]), first["temperature"], first["top_p"]
        )
        ids, seeds = [prompt["prompt_token_ids"] for prompt in prompts], [one["seed"] for one in sampling]
        found = GenerateSampler(model, pad_id=0).sample(ids, seeds, asked)
        if lora_request is not None:
            self.model = model.unload()
        self.said.append("generate")
        return [SimpleNamespace(outputs=[SimpleNamespace(token_ids=tuple(one.tokens))]) for one in found]


@pytest.fixture
def vllm(monkeypatch) -> None:
    """Modules `vllm` and `vllm.lora.request` with the names that are used of them."""
    module, lora, request = ModuleType("vllm"), ModuleType("vllm.lora"), ModuleType("vllm.lora.request")
    module.LLM, module.SamplingParams = Engine, dict
    request.LoRARequest = lambda name, number, path: SimpleNamespace(name=name, id=number, path=path)
    for one in (module, lora, request):
        monkeypatch.setitem(sys.modules, one.__name__, one)
    monkeypatch.setattr(vllm_module, "require_vllm", lambda: None)
    monkeypatch.setenv("VLLM_ENABLE_V1_MULTIPROCESSING", "1")


def vllm_of(model, batch_size: int = 64, **changes) -> VllmSampler:
    return VllmSampler(model, batch_size=batch_size, engine=replace(Room(31, 24), **changes))


@pytest.mark.parametrize("quantised", [False, True])
def test_vllm_gets_the_base_once_and_the_adapter_each_time(wide_folder: Path, vllm, quantised: bool) -> None:
    policy = with_adapter(load(wide_folder, **({"quantization_config": NF4} if quantised else {})))
    policy.add_adapter("value", LoraConfig(r=2, target_modules="all-linear"))  # must not be handed over
    before = state_of(policy)
    sampler = vllm_of(policy)
    first = sampler.sample(PROMPTS, SEEDS, HOW)
    assert first == plain(policy)
    for name, weight in policy.named_parameters():
        if "lora_B.default" in name:
            weight.data.mul_(-1.5)
    moved = sampler.sample(PROMPTS, SEEDS, HOW)
    assert moved == plain(policy) != first
    requests = sampler.engine.requests
    assert [(one.name, one.id) for one in requests] == [("policy-1", 1), ("policy-2", 2)]
    files = sorted(path.name for path in Path(requests[1].path).iterdir() if path.suffix != ".md")
    assert files == ["adapter_config.json", "adapter_model.safetensors"]
    assert not Path(requests[0].path).exists()  # the last but one
    assert sorted(path.name for path in Path(sampler.folder.name).iterdir()) == ["adapter-2"]
    assert sampler.engine.settings.get("quantization") == ("bitsandbytes" if quantised else None)
    assert_kept({name: weight for name, weight in before.items() if "lora_B.default" not in name}, policy)


def test_a_base_that_differs_from_its_files_is_the_one_in_memory(folder: Path, vllm) -> None:
    """An adapter was merged before: the files under the model's name are of another model."""
    policy = with_adapter(with_adapter(load(folder)).merge_and_unload(), seed=8)
    assert vllm_of(policy).sample(PROMPTS, SEEDS, HOW) == plain(policy)


def test_weights_that_are_all_trained_are_copied_each_time(folder: Path, vllm) -> None:
    policy = load(folder)
    sampler = vllm_of(policy)
    assert sampler.sample(PROMPTS, SEEDS, HOW) == plain(policy)
    before = plain(policy)
    with torch.no_grad():
        for weight in policy.parameters():
            weight.add_(torch.randn_like(weight) * 0.1)
    assert sampler.sample(PROMPTS, SEEDS, HOW) == plain(policy) != before
    assert sampler.engine.said == ["weights", "reset", "generate"] * 2


def test_what_vllm_is_told(folder: Path, vllm) -> None:
    import os

    sampler = vllm_of(with_adapter(load(folder)), memory=0.4, batch_size=16, processes=2)
    assert sampler.engine.settings == {
        "skip_tokenizer_init": True,
        "generation_config": "vllm",
        "dtype": "bfloat16",
        "max_model_len": 31 + 24,
        "max_num_seqs": 16,
        "gpu_memory_utilization": 0.4,
        "enable_sleep_mode": False,
        "seed": 0,
        "distributed_executor_backend": "external_launcher",
        "enable_lora": True,
        "max_loras": 1,
        "max_cpu_loras": 1,
        "max_lora_rank": 8,
    }
    told = sampling(17, how(top_p=0.8))
    assert (told["seed"], told["top_p"], told["top_k"], told["n"]) == (17, 0.8, 0, 1)
    assert told["stop_token_ids"] == sorted(STOPS) and told["ignore_eos"]
    assert os.environ["VLLM_ENABLE_V1_MULTIPROCESSING"] == "0"


def test_sleep(folder: Path, vllm) -> None:
    sampler = vllm_of(load(folder), sleeps=True)
    sampler.sample(PROMPTS, SEEDS, HOW)
    assert sampler.engine.said == ["sleep 1", "wake", "weights", "reset", "generate", "sleep 1"]


@pytest.mark.parametrize("settings", [{"use_dora": True}, {"modules_to_save": ["lm_head"]}, {"r": 513}])
def test_adapters_that_vllm_would_not_hold_whole(folder: Path, vllm, settings) -> None:
    config = LoraConfig(**({"r": 4, "target_modules": ["q_proj"], "task_type": "CAUSAL_LM"} | settings))
    with pytest.raises(ModelError, match="E240.*cannot hold"):
        vllm_of(get_peft_model(load(folder), config))


def test_what_there_is_no_room_for(folder: Path, vllm) -> None:
    with pytest.raises(ModelError, match="E240.*room for prompts of 30 tokens, and one has 31"):
        vllm_of(load(folder), longest_prompt=30).sample(PROMPTS, SEEDS, HOW)
    with pytest.raises(ModelError, match="E240.*room for completions of 23 tokens, and one has 24"):
        vllm_of(load(folder), longest_completion=23).sample(PROMPTS, SEEDS, HOW)


# ---- several processes --------------------------------------------------------------------------------------


@pytest.mark.slow
def test_each_process_has_a_sampler_of_its_own(folder: Path, tmp_path: Path) -> None:
    command = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", __file__]
    arguments = [str(folder), str(tmp_path / "both")]
    subprocess.run([sys.executable, *command, *arguments], check=True, capture_output=True, timeout=120)
    trained(folder, tmp_path / "alone", "generate", lora=True)
    found, expected = ((tmp_path / run / "completions.jsonl").read_text() for run in ("both", "alone"))
    rows = [
        [(row["iteration"], row["prompt"], row["completion"]) for row in map(json.loads, text.splitlines())]
        for text in (found, expected)
    ]
    assert rows[0] == rows[1] and len(rows[0]) == 8


if __name__ == "__main__":
    trained(Path(sys.argv[1]), Path(sys.argv[2]), "continuous_batching", lora=True)
    torch.distributed.destroy_process_group()
