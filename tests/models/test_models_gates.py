"""Settings of a model or an adapter that no model has: refused before upstream builds, imports or matches anything."""

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from gates import ADAPTER, CONFIG, PARTS, TENSORS, tensors
from llamatune.errors import ModelError
from llamatune.models.adapters import read_adapter
from llamatune.models.found import find
from support import ROOT


def base(folder: Path, **changes: Any) -> Path:
    """The files of a base of one layer, with this config."""
    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_text(json.dumps(CONFIG | changes))
    (folder / "model.safetensors").write_bytes(tensors(TENSORS))
    return folder


def adapter(folder: Path, **changes: Any) -> Path:
    """The files of an adapter of rank 2 on one layer, with these settings."""
    folder.mkdir(exist_ok=True)
    (folder / "adapter_config.json").write_text(json.dumps(ADAPTER | changes))
    (folder / "adapter_model.safetensors").write_bytes(tensors(PARTS))
    return folder


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"num_hidden_layers": 1_000_000}, "E256"),
        ({"layer_types": ["full_attention"] * 2000}, "E256"),
        ({"num_local_experts": 10**6}, "E256"),
        ({"vocab_size": 10**9}, "E256"),
        ({"rope_scaling": {"original_max_position_embeddings": 10**12}}, "E256"),
        ({"architectures": "LlamaForCausalLM"}, "E256"),
        ({"architectures": [7]}, "E256"),
        ({"model_type": None}, "E256"),
        ({"quantization_config": ["4bit"]}, "E256"),
        ({"hidden_size": 2**17, "intermediate_size": 2**17}, "E251"),
        ({"vocab_size": 2**20}, "E251"),
    ],
)
def test_values_of_a_config_that_no_model_has(tmp_path: Path, changes: dict[str, Any], code: str) -> None:
    assert find(str(base(tmp_path / "base"))).task == "generate"
    with pytest.raises(ModelError, match=code):
        find(str(base(tmp_path / "base", **changes)))


@pytest.mark.parametrize(
    "changes",
    [
        {"max_position_embeddings": 10_485_760, "rope_theta": 500_000_000, "sliding_window": None},
        {"pad_token_id": -1, "eos_token_id": [2, 128_009], "id2label": {"0": "a"}, "pretraining_tp": 1},
        {"layer_types": ["full_attention"] * 126, "torch_dtype": "bfloat16", "use_cache": True},
    ],
)
def test_values_of_published_models_pass(tmp_path: Path, changes: dict[str, Any]) -> None:
    find(str(base(tmp_path / "base", **changes)))


def test_an_index_names_files_beside_it(tmp_path: Path) -> None:
    folder = base(tmp_path / "base")
    index = {"weight_map": {"model.embed_tokens.weight": "../other.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(ModelError, match=r"E207.*which is not a file of this folder"):
        find(str(folder))


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "generation_config.json"])
def test_a_pipe_among_the_files_is_not_waited_for(tmp_path: Path, name: str) -> None:
    folder = base(tmp_path / "base")
    (folder / name).unlink(missing_ok=True)
    os.mkfifo(folder / name)
    if name == "generation_config.json":
        find(str(folder))  # as if there were none
    else:
        with pytest.raises(ModelError):
            find(str(folder))


def test_a_header_that_claims_the_whole_file(tmp_path: Path) -> None:
    folder = base(tmp_path / "base")
    with (folder / "model.safetensors").open("r+b") as stream:
        stream.write((2**33).to_bytes(8, "little"))
        stream.truncate(2**34)
    with pytest.raises(ModelError, match=r"E207.*no safetensors file"):
        find(str(folder))


