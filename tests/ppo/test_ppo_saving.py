"""What PPOTrainer leaves behind: a policy that anybody loads, a critic for resuming; evaluation on held-out prompts."""

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file
from tiny_ppo import (
    both,
    by_method,
    logged,
    policy_of,
    shaken,
    texts,
    trained,
    trainer_of,
    weights_of,
)
from transformers import AutoModelForCausalLM, AutoTokenizer, EarlyStoppingCallback

from llamatune.errors import DivergedError

SAVING = {"save_strategy": "steps", "save_steps": 2, "max_steps": 4, "learning_rate": 1e-2}
IDS = torch.tensor([[1, 9, 10, 20, 21, 22]])


@pytest.fixture(scope="module")
def tiny_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("base")
    policy_of().save_pretrained(folder)
    return folder


# ---- the policy ---------------------------------------------------------------------------------------------


@pytest.mark.proves("B22", "B23")
@pytest.mark.parametrize("tied", [False, True])
def test_a_saved_policy_is_a_plain_model(tmp_path: Path, tied: bool) -> None:
    """In the end and in every checkpoint: the base's names, all of them and no other; and it says the same."""
    base = policy_of(tie_word_embeddings=tied)
    base.save_pretrained(tmp_path / "base")
    expected = set(load_file(tmp_path / "base/model.safetensors"))
    trainer = trained(tmp_path / "out", model=base, **SAVING)
    trainer.save_model(str(tmp_path / "saved"))
    trainer.save_model()
    for folder in (tmp_path / "saved", tmp_path / "out", tmp_path / "out/checkpoint-4"):
        assert set(load_file(folder / "model.safetensors")) == expected
        model, info = AutoModelForCausalLM.from_pretrained(folder, output_loading_info=True)
        assert not (info["missing_keys"] or info["unexpected_keys"] or info["mismatched_keys"])
        with torch.no_grad():
            difference = (
                (model(input_ids=IDS).logits - trainer.policy.eval()(input_ids=IDS).logits).abs().max()
            )
        assert float(difference) < 1e-5
        assert AutoTokenizer.from_pretrained(folder).encode("cup hat") == [1, 7, 8]
        config = json.loads((folder / "config.json").read_text())
        assert config["architectures"] == ["LlamaForCausalLM"] and "num_labels" not in config
        assert "llamatune" not in json.dumps(config), "the attention's private name is not for others"
    files = {path.name for path in (tmp_path / "saved").rglob("*")}
    assert not any("critic" in name or "ppo" in name or "value" in name for name in files)


@pytest.mark.proves("B22", "B23")
def test_a_saved_adapter_is_a_plain_adapter(tmp_path: Path, tiny_folder: Path) -> None:
    """Only the policy's, under peft's own names; the critic's and the reference's are not in it."""
    from peft import get_peft_model
    from tiny_ppo import lora

    base = AutoModelForCausalLM.from_pretrained(tiny_folder)
    plain = get_peft_model(AutoModelForCausalLM.from_pretrained(tiny_folder), lora())
    plain.save_pretrained(tmp_path / "plain")
    expected = set(load_file(tmp_path / "plain/adapter_model.safetensors"))
    trainer = trained(tmp_path / "out", model=base, parts={"peft_config": lora()}, **SAVING)
    trainer.save_model(str(tmp_path / "saved"))
    for folder in (tmp_path / "saved", tmp_path / "out/checkpoint-4"):
        found = load_file(folder / "adapter_model.safetensors")
        assert set(found) == expected
        assert not any("value" in name.replace("v_proj", "") or "reference" in name for name in found)
        loaded = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(tiny_folder), folder)
        with torch.no_grad():
            trainer.roles.eval()
            difference = (loaded(input_ids=IDS).logits - trainer.policy(input_ids=IDS).logits).abs().max()
            bare = AutoModelForCausalLM.from_pretrained(tiny_folder)(input_ids=IDS).logits
        assert float(difference) < 1e-5
        assert float((loaded(input_ids=IDS).logits - bare).abs().max()) > 1e-3
        settings = json.loads((folder / "adapter_config.json").read_text())
        assert settings["base_model_name_or_path"] == str(tiny_folder)
        assert settings["task_type"] == "CAUSAL_LM"
    assert {path.name for path in (tmp_path / "saved").iterdir() if path.is_dir()} == set()


# ---- the critic ---------------------------------------------------------------------------------------------


