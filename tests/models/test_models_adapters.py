"""Adapters: targets, other bases, broken files; merging and reloading give equal logits."""

import json
import pickle
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from llamatune.commands.merge import merge
from llamatune.errors import DivergedError, LlamatuneError, ModelError
from llamatune.models.adapters import add_adapter
from llamatune.models.found import find, find_model
from llamatune.models.load import load_base_model, trainable_share
from llamatune.models.open import open_model
from llamatune.models.placement import place
from llamatune.models.probing import probe_logits
from llamatune.models.saving import save_trained
from llamatune.recipe.blocks import Hardware, Lora, Model


def load(folder: Path, **settings):
    base = find(str(folder)).base
    return base, load_base_model(base, place(Model(base=str(folder), lora=Lora()), Hardware()), **settings)


def saved_adapter(folder: Path, run: Path, lora: Lora | None = None) -> Path:
    """A run directory with an adapter on this base, its `lora_B` filled as training would."""
    from llamatune.models.tokenizer import load_tokenizer

    base, model = load(folder)
    model = add_adapter(model, lora or Lora(rank=4))
    torch.manual_seed(1)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "lora_B" in name:
                weight.normal_(std=0.1)
    save_trained(model, load_tokenizer(base), base, run, stage="sft")
    return run


def test_all_linear_takes_every_linear_layer_but_the_head(tiny_base) -> None:
    _, model = load(tiny_base())
    model = add_adapter(model, Lora(rank=4))
    adapted = {
        name.split(".lora_A")[0].rsplit(".", 1)[-1]
        for name, _ in model.named_parameters()
        if "lora_A" in name
    }
    assert adapted == {"q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"}


@pytest.mark.parametrize("options", [{"dora": True}, {"rs_lora": True}])
def test_variants_reach_peft(tiny_base, options: dict) -> None:
    _, model = load(tiny_base())
    model = add_adapter(model, Lora(rank=4, alpha=8, **options))
    config = model.peft_config["default"]
    assert config.use_dora is options.get("dora", False) and config.use_rslora is options.get(
        "rs_lora", False
    )
    magnitudes = any("lora_magnitude_vector" in name for name, _ in model.named_parameters())
    assert magnitudes is options.get("dora", False)


def test_bad_input_16_targets_that_match_nothing_list_what_there_is(tiny_base) -> None:
    _, model = load(tiny_base())
    with pytest.raises(ModelError, match=r"E230.*`query`") as caught:
        add_adapter(model, Lora(targets=["q_proj", "query"]))
    assert "v_proj" in str(caught.value)


def test_bad_input_16_rank_larger_than_the_layer(tiny_base) -> None:
    _, model = load(tiny_base())
    with pytest.raises(ModelError, match=r"E231.*rank 512"):
        add_adapter(model, Lora(rank=512))


def test_trainable_share_counts_4_bit_weights_as_weights(tiny_base) -> None:
    folder = tiny_base()
    base = find(str(folder)).base
    placement = place(Model(base=str(folder), lora=Lora(), quantization="nf4"), Hardware())
    shares = [
        trainable_share(add_adapter(load_base_model(base, placement, nf4=nf4), Lora(rank=4)))
        for nf4 in (False, True)
    ]
    assert shares[0] == shares[1]


# ---- bad input 15: an adapter for another base ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"hidden_size": 64}, "needs 4 x 64 here and is 4 x 32 in the adapter"),
        ({"num_hidden_layers": 3}, "has no adapter weights"),
        ({"num_hidden_layers": 1}, "does not exist"),
        ({"seed": 5}, "other weights"),
        ({"rope_theta": 500.0}, "other config"),
    ],
)
def test_bad_input_15_an_adapter_for_another_base_is_refused(
    tiny_base, tmp_path: Path, changes: dict, said: str
) -> None:
    run = saved_adapter(tiny_base(), tmp_path / "run")
    other = tiny_base(**changes)
    with pytest.raises(ModelError, match="E233") as caught:
        open_model(str(run), base=str(other))
    assert said in str(caught.value) and str(other) in str(caught.value)


def test_an_adapter_that_is_not_there_or_pickled_is_refused(tiny_base, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"E232.*model\.adapter.*no adapter"):
        find_model(Model(adapter="pico"), "generate")
    run = saved_adapter(tiny_base(), tmp_path / "run")
    (run / "adapter/adapter_model.safetensors").unlink()
    (run / "adapter/adapter_model.bin").write_bytes(pickle.dumps({}))
    with pytest.raises(ModelError, match=r"E204.*pickled"):
        open_model(str(run))


def test_a_truncated_adapter_is_refused(tiny_base, tmp_path: Path) -> None:
    run = saved_adapter(tiny_base(), tmp_path / "run")
    weights = run / "adapter/adapter_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(ModelError, match="E234"):
        open_model(str(run))


def test_an_adapter_with_a_nan_is_refused(tiny_base, tmp_path: Path) -> None:
    run = saved_adapter(tiny_base(), tmp_path / "run")
    file = run / "adapter/adapter_model.safetensors"
    tensors = load_file(file)
    next(iter(tensors.values()))[0, 0] = float("nan")
    save_file(tensors, file)
    with pytest.raises(ModelError, match="E234"):
        open_model(str(run))


