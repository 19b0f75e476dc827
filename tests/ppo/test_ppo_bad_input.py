"""What does not go together is said before anything is spent: with a code, a place, and what to do."""

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from datasets import Dataset
from peft import get_peft_model
from tiny_ppo import (
    EOS,
    chats,
    lora,
    policy_of,
    scorer_of,
    texts,
    tokenizer_of,
    trained,
    trainer_of,
    word_ids,
)
from transformers import BitsAndBytesConfig

from llamatune.errors import CheckpointError, DataError, LlamatuneError, ModelError, RecipeError
from llamatune.ppo.config import PPOConfig
from llamatune.ppo.trainer import PPOTrainer


def refusal(kind: type[LlamatuneError], code: str, make: Any) -> Any:
    """The problem that `make` runs into."""
    with pytest.raises(kind) as caught:
        make()
    (problem,) = caught.value.problems
    assert problem.code == code
    return problem


# ---- settings -----------------------------------------------------------------------------------------------

SETTINGS = [
    ({"gradient_accumulation_steps": 4}, "gradient_accumulation_steps", "follows from mini_batch_size"),
    ({"mini_batch_size": 4, "num_mini_batches": 2}, "num_mini_batches", "say the same"),
    ({"batch_size": 8, "num_mini_batches": 3}, "num_mini_batches", "does not divide"),
    ({"batch_size": 8, "mini_batch_size": 3}, "mini_batch_size", "does not divide"),
    ({"batch_size": 100}, "mini_batch_size", "does not divide"),
    ({"batch_size": 8, "mini_batch_size": 0}, "mini_batch_size", "does not divide"),
    ({"max_steps": 4, "total_episodes": 100}, "total_episodes", "say the same"),
    ({"temperature": 0.0}, "temperature", "must be above 0"),
    ({"max_completion_length": 0}, "max_completion_length", "must be above 0"),
    ({"num_ppo_epochs": 0}, "num_ppo_epochs", "must be above 0"),
    ({"cliprange": 0.0}, "cliprange", "must be above 0"),
    ({"generation_batch_size": 0}, "generation_batch_size", "must be above 0"),
    ({"gamma": 1.1}, "gamma", "between 0 and 1"),
    ({"lam": -0.1}, "lam", "between 0 and 1"),
    ({"safety_threshold": 1.0}, "safety_threshold", "a probability"),
    ({"kl_controller": "adaptive"}, "kl_target", "give it"),
    ({"kl_target": 3.0}, "kl_target", "adaptive"),
    ({"guards": {"nonsense": {}}}, "guards", "there is no guard `nonsense`"),
    ({"guards": {"kl": {"action": "shout"}}}, "guards", "guard `kl` is"),
    ({"guards": {"kl": {"treshold": 3}}}, "guards", "guard `kl` is"),
]


@pytest.mark.parametrize("settings, name, said", SETTINGS, ids=lambda value: str(value)[:40])
def test_e025_settings_that_do_not_go_together(
    tmp_path: Path, settings: dict[str, Any], name: str, said: str
) -> None:
    problem = refusal(
        RecipeError, "E025", lambda: PPOConfig(output_dir=str(tmp_path), report_to=[], **settings)
    )
    assert problem.place == f"PPOConfig.{name}" and said in problem.what


@pytest.mark.proves("A6")
@pytest.mark.parametrize("name", ["top_p", "top_k", "min_p", "repetition_penalty", "generation_kwargs"])
def test_there_is_no_setting_that_truncates_sampling(tmp_path: Path, name: str) -> None:
    with pytest.raises(TypeError, match=name):
        PPOConfig(output_dir=str(tmp_path), **{name: 0.9})


# ---- tokens -------------------------------------------------------------------------------------------------


@pytest.mark.proves("A8")
@pytest.mark.parametrize("pad", ["</s>", None])
def test_a_tokenizer_that_pads_with_its_end_token_is_refused(tmp_path: Path, pad: str | None) -> None:
    tokenizer = tokenizer_of()
    tokenizer.pad_token = pad
    problem = refusal(ModelError, "E209", lambda: trainer_of(tmp_path, tokenizer=tokenizer))
    assert problem.place == "processing_class" and "pad_token" in problem.hint and "stop" in problem.why