@pytest.mark.proves("B24")
@both
def test_the_critic_and_its_head_come_back(tmp_path: Path, method: str) -> None:
    """Weight by weight from the checkpoint, adapter and head; a critic that begins anew would say 0."""
    first = trained(tmp_path, **SAVING, **by_method(method))
    file = tmp_path / "checkpoint-4/critic/model.safetensors"
    kept = load_file(file)
    assert any("score.weight" in name or "value_head.weight" in name for name in kept)
    assert all(weight.any() for name, weight in kept.items() if "lora_B" in name or "head" in name)
    again = trainer_of(tmp_path, **(SAVING | {"max_steps": 4}), **by_method(method))
    assert not all(torch.equal(one, kept[name]) for name, one in again.roles.critic_state().items())
    again.train(resume_from_checkpoint=True)
    assert again.state.global_step == 4
    for name, weight in first.roles.critic_state().items():
        assert torch.equal(weight, again.roles.critic_state()[name]), name
    one, other = weights_of(first), weights_of(again)
    assert one.keys() == other.keys() and all(
        torch.equal(weight, other[name]) for name, weight in one.items()
    )


# ---- evaluation ---------------------------------------------------------------------------------------------


@pytest.mark.proves("B26")
@both
def test_evaluation_at_its_steps(tmp_path: Path, method: str) -> None:
    """On held-out prompts only, with the same random numbers each time; training does not notice it."""
    held_out = texts(20).select(range(16, 20))
    seen: list[list[int]] = []

    def reward(number: list[int], completion_ids: list[list[int]], **others: Any) -> list[float]:
        seen.append(number)
        return [sum(ids) / len(ids) / 20 - 1 for ids in completion_ids]

    with_it = trained(
        tmp_path,
        max_steps=6,
        eval_dataset=held_out,
        eval_strategy="steps",
        eval_steps=2,
        reward_funcs=reward,
        **by_method(method),
    )
    evaluations = [line for line in with_it.state.log_history if "eval_reward" in line]
    assert [line["step"] for line in evaluations] == [2, 4, 6]
    assert {"eval_reward", "eval_kl", "eval_length", "eval_ended_share", "eval_reward/reward"} <= set(
        evaluations[0]
    )
    assert sum(sorted(numbers) == [16, 17, 18, 19] for numbers in seen) == 3
    assert not any(n >= 16 for numbers in seen if len(numbers) == 8 for n in numbers)
    assert all(math.isfinite(value) for line in evaluations for value in line.values())
    first, second = with_it.evaluate(), with_it.evaluate()
    assert first == second == {name: evaluations[-1][name] for name in first}
    assert evaluations[0]["eval_kl"] != evaluations[-1]["eval_kl"]
    without = trained(tmp_path, max_steps=6, reward_funcs=reward, **by_method(method))
    one, other = weights_of(with_it), weights_of(without)
    assert all(torch.equal(weight, other[name]) for name, weight in one.items())
    assert without.evaluate() == {}


@pytest.mark.proves("B26")
def test_evaluation_of_another_dataset(tmp_path: Path) -> None:
    trainer = trainer_of(tmp_path)
    found = trainer.evaluate(texts(4), metric_key_prefix="test")
    assert {"test_reward", "test_kl"} <= set(found) and found["test_kl"] == 0.0


@pytest.mark.proves("B26")
def test_early_stopping_on_the_held_out_reward(tmp_path: Path) -> None:
    """transformers' own callback: the run ends when the reward no longer rises, with the best policy and critic."""
    calls = []

    def reward(number: list[int], **others: Any) -> list[float]:
        if number[0] < 16:
            return [0.0] * len(number)
        calls.append(1)
        return [{1: 1.0, 2: 5.0}.get(len(calls), 2.0 - len(calls))] * len(number)

    trainer = trainer_of(
        tmp_path,
        max_steps=20,
        eval_dataset=texts(18).select(range(16, 18)),
        eval_strategy="steps",
        eval_steps=2,
        save_strategy="steps",
        save_steps=2,
        load_best_model_at_end=True,
        metric_for_best_model="eval_reward",
        greater_is_better=True,
        reward_funcs=reward,
        learning_rate=1e-2,
        parts={"callbacks": [EarlyStoppingCallback(early_stopping_patience=2)]},
    )
    trainer.train()
    assert trainer.state.global_step == 8  # best at 4, worse at 6 and 8
    assert Path(trainer.state.best_model_checkpoint).name == "checkpoint-4"
    best = load_file(tmp_path / "checkpoint-4/model.safetensors")
    critic = load_file(tmp_path / "checkpoint-4/critic/model.safetensors")
    assert all(torch.equal(weight, trainer.policy.state_dict()[name]) for name, weight in best.items())
    assert all(torch.equal(weight, critic[name]) for name, weight in trainer.roles.critic_state().items())
    last = load_file(tmp_path / "checkpoint-8/model.safetensors")
    assert not all(torch.equal(weight, last[name]) for name, weight in best.items())


