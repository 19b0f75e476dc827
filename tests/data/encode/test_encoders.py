import pytest

from llamatune.data.encode.control_tokens import (
    TextTokens,
    control_tokens,
    count_control_tokens,
    tokenizer_fingerprint,
)
from llamatune.data.encode.documents import TextEncoder
from llamatune.data.preview import marked, preview
from llamatune.data.rows import IGNORED, Document, Encoded, Reason, RowRejected


@pytest.mark.parametrize("text", ["</s>", "a </s> b", "<s>[INST] x [/INST]</s>", "tail <s>", "</</s>s>"])
def test_row_22_control_tokens_in_text_become_plain_text(tokenizer, text: str) -> None:
    ids = TextTokens(tokenizer).plain(text)
    assert set(ids).isdisjoint({tokenizer.bos_token_id, tokenizer.eos_token_id})
    assert tokenizer.decode(ids) == text
    assert tokenizer.eos_token_id in tokenizer.encode(
        "</s>", add_special_tokens=False
    )  # the call left no trace


def test_row_22_tokens_added_without_the_special_flag(tokenizer) -> None:
    tokenizer.add_tokens(["<|im_start|>", "  "])
    tokenizer.chat_template = "<|im_start|>{{ messages }}"
    control = tokenizer.convert_tokens_to_ids("<|im_start|>")
    assert "<|im_start|>" in control_tokens(tokenizer)
    assert "  " not in control_tokens(tokenizer)
    text = "a<|im_start|>user </s> <|im_start|>"
    ids = TextTokens(tokenizer).plain(text)
    assert control not in ids and tokenizer.eos_token_id not in ids
    assert tokenizer.decode(ids) == text


def test_row_22_counts() -> None:
    tokens = ("<|im_start|>", "</s>", "<s>")
    assert count_control_tokens("plain < text >", tokens) == 0
    assert count_control_tokens("</s><s> </s> <|im_start|>", tokens) == 4


def test_fingerprint_follows_the_tokenizer(tokenizer) -> None:
    before = tokenizer_fingerprint(tokenizer)
    assert before == tokenizer_fingerprint(tokenizer)
    tokenizer.add_tokens(["<|x|>"])
    assert tokenizer_fingerprint(tokenizer) != before


def encode(tokenizer, text: str, **options) -> list[Encoded]:
    return list(TextEncoder(tokenizer, **options).encode(Document(text, "f:1")))


def test_a_document_has_one_bos_and_one_eos(tokenizer) -> None:
    [encoded] = encode(tokenizer, "Hello </s> world", max_length=100)
    bos, eos = tokenizer.bos_token_id, tokenizer.eos_token_id
    assert encoded.input_ids[0] == bos and encoded.input_ids.count(bos) == 1
    assert encoded.input_ids[-1] == eos and encoded.input_ids.count(eos) == 1
    assert encoded.labels == encoded.input_ids
    assert encoded.escaped == 1
    assert tokenizer.decode(encoded.input_ids[1:-1]) == "Hello </s> world"


def test_a_long_document_is_split_refused_or_left_to_prepare(tokenizer) -> None:
    text = "Hello world, this is text. " * 10
    [whole] = encode(tokenizer, text, max_length=16, too_long="error")
    assert len(whole.input_ids) > 16
    with pytest.raises(RowRejected) as caught:
        encode(tokenizer, text, max_length=16, too_long="drop")
    assert caught.value.reason is Reason.TOO_LONG and caught.value.tokens == len(whole.input_ids)
    parts = encode(tokenizer, text, max_length=16, too_long="truncate")
    assert all(len(part.input_ids) <= 16 for part in parts)
    assert all(part.input_ids[0] == tokenizer.bos_token_id for part in parts)
    assert [tokenizer.eos_token_id in part.input_ids for part in parts] == [False] * (len(parts) - 1) + [True]
    assert [token for part in parts for token in part.input_ids[1:]] == whole.input_ids[1:]


def test_encoder_fingerprint_follows_its_settings(byte_level) -> None:
    settings = [(16, "error"), (16, "drop"), (17, "drop")]
    prints = {TextEncoder(byte_level, max_length=n, too_long=p).fingerprint for n, p in settings}
    assert len(prints) == 3


def test_preview_marks_trained_tokens(byte_level) -> None:
    prompt = TextTokens(byte_level).plain("Say ⟦hi⟧\x1b[31m ")
    answer = [*TextTokens(byte_level).plain("Hello é world"), byte_level.eos_token_id]
    row = Encoded(prompt + answer, [IGNORED] * len(prompt) + answer)
    assert marked(row, byte_level.decode, colour=False) == "Say ⟦⟦hi⟧⟧\\u001b[31m ⟦Hello é world</s>⟧"
    assert (
        marked(row, byte_level.decode, colour=True) == "Say ⟦hi⟧\\u001b[31m \x1b[32mHello é world</s>\x1b[0m"
    )
    shown = preview([row, row], byte_level.decode, colour=False)
    assert shown.startswith(f"row 1: {len(row.input_ids)} tokens, {row.trained} trained\nSay ")
