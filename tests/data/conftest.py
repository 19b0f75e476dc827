import copy
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from llamatune.data.rows import IGNORED, Document, Encoded, Row

REAL_DATA = Path(__file__).parents[3] / "shared" / "data"


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))


@pytest.fixture
def real_data() -> Path:
    if not REAL_DATA.is_dir():
        pytest.skip("the real data sets (../shared/data beside the repository) are not here")
    return REAL_DATA


class CharacterEncoder:
    """One token a character, answers trained; counts how often it is asked."""

    def __init__(self, version: str = "1", too_long: str = "error") -> None:
        self.fingerprint = f"characters {version}"
        self.calls = 0

    def encode(self, row: Row) -> Iterator[Encoded]:
        self.calls += 1
        if isinstance(row, Document):
            ids = [ord(character) for character in row.text]
            yield Encoded(ids, ids)
            return
        input_ids: list[int] = []
        labels: list[int] = []
        for message in row.messages:
            ids = [ord(character) for character in message.content]
            input_ids += ids
            labels += ids if message.role == "assistant" else [IGNORED] * len(ids)
        yield Encoded(input_ids, labels)


@pytest.fixture
def encoder() -> CharacterEncoder:
    return CharacterEncoder()


CORPUS = ["Hello world, this is a small text about nothing.", "[INST] What is it? [/INST] A start."] * 20


@pytest.fixture(scope="session")
def byte_level():
    """A byte-level BPE tokenizer as of Llama 3: no space is put before a text."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=320,
        special_tokens=["<s>", "</s>", "<pad>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    backend.train_from_iterator(CORPUS, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=backend, bos_token="<s>", eos_token="</s>", pad_token="<pad>"
    )


@pytest.fixture(scope="session")
def sentencepiece_style():
    """A BPE tokenizer as of Llama 2: byte fallback, and a space put before each text."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, trainers
    from transformers import PreTrainedTokenizerFast

    backend = Tokenizer(models.BPE(byte_fallback=True, unk_token="<unk>", fuse_unk=True))
    backend.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    backend.decoder = decoders.Sequence(
        [
            decoders.Replace("▁", " "),
            decoders.ByteFallback(),
            decoders.Fuse(),
            decoders.Strip(" ", 1, 0),
        ]
    )
    names = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256))]
    trainer = trainers.BpeTrainer(vocab_size=400, special_tokens=names, show_progress=False)
    backend.train_from_iterator(CORPUS, trainer)
    state = json.loads(backend.to_str())
    state["added_tokens"] = []  # byte pieces are ordinary tokens
    backend = Tokenizer.from_str(json.dumps(state))
    backend.add_special_tokens([AddedToken(name, special=True) for name in ("<unk>", "<s>", "</s>")])
    return PreTrainedTokenizerFast(
        tokenizer_object=backend, bos_token="<s>", eos_token="</s>", unk_token="<unk>"
    )


@pytest.fixture(params=["byte_level", "sentencepiece_style"])
def tokenizer(request: pytest.FixtureRequest):
    return copy.deepcopy(request.getfixturevalue(request.param))