# ---- what a reader sees, and what stops a run ---------------------------------------------------------------


def test_every_completion_is_in_the_table(tmp_path: Path) -> None:
    trainer = trained(tmp_path, max_steps=4, log_completions=True)
    lines = [json.loads(line) for line in (tmp_path / "completions.jsonl").read_text().splitlines()]
    assert [line["iteration"] for line in lines] == [0] * 8 + [1] * 8
    for line, rollout in zip(lines, [r for kept in trainer.kept for r in kept.rollouts], strict=True):
        assert line["prompt"] == texts()[rollout.row]["prompt"]
        assert line["completion"] == trainer.completion(rollout).text
        assert (line["tokens"], line["ended"]) == (len(rollout.completion), rollout.ended)
        assert line["reward"] == pytest.approx(line["word_ids"], abs=1e-4)


def stopping(name: str, limit: float) -> dict[str, Any]:
    return {"guards": {name: {"limit": limit, "action": "stop"}}}


@pytest.mark.parametrize(
    "settings, said",
    [
        (stopping("kl", 1e-9), "the KL of a completion is"),
        (stopping("entropy", 100.0), "the entropy of a token is"),
        (stopping("truncated", -1.0), "of the completions were cut off"),
        (stopping("zero_gradients", 1e9), "gradient norm is"),
    ],
)
def test_a_guard_stops_the_run_and_shows_a_completion(
    tmp_path: Path, settings: dict[str, Any], said: str
) -> None:
    from tiny_ppo import SETTINGS

    others = {name: guard for name, guard in SETTINGS["guards"].items() if name not in settings["guards"]}
    settings = {"guards": others | settings["guards"]}
    trainer = trainer_of(tmp_path, max_steps=8, learning_rate=1e-2, **settings)
    with pytest.raises(DivergedError) as caught:
        trainer.train()
    (problem,) = caught.value.problems
    assert problem.code == "E604" and said in problem.what and "for example" in problem.what
    assert problem.place and problem.place.startswith("guards.") and "completions.jsonl" in str(problem.hint)


def test_a_reward_that_collapses_is_noticed(tmp_path: Path) -> None:
    calls: list[int] = []

    def reward(number: list[int], **others: Any) -> list[float]:
        calls.append(1)
        return [float(n % 2) - (100 if len(calls) > 6 else 0) for n in number]

    from tiny_ppo import SETTINGS

    guards = SETTINGS["guards"] | {"reward_drop": {"action": "stop"}}
    trainer = trainer_of(tmp_path, max_steps=20, mini_batch_size=8, reward_funcs=reward, guards=guards)
    with pytest.raises(DivergedError, match="the mean reward fell from"):
        trainer.train()
    assert trainer.state.global_step == 6


def test_a_guard_that_warns_lets_the_run_go_on(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    guards = {"entropy": {"limit": 100.0, "action": "warn"}, "zero_gradients": {"action": "ignore"}}
    with caplog.at_level("WARNING"):
        trainer = trained(tmp_path, max_steps=4, guards=guards)
    assert trainer.state.global_step == 4
    assert sum("the entropy of a token is" in record.message for record in caplog.records) == 2


@both
def test_a_loss_that_is_not_finite_is_never_stepped_on(tmp_path: Path, method: str) -> None:
    trainer = trainer_of(tmp_path, max_steps=4, mini_batch_size=8, **by_method(method))
    shaken(trainer.roles, 3, "value_head" if method == "adapters" else "score")
    before = weights_of(trainer)
    collect = trainer.collect

    def spoilt(iteration: int) -> Any:
        found = collect(iteration)
        found.returns[0, 0] = math.inf
        return found

    trainer.collect = spoilt
    with pytest.raises(DivergedError) as caught:
        trainer.train()
    assert caught.value.problems[0].code == "E602" and "step 1" in str(caught.value)
    now = weights_of(trainer)
    assert all(torch.equal(weight, now[name]) for name, weight in before.items())


def test_a_method_of_saving_leaves_the_run_as_it_was(tmp_path: Path) -> None:
    """Checkpoints change no number of the run."""
    saved = trained(tmp_path / "saved", **SAVING)
    plain = trained(tmp_path / "plain", max_steps=4, learning_rate=1e-2)
    assert logged(saved, "loss") == logged(plain, "loss")
    one, other = weights_of(saved), weights_of(plain)
    assert all(torch.equal(weight, other[name]) for name, weight in one.items())
