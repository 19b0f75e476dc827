"""Loading: every weight comes from a file, and tokenizers fit the model; else an error that names what does not."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from llamatune.commands.merge import merge
from llamatune.errors import ModelError
from llamatune.models.found import find
from llamatune.models.load import find_start, load_base_model, load_for_training
from llamatune.models.open import open_model
from llamatune.models.placement import place
from llamatune.models.probing import probe_logits
from llamatune.models.saving import save_trained
from llamatune.models.tokenizer import load_tokenizer
from llamatune.recipe.blocks import Hardware, Lora, Model

UNTIED = {"tie_word_embeddings": False}


def change(folder: Path, file: str, **settings: object) -> None:
    path = folder / file
    path.write_text(json.dumps(json.loads(path.read_text()) | settings))


def rewrite(folder: Path, rename) -> None:
    """Give each tensor the name that `rename` says; None leaves it out."""
    file = folder / "model.safetensors"
    tensors = {rename(name): tensor for name, tensor in load_file(file).items() if rename(name)}
    save_file(tensors, file, metadata={"format": "pt"})


def without(part: str):
    return lambda name: None if part in name else name


@pytest.mark.parametrize(
    ("shape", "rename", "said"),
    [
        ({}, without("layers.0.mlp.up_proj"), "1 weight is in no file: `model.layers.0.mlp.up_proj.weight`"),
        ({}, without("layers.1."), "9 weights are in no file: `model.layers.1.input_layernorm.weight`, "),
        ({}, without("model.norm"), "`model.norm.weight`"),
        ({}, without("embed_tokens"), "`lm_head.weight`, `model.embed_tokens.weight`"),
        (UNTIED, without("lm_head"), "`lm_head.weight`"),
        ({}, lambda name: name.replace("q_proj", "query"), "`model.layers.0.self_attn.q_proj.weight`"),
        ({}, lambda name: f"module.{name}", "the files have `module.` in front of the names"),
    ],
)
@pytest.mark.parametrize("task", ["generate", "score"])
def test_a_weight_that_no_file_gives_is_an_error_that_names_it(
    tiny_base, shape: dict, rename, said: str, task: str
) -> None:
    folder = tiny_base(**shape)
    rewrite(folder, rename)
    if task == "score" and "lm_head" in said and "embed" not in said:
        return  # a reward model has no output layer
    if task == "score":
        said = said.replace("`lm_head.weight`, ", "")
    settings = Model(base=str(folder), lora=Lora(rank=4))
    with pytest.raises(ModelError, match="E251") as caught:
        start = find_start(settings, Hardware(), max_length=64, task=task)
        load_for_training(start, settings, seed=0, report=lambda line: None, task=task)
    assert said in str(caught.value)


def test_an_output_layer_that_is_the_embedding_need_not_be_in_a_file(tiny_base) -> None:
    folder = tiny_base()
    assert "lm_head.weight" not in load_file(folder / "model.safetensors")
    open_model(str(folder))
    change(folder, "config.json", tie_word_embeddings=False)
    with pytest.raises(ModelError, match=r"E251.*`lm_head.weight`") as caught:
        open_model(str(folder))
    assert "`tie_word_embeddings: true`" in str(caught.value)
    change(folder, "config.json", tie_word_embeddings=True)
    open_model(str(folder))


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"num_hidden_layers": 1}, "9 weights are in the files and not in the model: `model.layers.1."),
        (
            {"vocab_size": 2050},
            "`model.embed_tokens.weight` is 2048 x 32 in the files and 2050 x 32 by config",
        ),
        ({"intermediate_size": 96}, "6 weights are of another shape"),
    ],
)
def test_a_config_of_another_model_is_an_error(tiny_base, settings: dict, said: str) -> None:
    folder = tiny_base()
    change(folder, "config.json", **settings)
    with pytest.raises(ModelError, match="E251") as caught:
        open_model(str(folder))
    assert said in str(caught.value)


def test_nf4_loading_checks_the_same(tiny_base) -> None:
    folder = tiny_base()
    base = find(str(folder)).base
    placement = place(Model(base=str(folder), lora=Lora()), Hardware())
    load_base_model(base, placement, nf4=True)
    rewrite(folder, without("layers.1.mlp.down_proj"))
    with pytest.raises(ModelError, match=r"E251.*down_proj"):
        load_base_model(base, placement, nf4=True)


@pytest.mark.parametrize("nf4", [False, True])
@pytest.mark.parametrize("value", ["inf", "nan"])
def test_a_base_that_is_not_finite_names_the_weight(tiny_base, nf4: bool, value: str) -> None:
    folder = tiny_base()
    file = folder / "model.safetensors"
    tensors = load_file(file)
    tensors["model.layers.0.mlp.up_proj.weight"][3, 1] = float(value)
    save_file(tensors, file, metadata={"format": "pt"})
    placement = place(Model(base=str(folder), lora=Lora()), Hardware())
    with pytest.raises(ModelError, match=r"E252.*`model.layers.0.mlp.up_proj.weight`"):
        load_base_model(find(str(folder)).base, placement, nf4=nf4)


def test_a_reward_model_without_its_head_is_refused(tiny_base, tmp_path: Path) -> None:
    from transformers import AutoModelForSequenceClassification

    folder = tmp_path / "reward"
    base = tiny_base()
    AutoModelForSequenceClassification.from_pretrained(base, num_labels=1).save_pretrained(folder)
    for file in base.glob("tokenizer*"):
        shutil.copy(file, folder)
    open_model(str(folder), task="score")
    rewrite(folder, without("score"))
    with pytest.raises(ModelError, match=r"E251.*`score.weight`"):
        open_model(str(folder), task="score")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 5\n", "Git LFS.*git lfs pull"),
        (lambda whole: whole[: len(whole) // 2], "cut off.*download"),
        (lambda whole: whole[:5], "no safetensors file"),
        (lambda whole: whole + b"more", "cut off|bytes of"),
        (b"", "no safetensors file"),
        (b"<html>404</html>" * 20, "no safetensors file"),
    ],
)
def test_a_weights_file_that_is_broken_says_why(tiny_base, content, said: str) -> None:
    folder = tiny_base()
    file = folder / "model.safetensors"
    file.write_bytes(content(file.read_bytes()) if callable(content) else content)
    with pytest.raises(ModelError, match=f"(?s)E207.*{said}"):
        find(str(folder))


def test_a_model_of_which_a_part_is_missing_names_the_file(tiny_base) -> None:
    from transformers import AutoModelForCausalLM

    folder = tiny_base()
    model = AutoModelForCausalLM.from_pretrained(folder)
    (folder / "model.safetensors").unlink()
    model.save_pretrained(folder, max_shard_size="100KB")
    parts = sorted(folder.glob("*.safetensors"))
    assert len(parts) > 1
    open_model(str(folder))
    parts[1].unlink()
    with pytest.raises(ModelError, match=f"E207.*{parts[1].name}"):
        find(str(folder))


# ---- bases that are held in 4 bits ---------------------------------------------------------------------------


def test_a_base_that_is_held_in_4_bits_trains_adapters_and_merges_into_its_origin(
    tiny_base, tmp_path: Path
) -> None:
    from transformers import AutoModelForCausalLM, BitsAndBytesConfig

    origin, folder = tiny_base(), tmp_path / "held"
    config = BitsAndBytesConfig(
        load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=torch.float32
    )
    AutoModelForCausalLM.from_pretrained(origin, quantization_config=config).save_pretrained(folder)
    for file in origin.glob("tokenizer*"):
        shutil.copy(file, folder)
    with pytest.raises(ModelError, match=r"E253.*held in 4 bits"):
        find_start(Model(base=str(folder)), Hardware(), max_length=64)
    for settings in ({}, {"quantization": "nf4"}):
        chosen = Model(base=str(folder), lora=Lora(rank=4), **settings)
        start = find_start(chosen, Hardware(), max_length=64)
        model = load_for_training(start, chosen, seed=0, report=lambda line: None)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "lora_B" in name:
                weight.normal_(std=0.1)
    save_trained(model, start.tokenizer, start.base, tmp_path / "run", stage="sft")
    assert torch.equal(probe_logits(open_model(str(tmp_path / "run")).model), probe_logits(model))
    with pytest.raises(ModelError, match=r"E253.*nothing can be merged"):
        merge(str(tmp_path / "run"), tmp_path / "merged", report=lambda line: None)
    merge(str(tmp_path / "run"), tmp_path / "merged", base=str(origin), report=lambda line: None)
    open_model(str(tmp_path / "merged"))


# ---- tokenizers ----------------------------------------------------------------------------------------------


def test_bad_input_23_padding_is_never_the_end_token(tiny_base) -> None:
    folder = tiny_base()
    change(folder, "tokenizer_config.json", pad_token="</s>")
    tokenizer = load_tokenizer(find(str(folder)).base)
    assert tokenizer.pad_token == "<pad>" and tokenizer.pad_token_id != tokenizer.eos_token_id


def test_a_padding_token_that_the_model_has_no_row_for_is_not_used(tiny_base) -> None:
    from transformers import AutoTokenizer

    folder = tiny_base()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.add_special_tokens({"pad_token": "[PAD]"})
    tokenizer.save_pretrained(folder)
    assert load_tokenizer(find(str(folder)).base).pad_token_id < 2048


def test_tokens_that_the_model_has_no_row_for_are_named(tiny_base) -> None:
    from transformers import AutoTokenizer

    folder = tiny_base()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.add_tokens(["<|tool|>", "<|result|>"])
    tokenizer.save_pretrained(folder)
    with pytest.raises(ModelError, match=r"E255.*2 tokens.*`<\|tool\|>` \(2048\), `<\|result\|>` \(2049\)"):
        load_tokenizer(find(str(folder)).base)


def test_a_tokenizer_with_empty_special_tokens_has_no_end_token(tiny_base) -> None:
    folder = tiny_base()
    change(folder, "tokenizer_config.json", bos_token="", eos_token="", unk_token="")
    with pytest.raises(ModelError, match=r"E208.*no end token"):
        load_tokenizer(find(str(folder)).base)


def test_a_tokenizer_that_has_to_be_converted_says_with_what(tiny_base) -> None:
    folder = tiny_base()
    (folder / "tokenizer.json").unlink()
    (folder / "tokenizer.model").write_bytes(b"no vocabulary")
    with pytest.raises(ModelError, match=r"E208.*only tokenizer.model") as caught:
        load_tokenizer(find(str(folder)).base)
    assert "pip install sentencepiece" in str(caught.value)


def with_one_control_token(folder: Path) -> None:
    """As GPT-2's tokenizer has it: begin, end and everything else are one token."""
    file = folder / "tokenizer.json"
    content = json.loads(file.read_text())
    content["added_tokens"] = [token for token in content["added_tokens"] if token["content"] == "</s>"]
    content["post_processor"] = None
    content["model"]["vocab"] = {
        token if id > 3 or token == "</s>" else f"ordinary{id}": id
        for token, id in content["model"]["vocab"].items()
    }
    content["model"]["unk_token"] = None
    file.write_text(json.dumps(content))
    names = dict.fromkeys(("bos_token", "eos_token", "unk_token"), "</s>")
    (folder / "tokenizer_config.json").write_text(json.dumps(names))


def test_a_tokenizer_with_one_control_token_pads_with_a_row_that_no_token_uses(tiny_base) -> None:
    folder = tiny_base(vocab_size=2064)
    with_one_control_token(folder)
    tokenizer = load_tokenizer(find(str(folder)).base)
    assert (tokenizer.pad_token, tokenizer.pad_token_id) == ("<pad>", 2048)


def test_without_such_a_row_the_hint_makes_one(tiny_base) -> None:
    folder = tiny_base()
    with_one_control_token(folder)
    with pytest.raises(ModelError, match="E209") as refused:
        load_tokenizer(find(str(folder)).base)
    tokenizer, model = AutoTokenizer.from_pretrained(folder), AutoModelForCausalLM.from_pretrained(folder)
    hint = refused.value.problems[0].hint
    assert "tokenizer.add_special_tokens({'pad_token': '<pad>'})" in hint
    tokenizer.add_special_tokens({"pad_token": "<pad>"})
    assert "model.resize_token_embeddings(len(tokenizer))" in hint
    model.resize_token_embeddings(len(tokenizer))
    for part in (model, tokenizer):
        part.save_pretrained(folder)
    assert load_tokenizer(find(str(folder)).base).pad_token == "<pad>"