@pytest.mark.proves("A8")
def test_padding_that_ends_a_turn_is_refused(tmp_path: Path) -> None:
    """Not only the tokenizer's own end token counts."""
    tokenizer = tokenizer_of()
    tokenizer.pad_token = "<eot>"
    problem = refusal(ModelError, "E209", lambda: trainer_of(tmp_path, tokenizer=tokenizer, prompts=chats()))
    assert problem.place == "processing_class" and "'<eot>'" in problem.what


def test_e221_a_context_that_is_too_short(tmp_path: Path) -> None:
    problem = refusal(ModelError, "E221", lambda: trainer_of(tmp_path, max_completion_length=126))
    assert problem.place == "PPOConfig.max_completion_length" and "128" in problem.what and problem.hint


def test_e221_also_of_held_out_prompts(tmp_path: Path) -> None:
    """They are sampled from late in a run: what cannot be is said at its beginning."""
    long = Dataset.from_dict({"prompt": ["cup " * 125]})
    problem = refusal(ModelError, "E221", lambda: trainer_of(tmp_path, eval_dataset=long))
    assert "126" in problem.what


# ---- prompts ------------------------------------------------------------------------------------------------

USER = {"role": "user", "content": "cup"}
REPLY = {"role": "assistant", "content": "hat"}


def test_e145_no_column_of_prompts(tmp_path: Path) -> None:
    rows = Dataset.from_dict({"question": ["cup"]})
    problem = refusal(DataError, "E145", lambda: trainer_of(tmp_path, prompts=rows))
    assert "question" in problem.what and "rename" in problem.hint


def test_e145_a_prompt_without_a_token(tmp_path: Path) -> None:
    rows = Dataset.from_dict({"prompt": ["cup", ""], "place": ["one", "two"]})
    tokenizer = tokenizer_of()
    tokenizer._tokenizer.post_processor = None  # else there is <s>
    problem = refusal(DataError, "E145", lambda: trainer_of(tmp_path, prompts=rows, tokenizer=tokenizer))
    assert problem.place == "two" and "empty" in problem.what


@pytest.mark.parametrize(
    "column",
    [
        {"prompt": ["cup", None]},
        {"prompt": [None, None]},
        {"prompt": [1, 2]},
        {"prompt": [[USER], None]},
        {"prompt": [["cup"], ["hat"]]},
        {"prompt": [[USER], [{"role": "user", "content": None}]]},
        {"prompt": [[{"from": "human", "value": "cup"}]]},
        {"input_ids": [[5], None]},
    ],
    ids=str,
)
def test_e145_a_prompt_that_is_neither_text_nor_messages(tmp_path: Path, column: dict[str, Any]) -> None:
    rows = Dataset.from_dict(column)
    problem = refusal(DataError, "E145", lambda: trainer_of(tmp_path, prompts=rows))
    assert "neither text nor a list of messages" in problem.what and "leave such rows out" in problem.hint


@pytest.mark.parametrize("last", [REPLY, {"role": "system", "content": "be"}])
def test_e145_a_prompt_that_does_not_end_with_the_user(tmp_path: Path, last: dict[str, str]) -> None:
    rows = Dataset.from_dict({"prompt": [[USER], [USER, last]]})
    problem = refusal(DataError, "E145", lambda: trainer_of(tmp_path, prompts=rows))
    assert "user" in problem.what and "leave out" in problem.hint


def test_e145_conversations_without_a_template(tmp_path: Path) -> None:
    tokenizer = tokenizer_of()
    tokenizer.chat_template = None
    problem = refusal(DataError, "E145", lambda: trainer_of(tmp_path, prompts=chats(), tokenizer=tokenizer))
    assert "chat_template" in problem.hint


def test_e130_a_prompt_that_is_too_long(tmp_path: Path) -> None:
    problem = refusal(DataError, "E130", lambda: trainer_of(tmp_path, max_prompt_length=3))
    assert "longest allowed is 3" in problem.what and "max_prompt_length" in problem.hint
    trainer_of(tmp_path, max_prompt_length=5)


