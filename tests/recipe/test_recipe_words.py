"""Words of other tools are answered with llamatune's, and each answer is a key that exists."""

import pytest

from llamatune.errors import RecipeError
from llamatune.recipe.load import loads
from llamatune.recipe.parsing.problems import _all_keys, block_at, field_at
from llamatune.recipe.parsing.words import ELSEWHERE, NOWHERE
from llamatune.recipe.recipes import STAGES

GOOD = "stage: sft\noutput: runs/x\ndata: {train: [{path: x.jsonl}]}\n"


@pytest.mark.parametrize("word", ELSEWHERE)
def test_the_answer_is_a_key_of_some_stage(word: str) -> None:
    path = tuple(ELSEWHERE[word][0].split("."))
    schemas = [stage.recipe for stage in STAGES.values()]
    assert any(field_at(schema, path) or block_at(schema, path) for schema in schemas), path


def test_a_word_without_a_counterpart_is_no_word_of_a_recipe() -> None:
    ours = {names[-1] for stage in STAGES.values() for names in _all_keys(stage.recipe)}
    assert not ours & NOWHERE.keys() and not ELSEWHERE.keys() & NOWHERE.keys()


@pytest.mark.parametrize(
    ("line", "answer"),
    [
        ("num_train_epochs: 3", "`optimization.epochs`"),
        ("per_device_train_batch_size: 4", "`optimization.batch_size`: the global batch"),
        ("model: {lora_r: 8}", "`model.lora.rank`"),
        ("model_name_or_path: x", "`model.base`"),
        ("cutoff_len: 512", "`data.max_length`"),
        ("model: {load_in_4bit: true}", "`model.quantization`: true is `nf4`"),
        ("train_on_inputs: false", "`chat.loss_on`: true is `all`, false is `assistant`, the default"),
        ("deepspeed: ds.json", "`hardware.sharding`: `fsdp`"),
        ("qlora: true", "`model.quantization`: `nf4`"),
        ("steps: 100", "`optimization.max_steps`"),
        ("Save-Every: 100", "`checkpoint.every_steps`"),
        ("neftune_noise_alpha: 5", "`upstream`: `{neftune_noise_alpha: ...}`"),
        ("do_train: true", "remove it"),
        ("trust_remote_code: true", "never run"),
    ],
)
def test_a_word_of_another_tool_is_understood(line: str, answer: str) -> None:
    with pytest.raises(RecipeError) as caught:
        loads(GOOD + line)
    assert answer in (caught.value.problems[0].hint or "")


def test_a_word_on_the_command_line_is_understood() -> None:
    with pytest.raises(RecipeError) as caught:
        loads(GOOD, ["num_train_epochs=3"])
    assert "`optimization.epochs`" in (caught.value.problems[0].hint or "")
