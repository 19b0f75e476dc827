"""Roles: what acts as what, which weights are trained, and the hazards of several adapters on one base."""

import copy
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel, get_peft_model
from safetensors.torch import load_file, save_file
from tiny_ppo import (
    EOS,
    VOCABULARY,
    Fixed,
    both,
    by_method,
    chats,
    config_of,
    logged,
    lora,
    plain_logprobs,
    policy_of,
    scorer_of,
    shaken,
    texts,
    tokenizer_of,
    trained,
    trainer_of,
    weights_of,
)
from transformers import (
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    BitsAndBytesConfig,
    MixtralConfig,
    MixtralForCausalLM,
)

from llamatune.data.encode.chat import ChatFormat
from llamatune.errors import ModelError
from llamatune.forward.rollouts import Rollout
from llamatune.models.adapters import add_adapter
from llamatune.models.found import find
from llamatune.models.saving import save_trained
from llamatune.ppo.roles.adapters import Adapters
from llamatune.ppo.roles.separate import Separate
from llamatune.ppo.roles.weights import adapter_weights
from llamatune.recipe.blocks import Chat, Lora
from llamatune.sampling.sampler import Sampled

FIXED = [[20, 21, 8, EOS], [7], [40, 30, 9, 33, 9, 10], [25, EOS]]


def trainable(trainer: Any) -> set[str]:
    return {name for name, weight in trainer.roles.named_parameters() if weight.requires_grad}


def base_weights(trainer: Any) -> dict[str, torch.Tensor]:
    """The base of all roles, quantised bytes included."""
    state = trainer.policy.get_base_model().state_dict()
    return {name: weight.clone() for name, weight in state.items() if "lora_" not in name}


def tiny_judge(base: Path, run: Path, seed: int) -> str:
    """A reward adapter on a base, saved as a run of llamatune saves one."""
    model = AutoModelForSequenceClassification.from_pretrained(base, num_labels=1)
    torch.manual_seed(seed)
    torch.nn.init.normal_(model.score.weight)
    model = shaken(add_adapter(model, Lora(rank=4), task="score"), seed)
    tokenizer = tokenizer_of()
    chat = ChatFormat(tokenizer, Chat())
    save_trained(model, tokenizer, find(str(base)).base, run, stage="reward", chat=chat)
    return str(run)


@pytest.fixture(scope="module")
def tiny_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny policy as a folder that can be named."""
    folder = tmp_path_factory.mktemp("base")
    policy_of().save_pretrained(folder)
    tokenizer_of().save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def judges(tiny_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Two reward adapters on its base, by role."""
    folder = tmp_path_factory.mktemp("judges")
    return {
        name: tiny_judge(tiny_folder, folder / name, seed)
        for seed, name in enumerate(("helpfulness", "safety"), 1)
    }


def five_roles(
    tiny_folder: Path, judges: dict[str, str], folder: Path, model: Any = None, **settings: Any
) -> Any:
    """Policy, critic, reference and two reward models on one base."""
    parts = settings.pop("parts", {})
    if model is None:
        model, parts = str(tiny_folder), parts | {"peft_config": lora()}
    trainer = trainer_of(folder, model=model, prompts=chats(16), reward_funcs=judges, parts=parts, **settings)
    assert [reward.role for reward in trainer.rewards] == ["reward_helpfulness", "reward_safety"]
    return trainer


def an_sft_adapter(tiny_folder: Path, seed: int = 5) -> PeftModel:
    """A policy that was itself trained as an adapter."""
    base = AutoModelForCausalLM.from_pretrained(tiny_folder)
    return shaken(get_peft_model(base, lora()), seed)


