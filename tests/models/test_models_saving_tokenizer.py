"""A tokenizer that does not come back as it was is an error before the run says finished."""

import json
from pathlib import Path

import pytest
from tokenizers import pre_tokenizers
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from llamatune.errors import ModelError
from llamatune.models import saving
from llamatune.models.base import Base
from llamatune.models.found import find
from llamatune.models.tokenizer import load_tokenizer

PICO = find("pico", weights=False).base


def test_the_saved_tokenizer_is_the_live_one_and_needs_no_class(tmp_path: Path) -> None:
    tokenizer = load_tokenizer(PICO)
    saving.save_tokenizer(tokenizer, tmp_path)
    config = json.loads((tmp_path / "tokenizer_config.json").read_text())
    assert config["tokenizer_class"] == "PreTrainedTokenizerFast" and "legacy" not in config
    loaded = AutoTokenizer.from_pretrained(tmp_path)
    assert loaded.chat_template == tokenizer.chat_template
    assert loaded.backend_tokenizer.to_str() == tokenizer.backend_tokenizer.to_str()


def test_a_tokenizer_that_is_saved_otherwise_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As transformers 5 did with `legacy`: what is written is not what was in use."""
    tokenizer = load_tokenizer(PICO)
    write = PreTrainedTokenizerFast.save_pretrained

    def other(self: PreTrainedTokenizerFast, folder: str, **options: object) -> None:
        kept = self.backend_tokenizer.pre_tokenizer
        self.backend_tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
        write(self, folder, **options)
        self.backend_tokenizer.pre_tokenizer = kept

    monkeypatch.setattr(PreTrainedTokenizerFast, "save_pretrained", other)
    with pytest.raises(ModelError, match="E217"):
        saving.save_tokenizer(tokenizer, tmp_path)


@pytest.mark.parametrize("end", ["", None])
def test_f12_empty_special_tokens_are_an_error_of_ours(tmp_path: Path, end: str | None) -> None:
    for name in ("tokenizer.json", "chat_template.jinja", "config.json"):
        (tmp_path / name).write_bytes((PICO.folder / name).read_bytes())
    config = json.loads((PICO.folder / "tokenizer_config.json").read_text())
    config |= {"bos_token": "", "eos_token": end, "unk_token": ""}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(config))
    with pytest.raises(ModelError, match=r"E208.*no end token"):
        load_tokenizer(Base("base", tmp_path))