def test_e132_no_prompt(tmp_path: Path) -> None:
    refusal(DataError, "E132", lambda: trainer_of(tmp_path, prompts=texts().select([])))


# ---- rewards ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "given, said",
    [
        (lambda rows: [0.0] * (rows - 1), "7 scores for 8 completions"),
        (lambda rows: [0.0] * (rows + 1), "9 scores for 8 completions"),
        (lambda rows: [math.nan] * rows, "gave nan for"),
        (lambda rows: [0.0] * (rows - 1) + [math.inf], "gave inf for"),
        (lambda rows: [None] * rows, "gave nan for"),
    ],
)
def test_e146_a_reward_that_is_no_number(tmp_path: Path, given: Any, said: str) -> None:
    """Said at once, with the completion, and nothing learnt from it."""

    def reward(completions: list[str], **others: Any) -> list[Any]:
        return given(len(completions))

    trainer = trainer_of(tmp_path, reward_funcs=reward)
    problem = refusal(DataError, "E146", trainer.train)
    assert said in problem.what and "`reward`" in problem.what and "finite number" in problem.hint
    assert trainer.state.global_step == 0


FAULTS: list[tuple[dict[str, Any], str, str]] = [
    ({"reward_funcs": []}, "reward_funcs", "is empty"),
    ({"reward_funcs": {}}, "reward_funcs", "is empty"),
    ({"reward_funcs": [3]}, "reward_funcs", "hold 3"),
    ({"reward_funcs": policy_of()}, "reward_funcs", "does not give one score"),
    ({"parts": {"reward_processing_classes": [None, None]}}, "reward_funcs", "2 tokenizers for 1"),
    ({"reward_combination": "llama2"}, "reward_funcs", "helpfulness"),
    ({"reward_weights": [1.0, 2.0]}, "reward_funcs", "2 weights for 1"),
    ({"critic_init": "reward"}, "critic_init", "no reward model"),
    ({"roles": "adapters"}, "roles", "the policy has none"),
]


@pytest.mark.parametrize("arguments, name, said", FAULTS, ids=lambda value: str(value)[:30])
def test_e240_arguments_that_do_not_go_together(
    tmp_path: Path, arguments: dict[str, Any], name: str, said: str
) -> None:
    problem = refusal(ModelError, "E240", lambda: trainer_of(tmp_path, **arguments))
    assert problem.place == f"PPOTrainer({name}=...)" and said in problem.what


# ---- roles --------------------------------------------------------------------------------------------------


def adapted() -> Any:
    return get_peft_model(policy_of(), lora())


def two_adapters() -> Any:
    model = adapted()
    model.add_adapter("other", lora())
    return model


def test_e240_the_reference_is_the_policy_itself(tmp_path: Path) -> None:
    model = policy_of()
    problem = refusal(
        ModelError, "E240", lambda: trainer_of(tmp_path, model=model, parts={"ref_model": model})
    )
    assert "the policy itself" in problem.what


ROLES: list[tuple[Any, dict[str, Any], str, str]] = [
    (adapted, {"ref_model": policy_of()}, "ref_model", "cannot be a model of its own"),
    (adapted, {"value_model": scorer_of()}, "value_model", "cannot be a model of its own"),
    (adapted, {"peft_config": lora()}, "peft_config", "a model that has an adapter"),
    (two_adapters, {}, "model", "needs one: `default`"),
    (
        policy_of,
        {"quantization_config": BitsAndBytesConfig(load_in_4bit=True)},
        "quantization_config",
        "loaded already",
    ),
]


@pytest.mark.parametrize(
    "model, parts, name, said", ROLES, ids=lambda value: getattr(value, "__name__", str(value))[:30]
)
def test_e240_roles_that_do_not_go_together(
    tmp_path: Path, model: Any, parts: dict[str, Any], name: str, said: str
) -> None:
    problem = refusal(ModelError, "E240", lambda: trainer_of(tmp_path, model=model(), parts=parts))
    assert problem.place == f"PPOTrainer({name}=...)" and said in problem.what
    assert problem.hint or name in ("model", "quantization_config")