def test_a_reward_adapter_that_cannot_share_the_base_is_said(
    tiny_folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Its own base takes the memory that adapters were chosen to save."""
    other = policy_of(seed=9)
    other.save_pretrained(tmp_path / "other")
    tokenizer_of().save_pretrained(tmp_path / "other")
    judge = tiny_judge(tmp_path / "other", tmp_path / "judge", 1)
    with caplog.at_level("WARNING"):
        trainer = trainer_of(
            tmp_path, model=str(tiny_folder), reward_funcs={"taste": judge}, parts={"peft_config": lora()}
        )
    assert trainer.rewards[0].role is None and "its own model" in trainer.describe
    assert any(
        "`taste`" in record.message and "model of its own" in record.message for record in caplog.records
    )


@pytest.mark.parametrize(
    ("lost", "code", "said"),
    [
        (".score.", "E234", "has no trained head"),
        ("layers.0.self_attn.q_proj.lora_B", "E234", "lacks 1 of"),
        ("lora_", "E234", "lacks"),
    ],
)
def test_a_reward_adapter_that_lacks_weights_is_refused_on_the_shared_base(
    tiny_folder: Path, tmp_path: Path, lost: str, code: str, said: str
) -> None:
    """As wherever an adapter is loaded: what its file lacks would be random, or zero."""
    judge = tiny_judge(tiny_folder, tmp_path / "judge", 1)
    file = tmp_path / "judge" / "adapter" / "adapter_model.safetensors"
    kept = {name: weight for name, weight in load_file(file).items() if lost not in name}
    save_file(kept, file, metadata={"format": "pt"})
    with pytest.raises(ModelError, match=rf"{code}.*{said}"):
        trainer_of(
            tmp_path, model=str(tiny_folder), reward_funcs={"taste": judge}, parts={"peft_config": lora()}
        )


def test_a_reward_adapter_for_layers_that_the_shared_base_lacks_is_refused(
    tiny_folder: Path, tmp_path: Path
) -> None:
    judge = tiny_judge(tiny_folder, tmp_path / "judge", 1)
    settings = tmp_path / "judge/adapter/adapter_config.json"
    settings.write_text(json.dumps(json.loads(settings.read_text()) | {"target_modules": ["nowhere"]}))
    with pytest.raises(ModelError, match=r"E233.*nowhere.*not found"):
        trainer_of(
            tmp_path, model=str(tiny_folder), reward_funcs={"taste": judge}, parts={"peft_config": lora()}
        )


# ---- the reference ------------------------------------------------------------------------------------------


@pytest.mark.proves("A28", "H9")
def test_the_reference_is_the_policy_as_it_began(tiny_folder: Path, tmp_path: Path) -> None:
    """From a loaded adapter: its KL at the first step is 0, and not the distance from the base; and it stays."""
    an_sft_adapter(tiny_folder).save_pretrained(tmp_path / "sft")
    base = AutoModelForCausalLM.from_pretrained(tiny_folder)
    loaded = PeftModel.from_pretrained(base, tmp_path / "sft", is_trainable=True)
    started = copy.deepcopy(loaded)
    trainer = trainer_of(tmp_path, model=loaded, max_steps=4, learning_rate=1e-2)
    trainer.train()
    first, later = trainer.kept
    assert not first.kl.any() and later.kl.abs().max() > 1e-3
    for number, rollout in enumerate(later.rollouts):
        size = len(rollout.completion)
        expected = plain_logprobs(started, rollout.prompt, rollout.completion)
        assert later.ref_logprobs[number, :size].tolist() == pytest.approx(expected, abs=1e-5)
    with started.disable_adapter():
        rollout = first.rollouts[0]
        bare = plain_logprobs(started, rollout.prompt, rollout.completion)
    size = len(rollout.completion)
    assert (first.logprobs[0, :size] - torch.tensor(bare)).abs().max() > 0.01
    assert (
        adapter_weights(trainer.policy, "reference").keys()
        == adapter_weights(trainer.policy, "default").keys()
    )
    for name, weight in adapter_weights(trainer.policy, "reference").items():
        assert torch.equal(weight, adapter_weights(started, "default")[name])


@pytest.mark.proves("A28")
def test_the_reference_of_separate_roles_includes_the_adapter(tiny_folder: Path, tmp_path: Path) -> None:
    trainer = trained(
        tmp_path, model=an_sft_adapter(tiny_folder), roles="separate", max_steps=4, learning_rate=1e-2
    )
    assert isinstance(trainer.roles, Separate)
    assert not trainer.kept[0].kl.any() and trainer.kept[1].kl.abs().max() > 1e-3


@pytest.mark.proves("B29")
def test_the_reference_is_a_frozen_copy(tmp_path: Path) -> None:
    trainer = trainer_of(tmp_path, max_steps=4, learning_rate=1e-2)
    reference, policy, critic = trainer.roles.reference, trainer.policy, trainer.roles.critic
    assert len({id(model) for model in (reference, policy, critic)}) == 3
    storages = [
        {weight.untyped_storage().data_ptr() for weight in model.parameters()}
        for model in (reference, policy, critic)
    ]
    assert not storages[0] & storages[1] and not storages[1] & storages[2] and not storages[0] & storages[2]
    before = copy.deepcopy(reference.state_dict())
    trainer.train()
    assert all(torch.equal(weight, before[name]) for name, weight in reference.state_dict().items())
    assert not any(weight.requires_grad for weight in reference.parameters())
    grouped = {id(weight) for group in trainer.optimizer.param_groups for weight in group["params"]}
    assert not grouped & {id(weight) for weight in reference.parameters()}
    assert trainer.kept[1].kl.any()


@pytest.mark.proves("B29")
def test_a_reference_of_ones_own(tmp_path: Path, tiny_folder: Path) -> None:
    """A model, or the name of one."""
    other = shaken(policy_of(), 7, "lm_head", 0.3)
    trainer = trainer_of(tmp_path, parts={"ref_model": other})
    found = trainer.collect(0)
    rollout = found.rollouts[0]
    expected = plain_logprobs(other, rollout.prompt, rollout.completion)
    assert found.ref_logprobs[0, : len(expected)].tolist() == pytest.approx(expected, abs=1e-5)
    named = trainer_of(tmp_path, model=policy_of(1), parts={"ref_model": str(tiny_folder)})
    found = named.collect(0)
    rollout = found.rollouts[0]
    expected = plain_logprobs(policy_of(), rollout.prompt, rollout.completion)
    assert found.ref_logprobs[0, : len(expected)].tolist() == pytest.approx(expected, abs=1e-5)


@pytest.mark.proves("B30")
def test_the_reference_acts_with_the_policys_adapter_off(
    tiny_folder: Path, judges: dict[str, str], tmp_path: Path
) -> None:
    """What it generates is the base's; and rollouts are the policy's, also right behind it."""
    trainer = five_roles(tiny_folder, judges, tmp_path, max_completion_length=12)
    shaken(trainer.policy, 3, ".default", 0.5)
    shaken(trainer.policy, 4, ".value", 0.5)
    prompts, seeds = [[1, 9, 10], [1, 11]], [5, 6]

    def generated() -> list[Sampled]:
        return trainer.sampler.sample(prompts, seeds, trainer.how)

    alone = trainer_of(
        tmp_path, model=AutoModelForCausalLM.from_pretrained(tiny_folder), max_completion_length=12
    )
    with trainer.roles.acting("reference"):
        as_reference = generated()
    assert as_reference == alone.sampler.sample(prompts, seeds, alone.how)
    with trainer.roles.acting("policy"):
        as_policy = generated()
    assert as_policy != as_reference and as_policy == generated()
    with trainer.roles.acting("value"):
        assert generated() not in (as_policy, as_reference)


# ---- which weights are trained ------------------------------------------------------------------------------


@pytest.mark.proves("H1")
def test_rollouts_and_scores_change_nothing_of_what_is_trained(
    tiny_folder: Path, judges: dict[str, str], tmp_path: Path
) -> None:
    """Before and after every switch, and inside it: policy's and critic's adapters and the value head, no other."""
    trainer = five_roles(tiny_folder, judges, tmp_path, max_steps=4, eval_dataset=chats(4))
    expected = trainable(trainer)
    assert {name.split(".")[-2] for name in expected} == {"default", "value", "value_head"}
    for role in ("policy", "reference", "value", "reward_helpfulness", "reward_safety"):
        with trainer.roles.acting(role):
            assert trainable(trainer) == expected, role
        assert trainable(trainer) == expected, role
    found = trainer.collect(0)
    assert trainable(trainer) == expected
    trainer.passes.read(found.rollouts), trainer.score(trainer.prompts, found.rollouts), trainer.evaluate()
    assert trainable(trainer) == expected
    trainer.train()
    assert trainable(trainer) == expected
    with pytest.raises(RuntimeError, match="deliberate"), trainer.roles.acting("value"):
        raise RuntimeError("deliberate")
    active = {tuple(layer._active_adapter) for layer in trainer.roles._layers}
    assert trainable(trainer) == expected and active == {("default",)}


@pytest.mark.proves("H1")
def test_peft_itself_would_change_it(tiny_folder: Path, judges: dict[str, str], tmp_path: Path) -> None:
    """The hazard is real with the installed peft: its switches freeze one adapter and thaw another."""
    trainer = five_roles(tiny_folder, judges, tmp_path)
    before = trainable(trainer)
    trainer.policy.set_adapter("reward_safety")
    assert trainable(trainer) != before


@pytest.mark.proves("H2")
def test_a_frozen_adapter_that_was_active_stays_frozen(
    tiny_folder: Path, judges: dict[str, str], tmp_path: Path
) -> None:
    """The reference is a frozen adapter here; what acts inside what makes no difference."""
    trainer = five_roles(tiny_folder, judges, tmp_path, model=an_sft_adapter(tiny_folder), max_steps=2)
    assert trainer.roles.has_reference_adapter
    expected = trainable(trainer)
    assert not any(".reference" in name or ".reward" in name for name in expected)
    for outer in ("reward_safety", "reference", "value"):
        with trainer.roles.acting(outer), trainer.roles.acting("reference"):
            assert trainable(trainer) == expected
    assert trainable(trainer) == expected
    frozen = {
        name: weight.clone()
        for name, weight in trainer.roles.named_parameters()
        if ".reference" in name or ".reward" in name
    }
    assert len(frozen) > 20
    trainer.train()
    now = dict(trainer.roles.named_parameters())
    assert all(torch.equal(weight, now[name]) for name, weight in frozen.items())


def gradients(trainer: Any) -> dict[str, torch.Tensor]:
    """Of one mini-batch, as the optimizer sees them."""
    trainer.optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))])
    trainer.training_step(trainer.model, None)
    return {
        name: weight.grad.clone()
        for name, weight in trainer.roles.named_parameters()
        if weight.requires_grad and weight.grad is not None
    }


@pytest.mark.proves("H3")
@pytest.mark.parametrize("reentrant", [False, True])
def test_checkpointed_layers_run_again_with_their_own_adapter(
    tiny_folder: Path, judges: dict[str, str], tmp_path: Path, reentrant: bool
) -> None:
    """Gradients with checkpointing are those without: a wrong adapter in the backward pass gave a cosine of -0.09.

    In the step that scores with reward models on the same base, too, which must not leave checkpointing off.
    """
    found = []
    for on in (False, True):
        trainer = five_roles(tiny_folder, judges, tmp_path, mini_batch_size=8)
        shaken(trainer.policy, 3, ".default", 0.3)
        shaken(trainer.policy, 4, ".value", 0.3)
        shaken(trainer.roles.value_head, 5, "weight", 0.3)
        if on:
            trainer.roles.activation_checkpointing_enable({"use_reentrant": reentrant})
        layer = trainer.policy.get_submodule("base_model.model.model.layers.0")
        runs: list[bool] = []
        layer.input_layernorm.register_forward_pre_hook(
            lambda *_, runs=runs: runs.append(torch.is_grad_enabled())
        )
        found.append(gradients(trainer))
        # Policy and critic, and each again; the reentrant kind runs without gradients first.
        assert layer.training and sum(runs) == (4 if on and not reentrant else 2)
    assert found[0].keys() == found[1].keys() and len(found[0]) == len(trainable(trainer))
    for name, plain in found[0].items():
        other = found[1][name]
        cosine = torch.nn.functional.cosine_similarity(plain.flatten(), other.flatten(), dim=0)
        assert float(cosine) > 0.9999, name
        assert float(plain.norm()) == pytest.approx(float(other.norm()), rel=1e-4) and plain.any()


@pytest.mark.proves("H3")
def test_the_hazard_is_real(tiny_folder: Path, judges: dict[str, str], tmp_path: Path) -> None:
    """Backward outside of the block in which forward was: checkpointed layers see the other adapter."""
    trainer = five_roles(tiny_folder, judges, tmp_path)
    shaken(trainer.policy, 3, ".default", 0.3)
    shaken(trainer.policy, 4, ".value", 0.3)
    trainer.roles.train()
    found = []
    for on in (False, True):
        if on:
            trainer.roles.activation_checkpointing_enable()
        trainer.roles.zero_grad()
        with trainer.roles.acting("value"):
            hidden = trainer.policy.get_base_model().model(
                input_ids=torch.tensor([[1, 9, 10, 11]]), use_cache=False
            )
        hidden.last_hidden_state.square().sum().backward()
        found.append(
            {
                name: weight.grad.flatten().clone()
                for name, weight in trainer.policy.named_parameters()
                if ".value" in name and weight.grad is not None
            }
        )
    plain, disturbed = found
    assert plain
    assert plain.keys() != disturbed.keys() or any(
        torch.nn.functional.cosine_similarity(plain[name], disturbed[name], dim=0) < 0.99 for name in plain
    )


@pytest.mark.proves("H4")
@pytest.mark.parametrize("base", ["float32", "nf4"])
def test_the_bytes_of_the_base_never_change(
    base: str, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Over training, evaluation, saving and scoring by all five roles; also of a base in 4 bits."""
    folder = tmp_path_factory.mktemp("wide")  # blocks of 64 weights
    policy_of(hidden_size=64, intermediate_size=64).save_pretrained(folder)
    tokenizer_of().save_pretrained(folder)
    judged = {
        name: tiny_judge(folder, tmp_path / name, n) for n, name in enumerate(("helpfulness", "safety"))
    }
    parts: dict[str, Any] = {"peft_config": lora()}
    if base == "nf4":
        parts["quantization_config"] = BitsAndBytesConfig(
            load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=torch.float32
        )
    trainer = trainer_of(
        tmp_path / "out",
        model=str(folder),
        prompts=chats(16),
        eval_dataset=chats(4),
        reward_funcs=judged,
        parts=parts,
        max_steps=4,
        learning_rate=1e-2,
        save_strategy="steps",
        save_steps=2,
        eval_strategy="steps",
        eval_steps=2,
    )
    before = base_weights(trainer)
    if base == "nf4":
        assert trainer.policy.is_quantized
        assert any(weight.dtype == torch.uint8 for weight in before.values())
    trainer.train()
    after = base_weights(trainer)
    assert before.keys() == after.keys()
    assert all(torch.equal(weight, after[name]) for name, weight in before.items())
    assert trainer.kept[1].kl.abs().max() > 1e-3, "the policy did move"
    assert not (trainer.kept[0].kl.abs() > 0).any()
    assert not any(layer.merged for layer in trainer.roles._layers)


@pytest.mark.proves("H8")
def test_experts_in_one_tensor_can_have_adapters(tmp_path: Path) -> None:
    """peft's `target_parameters`: several adapters on the weights of a mixture of experts."""
    torch.manual_seed(0)
    config = MixtralConfig(
        **{
            **{
                key: value
                for key, value in config_of().to_dict().items()
                if key.endswith(("size", "layers", "heads"))
            },
            "max_position_embeddings": 128,
            "num_local_experts": 2,
            "num_experts_per_tok": 1,
            "initializer_range": 0.3,
            "bos_token_id": 1,
            "eos_token_id": EOS,
            "pad_token_id": 0,
        }
    )
    model = MixtralForCausalLM(config)
    names = [name for name, _ in model.named_parameters() if name.endswith(("gate_up_proj", "down_proj"))]
    assert names, "experts are tensors"
    adapter = lora(
        target_modules=["q_proj"], target_parameters=["gate_up_proj", "down_proj"], lora_dropout=0.0
    )
    trainer = trainer_of(
        tmp_path, model=model, parts={"peft_config": adapter}, max_steps=4, learning_rate=1e-2
    )
    before = weights_of(trainer)
    trainer.train()
    moved = {name for name, weight in weights_of(trainer).items() if not torch.equal(weight, before[name])}
    assert any("experts" in name and ".default" in name for name in moved)
    assert any("experts" in name and ".value" in name for name in moved)
    assert all("lora_" in name or "value_head" in name for name in moved)
    assert not trainer.kept[0].kl.any() and trainer.kept[1].kl.any()


# ---- the critic ---------------------------------------------------------------------------------------------


@pytest.mark.proves("B42")
@both
def test_the_critics_head_is_trained(tmp_path: Path, method: str) -> None:
    trainer = trainer_of(tmp_path, max_steps=1, **by_method(method))
    head = trainer.roles.critic.score if method == "separate" else trainer.roles.value_head
    assert head.weight.requires_grad and head.weight.dtype == torch.float32
    before = head.weight.detach().clone()
    trainer.train()
    assert not torch.equal(before, head.weight)


@pytest.mark.proves("B42")
def test_a_critic_whose_adapter_left_out_its_head_trains_it_anyway(tmp_path: Path) -> None:
    """peft freezes a head that the adapter's task does not name."""
    critic = get_peft_model(scorer_of(), lora(task_type=None, target_modules=["q_proj"]))
    assert not critic.get_base_model().score.weight.requires_grad
    trainer = trainer_of(tmp_path, max_steps=1, parts={"value_model": critic})
    before = critic.get_base_model().score.weight.detach().clone()
    trainer.train()
    assert not torch.equal(before, critic.get_base_model().score.weight)


@pytest.mark.proves("B41")
def test_heads_are_layers_of_their_own(tiny_folder: Path, judges: dict[str, str], tmp_path: Path) -> None:
    """No head's weights are ever swapped for another's: same tensors, same numbers, through training and evaluation."""
    trainer = five_roles(tiny_folder, judges, tmp_path, max_steps=2, eval_dataset=chats(4))
    heads = trainer.roles.reward_heads
    assert set(heads) == {"reward_helpfulness", "reward_safety"}
    tensors = [*heads.values(), trainer.roles.value_head.weight]
    assert len({tensor.data_ptr() for tensor in tensors}) == 3
    assert not torch.equal(*heads.values())
    before = {name: (head.data_ptr(), head.clone()) for name, head in heads.items()}
    value_at = trainer.roles.value_head.weight.data_ptr()
    trainer.train()
    trainer.evaluate()
    for name, head in trainer.roles.reward_heads.items():
        assert head.data_ptr() == before[name][0] and torch.equal(head, before[name][1])
        assert not head.requires_grad
    assert trainer.roles.value_head.weight.data_ptr() == value_at
    scores = trainer.kept[0].scores
    assert (scores["helpfulness"] - scores["safety"]).abs().max() > 0.1


def test_five_roles_hold_the_base_once(tiny_folder: Path, judges: dict[str, str], tmp_path: Path) -> None:
    trainer = five_roles(tiny_folder, judges, tmp_path, model=an_sft_adapter(tiny_folder))
    assert isinstance(trainer.roles, Adapters)
    held = {w.data_ptr(): w.numel() for w in trainer.roles.parameters()}
    for reward in trainer.rewards:
        held |= {w.data_ptr(): w.numel() for w in reward.model.parameters()}
    base = sum(weight.numel() for weight in policy_of().parameters())
    one = sum(weight.numel() for weight in adapter_weights(trainer.policy, "default").values())
    assert sum(held.values()) == base + 5 * one + 3 * 16


@pytest.mark.proves("A22")
def test_a_critic_on_the_base_that_begins_as_the_reward_model(
    tiny_folder: Path, judges: dict[str, str], tmp_path: Path
) -> None:
    trainer = five_roles(tiny_folder, judges, tmp_path, critic_init="reward", parts={"sampler": Fixed(FIXED)})
    found = trainer.collect(0)
    ended = [
        Rollout(rollout.row, rollout.prompt, [*rollout.completion[:2], 4], True) for rollout in found.rollouts
    ]
    ended = [rollout for rollout in ended if EOS not in rollout.completion]
    scores = trainer.score(trainer.prompts, ended)[0]["helpfulness"]
    assert trainer.passes.read(ended)["next_values"].tolist() == pytest.approx(scores.tolist(), abs=1e-5)
    assert scores.std() > 0.01
    assert trainable(trainer) == {
        name
        for name, _ in trainer.roles.named_parameters()
        if ".default" in name or trainer.roles.is_critic(name)
    }


def test_two_ways_to_hold_the_roles_agree(tiny_folder: Path, tmp_path: Path) -> None:
    """The same adapter with models of their own, and with adapters on one base: the policies' first steps are the same
    (the critics differ: one trains all its weights)."""
    found = []
    for way in ("separate", "adapters"):
        model = an_sft_adapter(tiny_folder)
        trainer = trained(
            tmp_path,
            model=model,
            roles=way,
            max_steps=1,
            optim="sgd",
            learning_rate=0.1,
            max_grad_norm=0.0,
            prompts=texts(8),
        )
        found.append(adapter_weights(trainer.policy, "default"))
        assert logged(trainer, "ratio") == [pytest.approx(1.0, abs=1e-6)]
    assert max(float((found[0][name] - found[1][name]).abs().max()) for name in found[0]) < 1e-6
    assert policy_of().config.vocab_size == VOCABULARY