def rewrite(file: Path, keep) -> None:
    """Keep only those tensors whose name passes."""
    save_file({name: tensor for name, tensor in load_file(file).items() if keep(name)}, file)


@pytest.mark.parametrize(
    ("keep", "said"),
    [
        (lambda name: False, "lacks 28 of 28 tensors"),
        (lambda name: "layers.1.mlp.up_proj.lora_B" not in name, "lacks 1 of 28 tensors"),
        (lambda name: "lora_A" in name, "lacks 14 of 28 tensors"),
    ],
)
def test_an_adapter_whose_file_lacks_tensors_is_refused_wherever_it_is_used(
    tiny_base, tmp_path: Path, keep, said: str
) -> None:
    run = saved_adapter(tiny_base(), tmp_path / "run")
    rewrite(run / "adapter/adapter_model.safetensors", keep)
    for use in (lambda: open_model(str(run)), lambda: merge(str(run), tmp_path / "out", report=print)):
        with pytest.raises(ModelError, match=f"E234.*{said}"):
            use()
    assert not (tmp_path / "out").exists()


def foreign_adapter(base: Path, folder: Path, task: str = "CAUSAL_LM", **settings: object) -> Path:
    """An adapter as plain peft saves it, its matrices filled as training would."""
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification

    model = (
        AutoModelForCausalLM.from_pretrained(base)
        if task == "CAUSAL_LM"
        else AutoModelForSequenceClassification.from_pretrained(base, num_labels=1)
    )
    adapted = get_peft_model(model, LoraConfig(**({"r": 4, "task_type": task} | settings)))
    with torch.no_grad():
        for name, weight in adapted.named_parameters():
            if "lora_B" in name:
                weight.normal_(std=0.1)
    adapted.save_pretrained(folder)
    return folder


@pytest.mark.parametrize(
    "settings",
    [
        {"target_modules": ["q_proj", "v_proj"], "exclude_modules": ["layers.0.self_attn.q_proj"]},
        {"target_modules": r".*mlp\.(up|down)_proj"},
        {"target_modules": ["q_proj"], "layers_to_transform": [1], "rank_pattern": {"q_proj": 2}},
    ],
)
def test_an_adapter_of_plain_peft_is_used_as_peft_uses_it(tiny_base, tmp_path: Path, settings: dict) -> None:
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    base = tiny_base()
    adapter = foreign_adapter(base, tmp_path / "adapter", **settings)
    plain = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(base), str(adapter))
    assert torch.allclose(probe_logits(open_model(str(adapter)).model), probe_logits(plain), atol=1e-5)
    merged = merge(str(adapter), tmp_path / "merged", report=lambda line: None)
    assert torch.allclose(probe_logits(open_model(str(merged)).model), probe_logits(plain), atol=1e-5)


@pytest.mark.parametrize(
    ("settings", "part"),
    [
        ({"modules_to_save": ["embed_tokens", "lm_head"]}, "whole layers .*embed_tokens, lm_head"),
        ({"trainable_token_indices": [5, 6]}, "single tokens"),
    ],
)
def test_an_adapter_with_parts_that_only_peft_supports_names_them(
    tiny_base, tmp_path: Path, settings: dict, part: str
) -> None:
    base = tiny_base()
    adapter = foreign_adapter(base, tmp_path / "adapter", target_modules=["q_proj"], **settings)
    for use in (
        # Before anything is loaded: `find` is what `validate` and `run` call first.
        lambda: find(str(adapter)),
        lambda: open_model(str(adapter)),
        lambda: merge(str(adapter), tmp_path / "out", report=print),
    ):
        with pytest.raises(ModelError, match=f"E254.*{part}"):
            use()


def test_a_reward_adapter_without_its_head_is_refused(tiny_base, tmp_path: Path) -> None:
    adapter = foreign_adapter(
        tiny_base(), tmp_path / "adapter", task="SEQ_CLS", target_modules=["q_proj", "v_proj"]
    )
    open_model(str(adapter), task="score")
    rewrite(adapter / "adapter_model.safetensors", lambda name: "score" not in name)
    for use in (lambda: find(str(adapter)), lambda: open_model(str(adapter), task="score")):
        with pytest.raises(ModelError, match=r"E234.*has no trained head"):
            use()


# ---- saving --------------------------------------------------------------------------------------------------


def test_an_untrained_adapter_is_not_saved(tiny_base, tmp_path: Path) -> None:
    base, model = load(tiny_base())
    with pytest.raises(ModelError, match="E235"):
        save_trained(
            add_adapter(model, Lora(rank=4)), open_model(base.name).tokenizer, base, tmp_path, stage="sft"
        )


def test_a_diverged_model_is_not_saved(tiny_base, tmp_path: Path) -> None:
    base, model = load(tiny_base())
    with torch.no_grad():
        model.model.layers[0].mlp.up_proj.weight[0, 0] = float("inf")
    with pytest.raises(DivergedError, match="E601"):
        save_trained(model, open_model(base.name).tokenizer, base, tmp_path, stage="sft")
    assert not (tmp_path / "model").exists()


