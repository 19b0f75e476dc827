from collections.abc import Callable

import pytest
from small_tokenizers import KINDS
from transformers import PreTrainedTokenizerBase

from llamatune.models.base import Base
from llamatune.models.tokenizer import load_tokenizer

Load = Callable[[str], PreTrainedTokenizerBase]


@pytest.fixture(scope="session")
def load(tmp_path_factory: pytest.TempPathFactory) -> Load:
    """The tokenizer of a kind, loaded as a base's; a new one at each call."""
    home = tmp_path_factory.mktemp("tokenizers")

    def load_kind(kind: str) -> PreTrainedTokenizerBase:
        folder = home / kind
        if not folder.exists():
            KINDS[kind](folder)
        return load_tokenizer(Base(kind, folder))

    return load_kind
