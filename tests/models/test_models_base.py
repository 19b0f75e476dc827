"""Bases that are refused before anything is loaded: the rows of the bad-input table about models."""

import json
import os
import pickle
from pathlib import Path

import pytest

from llamatune.errors import ModelError
from llamatune.models.found import find


class Evil:
    """A pickle that would leave a file behind if it were ever loaded."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self):
        return os.mkdir, (str(self.mark),)


def change(folder: Path, file: str, **settings: object) -> None:
    path = folder / file
    path.write_text(json.dumps(json.loads(path.read_text()) | settings))


def test_pico_is_found_and_safe() -> None:
    assert find("pico").base.config["model_type"] == "llama"


def test_bad_input_12_a_folder_that_does_not_exist_names_near_ones(tmp_path: Path) -> None:
    (tmp_path / "llama-7b").mkdir()
    with pytest.raises(ModelError, match=r"E201.*no model") as caught:
        find(str(tmp_path / "lama-7b"))
    assert "did you mean" in str(caught.value) and "llama-7b" in str(caught.value)


def test_bad_input_12_a_hub_model_that_is_not_cached_offline() -> None:
    with pytest.raises(ModelError, match=r"E203.*not in the local cache"):
        find("some-org/some-model")


def test_bad_input_12_an_empty_folder_and_a_broken_config(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"E202.*no config.json"):
        find(str(tmp_path))
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(ModelError, match=r"E202.*JSON"):
        find(str(tmp_path))


@pytest.mark.parametrize("name", ["pytorch_model.bin", "model.pt", "model.ckpt"])
def test_bad_input_13_pickled_weights_are_refused_and_never_loaded(
    tiny_base, tmp_path: Path, name: str
) -> None:
    folder = tiny_base()
    (folder / "model.safetensors").unlink()
    (folder / name).write_bytes(pickle.dumps(Evil(tmp_path / "was-here")))
    with pytest.raises(ModelError, match=r"E204.*pickled") as caught:
        find(str(folder))
    assert "save_pretrained" in str(caught.value) and "weights_only=False" not in str(caught.value)
    assert not (tmp_path / "was-here").exists()


def test_bad_input_13_a_pickle_beside_safetensors_is_never_loaded(tiny_base, tmp_path: Path) -> None:
    from llamatune.models.open import open_model

    folder = tiny_base()
    (folder / "pytorch_model.bin").write_bytes(pickle.dumps(Evil(tmp_path / "was-here")))
    open_model(str(folder))
    assert not (tmp_path / "was-here").exists()


@pytest.mark.parametrize(
    ("file", "settings"),
    [
        ("config.json", {"auto_map": {"AutoModelForCausalLM": "evil.Model"}}),
        ("tokenizer_config.json", {"auto_map": {"AutoTokenizer": ["evil.Tokenizer", None]}}),
        ("config.json", {"_attn_implementation_internal": "evil/kernel"}),
        ("config.json", {"attn_implementation": "evil/kernel"}),
        ("generation_config.json", {"auto_map": {"x": "evil.generate"}}),
    ],
)
def test_bad_input_14_code_that_comes_with_a_model_is_refused(
    tiny_base, tmp_path: Path, file: str, settings: dict
) -> None:
    folder = tiny_base()
    change(folder, file, **settings)
    (folder / "evil.py").write_text(f"import os; os.mkdir({str(tmp_path / 'was-here')!r})")
    with pytest.raises(ModelError, match="E205") as caught:
        find(str(folder))
    assert next(iter(settings)) in str(caught.value)
    assert not (tmp_path / "was-here").exists()


def test_bad_input_14_a_template_name_with_a_path_is_refused(tiny_base) -> None:
    folder = tiny_base()
    change(folder, "tokenizer_config.json", chat_template=[{"name": "../../x", "template": "{{ messages }}"}])
    with pytest.raises(ModelError, match=r"E205.*\.\./\.\./x"):
        find(str(folder))


@pytest.mark.parametrize(
    ("settings", "method"),
    [
        ({"quant_method": "gptq", "bits": 4, "group_size": 128}, "gptq"),
        ({"quant_method": "awq", "bits": 4}, "awq"),
        ({"quant_method": "bitsandbytes", "load_in_8bit": True}, "bitsandbytes"),
    ],
)
def test_bases_that_are_quantised_otherwise_are_refused_by_name(
    tiny_base, settings: dict, method: str
) -> None:
    folder = tiny_base()
    change(folder, "config.json", quantization_config=settings)
    with pytest.raises(ModelError, match=f"E253.*already quantised .{method}"):
        find(str(folder))


PLACEHOLDER = "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 5\n"


@pytest.mark.parametrize(
    ("file", "code"),
    [
        ("config.json", "E202"),
        ("tokenizer.json", "E208"),
        ("tokenizer_config.json", "E202"),
        ("model.safetensors", "E207"),
    ],
)
def test_a_placeholder_of_git_lfs_is_named_whatever_file_it_stands_for(
    tiny_base, file: str, code: str
) -> None:
    folder = tiny_base()
    (folder / file).write_text(PLACEHOLDER)
    with pytest.raises(ModelError, match=rf"{code}.*placeholder of Git LFS") as caught:
        find(str(folder))
    assert "git lfs pull" in str(caught.value)


def test_half_a_tokenizer_is_found_before_anything_is_loaded(tiny_base) -> None:
    folder = tiny_base()
    file = folder / "tokenizer.json"
    file.write_bytes(file.read_bytes()[:5000])
    with pytest.raises(ModelError, match=r"E208.*tokenizer is cut off"):
        find(str(folder))


@pytest.mark.parametrize("name", ["consolidated.safetensors", "model-00001-of-00002.safetensors"])
def test_weights_under_a_name_that_nothing_reads_are_refused(tiny_base, name: str) -> None:
    folder = tiny_base()
    (folder / "model.safetensors").rename(folder / name)
    with pytest.raises(ModelError, match=rf"E207.*neither model\.safetensors nor .*only {name}"):
        find(str(folder))


def test_bytes_behind_the_weights_are_no_half_download(tiny_base) -> None:
    folder = tiny_base()
    with (folder / "model.safetensors").open("ab") as stream:
        stream.write(b"\0" * 100)
    with pytest.raises(ModelError, match=r"E207.*after their end"):
        find(str(folder))


@pytest.mark.parametrize(
    "settings", [{"load_in_4bit": True, "quant_method": "gptq"}, {"load_in_4bit": "true"}]
)
def test_four_bits_of_another_method_are_not_bitsandbytes(tiny_base, settings: dict) -> None:
    folder = tiny_base()
    change(folder, "config.json", quantization_config=settings)
    with pytest.raises(ModelError, match=r"E253.*already quantised"):
        find(str(folder))