def test_a_tensor_that_has_two_shapes(tmp_path: Path) -> None:
    folder = base(tmp_path / "base")
    one = '"w": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}'
    header = f"{{{one}, {one.replace('[2]', '[1, 2]')}}}".encode()
    (folder / "model.safetensors").write_bytes(len(header).to_bytes(8, "little") + header + bytes(8))
    with pytest.raises(ModelError, match=r"E207.*no safetensors file"):
        find(str(folder))


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"r": 10**9}, "E234"),
        ({"r": "2"}, "E234"),
        ({"rank_pattern": {"q_proj": 10**9}}, "E234"),
        ({"rank_pattern": {"(a+)+$": 2}}, "E234"),
        ({"layers_pattern": "(a*)*b"}, "E234"),
        ({"lora_alpha": float("nan")}, "E234"),
        ({"modules_to_save": "score"}, "E234"),
        ({"target_modules": [1]}, "E234"),
        ({"base_model_name_or_path": ["x"]}, "E234"),
        ({"layer_replication": [[0, 1]] * 3000}, "E254"),
        ({"megatron_config": {"a": 1}, "megatron_core": "antigravity"}, "E254"),
        ({"corda_config": {"cache_file": "/etc/passwd"}}, "E254"),
    ],
)
def test_settings_of_an_adapter_that_none_has(tmp_path: Path, changes: dict[str, Any], code: str) -> None:
    assert find(str(adapter(tmp_path / "adapter"))).adapter is not None
    with pytest.raises(ModelError, match=code):
        find(str(adapter(tmp_path / "adapter", **changes)))


def test_a_regular_expression_of_a_stranger_is_not_run(tmp_path: Path) -> None:
    """peft would match it with the name of each layer; which layers they are is told by the tensors."""
    folder = adapter(tmp_path / "adapter", target_modules="(([a-z_.0-9]+)+)+!", exclude_modules="((.+)+)+!")
    config, found = read_adapter(folder)
    assert config.target_modules == {"model.layers.0.self_attn.q_proj"} and not config.exclude_modules
    assert set(found) == set(PARTS)


def test_an_adapter_with_a_regular_expression_is_loaded(tmp_path: Path, trained) -> None:
    from llamatune.models.open import open_model
    from llamatune.models.probing import probe_logits

    plain = trained("lora") / "adapter"
    other = shutil.copytree(plain, tmp_path / "adapter")
    settings = json.loads((other / "adapter_config.json").read_text())
    pattern = rf".*\.({'|'.join(settings['target_modules'])})"
    (other / "adapter_config.json").write_text(json.dumps(settings | {"target_modules": pattern}))
    assert probe_logits(open_model(str(other)).model).equal(probe_logits(open_model(str(plain)).model))


@pytest.mark.parametrize(
    "note", [[], {"base": []}, {"base": {"name": 7}}, {"chat": "x"}, {"chat": {"system": 7}}, {"base": None}]
)
def test_a_note_that_llamatune_did_not_write(tmp_path: Path, note: Any) -> None:
    folder = adapter(tmp_path / "adapter")
    (folder / "llamatune.json").write_text(json.dumps(note))
    with pytest.raises(ModelError, match="E202"):
        find(str(folder))


def test_new_weights_larger_than_the_memory(tmp_path: Path) -> None:
    from llamatune.models.load import random_model
    from llamatune.models.placement import place
    from llamatune.recipe.blocks import Hardware, Model

    folder = base(tmp_path / "base", hidden_size=2**16, intermediate_size=2**18, num_hidden_layers=500)
    found = find(str(folder), weights=False)
    with pytest.raises(ModelError, match=r"E256.*this machine has"):
        random_model(found.base, place(Model(base=str(folder)), Hardware()))


def test_chat_templates_are_rendered_in_one_place() -> None:
    """Where they run in a process that can be ended; what a card shows (hub/snippets.py) is tried in one of its own."""
    users = {
        file.name
        for file in (ROOT / "src").rglob("*.py")
        if ".apply_chat_template(" in file.read_text() or "from_string(" in file.read_text()
    }
    assert users == {"rendering_child.py", "snippets.py"}