def test_plain_peft_finds_the_base_from_anywhere(
    tiny_base, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from peft import AutoPeftModelForCausalLM

    folder = tiny_base()
    monkeypatch.chdir(folder.parent)
    run = saved_adapter(Path(folder.name), tmp_path / "run")
    ours = probe_logits(open_model(str(run)).model)
    monkeypatch.chdir(tmp_path)
    assert torch.allclose(
        probe_logits(AutoPeftModelForCausalLM.from_pretrained(run / "adapter")), ours, atol=1e-5
    )
    assert torch.equal(probe_logits(open_model("run").model), ours), "and so does llamatune"
    assert not (run / "adapter/README.md").exists()


# ---- equal logits: reload, plain peft, merge -----------------------------------------------------------------


@pytest.mark.parametrize(
    "lora", [Lora(rank=4), Lora(rank=4, dora=True), Lora(rank=4, rs_lora=True, targets=["q_proj"])]
)
def test_reload_plain_peft_and_merge_give_equal_logits(tiny_base, tmp_path: Path, lora: Lora) -> None:
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    folder = tiny_base()
    run = saved_adapter(folder, tmp_path / "run", lora)
    ours = probe_logits(open_model(str(run)).model)
    plain = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(folder), str(run / "adapter"))
    assert torch.allclose(probe_logits(plain), ours, atol=1e-5)
    merged = merge(str(run), tmp_path / "merged", report=lambda line: None)
    assert torch.allclose(probe_logits(AutoModelForCausalLM.from_pretrained(merged)), ours, atol=1e-5)
    assert torch.allclose(probe_logits(open_model(str(merged)).model), ours, atol=1e-5)
    base = probe_logits(AutoModelForCausalLM.from_pretrained(folder))
    assert not torch.allclose(base, ours, atol=1e-3), "the adapter of this test changes nothing"


def test_merging_to_bfloat16_accepts_what_rounding_explains_and_nothing_else(
    tiny_base, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Large weights on top of an adapter: rounding alone moves the logits further than the usual tolerance."""
    from peft.tuners.lora import Linear

    folder = tiny_base()
    file = folder / "model.safetensors"
    save_file(
        {name: tensor * 12 if "_proj" in name else tensor for name, tensor in load_file(file).items()},
        file,
        metadata={"format": "pt"},
    )
    run = saved_adapter(folder, tmp_path / "run")
    said: list[str] = []
    merge(str(run), tmp_path / "merged", dtype="bfloat16", report=said.append)
    assert float(said[-1].split("differ by ")[1].split()[0]) > 2e-2, "the usual tolerance would do"
    whole = Linear.get_delta_weight
    monkeypatch.setattr(Linear, "get_delta_weight", lambda self, adapter: 3 * whole(self, adapter))
    with pytest.raises(ModelError, match="E237"):
        merge(str(run), tmp_path / "wrong", dtype="bfloat16", report=said.append)
    assert not (tmp_path / "wrong").exists()


def test_merge_refuses_an_existing_folder_and_a_whole_model(tiny_base, tmp_path: Path) -> None:
    folder = tiny_base()
    with pytest.raises(LlamatuneError, match="E034"):
        merge("pico", tmp_path, report=lambda line: None)
    with pytest.raises(ModelError, match="nothing to merge"):
        merge(str(folder), tmp_path / "merged", report=lambda line: None)


def test_an_adapter_of_another_tool_opens_with_base_given(tiny_base, tmp_path: Path) -> None:
    folder = tiny_base()
    run = saved_adapter(folder, tmp_path / "run")
    foreign = tmp_path / "foreign"
    shutil.copytree(run / "adapter", foreign)
    (foreign / "llamatune.json").unlink()
    config = foreign / "adapter_config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"base_model_name_or_path": None}))
    with pytest.raises(ModelError, match=r"E232.*which base"):
        open_model(str(foreign))
    assert torch.equal(
        probe_logits(open_model(str(foreign), base=str(folder)).model),
        probe_logits(open_model(str(run)).model),
    )


# ---- QLoRA on CPU --------------------------------------------------------------------------------------------


def test_4_bit_layers_keep_their_gradients_after_sampling(tiny_base) -> None:
    """bitsandbytes repacks 4-bit weights for a kernel without backward pass at the first evaluation."""
    folder = tiny_base()
    base = find(str(folder)).base
    placement = place(Model(base=str(folder), lora=Lora(), quantization="nf4"), Hardware())
    torch.manual_seed(0)
    model = add_adapter(load_base_model(base, placement, nf4=True), Lora(rank=4))
    tokens = torch.arange(3, 35)[None]

    def gradients() -> list[torch.Tensor]:
        model.zero_grad()
        model.train()
        model(input_ids=tokens, labels=tokens).loss.backward()
        return [weight.grad.clone() for weight in model.parameters() if weight.grad is not None]

    before = gradients()
    probe_logits(model)  # evaluation mode, no gradients
    after = gradients()
    assert len(before) == len(after) > 0
    assert all(torch.equal(one, other) for one, other in zip(before, after, strict=True))
