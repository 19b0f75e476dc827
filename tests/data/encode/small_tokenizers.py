"""Small tokenizers of the kinds that real bases have, trained here and saved as folders of a base."""

import json
from collections.abc import Callable
from pathlib import Path

CORPUS = [
    "Hello world, this is a small text about nothing. USER: ASSISTANT: ### Instruction: ### Response:",
    "[INST] What is it? [/INST] A start. <|im_start|>user assistant system\n\n: ( [ | ] )",
] * 20

SPECIAL = ("<unk>", "<s>", "</s>", "<pad>")


def _save(backend, folder: Path, **config: object) -> None:
    folder.mkdir()
    backend.save(str(folder / "tokenizer.json"))
    tokens = {"bos_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>"}
    (folder / "tokenizer_config.json").write_text(json.dumps(tokens | config))
    (folder / "config.json").write_text(json.dumps({"model_type": "llama"}))


def _sentencepiece(normalizer, pre_tokenizer, more: tuple[str, ...] = ()):
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    backend = Tokenizer(models.BPE(byte_fallback=True, unk_token="<unk>", fuse_unk=True))
    # as SentencePiece, no piece goes over the end of a word
    backend.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always", split=True)
    names = [*SPECIAL, *more, *(f"<0x{byte:02X}>" for byte in range(256))]
    trainer = trainers.BpeTrainer(vocab_size=460, special_tokens=names, show_progress=False)
    backend.train_from_iterator(CORPUS, trainer)
    backend.normalizer, backend.pre_tokenizer = normalizer, pre_tokenizer
    backend.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    state = json.loads(backend.to_str())
    # the byte pieces are ordinary tokens
    state["added_tokens"] = [
        token for token in state["added_tokens"] if token["content"] in (*SPECIAL, *more)
    ]
    return Tokenizer.from_str(json.dumps(state))


def _llama(folder: Path, *, legacy: bool) -> None:
    """As old conversions of Llama: a Prepend normaliser, of which transformers 5 makes something of its own."""
    from tokenizers import normalizers

    normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    backend = _sentencepiece(normalizer, None)
    _save(backend, folder, unk_token="<unk>", legacy=legacy, tokenizer_class="LlamaTokenizer")


def _metaspace(folder: Path, *, more: tuple[str, ...] = ()) -> None:
    """As new conversions: a blank only where the whole text begins."""
    from tokenizers import pre_tokenizers

    backend = _sentencepiece(None, pre_tokenizers.Metaspace(prepend_scheme="first", split=False), more)
    _save(backend, folder, unk_token="<unk>", tokenizer_class="PreTrainedTokenizerFast")


def _byte_level(
    folder: Path, *, add_prefix_space: bool = False, more: tuple[str, ...] = (), corpus: list[str] = CORPUS
) -> None:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=add_prefix_space)
    backend.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=340,
        special_tokens=[*SPECIAL, *more],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    backend.train_from_iterator(corpus, trainer)
    _save(backend, folder, tokenizer_class="PreTrainedTokenizerFast")


KINDS: dict[str, Callable[[Path], None]] = {
    "llama": lambda folder: _llama(folder, legacy=False),
    "llama_legacy": lambda folder: _llama(folder, legacy=True),
    "metaspace_first": _metaspace,
    "mistral_v3": lambda folder: _metaspace(folder, more=("[INST]", "[/INST]")),
    "byte_level": _byte_level,
    # has a token for two line feeds, as SmolLM's and GPT-2's vocabularies do
    "byte_level_gaps": lambda folder: _byte_level(folder, corpus=[*CORPUS, *["It is.\n\n"] * 40]),
    "byte_level_blank": lambda folder: _byte_level(folder, add_prefix_space=True),
    "chat_tokens": lambda folder: _byte_level(folder, more=("<|im_start|>", "<|im_end|>", "<|eot_id|>")),
}