def test_e240_a_quantised_base_without_an_adapter(tmp_path: Path) -> None:
    policy_of(hidden_size=64).save_pretrained(tmp_path / "base")
    tokenizer_of().save_pretrained(tmp_path / "base")
    nf4 = BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf4")
    problem = refusal(
        ModelError,
        "E240",
        lambda: trainer_of(tmp_path, model=str(tmp_path / "base"), parts={"quantization_config": nf4}),
    )
    assert problem.place == "PPOTrainer(model=...)" and "peft_config" in problem.hint


def test_e240_a_tokenizer_is_missing(tmp_path: Path) -> None:
    problem = refusal(
        ModelError,
        "E240",
        lambda: PPOTrainer(
            policy_of(), PPOConfig(output_dir=str(tmp_path), report_to=[]), word_ids, train_dataset=texts()
        ),
    )
    assert "processing_class" in problem.what and problem.hint == "give the tokenizer"


# ---- checkpoints --------------------------------------------------------------------------------------------


def test_e404_a_folder_that_is_no_checkpoint_of_ppo(tmp_path: Path) -> None:
    trained(tmp_path / "run", save_strategy="steps", save_steps=2)
    (tmp_path / "run/checkpoint-2/ppo_state.json").unlink()
    again = trainer_of(tmp_path / "run")
    problem = refusal(CheckpointError, "E404", lambda: again.train(resume_from_checkpoint=True))
    assert problem.place.endswith("checkpoint-2") and "ppo_state.json" in problem.why and problem.hint


@pytest.mark.parametrize(
    "changed", [{"batch_size": 16}, {"mini_batch_size": 8}, {"num_ppo_epochs": 2}], ids=str
)
def test_e404_a_checkpoint_of_other_sizes(tmp_path: Path, changed: dict[str, int]) -> None:
    trained(tmp_path, save_strategy="steps", save_steps=2)
    again = trainer_of(tmp_path, max_steps=4, **changed)
    problem = refusal(CheckpointError, "E404", lambda: again.train(resume_from_checkpoint=True))
    assert "[8, 4, 1]" in problem.what and "same sizes" in problem.hint


@pytest.mark.parametrize("name", ["all of it", "kl", "moments", "watch", "figures", "experience", "batch"])
def test_e404_a_state_of_another_type(tmp_path: Path, name: str) -> None:
    """Its manifest may be right: somebody made it like this."""
    trained(tmp_path / "run", save_strategy="steps", save_steps=2)
    file = tmp_path / "run/checkpoint-2/ppo_state.json"
    whole = json.loads(file.read_text())
    again = trainer_of(tmp_path / "run")
    for odd in (7, "x", [["y"]], {"rewards": ["z"]}):
        file.write_text(json.dumps(odd if name == "all of it" else whole | {name: odd}))
        problem = refusal(CheckpointError, "E404", lambda: again.train(resume_from_checkpoint=True))
        assert problem.place.endswith("checkpoint-2") and problem.hint


@pytest.mark.parametrize("line", ["no JSON", "{}", '{"iteration": "one"}', "[" * 100_000])
def test_e404_completions_that_cannot_be_cut_back(tmp_path: Path, line: str) -> None:
    trained(tmp_path, save_strategy="steps", save_steps=2)
    (tmp_path / "completions.jsonl").write_text(f"{line}\n")
    problem = refusal(
        CheckpointError, "E404", lambda: trainer_of(tmp_path).train(resume_from_checkpoint=True)
    )
    assert problem.place.endswith("completions.jsonl") and "damaged" in problem.hint


def test_what_is_right_is_not_refused(tmp_path: Path) -> None:
    """The same arguments as above, without what is wrong with them."""
    trainer = trained(
        tmp_path,
        model=adapted(),
        roles="separate",
        reward_funcs=[scorer_of(), word_ids],
        reward_weights=[1.0, 2.0],
        critic_init="reward",
        parts={"ref_model": policy_of(1), "reward_processing_classes": [tokenizer_of(), None]},
    )
    assert trainer.state.global_step == 2 and EOS in trainer.stop_ids
    assert all(weight.isfinite().all() for weight in trainer.roles.state_dict().values())
    assert isinstance(trainer.roles.critic, torch.nn.Module)
